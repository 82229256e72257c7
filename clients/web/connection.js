/**
 * The way to the server: one WebSocket after the other, kept alive by itself.
 *
 * Opens, says HELLO, keeps the resume token of the tab, and comes back after a drop with a
 * growing, jittered delay, or at once when the tab is shown or the network returns. What to do
 * after each close code is PROTOCOL.md's table. `status` is for people to read.
 */

import {
  NOTICE, SNAPSHOT, SUBPROTOCOL, WELCOME, WireError,
  decode, encodeHello, encodeLeave, encodePing, encodeSync,
} from "./wire.js";
import { ConditionedSocket, PRESETS } from "./conditioner.js";

const BACKOFF_MS = [1000, 8000]; // so at least 0.5 s
const RESTART_MS = [200, 1000];
const MOVE_MS = [0, 50]; // to where the server says that the room goes on
const BUSY_MS = [4000, 8000];
const OPENING_MS = 8000; // from connect to WELCOME
const BEAT_MS = 250;
const PING_MS = [350, 650]; // irregular, so that pings fall into every part of a server tick
const QUIET_MS = 1500; // a server that plays sends something every few ticks
const DEAD_MS = 6000;
const PROBE_MS = 2000; // for an answer after the tab was shown or the network returned
const BAD_MESSAGES = 3;

const RECONNECT = "reconnect";
const STOP = "stop";

/** Close code: what to do, how long to wait, what to say. Others: reconnect. */
const AFTER_CLOSE = {
  1000: { then: STOP, text: "Disconnected." },
  1001: { then: RECONNECT, text: "The server is going away." },
  1002: { then: STOP, text: "Stopped after a protocol error. Please report it." },
  1003: { then: STOP, text: "Stopped after a protocol error (1003). Please report it." },
  1007: { then: STOP, text: "Stopped after a protocol error (1007). Please report it." },
  1009: { then: STOP, text: "Stopped after a protocol error (1009). Please report it." },
  1012: { then: RECONNECT, wait: RESTART_MS, text: "The server restarts." },
  1013: { then: RECONNECT, wait: BUSY_MS, text: "The room is full. Trying again." },
  4000: { then: STOP, text: "Stopped after a protocol error (4000). Please report it." },
  4001: { then: STOP, text: "The game was updated. Please reload the page." },
  4002: { then: STOP, text: "The game was updated. Please reload the page." },
  4003: { then: STOP, text: "Stopped after a protocol error (4003). Please report it." },
  4004: { then: RECONNECT, wait: BUSY_MS, text: "Too many messages. Slowing down." },
  4005: { then: RECONNECT, text: "The connection was too slow." },
  4006: { then: STOP, text: "You are playing in another tab." },
  4007: { then: RECONNECT, wait: [0, 0], forget: true, text: "Joining anew." },
  4008: { then: RECONNECT, text: "The connection was silent for too long." },
  4009: { then: STOP, forget: true, text: "This room has closed." },
};
const DROPPED = { then: RECONNECT, text: "Connection lost." };

export class Connection {
  #url;
  #net;
  #storage;
  #hello = null; // {name, options} while a connection is wanted
  #socket = null;
  #attempts = 0;
  #retryTimer = 0;
  #beatTimer = 0;
  #openedAt = 0;
  #heardAt = 0;
  #probedAt = Infinity;
  #pingTimer = 0;
  #bad = 0;
  #welcomed = false;
  #listening = null; // to the page, while a connection is wanted
  #tokenKey;
  #ticket;
  #shown = null; // the ticket that the present socket's HELLO has shown
  #find;
  #sentTo = ""; // where the server says that the room goes on

  /**
   * `onMessage(message, bytes, nowMs)`: every decoded message of the server;
   * `onStatus({state, text})`; `storage`: Web Storage for the token; `net`: null, the name of a
   * preset of the conditioner, or its settings. `place`: the lobby's `{ticket, room, find}`;
   * `find(token)` tells, as a promise, where to go when the server can't be reached any more.
   */
  constructor({ url, onMessage, onStatus, storage = sessionStorage, net = null, place = {} }) {
    this.#url = url;
    this.#tokenKey = tokenKey(place.room ?? url);
    this.#ticket = place.ticket ?? null;
    this.#find = place.find ?? null;
    this.#net = typeof net === "string" ? PRESETS[net] ?? null : net;
    this.#storage = storage;
    this.onMessage = onMessage;
    this.onStatus = onStatus;
    this.status = { state: "closed", text: "" };
    this.helloAt = 0; // when HELLO was sent on the present socket
  }

  /** Does this tab hold a token with which it may come back as the same ship? */
  get resumable() {
    return this.#token !== null;
  }

  connect(name, options = {}) {
    this.#hello = { name, options };
    this.#attempts = 0;
    this.#listen();
    this.#connect();
  }

  #listen() {
    this.#listening?.abort();
    this.#listening = new AbortController();
    const { signal } = this.#listening;
    const check = () => document.visibilityState === "visible" && this.#check();
    document.addEventListener("visibilitychange", check, { signal });
    document.addEventListener("resume", check, { signal });
    addEventListener("pageshow", check, { signal });
    addEventListener("online", check, { signal });
  }

  /** No connection is wanted any more. */
  #stop(text) {
    this.#hello = null;
    this.#listening?.abort();
    clearTimeout(this.#retryTimer);
    this.#say("closed", text);
  }

  /** Give up the ship and stay away. */
  leave() {
    if (this.#welcomed) this.send(encodeLeave());
    this.#forgetToken();
    this.#drop();
    this.#stop("");
  }

  send(bytes) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(bytes);
  }

  #connect() {
    clearTimeout(this.#retryTimer);
    this.#drop();
    this.#say(this.#attempts ? "reconnecting" : "connecting", "Connecting …");
    let socket;
    try {
      socket = new WebSocket(this.#url, SUBPROTOCOL);
    } catch (error) {
      this.#stop(`This address does not work: ${error.message}`);
      return;
    }
    if (this.#net) socket = new ConditionedSocket(socket, this.#net);
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
    this.#welcomed = false;
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
    this.send(encodeHello({ name, options: { ...options, ...ticket }, token: this.#token }));
  }

  #received(data) {
    const now = performance.now();
    this.#heardAt = now;
    this.#probedAt = Infinity;
    try {
      const message = decode(new Uint8Array(data));
      if (message[0] === WELCOME) this.#welcome(message[1]);
      if (message[0] === NOTICE) this.#sentTo = message[3] ?? "";
      this.onMessage(message, data.byteLength, now);
      if (message[0] === SNAPSHOT) {
        this.#bad = 0;
        if (this.status.state !== "playing") this.#say("playing", "");
      }
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      console.warn(`bad message from the server: ${error.message}`);
      // What cannot be read leaves us behind: a full snapshot mends it, a new connection surely.
      if (++this.#bad < BAD_MESSAGES) this.send(encodeSync());
      else this.#lost(DROPPED);
    }
  }

  #welcome(welcome) {
    this.#welcomed = true;
    this.#attempts = 0;
    this.#ping();
    if (welcome.token) this.#storage.setItem(this.#tokenKey, welcome.token);
  }

  #closed(code, reason) {
    if (this.#sentTo) {
      const url = new URL(this.#sentTo, this.#url);
      url.protocol = new URL(this.#url).protocol; // no less secure than before
      this.#url = url.href;
      this.#sentTo = "";
      if (!this.#welcomed) this.#ticket = this.#shown; // nobody has taken it
      this.#lost({ then: RECONNECT, wait: MOVE_MS, text: "The room moves." });
      return;
    }
    const after = AFTER_CLOSE[code] ?? DROPPED;
    this.#lost(reason && after.then === STOP ? { ...after, text: `${after.text} (${reason})` } : after);
  }

  #lost({ then, wait, text, forget }) {
    this.#drop();
    if (forget) this.#forgetToken();
    if (then === STOP || !this.#hello) {
      this.#stop(text);
      return;
    }
    const delay = between(wait ?? backoff(this.#attempts));
    this.#attempts++;
    this.#say("reconnecting", `${text} Reconnecting …`);
    const again = this.#attempts > 1 && this.#find ? () => this.#seek() : () => this.#connect();
    this.#retryTimer = setTimeout(again, delay);
  }

  /** The server was not there twice: ask the lobby where the game goes on, then connect. */
  async #seek() {
    const wanted = this.#hello;
    try {
      const { url, ticket } = await this.#find(this.#token);
      if (this.#hello !== wanted) return;
      this.#url = url;
      this.#ticket = ticket;
    } catch (error) {
      if (this.#hello !== wanted) return;
      this.#lost({ then: RECONNECT, text: error.message });
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
    const silence = now - this.#heardAt;
    if (silence > DEAD_MS || now - this.#probedAt > PROBE_MS) this.#lost(DROPPED);
    else if (silence > QUIET_MS) this.#say("reconnecting", "Waiting for the server …");
  }

  #ping() {
    clearTimeout(this.#pingTimer);
    this.send(encodePing(performance.now()));
    this.#pingTimer = setTimeout(() => this.#ping(), between(PING_MS));
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
      this.send(encodeSync());
    }
  }

  #say(state, text) {
    if (state === this.status.state && text === this.status.text) return;
    this.status = { state, text };
    this.onStatus(this.status);
  }

  get #token() {
    return this.#storage.getItem(this.#tokenKey);
  }

  #forgetToken() {
    this.#storage.removeItem(this.#tokenKey);
  }
}

/** Where the token of a room, or of a socket's URL, is kept. */
export function tokenKey(room) {
  return `tickstorm.token ${room}`;
}

function between([low, high]) {
  return low + Math.random() * (high - low);
}

/** Range of the delay before attempt `n`, ms: doubling, the upper half of it random. */
function backoff(n) {
  const [least, most] = BACKOFF_MS;
  const delay = Math.min(most, least * 2 ** n);
  return [delay / 2, delay];
}
