/** Everything with a glow is drawn once, here, and stamped afterwards. */

export const HUES = 32; // hue buckets; each has sprites of its own
export const TURNS = 48; // headings of a turned hull
const TURNED_BYTES = 64e6; // of turned hulls that are kept
const OVERSAMPLE = 1.5; // sprites that get turned are baked finer, so that they stay crisp

/** An ImageBitmap of `width` × `height` px painted by `paint(ctx)`. */
export function bake(width, height, paint, options) {
  const canvas = new OffscreenCanvas(Math.max(1, Math.ceil(width)), Math.max(1, Math.ceil(height)));
  paint(canvas.getContext("2d", options));
  return canvas.transferToImageBitmap();
}

/** Neon colours: blues are lifted, since the eye takes them for dark. */
export function neon(hue, alpha = 1, lift = 0) {
  const blue = Math.max(0, 1 - Math.abs(hue - 245) / 45);
  return `hsl(${hue} 100% ${60 + 10 * blue + lift}% / ${alpha})`;
}

export const hueOf = (bucket) => (bucket * 360) / HUES;
export const bucketOf = (hue256) => (hue256 * HUES) >> 8;

export const STROKES = Array.from({ length: HUES }, (_, i) => neon(hueOf(i)));
export const PALE = Array.from({ length: HUES }, (_, i) => neon(hueOf(i), 1, 22));

// Outlines in world units, nose along +x, one side; the other is mirrored.
const PLAYER_HULL = [
  [25, 0],
  [9, 6],
  [3, 9],
  [-11, 19],
  [-9, 9],
  [-15, 6],
  [-12, 0],
];
const BOT_HULL = [
  [21, 0],
  [13, 9],
  [2, 11],
  [-5, 20],
  [-14, 14],
  [-11, 5],
  [-15, 0],
];
const GUNS = [
  [],
  [
    [
      [6, 10],
      [15, 10],
    ],
  ],
  [
    [
      [6, 10],
      [15, 10],
    ],
    [
      [-2, 15],
      [8, 15],
    ],
  ],
  [
    [
      [6, 10],
      [17, 10],
    ],
    [
      [-2, 15],
      [10, 15],
    ],
    [
      [-12, 8],
      [-21, 14],
    ],
  ],
];

const HULL_SPAN = 60; // side of a hull sprite, world units

function outline(ctx, points) {
  ctx.beginPath();
  for (const [x, y] of points) ctx.lineTo(x, y);
  for (let i = points.length - 1; i >= 0; i--) ctx.lineTo(points[i][0], -points[i][1]);
  ctx.closePath();
}

function mirrored(ctx, lines) {
  ctx.beginPath();
  for (const [[x0, y0], [x1, y1]] of lines) {
    ctx.moveTo(x0, y0);
    ctx.lineTo(x1, y1);
    ctx.moveTo(x0, -y0);
    ctx.lineTo(x1, -y1);
  }
}

function paintHull(ctx, hue, isBot, power) {
  ctx.lineJoin = ctx.lineCap = "round";
  const points = isBot ? BOT_HULL : PLAYER_HULL;

  ctx.shadowColor = neon(hue, 0.9);
  ctx.shadowBlur = 11 * ctx.getTransform().a;
  ctx.strokeStyle = neon(hue);
  ctx.lineWidth = 2.4;
  mirrored(ctx, GUNS[power]);
  ctx.stroke();
  outline(ctx, points);
  ctx.stroke();
  ctx.shadowBlur = 0;

  const metal = ctx.createLinearGradient(-16, 0, 24, 0);
  metal.addColorStop(0, `hsl(${hue} 70% 9%)`);
  metal.addColorStop(0.6, `hsl(${hue} 65% 19%)`);
  metal.addColorStop(1, `hsl(${hue} 75% 36%)`);
  outline(ctx, points);
  ctx.fillStyle = metal;
  ctx.fill();

  ctx.strokeStyle = neon(hue, 0.5);
  ctx.lineWidth = 1.1;
  mirrored(
    ctx,
    isBot
      ? [
          [
            [-11, 5],
            [4, 5],
          ],
          [
            [4, 5],
            [13, 9],
          ],
        ]
      : [
          [
            [-12, 3],
            [8, 3],
          ],
          [
            [-9, 9],
            [3, 9],
          ],
        ],
  );
  ctx.stroke();

  outline(ctx, points);
  ctx.strokeStyle = neon(hue, 1, 6);
  ctx.lineWidth = 2;
  ctx.stroke();
  ctx.strokeStyle = neon(hue, 0.85, 32);
  ctx.lineWidth = 0.7;
  ctx.stroke();

  ctx.fillStyle = neon(hue, 1, 30);
  ctx.beginPath();
  if (isBot) ctx.arc(6, 0, 3.2, 0, 7);
  else ctx.ellipse(7, 0, 5.5, 2.3, 0, 0, 7);
  ctx.fill();
}

function paintGlow(ctx, size, hue, core) {
  const glow = ctx.createRadialGradient(size / 2, size / 2, 0, size / 2, size / 2, size / 2);
  if (core) {
    glow.addColorStop(0, "rgb(255 255 255 / .95)");
    glow.addColorStop(0.16, neon(hue, 0.85, 20));
  } else {
    glow.addColorStop(0, neon(hue, 0.55, 8));
  }
  glow.addColorStop(0.42, neon(hue, 0.2));
  glow.addColorStop(1, neon(hue, 0));
  ctx.fillStyle = glow;
  ctx.fillRect(0, 0, size, size);
}

const ORB_HUES = [168, 190, 48];
const SAFE_ORB_HUES = [55, 55, 55];

/** The sprites for one scale (device px per world unit); baked when first asked for. */
export class Sprites {
  constructor(scale, labelPx, safeColours) {
    this.scale = scale;
    this.fine = OVERSAMPLE; // px of a turned sprite per device px
    this.labelPx = labelPx;
    this.orbHues = safeColours ? SAFE_ORB_HUES : ORB_HUES;
    this.hulls = new Array(HUES * 8);
    this.flames = new Array(HUES);
    this.glows = [8, 16, 24, 40, 64, 110, 190, 320].map((units) => ({
      units,
      px: Math.max(4, Math.round(units * scale)),
      soft: new Array(HUES),
      hot: new Array(HUES),
    }));
    this.turned = new Map();
    this.strips = 0; // turned hulls that may still be baked in this frame
    this.orbs = new Map();
    this.labels = new Map();
    this.botLabels = new Map();
    this.texts = new Map();
    this.shield = this.bakeShield();
    this.crown = this.bakeCrown();
  }

  hull(bucket, isBot, power) {
    const key = bucket * 8 + (isBot ? 4 : 0) + power;
    return (this.hulls[key] ??= this.rotating(HULL_SPAN, HULL_SPAN, (ctx) => {
      paintHull(ctx, hueOf(bucket), isBot, power);
    }));
  }

  /**
   * A hull in all its headings side by side, TURNS squares; null while it has to wait for the
   * next frame. Without a graphics card such a stamp costs a fraction of turning a sprite.
   */
  turnedHulls(bucket, isBot, power) {
    const key = bucket * 8 + (isBot ? 4 : 0) + power;
    let strip = this.turned.get(key);
    if (strip) return strip;
    if (this.strips === 0) return null;
    this.strips -= 1;
    const side = 2 * Math.ceil((HULL_SPAN * this.scale) / 2);
    if (this.turned.size * side * side * TURNS * 4 > TURNED_BYTES) this.turned.clear();
    const hull = this.hull(bucket, isBot, power);
    strip = bake(side * TURNS, side, (ctx) => {
      const fine = 1 / this.fine;
      for (let turn = 0; turn < TURNS; turn++) {
        const angle = (turn * 2 * Math.PI) / TURNS;
        const c = Math.cos(angle) * fine;
        const s = Math.sin(angle) * fine;
        ctx.setTransform(c, s, -s, c, (turn + 0.5) * side, side / 2);
        ctx.drawImage(hull, -hull.width / 2, -hull.height / 2);
      }
    });
    this.turned.set(key, strip);
    return strip;
  }

  /** A flame 40 × 18 units, its root at the right edge. */
  flame(bucket) {
    return (this.flames[bucket] ??= this.rotating(40, 18, (ctx) => {
      const hue = hueOf(bucket);
      const heat = ctx.createRadialGradient(14, 0, 0, 14, 0, 36);
      heat.addColorStop(0, "white");
      heat.addColorStop(0.22, neon(hue, 0.95, 18));
      heat.addColorStop(0.6, neon(hue, 0.35));
      heat.addColorStop(1, neon(hue, 0));
      ctx.fillStyle = heat;
      ctx.beginPath();
      ctx.moveTo(20, -4);
      ctx.quadraticCurveTo(6, -9, -20, 0);
      ctx.quadraticCurveTo(6, 9, 20, 4);
      ctx.fill();
    }));
  }

  rotating(width, height, paint) {
    const fine = this.scale * this.fine;
    return bake(width * fine, height * fine, (ctx) => {
      ctx.scale(fine, fine);
      ctx.translate(width / 2, height / 2);
      paint(ctx);
    });
  }

  /** The glow whose width is nearest to `units`; `hot` has a white core. */
  glow(bucket, units, hot) {
    let best = this.glows[0];
    for (const size of this.glows) {
      if (Math.abs(size.units - units) < Math.abs(best.units - units)) best = size;
    }
    const row = hot ? best.hot : best.soft;
    return (row[bucket] ??= bake(best.px, best.px, (ctx) => {
      paintGlow(ctx, best.px, hueOf(bucket), hot);
    }));
  }

  /** An orb of `value` in one of 4 phases of its pulse. */
  orb(value, phase) {
    const rank = Math.max(0, Math.min(value, 3) - 1);
    const key = rank * 4 + phase;
    let sprite = this.orbs.get(key);
    if (!sprite) {
      const radius = (6 + rank * 2.5) * this.scale;
      const size = Math.ceil(radius * 5.2);
      const hue = this.orbHues[rank];
      sprite = bake(size, size, (ctx) => {
        ctx.globalAlpha = 0.6 + 0.13 * phase;
        paintGlow(ctx, size, hue, false);
        ctx.globalAlpha = 1;
        ctx.translate(size / 2, size / 2);
        ctx.rotate((phase * Math.PI) / 24 + Math.PI / 4);
        ctx.strokeStyle = neon(hue, 1, 10);
        ctx.fillStyle = neon(hue, 0.3 + 0.1 * phase);
        ctx.lineWidth = Math.max(1, 1.7 * this.scale);
        const side = radius * (0.74 + 0.05 * phase);
        ctx.beginPath();
        if (rank === 2) {
          for (let i = 0; i < 6; i++)
            ctx.lineTo(
              side * 1.2 * Math.cos((i * Math.PI) / 3),
              side * 1.2 * Math.sin((i * Math.PI) / 3),
            );
          ctx.closePath();
        } else {
          ctx.rect(-side, -side, 2 * side, 2 * side);
        }
        ctx.fill();
        ctx.stroke();
        ctx.fillStyle = "white";
        ctx.fillRect(-side * 0.28, -side * 0.28, side * 0.56, side * 0.56);
      });
      this.orbs.set(key, sprite);
    }
    return sprite;
  }

  /** A name as it stands under its ship. */
  label(name, isBot) {
    return this.text(isBot ? this.botLabels : this.labels, name, {
      px: this.labelPx,
      weight: isBot ? 500 : 700,
      colour: isBot ? "rgb(190 205 235 / .62)" : "rgb(236 244 255 / .95)",
    });
  }

  /** A word that floats up, such as "+5". */
  shout(word, bucket) {
    return this.text(this.texts, word, {
      px: this.labelPx * 1.25,
      weight: 800,
      colour: PALE[bucket],
    });
  }

  text(cache, text, { px, weight, colour }) {
    let sprite = cache.get(text);
    if (sprite) return sprite;
    if (cache.size > 600) cache.clear(); // names come and go; a full cache starts over
    const font = `${weight} ${px}px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif`;
    const measure = new OffscreenCanvas(1, 1).getContext("2d");
    measure.font = font;
    sprite = bake(measure.measureText(text).width + px * 0.6, px * 1.5, (ctx) => {
      ctx.font = font;
      ctx.textAlign = "center";
      ctx.textBaseline = "middle";
      ctx.lineJoin = "round";
      const { width, height } = ctx.canvas;
      ctx.strokeStyle = "rgb(4 6 16 / .8)";
      ctx.lineWidth = px * 0.24;
      ctx.strokeText(text, width / 2, height / 2);
      ctx.fillStyle = colour;
      ctx.fillText(text, width / 2, height / 2);
    });
    cache.set(text, sprite);
    return sprite;
  }

  bakeShield() {
    return this.rotating(76, 76, (ctx) => {
      const rim = ctx.createRadialGradient(0, 0, 18, 0, 0, 36);
      rim.addColorStop(0, "rgb(120 230 255 / 0)");
      rim.addColorStop(0.7, "rgb(120 230 255 / .14)");
      rim.addColorStop(0.86, "rgb(150 240 255 / .34)");
      rim.addColorStop(1, "rgb(120 230 255 / 0)");
      ctx.fillStyle = rim;
      ctx.fillRect(-38, -38, 76, 76);
      ctx.lineCap = "round";
      ctx.strokeStyle = "rgb(210 250 255 / .9)";
      ctx.lineWidth = 1.6;
      for (let i = 0; i < 3; i++) {
        ctx.beginPath();
        ctx.arc(0, 0, 32, i * 2.094, i * 2.094 + 1.25);
        ctx.stroke();
      }
      ctx.strokeStyle = "rgb(160 240 255 / .35)";
      ctx.lineWidth = 1;
      ctx.beginPath();
      for (let i = 0; i < 6; i++) ctx.lineTo(28 * Math.cos(i * 1.0472), 28 * Math.sin(i * 1.0472));
      ctx.closePath();
      ctx.stroke();
    });
  }

  bakeCrown() {
    const scale = this.scale;
    return bake(34 * scale, 26 * scale, (ctx) => {
      ctx.scale(scale, scale);
      ctx.translate(17, 14);
      ctx.shadowColor = "rgb(255 200 80)";
      ctx.shadowBlur = 6 * scale;
      ctx.lineJoin = "round";
      ctx.beginPath();
      for (const [x, y] of [
        [-10, 7],
        [-11, -5],
        [-5, 0],
        [0, -8],
        [5, 0],
        [11, -5],
        [10, 7],
      ])
        ctx.lineTo(x, y);
      ctx.closePath();
      ctx.fillStyle = "rgb(255 200 80 / .45)";
      ctx.fill();
      ctx.strokeStyle = "#ffe29a";
      ctx.lineWidth = 1.8;
      ctx.stroke();
    });
  }
}
