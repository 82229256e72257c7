import assert from "node:assert/strict";
import { test } from "node:test";

import { Ref, pack, unpack } from "../msgpack.js";
import { MemoryStorage } from "../storage.js";
import { create, join, joinByCode, joinOrCreate, reconnect, watch } from "../tickstorm.js";
import {
  FakeSocket, TAG, joined, lobby, pause, room0, socketAfter, state, until, walker, welcome,
} from "./fake.js";

const HELLO = 1, LEAVE = 5, SYNC = 6, MOVE = 9, CALL = 10;

test("msgpack comes back as it went", () => {
  const value = [0, -1, 127, 128, -33, 65536, -40000, 2 ** 40, -(2 ** 40), 1.5, "ü".repeat(40), null, true, [], { a: [1] }];
  assert.deepEqual(unpack(pack(value)), value);
  assert.deepEqual(unpack(pack(new Uint8Array(300))), new Uint8Array(300));
  assert.deepEqual([...pack(new Ref(5))], [0xc7, 1, 1, 5]);
  for (const id of [0, 255, 256, 70000, 2 ** 33]) assert.equal(unpack(pack(new Ref(id))).id, id);
  assert.equal(unpack(new Uint8Array([0xd4, 1, 9])).id, 9);
  assert.deepEqual([...pack(-0)], [0]);
});

test("join without an id creates a room, says HELLO and comes back when the state is here", async () => {
  const asked = lobby();
  const [room, socket] = await joined((options) => join("tag", { ...options, settings: { round_s: 30 } }));
  assert.deepEqual(asked.map(([path, { key, ...body }]) => [path, body]), [
    ["/api/rooms", { game: "tag", settings: { round_s: 30 } }],
    ["/api/join", { room: "K7PQ2MXW", game: "tag", avoid: [] }],
  ]);
  assert.equal(socket.url, "ws://play.test/ws?room=K7PQ2MXW");
  assert.deepEqual(socket.of(HELLO), [[1, 1, 0, "Ada", null, { ticket: "t1" }]]);
  assert.deepEqual([room.id, room.status, room.me.name, room.players.length], ["K7PQ2MXW", "playing", "Ada", 2]);
  room.leave();
  assert.equal(socket.of(LEAVE).length, 1);
});

test("a code, quick play and watching ask for that", async () => {
  const asked = lobby();
  for (const verb of [
    (options) => joinByCode("k7pq-2mxw", options),
    (options) => joinOrCreate("tag", options),
    (options) => watch("K7PQ2MXW", options),
    (options) => join("tag", { ...options, id: "K7PQ2MXW", auth: { jwt: "x" } }),
  ]) {
    const [room, socket] = await joined(verb);
    asked.push(socket.of(HELLO)[0][5]);
    room.leave();
  }
  assert.deepEqual(asked.map((one) => one[1]?.avoid ? { ...one[1], avoid: 0 } : one), [
    { code: "K7PQ2MXW", avoid: 0 }, { ticket: "t1" },
    { quick: true, game: "tag", avoid: 0 }, { ticket: "t1" },
    { room: "K7PQ2MXW", watch: true, avoid: 0 }, { spectate: true, ticket: "t1" },
    { room: "K7PQ2MXW", game: "tag", avoid: 0 }, { options: { jwt: "x" }, ticket: "t1" },
  ]);
});

test("a reload comes back with the token; a token from elsewhere does, too", async () => {
  const storage = new MemoryStorage();
  lobby();
  await joined((options) => create("tag", options), { storage });
  const asked = lobby({ ticket: null });
  const [, socket] = await joined((options) => join("tag", options), { storage });
  assert.deepEqual(asked, [["/api/join", { token: "secret", game: "tag", avoid: [] }]]);
  assert.equal(socket.of(HELLO)[0][4], "secret");
  const [, other] = await joined((options) => reconnect("secret", options));
  assert.equal(other.of(HELLO)[0][4], "secret");
});

test("the server's refusal is the promise's", async () => {
  lobby({ status: 404, message: "No such game." });
  await assert.rejects(join("tga", { server: "http://play.test", WebSocket: FakeSocket }), /No such game/);
  lobby();
  for (const [code, reason] of [[4010, "only friends"], [1013, "full"]]) {
    const count = FakeSocket.all.length;
    const coming = join("tag", { server: "http://play.test", WebSocket: FakeSocket, storage: new MemoryStorage() });
    (await socketAfter(count)).end(code, reason);
    await assert.rejects(coming, (error) => error.message === reason && error.code === code);
  }
});

test("events come with entities, after what came before them", async () => {
  lobby();
  const [room, socket] = await joined((options) => create("tag", options));
  const heard = [];
  const stop = room.on("said", (who, words) => heard.push(who.name, words, room.state.phase));
  room.onJoin(({ name }) => heard.push(`+${name}`));
  room.onPart(({ name }) => heard.push(`-${name}`));
  socket.say([26, 101, null, [0, 1, "over"], [], walker(3, "Cyd", 0)]);
  socket.say([27, "said", [new Ref(3), "hi"]]);
  socket.say([99, "from the future"]);
  socket.say([26, 102, null, [], [3]]);
  stop();
  socket.say([27, "said", [null, "?"]]);
  assert.deepEqual(heard, ["+Cyd", "Cyd", "hi", "over", "-Cyd"]);
  room.leave();
});

test("what a message does not take is refused at once", async () => {
  lobby();
  const [room, socket] = await joined((options) => create("tag", options));
  const refused = {
    "tag has no message shout, but say, roll, give, hand, note": () => room.send("shout"),
    "say words: 5 is not allowed, but a text of at most 200 characters": () => room.send("say", 5),
    "say words: undefined is not allowed, but a text of at most 200 characters": () => room.send("say"),
    "say takes 1 arguments, not 2": () => room.send("say", "a", "b"),
    "give to: an entity is not allowed, but a whole number": () => room.send("give", room.me),
    "give to: null is not allowed, but a whole number": () => room.send("give", null),
    "hand flag: undefined is not allowed, but a flag or its id": () => room.send("hand"),
    "hand flag: null is not allowed, but a flag or its id": () => room.send("hand", null),
    'hand flag: "red" is not allowed, but a flag or its id': () => room.send("hand", "red"),
    "hand to: true is not allowed, but a walker or its id or null": () => room.send("hand", 3, true),
    "hand times: null is not allowed, but a whole number from 1 to 9": () => room.send("hand", 3, null, null),
    "hand takes 3 arguments, not 4": () => room.send("hand", 3, null, 1, 1),
    "input dx: 2 is not allowed, but a whole number from -1 to 1": () => (room.input = { dx: 2 }),
    "input has no field dy, but dx, run": () => (room.input = { dy: 1 }),
  };
  for (const [message, act] of Object.entries(refused)) assert.throws(act, { message });
  await assert.rejects(room.request("roll", 1), { message: "roll sides: 1 is not allowed, but a whole number from 2 to 100" });
  room.send("give", room.me.id);
  room.send("hand", room.me, undefined, 2);
  room.send("hand", 3, room.get(2));
  room.send("note", ["anything"]);
  assert.deepEqual(socket.of(CALL), [
    [10, "give", [1], null],
    [10, "hand", [new Ref(1), null, 2], null], // what was left out is its default
    [10, "hand", [3, new Ref(2), 1], null],
    [10, "note", [["anything"]], null],
  ]);
  room.leave();
  assert.throws(() => room.send("say", "x"), /the room was left/);
});

test("a request has an answer, a reason, or ends with the stay", async () => {
  lobby();
  const [room, socket] = await joined((options) => create("tag", options));
  const [good, bad, never] = [6, 7, 8].map((sides) => room.request("roll", sides));
  const ids = socket.of(CALL).map((call) => call[3]);
  socket.say([28, ids[0], true, 4]);
  socket.say([28, ids[1], false, "not your turn"]);
  assert.equal(await good, 4);
  await assert.rejects(bad, { message: "not your turn" });
  room.leave();
  await assert.rejects(never, /left/);
});

test("a drop is told, the way back found, and what was sent meanwhile arrives", async () => {
  lobby();
  const [room, socket] = await joined((options) => create("tag", options));
  const heard = [];
  room.onDrop(() => heard.push("drop"));
  room.onReconnect(() => heard.push("back"));
  room.onLeave((code, reason) => heard.push(code, reason));
  const { me } = room;
  const count = FakeSocket.all.length;
  socket.say([22, 1012, "moves", "/elsewhere/ws?room=K7PQ2MXW"]);
  socket.end(1012);
  room.send("say", "hello");
  const next = await socketAfter(count);
  assert.equal(next.url, "ws://play.test/elsewhere/ws?room=K7PQ2MXW");
  assert.equal(next.of(HELLO)[0][4], "secret");
  next.say([16, { ...unpack(pack((await import("./fake.js")).welcome({ resumed: true })))[1] }]);
  next.say(state(130, [...room0("over"), ...walker(1, "Ada", 22)]));
  assert.equal(room.me, me);
  assert.deepEqual([room.me.x, room.players.length, room.status], [11, 1, "playing"]);
  assert.deepEqual(next.of(CALL), [[10, "say", ["hello"], null]]);
  next.end(4011, "be nice");
  assert.deepEqual(heard, ["drop", "back", 4011, "be nice"]);
  assert.equal(room.status, "closed");
});

test("what can't be read asks for a whole state", async () => {
  lobby();
  const [room, socket] = await joined((options) => create("tag", options));
  socket.say([26, 101, null, [77, 1, 1]]);
  assert.equal(socket.of(SYNC).length, 1);
  socket.say(state(102, [...room0("over"), ...walker(1, "Ada", 22)]));
  assert.equal(room.state.phase, "over");
  room.leave();
});

test("input goes out when it changed, for a tick ahead, and again when it is held", async () => {
  lobby();
  const [room, socket] = await joined((options) => create("tag", options));
  room.input = { dx: 1 };
  await until(() => socket.of(MOVE).some(([, , values]) => values[0] === 1));
  await pause(300);
  const before = socket.of(MOVE).length;
  assert.ok(before <= 2, `${before} moves`);
  await pause(400);
  const moves = socket.of(MOVE);
  assert.ok(moves.length > before && moves.length <= before + 2);
  assert.ok(moves.every(([, target]) => target > 100));
  assert.deepEqual(moves.at(-1)[2], [1, false]);
  room.leave();
});

test("in a room without a tick nothing runs, and sample shows the live entities", async () => {
  lobby();
  const [room, socket] = await joined((options) => create("tag", options), { more: { tick_hz: 0 } });
  room.input = { dx: 1 };
  await pause(150);
  assert.equal(socket.of(MOVE).length, 0);
  assert.equal(room.sample().walker[0], room.me);
  assert.throws(() => room.predict("walker", () => {}), /no tick/);
  room.leave();
});

test("with another declaration the page is loaded anew, and nothing is read by the old one", async () => {
  lobby();
  const count = FakeSocket.all.length + 1;
  const [room, socket] = await joined((options) => create("tag", options));
  let reloads = 0;
  globalThis.location = { reload: () => reloads++ };
  try {
    socket.end(1012);
    const next = await socketAfter(count);
    const kinds = [["room", [["round", "int", 0, 0]]], ["hat", []], ...TAG.kinds.slice(1)];
    next.say(welcome({ declaration: { ...TAG, kinds }, resumed: true }));
    next.say([25, 200, null, [0, 0, [7], 2, 1, ["Ada", true, 20, false]], []]);
    assert.equal(reloads, 1);
    assert.deepEqual([room.state.phase, room.me.name], ["play", "Ada"]);
    assert.deepEqual(next.of(SYNC), []);
  } finally {
    delete globalThis.location;
  }
});
