/**
 * The messages of PROTOCOL.md for crowds, in and out; the SDK's `columns.js` reads what they hold.
 * No sockets and no game here; whatever does not fit throws `WireError`.
 */

import { BOARD, CHAT, CHATTED, FEED, HEAT, LOOK } from "/tickstorm/columns.js";
import {
  CALL, EVENT, NOTICE, PONG, REPLAY, REPLAYING, SNAPSHOT, WELCOME,
} from "/tickstorm/messages.js";
import { WireError, pack, unpack } from "/tickstorm/msgpack.js";

export * from "/tickstorm/columns.js";
export * from "/tickstorm/messages.js";
export { WireError, pack, unpack };

// ---------------------------------------------------------------- client to server

export function encodeChat(text) {
  return pack([CHAT, text]);
}

/** LOOK at a ship (one number, its slot) or at a place (two, x and y). */
export function encodeLook(...target) {
  return pack([LOOK, ...target]);
}

/** REPLAY: go on at `speed` (0 stops), from `tick` on unless it is null. */
export function encodeReplay(speed, tick) {
  return pack([REPLAY, speed, tick]);
}

/** CALL: a message of the game's own, with its arguments. */
export function encodeCall(name, args) {
  return pack([CALL, name, args, null]);
}

// ---------------------------------------------------------------- server to client

/** Types of each message's fields after its type. */
const SHAPES = new Map([
  [WELCOME, ["object"]],
  [SNAPSHOT, ["bin", "bin"]],
  [FEED, ["array"]],
  [BOARD, ["array", "number"]],
  [CHATTED, ["text?", "string"]],
  [PONG, ["number", "number"]],
  [NOTICE, ["number", "string"]],
  [HEAT, ["number", "bin"]],
  [REPLAYING, ["number", "number", "number", "number"]],
  [EVENT, ["string", "array"]],
]);

const NOTICE_WITH_URL = ["number", "string", "string"];

/** One message from the server, `[type, field, …]`, its shape checked. What a later version of the
 * server says comes as it is: whoever doesn't know it skips it. */
export function decode(bytes) {
  const message = unpack(bytes);
  if (!Array.isArray(message) || !Number.isInteger(message[0])) {
    throw new WireError("not a message of this protocol");
  }
  if (!SHAPES.has(message[0])) return message;
  const moves = message[0] === NOTICE && message.length === 4;
  const shape = moves ? NOTICE_WITH_URL : SHAPES.get(message[0]);
  if (message.length !== 1 + shape.length || !shape.every((s, i) => fits(message[i + 1], s))) {
    throw new WireError(`message ${message[0]} with wrong fields`);
  }
  return message;
}

function fits(value, shape) {
  switch (shape) {
    case "bin": return value instanceof Uint8Array;
    case "array": return Array.isArray(value);
    case "text?": return value === null || typeof value === "string";
    case "object":
      return typeof value === "object" && value !== null && !Array.isArray(value)
        && !(value instanceof Uint8Array);
    default: return typeof value === shape;
  }
}
