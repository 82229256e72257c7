/**
 * A bad network inside the page, for trying out: a WebSocket whose messages are late in both
 * directions. As on TCP nothing is lost or overtaken; a stall holds up all that follows it.
 */

export const PRESETS = {
  fair: { latencyMs: 30, jitterMs: 5, stallPercent: 0, stallMs: 0 },
  far: { latencyMs: 75, jitterMs: 20, stallPercent: 0, stallMs: 0 },
  bad: { latencyMs: 75, jitterMs: 20, stallPercent: 1, stallMs: 200 },
};

/**
 * Wraps an open or opening `socket`. `net`: one way, in milliseconds: `latencyMs` plus or minus
 * `jitterMs`, and with a chance of `stallPercent` per message a pause of `stallMs`.
 */
export class ConditionedSocket {
  #socket;
  #inbound;
  #outbound;

  constructor(socket, net) {
    this.#socket = socket;
    this.#inbound = new Lane(net);
    this.#outbound = new Lane(net);
    for (const type of ["open", "message", "error", "close"]) {
      socket[`on${type}`] = (event) => this.#inbound.deliver(() => this[`on${type}`]?.(event));
    }
  }

  get readyState() {
    return this.#socket.readyState;
  }

  get bufferedAmount() {
    return this.#socket.bufferedAmount;
  }

  get protocol() {
    return this.#socket.protocol;
  }

  set binaryType(type) {
    this.#socket.binaryType = type;
  }

  send(bytes) {
    const copy = bytes.slice(); // the sender reuses its buffer
    this.#outbound.deliver(() => {
      if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(copy);
    });
  }

  close(code, reason) {
    this.#outbound.deliver(() => this.#socket.close(code, reason));
  }
}

/** One direction: calls come out late, and in the order in which they went in. */
class Lane {
  constructor(net) {
    this.net = net;
    this.queue = [];
    this.lastDue = 0;
  }

  deliver(call) {
    const { latencyMs, jitterMs, stallPercent, stallMs } = this.net;
    const now = performance.now();
    const stall = Math.random() * 100 < stallPercent ? stallMs : 0;
    const delay = latencyMs + (Math.random() * 2 - 1) * jitterMs + stall;
    this.lastDue = Math.max(this.lastDue, now + delay);
    this.queue.push({ call, due: this.lastDue });
    setTimeout(() => this.#drain(), this.lastDue - now);
  }

  #drain() {
    const now = performance.now();
    // Timers may fire a little early: half a millisecond is on time.
    while (this.queue.length && this.queue[0].due <= now + 0.5) this.queue.shift().call();
    if (this.queue.length) setTimeout(() => this.#drain(), this.queue[0].due - now);
  }
}

/** What turns a socket into one with such a network, or leaves it as it is without `net`. */
export function conditionedBy(net) {
  return (socket) => (net ? new ConditionedSocket(socket, net) : socket);
}
