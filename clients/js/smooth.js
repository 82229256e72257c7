/**
 * Others, between two snapshots: a ring of what the last snapshots said, and for any moment of
 * playback each entity's place on the straight line between the two around it.
 *
 * Past the newest snapshot an entity goes on at its last velocity for 250 ms and then holds. When
 * it turns out to be elsewhere, the difference is blended out, never by a step backwards. An
 * entity that jumps (respawn, another one in the slot) is not drawn between the two places.
 */

const FRAMES = 64;
const EXTRAPOLATE_MS = 250;
const BLEND_MS = 60;
const JUMP_SPEED = 2000; // units per second: no ship flies that fast
const JUMP_UNITS = 40; // and quantised coordinates and short ticks need some room
const BLEND_LIMIT = 150; // units; a larger difference is not blended
const SURE_SPEED = 80; // units per second: nothing that fast stands still in the next tick

/** What one snapshot said: `ids[0..count)`, and by id `generation` (0: absent) and columns. */
class Frame {
  constructor(fields) {
    this.fields = fields;
    this.tick = -1;
    this.count = 0;
    this.capacity = 0;
    this.columns = {};
  }

  record(tick, known) {
    if (this.capacity < known.capacity) this.#allocate(known.capacity);
    else for (let i = 0; i < this.count; i++) this.generation[this.ids[i]] = 0;
    this.tick = tick;
    this.count = known.count;
    for (let i = 0; i < known.count; i++) {
      const id = known.ids[i];
      this.ids[i] = id;
      this.generation[id] = known.generation[id];
    }
    for (const { name } of this.fields) {
      const from = known.columns[name];
      const to = this.columns[name];
      for (let i = 0; i < known.count; i++) to[known.ids[i]] = from[known.ids[i]];
    }
  }

  #allocate(capacity) {
    this.capacity = capacity;
    this.ids = new Uint16Array(capacity);
    this.generation = new Uint32Array(capacity);
    for (const field of this.fields) this.columns[field.name] = field.column(capacity);
  }

  /** Generation of an entity in this snapshot, 0 if it was not in it. */
  of(id) {
    return id < this.capacity ? this.generation[id] : 0;
  }
}

export class Interpolation {
  #frames;
  #pushed = 0; // frames ever recorded
  #passed = 0; // frames that playback has gone through: 0..pushed
  #time = NaN; // of the last sample, ticks
  #now = 0;
  #fade = 1; // what is left of an offset since the last sample
  #starved = false; // the last sample was past the newest frame, and a newer one has come
  #a = null; // frames around the sampled time, and the one before them
  #b = null;
  #before = null;
  #offsetX = new Float32Array(0);
  #offsetY = new Float32Array(0);
  #drawnX = new Float32Array(0);
  #drawnY = new Float32Array(0);
  #drawnGeneration = new Uint32Array(0);
  #toldX = new Uint16Array(0); // what we were told last of each entity, and how long ago
  #toldY = new Uint16Array(0);
  #toldTicks = new Uint8Array(0);
  #velocityX = new Float32Array(0); // between the last two that we were told, wire units per tick
  #velocityY = new Float32Array(0);

  /**
   * `kind`: compiled, with mutable columns `x` and `y` of one scale. The result of `place` is in
   * `x`, `y`, `vx`, `vy` (world units and units per second).
   */
  constructor(kind, tickHz) {
    this.tickHz = tickHz;
    this.scale = kind.scale.x;
    this.#frames = Array.from({ length: FRAMES }, () => new Frame(kind.mutable.fields));
    this.x = 0;
    this.y = 0;
    this.vx = 0;
    this.vy = 0;
  }

  /** Keep what a snapshot said. `known`: a `KnownKind` after it was applied. */
  push(tick, known) {
    const newest = this.#frame(this.#pushed - 1);
    if (newest && this.#time > newest.tick) this.#starved = true;
    if (this.#offsetX.length < known.capacity) this.#grow(known.capacity);
    const frame = this.#frames[this.#pushed++ % FRAMES];
    frame.record(tick, known);
    this.#carryOn(frame, newest);
    this.#passed = Math.max(this.#passed, this.#pushed - FRAMES);
  }

  /**
   * In a crowd the server tells of entities in turns, and one that is not due looks as if it stood
   * still. One that was flying is put where it would be by now, as if past the newest snapshot.
   */
  #carryOn(frame, before) {
    const { x, y } = frame.columns;
    const passed = before ? frame.tick - before.tick : 0;
    const most = (EXTRAPOLATE_MS / 1000) * this.tickHz;
    const [slow, fast] = [SURE_SPEED, JUMP_SPEED].map((v) => v / this.tickHz / this.scale);
    for (let i = 0; i < frame.count; i++) {
      const id = frame.ids[i];
      const same = before?.of(id) === frame.generation[id];
      const ticks = Math.min(255, this.#toldTicks[id] + passed);
      if (!same || x[id] !== this.#toldX[id] || y[id] !== this.#toldY[id]) {
        this.#velocityX[id] = same ? (x[id] - this.#toldX[id]) / ticks : 0;
        this.#velocityY[id] = same ? (y[id] - this.#toldY[id]) / ticks : 0;
        this.#toldX[id] = x[id];
        this.#toldY[id] = y[id];
        this.#toldTicks[id] = 0;
        continue;
      }
      this.#toldTicks[id] = ticks;
      const speed = Math.hypot(this.#velocityX[id], this.#velocityY[id]);
      if (ticks > most || speed < slow || speed > fast) continue;
      x[id] += Math.round(this.#velocityX[id] * ticks);
      y[id] += Math.round(this.#velocityY[id] * ticks);
    }
  }

  /**
   * Go to `time` (ticks, never less than before). `onFrame(before, frame)` is called for each
   * snapshot that playback reaches, with the one before it.
   */
  seek(now, time, onFrame) {
    if (this.#pushed === 0) return;
    if (this.#starved) {
      this.#rebase();
      this.#starved = false;
    }
    this.#fade = Math.exp(-Math.max(0, now - this.#now) / BLEND_MS);
    this.#now = now;
    this.#time = time;
    while (this.#passed < this.#pushed && this.#frame(this.#passed).tick <= time) {
      const before = this.#frame(this.#passed - 1);
      this.#passed++;
      if (before) onFrame(before, this.#frame(this.#passed - 1));
    }
    this.#surround(time);
  }

  /** The snapshot in force at the sampled time: draw `ids[0..count)` of it. Null before any. */
  get frame() {
    return this.#a;
  }

  /** Where an entity of `frame` is at the sampled time, blended. */
  place(id) {
    this.#evaluate(id, this.#time);
    const generation = this.#a.generation[id];
    if (this.#drawnGeneration[id] !== generation) {
      this.#drawnGeneration[id] = generation;
      this.#offsetX[id] = this.#offsetY[id] = 0;
    }
    let ox = this.#offsetX[id];
    let oy = this.#offsetY[id];
    if (ox !== 0 || oy !== 0) {
      ox *= this.#fade;
      oy *= this.#fade;
      const dx = this.x + ox - this.#drawnX[id];
      const dy = this.y + oy - this.#drawnY[id];
      const speed2 = this.vx * this.vx + this.vy * this.vy;
      const along = dx * this.vx + dy * this.vy;
      if (along < 0 && speed2 > 0) {
        // Fading would take it backwards: let the truth catch up with what is drawn.
        ox -= (along / speed2) * this.vx;
        oy -= (along / speed2) * this.vy;
      }
      if (ox * ox + oy * oy < 0.01) ox = oy = 0;
      this.#offsetX[id] = ox;
      this.#offsetY[id] = oy;
    }
    this.x += ox;
    this.y += oy;
    this.#drawnX[id] = this.x;
    this.#drawnY[id] = this.y;
  }

  /** An angle column of a whole turn per 256 at the sampled time, radians, by the shorter arc. */
  angle(id, name) {
    const a = this.#a.columns[name][id];
    const b = this.#b;
    let turn = a;
    if (b && b.of(id) === this.#a.generation[id]) {
      const arc = ((b.columns[name][id] - a + 384) & 255) - 128;
      turn += arc * this.#share(this.#time);
    }
    return turn * ((2 * Math.PI) / 256);
  }

  #frame(index) {
    return index >= 0 && index >= this.#pushed - FRAMES ? this.#frames[index % FRAMES] : null;
  }

  /** Find the frames around `time`. */
  #surround(time) {
    const oldest = Math.max(0, this.#pushed - FRAMES);
    let index = this.#pushed - 1;
    while (index > oldest && this.#frame(index).tick > time) index--;
    this.#a = this.#frame(index);
    this.#before = this.#frame(index - 1);
    this.#b = index + 1 < this.#pushed ? this.#frame(index + 1) : null;
  }

  #share(time) {
    const share = (time - this.#a.tick) / (this.#b.tick - this.#a.tick);
    return Math.min(1, Math.max(0, share));
  }

  /** Set x, y, vx, vy of an entity of frame a at `time`, without blending. */
  #evaluate(id, time) {
    const { scale, tickHz } = this;
    const a = this.#a;
    const b = this.#b;
    const generation = a.generation[id];
    this.x = a.columns.x[id] * scale;
    this.y = a.columns.y[id] * scale;
    this.vx = this.vy = 0;
    if (b && b.of(id) === generation) {
      if (this.#velocity(a, b, id)) {
        const share = this.#share(time);
        this.x += (b.columns.x[id] * scale - this.x) * share;
        this.y += (b.columns.y[id] * scale - this.y) * share;
      }
    } else if (this.#before && this.#before.of(id) === generation) {
      if (this.#velocity(this.#before, a, id)) {
        const seconds = Math.min((time - a.tick) / tickHz, EXTRAPOLATE_MS / 1000);
        this.x += this.vx * Math.max(0, seconds);
        this.y += this.vy * Math.max(0, seconds);
      }
    }
  }

  /** Set vx, vy from two frames; false, and no velocity, if it jumped between them. */
  #velocity(from, to, id) {
    const seconds = (to.tick - from.tick) / this.tickHz;
    const dx = (to.columns.x[id] - from.columns.x[id]) * this.scale;
    const dy = (to.columns.y[id] - from.columns.y[id]) * this.scale;
    const limit = JUMP_UNITS + JUMP_SPEED * seconds;
    if (dx * dx + dy * dy > limit * limit) return false;
    this.vx = dx / seconds;
    this.vy = dy / seconds;
    return true;
  }

  /** News came after extrapolation: what was drawn and what is true now differ by an offset. */
  #rebase() {
    this.#surround(this.#time);
    const frame = this.#a;
    for (let i = 0; i < frame.count; i++) {
      const id = frame.ids[i];
      if (this.#drawnGeneration[id] !== frame.generation[id]) continue;
      this.#evaluate(id, this.#time);
      const dx = this.#drawnX[id] - this.x;
      const dy = this.#drawnY[id] - this.y;
      const blend = dx * dx + dy * dy < BLEND_LIMIT * BLEND_LIMIT;
      this.#offsetX[id] = blend ? dx : 0;
      this.#offsetY[id] = blend ? dy : 0;
    }
  }

  #grow(capacity) {
    const grown = (old) => {
      const fresh = new old.constructor(capacity);
      fresh.set(old);
      return fresh;
    };
    this.#offsetX = grown(this.#offsetX);
    this.#offsetY = grown(this.#offsetY);
    this.#drawnX = grown(this.#drawnX);
    this.#drawnY = grown(this.#drawnY);
    this.#drawnGeneration = grown(this.#drawnGeneration);
    this.#toldX = grown(this.#toldX);
    this.#toldY = grown(this.#toldY);
    this.#toldTicks = grown(this.#toldTicks);
    this.#velocityX = grown(this.#velocityX);
    this.#velocityY = grown(this.#velocityY);
  }
}
