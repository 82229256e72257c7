/** Sparks, shards of wrecks, shock rings, glows and floating words, in fixed pools. */

import { PALE, STROKES } from "./sprites.js";

const TAU = 2 * Math.PI;

/** Columns of `capacity` particles, the living ones in front. A full pool forgets one at random. */
class Pool {
  constructor(capacity) {
    this.capacity = capacity;
    this.count = 0;
    this.victim = 0;
    const column = () => new Float32Array(capacity);
    this.x = column();
    this.y = column();
    this.vx = column(); // units a second, likewise vy
    this.vy = column();
    this.age = column(); // seconds, likewise span
    this.span = column();
    this.size = column();
    this.angle = column();
    this.spin = column();
    this.hue = new Uint8Array(capacity);
    this.word = new Array(capacity).fill("");
  }

  add(x, y, vx, vy, span, size, hue) {
    let i = this.count;
    if (i === this.capacity) {
      this.victim = (this.victim + 7919) % this.capacity;
      i = this.victim;
    } else {
      this.count += 1;
    }
    this.x[i] = x;
    this.y[i] = y;
    this.vx[i] = vx;
    this.vy[i] = vy;
    this.age[i] = 0;
    this.span[i] = span;
    this.size[i] = size;
    this.hue[i] = hue;
    this.angle[i] = 0;
    this.spin[i] = 0;
    return i;
  }

  /** `keep`: share of speed kept after a second. */
  step(dt, keep) {
    const kept = keep ** dt;
    for (let i = this.count - 1; i >= 0; i--) {
      this.age[i] += dt;
      if (this.age[i] >= this.span[i]) {
        this.drop(i);
        continue;
      }
      this.x[i] += this.vx[i] * dt;
      this.y[i] += this.vy[i] * dt;
      this.vx[i] *= kept;
      this.vy[i] *= kept;
      this.angle[i] += this.spin[i] * dt;
    }
  }

  drop(i) {
    const last = --this.count;
    if (i === last) return;
    this.x[i] = this.x[last];
    this.y[i] = this.y[last];
    this.vx[i] = this.vx[last];
    this.vy[i] = this.vy[last];
    this.age[i] = this.age[last];
    this.span[i] = this.span[last];
    this.size[i] = this.size[last];
    this.angle[i] = this.angle[last];
    this.spin[i] = this.spin[last];
    this.hue[i] = this.hue[last];
    this.word[i] = this.word[last];
  }
}

export class Particles {
  constructor() {
    this.sparks = new Pool(420);
    this.shards = new Pool(120);
    this.rings = new Pool(40);
    this.glows = new Pool(90);
    this.words = new Pool(24);
    this.share = 1; // of the sparks and shards that are asked for
    this.flashes = true;
  }

  clear() {
    for (const pool of [this.sparks, this.shards, this.rings, this.glows, this.words])
      pool.count = 0;
  }

  step(dt) {
    this.sparks.step(dt, 0.06);
    this.shards.step(dt, 0.35);
    this.rings.step(dt, 1);
    this.glows.step(dt, 0.2);
    this.words.step(dt, 0.25);
  }

  burst(x, y, hue, count, speed, span, size) {
    for (let n = Math.round(count * this.share); n > 0; n--) {
      const angle = Math.random() * TAU;
      const pace = speed * (0.25 + Math.random());
      this.sparks.add(
        x,
        y,
        Math.cos(angle) * pace,
        Math.sin(angle) * pace,
        span * (0.5 + Math.random()),
        size,
        hue,
      );
    }
  }

  explosion(x, y, hue) {
    this.burst(x, y, hue, 34, 430, 0.75, 2.2);
    this.burst(x, y, 3, 14, 190, 0.9, 2.8);
    this.rings.add(x, y, 0, 0, 0.6, 125, hue);
    this.rings.add(x, y, 0, 0, 0.32, 60, 5);
    if (this.flashes) this.glows.add(x, y, 0, 0, 0.3, 320, 4);
    this.glows.add(x, y, 0, 0, 0.85, 110, hue);
    for (let n = Math.round(9 * this.share); n > 0; n--) {
      const angle = Math.random() * TAU;
      const pace = 40 + 130 * Math.random();
      const i = this.shards.add(
        x,
        y,
        Math.cos(angle) * pace,
        Math.sin(angle) * pace,
        1.1 + 1.3 * Math.random(),
        5 + 7 * Math.random(),
        hue,
      );
      this.shards.angle[i] = angle;
      this.shards.spin[i] = (Math.random() - 0.5) * 12;
    }
  }

  spawn(x, y, hue) {
    this.rings.add(x, y, 0, 0, 0.7, -90, hue);
    this.glows.add(x, y, 0, 0, 0.5, 110, hue);
    this.burst(x, y, hue, 12, 160, 0.5, 1.6);
  }

  hit(x, y, hue) {
    this.burst(x, y, hue, 8, 240, 0.3, 1.8);
    this.glows.add(x, y, 0, 0, 0.14, 40, hue);
  }

  muzzle(x, y, hue) {
    this.glows.add(x, y, 0, 0, 0.07, 24, hue);
  }

  pickup(x, y, hue, own) {
    this.rings.add(x, y, 0, 0, 0.3, 26, hue);
    if (own) this.burst(x, y, hue, 6, 130, 0.35, 1.6);
  }

  shout(x, y, word, hue) {
    this.words.word[this.words.add(x, y - 24, 0, -70, 0.9, 1, hue)] = word;
  }

  /** What drifts below the ships: shards of wrecks. */
  drawBelow(ctx, camera) {
    const { shards } = this;
    const { left, top, scale } = camera;
    ctx.lineWidth = 1.3 * scale;
    ctx.fillStyle = "#0a1020";
    for (let i = 0; i < shards.count; i++) {
      const x = shards.x[i] * scale - left;
      const y = shards.y[i] * scale - top;
      if (!camera.sees(x, y, 20 * scale)) continue;
      const size = shards.size[i] * scale;
      const c = Math.cos(shards.angle[i]) * size;
      const s = Math.sin(shards.angle[i]) * size;
      ctx.globalAlpha = Math.min(1, 2 * (1 - shards.age[i] / shards.span[i]));
      ctx.strokeStyle = STROKES[shards.hue[i]];
      ctx.beginPath();
      ctx.moveTo(x + c, y + s);
      ctx.lineTo(x - 0.6 * c - 0.5 * s, y - 0.6 * s + 0.5 * c);
      ctx.lineTo(x - 0.4 * c + 0.7 * s, y - 0.4 * s - 0.7 * c);
      ctx.closePath();
      ctx.fill();
      ctx.stroke();
    }
    ctx.globalAlpha = 1;
  }

  drawAbove(ctx, camera, sprites) {
    const { sparks, rings, glows, words } = this;
    const { left, top, scale } = camera;

    for (let i = 0; i < glows.count; i++) {
      const x = glows.x[i] * scale - left;
      const y = glows.y[i] * scale - top;
      if (!camera.sees(x, y, glows.size[i] * scale)) continue;
      const sprite = sprites.glow(glows.hue[i], glows.size[i], true);
      const rest = 1 - glows.age[i] / glows.span[i];
      ctx.globalAlpha = rest * rest;
      ctx.drawImage(sprite, Math.round(x - sprite.width / 2), Math.round(y - sprite.height / 2));
    }

    for (let i = 0; i < rings.count; i++) {
      const x = rings.x[i] * scale - left;
      const y = rings.y[i] * scale - top;
      const size = rings.size[i];
      if (!camera.sees(x, y, Math.abs(size) * scale)) continue;
      const part = rings.age[i] / rings.span[i];
      const grown = 1 - (1 - part) ** 3;
      const radius = size > 0 ? size * grown : -size * (1 - grown); // negative sizes close in
      ctx.globalAlpha = 1 - part;
      ctx.strokeStyle = PALE[rings.hue[i]];
      ctx.lineWidth = Math.max(1, (1 - part) * 6 * scale);
      ctx.beginPath();
      ctx.arc(x, y, Math.max(1, radius * scale), 0, TAU);
      ctx.stroke();
    }

    ctx.lineCap = "round";
    for (let i = 0; i < sparks.count; i++) {
      const x = sparks.x[i] * scale - left;
      const y = sparks.y[i] * scale - top;
      if (!camera.sees(x, y, 20)) continue;
      const rest = 1 - sparks.age[i] / sparks.span[i];
      ctx.globalAlpha = rest;
      ctx.strokeStyle = rest > 0.6 ? PALE[sparks.hue[i]] : STROKES[sparks.hue[i]];
      ctx.lineWidth = Math.max(1, sparks.size[i] * scale);
      ctx.beginPath();
      ctx.moveTo(x, y);
      ctx.lineTo(x - sparks.vx[i] * 0.035 * scale, y - sparks.vy[i] * 0.035 * scale - 0.01);
      ctx.stroke();
    }
    ctx.lineCap = "butt";

    for (let i = 0; i < words.count; i++) {
      const sprite = sprites.shout(words.word[i], words.hue[i]);
      ctx.globalAlpha = Math.min(1, 2.5 * (1 - words.age[i] / words.span[i]));
      ctx.drawImage(
        sprite,
        Math.round(words.x[i] * scale - left - sprite.width / 2),
        Math.round(words.y[i] * scale - top - sprite.height / 2),
      );
    }
    ctx.globalAlpha = 1;
  }
}
