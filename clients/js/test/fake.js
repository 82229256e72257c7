/** A server made by hand: a fake WebSocket, and the lobby's answers to fetch. */

import { after } from "node:test";

import { pack, unpack } from "../msgpack.js";
import { MemoryStorage } from "../storage.js";

export class FakeSocket {
  static all = [];

  constructor(url, protocol) {
    Object.assign(this, { url, protocol, readyState: 0, sent: [] });
    FakeSocket.all.push(this);
    setTimeout(() => {
      if (this.readyState !== 0) return;
      this.readyState = 1;
      this.onopen();
    });
  }

  send(bytes) {
    this.sent.push(unpack(bytes));
  }

  /** Messages of one type that the client has sent. */
  of(type) {
    return this.sent.filter((message) => message[0] === type);
  }

  /** The server says something. */
  say(message) {
    const bytes = pack(message);
    this.onmessage?.({ data: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) });
  }

  /** The server, or the network, ends it. */
  end(code, reason = "") {
    this.readyState = 3;
    this.onclose?.({ code, reason });
  }

  close() {
    this.readyState = 3;
  }
}

export const TAG = {
  game: "tag",
  kinds: [
    ["room", [["phase", "str", 0, 0], ["scores", "dict", 0, 0], ["log", "list[str]", 0, 0]]],
    ["walker", [
      ["name", "str", 1, 0], ["connected", "bool", 0, 0],
      ["x", "float", 2 | 8, 0.5], ["it", "bool", 0, 0], ["hand", "list", 4, 0],
    ]],
    ["flag", [["x", "float", 0, 0], ["holder", "ref", 0, 0], ["owner", "ref", 1, 0]]],
    ["ghost", [["x", "float", 4, 0], ["owner", "ref", 1 | 4, 0]]],
  ],
  input: [["dx", "int", -1, 1, 0], ["run", "bool", null, null, false]],
  messages: {
    say: [["words", "str", null, 200]], roll: [["sides", "int", 2, 100]], give: [["to", "int", null, null]],
    hand: [["flag", "Flag", null, null], ["to", "Walker | None", null, null, null], ["times", "int", 1, 9, 1]],
    note: [["what", "Any | None", null, null]],
  },
  events: { said: [["who", "ref"], ["words", "str"]] },
};

export const welcome = (more = {}) => [16, {
  version: 1, schema: 0, kind: "objects", declaration: TAG, room: "K7PQ2MXW", player: 1, id: "ada",
  name: "Ada", tick: 100, tick_hz: 20, token: "secret", resumed: false, grace_s: 20,
  spectator: false, game: "tag", server: "0.2", settings: {}, ...more,
}];

export const room0 = (phase = "play", scores = {}, log = []) => [0, 0, [phase, scores, log]];
export const walker = (id, name, x, it = false) => [1, id, [name, true, x, it]];
export const state = (tick, enters, hidden = []) => [25, tick, null, enters, hidden];

/** A lobby that always answers with one room; what it was asked is in `asked`. */
export function lobby(answer = {}) {
  const asked = [];
  globalThis.fetch = async (url, { body }) => {
    asked.push([new URL(url).pathname, JSON.parse(body)]);
    const place = { url: "/ws?room=K7PQ2MXW", ticket: "t1", room: "K7PQ2MXW", node: "n", ...answer };
    return new Response(JSON.stringify(place), { status: answer.status ?? 200 });
  };
  return asked;
}

export const until = async (found) => {
  for (let i = 0; i < 400; i++) {
    const value = found();
    if (value) return value;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error("it did not come");
};

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** The fake socket that came after `count` others, open and with its HELLO. */
export async function socketAfter(count) {
  const socket = await until(() => FakeSocket.all[count]);
  await until(() => socket.of(1).length);
  return socket;
}

const rooms = [];
after(() => rooms.forEach((room) => room.leave()));

/** Join by `verb` into a room with Ada (1) and Bob (2): `[room, socket]`. */
export async function joined(verb, { storage = new MemoryStorage(), first, more, ...options } = {}) {
  const count = FakeSocket.all.length;
  const all = { server: "http://play.test", WebSocket: FakeSocket, storage, name: "Ada", ...options };
  const coming = verb(all);
  const socket = await socketAfter(count);
  socket.say(welcome(more));
  socket.say(first ?? state(100, [...room0(), ...walker(1, "Ada", 20), ...walker(2, "Bob", 40)]));
  const room = await coming;
  rooms.push(room);
  return [room, socket, all];
}
