/**
 * One's own player, ahead of the server: each input is applied at once with the same function as
 * the server's, tick by tick. When the server's state of a tick comes and differs from what was
 * predicted for it, all since then is done again from there. What that moves is not shown as a
 * jump: it fades away.
 */

const TICKS_KEPT = 256; // ticks
const BLEND_MS = 45; // time constant: nine tenths of an error are gone after 100 ms
const ERROR_TIMES = 12; // times what a field usually changes by in a tick: not smoothed

export class Prediction {
  #fields;
  #step;
  #dt;
  #inputs = []; // by tick modulo TICKS_KEPT
  #states = []; // likewise, after that tick
  #held = null; // the input that was in force last
  #shown = null; // the input that was drawn last
  #next = {};
  #error = {}; // from the predicted value to the drawn one, by smooth field
  #usual = {};
  #blendedAt = 0;

  /** `fields`: of the kind; `step(me, input, dt)` changes `me` as the server does in a tick. */
  constructor(fields, step, tickHz) {
    this.#fields = fields;
    this.#step = step;
    this.#dt = 1 / tickHz;
    this.me = {};
    this.tick = -1; // up to which is predicted; -1 before the first state
    this.corrections = 0;
    for (const { name } of fields.filter((field) => field.smooth)) {
      this.#error[name] = this.#usual[name] = 0;
    }
  }

  /** Input for `tick`, an object of its own; ticks left out since the last one go on under the input before. */
  act(tick, input) {
    if (this.tick >= 0) {
      while (this.tick + 1 < tick) this.#advance(this.#held ?? input);
      if (this.tick < tick) this.#advance(input);
    }
    this.#held = input;
  }

  /** The server's `entity`, after `tick`. */
  reconcile(tick, entity) {
    if (this.tick < tick || tick <= this.tick - TICKS_KEPT || !this.#states[tick % TICKS_KEPT]) {
      this.#take(tick, entity, null);
      return;
    }
    const predicted = this.#states[tick % TICKS_KEPT];
    const right = ({ name }, i) => agree(this.#fields[i], predicted[name], entity[name]);
    if (this.#fields.every(right)) return;
    const [present, before] = [this.tick, { ...this.me }];
    this.#take(tick, entity, predicted);
    while (this.tick < present) this.#advance(this.#inputs[(this.tick + 1) % TICKS_KEPT]);
    this.corrections++;
    for (const name of Object.keys(this.#error)) {
      const error = this.#error[name] + before[name] - this.me[name];
      this.#error[name] = Math.abs(error) > ERROR_TIMES * this.#usual[name] ? 0 : error;
    }
  }

  /** Write into `drawn`: oneself at `time` ticks, `input` being what is held right now. */
  draw(now, time, input, drawn) {
    const { me } = this;
    const part = Math.min(1, Math.max(-1, time - this.tick));
    const before = this.#states[(this.tick - 1) % TICKS_KEPT] ?? me;
    const next = this.#after(input, this.#next);
    const shown = this.#shown ?? input;
    this.#shown = input;
    // A key that is pressed within a tick bends the way from here on, not from the tick's begin.
    const other = Object.keys(input).some((name) => input[name] !== shown[name])
      ? this.#after(shown, {}) : next;
    const fade = Math.exp(-Math.max(0, now - this.#blendedAt) / BLEND_MS);
    this.#blendedAt = now;
    for (const { name, smooth } of this.#fields) {
      drawn[name] = me[name];
      if (!smooth) continue;
      const [from, to] = part < 0 ? [before[name], me[name]] : [me[name], next[name]];
      const error = this.#error[name] * fade + (other[name] - next[name]) * Math.max(0, part);
      this.#error[name] = error;
      drawn[name] += (to - from) * part + error;
    }
  }

  /** `into`, as oneself would be after one more tick. */
  #after(input, into) {
    this.#step(Object.assign(into, this.me), input, this.#dt);
    return into;
  }

  /** Start from what the server says; what agrees with `predicted` keeps its finer value. */
  #take(tick, entity, predicted) {
    for (const field of this.#fields) {
      const { name } = field;
      const keep = predicted && agree(field, predicted[name], entity[name]);
      this.me[name] = keep ? predicted[name] : entity[name];
    }
    this.tick = tick - 1;
    this.#keep();
    this.tick++;
    this.#keep();
  }

  #advance(input) {
    this.#inputs[++this.tick % TICKS_KEPT] = input;
    const { me } = this;
    const before = this.#states[(this.tick - 1) % TICKS_KEPT];
    this.#step(me, input, this.#dt);
    for (const name of Object.keys(this.#usual)) {
      this.#usual[name] = Math.max(this.#usual[name] * 0.999, Math.abs(me[name] - before[name]));
    }
    this.#keep();
  }

  #keep() {
    const at = this.tick % TICKS_KEPT;
    this.#states[at] = Object.assign(this.#states[at] ?? {}, this.me);
  }
}

/** Can `told`, which may have been rounded for the way, be `predicted`? */
function agree(field, predicted, told) {
  if (typeof predicted !== "number" || typeof told !== "number") return predicted === told;
  const rounding = field.quantised ? field.step * 0.51 : 1e-9 * Math.abs(told);
  return Math.abs(predicted - told) <= rounding;
}
