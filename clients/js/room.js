/** A stay in a room, from join to leave, over as many connections as it takes. */

import { find, taken } from "./check.js";
import { InputClock, PlaybackClock } from "./clock.js";
import { Connection } from "./connection.js";
import { Interpolation } from "./interpolate.js";
import { Listeners } from "./listeners.js";
import {
  ANSWER, CALL, EVENT, FAULT, MOVE, NOTICE, PATCH, PONG, REPLAY, REPLAYING, STATE, WELCOME,
} from "./messages.js";
import { WireError, pack } from "./msgpack.js";
import { Prediction } from "./predict.js";
import { State } from "./state.js";
import { MemoryStorage } from "./storage.js";

const HOLD_MS = 500; // an input that stays the same is sent again
const ANSWER_MS = 15000;
const MOST_UNSENT = 100; // messages kept while there is no connection
const CATCH_UP_TICKS = 3; // after a hiccup; what is older is too late anyway
const RTT_SAMPLES = 10;
const REPORTS_PER_S = 4; // about so many inputs are reported on
const FIRST_ATTEMPTS = 3; // to get in
const NO_SLOT = 65535; // of a spectator in a crowd

export class Room {
  #lobby;
  #connection;
  #welcome = null;
  #declaration = ""; // as it came
  #state = null;
  #crowd = null; // in a room for crowds: see crowd.js
  #on = new Listeners();
  #told = "connecting"; // the status that the page was told last
  #joined; // {resolve, reject} until the first state
  #requests = new Map();
  #requestId = 0;
  #waiting = []; // bytes of messages, until there is a connection
  #known = { tick: 0, at: 0 }; // the newest tick that was heard of
  #rtts = [];
  #rttMs;
  // In rooms with a tick:
  #inputClock = null;
  #playback = null;
  #interpolation = null;
  #prediction = null;
  #step = null;
  #fields; // of the declared input, [name, type, low, high, default]
  #input = {};
  #idle = {}; // the input of a player who does nothing
  #sent = null;
  #sentAt = 0;
  #lastTarget = 0;
  #timer = 0;

  /** Go to `place`, which the lobby has found; resolves when the room's state is here. */
  static async open(lobby, place, options) {
    const socket = options.net ? await conditioned(options.net) : undefined;
    return new Promise((resolve, reject) => {
      const room = new Room(lobby, place, options, socket);
      room.#joined = { resolve: () => resolve(room), reject };
      const { name = "", watch, auth } = options;
      const spectate = watch && { spectate: true };
      room.#connection.connect(name, { ...spectate, ...(auth && { options: auth }) });
    });
  }

  constructor(lobby, place, { watch, WebSocket }, wrap) {
    this.#lobby = lobby;
    this.place = place; // what the lobby said of it, such as `code`, `link` and `owner`
    this.id = place.room;
    this.replaying = null; // {tick, first, last, speed} of a replay
    this.#connection = new Connection({
      url: place.url,
      WebSocket,
      wrap,
      storage: watch ? new MemoryStorage() : lobby.storage,
      place: {
        ticket: place.ticket,
        room: place.room,
        find: place.replay ? null : async (token) => {
          const { id } = this;
          return (token && !watch && await lobby.back(id)) || lobby.find({ room: id, watch });
        },
      },
      onMessage: (message, bytes, now) => this.#receive(message, now),
      onStatus: (status) => this.#status(status),
    });
    if (!watch) lobby.remember(place.room);
  }

  // -------------------------------------------------------------- what is here

  /** The room's own fields, with `onAdd`, `onRemove`, `listen`. */
  get state() {
    return this.#state?.room ?? null;
  }

  /** All entities of a kind, live; not to be changed. */
  entities(kind) {
    return this.#kind(kind).entities;
  }

  /** The entity of an id, or null. */
  get(id) {
    return this.#state.all.get(id) ?? null;
  }

  /** One's own player as the server knows it; null for a spectator. */
  get me() {
    return (this.#crowd ?? this.#state).me;
  }

  /** All players; of a crowd none, for those are in `columns`. */
  get players() {
    return this.#state?.kinds[1].entities ?? [];
  }

  /** The entities of a kind that are one's own. */
  mine(kind) {
    return this.entities(kind).filter((entity) => entity.mine);
  }

  get game() {
    return this.#welcome.game ?? this.#lobby.game;
  }

  get settings() {
    return this.#welcome.settings ?? {};
  }

  /** One's id, the same over every return. */
  get playerId() {
    return this.#welcome.id;
  }

  get spectator() {
    return this.#welcome.spectator === true || this.#welcome.slot === NO_SLOT;
  }

  /** For `reconnect`: a secret. */
  get token() {
    return this.#connection.token;
  }

  /** connecting, joining, playing, reconnecting or closed. */
  get status() {
    return this.#connection.status.state;
  }

  /** The same in a sentence for people; empty while playing. */
  get statusText() {
    return this.#connection.status.text;
  }

  /** By what the server is reached: "websocket", "sse" or "polling". */
  get transport() {
    return this.#connection.transport;
  }

  /** Milliseconds to the server and back. */
  get rtt() {
    return this.#rttMs;
  }

  get tick() {
    return (this.#crowd ?? this.#state).tick;
  }

  get tickHz() {
    return this.#welcome.tick_hz;
  }

  /** The room's time by now, seconds; of a room without a tick, since the state came. */
  get time() {
    const since = this.status === "playing" ? (performance.now() - this.#known.at) / 1000 : 0;
    return this.tickHz ? this.#known.tick / this.tickHz + since : since;
  }

  // -------------------------------------------------------------- what to hear of

  /** `callback(...args)` for each message of that name from the room's `send`. */
  on(name, callback) {
    return this.#on.add(`event ${name}`, callback);
  }

  /** `callback(player)` for each player who comes from now on. */
  onJoin(callback) {
    return this.#state.on.add(`add ${this.#state.kinds[1].name}`, callback);
  }

  onPart(callback) {
    return this.#state.on.add(`remove ${this.#state.kinds[1].name}`, callback);
  }

  /** `callback()` after each change of anything. */
  onChange(callback) {
    return (this.#state?.on ?? this.#on).add("change", () => callback(this));
  }

  /** `callback(text)` when the connection is gone, and the way back is being sought. */
  onDrop(callback) {
    return this.#on.add("drop", callback);
  }

  onReconnect(callback) {
    return this.#on.add("reconnect", callback);
  }

  /** `callback(code, reason)` when the stay is over for good. */
  onLeave(callback) {
    return this.#on.add("leave", callback);
  }

  /** `callback(status, text)` with each change of the status. */
  onStatus(callback) {
    return this.#on.add("status", callback);
  }

  // -------------------------------------------------------------- what to say

  /** The input that is held from now on; fields left out are as if nothing was done. */
  get input() {
    return this.#crowd ? this.#crowd.input : this.#input;
  }

  set input(input) {
    if (this.#crowd) {
      this.#crowd.input = input;
      return;
    }
    if (!this.#fields) throw new Error(`${this.game} takes no input: its room declares none`);
    for (const name of Object.keys(input)) find(this.#idle, name, "input has no field");
    taken("input", this.#fields.map(([name]) => input[name]), this.#fields);
    this.#input = { ...this.#idle, ...input };
  }

  /** Call a message of the room's. */
  send(name, ...args) {
    this.#call(name, args, null);
  }

  /** Likewise, for the answer. Rejects with the room's reason to refuse. */
  request(name, ...args) {
    const id = ++this.#requestId;
    return new Promise((resolve, reject) => {
      this.#call(name, args, id);
      const timer = setTimeout(() => this.#answer(id, false, `${name}: no answer came`), ANSWER_MS);
      this.#requests.set(id, { resolve, reject, timer });
    });
  }

  #call(name, args, id) {
    if (this.status === "closed") throw new Error(`${name}: the room was left`);
    if (this.#crowd) {
      this.#crowd.say(name, args, id);
      return;
    }
    const { messages } = this.#welcome.declaration;
    const declared = find(messages, name, `${this.game} has no message`);
    const bytes = pack([CALL, name, taken(name, args, declared), id]);
    if (this.status === "playing" && this.#connection.send(bytes)) return;
    if (this.#waiting.length >= MOST_UNSENT) throw new Error(`${name}: too much waits`);
    this.#waiting.push(bytes);
  }

  /** Give up the place. */
  leave() {
    this.#connection.leave();
  }

  /** In a replay: go on at `speed` (0 stops), from `tick` on unless it is null. */
  seek(speed, tick = null) {
    this.#connection.send(pack([REPLAY, speed, tick]));
  }

  // -------------------------------------------------------------- what to draw

  /**
   * What to draw at `now`: by kind an array of objects with `id`, `mine` and the fields. They are
   * used again for the next frame.
   */
  sample(now = performance.now()) {
    if (this.#crowd) return this.#crowd.sample(now);
    if (!this.tickHz) {
      return Object.fromEntries(this.#state.kinds.slice(1).map((kind) => [kind.name, kind.entities]));
    }
    this.#interpolation ??= new Interpolation(this.#state);
    if (this.#timer) this.#pump(now);
    const drawn = this.#interpolation.seek(this.#playback.tickAt(now));
    const own = this.#prediction && this.#interpolation.of(this.me);
    if (own) this.#prediction.draw(now, this.#inputClock.tickAt(now), this.#held, own);
    return drawn;
  }

  /**
   * A crowd's kind to draw at `now`, as columns: rows `0..count` of `ids` and of each column, in
   * world units; `vx` and `vy` of what moves; `mine` is one's own row, or -1. They are used again
   * for the next frame.
   */
  columns(kind, now = performance.now()) {
    if (this.#crowd) return this.#crowd.columns(kind, now);
    throw new Error(`${this.game} is no crowd`);
  }

  /** Numbers that a crowd's `rules()` tells pages. */
  get rules() {
    return this.#crowd?.rules ?? {};
  }

  /**
   * One's own player at once, without the way to the server: `step(me, input, dt)` does to it what
   * the room's `step` does in a tick.
   */
  predict(kind, step) {
    const { name } = this.#state.kinds[1];
    if (this.#kind(kind).name !== name) throw new Error(`predict: players are of kind ${name}`);
    if (!this.tickHz) throw new Error(`predict: ${this.game} has no tick`);
    this.#step = step;
    this.#reconcile(this.tick);
  }

  #kind(name) {
    const complaint = `${this.game} ${this.#crowd ? "is a crowd: see columns, no" : "has no"} kind`;
    return find(this.#state?.byName ?? {}, name, complaint);
  }

  // -------------------------------------------------------------- what comes in

  #receive(message, now) {
    const [type, ...rest] = message;
    if (type === WELCOME && rest[0].kind !== "objects") this.#enterCrowd(rest[0], now);
    if (this.#crowd && type !== PONG) {
      this.#crowd.receive(message, now);
      return;
    }
    if (!this.#state && type > WELCOME && type !== NOTICE && type !== PONG) {
      throw new WireError("no WELCOME came");
    }
    switch (type) {
      case WELCOME: this.#enter(rest[0], now); break;
      case STATE:
      case PATCH: this.#apply(message, now); break;
      case PONG: this.#pong(rest[0], rest[1], now); break;
      case EVENT: this.#on.call(`event ${rest[0]}`, ...this.#state.lookUp(rest[1])); break;
      case ANSWER: this.#answer(...rest); break;
      case REPLAYING: {
        const [tick, first, last, speed] = rest;
        this.replaying = { tick, first, last, speed };
        break;
      }
      case NOTICE:
      case FAULT: import("./fault.js").then(({ show }) => show(...rest), () => {}); break;
      // What a later version of the server says is not for us.
    }
  }

  /** What a crowd needs is loaded when one is met; messages wait for it. */
  #enterCrowd(welcome, now) {
    this.#welcome = welcome;
    this.id = welcome.room;
    this.#rttMs = now - this.#connection.helloAt;
    if (this.#crowd) return;
    const early = [];
    this.#crowd = { receive: (...message) => early.push(message), stop() {}, tick: 0, me: null };
    const onState = (tick, at) => {
      this.#known = { tick, at };
      this.#joined?.resolve();
      this.#joined = null;
    };
    import("./crowd.js").then(({ Crowd }) => {
      this.#crowd = new Crowd({
        send: (bytes) => this.#connection.send(bytes), on: this.#on, taken, onState,
        clocks: [InputClock, PlaybackClock], rttMs: () => this.#rttMs,
        answer: this.#answer.bind(this),
      });
      for (const message of early) this.#crowd.receive(...message);
    }).catch((error) => {
      this.#joined?.reject(error);
      this.#joined = null;
      this.leave();
    });
  }

  #enter(welcome, now) {
    const declaration = JSON.stringify(welcome.declaration);
    if (this.#state && declaration !== this.#declaration) {
      // Another version of the game runs there: its page is needed, too.
      this.#connection.onMessage = () => {}; // it would not be understood here
      if (globalThis.location?.reload) location.reload();
      else this.leave();
      return;
    }
    const before = this.#welcome;
    this.#welcome = welcome;
    this.#declaration = declaration;
    this.#state ??= new State(welcome.declaration);
    this.#state.player = welcome.player ?? null;
    this.id = welcome.room;
    this.#rttMs = now - this.#connection.helloAt;
    if (before && !welcome.resumed) this.#forget("the place in the room was lost");
    const fields = welcome.declaration.input;
    if (!before && fields) {
      this.#fields = fields;
      this.input = this.#idle = Object.fromEntries(fields.map(([name, , , , usual]) => [name, usual]));
    }
    this.#stop();
    this.#restart();
  }

  /** Clocks that know nothing yet: on another connection, or when the room went back in time. */
  #restart() {
    this.#interpolation = this.#state.recorder = this.#prediction = this.#sent = null;
    this.#lastTarget = 0;
    if (!this.tickHz) return;
    this.#playback = new PlaybackClock(this.tickHz);
    this.#inputClock = new InputClock(this.tickHz, REPORTS_PER_S);
  }

  #apply(message, now) {
    const [type, tick, slack] = message;
    if (type === STATE && tick < this.tick) this.#restart();
    this.#state.apply(message);
    if (this.tickHz || type === STATE) this.#known = { tick, at: now };
    if (this.tickHz) this.#advance(now, tick, slack ?? null);
    if (type !== STATE) return;
    const waiting = this.#waiting.splice(0);
    for (const bytes of waiting) this.#connection.send(bytes);
    this.#joined?.resolve();
    this.#joined = null;
  }

  #advance(now, tick, slack) {
    this.#playback.onSnapshot(now, tick, 1);
    if (this.spectator) return;
    const clock = this.#inputClock;
    if (!clock.running || clock.tickAt(now) < tick) clock.start(now, tick, this.#rttMs);
    else if (slack !== null) clock.onSlack(tick, slack);
    this.#reconcile(tick);
    this.#arm();
  }

  #reconcile(tick) {
    const { me } = this;
    if (!this.#step) return;
    if (!me) {
      this.#prediction = null;
      return;
    }
    const { fields } = this.#state.kinds[1];
    this.#prediction ??= new Prediction(fields, this.#step, this.tickHz);
    this.#prediction.reconcile(tick, me);
  }

  #pong(sentAt, tick, now) {
    this.#rtts.push(now - sentAt);
    if (this.#rtts.length > RTT_SAMPLES) this.#rtts.shift();
    // The server reads at its ticks: only the luckiest of some pings shows the network alone.
    this.#rttMs = Math.min(...this.#rtts);
    // Nothing came since: so what is known holds for the ticks until now.
    if (this.tickHz && tick > this.#known.tick) this.#known = { tick, at: now };
    if (this.#prediction && tick - 1 > this.tick) this.#reconcile(tick - 1);
  }

  #answer(id, good, value) {
    const request = this.#requests.get(id);
    if (!request) return;
    this.#requests.delete(id);
    clearTimeout(request.timer);
    if (good) request.resolve(this.#state?.lookUp(value) ?? value);
    else request.reject(new Error(value));
  }

  /** What was not answered or sent will not be. */
  #forget(why) {
    this.#waiting.length = 0;
    for (const id of [...this.#requests.keys()]) this.#answer(id, false, why);
  }

  #status({ state, text, code, reason, attempts }) {
    const failed = state === "closed" || code === 1013 || attempts >= FIRST_ATTEMPTS;
    if (this.#joined && failed) {
      const { reject } = this.#joined;
      this.#joined = null;
      /** @type {Error & {code?: number}} */
      const error = new Error(reason || text || "The room was left.");
      error.code = code;
      reject(error);
      if (state !== "closed") this.leave();
      return;
    }
    const before = this.#told;
    if (state === "playing" || state === "reconnecting" || state === "closed") this.#told = state;
    if (state !== "playing") this.#stop();
    if (state === "closed") {
      this.#forget("the room was left");
      this.#lobby.forget();
    }
    this.#on.call("status", state, text);
    if (before === this.#told) return;
    if (state === "reconnecting" && before === "playing") this.#on.call("drop", text);
    if (state === "playing" && before === "reconnecting") this.#on.call("reconnect");
    if (state === "closed") this.#on.call("leave", code, reason || text);
    if (state === "playing" && this.tickHz) this.#arm();
  }

  // -------------------------------------------------------------- the input's way out

  /** What is held; in a hidden tab nobody holds anything. */
  get #held() {
    return globalThis.document?.visibilityState === "hidden" ? this.#idle : this.#input;
  }

  #stop() {
    this.#crowd?.stop();
    clearTimeout(this.#timer);
    this.#timer = 0;
  }

  /** Wake up at the beginning of the next tick, in case no frame is drawn by then. */
  #arm() {
    if (this.#timer || !this.#fields || this.spectator || !this.#inputClock.running) return;
    const ticks = this.#lastTarget + 1 - this.#inputClock.tickAt(performance.now());
    const wait = (ticks * 1000) / this.tickHz;
    this.#timer = setTimeout(() => {
      this.#timer = 0;
      this.#arm();
      this.#pump(performance.now());
    }, Math.min(1000, Math.max(1, wait)));
  }

  /** Act for each tick that has begun since the last one. */
  #pump(now) {
    const due = Math.floor(this.#inputClock.tickAt(now));
    const past = Math.max(this.tick, this.#prediction?.tick ?? 0, due - CATCH_UP_TICKS);
    this.#lastTarget = Math.max(this.#lastTarget, past);
    while (this.#lastTarget < due) this.#act(now, ++this.#lastTarget);
  }

  #act(now, target) {
    const held = this.#held;
    const values = this.#fields.map(([name]) => held[name]);
    this.#prediction?.act(target, { ...held });
    const changed = !this.#sent || values.some((value, i) => value !== this.#sent[i]);
    if (!changed && now - this.#sentAt < HOLD_MS) return;
    if (!this.#connection.send(pack([MOVE, target, values]))) return;
    this.#sent = values;
    this.#sentAt = now;
  }
}

async function conditioned(net) {
  const { PRESETS, conditionedBy } = await import("./conditioner.js");
  return conditionedBy(typeof net === "string" ? PRESETS[net] : net);
}
