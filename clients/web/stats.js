/**
 * What the overlay plots: rings of the last ten seconds.
 *
 * `stats.rtt`, `jitter`, `delay`, `gap`, `frame` (ms), `slack` (ticks), `correction` (world units,
 * one value per snapshot that moved the own ship) and `bytes` (per message in) are `Series`;
 * `stats.series` lists them in order of display. Totals since the join: `snapshots`,
 * `corrections`.
 */

export const WINDOW_MS = 10_000;

export class Series {
  #times;
  #values;
  #next = 0;

  constructor(label, unit, capacity = 2048) {
    this.label = label;
    this.unit = unit;
    this.last = NaN;
    this.#times = new Float64Array(capacity);
    this.#values = new Float32Array(capacity);
  }

  push(now, value) {
    const slot = this.#next++ % this.#times.length;
    this.#times[slot] = now;
    this.#values[slot] = value;
    this.last = value;
  }

  /** `visit(ageMs, value)` for the values of the last ten seconds, newest first. */
  each(now, visit) {
    const oldest = Math.max(0, this.#next - this.#times.length);
    for (let i = this.#next - 1; i >= oldest; i--) {
      const age = now - this.#times[i % this.#times.length];
      if (age > WINDOW_MS) return;
      visit(age, this.#values[i % this.#values.length]);
    }
  }

  /** `{count, sum, mean, max}` of the last ten seconds; written into `into`. */
  summary(now, into = {}) {
    into.count = 0;
    into.sum = 0;
    into.max = -Infinity;
    this.each(now, (_, value) => {
      into.count++;
      into.sum += value;
      into.max = Math.max(into.max, value);
    });
    into.mean = into.count ? into.sum / into.count : NaN;
    return into;
  }

  /** Sum of the last ten seconds per second. */
  perSecond(now) {
    return this.summary(now).sum / (WINDOW_MS / 1000);
  }

  /** How often per second in the last ten seconds. */
  rate(now) {
    return this.summary(now).count / (WINDOW_MS / 1000);
  }
}

export class Stats {
  constructor() {
    this.rtt = new Series("round trip", "ms");
    this.jitter = new Series("jitter", "ms");
    this.delay = new Series("interpolation delay", "ms");
    this.gap = new Series("snapshot gap", "ms");
    this.slack = new Series("input slack", "ticks");
    this.correction = new Series("corrections", "units");
    this.bytes = new Series("bytes in", "B");
    this.frame = new Series("frame time", "ms");
    this.series = [
      this.rtt, this.jitter, this.delay, this.gap, this.slack, this.correction, this.bytes,
      this.frame,
    ];
    this.snapshots = 0;
    this.corrections = 0;
  }
}
