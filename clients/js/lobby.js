/** What is asked of the server by HTTP: where to go. API.md describes it. */

import { tokenKey } from "./connection.js";
import { tabStorage } from "./storage.js";

/** The server's no. `word`: its name for machines; `retryS`: when to ask again, or 0. */
export class LobbyError extends Error {
  constructor(message, word = "", retryS = 0) {
    super(message);
    this.word = word;
    this.retryS = retryS;
  }
}

/** The server that this came from, as a module or in one piece, else the page's. */
function home() {
  const [own, base] = /^(https?:.*\/)tickstorm(?:\/lobby)?\.js/.exec(import.meta.url) ?? [];
  if (own && !own.includes("/node_modules/")) return base;
  if (globalThis.location) return new URL("/", location.href).href;
  throw new Error('options.server is needed, as "https://play.example"');
}

export class Lobby {
  #node = ""; // that was found last

  constructor({ game, server, storage }) {
    this.game = game;
    this.server = (server ?? home()).replace(/\/?$/, "/");
    this.storage = storage ?? tabStorage();
  }

  /** Ask the API. Throws LobbyError. */
  async ask(path, body) {
    let response;
    let answer;
    try {
      response = await fetch(new URL(`api/${path}`, this.server), {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(body),
      });
      answer = await response.json();
    } catch {
      throw new LobbyError("The server does not answer.", "silent", 2);
    }
    if (response.ok) return answer;
    const retryS = Number(response.headers.get("Retry-After")) || 0;
    throw new LobbyError(answer.message ?? "The server refuses.", answer.error, retryS);
  }

  /** A new room: its description, with `code`, `link` and the `owner` secret. */
  create({ title, public: shown, capacity, settings }) {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    const key = Array.from(bytes, (byte) => byte.toString(36)).join("");
    return this.ask("rooms", {
      key, game: this.game, name: title, public: shown, capacity, settings,
    });
  }

  /** A place: `{url, ticket, room, …}`. `wanted`: one of room, code, quick, token; and watch. */
  async find(wanted) {
    const avoid = this.#node ? [this.#node] : []; // whoever asks again had no answer there,
    this.#node = ""; // but the next time it may be back
    const place = await this.ask("join", { ...wanted, game: this.game, avoid });
    this.#node = place.node;
    return { ...place, url: this.socketUrl(place.url) };
  }

  /** Where this tab's stay in `room`, or its last one in this game, goes on; null if nowhere. */
  async back(room) {
    const last = room ?? this.storage.getItem(this.#lastKey);
    const token = last && this.storage.getItem(tokenKey(last));
    if (!token) return null;
    try {
      return await this.find({ token });
    } catch (error) {
      if (error.retryS) throw error;
      this.storage.removeItem(tokenKey(last));
      return null;
    }
  }

  remember(room) {
    this.storage.setItem(this.#lastKey, room);
  }

  forget() {
    this.storage.removeItem(this.#lastKey);
  }

  /** A place's websocket, as secure as the server's pages. */
  socketUrl(url) {
    const socket = new URL(url, this.server);
    socket.protocol = this.server.startsWith("https:") ? "wss:" : "ws:";
    return socket.href;
  }

  get #lastKey() {
    return `tickstorm.last ${this.game}`;
  }
}
