/**
 * The lobby on the title page: which room to fly in, rooms of one's own, the best of all time.
 * API.md describes what is asked of the server.
 *
 * `Lobby.find(token)` answers with `{url, ticket, room}`; the page joins there.
 */

const GAME = "arena"; // a server may have others beside it
const LIST_MS = 3000;
const FAR_WAIT_S = 2; // between attempts when the server doesn't say
const MOST_ROOMS = 30;
const CODE = /^[0-9A-Z]{8}$/;

/** The server's no, for people to read. `retryS`: when to ask again, or 0. */
export class LobbyError extends Error {
  constructor(message, retryS = 0, word = "") {
    super(message);
    this.retryS = retryS;
    this.word = word;
  }
}

/** Ask the API. Throws LobbyError. */
export async function ask(method, path, body) {
  let response;
  let answer;
  try {
    response = await fetch(`/api/${path}`, {
      method,
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    answer = await response.json();
  } catch {
    throw new LobbyError("The server does not answer.", FAR_WAIT_S);
  }
  if (response.ok) return answer;
  const retryS = Number(response.headers.get("Retry-After")) || 0;
  throw new LobbyError(answer.message ?? "The server refuses.", retryS, answer.error);
}

/** A code as it is typed or read out: "k7pq-2mxw" → "K7PQ2MXW"; null if it can't be one. */
export function codeIn(text) {
  const code = text.toUpperCase().replace(/[^0-9A-Z]/g, "");
  return CODE.test(code) ? code : null;
}

/** Whether a text is in the clipboard now. */
async function copied(text) {
  return navigator.clipboard?.writeText(text).then(() => true, () => false) ?? false;
}

/** 90 → "90 s", 180 → "3 min". */
export function duration(seconds) {
  return seconds % 60 ? `${seconds} s` : `${seconds / 60} min`;
}

/** A place's websocket, as secure as the page. */
function socketUrl(url) {
  const socket = new URL(url, location.href);
  if (location.protocol === "https:") socket.protocol = "wss:";
  return socket.href;
}

function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Some element of the page. @type {(id: string) => any} */
const byId = (id) => document.getElementById(id);

function element(name, text, className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  made.className = className;
  return made;
}

export class Lobby {
  #room; // the room to fly in; null is quick play
  #avoid = []; // nodes that did not answer
  #node = ""; // that was found last
  watching = false; // the next flight is without a ship
  #key = "";
  #own = null; // the room that was created here, with its link

  /**
   * `onFly()`: somebody chose a room and wants in; `room`: of the page's URL, or null;
   * `watching`: without a ship.
   */
  constructor({ room, watching, onFly }) {
    this.onFly = onFly;
    this.shown = true;
    byId("room-leave").addEventListener("click", () => this.choose(null));
    byId("room-new").addEventListener("click", () => this.#openCreate());
    byId("room-leaders").addEventListener("click", () => this.#openLeaders());
    byId("room-code").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#enterCode();
    });
    byId("create-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#create();
    });
    byId("create-cancel").addEventListener("click", () => byId("create").close());
    byId("invite-copy").addEventListener("click", () => this.#copy());
    byId("invite-go").addEventListener("click", () => {
      byId("invite").close();
      this.#fly(this.#own.room);
    });
    byId("room-invite-copy").addEventListener("click", async (event) => {
      event.target.textContent = (await copied(this.#link())) ? "Copied" : this.#link();
    });
    this.choose(room);
    this.watching = watching;
    setInterval(() => this.#refresh(), LIST_MS);
    this.#refresh();
  }

  /** A room by its id or code, null for quick play. It stands in the page's URL. */
  async choose(room) {
    this.#room = room;
    this.watching = false;
    const url = new URL(location.href);
    if (room === null) url.searchParams.delete("room");
    else url.searchParams.set("room", room);
    history.replaceState(null, "", url);
    byId("room-chosen").hidden = room === null;
    byId("room-name").textContent = room ?? "";
    await this.#describe();
  }

  /** Who is in the chosen room. */
  async #describe() {
    const room = this.#room;
    if (room === null) return;
    let text;
    try {
      const { name, players, capacity } = await ask("GET", `rooms/${encodeURIComponent(room)}`);
      text = `${name} · ${players} of ${capacity}`;
    } catch (error) {
      text = error.message;
    }
    if (this.#room === room) byId("room-name").textContent = text;
  }

  /**
   * Where to connect: the session of `token` if it is still there, the chosen room, or any.
   * Throws LobbyError.
   */
  async find(token = null) {
    const watch = this.watching;
    const avoid = this.#avoid;
    this.#avoid = [];
    this.#node = ""; // should it be back, it may be asked the next time
    if (token !== null) {
      try {
        return this.#found(await ask("POST", "join", { token, avoid }));
      } catch (error) {
        if (error.retryS) throw error;
      }
    }
    const room = this.#room;
    const wanted = room === null ? { quick: true, game: GAME } : { room: codeIn(room) ?? room };
    return this.#found(await ask("POST", "join", { ...wanted, watch, avoid }));
  }

  /**
   * The place that was found did not answer: the next one is to be elsewhere. Every other time
   * it may be the same again, for there may be no other one.
   */
  avoid() {
    this.#avoid = this.#node && this.#avoid.length === 0 ? [this.#node] : [];
  }

  #found({ url, ticket, room, node }) {
    this.#node = node;
    return { url: socketUrl(url), ticket, room };
  }

  #fly(room, watching = false) {
    this.choose(room);
    this.watching = watching;
    this.onFly();
  }

  // The list.

  async #refresh() {
    if (!this.shown || document.hidden) return;
    this.#describe();
    let rooms = [];
    try {
      rooms = (await ask("GET", "rooms")).rooms.filter(({ game }) => (game ?? GAME) === GAME);
      byId("rooms-note").textContent = "";
    } catch (error) {
      byId("rooms-note").textContent = error.message;
      return;
    }
    this.#list(rooms.slice(0, MOST_ROOMS));
  }

  /** Rows stay the elements that they are, so that the keyboard's focus stays where it is. */
  #list(rooms) {
    const list = byId("rooms");
    const rows = new Map([...list.children].map((row) => [row.dataset.room, row]));
    rooms.forEach((room, place) => {
      const row = rows.get(room.room) ?? this.#row(room);
      rows.delete(room.room);
      row.querySelector("b").textContent = `${room.players}/${room.capacity}`;
      row.querySelector("button").disabled = room.players >= room.capacity;
      if (list.children[place] !== row) list.insertBefore(row, list.children[place] ?? null);
    });
    for (const row of rows.values()) row.remove();
  }

  #row(room) {
    const row = element("li", "");
    row.dataset.room = room.room;
    const fly = element("button", "Fly", "plain");
    const watch = element("button", "Watch", "plain");
    fly.type = watch.type = "button";
    fly.setAttribute("aria-label", `Fly in ${room.name}`);
    watch.setAttribute("aria-label", `Watch ${room.name}`);
    fly.addEventListener("click", () => this.#fly(room.room));
    watch.addEventListener("click", () => this.#fly(room.room, true));
    const name = element("span", room.name, "name");
    const { round_s: round } = room.settings;
    if (round) name.append(element("small", `rounds of ${duration(round)}`));
    row.append(name, element("b", ""), fly, watch);
    return row;
  }

  #enterCode() {
    const input = byId("room-code-text");
    const code = codeIn(input.value);
    if (code === null) {
      byId("rooms-note").textContent = "A code has eight letters and digits.";
      return;
    }
    input.value = "";
    this.#fly(code);
  }

  // A room of one's own.

  #openCreate() {
    this.#key = newKey(); // the same for every attempt to create this room
    byId("create-note").textContent = "";
    byId("create").showModal();
  }

  async #create() {
    const form = byId("create-form").elements;
    const [capacity, bots] = [Number(form.capacity.value), Number(form.bots.value)];
    try {
      this.#own = await ask("POST", "rooms", {
        key: this.#key,
        game: GAME,
        name: form.name.value.trim(),
        public: form.public.checked,
        capacity,
        bots: Math.min(bots, capacity - 1),
        settings: { size: Number(form.size.value), round_s: Number(form.round_s.value) },
      });
    } catch (error) {
      byId("create-note").textContent = error.message;
      return;
    }
    byId("create").close();
    byId("invite-link").value = new URL(this.#own.link, location.href).href;
    byId("invite-code").textContent = this.#own.code;
    byId("invite-copied").textContent = "";
    byId("invite").showModal();
    byId("invite-link").select();
  }

  async #copy() {
    const link = byId("invite-link");
    link.select();
    byId("invite-copied").textContent = (await copied(link.value))
      ? "Copied." : "Press Ctrl+C to copy.";
  }

  /** Before the settings open: how others come to where one flies. */
  showInvite() {
    const room = this.#room;
    byId("room-invite").hidden = room === null;
    if (room === null) return;
    const made = this.#own?.room === room ? this.#own.code : codeIn(room);
    byId("room-invite-code").textContent = made ?? "a link";
    byId("room-invite-copy").textContent = "Copy link";
  }

  #link() {
    return this.#own?.room === this.#room
      ? new URL(this.#own.link, location.href).href : location.href;
  }

  // The best of all time.

  async #openLeaders() {
    byId("leaders").showModal();
    const rows = byId("leaders-rows");
    try {
      const { leaders } = await ask("GET", "leaderboard");
      rows.replaceChildren(
        ...leaders.map(({ name, score }) => {
          const row = element("li", "");
          row.append(element("span", name), element("b", String(score)));
          return row;
        }),
      );
      byId("leaders-note").textContent = leaders.length ? "" : "Nobody yet. Be the first.";
    } catch (error) {
      byId("leaders-note").textContent = error.message;
    }
  }
}
