/** Plots of the network and of drawing over the last seconds (F3 or ?overlay). */

import { WINDOW_MS } from "./stats.js";

const REDRAW_MS = 100;
const BASE_PX = 13.5; // root font size at which a unit here is a CSS px
const WIDTH = 320;
const FONT = '10.5px ui-monospace, "DejaVu Sans Mono", monospace';
const ROW = 44;
const BINS = 200; // of a plot's width: each shows the highest value in its slice of time

/** A figure with about three digits: 1234567 → "1.23M". */
export function brief(value) {
  const size = Math.abs(value);
  if (size >= 1e6) return `${(value / 1e6).toFixed(2)}M`;
  if (size >= 1e4) return `${(value / 1e3).toFixed(1)}k`;
  if (size >= 100 || Number.isInteger(value)) return value.toFixed(0);
  return value.toFixed(size >= 10 ? 1 : 2);
}

/** The smallest of 1, 2, 5 × 10ⁿ that is not below `value`: a calm upper end for an axis. */
export function niceCeiling(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  for (const step of [1, 2, 5]) if (step * power >= value * (1 - 1e-9)) return step * power;
  return 10 * power;
}

export class Overlay {
  constructor(canvas) {
    this.canvas = canvas;
    this.ctx = canvas.getContext("2d");
    this.due = 0;
    this.bins = new Float32Array(BINS);
    this.summary = {};
  }

  get shown() {
    return !this.canvas.hidden;
  }

  toggle(shown = !this.shown) {
    this.canvas.hidden = !shown;
    this.due = 0;
  }

  /** `stats`: the client's, or null; `parts`: ms of drawing by part. */
  draw(stats, parts, nowMs) {
    if (!this.shown || nowMs < this.due) return;
    this.due = nowMs + REDRAW_MS;
    const { canvas, ctx } = this;
    const series = stats ? stats.series : [];
    const zoom = parseFloat(getComputedStyle(document.documentElement).fontSize) / BASE_PX;
    const ratio = devicePixelRatio * zoom;
    const height = series.length * ROW + 16 * Math.ceil(Object.keys(parts).length / 2) + 14;
    if (
      canvas.width !== Math.round(WIDTH * ratio) ||
      canvas.height !== Math.round(height * ratio)
    ) {
      canvas.width = Math.round(WIDTH * ratio);
      canvas.height = Math.round(height * ratio);
      canvas.style.width = `${WIDTH * zoom}px`;
      canvas.style.height = `${height * zoom}px`;
    }
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    ctx.clearRect(0, 0, WIDTH, height);
    series.forEach((one, row) => {
      const events = one === stats.bytes || one === stats.correction;
      this.plot(one, this.figures(one, stats, nowMs), events, row, nowMs);
    });
    this.list(parts, series.length * ROW + 18);
  }

  /** What stands beside a plot's title; events count per second, measures have a last value. */
  figures(series, stats, nowMs) {
    const { count, mean, max } = series.summary(nowMs, this.summary);
    if (series === stats.bytes) return `${brief(series.perSecond(nowMs))} B/s`;
    if (series === stats.correction) {
      return (
        `${brief(series.rate(nowMs))}/s` + (count ? ` · max ${brief(max)} ${series.unit}` : "")
      );
    }
    return count
      ? `${brief(series.last)} · ø ${brief(mean)} · max ${brief(max)} ${series.unit}`
      : "–";
  }

  plot(series, figures, events, row, nowMs) {
    const { ctx, bins } = this;
    const x = 8;
    const y = 6 + row * ROW;
    const width = WIDTH - 16;
    const height = ROW - 18;
    const hue = (185 + row * 38) % 360;

    bins.fill(NaN);
    let most = 0;
    let least = 0;
    series.each(nowMs, (age, value) => {
      const bin = BINS - 1 - Math.floor((age / WINDOW_MS) * BINS);
      if (!(Math.abs(bins[bin]) >= Math.abs(value))) bins[bin] = value;
      most = Math.max(most, value);
      least = Math.min(least, value);
    });
    const top = niceCeiling(Math.max(most, -least));
    const bottom = least < 0 ? -top : 0;
    const level = (value) => y + 13 + height * (1 - (value - bottom) / (top - bottom));

    ctx.fillStyle = "rgb(120 170 255 / .07)";
    ctx.fillRect(x, y + 13, width, height);
    ctx.fillStyle = "rgb(160 190 255 / .25)";
    ctx.fillRect(x, level(0), width, 1);
    ctx.font = FONT;
    ctx.textAlign = "left";
    ctx.fillStyle = `hsl(${hue} 90% 75%)`;
    ctx.fillText(series.label, x, y + 9);
    ctx.textAlign = "right";
    ctx.fillStyle = "#dfe9ff";
    ctx.fillText(figures, x + width, y + 9);

    // Measures hold until the next one; events stand alone.
    ctx.strokeStyle = `hsl(${hue} 95% 68%)`;
    ctx.lineWidth = 1.3;
    ctx.beginPath();
    let pen = false;
    for (let i = 0; i < BINS; i++) {
      if (Number.isNaN(bins[i])) continue;
      const px = x + ((i + 0.5) / BINS) * width;
      if (events) ctx.moveTo(px, level(0));
      if (pen || events) ctx.lineTo(px, level(bins[i]));
      else ctx.moveTo(px, level(bins[i]));
      pen = true;
    }
    ctx.stroke();
  }

  list(parts, y) {
    const { ctx } = this;
    ctx.font = FONT;
    Object.entries(parts).forEach(([name, ms], i) => {
      const x = 8 + (i % 2) * (WIDTH / 2);
      const line = y + Math.floor(i / 2) * 16;
      ctx.textAlign = "left";
      ctx.fillStyle = "#8fa3cc";
      ctx.fillText(name, x, line);
      ctx.textAlign = "right";
      ctx.fillStyle = "#dfe9ff";
      ctx.fillText(`${ms.toFixed(2)} ms`, x + WIDTH / 2 - 18, line);
    });
  }
}
