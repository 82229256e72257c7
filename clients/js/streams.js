/**
 * Sockets over plain HTTP, for networks that let no WebSocket through: what comes from the server
 * as server-sent events, or where something holds those back by long polling; what goes there by
 * POST. Loaded only when it is needed. Each has what `Connection` uses of a WebSocket.
 */

const OPEN_MS = 3000; // from the request to the first word, or something on the way holds it back
const LINGER_MS = 5000; // a stream that the server could not be asked for so long is lost
const AGAIN_MS = 250;
const WAIT_S = 20; // a poll's; something on the way may have less patience
const BATCH_BYTES = 60000;
const [CONNECTING, OPEN, CLOSED] = [0, 1, 3];
const LOST = 1006;

/** The way in to try after `Socket`; `way` is to be a certain one: "sse" or "polling". */
export function next(Socket, way) {
  const first = Socket.first ?? Socket;
  const found = way ?? { websocket: "sse", sse: "polling" }[Socket.way ?? "websocket"];
  if (!found) return first;
  return class extends { sse: EventsSocket, polling: PollingSocket }[found] {
    static way = found;

    static first = first;
  };
}

class StreamSocket {
  onopen = null;

  onmessage = null;

  onclose = null;

  readyState = CONNECTING;

  bufferedAmount = 0; // bytes that wait for the next POST

  #queue = [];
  #sending = null; // the promise of the POSTs under way
  #number = 0; // of the last batch
  #asking = {}; // what ends the request under way, by its method
  url = ""; // of the stream
  after = 0; // number of the last message that came

  /** `url`: of the WebSocket that this stands for. */
  constructor(url) {
    const begin = new URL(url);
    begin.protocol = begin.protocol === "wss:" ? "https:" : "http:";
    begin.pathname = begin.pathname.replace(/ws$/, "stream");
    this.#begin(begin);
  }

  async #begin(url) {
    try {
      const { stream } = await (await this.ask(url, { method: "POST", body: "" })).json();
      this.url = `${url.origin}${url.pathname}/${stream}`;
      // @ts-expect-error: each kind of stream has its own
      await this.listen();
    } catch {
      this.end(LOST);
    }
  }

  /**
   * A request that is answered with success, or throws; `fatal` if it is of no use again.
   * @param {string | URL} url
   * @param {RequestInit & {patienceMs?: number}} options
   */
  async ask(url, { patienceMs = OPEN_MS, ...options } = {}) {
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(), patienceMs);
    this.#asking[options.method] = late;
    try {
      const response = await fetch(url, {
        headers: options.method === "POST" ? { "Content-Type": "application/octet-stream" } : {},
        cache: "no-store",
        signal: late.signal,
        ...options,
      });
      if (response.ok) return response;
      const fatal = response.status < 500 && response.status !== 408;
      throw Object.assign(new Error(`${response.status}`), { fatal });
    } finally {
      clearTimeout(timer); // what comes later, comes as it likes, until `close`
    }
  }

  opened() {
    if (this.readyState !== CONNECTING) return;
    this.readyState = OPEN;
    this.onopen?.();
  }

  message(data) {
    this.after++;
    if (this.readyState === OPEN) this.onmessage?.({ data });
  }

  send(bytes) {
    if (this.readyState !== OPEN) return;
    this.#queue.push(bytes.slice()); // the sender reuses its buffer
    this.bufferedAmount += bytes.length;
    this.#sending ??= this.#send().catch(() => this.end(LOST)).then(() => {
      this.#sending = null;
    });
  }

  /** What waits, in one POST after the other. */
  async #send() {
    await null; // what is said in one go, goes in one
    while (this.#queue.length) {
      const batch = [];
      for (let size = 0; this.#queue.length && size < BATCH_BYTES;) {
        const message = this.#queue.shift();
        const head = new Uint8Array(4);
        new DataView(head.buffer).setUint32(0, message.length);
        batch.push(head, message);
        size += message.length;
        this.bufferedAmount -= message.length;
      }
      this.#number++;
      await this.#again(() => this.ask(`${this.url}?n=${this.#number}`, {
        method: "POST", body: new Blob(batch), keepalive: this.readyState === CLOSED,
      }));
    }
  }

  /** `act`, until it succeeds; throws once it is of no use any more. */
  async #again(act) {
    const until = performance.now() + LINGER_MS;
    for (;;) {
      try {
        return await act();
      } catch (error) {
        if (error.fatal || performance.now() > until) throw error;
        await pause(AGAIN_MS);
      }
    }
  }

  close() {
    if (this.readyState === CLOSED) return;
    this.readyState = CLOSED;
    const leave = async () => {
      await this.#sending; // it may have said that it leaves
      if (this.url) await fetch(this.url, { method: "DELETE", keepalive: true }).catch(() => {});
      this.#stop();
    };
    leave();
  }

  #stop() {
    for (const late of Object.values(this.#asking)) late.abort();
  }

  end(code, reason = "") {
    if (this.readyState === CLOSED) return;
    this.readyState = CLOSED;
    this.#stop();
    this.onclose?.({ code, reason });
  }
}

class EventsSocket extends StreamSocket {
  async listen() {
    let lostAt = 0;
    while (this.readyState !== CLOSED) {
      try {
        const response = await this.ask(`${this.url}/events?after=${this.after}`);
        await this.#read(response.body.getReader(), () => {
          lostAt = 0;
          this.opened();
        });
      } catch (error) {
        if (error.fatal || this.readyState === CONNECTING) throw error;
      }
      lostAt ||= performance.now();
      if (performance.now() - lostAt > LINGER_MS) throw new Error("lost");
      await pause(performance.now() - lostAt > AGAIN_MS ? AGAIN_MS : 0);
    }
  }

  /** Take in events until the stream of them ends. `heard` is called at each word. */
  async #read(reader, heard) {
    const decoder = new TextDecoder();
    // Something on the way may hold all back until it is enough.
    const timer = setTimeout(() => reader.cancel(), OPEN_MS);
    try {
      for (let text = ""; ;) {
        const { done, value } = await reader.read();
        if (done) {
          if (this.readyState === CONNECTING) throw new Error("held back");
          return;
        }
        clearTimeout(timer);
        heard();
        const events = (text + decoder.decode(value, { stream: true })).split("\n\n");
        text = events.pop();
        for (const event of events) this.#take(event);
      }
    } finally {
      clearTimeout(timer);
    }
  }

  #take(event) {
    const field = (name) => new RegExp(`^${name}: (.*)$`, "m").exec(event)?.[1];
    const data = field("data");
    if (field("event") === "close") {
      const { code, reason } = JSON.parse(data);
      this.end(code, reason);
    } else if (data !== undefined && Number(field("id")) === this.after + 1) {
      this.message(Uint8Array.from(atob(data), (character) => character.charCodeAt(0)).buffer);
    }
  }
}

class PollingSocket extends StreamSocket {
  async listen() {
    this.opened();
    let lostAt = 0;
    for (let wait = WAIT_S; this.readyState !== CLOSED;) {
      const began = performance.now();
      try {
        const patienceMs = 1000 * wait + OPEN_MS;
        const poll = await this.ask(`${this.url}/poll?after=${this.after}&wait=${wait}`, {
          patienceMs,
        });
        this.#take(await poll.arrayBuffer());
        lostAt = 0;
      } catch (error) {
        if (error.fatal) throw error;
        const tookS = (performance.now() - began) / 1000;
        wait = Math.max(1, Math.min(wait, Math.floor(tookS / 2))); // it has so much patience
        if (tookS < 1) { // none of its patience: nobody was there
          lostAt ||= performance.now();
          if (performance.now() - lostAt > LINGER_MS) throw error;
          await pause(AGAIN_MS);
        }
      }
    }
  }

  #take(buffer) {
    const view = new DataView(buffer);
    for (let at = 0; at < buffer.byteLength;) {
      const size = view.getUint32(at);
      at += 4;
      if (!size) {
        this.end(view.getUint16(at), new TextDecoder().decode(new Uint8Array(buffer, at + 2)));
        return;
      }
      this.message(buffer.slice(at, at + size));
      at += size;
    }
  }
}

function pause(ms) {
  return new Promise((done) => { setTimeout(done, ms); });
}
