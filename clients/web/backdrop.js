/** What lies behind the arena: a nebula, two depths of stars, the grid, the border. */

import { bake } from "./sprites.js";

const NEBULA_DEPTH = 0.07; // share of the camera's motion that a layer follows
const STAR_LAYERS = [
  { depth: 0.16, count: 110 },
  { depth: 0.34, count: 60 },
];
const STAR_FIELD = 1900; // stars repeat after this many units, more than a view
const GRID = 128;
const GRID_BOLD = 512;
const BORDER_REACH = 120; // how far the border glows inwards, units

/** A small seeded generator of numbers in [0, 1): the sky is the same for everyone. */
export function seeded(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/** Fractal value noise in [0, 1] that repeats at its edges: Float32Array(size * size). */
function cloud(size, random) {
  const sum = new Float32Array(size * size);
  let weight = 1;
  let total = 0;
  for (let cells = 3; cells <= 48; cells *= 2) {
    const lattice = Float32Array.from({ length: cells * cells }, random);
    for (let y = 0; y < size; y++) {
      const v = (y * cells) / size;
      const y0 = Math.floor(v);
      const fy = (v - y0) ** 2 * (3 - 2 * (v - y0));
      const above = y0 * cells;
      const below = ((y0 + 1) % cells) * cells;
      for (let x = 0; x < size; x++) {
        const u = (x * cells) / size;
        const x0 = Math.floor(u);
        const fx = (u - x0) ** 2 * (3 - 2 * (u - x0));
        const x1 = (x0 + 1) % cells;
        const top = lattice[above + x0] + (lattice[above + x1] - lattice[above + x0]) * fx;
        const bottom = lattice[below + x0] + (lattice[below + x1] - lattice[below + x0]) * fx;
        sum[y * size + x] += (top + (bottom - top) * fy) * weight;
      }
    }
    total += weight;
    weight *= 0.52;
  }
  for (let i = 0; i < sum.length; i++) sum[i] /= total;
  return sum;
}

/** `field` (size * size, tiling) read at places shifted by two other fields: eddies, not blocks. */
function stirred(field, size, byX, byY, reach) {
  const out = new Float32Array(field.length);
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      const i = y * size + x;
      const fromX = wrap(Math.round(x + (byX[i] - 0.5) * reach), size);
      const fromY = wrap(Math.round(y + (byY[i] - 0.5) * reach), size);
      out[i] = field[fromY * size + fromX];
    }
  }
  return out;
}

/**
 * The nebula as a small opaque image that tiles; enlarged when it is baked. It is painted in
 * steps of some ms each, which leave the page its frames: `next()` until it is done.
 */
function* paintNebula(size) {
  const random = seeded(7);
  const clouds = [];
  while (clouds.length < 5) {
    clouds.push(cloud(size, random));
    yield;
  }
  const [drift, swirl] = clouds;
  const teal = stirred(clouds[2], size, drift, swirl, 190);
  yield;
  const violet = stirred(clouds[3], size, swirl, drift, 190);
  yield;
  const dust = stirred(clouds[4], size, drift, violet, 150);
  yield;
  const image = new ImageData(size, size);
  const rise = (value, from) => Math.max(0, (value - from) / (1 - from)) ** 1.5;
  for (let i = 0; i < teal.length; i++) {
    const shade = 1 - 0.8 * rise(dust[i], 0.42);
    const a = rise(teal[i], 0.4) * shade;
    const b = rise(violet[i], 0.38) * shade;
    const lit = a * b * 6;
    image.data[4 * i] = 5 + 8 * a + 84 * b + 56 * lit;
    image.data[4 * i + 1] = 6 + 76 * a + 12 * b + 36 * lit;
    image.data[4 * i + 2] = 17 + 98 * a + 110 * b + 56 * lit;
    image.data[4 * i + 3] = 255;
  }
  return image;
}

const NEBULA_SIZE = 256;
const NIGHT = "#080b18"; // until it is painted
const painting = paintNebula(NEBULA_SIZE);
const tiles = new Map(); // by size: they outlive a change of scale, in the middle of a fight
let nebula = null;

/** Side of the tile for a picture of so many device px: it is not seen to repeat. */
function tileFor(px) {
  return px > 2600 ? 4096 : px > 1300 ? 2048 : 1024;
}

export class Backdrop {
  /** `scale`: device px per unit; `width, height`: device px of the picture. */
  constructor(scale, width, height) {
    this.scale = scale;
    this.tileSize = tileFor(Math.max(width, height));
    this.layers = STAR_LAYERS.map((layer, i) => this.scatter(layer, seeded(40 + i)));
    this.field = Math.round(STAR_FIELD * scale);
    this.bigStar = this.bakeStar();
    this.bakeBorder();
  }

  /** The nebula's tile, or null: then it comes a step nearer. */
  tile() {
    if (nebula === null) {
      const { done, value } = painting.next();
      if (done) nebula = value;
      return null;
    }
    if (!tiles.has(this.tileSize)) tiles.set(this.tileSize, this.bakeNebula(nebula));
    return tiles.get(this.tileSize);
  }

  bakeNebula(small) {
    const size = this.tileSize;
    const edge = NEBULA_SIZE; // the source has a rim of one px from the other side, to tile
    const source = bake(edge + 2, edge + 2, (ctx) => {
      for (const x of [1 - edge, 1, 1 + edge])
        for (const y of [1 - edge, 1, 1 + edge]) ctx.putImageData(small, x, y);
    });
    const random = seeded(11);
    return bake(
      size,
      size,
      (ctx) => {
        ctx.imageSmoothingQuality = "high";
        ctx.drawImage(source, 1, 1, edge, edge, 0, 0, size, size);
        for (let i = 0; i < 900; i++) {
          const bright = random() ** 4;
          ctx.fillStyle = `hsl(${200 + 80 * random()} 70% 85% / ${0.12 + 0.55 * bright})`;
          const side = (bright > 0.5 ? 1.6 : 1) * (size / 1024);
          ctx.fillRect(Math.floor(random() * size), Math.floor(random() * size), side, side);
        }
      },
      { alpha: false },
    );
  }

  scatter({ depth, count }, random) {
    const stars = {
      depth,
      count,
      x: new Float32Array(count),
      y: new Float32Array(count),
      side: new Float32Array(count),
      big: new Uint8Array(count),
    };
    for (let i = 0; i < count; i++) {
      stars.x[i] = random() * STAR_FIELD * this.scale;
      stars.y[i] = random() * STAR_FIELD * this.scale;
      stars.side[i] = Math.max(1, Math.round((1 + 1.6 * depth * random()) * this.scale * 1.3));
      stars.big[i] = random() < 0.09 ? 1 : 0;
    }
    return stars;
  }

  bakeStar() {
    const size = Math.ceil(22 * this.scale);
    return bake(size, size, (ctx) => {
      const half = size / 2;
      const glow = ctx.createRadialGradient(half, half, 0, half, half, half);
      glow.addColorStop(0, "rgb(235 245 255 / .95)");
      glow.addColorStop(0.12, "rgb(170 205 255 / .5)");
      glow.addColorStop(0.4, "rgb(110 150 255 / .1)");
      glow.addColorStop(1, "rgb(110 150 255 / 0)");
      ctx.fillStyle = glow;
      ctx.fillRect(0, 0, size, size);
      ctx.fillStyle = "rgb(220 235 255 / .35)";
      ctx.fillRect(half - 0.5, size * 0.1, 1, size * 0.8);
      ctx.fillRect(size * 0.1, half - 0.5, size * 0.8, 1);
    });
  }

  /** Two gradient strips, for the vertical and the horizontal edges. */
  bakeBorder() {
    const reach = Math.ceil(BORDER_REACH * this.scale);
    const strip = (width, height, x, y) =>
      bake(width, height, (ctx) => {
        const light = ctx.createLinearGradient(0, 0, x, y);
        light.addColorStop(0, "rgb(255 70 190 / .34)");
        light.addColorStop(0.25, "rgb(190 60 255 / .13)");
        light.addColorStop(1, "rgb(120 60 255 / 0)");
        ctx.fillStyle = light;
        ctx.fillRect(0, 0, width, height);
      });
    this.reach = reach;
    this.fromLeft = strip(reach, 256, reach, 0);
    this.fromTop = strip(256, reach, 0, reach);
    const pitch = Math.round(26 * this.scale);
    const hatch = bake(pitch, pitch, (ctx) => {
      ctx.fillStyle = "rgb(3 3 9 / .78)";
      ctx.fillRect(0, 0, pitch, pitch);
      ctx.strokeStyle = "rgb(255 70 190 / .13)";
      ctx.lineWidth = pitch / 5;
      for (const shift of [-pitch, 0, pitch]) {
        ctx.beginPath();
        ctx.moveTo(shift - pitch * 0.2, pitch * 1.2);
        ctx.lineTo(shift + pitch * 1.2, -pitch * 0.2);
        ctx.stroke();
      }
    });
    this.hatch = hatch;
    this.hatchPattern = null;
  }

  drawSky(ctx, camera) {
    const size = this.tileSize;
    const tile = this.tile();
    if (tile === null) {
      ctx.fillStyle = NIGHT;
      ctx.fillRect(0, 0, camera.width, camera.height);
      return;
    }
    const left = -wrap(Math.round(camera.left * NEBULA_DEPTH), size);
    const top = -wrap(Math.round(camera.top * NEBULA_DEPTH), size);
    for (let y = top; y < camera.height; y += size) {
      for (let x = left; x < camera.width; x += size) ctx.drawImage(tile, x, y);
    }
  }

  drawStars(ctx, camera) {
    ctx.fillStyle = "#cfe0ff";
    for (const stars of this.layers) {
      ctx.globalAlpha = 0.3 + stars.depth;
      const left = camera.left * stars.depth;
      const top = camera.top * stars.depth;
      for (let i = 0; i < stars.count; i++) {
        const x = Math.round(wrap(stars.x[i] - left, this.field));
        const y = Math.round(wrap(stars.y[i] - top, this.field));
        if (x > camera.width || y > camera.height) continue;
        if (stars.big[i]) ctx.drawImage(this.bigStar, x, y);
        else ctx.fillRect(x, y, stars.side[i], stars.side[i]);
      }
    }
    ctx.globalAlpha = 1;
  }

  drawGrid(ctx, camera, worldSize) {
    const { left, top, scale, width, height } = camera;
    const x0 = Math.max(0, -left);
    const y0 = Math.max(0, -top);
    const spanX = Math.min(width, worldSize * scale - left) - x0;
    const spanY = Math.min(height, worldSize * scale - top) - y0;
    if (spanX <= 0 || spanY <= 0) return;
    const line = Math.max(1, Math.round(scale));
    for (
      let u = Math.ceil((left + x0) / scale / GRID) * GRID;
      u * scale - left < x0 + spanX;
      u += GRID
    ) {
      ctx.fillStyle = u % GRID_BOLD === 0 ? "rgb(110 190 255 / .13)" : "rgb(110 160 255 / .05)";
      ctx.fillRect(Math.round(u * scale) - left, y0, line, spanY);
    }
    for (
      let u = Math.ceil((top + y0) / scale / GRID) * GRID;
      u * scale - top < y0 + spanY;
      u += GRID
    ) {
      ctx.fillStyle = u % GRID_BOLD === 0 ? "rgb(110 190 255 / .13)" : "rgb(110 160 255 / .05)";
      ctx.fillRect(x0, Math.round(u * scale) - top, spanX, line);
    }
  }

  drawBorder(ctx, camera, worldSize, seconds) {
    const { width, height } = camera;
    const left = -camera.left;
    const top = -camera.top;
    const side = Math.round(worldSize * camera.scale);
    const right = left + side;
    const bottom = top + side;
    if (
      left < -this.reach &&
      top < -this.reach &&
      right > width + this.reach &&
      bottom > height + this.reach
    )
      return;

    // Outside: hatched, so that nobody takes the void for arena.
    this.hatchPattern ??= ctx.createPattern(this.hatch, "repeat");
    ctx.translate(left, top);
    ctx.fillStyle = this.hatchPattern;
    if (top > 0) ctx.fillRect(-left, -top, width, top);
    if (bottom < height) ctx.fillRect(-left, side, width, height - bottom);
    if (left > 0) ctx.fillRect(-left, 0, left, side);
    if (right < width) ctx.fillRect(side, 0, width - right, side);
    ctx.translate(-left, -top);

    const x0 = Math.max(0, left);
    const y0 = Math.max(0, top);
    const x1 = Math.min(width, right);
    const y1 = Math.min(height, bottom);
    const { reach } = this;
    if (left > -reach) ctx.drawImage(this.fromLeft, left, y0, reach, y1 - y0);
    if (top > -reach) ctx.drawImage(this.fromTop, x0, top, x1 - x0, reach);
    ctx.save();
    ctx.scale(-1, 1);
    if (right < width + reach) ctx.drawImage(this.fromLeft, -right, y0, reach, y1 - y0);
    ctx.scale(-1, -1);
    if (bottom < height + reach) ctx.drawImage(this.fromTop, x0, -bottom, x1 - x0, reach);
    ctx.restore();

    ctx.strokeStyle = "#ff5ac8";
    ctx.lineWidth = 3 * camera.scale;
    ctx.globalAlpha = 0.75 + 0.2 * Math.sin(seconds * 2.2);
    ctx.strokeRect(left, top, side, side);
    ctx.strokeStyle = "#ffd9f2";
    ctx.lineWidth = camera.scale;
    ctx.strokeRect(left, top, side, side);
    ctx.globalAlpha = 1;
  }
}

/** `value` brought into 0 ≤ … < size. */
export function wrap(value, size) {
  return value - Math.floor(value / size) * size;
}
