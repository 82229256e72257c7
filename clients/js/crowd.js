/**
 * A crowd's room: snapshots in, columns to draw and inputs out. `room.js` loads this when it comes
 * into such a room; it has the clocks and numbers from there, so as not to load them twice.
 */

import {
  BOARD, CHAT, CHATTED, FEED, InputEncoder, LOOK, NO_SLACK, NO_SLOT, World, compile, readHead,
} from "./columns.js";
import { pack } from "./msgpack.js";
import { Interpolation } from "./smooth.js";

const WELCOME = 16;
const SNAPSHOT = 17;
const CALL = 10;
const EVENT = 27;
const ANSWER = 28;
const FAULT = 29;

export class Crowd {
  #send;
  #on;
  #clocks;
  #rttMs;
  #onState;
  #declaration = "";
  #schema;
  #world;
  #drawn; // by kind
  #playback;
  #inputClock;
  #encoder;
  #tickHz;
  #slot;
  #taken;
  #answer;
  #messages = {}; // the game's own
  #idle = {}; // the input of a player who does nothing
  #input = {};
  #seq = 0;
  #lastTarget = 0;
  #timer = 0;

  /**
   * `send(bytes)`; `on`: the room's listeners; `taken(name, values, declared)` checks them; `clocks`: `[InputClock, PlaybackClock]`; `rttMs()`;
   * `onState(tick, now)`: a snapshot is there; `answer(request, ok, value)`: to a request.
   */
  constructor({ send, on, taken, clocks, rttMs, onState, answer }) {
    this.#answer = answer;
    this.#taken = taken;
    this.#send = send;
    this.#on = on;
    this.#clocks = clocks;
    this.#rttMs = rttMs;
    this.#onState = onState;
    this.me = null;
    this.rules = {};
  }

  get tick() {
    return this.#world?.tick ?? 0;
  }

  receive(message, now) {
    const [type, ...rest] = message;
    switch (type) {
      case WELCOME: this.#enter(rest[0]); break;
      case SNAPSHOT: this.#snapshot(rest[0], rest[1], now); break;
      case FEED: this.#on.call("event feed", rest[0]); break;
      case BOARD: this.#on.call("event board", rest[0], rest[1]); break;
      case CHATTED: this.#on.call("event chat", rest[0], rest[1]); break;
      case EVENT: this.#on.call(`event ${rest[0]}`, ...rest[1]); break;
      case ANSWER: this.#answer(...rest); break;
      case FAULT: import("./fault.js").then(({ show }) => show(rest[0]), () => {}); break;
      // What a later version of the server says is not for us.
    }
  }

  #enter(welcome) {
    const declaration = JSON.stringify(welcome.declaration);
    if (this.#declaration && declaration !== this.#declaration && globalThis.location?.reload) {
      location.reload(); // another version of the game runs there
      return;
    }
    this.stop();
    this.#declaration = declaration;
    this.#schema = compile(welcome.declaration);
    this.#tickHz = welcome.tick_hz;
    this.#slot = welcome.slot;
    this.rules = welcome.rules ?? {};
    this.#messages = welcome.messages ?? {};
    this.#world = new World(this.#schema);
    this.#encoder = new InputEncoder(this.#schema.command);
    const [InputClock, PlaybackClock] = this.#clocks; // by order: their names are shorter there
    this.#playback = new PlaybackClock(this.#tickHz);
    this.#inputClock = new InputClock(this.#tickHz);
    this.#lastTarget = 0;
    this.#idle = Object.fromEntries(this.#schema.command.map(([name, , , , usual]) => [name, usual ?? 0]));
    this.#input = { ...this.#idle, ...this.#input };
    const own = (at) => (at === 0 ? this.#slot : NO_SLOT);
    this.#drawn = this.#world.kinds.map((known, at) => new Drawn(known, own(at), this.#tickHz));
  }

  #snapshot(headBytes, body, now) {
    const head = readHead(this.#schema, headBytes);
    this.#world.apply(head, body);
    for (const drawn of this.#drawn) drawn.push(head.tick);
    this.#playback.onSnapshot(now, head.tick, head.snapshot_ticks);
    if (this.#slot !== NO_SLOT) {
      this.me = { slot: this.#slot, ...head.self };
      const clock = this.#inputClock;
      if (!clock.running || clock.tickAt(now) < head.tick) clock.start(now, head.tick, this.#rttMs());
      else if (head.slack !== NO_SLACK) clock.onSlack(head.tick, head.slack);
      this.#arm();
    }
    this.#onState(head.tick, now);
    this.#on.call("change");
  }

  // -------------------------------------------------------------- to draw

  /** The columns of a kind as they are to be drawn at `now`. */
  columns(name, now) {
    const drawn = this.#drawn.find((one) => one.name === name);
    if (drawn) return drawn.at(now, this.#playback.tickAt(now));
    throw new Error(`no kind ${name} was declared, but ${this.#drawn.map((one) => one.name).join(", ")}`);
  }

  sample(now) {
    return Object.fromEntries(this.#drawn.map(({ name }) => [name, this.columns(name, now)]));
  }

  // -------------------------------------------------------------- to say

  get input() {
    return this.#input;
  }

  set input(input) {
    for (const name of Object.keys(input)) {
      if (name in this.#idle) continue;
      throw new Error(`input has no field ${name}, but ${Object.keys(this.#idle).join(", ")}`);
    }
    for (const [name, dtype, low = null, high = null] of this.#schema.command) {
      const type = typeof this.#idle[name] === "boolean" ? "bool" : dtype === "f4" ? "float" : "int";
      if (input[name] !== undefined) this.#taken("input", [input[name]], [[name, type, low, high]]);
    }
    this.#input = { ...this.#idle, ...input };
  }

  /** A line of chat, where a spectator looks (a slot, or x and y), or a message of the game's. */
  say(name, args, request = null) {
    if (name === "chat" || name === "look") {
      this.#send(pack([name === "chat" ? CHAT : LOOK, ...args]));
      return;
    }
    const declared = this.#messages[name];
    if (!declared) {
      throw new Error(`the game has no message ${name}, but ${["chat", "look", ...Object.keys(this.#messages)].join(", ")}`);
    }
    this.#send(pack([CALL, name, this.#taken(name, args, declared), request]));
  }

  stop() {
    clearTimeout(this.#timer);
    this.#timer = 0;
  }

  /** Wake up at the beginning of each tick: one input goes out for it. */
  #arm() {
    if (this.#timer) return;
    const ticks = Math.floor(this.#inputClock.tickAt(performance.now())) + 1
      - this.#inputClock.tickAt(performance.now());
    this.#timer = setTimeout(() => {
      this.#timer = 0;
      this.#act(performance.now());
      this.#arm();
    }, Math.max(1, (ticks * 1000) / this.#tickHz));
  }

  #act(now) {
    const target = Math.floor(this.#inputClock.tickAt(now));
    if (target <= this.#lastTarget) return;
    this.#lastTarget = target;
    this.#seq = (this.#seq + 1) & 0xffff;
    const hidden = globalThis.document?.visibilityState === "hidden";
    const header = { target, ack: Math.max(0, this.tick), seq: this.#seq };
    this.#send(this.#encoder.encode(header, hidden ? this.#idle : this.#input).slice());
  }
}

/**
 * One kind, to be drawn: rows `0..count` of `ids` and of each column, in world units. A kind that
 * moves is drawn between snapshots, with its velocity in `vx` and `vy` (units a second). `mine`:
 * one's own row, -1 without. The arrays are used again for the next frame.
 */
class Drawn {
  #known;
  #own;
  #smooth = null;
  #now = NaN;
  #rows = { count: 0, ids: new Uint16Array(0), mine: -1 };

  constructor(known, own, tickHz) {
    this.name = known.name;
    this.#known = known;
    this.#own = own;
    const moving = known.kind.mutable.fields.map(({ name }) => name);
    if (moving.includes("x") && moving.includes("y")) this.#smooth = new Interpolation(known.kind, tickHz);
  }

  push(tick) {
    this.#now = NaN;
    this.#smooth?.push(tick, this.#known);
  }

  at(now, time) {
    if (now === this.#now) return this.#rows;
    this.#now = now;
    this.#smooth?.seek(now, time, () => {});
    const known = this.#known;
    const frame = this.#smooth?.frame ?? (this.#smooth ? { count: 0 } : known);
    if (this.#rows.ids.length < known.capacity) this.#allocate(known.capacity);
    const rows = this.#rows;
    rows.mine = -1;
    let count = 0;
    for (let i = 0; i < frame.count; i++) {
      const id = frame.ids[i];
      if (frame.generation[id] !== known.generation[id]) continue; // another took its place
      if (id === this.#own) rows.mine = count;
      rows.ids[count++] = id;
    }
    rows.count = count;
    for (const { name, dtype } of known.kind.row.fields) {
      const from = frame.columns?.[name] ?? known.columns[name];
      const scale = dtype.startsWith("S") ? 0 : known.kind.scale[name];
      for (let i = 0; i < count; i++) rows[name][i] = scale ? from[rows.ids[i]] * scale : from[rows.ids[i]];
    }
    if (this.#smooth) this.#place(rows);
    return rows;
  }

  #place(rows) {
    const smooth = this.#smooth;
    for (let i = 0; i < rows.count; i++) {
      smooth.place(rows.ids[i]);
      rows.x[i] = smooth.x;
      rows.y[i] = smooth.y;
      rows.vx[i] = smooth.vx;
      rows.vy[i] = smooth.vy;
    }
  }

  #allocate(capacity) {
    const rows = { count: 0, ids: new Uint16Array(capacity), mine: -1 };
    for (const { name, dtype } of this.#known.kind.row.fields) {
      rows[name] = dtype.startsWith("S") ? [] : new Float32Array(capacity);
    }
    if (this.#smooth) {
      rows.vx = new Float32Array(capacity);
      rows.vy = new Float32Array(capacity);
    }
    this.#rows = rows;
  }
}
