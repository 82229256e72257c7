import assert from "node:assert/strict";
import { test } from "node:test";

import { Interpolation } from "../interpolate.js";
import { Prediction } from "../predict.js";
import { State } from "../state.js";
import { create } from "../tickstorm.js";
import { TAG, joined, lobby, pause, room0, state as full, walker } from "./fake.js";

const X = 2, IT = 4;
const patch = (tick, changes, leaves, enters) => [26, tick, null, changes, leaves, enters];

function begun() {
  const state = new State(TAG, 1);
  state.apply(full(100, [...room0(), ...walker(1, "Ada", 0), ...walker(2, "Bob", 0)]));
  return [state, new Interpolation(state)];
}

test("smooth fields lie between, others are as of the drawn tick", () => {
  const [state, drawing] = begun();
  state.apply(patch(101, [2, X | IT, 8, true]));
  state.apply(patch(102, [2, X, 8]));
  const bob = drawing.seek(100.5).walker[1];
  assert.deepEqual([bob.x, bob.it, bob.name, bob.mine], [2, false, "Bob", false]);
  drawing.seek(101.75);
  assert.deepEqual([bob.x, bob.it], [7, true]);
  drawing.seek(110);
  assert.equal(bob.x, 8);
  assert.equal(drawing.seek(111).walker[1], bob);
});

test("a pause in which nothing came was one in which nothing moved", () => {
  const [state, drawing] = begun();
  state.apply(patch(120, [2, X, 8]));
  assert.equal(drawing.seek(110).walker[1].x, 0);
  assert.equal(drawing.seek(119.5).walker[1].x, 2);
});

test("a jump is not drawn as a flight", () => {
  const [state, drawing] = begun();
  for (let tick = 101; tick < 110; tick++) state.apply(patch(tick, [2, X, 4]));
  state.apply(patch(110, [2, X, 1000]));
  assert.equal(drawing.seek(109.9).walker[1].x, 18);
  assert.equal(drawing.seek(110).walker[1].x, 518);
});

test("entities come and go at the drawn tick", () => {
  const [state, drawing] = begun();
  state.apply(patch(101, [], [2], walker(3, "Cyd", 4)));
  const names = (time) => drawing.seek(time).walker.map(({ name }) => name);
  assert.deepEqual(names(100.5), ["Ada", "Bob"]);
  assert.deepEqual(names(101), ["Ada", "Cyd"]);
});

const FIELDS = new State(TAG, 1).kinds[1].fields;
const step = (me, { dx = 0 }, dt) => {
  me.x += dx * 260 * dt;
};
const told = (x, it = false) => ({ name: "Ada", connected: true, x, it, hand: null });

test("prediction runs ahead and is left alone while the server agrees", () => {
  const own = new Prediction(FIELDS, step, 20);
  own.reconcile(100, told(10));
  for (let tick = 101; tick <= 104; tick++) own.act(tick, { dx: 1 });
  assert.equal(own.me.x, 62);
  own.reconcile(102, told(36.1)); // rounded for the way
  assert.deepEqual([own.me.x, own.corrections], [62, 0]);
});

test("an input that the server took otherwise is done again from its state", () => {
  const own = new Prediction(FIELDS, step, 20);
  own.reconcile(100, told(0));
  own.act(101, { dx: 1 });
  own.act(104, { dx: -1 }); // and on in between
  assert.equal(own.me.x, 26);
  own.reconcile(101, told(0, true)); // it came too late there
  assert.deepEqual([own.me.x, own.me.it, own.corrections], [13, true, 1]);
});

test("what a correction moves fades away instead of jumping", () => {
  const own = new Prediction(FIELDS, step, 20);
  own.reconcile(100, told(0));
  for (let tick = 101; tick <= 104; tick++) own.act(tick, { dx: 1 });
  const drawn = {};
  own.draw(1000, 104, { dx: 1 }, drawn);
  assert.equal(drawn.x, 52);
  own.reconcile(101, told(8));
  own.draw(1000, 104, { dx: 1 }, drawn);
  assert.equal(drawn.x, 52);
  own.draw(1100, 104, { dx: 1 }, drawn);
  assert.ok(drawn.x > 47 && drawn.x < 47.6, `${drawn.x}`);
  own.reconcile(102, told(5000)); // put elsewhere
  own.draw(1101, 104, { dx: 1 }, drawn);
  assert.equal(drawn.x, 5026);
});

test("a room draws its own player ahead of the others", async () => {
  lobby();
  const [room, socket] = await joined((options) => create("tag", options));
  room.predict("walker", step);
  room.input = { dx: 1 };
  for (let tick = 101; tick < 110; tick++) {
    await pause(50);
    room.sample();
    socket.say([26, tick, null, []]);
  }
  const [ada, bob] = room.sample().walker;
  assert.ok(ada.mine && ada.x > 20, `${ada.x}`);
  assert.equal(bob.x, 20);
  assert.equal(room.me.x, 10);
  room.leave();
});

test("a key within a tick bends the way without a jump, and a frame may begin before a timer", () => {
  const own = new Prediction(FIELDS, step, 20);
  own.reconcile(100, told(0));
  own.act(101, { dx: 1 });
  const drawn = {};
  const at = (now, time, dx) => {
    own.draw(now, time, { dx }, drawn);
    return drawn.x;
  };
  assert.equal(at(1000, 100.5, 1), 6.5);
  assert.equal(at(1016, 101.5, 1), 19.5);
  assert.equal(at(1016, 101.5, -1), 19.5);
  assert.ok(Math.abs(at(1017, 101.51, -1) - 19.5) < 1);
});
