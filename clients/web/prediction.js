/**
 * The own ship, ahead of the server: every input is applied at once with the server's own
 * movement and gun, and on each snapshot the server's exact state is taken and what the server
 * has not used yet is applied again. What differs is blended out of the picture.
 *
 * In one tick the server does for a ship, as far as the client can know (see `game/world.py`):
 * the newest command, `move`, the gun's cooldown, the gun.
 */

import { DIRECTION_COUNT, DIRECTION_X, DIRECTION_Y, FIRE, move, movementRules } from "./movement.js";

const f = Math.fround;
const RING = 256; // commands kept, a power of two
const SEQUENCES = 65536;
const ALIVE = 1;

const BLEND_MS = 45; // time constant: nine tenths of an error are gone after 100 ms
const SNAP_UNITS = 200;
const INVISIBLE_UNITS = 0.01;

/** Commands by sequence: what was sent, for replay. */
class Commands {
  constructor() {
    this.target = new Uint32Array(RING);
    this.aim = new Uint16Array(RING);
    this.move = new Uint8Array(RING);
    this.buttons = new Uint8Array(RING);
  }

  put(seq, target, aim, direction, buttons) {
    const i = seq % RING;
    this.target[i] = target;
    this.aim[i] = aim;
    this.move[i] = direction;
    this.buttons[i] = buttons;
  }
}

const emptyShip = () => ({
  x: 0, y: 0, vx: 0, vy: 0, energy: 0, boosting: false, cooldown: 0, power: 0, alive: false,
});

export class Prediction {
  #commands = new Commands();
  #held = -1; // sequence of the command in force; -1 before the first
  #heard = 0; // tick at which it came into force
  #acked = -1;
  #kept = 0; // commands in the ring
  #gun = [];
  #next = emptyShip();
  #blendedAt = 0;

  /**
   * `rules`: WELCOME's. `onFire(tick, seq, barrel, x, y, aim)` is called for each shot that the
   * own ship fires in a tick, again in each replay.
   */
  constructor(rules, onFire) {
    this.rules = movementRules(rules);
    this.hold = rules.hold_ticks;
    this.muzzle = f(rules.muzzle);
    this.onFire = onFire;
    for (let power = 0; power <= rules.max_power; power++) {
      const gun = `gun${power}`;
      const barrels = [];
      for (let i = 0; i < rules[`${gun}_shots`]; i++) {
        barrels.push({ turn: rules[`${gun}_turn${i}`], side: f(rules[`${gun}_side${i}`]) });
      }
      const energy = f(rules[`${gun}_energy`]);
      this.#gun.push({ cooldown: rules[`${gun}_cooldown`], energy, barrels });
    }
    this.tick = -1; // up to which the ship is predicted; -1 before the first snapshot
    this.ship = emptyShip();
    this.seq = 0; // of the newest command
    this.error = { x: 0, y: 0 }; // from the predicted ship to the drawn one, being blended out
    this.drawn = { x: 0, y: 0, vx: 0, vy: 0, energy: 0, boosting: false };
  }

  /** Apply a new command for tick `target`, which lies ahead of all before. Returns its sequence. */
  command(target, aim, direction, buttons) {
    this.seq = (this.seq + 1) % SEQUENCES;
    this.#commands.put(this.seq, target, aim, direction, buttons);
    this.#kept = Math.min(this.#kept + 1, RING);
    if (this.tick >= 0) {
      while (this.tick + 1 < target) this.#advance(++this.tick);
      this.#hold(this.seq, target);
      this.#advance(++this.tick);
    } else {
      this.#hold(this.seq, target);
    }
    return this.seq;
  }

  /** The tick for which a command was meant; -1 if it is not one of the last. */
  targetOf(seq) {
    return this.#isOurs(seq) ? this.#commands.target[seq % RING] : -1;
  }

  /**
   * Start again from the server's state: `self` after `tick`, in which the newest command used
   * was `ackSeq`. Returns how far the ship's present position moved by it, world units.
   */
  reconcile(tick, ackSeq, self) {
    const { ship } = this;
    const { x, y, alive } = ship;
    const predicted = this.tick >= 0;
    ship.x = self.x;
    ship.y = self.y;
    ship.vx = self.vx;
    ship.vy = self.vy;
    ship.energy = self.energy;
    ship.cooldown = self.cooldown;
    ship.power = self.power;
    ship.alive = (self.flags & ALIVE) !== 0;

    const present = Math.max(tick, this.tick);
    if (ackSeq !== this.#acked) this.#heard = tick;
    this.#acked = ackSeq;
    this.#held = this.#isOurs(ackSeq) ? ackSeq : -1;
    this.tick = tick;
    while (this.tick < present) {
      this.#holdNewest(++this.tick);
      this.#advance(this.tick);
    }

    if (!predicted) return 0;
    if (ship.alive && !alive) { // a respawn is somewhere else: nothing was predicted wrongly
      this.error.x = this.error.y = 0;
      return 0;
    }
    const moved = Math.hypot(ship.x - x, ship.y - y);
    this.error.x += x - ship.x;
    this.error.y += y - ship.y;
    if (Math.hypot(this.error.x, this.error.y) > SNAP_UNITS) this.error.x = this.error.y = 0;
    return moved;
  }

  /**
   * Fill `drawn`: the ship at `fraction` of a tick after the predicted one, under the input as it
   * is this very moment, so that a key shows at once.
   */
  draw(now, fraction, direction, buttons) {
    const { ship, drawn, error } = this;
    const next = Object.assign(this.#next, ship);
    move(next, direction, ship.alive ? buttons : 0, this.rules);
    const part = Math.min(1, Math.max(0, fraction));
    const fade = Math.exp(-Math.max(0, now - this.#blendedAt) / BLEND_MS);
    this.#blendedAt = now;
    error.x *= fade;
    error.y *= fade;
    if (Math.hypot(error.x, error.y) < INVISIBLE_UNITS) error.x = error.y = 0;
    drawn.x = ship.x + (next.x - ship.x) * part + error.x;
    drawn.y = ship.y + (next.y - ship.y) * part + error.y;
    drawn.vx = next.vx;
    drawn.vy = next.vy;
    drawn.energy = ship.energy + (next.energy - ship.energy) * part;
    drawn.boosting = next.boosting;
    return drawn;
  }

  #isOurs(seq) {
    return (this.seq - seq + SEQUENCES) % SEQUENCES < this.#kept;
  }

  #hold(seq, tick) {
    this.#held = seq;
    this.#heard = tick;
  }

  /** Put in force the newest command that is meant for `tick` or earlier, as the server would. */
  #holdNewest(tick) {
    const beforeAll = (this.seq - this.#kept + SEQUENCES) % SEQUENCES;
    let seq = this.#held < 0 ? beforeAll : this.#held;
    while (seq !== this.seq) {
      const following = (seq + 1) % SEQUENCES;
      if (this.#commands.target[following % RING] > tick) break;
      seq = following;
    }
    if (seq !== this.#held && this.#isOurs(seq)) this.#hold(seq, tick);
  }

  /** One tick of the own ship under the command in force. */
  #advance(tick) {
    const { ship } = this;
    const i = this.#held % RING;
    const silent = this.#held < 0 || tick - this.#heard > this.hold;
    const buttons = silent || !ship.alive ? 0 : this.#commands.buttons[i];
    move(ship, this.#held < 0 ? 0 : this.#commands.move[i], buttons, this.rules);
    ship.cooldown = Math.max(ship.cooldown - 1, 0);
    const gun = this.#gun[ship.power];
    if (!ship.alive || !(buttons & FIRE) || ship.cooldown > 0 || ship.energy < gun.energy) return;
    ship.energy = f(ship.energy - gun.energy);
    ship.cooldown = gun.cooldown;
    const aim = this.#commands.aim[i];
    const [dx, dy] = [DIRECTION_X[aim], DIRECTION_Y[aim]];
    for (let barrel = 0; barrel < gun.barrels.length; barrel++) {
      const { turn, side } = gun.barrels[barrel];
      const x = f(f(ship.x + f(dx * this.muzzle)) - f(dy * side));
      const y = f(f(ship.y + f(dy * this.muzzle)) + f(dx * side));
      const direction = (aim + turn + DIRECTION_COUNT) % DIRECTION_COUNT;
      this.onFire(tick, this.#held, barrel, x, y, direction);
    }
  }
}
