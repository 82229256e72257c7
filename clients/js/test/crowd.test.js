import assert from "node:assert/strict";
import { test } from "node:test";

import { struct } from "../columns.js";
import { join, watch } from "../tickstorm.js";
import { FakeSocket, lobby, pause, socketAfter, until } from "./fake.js";
import { MemoryStorage } from "../storage.js";

const INPUT = 2, CHAT = 3, SYNC = 6, LOOK = 7;

const DECLARATION = [
  [
    ["dot", [["x", "u2", "delta", 0.5], ["y", "u2", "delta", 0.5], ["hue", "u1", "static", 1], ["name", "S8", "static", 1]]],
    ["crumb", [["x", "u2", "static", 0.5], ["y", "u2", "static", 0.5]]],
  ],
  [["x", "f4"], ["y", "f4"]],
  [["dx", "i1", -1, 1, 0], ["push", "f4", 0, 10, 1], ["drop", "u1", null, null, false]],
];
const DOT = struct([["id", "u2"], ["x", "u2"], ["y", "u2"], ["hue", "u1"], ["name", "S8"]]);
const HEAD = struct([
  ["tick", "u4"], ["ack", "u2"], ["slack", "i1"], ["flags", "u1"], ["age", "u1"], ["every", "u1"], ["x", "f4"], ["y", "f4"],
]);

const bytes = (layout, values) => {
  const made = new Uint8Array(layout.size);
  const view = new DataView(made.buffer);
  for (const field of layout.fields) field.write(view, field.offset, values[field.name] ?? 0);
  return [...made];
};
const head = (tick, more) => new Uint8Array(bytes(HEAD, { tick, slack: -128, every: 1, x: 7.5, ...more }));
const u2 = (...values) => values.flatMap((value) => [value & 255, value >> 8]);

/** Two dots, 3 and 9, and one crumb. */
const full = (tick) => [17, head(tick, { flags: 1 }), new Uint8Array([
  3,
  ...u2(0, 2), ...bytes(DOT, { id: 3, x: 100, y: 40, hue: 5, name: "Ada" }),
  ...bytes(DOT, { id: 9, x: 300, y: 80, hue: 6, name: "Bö" }),
  ...u2(0, 1), ...u2(2, 50, 60),
])];
/** Dot 3 moves by `dx` halves; dot 9 stays. */
const moved = (tick, dx) => [17, head(tick, { age: 1 }), new Uint8Array([1, ...u2(0, 0), 1, dx, 0])];
const welcome = (more = {}) => [16, {
  version: 1, schema: 0, declaration: DECLARATION, room: "K7PQ2MXW", slot: 3, name: "Ada", tick: 99, tick_hz: 20,
  snapshot_ticks: 1, size: 1024, cell: 1024, token: "secret", resumed: false, grace_s: 20, rules: { speed: 3 }, server: "0.2", ...more,
}];

async function crowd(t, verb = (options) => join("dots", options), more = {}) {
  lobby();
  const count = FakeSocket.all.length;
  const coming = verb({ server: "http://play.test", WebSocket: FakeSocket, storage: new MemoryStorage(), name: "Ada" });
  const socket = await socketAfter(count);
  socket.say(welcome(more));
  socket.say(full(100));
  const room = await coming;
  t.after(() => room.leave());
  return [room, socket];
}

test("a crowd's kinds come as columns, in world units, with one's own row", async (t) => {
  const [room] = await crowd(t);
  assert.deepEqual([room.status, room.game, room.spectator, room.tick], ["playing", "dots", false, 100]);
  assert.deepEqual({ ...room.me }, { slot: 3, x: 7.5, y: 0 });
  assert.deepEqual(room.rules, { speed: 3 });
  const dot = room.columns("dot");
  assert.deepEqual([dot.count, dot.mine, ...dot.ids.slice(0, 2)], [2, 0, 3, 9]);
  assert.deepEqual([...dot.x.slice(0, 2), ...dot.y.slice(0, 2)], [50, 150, 20, 40]);
  assert.deepEqual([...dot.hue.slice(0, 2), ...dot.name.slice(0, 2)], [5, 6, "Ada", "Bö"]);
  const { crumb } = room.sample();
  assert.deepEqual([crumb.count, crumb.mine, crumb.x[0], crumb.y[0]], [1, -1, 25, 30]);
  assert.throws(() => room.columns("ship"), /no kind ship was declared, but dot, crumb/);
  assert.throws(() => room.entities("dot"), /is a crowd: see columns/);
});

test("what moves is drawn between two snapshots", async (t) => {
  const [room, socket] = await crowd(t);
  let at = performance.now();
  const seen = [];
  for (let tick = 101; tick < 108; tick++) {
    socket.say(moved(tick, 20));
    await pause(50);
    const { x, vx } = room.columns("dot", at = performance.now());
    seen.push([x[0], vx[0]]);
    assert.equal(room.columns("dot", at).x[0], x[0]);
  }
  for (let i = 1; i < seen.length; i++) assert.ok(seen[i][0] >= seen[i - 1][0]);
  // How fast is up to how busy the machine is: time goes on between what the fake server says.
  assert.ok(seen.at(-1)[0] > 50 && seen.at(-1)[0] <= 171 && seen.at(-1)[1] > 0, String(seen.at(-1)));
});

test("an input goes out each tick; it is checked by what was declared", async (t) => {
  const [room, socket] = await crowd(t);
  assert.throws(() => { room.input = { fly: 1 }; }, /no field fly, but dx, push, drop/);
  assert.throws(() => { room.input = { dx: 2 }; }, /input dx/);
  room.input = { dx: -1, drop: true };
  assert.deepEqual(room.input, { dx: -1, push: 1, drop: true });
  const before = socket.of(INPUT).length;
  await until(() => socket.of(INPUT).length > before + 3);
  const rows = socket.of(INPUT).slice(-2).map(([, row]) => {
    const view = new DataView(row.buffer, row.byteOffset, row.byteLength);
    return [view.getUint32(0, true), view.getUint32(4, true), view.getUint16(8, true), view.getInt8(10), view.getFloat32(11, true), view.getUint8(15)];
  });
  assert.deepEqual(rows[1].slice(3), [-1, 1, 1]);
  assert.ok(rows[1][0] > rows[0][0] && rows[1][2] === rows[0][2] + 1 && rows[1][1] === 100);
});

test("what can't be read is asked for anew, whole", async (t) => {
  const [room, socket] = await crowd(t);
  const warn = console.warn;
  console.warn = () => {};
  t.after(() => { console.warn = warn; });
  socket.say(moved(103, 1)); // its baseline, 102, never came
  assert.equal(socket.of(SYNC).length, 1);
  socket.say(full(104));
  assert.deepEqual([room.tick, room.columns("dot").count], [104, 2]);
});

test("the feed, the board and chat are events; a spectator looks about", async (t) => {
  const [room, socket] = await crowd(t, (options) => watch("K7PQ2MXW", options), { slot: 65535 });
  const heard = [];
  room.on("feed", (events) => heard.push(events));
  room.on("board", (rows, players) => heard.push([rows, players]));
  room.on("chat", (name, text) => heard.push([name, text]));
  room.onChange(() => heard.push(room.tick));
  socket.say([18, [["met", "Ada"]]]);
  socket.say([19, [["Ada", 3]], 2]);
  socket.say([20, "Ada", "hello"]);
  socket.say(moved(101, 1));
  assert.deepEqual(heard, [[["met", "Ada"]], [[["Ada", 3]], 2], ["Ada", "hello"], 101]);
  assert.deepEqual([room.spectator, room.me, room.columns("dot").mine], [true, null, -1]);
  room.send("look", 10, 20);
  room.send("chat", "hi");
  assert.deepEqual([socket.of(LOOK), socket.of(CHAT)], [[[LOOK, 10, 20]], [[CHAT, "hi"]]]);
  assert.throws(() => room.send("jump"), /no message jump, but chat, look/);
  await pause(120);
  assert.equal(socket.of(INPUT).length, 0);
});

test("after a drop it goes on with another world", async (t) => {
  const [room, socket] = await crowd(t);
  const count = FakeSocket.all.length;
  socket.end(1012);
  const again = await socketAfter(count);
  again.say(welcome({ resumed: true }));
  again.say(full(300));
  assert.deepEqual([room.status, room.tick, room.columns("dot").count], ["playing", 300, 2]);
  await until(() => again.of(INPUT).length > 1);
});

test("messages of the game's own are checked and sent; events and answers come back", async (t) => {
  const messages = { emote: [["mark", "int", 0, 5]], ask: [] };
  const [room, socket] = await crowd(t, undefined, { messages });
  const heard = [];
  room.on("emote", (slot, mark) => heard.push([slot, mark]));
  room.send("emote", 4);
  assert.deepEqual(socket.sent.at(-1), [10, "emote", [4], null]);
  socket.say([27, "emote", [9, 4]]);
  assert.deepEqual(heard, [[9, 4]]);
  const answer = room.request("ask");
  const [, name, , id] = socket.sent.at(-1);
  assert.equal(name, "ask");
  socket.say([28, id, true, 42]);
  assert.equal(await answer, 42);
  assert.throws(() => room.send("emote", 9), /emote mark/);
  assert.throws(() => room.send("sing"), /no message sing, but chat, look, emote, ask/);
  socket.say([99, "of a later version"]);
});
