/**
 * The game as the page sees it: one `Client` ties connection, clocks, prediction, interpolation
 * and shots together and fills `client.scene` once per frame.
 *
 * ```
 * const client = new Client({url, name, onStatus, storage, net});  // net: conditioner preset or null
 * client.join(name); client.leave(); client.chat(text);
 * client.setInput({move, thrust, boost, fire, aim});  // move, aim: radians; sampled once per tick
 * client.sample(nowMs);                               // once per frame; allocates nothing per entity
 * client.scene = {
 *   time, tickHz, size, cell,     // time: seconds, of the others as they are drawn
 *   view: {x, y},                 // camera centre: the own ship, or where it died
 *   ships: {count, id, x, y, heading, vx, vy, hp, flags, power, hue, name, ownIndex},
 *                                 // the living; ownIndex is -1 while the own ship is not
 *   shots: {count, id, x, y, aim, own},   // id 65535: predicted, not confirmed yet
 *   orbs: {count, id, x, y, value},
 *   self: {alive, protected, hp, energy, score, rank, power, streak, respawnS, cooldownS, slot, name},
 *   board: {rows: [[name, score, slot], …], players},
 *   heat: {width, cells},         // cells: Uint8Array or null
 *   round: {ticks, podiumTicks},  // length of a round, 0 where there are none, and what follows it
 *   fx: [{type, x, y, hue, own, value}, …],   // drained by the renderer: explosion, spawn, hit,
 *                                 // fire, pickup, kill (value: score gained)
 *   feed: [{killer, victim, slots: [killer's, victim's]}, …], chat: [{name, text}, …], notices: [text, …],  // drained by the HUD
 * }
 * client.stats    // stats.js
 * client.status   // {state: 'connecting' | 'joining' | 'playing' | 'reconnecting' | 'closed', text}
 * ```
 *
 * Two times meet in a scene: the own ship and its shots are drawn at the tick for which input is
 * being sampled (ahead of the server), everything else some ticks back, between two snapshots.
 * Each input tells the server how far apart the two were (`view_delay`).
 */

import { InputClock, PlaybackClock } from "/tickstorm/clock.js";
import { PRESETS, conditionedBy } from "/tickstorm/conditioner.js";
import { Connection } from "/tickstorm/connection.js";
import { Interpolation } from "/tickstorm/smooth.js";
import { BOOST, FIRE, THRUST } from "./movement.js";
import { Prediction } from "./prediction.js";
import { Shots } from "./shots.js";
import { Stats } from "./stats.js";
import {
  BOARD, CHATTED, EVENT, FEED, HEAT, NOTICE, NO_SLACK, NO_SLOT, PONG, SNAPSHOT, SPECTATOR, WELCOME,
  InputEncoder, compile, encodeCall, encodeChat, encodeLook, encodeReplay, decode, readHead,
} from "./wire.js";
import { World } from "/tickstorm/columns.js";

const TURN = 2 * Math.PI;
const FLAG = { ALIVE: 1, THRUST: 2, BOOST: 4, PROTECTED: 8 };
const MOST_EVENTS = 256; // kept for a page that does not draw
const CATCH_UP_TICKS = 3; // inputs to send at once after a hiccup; what is older is too late anyway
const RTT_SAMPLES = 10;
const FIRE_INPUTS = 2; // that carry a touch of the trigger, however short: one may be late
const DECIDED_TICKS = 3; // after a touch: by then the server has collected the orb, or not
const CORRECTION_UNITS = 1e-3; // below that, rounding

/** What a declaration must have to be played: another game is received, but not drawn. */
const ARENA = {
  ship: ["x", "y", "heading", "hp", "flags", "power", "hue", "name"],
  shot: ["x", "y", "aim", "born", "owner", "seq"],
  orb: ["x", "y", "value"],
};

export class Client {
  #connection;
  #session = null;
  #input = { move: 0, aim: 0, buttons: 0, fireFor: 0 };
  #lastFrame = NaN;
  #listeners = new Map(); // by event

  /**
   * @param {{url: string, name?: string, onStatus?: (status: any) => void, storage?: Pick<Storage, "getItem" | "setItem" | "removeItem">,
   *   net?: any, place?: any}} options
   */
  constructor({ url, name = "", onStatus = () => {}, storage, net = null, place = {} }) {
    this.name = name;
    this.status = { state: "closed", text: "" };
    this.stats = new Stats();
    this.scene = emptyScene();
    this.onMessage = null; // for whoever wants to see each message too
    this.#connection = new Connection({
      url,
      storage,
      decode,
      wrap: conditionedBy(typeof net === "string" ? PRESETS[net] : net),
      place,
      onMessage: (message, bytes, now) => this.#receive(message, bytes, now),
      onStatus: ({ state, text }) => {
        this.status = { state, text };
        if (state !== "playing") this.#session?.pause();
        onStatus(this.status);
      },
    });
  }

  /** `options`: of HELLO, such as `{spectate: true}`. */
  join(name = this.name, options = {}) {
    this.name = name;
    this.#connection.connect(name, options);
  }

  leave() {
    this.#session?.pause();
    this.#session = null;
    this.#connection.leave();
  }

  chat(text) {
    this.#connection.send(encodeChat(text));
  }

  /** A message of the game's own. */
  say(name, ...args) {
    this.#connection.send(encodeCall(name, args));
  }

  /** Call `listener` with the values of each event of this name. */
  on(name, listener) {
    this.#listeners.set(name, listener);
  }

  /** As a spectator: look at a ship (its slot) or at a place (x, y). */
  look(...target) {
    this.#connection.send(encodeLook(...target));
  }

  /** In a replay: go on at `speed` (0 stops), from `tick` on unless it is null. */
  replay(speed, tick) {
    this.#connection.send(encodeReplay(speed, tick));
  }

  setInput({ move, thrust, boost, fire, aim }) {
    const input = this.#input;
    input.move = Math.round((move / TURN) * 256) & 255;
    input.aim = Math.round((aim / TURN) * 1024) & 1023;
    input.buttons = (thrust && THRUST) | (boost && BOOST) | (fire && FIRE);
    if (fire) input.fireFor = FIRE_INPUTS;
  }

  sample(now) {
    if (!Number.isNaN(this.#lastFrame)) this.stats.frame.push(now, now - this.#lastFrame);
    this.#lastFrame = now;
    this.#session?.sample(now);
  }

  /** The present stay in a room, for tests and tools; null before WELCOME. */
  get session() {
    return this.#session;
  }

  #receive(message, bytes, now) {
    const { scene, stats } = this;
    stats.bytes.push(now, bytes);
    this.onMessage?.(message);
    switch (message[0]) {
      case WELCOME:
        this.#session?.pause();
        this.#session = this.#enter(message[1], now);
        break;
      case SNAPSHOT: this.#session?.snapshot(message[1], message[2], now); break;
      case PONG: this.#session?.pong(message[1], now); break;
      case FEED:
        for (const [type, killer, victim, ...slots] of message[1]) {
          if (type === "kill") keep(scene.feed, { killer, victim, slots });
        }
        break;
      case BOARD:
        scene.board.rows = message[1];
        scene.board.players = message[2];
        break;
      case CHATTED: keep(scene.chat, { name: message[1], text: message[2] }); break;
      case NOTICE: keep(scene.notices, message[2]); break;
      case EVENT: this.#listeners.get(message[1])?.(...message[2]); break;
      case HEAT:
        scene.heat.width = message[1];
        scene.heat.cells = message[2].slice();
        break;
    }
  }

  #enter(welcome, now) {
    const { scene } = this;
    scene.tickHz = welcome.tick_hz;
    scene.size = welcome.size;
    scene.cell = welcome.cell;
    scene.round.ticks = welcome.rules.round_ticks ?? 0;
    scene.round.podiumTicks = welcome.rules.podium_ticks ?? 0;
    scene.self.slot = welcome.slot;
    scene.self.name = welcome.name;
    scene.view.x = scene.view.y = welcome.size / 2;
    const schema = compile(welcome.declaration);
    const playable = Object.entries(ARENA).every(([name, columns]) => {
      const kind = schema.kinds.find((k) => k.name === name);
      return kind && columns.every((column) => kind.row.fields.some((f) => f.name === column));
    });
    if (!playable) return new Onlooker(schema);
    return new Session({
      welcome,
      schema,
      scene,
      stats: this.stats,
      input: this.#input,
      send: (bytes) => this.#connection.send(bytes),
      rttMs: now - this.#connection.helloAt,
    });
  }
}

/** A stay in a game that this page does not know: received and kept, neither drawn nor played. */
class Onlooker {
  constructor(schema) {
    this.schema = schema;
    this.world = new World(schema);
  }

  snapshot(head, body) {
    this.world.apply(readHead(this.schema, head), body);
  }

  pong() {}
  sample() {}
  pause() {}
}

/** A stay in the arena, from one WELCOME to the next. */
class Session {
  #schema;
  #scene;
  #stats;
  #input;
  #send;
  #encoder;
  #ships;
  #orbs;
  #rules;
  #head = { self: {} };
  #before = null; // own state of the snapshot before
  #snapshotAt = NaN;
  #snapshotTicks = 1;
  #now = 0; // of the frame that is being drawn
  #firstTarget = Infinity; // of the inputs sent
  #lastTarget = 0;
  #timer = 0;
  #rttMs;
  #rtts = [];
  #struckShown; // by slot: until when hits are shown already, ms
  #taken = new Map(); // orbs that the drawn ship has touched: id to tick
  #command = { aim: 0, move: 0, buttons: 0, view_delay: 0 };
  #header = { target: 0, ack: 0, seq: 0 };

  constructor({ welcome, schema, scene, stats, input, send, rttMs }) {
    this.#schema = schema;
    this.#scene = scene;
    this.#stats = stats;
    this.#input = input;
    this.#send = send;
    this.#rttMs = rttMs;
    this.#rules = welcome.rules;
    this.#encoder = new InputEncoder(schema.command);
    this.slot = welcome.slot;
    this.tickHz = welcome.tick_hz;
    this.world = new World(schema);
    this.#ships = this.world.byName.ship;
    this.#orbs = this.world.byName.orb;
    this.inputClock = new InputClock(welcome.tick_hz);
    this.playback = new PlaybackClock(welcome.tick_hz);
    this.interpolation = new Interpolation(this.#ships.kind, welcome.tick_hz);
    this.shots = new Shots(this.world.byName.shot.kind, welcome.rules, welcome.slot);
    this.prediction = new Prediction(welcome.rules, (...shot) => this.shots.fired(...shot));
    this.#struckShown = new Float64Array(65536);
  }

  get spectator() {
    return this.slot === NO_SLOT;
  }

  /** No more input until the next snapshot. */
  pause() {
    clearTimeout(this.#timer);
    this.#timer = 0;
  }

  // -------------------------------------------------------------- what comes in

  snapshot(headBytes, body, now) {
    const head = readHead(this.#schema, headBytes, this.#head);
    this.world.apply(head, body);
    const { tick, slack } = head;

    this.playback.onSnapshot(now, tick, head.snapshot_ticks);
    this.interpolation.push(tick, this.#ships);
    this.shots.apply(tick, this.world.byName.shot);
    if (!(head.flags & SPECTATOR)) {
      if (!this.inputClock.running || this.inputClock.tickAt(now) < tick) {
        this.inputClock.start(now, tick, this.#rttMs);
      } else {
        this.#steer(now, tick, slack, head.ack_seq);
      }
      this.#reconcile(now, head);
      this.#ownEvents(head);
    }
    this.#layOrbs(tick);
    this.#measure(now, head);
    this.#arm();
  }

  /** Tell the input clock how early the inputs are. */
  #steer(now, tick, slack, ackSeq) {
    if (slack === NO_SLACK) {
      // Nothing came in during that tick. That is late if its own input was not there before.
      const sent = this.#firstTarget <= tick && tick <= this.#lastTarget;
      if (!sent || this.prediction.targetOf(ackSeq) === tick) return;
      slack = -1;
    }
    this.inputClock.onSlack(tick, slack);
    this.#stats.slack.push(now, slack);
  }

  pong(sentAt, now) {
    this.#rtts.push(now - sentAt);
    if (this.#rtts.length > RTT_SAMPLES) this.#rtts.shift();
    // The server reads at its ticks: only the luckiest of some pings shows the network alone.
    this.#rttMs = Math.min(...this.#rtts);
    this.#stats.rtt.push(now, this.#rttMs);
  }

  #reconcile(now, { tick, ack_seq, self }) {
    this.shots.beginReplay();
    const moved = this.prediction.reconcile(tick, ack_seq, self);
    this.shots.endReplay();
    if (moved > CORRECTION_UNITS) {
      this.#stats.corrections++;
      this.#stats.correction.push(now, moved);
    }
  }

  #measure(now, head) {
    const stats = this.#stats;
    stats.snapshots++;
    if (!Number.isNaN(this.#snapshotAt)) stats.gap.push(now, now - this.#snapshotAt);
    this.#snapshotAt = now;
    stats.jitter.push(now, this.playback.jitterMs);
    stats.delay.push(now, this.playback.delayMs);
    this.#snapshotTicks = head.snapshot_ticks;
  }

  /** What happened to the own ship between two snapshots. */
  #ownEvents({ tick, self }) {
    const before = this.#before;
    const hue = this.#ships.columns.hue[this.slot];
    if (before) {
      const gained = self.score - before.score;
      const killed = self.streak > before.streak;
      if (self.flags & ~before.flags & FLAG.ALIVE) this.#effect("spawn", self.x, self.y, hue, true);
      if (before.flags & ~self.flags & FLAG.ALIVE) {
        this.#effect("explosion", before.x, before.y, hue, true);
      } else if (self.hp < before.hp) {
        this.#effect("hit", self.x, self.y, hue, true, before.hp - self.hp);
      }
      if (killed) this.#effect("kill", self.x, self.y, hue, true, Math.max(0, gained));
      this.#pickups(tick, self, killed ? 0 : gained);
    }
    this.#before = { ...self };
  }

  /** Orbs that vanished within reach of a ship. `gained`: own score, shown with the first. */
  #pickups(tick, self, gained) {
    const { columns, kind, left, leftCount } = this.#orbs;
    const ships = this.#ships;
    const flown = (this.#snapshotTicks * this.#rules.max_speed) / this.tickHz;
    const reach = this.#rules.orb_reach + flown;
    for (let i = 0; i < leftCount; i++) {
      const orb = left[i];
      if (this.#orbs.has(orb)) continue; // another one in its place already
      const x = columns.x[orb] * kind.scale.x;
      const y = columns.y[orb] * kind.scale.y;
      let best = -1;
      let nearest = reach * reach;
      for (let j = 0; j < ships.count; j++) {
        const id = ships.ids[j];
        if (!(ships.columns.flags[id] & FLAG.ALIVE)) continue;
        const dx = ships.columns.x[id] * ships.kind.scale.x - x;
        const dy = ships.columns.y[id] * ships.kind.scale.y - y;
        if (dx * dx + dy * dy < nearest) [best, nearest] = [id, dx * dx + dy * dy];
      }
      if (best < 0) continue;
      const own = best === this.slot;
      if (own && this.#taken.has(orb)) continue; // shown when it was touched
      this.#effect("pickup", x, y, ships.columns.hue[best], own, own ? gained : columns.value[orb]);
      if (own) gained = 0;
    }
  }

  /** Take up what the own ship touches as it is drawn; the server's word comes a way later. */
  #touchOrbs(ship, ownTime) {
    const { orbs } = this.#scene;
    const reach = this.#rules.orb_reach - 2; // surely, wherever it is within the tick
    for (let i = orbs.count - 1; i >= 0; i--) {
      const dx = orbs.x[i] - ship.x;
      const dy = orbs.y[i] - ship.y;
      if (dx * dx + dy * dy > reach * reach || this.#taken.has(orbs.id[i])) continue;
      this.#taken.set(orbs.id[i], ownTime);
      const score = orbs.value[i] * this.#rules.orb_score;
      this.#effect("pickup", orbs.x[i], orbs.y[i], this.#ships.columns.hue[this.slot], true, score);
      const last = --orbs.count;
      for (const column of [orbs.id, orbs.x, orbs.y, orbs.value]) column[i] = column[last];
    }
  }

  /** Forget touches that the server has decided on: taken by us, by another, or not at all. */
  #settleOrbs(tick) {
    let changed = false;
    for (const [id, touched] of this.#taken) {
      if (this.#orbs.has(id) && tick < touched + DECIDED_TICKS) continue;
      this.#taken.delete(id);
      changed = true;
    }
    return changed;
  }

  /** Orbs lie still: the scene's change with a snapshot or a touch only. */
  #layOrbs(tick) {
    const { columns, count, ids, kind, enteredCount, leftCount } = this.#orbs;
    if (!this.#settleOrbs(tick) && enteredCount + leftCount === 0) return;
    const orbs = this.#scene.orbs;
    ensure(orbs, count);
    let n = 0;
    for (let i = 0; i < count; i++) {
      const id = ids[i];
      if (this.#taken.has(id)) continue;
      orbs.id[n] = id;
      orbs.x[n] = columns.x[id] * kind.scale.x;
      orbs.y[n] = columns.y[id] * kind.scale.y;
      orbs.value[n] = columns.value[id];
      n++;
    }
    orbs.count = n;
  }

  // -------------------------------------------------------------- what goes out

  /** Wake up at the beginning of the next tick, in case no frame is drawn by then. */
  #arm() {
    if (this.spectator || this.#timer) return;
    const ticks = this.#lastTarget + 1 - this.inputClock.tickAt(performance.now());
    const wait = (ticks * 1000) / this.tickHz;
    this.#timer = setTimeout(() => {
      this.#timer = 0;
      this.#pump(performance.now());
      this.#arm();
    }, Math.min(1000, Math.max(1, wait)));
  }

  /** Send one input for each tick that has begun since the last one. */
  #pump(now) {
    const due = Math.floor(this.inputClock.tickAt(now));
    this.#lastTarget = Math.max(this.#lastTarget, due - CATCH_UP_TICKS, this.prediction.tick);
    while (this.#lastTarget < due) this.#act(now, ++this.#lastTarget);
  }

  #act(now, target) {
    const command = this.#command;
    const header = this.#header;
    command.aim = this.#input.aim;
    command.move = this.#input.move;
    command.buttons = this.#buttons;
    if (this.#input.fireFor > 0) {
      command.buttons |= FIRE;
      this.#input.fireFor--;
    }
    const delay = Math.round((target - this.playback.tickAt(now)) * 16);
    command.view_delay = Math.min(255, Math.max(0, delay));
    this.#firstTarget = Math.min(this.#firstTarget, target);
    header.target = target;
    header.ack = this.world.tick;
    header.seq = this.prediction.command(target, command.aim, command.move, command.buttons);
    this.#send(this.#encoder.encode(header, command));
  }

  /** Nobody steers a ship in a hidden tab. */
  get #buttons() {
    return document.visibilityState === "hidden" ? 0 : this.#input.buttons;
  }

  // -------------------------------------------------------------- what is drawn

  sample(now) {
    if (this.world.tick < 0) return;
    if (this.#timer) this.#pump(now);
    const time = this.playback.tickAt(now);
    this.#scene.time = time / this.tickHz;
    this.interpolation.seek(now, time, this.#onFrame);
    const ownTime = this.spectator ? time : this.inputClock.tickAt(now);
    this.#drawShips(now, ownTime);
    this.#drawShots(now, ownTime, time);
  }

  #drawShips(now, ownTime) {
    const { ships } = this.#scene;
    const { interpolation, slot } = this;
    const frame = interpolation.frame;
    const { flags, hp, power } = frame.columns;
    const statics = this.#ships.columns;
    ensure(ships, frame.count + 1);
    let n = 0;
    for (let i = 0; i < frame.count; i++) {
      const id = frame.ids[i];
      if (id === slot || !(flags[id] & FLAG.ALIVE)) continue;
      interpolation.place(id);
      ships.id[n] = id;
      ships.x[n] = interpolation.x;
      ships.y[n] = interpolation.y;
      ships.vx[n] = interpolation.vx;
      ships.vy[n] = interpolation.vy;
      ships.heading[n] = interpolation.angle(id, "heading");
      ships.hp[n] = hp[id];
      ships.flags[n] = flags[id];
      ships.power[n] = power[id];
      ships.hue[n] = statics.hue[id];
      ships.name[n] = statics.name[id];
      n++;
    }
    ships.ownIndex = -1;
    ships.count = n;
    if (this.#before) this.#drawOwn(now, ownTime);
  }

  #drawOwn(now, ownTime) {
    const { ships, self, view } = this.#scene;
    const { prediction, slot } = this;
    const told = this.#before;
    const fraction = ownTime - prediction.tick;
    const drawn = prediction.draw(now, fraction, this.#input.move, this.#buttons);
    view.x = drawn.x;
    view.y = drawn.y;

    self.alive = (told.flags & FLAG.ALIVE) !== 0;
    self.protected = (told.flags & FLAG.PROTECTED) !== 0;
    self.hp = told.hp;
    self.energy = drawn.energy;
    self.score = told.score;
    self.rank = told.rank;
    self.power = told.power;
    self.streak = told.streak;
    const sinceTold = Math.max(0, now - this.#snapshotAt) / 1000;
    self.respawnS = Math.max(0, told.respawn / this.tickHz - sinceTold);
    self.cooldownS = Math.max(0, prediction.ship.cooldown - Math.max(0, fraction)) / this.tickHz;
    if (!self.alive) return;
    this.#touchOrbs(drawn, ownTime);

    const n = ships.count++;
    ships.ownIndex = n;
    ships.id[n] = slot;
    ships.x[n] = drawn.x;
    ships.y[n] = drawn.y;
    ships.vx[n] = drawn.vx;
    ships.vy[n] = drawn.vy;
    ships.heading[n] = (this.#input.aim * TURN) / 1024;
    ships.hp[n] = told.hp;
    const thrust = this.#buttons & THRUST ? FLAG.THRUST : 0;
    const boost = drawn.boosting ? FLAG.BOOST : 0;
    ships.flags[n] = (told.flags & ~(FLAG.THRUST | FLAG.BOOST)) | thrust | boost;
    ships.power[n] = told.power;
    ships.hue[n] = this.#ships.columns.hue[slot];
    ships.name[n] = self.name;
  }

  #drawShots(now, ownTime, time) {
    ensure(this.#scene.shots, this.shots.list.length);
    this.#now = now;
    this.shots.sample(now, ownTime, time, this.#scene.shots, this.#struck, this.#onFire);
  }

  /** Does an own shot at (x, y) hit a ship as it is drawn? */
  #struck = (shot, x, y) => {
    const { ships } = this.#scene;
    const reach = this.#rules.ship_radius + this.#rules.shot_radius;
    for (let i = 0; i < ships.count; i++) {
      if (i === ships.ownIndex || ships.flags[i] & FLAG.PROTECTED) continue;
      const dx = ships.x[i] - x;
      const dy = ships.y[i] - y;
      if (dx * dx + dy * dy > reach * reach) continue;
      this.#effect("hit", x, y, ships.hue[i], false);
      // The server's word comes a round trip later, and shows in the others' time.
      this.#struckShown[ships.id[i]] = this.#now + this.#rttMs + 3 * this.playback.delayMs;
      return true;
    }
    return false;
  };

  #onFire = (shot) => {
    const own = shot.own;
    this.#effect("fire", shot.x, shot.y, this.#ships.columns.hue[shot.owner] ?? 0, own);
  };

  /** Playback has reached a snapshot: what happened to the others since the one before. */
  #onFrame = (before, frame) => {
    const { hue } = this.#ships.columns;
    const { scale } = this.#ships.kind;
    const { x, y, hp, flags } = frame.columns;
    const now = performance.now();
    for (let i = 0; i < frame.count; i++) {
      const id = frame.ids[i];
      if (id === this.slot) continue;
      const place = [x[id] * scale.x, y[id] * scale.y, hue[id], false];
      if (before.of(id) !== frame.generation[id]) {
        if (flags[id] & FLAG.PROTECTED) this.#effect("spawn", ...place);
        continue;
      }
      const lost = before.columns.hp[id] - hp[id];
      if (before.columns.flags[id] & ~flags[id] & FLAG.ALIVE) this.#effect("explosion", ...place);
      else if (lost > 0 && now > this.#struckShown[id]) this.#effect("hit", ...place, lost);
    }
  };

  #effect(type, x, y, hue, own, value = 0) {
    keep(this.#scene.fx, { type, x, y, hue, own, value });
  }
}

/** Append to a list that somebody drains, unless nobody does. */
function keep(list, item) {
  if (list.length < MOST_EVENTS) list.push(item);
}

// ---------------------------------------------------------------- the scene

const SHIPS = {
  id: Uint16Array, x: Float32Array, y: Float32Array, heading: Float32Array, vx: Float32Array,
  vy: Float32Array, hp: Uint8Array, flags: Uint8Array, power: Uint8Array, hue: Uint8Array,
};
const SHOTS = {
  id: Uint16Array, x: Float32Array, y: Float32Array, aim: Float32Array, own: Uint8Array,
};
const ORBS = { id: Uint16Array, x: Float32Array, y: Float32Array, value: Uint8Array };

function table(columns, extra = {}) {
  return { count: 0, ...Object.fromEntries(
    Object.entries(columns).map(([name, Column]) => [name, new Column(256)]),
  ), ...extra };
}

/** Room for `count` rows in a table of the scene; what was in it is lost when it has to grow. */
function ensure(rows, count) {
  if (count <= rows.id.length) return;
  for (const [name, column] of Object.entries(rows)) {
    if (ArrayBuffer.isView(column)) rows[name] = new /** @type {any} */ (column).constructor(2 * count);
  }
}

function emptyScene() {
  return {
    time: 0,
    tickHz: 20,
    size: 0,
    cell: 0,
    view: { x: 0, y: 0 },
    ships: table(SHIPS, { name: [], ownIndex: -1 }),
    shots: table(SHOTS),
    orbs: table(ORBS),
    self: {
      alive: false, protected: false, hp: 0, energy: 0, score: 0, rank: 0, power: 0, streak: 0,
      respawnS: 0, cooldownS: 0, slot: NO_SLOT, name: "",
    },
    board: { rows: [], players: 0 },
    heat: { width: 0, cells: null },
    round: { ticks: 0, podiumTicks: 0 },
    fx: [],
    feed: [],
    chat: [],
    notices: [],
  };
}
