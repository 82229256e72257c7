/**
 * What a page knows after each frame, for the tests of the server: JSON `{declaration, frames}`
 * with frames in base64 on standard input, a list of `{id: {field: value}}` on standard output.
 */

import { readFileSync } from "node:fs";

import { Ref, unpack } from "../msgpack.js";
import { State } from "../state.js";

const { declaration, frames } = JSON.parse(readFileSync(0, "utf-8"));
const state = new State(declaration);

function plain(value) {
  if (value instanceof Ref) return { ref: value.id };
  if (value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) return value.map(plain);
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item)]));
}

const known = frames.map((frame) => {
  state.apply(unpack(new Uint8Array(Buffer.from(frame, "base64"))));
  const rows = [...state.all.values()].map((entity) => {
    const { fields } = state.kinds.find(({ name }) => name === entity.kind);
    return [entity.id, Object.fromEntries(fields.map(({ name }) => [name, plain(entity[name])]))];
  });
  return Object.fromEntries(rows);
});
console.log(JSON.stringify(known));
