/**
 * How much is drawn: chosen by the player, or by watching how long frames take.
 *
 * `pixels`: most that are drawn; `particles`: share of them; `stars`: those in front of the
 * nebula; `turning`: hulls turn smoothly (a graphics card does it for nothing) instead of in steps.
 */

export const LEVELS = Object.freeze({
  low: Object.freeze({ pixels: 0.95e6, particles: 0.4, stars: false, turning: false }),
  medium: Object.freeze({ pixels: 2.1e6, particles: 0.8, stars: true, turning: false }),
  high: Object.freeze({ pixels: 8.4e6, particles: 1, stars: true, turning: true }),
});
const ORDER = Object.keys(LEVELS);

const WINDOW = 90; // frames judged together
const SLOW_SHARE = { high: 0.12, medium: 0.4 }; // of a window's frames, to go a level down
const SLOW_MS = 21; // a frame that missed 60 Hz
const CALM_WINDOWS = 7; // good windows in a row before the next level, doubled by each step down

/** Device px per CSS px, so that the picture has at most `pixels` pixels. */
export function pixelRatio(width, height, devicePixelRatio, pixels) {
  return Math.min(devicePixelRatio, Math.sqrt(pixels / (width * height)));
}

/** Lowers the level soon when frames are slow; tries the next one late, and ever later. */
export class AutoQuality {
  constructor(level = "high") {
    this.rank = ORDER.indexOf(level);
    this.patience = CALM_WINDOWS;
    this.frames = this.slow = this.calm = 0;
  }

  get level() {
    return ORDER[this.rank];
  }

  /** Tell how long a frame took; true when the level changed. */
  frame(ms) {
    if (ms > 250) return false; // a hidden tab or a breakpoint says nothing about drawing
    this.frames += 1;
    if (ms > SLOW_MS) this.slow += 1;
    if (this.frames < WINDOW) return false;
    const share = this.slow / this.frames;
    this.frames = this.slow = 0;
    this.calm = share < 0.05 ? this.calm + 1 : 0;
    if (share > SLOW_SHARE[this.level]) {
      this.rank -= 1;
      this.calm = 0;
      this.patience *= 2;
      return true;
    }
    if (this.calm >= this.patience && this.rank < ORDER.length - 1) {
      this.rank += 1;
      this.calm = 0;
      return true;
    }
    return false;
  }
}
