import assert from "node:assert/strict";
import { test } from "node:test";

import { Ref, WireError } from "../msgpack.js";
import { State } from "../state.js";
import { TAG, room0, state as full, walker } from "./fake.js";

const WALKER = { x: 2, it: 4 }; // bits of the mutable public fields: connected, x, it

function begun(...more) {
  const state = new State(TAG, 1);
  state.apply(full(100, [...room0(), ...walker(1, "Ada", 20), ...walker(2, "Bob", 40), ...more]));
  return state;
}

const patch = (tick, changes = [], leaves, enters, hidden) => [26, tick, null, changes, leaves, enters, hidden];

test("a state brings the room and all entities", () => {
  const state = begun();
  assert.equal(state.room.phase, "play");
  assert.deepEqual(state.kinds[1].entities.map(({ id, name, x }) => [id, name, x]), [[1, "Ada", 10], [2, "Bob", 20]]);
  assert.equal(state.me.name, "Ada");
  assert.equal(state.me.kind, "walker");
  assert.ok(state.me.mine);
  assert.equal(state.me.hand, null);
});

test("a patch adds differences to quantised fields and sets others", () => {
  const state = begun();
  state.apply(patch(101, [1, WALKER.x | WALKER.it, -4, true, 0, 1, "over"]));
  assert.deepEqual([state.me.x, state.me.it, state.room.phase, state.tick], [8, true, "over", 101]);
});

test("leaves come before enters, so that an id can be used again", () => {
  const state = begun();
  const bob = state.all.get(2);
  state.apply(patch(101, [2, WALKER.x, 2], [2], walker(2, "Cyd", 6)));
  assert.notEqual(state.all.get(2), bob);
  assert.deepEqual([state.all.get(2).name, state.all.get(2).x], ["Cyd", 4]);
  assert.equal(state.kinds[1].entities.length, 2);
});

test("lists and maps are changed in place by operations", () => {
  const state = begun();
  const { log, scores } = state.room;
  const heard = [];
  state.room.onAdd("log", (line, at) => heard.push(["+", line, at]));
  state.room.onRemove("log", (line, at) => heard.push(["-", line, at]));
  state.room.onAdd("scores", (score, who) => heard.push([who, score]));
  state.apply(patch(101, [0, 6, [[0, "Ada", 3], [0, "Bob", 1]], [[1, 0, "b"], [1, 0, "a"], [1, 2, "d"]]]));
  assert.deepEqual([log, scores], [["a", "b", "d"], { Ada: 3, Bob: 1 }]);
  state.apply(patch(102, [0, 6, [[2, "Ada"]], [[0, 2, "c"], [2, 0]]]));
  assert.deepEqual([log, scores], [["b", "c"], { Bob: 1 }]);
  state.apply(patch(103, [0, 4, [[3, ["b", "x"]]]]));
  assert.equal(state.room.log, log);
  assert.deepEqual(log, ["b", "x"]);
  assert.deepEqual(heard, [
    ["Ada", 3], ["Bob", 1], ["+", "b", 0], ["+", "a", 0], ["+", "d", 2],
    ["-", "d", 2], ["+", "c", 2], ["-", "a", 0], ["-", "c", 1], ["+", "x", 1],
  ]);
});

test("an operation where nothing is breaks the protocol", () => {
  assert.throws(() => begun().apply(patch(101, [0, 4, [[2, 0]]])), WireError);
  assert.throws(() => begun().apply(patch(101, [9, 1, "?"])), WireError);
  assert.throws(() => begun().apply(patch(101, [1, 64, "?"])), WireError);
});

test("references are live entities, in fields and in lists, whatever comes first", () => {
  const state = begun(2, 3, [1.5, new Ref(4), new Ref(1)], 2, 4, [2.5, null, null]);
  const [first, second] = state.byName.flag.entities;
  assert.equal(first.holder, second);
  assert.equal(first.owner, state.me);
  assert.ok(first.mine && !second.mine);
  state.apply(patch(101, [0, 4, [[1, 0, [new Ref(2), new Ref(7)]]]], [4], [2, 7, [0, new Ref(1), null]]));
  assert.equal(first.holder, null);
  assert.equal(state.room.log[0][0], state.all.get(2));
  assert.equal(state.room.log[0][1], state.all.get(7));
});

test("hidden fields and entities are shown and taken away", () => {
  const state = begun();
  state.apply(patch(101, [], [], [], [[1, 4, ["ace"]], [], [3, 9, [5, new Ref(1)]]]));
  assert.deepEqual(state.me.hand, ["ace"]);
  const [ghost] = state.byName.ghost.entities;
  assert.deepEqual([ghost.x, ghost.owner], [5, state.me]);
  state.apply(patch(102, [], [], [], [[1, 4, ["ace", "ten"], 9, 0, 6]]));
  assert.deepEqual([state.me.hand, ghost.x], [["ace", "ten"], 6]);
  state.apply(patch(103, [], [], [], [[], [1, 4], [], [9]]));
  assert.deepEqual([state.me.hand, state.all.has(9)], [null, false]);
});

test("listeners hear of what is there, of what changes, and of nothing else", () => {
  const state = begun();
  const heard = [];
  const stop = state.room.listen("phase", (phase, before) => heard.push([phase, before]));
  state.room.onAdd("walker", ({ name }) => heard.push(`+${name}`));
  state.room.onRemove("walker", ({ name }) => heard.push(`-${name}`));
  state.me.listen("x", (x) => heard.push(x));
  state.me.onChange((me) => heard.push(me));
  state.apply(patch(101, [0, 1, "over", 1, WALKER.x, 2]));
  state.apply(patch(102, [0, 1, "over", 2, WALKER.x, 2]));
  stop();
  state.apply(patch(103, [0, 1, "play"], [2], walker(3, "Cyd", 0)));
  assert.deepEqual(heard, [["play", undefined], "+Ada", "+Bob", 10, ["over", "play"], 11, state.me, "-Bob", "+Cyd"]);
  assert.throws(() => state.me.listen("y", () => {}), /walker has no field y, but name, connected, x/);
});

test("callbacks see the whole message applied, and one that throws keeps no other from its turn", () => {
  const state = begun();
  const uncaught = [];
  globalThis.reportError = (error) => uncaught.push(error.message);
  const seen = [];
  state.room.listen("phase", (phase) => {
    if (phase === "over") throw new Error("the page's");
  });
  state.room.listen("phase", () => seen.push(state.all.get(2)?.name));
  state.apply(patch(101, [0, 1, "over"], [2]));
  assert.deepEqual(seen, ["Bob", undefined]);
  assert.deepEqual(uncaught, ["the page's"]);
});

test("another state keeps the objects that are the same", () => {
  const state = begun();
  state.apply(patch(101, [0, 4, [[3, ["a", "b"]]]], [], [], [[1, 4, ["ace"]]]));
  const [me, bob, log] = [state.me, state.all.get(2), state.room.log];
  const heard = [];
  state.room.onAdd("walker", ({ name }) => heard.push(`+${name}`));
  state.room.onRemove("walker", ({ name }) => heard.push(`-${name}`));
  state.room.onAdd("log", (line) => heard.push(line));
  heard.length = 0;
  state.apply(full(140, [...room0("over", {}, ["a", "b", "c"]), ...walker(1, "Ada", 30), ...walker(2, "Cyd", 0)]));
  assert.equal(state.me, me);
  assert.equal(state.room.log, log);
  assert.deepEqual([me.x, me.hand, state.room.phase], [15, null, "over"]);
  assert.notEqual(state.all.get(2), bob);
  assert.deepEqual(heard, ["-Bob", "+Cyd", "c"]);
});

test("a key named __proto__ is a key like any other", () => {
  const state = begun();
  state.apply(patch(101, [0, 2, [[0, "__proto__", 5]]]));
  assert.deepEqual(Object.entries(state.room.scores), [["__proto__", 5]]);
});
