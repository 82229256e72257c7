/**
 * The bytes of PROTOCOL.md: messages in and out, and the declared schema compiled to readers.
 * No sockets and no game here; whatever does not fit throws `WireError`.
 */

export const PROTOCOL_VERSION = 1;
export const SUBPROTOCOL = "tickstorm.1";
export const NO_SLOT = 65535;
export const NO_SLACK = -128;

export const HELLO = 1;
export const INPUT = 2;
export const CHAT = 3;
export const PING = 4;
export const LEAVE = 5;
export const SYNC = 6;
export const LOOK = 7;
export const REPLAY = 8;

export const WELCOME = 16;
export const SNAPSHOT = 17;
export const FEED = 18;
export const BOARD = 19;
export const CHATTED = 20;
export const PONG = 21;
export const NOTICE = 22;
export const HEAT = 23;
export const REPLAYING = 24;

/** Bits of a snapshot's flags. */
export const FULL = 1;
export const SHED = 2;
export const SPECTATOR = 4;

/** The server's bytes break the protocol. */
export class WireError extends Error {}

// ---------------------------------------------------------------- msgpack

const utf8 = new TextDecoder("utf-8", { fatal: true });
const toUtf8 = new TextEncoder();
const MAX_DEPTH = 16;

/** The value of one whole msgpack document; `bin` comes as a view into `bytes`. */
export function unpack(bytes) {
  const reader = new Unpacker(bytes);
  let value;
  try {
    value = reader.value(0);
  } catch (error) {
    throw error instanceof WireError ? error : new WireError(`not msgpack: ${error.message}`);
  }
  if (reader.at !== bytes.length) {
    throw new WireError(`${bytes.length - reader.at} bytes after the message`);
  }
  return value;
}

class Unpacker {
  constructor(bytes) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.at = 0;
  }

  value(depth) {
    if (depth > MAX_DEPTH) throw new WireError("nested too deeply");
    const tag = this.uint(1);
    if (tag < 0x80) return tag;
    if (tag < 0x90) return this.map(tag & 0x0f, depth);
    if (tag < 0xa0) return this.array(tag & 0x0f, depth);
    if (tag < 0xc0) return utf8.decode(this.take(tag & 0x1f));
    if (tag >= 0xe0) return tag - 256;
    switch (tag) {
      case 0xc0: return null;
      case 0xc2: return false;
      case 0xc3: return true;
      case 0xc4: return this.take(this.uint(1));
      case 0xc5: return this.take(this.uint(2));
      case 0xc6: return this.take(this.uint(4));
      case 0xca: return this.number("getFloat32", 4);
      case 0xcb: return this.number("getFloat64", 8);
      case 0xcc: return this.uint(1);
      case 0xcd: return this.uint(2);
      case 0xce: return this.uint(4);
      case 0xcf: return Number(this.number("getBigUint64", 8));
      case 0xd0: return this.number("getInt8", 1);
      case 0xd1: return this.number("getInt16", 2);
      case 0xd2: return this.number("getInt32", 4);
      case 0xd3: return Number(this.number("getBigInt64", 8));
      case 0xd9: return utf8.decode(this.take(this.uint(1)));
      case 0xda: return utf8.decode(this.take(this.uint(2)));
      case 0xdb: return utf8.decode(this.take(this.uint(4)));
      case 0xdc: return this.array(this.uint(2), depth);
      case 0xdd: return this.array(this.uint(4), depth);
      case 0xde: return this.map(this.uint(2), depth);
      case 0xdf: return this.map(this.uint(4), depth);
      default: throw new WireError(`msgpack tag 0x${tag.toString(16)} is not used here`);
    }
  }

  uint(size) {
    return this.number(size === 1 ? "getUint8" : size === 2 ? "getUint16" : "getUint32", size);
  }

  number(getter, size) {
    const value = this.view[getter](this.at);
    this.at += size;
    return value;
  }

  take(size) {
    if (this.at + size > this.bytes.length) throw new WireError("ends inside a string");
    this.at += size;
    return this.bytes.subarray(this.at - size, this.at);
  }

  array(size, depth) {
    const items = [];
    for (let i = 0; i < size; i++) items.push(this.value(depth + 1));
    return items;
  }

  map(size, depth) {
    const entries = {};
    for (let i = 0; i < size; i++) {
      const key = this.value(depth + 1);
      // Not by assignment: a key named __proto__ must be a key like any other.
      Object.defineProperty(entries, key, {
        value: this.value(depth + 1), enumerable: true, configurable: true, writable: true,
      });
    }
    return entries;
  }
}

/** msgpack bytes of null, booleans, numbers, strings, arrays and plain objects. */
export function pack(value) {
  const out = [];
  packInto(out, value);
  return Uint8Array.from(out);
}

function packInto(out, value) {
  if (value === null || value === undefined) out.push(0xc0);
  else if (typeof value === "boolean") out.push(value ? 0xc3 : 0xc2);
  else if (typeof value === "number") packNumber(out, value);
  else if (typeof value === "string") {
    const bytes = toUtf8.encode(value);
    packSize(out, bytes.length, 0xa0, 32, [0xd9, 0xda, 0xdb]);
    out.push(...bytes);
  } else if (Array.isArray(value)) {
    packSize(out, value.length, 0x90, 16, [0, 0xdc, 0xdd]);
    for (const item of value) packInto(out, item);
  } else {
    const entries = Object.entries(value);
    packSize(out, entries.length, 0x80, 16, [0, 0xde, 0xdf]);
    for (const [key, item] of entries) {
      packInto(out, key);
      packInto(out, item);
    }
  }
}

function packSize(out, size, fixTag, fixLimit, [tag8, tag16, tag32]) {
  if (size < fixLimit) out.push(fixTag | size);
  else if (tag8 && size < 0x100) out.push(tag8, size);
  else if (size < 0x10000) out.push(tag16, ...bigEndian(size, 2));
  else out.push(tag32, ...bigEndian(size, 4));
}

function packNumber(out, value) {
  if (!Number.isInteger(value) || value < -0x80000000 || value > 0xffffffff) {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setFloat64(0, value);
    out.push(0xcb, ...bytes);
  } else if (value >= 0) {
    if (value < 0x80) out.push(value);
    else if (value < 0x100) out.push(0xcc, value);
    else if (value < 0x10000) out.push(0xcd, ...bigEndian(value, 2));
    else out.push(0xce, ...bigEndian(value, 4));
  } else if (value >= -32) out.push(value & 0xff);
  else if (value >= -0x80) out.push(0xd0, value & 0xff);
  else if (value >= -0x8000) out.push(0xd1, ...bigEndian(value, 2));
  else out.push(0xd2, ...bigEndian(value, 4));
}

function bigEndian(value, size) {
  return Array.from({ length: size }, (_, i) => (value >>> (8 * (size - 1 - i))) & 0xff);
}

// ---------------------------------------------------------------- client to server

/** HELLO; `schema` 0 accepts whatever WELCOME declares. */
export function encodeHello({ name, token = null, schema = 0, options = {} }) {
  return pack([HELLO, PROTOCOL_VERSION, schema, name, token, options]);
}

export function encodeChat(text) {
  return pack([CHAT, text]);
}

/** `time`: any number; the server sends it back in PONG. */
export function encodePing(time) {
  return pack([PING, time]);
}

export function encodeLeave() {
  return pack([LEAVE]);
}

export function encodeSync() {
  return pack([SYNC]);
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
