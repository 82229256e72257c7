/**
 * A player's line to the server: what goes over it is seen here, and it can be slow, jittery,
 * stalled or cut. The SDK knows nothing of it: it is given this in place of `WebSocket`.
 */

import { ConditionedSocket } from "/tickstorm/conditioner.js";
import { unpack } from "/tickstorm/msgpack.js";

const CUT = 1006; // as a browser says of a line that is gone

export class Line {
  #sockets = new Set();
  #on;

  /** `on(way, message, bytes)`: `way` is "in" or "out". */
  constructor(on) {
    this.#on = on;
    this.net = { latencyMs: 0, jitterMs: 0, stallPercent: 0, stallMs: 250 }; // one way
    this.isCut = false;
  }

  cut(cut) {
    this.isCut = cut;
    if (cut) for (const socket of [...this.#sockets]) socket.lose();
  }

  /** What the SDK makes its sockets of. */
  get WebSocket() {
    const line = this;
    return function Socket(url, protocols) {
      return line.#open(url, protocols);
    };
  }

  #open(url, protocols) {
    if (this.isCut) return new Lost();
    const socket = new ConditionedSocket(new WebSocket(url, protocols), this.net);
    return new Tapped(socket, (way, data) => this.#heard(way, data), this.#sockets);
  }

  #heard(way, data) {
    const bytes = new Uint8Array(data.buffer ?? data, data.byteOffset ?? 0, data.byteLength);
    let message = null;
    try {
      message = unpack(bytes);
    } catch {
      // a crowd's snapshots are read by the SDK alone
    }
    this.#on(way, message, bytes.length);
  }
}

/** A socket that tells of each message, and can be lost. */
class Tapped {
  /** @type {((event: any) => void) | null} */
  onopen = null;
  /** @type {((event: any) => void) | null} */
  onmessage = null;
  /** @type {((event: any) => void) | null} */
  onclose = null;
  #socket;
  #heard;
  #all;
  #lost = false;

  constructor(socket, heard, all) {
    this.#socket = socket;
    this.#heard = heard;
    this.#all = all;
    all.add(this);
    socket.onopen = (event) => this.#lost || this.onopen?.(event);
    socket.onmessage = (event) => {
      if (this.#lost) return;
      heard("in", event.data);
      this.onmessage?.(event);
    };
    socket.onclose = (event) => {
      all.delete(this);
      if (!this.#lost) this.onclose?.(event);
    };
  }

  get readyState() {
    return this.#lost ? 3 : this.#socket.readyState;
  }

  get bufferedAmount() {
    return this.#socket.bufferedAmount;
  }

  set binaryType(type) {
    this.#socket.binaryType = type;
  }

  send(data) {
    this.#heard("out", data);
    this.#socket.send(data);
  }

  close(code, reason) {
    this.#all.delete(this);
    this.#socket.close(code, reason);
  }

  lose() {
    this.#lost = true;
    this.#all.delete(this);
    this.#socket.close();
    this.onclose?.({ code: CUT, reason: "" });
  }
}

/** What one gets while there is no line. */
class Lost {
  readyState = 3;
  /** @type {((event: any) => void) | null} */
  onclose = null;

  constructor() {
    setTimeout(() => this.onclose?.({ code: CUT, reason: "" }));
  }

  send() {}

  close() {}
}
