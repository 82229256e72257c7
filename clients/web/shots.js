/**
 * Shots fly straight, so their row says where they ever will be. Others' are drawn in the
 * others' time (playback), the own in the own ship's time: there a shot appears at once, is
 * confirmed when the server shows one with our slot and the command's sequence, and withdrawn
 * when the server has used that command without firing it.
 */

import { DIRECTION_X, DIRECTION_Y } from "./movement.js";

const f = Math.fround;
const NONE = -1;
const NEVER = Infinity;
const BLEND_MS = 45;
const LATE_TICKS = 3; // a shot first seen later than this after its birth makes no muzzle flash
const CONFIRM_TICKS = 2; // flies on that long after we saw it hit: the server disagrees

/** One shot. `end`: tick at which it is gone. `error`: from its true to its drawn place. */
class Shot {
  id = NONE;
  generation = 0;
  own = false;
  owner = 0;
  seq = 0;
  barrel = 0;
  x = 0;
  y = 0;
  dx = 0;
  dy = 0;
  aim = 0;
  born = 0;
  end = NEVER;
  errorX = 0;
  errorY = 0;
  fresh = true; // not drawn yet
  asserted = true; // fired again in the running replay
  struckAt = NEVER; // tick at which we saw it hit
  passes = false; // the server says that it did not
}

export class Shots {
  #byId = new Map();
  #blendedAt = 0;
  #flashOwner = NONE;
  #flashBorn = NONE;

  constructor(kind, rules, slot) {
    this.slot = slot;
    this.scale = kind.scale.x;
    this.step = f(rules.shot_step);
    this.life = rules.shot_life_ticks;
    this.size = rules.high + rules.low;
    this.list = [];
  }

  // -------------------------------------------------------------- own shots, predicted

  /** The own ship fires, for the first time or again in a replay. */
  fired(tick, seq, barrel, x, y, aim) {
    let shot = this.list.find(
      (s) => s.own && s.id === NONE && s.seq === seq && s.barrel === barrel && !s.asserted,
    );
    if (!shot) {
      shot = new Shot();
      shot.own = true;
      shot.owner = this.slot;
      shot.seq = seq;
      shot.barrel = barrel;
      this.list.push(shot);
    }
    this.#aim(shot, tick, x, y, aim);
    shot.asserted = true;
  }

  /** Before a replay: what the server has not confirmed has to be fired again in it. */
  beginReplay() {
    for (const shot of this.list) if (shot.own && shot.id === NONE) shot.asserted = false;
  }

  /** After it: withdraw those that were not, the server's state leaves no room for them. */
  endReplay() {
    this.#keep((shot) => shot.asserted || shot.id !== NONE || !shot.own);
  }

  // -------------------------------------------------------------- the server's shots

  /** Take in a snapshot's shots, before the replay. `known`: the kind after it was applied. */
  apply(tick, known) {
    for (let i = 0; i < known.leftCount; i++) {
      const shot = this.#byId.get(known.left[i]);
      if (!shot) continue;
      this.#byId.delete(shot.id);
      shot.end = Math.min(shot.end, shot.own ? NONE : tick - 0.5);
    }
    this.#keep((shot) => shot.end !== NONE);
    for (let i = 0; i < known.enteredCount; i++) {
      const id = known.entered[i];
      const old = this.#byId.get(id);
      if (old?.generation === known.generation[id]) continue; // a full snapshot tells it again
      this.#enter(tick, known, id);
    }
    for (const shot of this.list) {
      if (shot.own && shot.struckAt + CONFIRM_TICKS <= tick) {
        shot.struckAt = NEVER;
        shot.passes = true;
      }
    }
  }

  #enter(tick, known, id) {
    const { columns } = known;
    const born = tick - ((tick - columns.born[id]) & 0xffff);
    const own = columns.owner[id] === this.slot;
    const x = f(columns.x[id] * this.scale);
    const y = f(columns.y[id] * this.scale);
    const aim = columns.aim[id];
    let shot = own ? this.#predicted(columns.seq[id], aim, x, y) : undefined;
    if (!shot) {
      shot = new Shot();
      shot.own = own;
      this.list.push(shot);
    }
    shot.id = id;
    shot.generation = known.generation[id];
    shot.owner = columns.owner[id];
    shot.seq = columns.seq[id];
    this.#aim(shot, born, x, y, aim);
    this.#byId.set(id, shot);
  }

  /** The predicted shot that this one confirms: of that command, and the nearest of its volley. */
  #predicted(seq, aim, x, y) {
    let best;
    let nearest = Infinity;
    for (const shot of this.list) {
      if (!shot.own || shot.id !== NONE || shot.seq !== seq || shot.aim !== aim) continue;
      const distance = (shot.x - x) ** 2 + (shot.y - y) ** 2;
      if (distance < nearest) [best, nearest] = [shot, distance];
    }
    return best;
  }

  /** Put a shot on its line; if it was drawn on another, the difference is blended out. */
  #aim(shot, born, x, y, aim) {
    const dx = f(DIRECTION_X[aim] * this.step);
    const dy = f(DIRECTION_Y[aim] * this.step);
    if (!shot.fresh) {
      shot.errorX += shot.x - x - (shot.born * shot.dx - born * dx);
      shot.errorY += shot.y - y - (shot.born * shot.dy - born * dy);
    }
    Object.assign(shot, { born, x, y, aim, dx, dy, end: born + this.life });
  }

  // -------------------------------------------------------------- drawing

  /**
   * Write the shots in flight into `scene` ({count, id, x, y, aim, own}, room for all of them).
   * `ownTime`, `othersTime`: ticks. `struck(shot, x, y)`: does an own shot hit what is drawn
   * there? `onFire(shot)`: it appears.
   */
  sample(now, ownTime, othersTime, scene, struck, onFire) {
    const fade = Math.exp(-Math.max(0, now - this.#blendedAt) / BLEND_MS);
    this.#blendedAt = now;
    let kept = 0;
    let count = 0;
    for (const shot of this.list) {
      const time = shot.own ? ownTime : othersTime;
      // Kept while the server may still tell of it, even when it is gone from the picture.
      const told = shot.id === NONE || this.#byId.get(shot.id) === shot;
      if (told || time < shot.end) this.list[kept++] = shot;
      if (time < shot.born || time >= shot.end || shot.struckAt !== NEVER) continue;
      const x = shot.x + shot.dx * (time - shot.born) + shot.errorX;
      const y = shot.y + shot.dy * (time - shot.born) + shot.errorY;
      if (x < 0 || y < 0 || x > this.size || y > this.size) continue;
      shot.errorX *= fade;
      shot.errorY *= fade;
      if (shot.fresh) {
        shot.fresh = false;
        this.#flash(shot, time, onFire);
      }
      if (shot.own && !shot.passes && struck(shot, x, y)) {
        shot.struckAt = time;
        continue;
      }
      scene.id[count] = shot.id === NONE ? 0xffff : shot.id;
      scene.x[count] = x;
      scene.y[count] = y;
      scene.aim[count] = shot.aim * ((2 * Math.PI) / 1024);
      scene.own[count] = shot.own ? 1 : 0;
      count++;
    }
    this.list.length = kept;
    scene.count = count;
  }

  /** One muzzle flash for each volley. */
  #flash(shot, time, onFire) {
    const same = shot.owner === this.#flashOwner && shot.born === this.#flashBorn;
    if (same || time - shot.born > LATE_TICKS) return;
    this.#flashOwner = shot.owner;
    this.#flashBorn = shot.born;
    onFire(shot);
  }

  #keep(wanted) {
    let kept = 0;
    for (const shot of this.list) if (wanted(shot)) this.list[kept++] = shot;
    this.list.length = kept;
  }
}
