/**
 * The way to the server: one WebSocket after the other, kept alive by itself.
 *
 * Opens, says HELLO, keeps the resume token of the tab, and comes back after a drop with a
 * growing, jittered delay, or at once when the tab is shown or the network returns. What to do
 * after each close code is PROTOCOL.md's table. `status` is for people to read.
 */

import {
  HELLO, LEAVE, NOTICE, PING, PROTOCOL_VERSION, SNAPSHOT, STATE, SUBPROTOCOL, SYNC, WELCOME,
} from "./messages.js";
import { WireError, pack, unpack } from "./msgpack.js";

const BACKOFF_MS = [1000, 8000]; // so at least 0.5 s
const RESTART_MS = [200, 1000];
const MOVE_MS = [0, 50]; // to where the server says that the room goes on
const BUSY_MS = [4000, 8000];
const OPENING_MS = 8000; // from connect to WELCOME
const BEAT_MS = 250;
const PING_MS = [350, 650]; // irregular, so that pings fall into every part of a server tick
const CALM_PING_MS = [1500, 2500]; // in object rooms, when the way there is known,
const CALM_PINGS = 10; // after so many,
const IDLE_PING_MS = [8000, 9500]; // and in those without a tick
const QUIET_MS = 1500; // without a word of the server
const DEAD_MS = 6000;
const PROBE_MS = 2000; // for an answer after the tab was shown or the network returned
const BAD_MESSAGES = 3;
const OPEN = 1; // WebSocket.OPEN

const RECONNECT = "reconnect";
const STOP = "stop";

const stop = (text) => ({ then: STOP, text });
const again = (text, wait) => ({ then: RECONNECT, text, wait });

/** Close code: what to do, how long to wait, what to say. */
const AFTER_CLOSE = {
  1000: stop("Disconnected."),
  1001: again("The server is going away."),
  1012: again("The server restarts.", RESTART_MS),
  1013: again("The room is full. Trying again.", BUSY_MS),
  4001: stop("The game was updated. Please reload the page."),
  4002: stop("The game was updated. Please reload the page."),
  4004: again("Too many messages. Slowing down.", BUSY_MS),
  4005: again("The connection was too slow."),
  4006: stop("You are playing in another tab."),
  4007: { ...again("Joining anew.", [0, 0]), forget: true },
  4008: again("The connection was silent for too long."),
  4009: { ...stop("This room has closed."), forget: true },
};
for (const code of [1002, 1003, 1007, 1009, 4000, 4003]) {
  AFTER_CLOSE[code] = stop(`Stopped after a protocol error (${code}). Please report it.`);
}
const DROPPED = again("Connection lost.");
/** Codes of an application's own end the stay; all others are accidents. */
const after = (code) => AFTER_CLOSE[code]
  ?? (code >= 4000 ? { ...stop("The server ended the stay."), forget: true } : DROPPED);

export class Connection {
  #url;
  #WebSocket;
  #wrap;
  #decode;
  #storage;
  #hello = null; // {name, options} while a connection is wanted
  #socket = null;
  #attempts = 0;
  #retryTimer = 0;
  #beatTimer = 0;
  #openedAt = 0;
  #heardAt = 0;
  #pingAt = 0; // the first ping since something was heard
  #pings = 0;
  #probedAt = Infinity;
  #pingTimer = 0;
  #bad = 0;
  #welcomed = null; // WELCOME of the present socket
  #joined = false; // a whole state came on it
  #listening = null; // to the page, while a connection is wanted
  #tokenKey;
  #ticket;
  #shown = null; // the ticket that the present socket's HELLO has shown
  #find;
  #sentTo = ""; // where the server says that the room goes on
  #proven = false; // this kind of socket has brought something

  /**
   * `onMessage(message, bytes, nowMs)`: every message of the server, as `decode(bytes)` reads it;
   * `onStatus({state, text, code, reason, attempts})`; `storage`: Web Storage for the token.
   * `place`: the lobby's `{ticket, room, find}`; `find(token)` tells, as a promise, where to go
   * when the server can't be reached any more. `wrap(socket)`: a socket to use in its place.
   * @param {{url: string, onMessage: Function, onStatus: Function, storage?: Pick<Storage, "getItem" | "setItem" | "removeItem">,
   *   place?: {room?: string, ticket?: string | null, find?: (token: string) => Promise<any>},
   *   decode?: (bytes: Uint8Array) => any, WebSocket?: typeof globalThis.WebSocket,
   *   wrap?: (socket: any) => any}} options
   */
  constructor({
    url, onMessage, onStatus, storage = sessionStorage, place = {}, decode = unpack,
    WebSocket = globalThis.WebSocket, wrap = (socket) => socket,
  }) {
    this.#url = url;
    this.#WebSocket = WebSocket;
    this.#wrap = wrap;
    this.#decode = decode;
    this.#tokenKey = tokenKey(place.room ?? url);
    this.#ticket = place.ticket ?? null;
    this.#find = place.find ?? null;
    this.#storage = storage;
    this.onMessage = onMessage;
    this.onStatus = onStatus;
    this.status = { state: "closed", text: "" };
    this.helloAt = 0; // when HELLO was sent on the present socket
  }

  /** The secret with which one comes back as the same player; null without. */
  get token() {
    return this.#storage.getItem(this.#tokenKey);
  }

  connect(name, options = {}) {
    this.#hello = { name, options };
    this.#attempts = 0;
    this.#listen();
    const [, forced] = /[?&]transport=(sse|polling)/.exec(globalThis.location?.search) ?? [];
    if (forced) this.#change(forced).then(() => this.#connect());
    else this.#connect();
  }

  /** By what it reaches the server: "websocket", "sse" or "polling". */
  get transport() {
    // @ts-expect-error: sockets that stand in for one say so
    return this.#WebSocket.way ?? "websocket";
  }

  /** Something on the way may let no socket of this kind through: another one is next. */
  async #change(way) {
    const { next } = await import("./streams.js");
    this.#WebSocket = next(this.#WebSocket, way);
  }

  #listen() {
    this.#listening?.abort();
    if (!globalThis.document) return;
    this.#listening = new AbortController();
    const { signal } = this.#listening;
    const check = () => document.visibilityState === "visible" && this.#check();
    document.addEventListener("visibilitychange", check, { signal });
    document.addEventListener("resume", check, { signal });
    addEventListener("pageshow", check, { signal });
    addEventListener("online", check, { signal });
  }

  /** No connection is wanted any more. */
  #stop(text, code, reason) {
    this.#hello = null;
    this.#listening?.abort();
    clearTimeout(this.#retryTimer);
    this.#say("closed", text, code, reason);
  }

  /** Give up the place and stay away. */
  leave() {
    if (this.#welcomed) this.send(pack([LEAVE]));
    this.#forgetToken();
    this.#drop();
    this.#stop("", 1000);
  }

  /** Send now; false if there is no connection. */
  send(bytes) {
    if (this.#socket?.readyState !== OPEN) return false;
    this.#socket.send(bytes);
    return true;
  }

  #connect() {
    clearTimeout(this.#retryTimer);
    this.#drop();
    this.#say(this.#attempts ? "reconnecting" : "connecting", "Connecting …");
    let socket;
    try {
      socket = this.#wrap(new this.#WebSocket(this.#url, SUBPROTOCOL));
    } catch (error) {
      this.#stop(error.message);
      return;
    }
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this.#opened();
    socket.onmessage = (event) => this.#received(event.data);
    socket.onclose = (event) => this.#closed(event.code, event.reason);
    this.#socket = socket;
    this.#openedAt = performance.now();
    this.#beatTimer = setInterval(() => this.#beat(), BEAT_MS);
  }

  /** Part with the socket now, whatever it still says. */
  #drop() {
    clearInterval(this.#beatTimer);
    clearTimeout(this.#pingTimer);
    this.#welcomed = null;
    this.#joined = false;
    this.#probedAt = Infinity;
    const socket = this.#socket;
    if (!socket) return;
    this.#socket = null;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close(1000);
  }

  #opened() {
    this.#heardAt = this.helloAt = performance.now();
    this.#bad = 0;
    this.#say("joining", "Joining …");
    const { name, options } = this.#hello;
    const ticket = this.#ticket === null ? {} : { ticket: this.#ticket };
    [this.#shown, this.#ticket] = [this.#ticket, null]; // good for once
    // The schema 0 accepts whatever WELCOME declares.
    this.send(pack([HELLO, PROTOCOL_VERSION, 0, name, this.token, { ...options, ...ticket }]));
  }

  #received(data) {
    const now = performance.now();
    this.#heardAt = now;
    this.#probedAt = Infinity;
    this.#proven = true;
    try {
      const message = this.#decode(new Uint8Array(data));
      if (!Array.isArray(message)) throw new WireError("not a message of this protocol");
      if (message[0] === WELCOME) this.#welcome(message[1]);
      if (message[0] === NOTICE) this.#sentTo = message[3] ?? "";
      this.onMessage(message, data.byteLength, now);
      if (!this.#welcomed) return; // whoever was told has left
      if (message[0] === SNAPSHOT || message[0] === STATE) {
        this.#bad = 0;
        this.#joined = true;
      }
      if (this.#joined && this.status.state !== "playing") this.#say("playing", "");
    } catch (error) {
      if (error.name !== "WireError") throw error; // it may be of another copy, see crowd.js
      console.warn(`bad message from the server: ${error.message}`);
      // What cannot be read leaves us behind: a whole state mends it, a new connection surely.
      if (++this.#bad < BAD_MESSAGES) this.send(pack([SYNC]));
      else this.#lost(DROPPED);
    }
  }

  #welcome(welcome) {
    this.#welcomed = welcome;
    this.#attempts = this.#pings = 0;
    this.#ping();
    if (welcome.token) this.#storage.setItem(this.#tokenKey, welcome.token);
  }

  #closed(code, reason = "") {
    if (this.#sentTo) {
      const url = new URL(this.#sentTo, this.#url);
      url.protocol = new URL(this.#url).protocol; // no less secure than before
      this.#url = url.href;
      this.#sentTo = "";
      if (!this.#welcomed) this.#ticket = this.#shown; // nobody has taken it
      this.#lost(again("The room moves.", MOVE_MS));
      return;
    }
    const what = after(code);
    const text = reason && what.then === STOP ? `${what.text} (${reason})` : what.text;
    this.#lost({ ...what, text }, code, reason);
  }

  /**
   * @param {{then: string, text: string, wait?: any, forget?: boolean}} what
   * @param {number} [code]
   * @param {string} [reason]
   */
  #lost({ then, wait, text, forget }, code, reason) {
    this.#drop();
    if (forget) this.#forgetToken();
    if (then === STOP || !this.#hello) {
      this.#stop(text, code, reason);
      return;
    }
    const delay = between(wait ?? backoff(this.#attempts));
    this.#attempts++;
    this.#say("reconnecting", `${text} Reconnecting …`, code, reason);
    if (!this.#hello) return; // whoever was told does not want any more
    if (!this.#proven && !AFTER_CLOSE[code]) this.#change().catch(() => {});
    // A node that never answered may be there all the same, by another kind of socket.
    const seek = this.#attempts > (this.#proven ? 1 : 3) && this.#find;
    this.#retryTimer = setTimeout(() => (seek ? this.#seek() : this.#connect()), delay);
  }

  /** The server was not there twice: ask the lobby where the game goes on, then connect. */
  async #seek() {
    const wanted = this.#hello;
    try {
      const { url, ticket } = await this.#find(this.token);
      if (this.#hello !== wanted) return;
      this.#url = url;
      this.#ticket = ticket;
    } catch (error) {
      if (this.#hello !== wanted) return;
      this.#lost(again(error.message));
      return;
    }
    this.#connect();
  }

  #beat() {
    const now = performance.now();
    if (!this.#welcomed) {
      if (now - this.#openedAt > OPENING_MS) this.#lost(DROPPED);
      return;
    }
    // In a crowd something comes every few ticks; an object room answers, but may have no news.
    const asked = this.#pingAt >= this.#heardAt;
    const silence = this.#objects ? (asked ? now - this.#pingAt : 0) : now - this.#heardAt;
    if (silence > DEAD_MS || now - this.#probedAt > PROBE_MS) this.#lost(DROPPED);
    else if (silence > QUIET_MS) this.#say("reconnecting", "Waiting for the server …");
  }

  get #objects() {
    return this.#welcomed?.kind === "objects";
  }

  #ping() {
    clearTimeout(this.#pingTimer);
    const now = performance.now();
    if (this.#pingAt <= this.#heardAt) this.#pingAt = now;
    this.send(pack([PING, now]));
    let pause = PING_MS;
    if (this.#objects && ++this.#pings > CALM_PINGS) {
      pause = this.#welcomed.tick_hz > 0 ? CALM_PING_MS : IDLE_PING_MS;
    }
    this.#pingTimer = setTimeout(() => this.#ping(), between(pause));
  }

  /** The tab was shown or the network came back: be in play again as soon as can be. */
  #check() {
    if (!this.#hello) return;
    const now = performance.now();
    if (!this.#socket) {
      this.#attempts = Math.min(this.#attempts, 1);
      this.#connect();
    } else if (this.#welcomed && now - this.#heardAt > QUIET_MS) {
      this.#probedAt = now;
      this.#ping();
      if (!this.#objects) this.send(pack([SYNC]));
    }
  }

  #say(state, text, code = 0, reason = "") {
    if (state === this.status.state && text === this.status.text) return;
    this.status = { state, text, code, reason, attempts: this.#attempts };
    this.onStatus(this.status);
  }

  #forgetToken() {
    this.#storage.removeItem(this.#tokenKey);
  }
}

/** Where the token of a room, or of a socket's URL, is kept. */
export function tokenKey(room) {
  return `tickstorm.token ${room}`;
}

/** @param {number[]} range */
function between([low, high]) {
  return low + Math.random() * (high - low);
}

/** Range of the delay before attempt `n`, ms: doubling, the upper half of it random. */
function backoff(n) {
  const [least, most] = BACKOFF_MS;
  const delay = Math.min(most, least * 2 ** n);
  return [delay / 2, delay];
}
