/**
 * Others, as they are drawn: a second picture of the room that follows the playback clock, a
 * little behind what is known. Smooth fields lie on the line between what came before and after
 * that moment; all other fields, and who is there at all, are as of then. Lists and maps are the
 * live ones. One object per entity, used again for every frame.
 */

import { inner } from "./state.js";

const VALUES_KEPT = 32; // values of a smooth field, a power of two
const GAP_TICKS = 5; // a longer pause ends that many ticks before what ended it
const JUMP_TIMES = 12; // times what a field usually changes by: it was put elsewhere
const MOST_WAITING = 8192; // changes, for a page that does not draw

/** The last values of one smooth field of one entity. */
class Track {
  #ticks = new Float64Array(VALUES_KEPT);
  #values = new Float64Array(VALUES_KEPT);
  #count = 0;

  /** `value` holds from `tick` on; what was before held until the tick before, or moves there. */
  push(tick, value, field, full) {
    const n = this.#count;
    if (n > 0) {
      const [since, before] = this.#newest();
      const change = Math.abs(value - before);
      const jump = field.usual > 0 && change > JUMP_TIMES * field.usual;
      field.usual = jump ? field.usual * 1.5 : Math.max(field.usual * 0.999, change);
      const held = jump ? tick - 0.001 : tick - (full ? GAP_TICKS : 1);
      if (held > since) this.#put(held, before);
      else if (tick <= since) this.#count--;
    }
    this.#put(tick, value);
  }

  at(time) {
    const last = this.#count - 1;
    let i = last;
    while (i > 0 && i > this.#count - VALUES_KEPT && this.#ticks[i % VALUES_KEPT] > time) i--;
    const [tick, value] = [this.#ticks[i % VALUES_KEPT], this.#values[i % VALUES_KEPT]];
    if (i === last || time <= tick) return value;
    const j = (i + 1) % VALUES_KEPT;
    return value + (this.#values[j] - value) * ((time - tick) / (this.#ticks[j] - tick));
  }

  /** Does nothing change after `time`? */
  over(time) {
    return this.#ticks[(this.#count - 1) % VALUES_KEPT] <= time;
  }

  #newest() {
    const i = (this.#count - 1) % VALUES_KEPT;
    return [this.#ticks[i], this.#values[i]];
  }

  #put(tick, value) {
    const i = this.#count++ % VALUES_KEPT;
    this.#ticks[i] = tick;
    this.#values[i] = value;
  }
}

export class Interpolation {
  #state;
  #seen = new Map(); // id: {entity, drawn, tracks}
  #waiting = []; // flat: tick, what to do then
  #done = 0;
  #tick = 0;
  #full = false;

  constructor(state) {
    this.#state = state;
    this.drawn = {}; // by kind: what is there at the sampled time
    for (const name of Object.keys(state.byName)) this.drawn[name] = [];
    this.begin(state.tick, true);
    for (const entity of state.all.values()) this.enter(entity);
    this.seek(state.tick); // who is here already is drawn at once
    state.recorder = this;
  }

  /** Move to `time`, in ticks. */
  seek(time) {
    const waiting = this.#waiting;
    while (waiting[this.#done] <= time) {
      waiting[this.#done + 1]();
      this.#done += 2;
    }
    if (this.#done > 1024 || this.#done === waiting.length) {
      waiting.splice(0, this.#done);
      this.#done = 0;
    }
    for (const { drawn, tracks } of this.#seen.values()) {
      for (const track of tracks) {
        if (track.still) continue;
        drawn[track.name] = track.line.at(time);
        track.still = track.line.over(time);
      }
    }
    return this.drawn;
  }

  /** What is drawn for a live entity; null before it is there. */
  of(entity) {
    const seen = this.#seen.get(entity.id);
    return seen?.entity === entity ? seen.drawn : null;
  }

  #later(act) {
    this.#waiting.push(this.#tick, act);
    if (this.#waiting.length - this.#done > 2 * MOST_WAITING) this.seek(this.#tick);
  }

  // -------------------------------------------------------------- what the state tells

  begin(tick, full) {
    this.#tick = tick;
    this.#full = full;
  }

  enter(entity) {
    if (entity === this.#state.room || this.of(entity)) return;
    const { kind } = entity[inner];
    const drawn = { id: entity.id, mine: entity.mine };
    const tracks = [];
    for (const field of kind.fields) {
      drawn[field.name] = entity[field.name];
      if (!field.smooth || typeof entity[field.name] !== "number") continue;
      const track = { name: field.name, line: new Track(), still: true };
      track.line.push(this.#tick, entity[field.name], field, true);
      tracks.push(track);
    }
    this.#seen.set(entity.id, { entity, drawn, tracks });
    this.#later(() => {
      drawn.mine = entity.mine; // by now it is known who one's own player is
      this.drawn[kind.name].push(drawn);
    });
  }

  leave(entity) {
    const drawn = this.of(entity);
    if (!drawn) return;
    this.#seen.delete(entity.id);
    const list = this.drawn[entity[inner].kind.name];
    this.#later(() => list.splice(list.indexOf(drawn), 1));
  }

  change(entity, field) {
    const seen = this.#seen.get(entity.id);
    if (!seen) return;
    const track = field.smooth && seen.tracks.find((t) => t.name === field.name);
    if (track && typeof entity[field.name] === "number") {
      track.line.push(this.#tick, entity[field.name], field, this.#full);
      track.still = false;
    } else {
      const value = entity[field.name];
      this.#later(() => {
        seen.drawn[field.name] = value;
        seen.drawn.mine = entity.mine; // it may be the owner
      });
    }
  }
}
