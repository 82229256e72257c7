/**
 * The bytes of PROTOCOL.md for crowds: messages in and out, and the declared schema compiled to
 * readers. No sockets and no game here; whatever does not fit throws `WireError`.
 */

import {
  NOTICE, PONG, REPLAY, REPLAYING, SNAPSHOT, WELCOME,
} from "/tickstorm/messages.js";
import { WireError, pack, unpack } from "/tickstorm/msgpack.js";

export * from "/tickstorm/messages.js";
export { WireError, pack, unpack };

export const NO_SLOT = 65535;
export const NO_SLACK = -128;

export const INPUT = 2;
export const CHAT = 3;
export const LOOK = 7;

export const FEED = 18;
export const BOARD = 19;
export const CHATTED = 20;
export const HEAT = 23;

/** Bits of a snapshot's flags. */
export const FULL = 1;
export const SHED = 2;
export const SPECTATOR = 4;

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

const ROW_AT = 4;

/**
 * INPUT rows, written by the declared command fields: `encode({target, ack, seq}, {aim, …})`.
 * A command field that is not given is 0. The bytes are reused by the next call.
 */
export class InputEncoder {
  constructor(commandFields) {
    this.command = struct(commandFields);
    const size = 10 + this.command.size;
    this.bytes = new Uint8Array(ROW_AT + size);
    this.bytes.set([0x92, INPUT, 0xc4, size]);
    this.view = new DataView(this.bytes.buffer);
  }

  encode(header, command) {
    this.view.setUint32(ROW_AT, header.target, true);
    this.view.setUint32(ROW_AT + 4, header.ack, true);
    this.view.setUint16(ROW_AT + 8, header.seq, true);
    for (const field of this.command.fields) {
      field.write(this.view, ROW_AT + 10 + field.offset, command[field.name] ?? 0);
    }
    return this.bytes;
  }
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
]);

const NOTICE_WITH_URL = ["number", "string", "string"];

/** One message from the server, `[type, field, …]`, its shape checked. */
export function decode(bytes) {
  const message = unpack(bytes);
  if (!Array.isArray(message) || !SHAPES.has(message[0])) {
    throw new WireError("not a message of this protocol");
  }
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

// ---------------------------------------------------------------- the declared schema

/** dtype code: [bytes, typed array for a column, DataView getter, setter]. */
const NUMBERS = {
  u1: [1, Uint8Array, "getUint8", "setUint8"],
  i1: [1, Int8Array, "getInt8", "setInt8"],
  u2: [2, Uint16Array, "getUint16", "setUint16"],
  i2: [2, Int16Array, "getInt16", "setInt16"],
  u4: [4, Uint32Array, "getUint32", "setUint32"],
  i4: [4, Int32Array, "getInt32", "setInt32"],
  f4: [4, Float32Array, "getFloat32", "setFloat32"],
  f8: [8, Float64Array, "getFloat64", "setFloat64"],
};

const toUtf8 = new TextEncoder();
const lenientUtf8 = new TextDecoder("utf-8");

function field(name, dtype, offset) {
  if (dtype in NUMBERS) {
    const [size, Column, getter, setter] = NUMBERS[dtype];
    return {
      name, dtype, offset, size,
      column: (length) => new Column(length),
      read: (view, at) => view[getter](at, true),
      write: (view, at, value) => view[setter](at, value, true),
    };
  }
  const size = /^S\d+$/.test(dtype) ? Number(dtype.slice(1)) : 0;
  if (!size) throw new WireError(`column ${name} of unknown dtype ${dtype}`);
  return {
    name, dtype, offset, size,
    column: (length) => new Array(length).fill(""),
    read: (view, at) => {
      const bytes = new Uint8Array(view.buffer, view.byteOffset + at, size);
      const end = bytes.indexOf(0);
      return lenientUtf8.decode(end < 0 ? bytes : bytes.subarray(0, end));
    },
    write: (view, at, value) => {
      const bytes = new Uint8Array(view.buffer, view.byteOffset + at, size).fill(0);
      toUtf8.encodeInto(value, bytes);
    },
  };
}

/** Packed little-endian fields `[[name, dtype], …]`: `{fields, size}` and `read(view, at, into)`. */
export function struct(declared) {
  let size = 0;
  const fields = declared.map(([name, dtype]) => {
    const made = field(name, dtype, size);
    size += made.size;
    return made;
  });
  return {
    fields,
    size,
    read(view, at, into = {}) {
      for (const f of fields) into[f.name] = f.read(view, at + f.offset);
      return into;
    },
  };
}

/** WELCOME's declaration compiled: `{kinds: [kind, …], self: struct, command: [[name, dtype], …]}`. */
export function compile(declaration) {
  if (!Array.isArray(declaration) || declaration.length !== 3) {
    throw new WireError("unreadable declaration");
  }
  const [kinds, self, command] = declaration;
  if (kinds.length > 8) throw new WireError("more than 8 kinds");
  return { kinds: kinds.map(compileKind), self: struct(self), command };
}

function compileKind([name, columns]) {
  const pick = (...roles) => columns.filter((c) => roles.includes(c[2]));
  return {
    name,
    /** All columns, as an `enter` row carries them after its id. */
    row: struct(columns),
    /** Delta and state columns, as an escaped row carries them. */
    mutable: struct(pick("delta", "state")),
    deltas: pick("delta").map((c) => c[0]),
    statics: pick("static").map((c) => c[0]),
    /** World units per wire unit of each column. */
    scale: Object.fromEntries(columns.map((c) => [c[0], c[3]])),
  };
}

const HEAD = struct([
  ["tick", "u4"],
  ["ack_seq", "u2"],
  ["slack", "i1"],
  ["flags", "u1"],
  ["baseline_age", "u1"],
  ["snapshot_ticks", "u1"],
]);

/** The private head of a snapshot, `self` included, written into `into`. */
export function readHead(schema, bytes, into = { self: {} }) {
  if (bytes.length !== HEAD.size + schema.self.size) {
    throw new WireError(`head of ${bytes.length} bytes, not ${HEAD.size + schema.self.size}`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  HEAD.read(view, 0, into);
  schema.self.read(view, HEAD.size, into.self);
  return into;
}
