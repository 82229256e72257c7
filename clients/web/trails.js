/** Engine trails: for each ship in sight, its last positions and how hard it thrust there. */

const POINTS = 14;
const STEP_S = 1 / 30; // between two points
const CAPACITY = 512;
const JUMP = 200; // farther than this in one step is a teleport, and ends the trail
const THINNING = 0.92; // share of its width that a point keeps per step
const STERN = 13; // from a ship's centre to its engine, units

const ALIVE = 1;
const THRUST = 2;
const BOOST = 4;

export class Trails {
  constructor() {
    this.slotOf = new Int16Array(65536).fill(-1);
    this.free = Int16Array.from({ length: CAPACITY }, (_, i) => CAPACITY - 1 - i);
    this.freeCount = CAPACITY;
    this.id = new Uint16Array(CAPACITY);
    this.used = new Uint8Array(CAPACITY);
    this.seen = new Uint8Array(CAPACITY);
    this.x = new Float32Array(CAPACITY * POINTS); // newest first
    this.y = new Float32Array(CAPACITY * POINTS);
    this.width = new Float32Array(CAPACITY * POINTS);
    this.sampled = 0;
    // The ribbon being drawn: positions and half-widths along its normal, px.
    this.px = new Float32Array(POINTS + 1);
    this.py = new Float32Array(POINTS + 1);
    this.nx = new Float32Array(POINTS + 1);
    this.ny = new Float32Array(POINTS + 1);
  }

  /** Take a point of each ship's way when one is due. `seconds`: any steady clock. */
  record(ships, seconds) {
    if (seconds - this.sampled < STEP_S && seconds >= this.sampled) return;
    this.sampled = seconds;
    this.seen.fill(0);
    for (let i = 0; i < ships.count; i++) {
      const flags = ships.flags[i];
      if ((flags & ALIVE) === 0) continue;
      let slot = this.slotOf[ships.id[i]];
      const c = Math.cos(ships.heading[i]) * STERN;
      const s = Math.sin(ships.heading[i]) * STERN;
      const x = ships.x[i] - c;
      const y = ships.y[i] - s;
      if (slot < 0) {
        if (this.freeCount === 0) continue;
        slot = this.free[--this.freeCount];
        this.slotOf[ships.id[i]] = slot;
        this.id[slot] = ships.id[i];
        this.used[slot] = 1;
        this.reset(slot, x, y);
      }
      this.seen[slot] = 1;
      const at = slot * POINTS;
      if (Math.abs(x - this.x[at]) > JUMP || Math.abs(y - this.y[at]) > JUMP)
        this.reset(slot, x, y);
      this.x.copyWithin(at + 1, at, at + POINTS - 1);
      this.y.copyWithin(at + 1, at, at + POINTS - 1);
      for (let k = at + POINTS - 1; k > at; k--) this.width[k] = this.width[k - 1] * THINNING;
      this.x[at] = x;
      this.y[at] = y;
      this.width[at] = flags & BOOST ? 6.5 : flags & THRUST ? 4 : 0;
    }
    for (let slot = 0; slot < CAPACITY; slot++) {
      if (!this.used[slot] || this.seen[slot]) continue;
      this.used[slot] = 0;
      this.slotOf[this.id[slot]] = -1;
      this.free[this.freeCount++] = slot;
    }
  }

  reset(slot, x, y) {
    const at = slot * POINTS;
    this.x.fill(x, at, at + POINTS);
    this.y.fill(y, at, at + POINTS);
    this.width.fill(0, at, at + POINTS);
  }

  /** Fill the ribbon behind ship `i` with the context's current style. */
  draw(ctx, camera, ships, i) {
    const slot = this.slotOf[ships.id[i]];
    if (slot < 0) return;
    const at = slot * POINTS;
    let last = -1; // oldest point with any width
    for (let k = POINTS - 1; k >= 0; k--) {
      if (this.width[at + k] > 0.05) {
        last = k;
        break;
      }
    }
    if (last < 0) return;

    const { left, top, scale } = camera;
    const { px, py, nx, ny } = this;
    const count = Math.min(last + 2, POINTS) + 1; // the ship itself, its points, a closing tip
    px[0] = (ships.x[i] - Math.cos(ships.heading[i]) * STERN) * scale - left;
    py[0] = (ships.y[i] - Math.sin(ships.heading[i]) * STERN) * scale - top;
    for (let k = 1; k < count; k++) {
      px[k] = this.x[at + k - 1] * scale - left;
      py[k] = this.y[at + k - 1] * scale - top;
    }
    for (let k = 0; k < count; k++) {
      const before = k > 0 ? k - 1 : 0;
      const after = k < count - 1 ? k + 1 : k;
      const dx = px[after] - px[before];
      const dy = py[after] - py[before];
      const wide = this.width[at + (k > 0 ? k - 1 : 0)] * (1 - (k / POINTS) ** 2) * scale;
      const turn = wide / (Math.sqrt(dx * dx + dy * dy) + 1e-3);
      nx[k] = -dy * turn;
      ny[k] = dx * turn;
    }
    ctx.beginPath();
    for (let k = 0; k < count; k++) ctx.lineTo(px[k] + nx[k], py[k] + ny[k]);
    for (let k = count - 1; k >= 0; k--) ctx.lineTo(px[k] - nx[k], py[k] - ny[k]);
    ctx.fill();
  }
}
