/** Draws the scene: one function a layer, back to front. Sprites are stamped, not painted. */

import { Backdrop } from "./backdrop.js";
import { Particles } from "./particles.js";
import { LEVELS, pixelRatio } from "./quality.js";
import { bake, bucketOf, Sprites, STROKES, TURNS } from "./sprites.js";
import { Trails } from "./trails.js";

const ALIVE = 1;
const THRUST = 2;
const BOOST = 4;
const PROTECTED = 8;
const BOT = 16;

const VIEW_UNITS = 1600; // shown along the longer side at most; the server sends 1,750
const VIEW_AREA = 1600 * 900; // shown in all: who has a square window sees no more
const OUTSIDE = 0.12; // share of a side that may lie beyond the border
const LEAST_SCALE = 0.6; // CSS px per unit below which ships are too small to play with
const LEAD_UNITS = 55; // how far the camera looks ahead
const CROWDED = 50; // more ships in sight than this, and only the near ones are named
const NAMED_REACH = 420;
const POINTED = 20; // with more ships around nobody needs to be shown the way
const STRIPS_PER_FRAME = 2; // turned hulls that are baked at once, without a hitch
const EMOTES = ["♥", "★", "!", "?", "☺", "☠"]; // keys 1 to 6
const EMOTE_S = 2.5;
const HEAT_OWN = 900; // heat nearer than this is one's own, or is seen anyway
const SAFE_OWN = 18; // hue buckets for colour-blind safe drawing: blue against orange
const SAFE_OTHER = 3;

/** CSS px per world unit for a window of `width` × `height` CSS px. */
export function fitView(width, height) {
  const byArea = Math.sqrt((width * height) / VIEW_AREA);
  return Math.max(Math.max(width, height) / VIEW_UNITS, byArea, LEAST_SCALE);
}

/** Where the camera looks along one axis, units: at `at`, but never far beyond the border. */
export function within(at, view, size) {
  const inside = view * (0.5 - OUTSIDE);
  return size < 2 * inside ? size / 2 : Math.min(size - inside, Math.max(inside, at));
}

class Camera {
  constructor() {
    this.scale = 1; // device px per unit
    this.left = this.top = 0; // whole device px, so that what stands still doesn't shimmer
    this.width = this.height = 0;
  }

  /** Whether a disc (device px on the screen) shows. */
  sees(x, y, radius) {
    return x > -radius && y > -radius && x < this.width + radius && y < this.height + radius;
  }
}

export class Renderer {
  constructor(canvas, settings) {
    this.canvas = canvas;
    this.settings = settings;
    this.ctx = canvas.getContext("2d", { alpha: false });
    this.camera = new Camera();
    this.trails = new Trails();
    this.particles = new Particles();
    this.lead = { x: 0, y: 0 };
    this.own = { x: 0, y: 0 }; // where the own ship is drawn, CSS px
    this.shake = 0; // 0..1
    this.hurt = 0; // 0..1
    this.ratio = 1;
    this.level = LEVELS.high;
    this.emotes = new Map(); // by slot: what is shown over a ship, and until when, s
    this.parts = { sky: 0, orbs: 0, trails: 0, shots: 0, ships: 0, particles: 0, marks: 0 }; // ms
  }

  /** Show a mark over the ship in `slot`; `seconds`: as in `draw`. */
  emote(slot, mark, seconds) {
    this.emotes.set(slot, { text: EMOTES[mark] ?? "", until: seconds + EMOTE_S });
  }

  /** Fit the canvas to the window. `level`: one of LEVELS. */
  resize(width, height, devicePixelRatio, level) {
    const { camera, canvas, settings } = this;
    this.level = level;
    this.ratio = pixelRatio(width, height, devicePixelRatio, level.pixels);
    canvas.width = camera.width = Math.round(width * this.ratio);
    canvas.height = camera.height = Math.round(height * this.ratio);
    const scale = fitView(width, height) * this.ratio;
    const rootPx = parseFloat(getComputedStyle(document.documentElement).fontSize);
    const safe = settings.get("safeColours");
    if (scale !== camera.scale || safe !== this.safe || !this.sprites) {
      camera.scale = scale;
      this.safe = safe;
      this.sprites = new Sprites(scale, rootPx * 0.86 * this.ratio, safe);
      this.backdrop = new Backdrop(scale, camera.width, camera.height);
    }
    this.vignette = this.bakeVignette();
    this.tune();
  }

  /** Take up the settings that need nothing baked anew. */
  tune() {
    const calm = this.settings.get("calm");
    this.particles.share = this.settings.get("particles") ? this.level.particles : 0;
    this.particles.flashes = !calm;
    this.calm = calm;
  }

  /** Four red edges: a whole picture of mostly nothing would be dear to blend. */
  bakeVignette() {
    const { width, height } = this.camera;
    const thick = Math.round(Math.min(width, height) * 0.22);
    const edge = (w, h, x0, y0, x1, y1) =>
      bake(w, h, (ctx) => {
        const red = ctx.createLinearGradient(x0, y0, x1, y1);
        red.addColorStop(0, "rgb(255 30 70 / .62)");
        red.addColorStop(0.4, "rgb(255 30 70 / .16)");
        red.addColorStop(1, "rgb(255 30 70 / 0)");
        ctx.fillStyle = red;
        ctx.fillRect(0, 0, w, h);
      });
    return [
      { image: edge(width, thick, 0, 0, 0, thick), x: 0, y: 0 },
      { image: edge(width, thick, 0, thick, 0, 0), x: 0, y: height - thick },
      { image: edge(thick, height, 0, 0, thick, 0), x: 0, y: 0 },
      { image: edge(thick, height, thick, 0, 0, 0), x: width - thick, y: 0 },
    ];
  }

  /** Turn the scene's events into particles, shake and pain. */
  feel(scene) {
    const { particles } = this;
    for (const fx of scene.fx) {
      const bucket = this.bucket(fx.hue, fx.own);
      const near = Math.max(0, 1 - Math.hypot(fx.x - scene.view.x, fx.y - scene.view.y) / 900);
      switch (fx.type) {
        case "explosion":
          particles.explosion(fx.x, fx.y, bucket);
          this.shake = Math.min(1, this.shake + (fx.own ? 0.9 : 0.45 * near * near));
          break;
        case "hit":
          particles.hit(fx.x, fx.y, bucket);
          if (fx.own) {
            this.shake = Math.min(1, this.shake + 0.22);
            this.hurt = Math.min(1, this.hurt + 0.45);
          }
          break;
        case "spawn":
          particles.spawn(fx.x, fx.y, bucket);
          break;
        case "fire":
          particles.muzzle(fx.x, fx.y, bucket);
          break;
        case "pickup":
          particles.pickup(fx.x, fx.y, bucket, fx.own);
          if (fx.own && fx.value) particles.shout(fx.x, fx.y, `+${fx.value}`, 14);
          break;
        case "kill":
          if (fx.own && fx.value) particles.shout(fx.x, fx.y, `+${fx.value}`, 4);
          break;
      }
    }
  }

  bucket(hue256, own) {
    return this.safe ? (own ? SAFE_OWN : SAFE_OTHER) : bucketOf(hue256);
  }

  /** Draw `scene`. `dt`: seconds since the last frame; `seconds`: a steady clock;
   * `leader`: slot of who is crowned; `marks`: whether to draw what belongs to the own ship. */
  draw(scene, dt, seconds, leader, marks) {
    const { ctx, camera, backdrop, parts } = this;
    let then = performance.now();
    const lap = (part) => {
      const now = performance.now();
      parts[part] += (now - then - parts[part]) * 0.05;
      then = now;
    };
    this.place(scene, dt);
    backdrop.drawSky(ctx, camera);
    if (this.level.stars) backdrop.drawStars(ctx, camera);
    backdrop.drawGrid(ctx, camera, scene.size);
    backdrop.drawBorder(ctx, camera, scene.size, seconds);
    lap("sky");
    this.drawOrbs(scene.orbs, seconds);
    lap("orbs");
    this.trails.record(scene.ships, seconds);
    this.drawTrails(scene.ships);
    lap("trails");
    this.particles.step(dt);
    this.particles.drawBelow(ctx, camera);
    lap("particles");
    this.drawShots(scene.shots);
    lap("shots");
    this.drawShips(scene.ships, seconds);
    lap("ships");
    this.particles.drawAbove(ctx, camera, this.sprites);
    lap("particles");
    this.drawArcs(scene.ships, scene.self, marks);
    this.drawLabels(scene.ships, leader);
    this.drawEmotes(scene.ships, seconds);
    if (marks) this.drawPointers(scene);
    this.drawHurt(dt);
    lap("marks");
  }

  /** Put the camera: a little ahead of the own ship, shaken by what happens. */
  place(scene, dt) {
    const { camera, lead } = this;
    const { ships } = scene;
    const own = ships.ownIndex;
    const follows = own >= 0 && (ships.flags[own] & ALIVE) !== 0 && !this.calm;
    const ease = 1 - Math.exp(-2.6 * dt);
    lead.x += ((follows ? clamp(ships.vx[own] * 0.12, LEAD_UNITS) : 0) - lead.x) * ease;
    lead.y += ((follows ? clamp(ships.vy[own] * 0.12, LEAD_UNITS) : 0) - lead.y) * ease;

    this.shake = Math.max(0, this.shake - 1.7 * dt);
    const throwPx = this.calm ? 0 : this.shake * this.shake * 22 * camera.scale;
    const x = within(scene.view.x + lead.x, camera.width / camera.scale, scene.size);
    const y = within(scene.view.y + lead.y, camera.height / camera.scale, scene.size);
    camera.left = Math.round(
      x * camera.scale - camera.width / 2 + (Math.random() * 2 - 1) * throwPx,
    );
    camera.top = Math.round(
      y * camera.scale - camera.height / 2 + (Math.random() * 2 - 1) * throwPx,
    );

    const shipX = own >= 0 ? ships.x[own] : scene.view.x;
    const shipY = own >= 0 ? ships.y[own] : scene.view.y;
    this.own.x = (shipX * camera.scale - camera.left) / this.ratio;
    this.own.y = (shipY * camera.scale - camera.top) / this.ratio;
  }

  drawOrbs(orbs, seconds) {
    const { ctx, camera, sprites } = this;
    const { left, top, scale } = camera;
    const beat = Math.floor(seconds * 8);
    for (let i = 0; i < orbs.count; i++) {
      const x = Math.round(orbs.x[i] * scale) - left;
      const y = Math.round(orbs.y[i] * scale) - top;
      if (!camera.sees(x, y, 24 * scale)) continue;
      const turn = (beat + orbs.id[i]) % 6; // 0 1 2 3 2 1: it swells and sinks
      const sprite = sprites.orb(orbs.value[i], turn < 4 ? turn : 6 - turn);
      ctx.drawImage(sprite, x - (sprite.width >> 1), y - (sprite.height >> 1));
    }
  }

  drawTrails(ships) {
    const { ctx, camera, trails } = this;
    ctx.globalAlpha = 0.42;
    for (let i = 0; i < ships.count; i++) {
      const x = ships.x[i] * camera.scale - camera.left;
      const y = ships.y[i] * camera.scale - camera.top;
      if ((ships.flags[i] & ALIVE) === 0 || !camera.sees(x, y, 200 * camera.scale)) continue;
      ctx.fillStyle = STROKES[this.bucket(ships.hue[i], i === ships.ownIndex)];
      trails.draw(ctx, camera, ships, i);
    }
    ctx.globalAlpha = 1;
  }

  /** Bolts: own ones cool, all others hot, each as a glow, a streak and a white core. */
  drawShots(shots) {
    const { ctx, camera, sprites } = this;
    const { left, top, scale } = camera;
    ctx.lineCap = "round";
    for (let own = 0; own < 2; own++) {
      const glow = sprites.glow(own ? 17 : 2, 40, false);
      const half = glow.width >> 1;
      let any = false;
      ctx.beginPath();
      for (let i = 0; i < shots.count; i++) {
        if (shots.own[i] !== own) continue;
        const x = shots.x[i] * scale - left;
        const y = shots.y[i] * scale - top;
        if (!camera.sees(x, y, 40 * scale)) continue;
        any = true;
        ctx.drawImage(glow, Math.round(x) - half, Math.round(y) - half);
        const c = Math.cos(shots.aim[i]) * scale;
        const s = Math.sin(shots.aim[i]) * scale;
        ctx.moveTo(x - 17 * c, y - 17 * s);
        ctx.lineTo(x + 5 * c, y + 5 * s);
      }
      if (!any) continue;
      ctx.strokeStyle = own ? "#4fe8ff" : "#ff8a3c";
      ctx.lineWidth = 4.6 * scale;
      ctx.stroke();
      ctx.strokeStyle = own ? "#f0feff" : "#fff0d8";
      ctx.lineWidth = 1.9 * scale;
      ctx.stroke();
    }
    ctx.lineCap = "butt";
  }

  drawShips(ships, seconds) {
    const { ctx, camera, sprites } = this;
    const { left, top, scale } = camera;
    const { fine } = sprites; // px of a turning sprite per device px
    sprites.strips = STRIPS_PER_FRAME;
    for (let i = 0; i < ships.count; i++) {
      const flags = ships.flags[i];
      if ((flags & ALIVE) === 0) continue;
      const x = ships.x[i] * scale - left;
      const y = ships.y[i] * scale - top;
      if (!camera.sees(x, y, 60 * scale)) continue;
      const own = i === ships.ownIndex;
      const bucket = this.bucket(ships.hue[i], own);
      const power = Math.min(3, ships.power[i]);
      const heading = ships.heading[i];
      const burning = (flags & (THRUST | BOOST)) !== 0;
      const wild = 0.8 + 0.2 * Math.sin(seconds * 47 + ships.id[i] * 2.4); // flames flicker
      if (own) {
        const halo = sprites.glow(bucket, 110, false);
        ctx.drawImage(halo, Math.round(x - halo.width / 2), Math.round(y - halo.height / 2));
      }
      const isBot = (flags & BOT) !== 0;
      const strip = own || this.level.turning ? null : sprites.turnedHulls(bucket, isBot, power);
      if (strip) {
        if (burning) {
          const flame = sprites.glow(bucket, flags & BOOST ? 40 : wild > 0.8 ? 24 : 16, true);
          const stern = 16 * scale;
          ctx.drawImage(
            flame,
            Math.round(x - stern * Math.cos(heading) - flame.width / 2),
            Math.round(y - stern * Math.sin(heading) - flame.height / 2),
          );
        }
        const side = strip.height;
        const turn = (Math.round((heading * TURNS) / (2 * Math.PI)) + 8 * TURNS) % TURNS;
        const left = Math.round(x) - side / 2;
        const top = Math.round(y) - side / 2;
        ctx.drawImage(strip, turn * side, 0, side, side, left, top, side, side);
      } else {
        const c = Math.cos(heading) / fine;
        const s = Math.sin(heading) / fine;
        if (burning) {
          const flame = sprites.flame(bucket);
          const long = (flags & BOOST ? 1.5 : 0.85) * wild;
          const stern = 12 * scale * fine;
          ctx.setTransform(c * long, s * long, -s, c, x - stern * c, y - stern * s);
          ctx.drawImage(flame, -flame.width, -flame.height / 2);
        }
        const hull = sprites.hull(bucket, isBot, power);
        ctx.setTransform(c, s, -s, c, x, y);
        ctx.drawImage(hull, -hull.width / 2, -hull.height / 2);
        ctx.setTransform(1, 0, 0, 1, 0, 0);
      }
      if (flags & PROTECTED) {
        const spin = seconds * 1.8 + ships.id[i];
        const sc = Math.cos(spin) / fine;
        const ss = Math.sin(spin) / fine;
        ctx.globalAlpha = 0.72 + 0.28 * Math.sin(seconds * 9);
        ctx.setTransform(sc, ss, -ss, sc, x, y);
        ctx.drawImage(sprites.shield, -sprites.shield.width / 2, -sprites.shield.height / 2);
        ctx.setTransform(1, 0, 0, 1, 0, 0);
        ctx.globalAlpha = 1;
      }
    }
  }

  /** Arcs around ships: hull where it is damaged; for the own ship hull and energy, always. */
  drawArcs(ships, self, marks) {
    const { ctx, camera } = this;
    const { left, top, scale } = camera;
    ctx.lineWidth = 2.4 * scale;
    for (let grade = 0; grade < 3; grade++) {
      let any = false;
      ctx.beginPath();
      for (let i = 0; i < ships.count; i++) {
        const hp = ships.hp[i];
        if ((ships.flags[i] & ALIVE) === 0 || hp >= 100 || i === ships.ownIndex) continue;
        if ((hp < 30 ? 0 : hp < 60 ? 1 : 2) !== grade) continue;
        const x = ships.x[i] * scale - left;
        const y = ships.y[i] * scale - top;
        if (!camera.sees(x, y, 30 * scale)) continue;
        arc(ctx, x, y, 29 * scale, Math.PI / 2 - 1.1 * (hp / 100), Math.PI / 2 + 1.1 * (hp / 100));
        any = true;
      }
      if (!any) continue;
      ctx.strokeStyle = GRADES[grade];
      ctx.stroke();
    }
    const own = ships.ownIndex;
    if (!marks || own < 0 || (ships.flags[own] & ALIVE) === 0) return;
    const x = ships.x[own] * scale - left;
    const y = ships.y[own] * scale - top;
    const radius = 34 * scale;
    const full = 0.95;
    ctx.lineWidth = 3 * scale;
    ctx.strokeStyle = "rgb(140 190 255 / .16)";
    ctx.beginPath();
    arc(ctx, x, y, radius, Math.PI - full, Math.PI + full);
    arc(ctx, x, y, radius, -full, full);
    ctx.stroke();
    const hp = full * Math.min(1, self.hp / 100);
    ctx.strokeStyle = GRADES[self.hp < 30 ? 0 : self.hp < 60 ? 1 : 2];
    ctx.beginPath();
    arc(ctx, x, y, radius, Math.PI - full, Math.PI - full + 2 * hp);
    ctx.stroke();
    const energy = full * Math.min(1, self.energy / 100);
    ctx.strokeStyle = self.energy < 20 ? "#ff9d3c" : "#59c7ff";
    ctx.beginPath();
    arc(ctx, x, y, radius, full - 2 * energy, full);
    ctx.stroke();
  }

  drawLabels(ships, leader) {
    const { ctx, camera, sprites } = this;
    const { left, top, scale } = camera;
    const reach = ships.count > CROWDED ? NAMED_REACH * scale : Infinity;
    for (let i = 0; i < ships.count; i++) {
      const flags = ships.flags[i];
      if ((flags & ALIVE) === 0) continue;
      const x = ships.x[i] * scale - left;
      const y = ships.y[i] * scale - top;
      if (!camera.sees(x, y, 60 * scale)) continue;
      if (ships.id[i] === leader) {
        const { crown } = sprites;
        ctx.drawImage(
          crown,
          Math.round(x - crown.width / 2),
          Math.round(y - 46 * scale - crown.height / 2),
        );
      }
      if (i === ships.ownIndex || !ships.name[i]) continue;
      if (Math.abs(x - camera.width / 2) > reach || Math.abs(y - camera.height / 2) > reach)
        continue;
      const label = sprites.label(ships.name[i], (flags & BOT) !== 0);
      ctx.drawImage(label, Math.round(x - label.width / 2), Math.round(y + 33 * scale));
    }
  }

  /** A ring with a mark in it, which pops up over a ship and fades. */
  drawEmotes(ships, seconds) {
    const { ctx, camera, emotes } = this;
    if (!emotes.size) return;
    ctx.textAlign = "center";
    ctx.textBaseline = "middle";
    for (let i = 0; i < ships.count; i++) {
      const emote = emotes.get(ships.id[i]);
      if (!emote || (ships.flags[i] & ALIVE) === 0) continue;
      const left = emote.until - seconds;
      if (left <= 0) {
        emotes.delete(ships.id[i]);
        continue;
      }
      const size = 21 * camera.scale * Math.min(1, (EMOTE_S - left) * 6 + 0.3);
      const x = ships.x[i] * camera.scale - camera.left;
      const y = ships.y[i] * camera.scale - camera.top - 84 * camera.scale; // a crown has its place below
      ctx.globalAlpha = Math.min(1, left * 2);
      ctx.fillStyle = "rgb(8 12 28 / .8)";
      ctx.strokeStyle = STROKES[this.bucket(ships.hue[i], i === ships.ownIndex)];
      ctx.lineWidth = 2.5 * camera.scale;
      ctx.beginPath();
      ctx.arc(x, y, size, 0, 2 * Math.PI);
      ctx.fill();
      ctx.stroke();
      ctx.fillStyle = "#fff";
      ctx.font = `600 ${Math.round(size * 1.25)}px system-ui, sans-serif`;
      ctx.fillText(emote.text, x, y + size * 0.06);
    }
    ctx.globalAlpha = 1;
  }

  /** Chevrons at the rim: ships just out of sight or, when nobody is near, where someone is. */
  drawPointers({ ships, heat, view, size }) {
    const { camera } = this;
    const { left, top, scale, width, height } = camera;
    if (ships.count > POINTED) return;
    let company = false;
    for (let i = 0; i < ships.count; i++) {
      if (i === ships.ownIndex || (ships.flags[i] & ALIVE) === 0) continue;
      company = true;
      const x = ships.x[i] * scale - left;
      const y = ships.y[i] * scale - top;
      if (camera.sees(x, y, 0)) continue;
      const far = Math.hypot(x - width / 2, y - height / 2) / scale;
      const alpha = Math.max(0.2, Math.min(0.9, (1200 - far) / 700));
      this.point(x, y, STROKES[this.bucket(ships.hue[i], false)], alpha);
    }
    if (company || !heat.cells) return;
    const pitch = size / heat.width;
    let nearest = Infinity;
    let x = 0;
    let y = 0;
    for (let i = 0; i < heat.cells.length; i++) {
      if (heat.cells[i] === 0) continue;
      const dx = ((i % heat.width) + 0.5) * pitch - view.x;
      const dy = (Math.floor(i / heat.width) + 0.5) * pitch - view.y;
      const far = dx * dx + dy * dy;
      if (far > nearest || far < HEAT_OWN * HEAT_OWN) continue;
      nearest = far;
      x = dx;
      y = dy;
    }
    if (nearest < Infinity) {
      this.point(width / 2 + x * scale, height / 2 + y * scale, "#9db8ff", 0.5);
    }
  }

  /** A chevron on the rim, towards a place (device px) off the screen. */
  point(x, y, style, alpha) {
    const { ctx, camera } = this;
    const { scale, width, height } = camera;
    const dx = x - width / 2;
    const dy = y - height / 2;
    const inset = 26 * scale;
    const reach = Math.min(
      (width / 2 - inset) / Math.max(1, Math.abs(dx)),
      (height / 2 - inset) / Math.max(1, Math.abs(dy)),
      1,
    );
    const angle = Math.atan2(dy, dx);
    const c = Math.cos(angle) * 11 * scale;
    const s = Math.sin(angle) * 11 * scale;
    const px = width / 2 + dx * reach;
    const py = height / 2 + dy * reach;
    ctx.globalAlpha = alpha;
    ctx.strokeStyle = style;
    ctx.lineWidth = 3 * scale;
    ctx.beginPath();
    ctx.moveTo(px - 0.6 * c - s, py - 0.6 * s + c);
    ctx.lineTo(px + 0.5 * c, py + 0.5 * s);
    ctx.lineTo(px - 0.6 * c + s, py - 0.6 * s - c);
    ctx.stroke();
    ctx.globalAlpha = 1;
  }

  drawHurt(dt) {
    this.hurt = Math.max(0, this.hurt - 1.4 * dt);
    if (this.hurt < 0.02) return;
    this.ctx.globalAlpha = this.calm ? this.hurt * 0.4 : this.hurt;
    for (const { image, x, y } of this.vignette) this.ctx.drawImage(image, x, y);
    this.ctx.globalAlpha = 1;
  }
}

const GRADES = ["#ff4d6d", "#ffc857", "#7dffb8"]; // hull: bad, worn, good

function arc(ctx, x, y, radius, from, to) {
  if (to <= from) return;
  ctx.moveTo(x + radius * Math.cos(from), y + radius * Math.sin(from));
  ctx.arc(x, y, radius, from, to);
}

const clamp = (value, limit) => Math.max(-limit, Math.min(limit, value));
