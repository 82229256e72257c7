/** The dogfight behind the title: a little arena of its own, in the shape of a client's scene. */

import { seeded } from "./backdrop.js";

const SIZE = 2600;
const SHOT_SPEED = 900;
const TURN = 2.6; // radians per second
const SPEED = 300;
const BOUNTY = 20; // hull lost per hit

export class Attract {
  constructor({ ships = 12, orbs = 60, shots = 60, seed = 3 } = {}) {
    this.random = seeded(seed);
    const floats = (n) => new Float32Array(n);
    this.scene = {
      time: 0,
      tickHz: 20,
      size: SIZE,
      cell: 256,
      view: { x: SIZE / 2, y: SIZE / 2 },
      ships: {
        count: ships,
        id: Uint16Array.from({ length: ships }, (_, i) => i),
        ownIndex: -1,
        x: floats(ships),
        y: floats(ships),
        heading: floats(ships),
        vx: floats(ships),
        vy: floats(ships),
        hp: new Uint8Array(ships).fill(100),
        flags: new Uint8Array(ships).fill(3),
        power: Uint8Array.from({ length: ships }, (_, i) => i % 4),
        hue: Uint8Array.from({ length: ships }, (_, i) => (i * 97) % 256),
        name: new Array(ships).fill(""),
      },
      shots: {
        count: 0,
        id: new Uint16Array(shots),
        x: floats(shots),
        y: floats(shots),
        aim: floats(shots),
        own: new Uint8Array(shots),
      },
      orbs: {
        count: orbs,
        id: Uint16Array.from({ length: orbs }, (_, i) => i),
        x: floats(orbs),
        y: floats(orbs),
        value: Uint8Array.from({ length: orbs }, (_, i) => (i % 9 === 0 ? 3 : i % 3 === 0 ? 2 : 1)),
      },
      self: {
        alive: false,
        protected: false,
        hp: 0,
        energy: 0,
        score: 0,
        rank: 0,
        power: 0,
        streak: 0,
        respawnS: 0,
        cooldownS: 0,
        slot: 65535,
        name: "",
      },
      board: { rows: [], players: 0 },
      heat: { width: 0, cells: null },
      fx: [],
      feed: [],
      chat: [],
      notices: [],
    };
    this.shooter = new Uint8Array(shots);
    this.left = floats(shots); // seconds that a shot has yet to fly
    this.reload = floats(ships).map(() => this.random());
    this.seconds = 0;
    for (let i = 0; i < ships; i++) this.place(i);
    for (let i = 0; i < orbs; i++) {
      this.scene.orbs.x[i] = SIZE * (0.04 + 0.92 * this.random());
      this.scene.orbs.y[i] = SIZE * (0.04 + 0.92 * this.random());
    }
  }

  place(i) {
    const { ships } = this.scene;
    ships.x[i] = SIZE * (0.15 + 0.7 * this.random());
    ships.y[i] = SIZE * (0.2 + 0.6 * this.random());
    ships.heading[i] = this.random() * 6.28;
    ships.hp[i] = 100;
  }

  /** Everyone chases the next one; `dt` in seconds. */
  step(dt) {
    const { ships, shots, view } = this.scene;
    this.seconds += dt;
    view.x = SIZE / 2 + 320 * Math.sin(this.seconds * 0.06);
    view.y = SIZE / 2 + 220 * Math.sin(this.seconds * 0.083);
    for (let i = 0; i < ships.count; i++) {
      const prey = (i + 1) % ships.count;
      const dx = ships.x[prey] - ships.x[i] + 140 * Math.sin(this.seconds * 0.7 + i * 5);
      const dy = ships.y[prey] - ships.y[i] + 140 * Math.cos(this.seconds * 0.6 + i * 3);
      const off = turnTo(ships.heading[i], Math.atan2(dy, dx));
      ships.heading[i] += Math.max(-TURN * dt, Math.min(TURN * dt, off));
      const far = dx * dx + dy * dy > 500 * 500;
      ships.flags[i] = far ? 7 : 3;
      const speed = SPEED * (far ? 1.35 : 0.85);
      ships.vx[i] = Math.cos(ships.heading[i]) * speed;
      ships.vy[i] = Math.sin(ships.heading[i]) * speed;
      ships.x[i] += ships.vx[i] * dt;
      ships.y[i] += ships.vy[i] * dt;
      this.reload[i] -= dt;
      if (this.reload[i] < 0 && Math.abs(off) < 0.25 && dx * dx + dy * dy < 560 * 560) this.fire(i);
    }
    for (let k = shots.count - 1; k >= 0; k--) this.fly(k, dt);
  }

  fire(i) {
    const { ships, shots } = this.scene;
    this.reload[i] = 0.24 + 0.5 * this.random();
    if (shots.count === shots.x.length) return;
    const k = shots.count++;
    shots.aim[k] = ships.heading[i];
    shots.x[k] = ships.x[i] + 26 * Math.cos(ships.heading[i]);
    shots.y[k] = ships.y[i] + 26 * Math.sin(ships.heading[i]);
    shots.own[k] = i % 2;
    this.shooter[k] = i;
    this.left[k] = 0.9;
    this.tell("fire", shots.x[k], shots.y[k], ships.hue[i]);
  }

  fly(k, dt) {
    const { ships, shots } = this.scene;
    shots.x[k] += Math.cos(shots.aim[k]) * SHOT_SPEED * dt;
    shots.y[k] += Math.sin(shots.aim[k]) * SHOT_SPEED * dt;
    this.left[k] -= dt;
    let over = this.left[k] < 0;
    for (let i = 0; i < ships.count && !over; i++) {
      if (
        i === this.shooter[k] ||
        Math.hypot(shots.x[k] - ships.x[i], shots.y[k] - ships.y[i]) > 22
      )
        continue;
      over = true;
      ships.hp[i] = Math.max(0, ships.hp[i] - BOUNTY);
      this.tell("hit", shots.x[k], shots.y[k], ships.hue[i]);
      if (ships.hp[i] > 0) continue;
      this.tell("explosion", ships.x[i], ships.y[i], ships.hue[i]);
      this.place(i);
      this.tell("spawn", ships.x[i], ships.y[i], ships.hue[i]);
    }
    if (!over) return;
    const last = --shots.count;
    shots.x[k] = shots.x[last];
    shots.y[k] = shots.y[last];
    shots.aim[k] = shots.aim[last];
    shots.own[k] = shots.own[last];
    this.shooter[k] = this.shooter[last];
    this.left[k] = this.left[last];
  }

  tell(type, x, y, hue) {
    this.scene.fx.push({ type, x, y, hue, own: false, value: 0 });
  }
}

/** The shortest turn from one angle to another, −π..π. */
export function turnTo(from, to) {
  const turn = (to - from) % (2 * Math.PI);
  return turn > Math.PI ? turn - 2 * Math.PI : turn < -Math.PI ? turn + 2 * Math.PI : turn;
}
