/**
 * msgpack, as much of it as the protocol uses: null, booleans, numbers, strings, bytes, arrays,
 * maps with simple keys, and extension 1: a reference to an entity by its id.
 */

/** The server's bytes break the protocol. */
export class WireError extends Error {
  name = "WireError"; // the same from a copy of this module
}

/** A reference to an entity, as it travels. */
export class Ref {
  constructor(id) {
    this.id = id;
  }

  /** So that a map with entities as keys is read by their ids. */
  toString() {
    return String(this.id);
  }
}

const REFERENCE = 1;
const MAX_DEPTH = 32;
const utf8 = new TextDecoder("utf-8", { fatal: true });
const toUtf8 = new TextEncoder();

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
    const size = 1 << (tag & 3); // of the number that follows, as far as one does
    switch (tag) {
      case 0xc0: return null;
      case 0xc2: return false;
      case 0xc3: return true;
      case 0xc4: case 0xc5: case 0xc6: return this.take(this.uint(size));
      case 0xc7: return this.extension(this.uint(1));
      case 0xca: return this.number("Float32", 4);
      case 0xcb: return this.number("Float64", 8);
      case 0xcc: case 0xcd: case 0xce: return this.uint(size);
      case 0xcf: return Number(this.number("BigUint64", 8));
      case 0xd0: case 0xd1: case 0xd2: return this.number(`Int${8 * size}`, size);
      case 0xd3: return Number(this.number("BigInt64", 8));
      case 0xd4: case 0xd5: case 0xd6: return this.extension(size);
      case 0xd9: case 0xda: case 0xdb: return utf8.decode(this.take(this.uint(size / 2)));
      case 0xdc: case 0xdd: return this.array(this.uint(2 * size), depth);
      case 0xde: case 0xdf: return this.map(this.uint(size / 2), depth);
      default: throw new WireError(`msgpack tag 0x${tag.toString(16)} is not used here`);
    }
  }

  uint(size) {
    return this.number(`Uint${8 * size}`, size);
  }

  number(type, size) {
    const value = this.view[`get${type}`](this.at);
    this.at += size;
    return value;
  }

  take(size) {
    if (this.at + size > this.bytes.length) throw new WireError("ends inside a string");
    this.at += size;
    return this.bytes.subarray(this.at - size, this.at);
  }

  extension(size) {
    if (this.uint(1) !== REFERENCE) throw new WireError("an unknown extension");
    return new Ref(this.take(size).reduceRight((id, byte) => id * 256 + byte, 0));
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
      put(entries, key, this.value(depth + 1));
    }
    return entries;
  }
}

/** Set an entry, not by assignment: a key named __proto__ must be a key like any other. */
export function put(entries, key, value) {
  Object.defineProperty(entries, key, {
    value, enumerable: true, configurable: true, writable: true,
  });
}

/** msgpack bytes of null, booleans, numbers, strings, bytes, arrays, references, plain objects. */
export function pack(value) {
  const out = new Packer();
  out.value(value, 0);
  return out.bytes.slice(0, out.size);
}

class Packer {
  bytes = new Uint8Array(64);
  view = new DataView(this.bytes.buffer);
  size = 0;

  value(value, depth) {
    if (depth > MAX_DEPTH) throw new WireError("nested too deeply");
    if (value === null || value === undefined) this.byte(0xc0);
    else if (typeof value === "boolean") this.byte(value ? 0xc3 : 0xc2);
    else if (typeof value === "number") this.number(value);
    else if (typeof value === "string") {
      const bytes = toUtf8.encode(value);
      this.head(bytes.length, 0xa0, 32, 0xd9, 0xda);
      this.put(bytes);
    } else if (value instanceof Uint8Array) {
      this.head(value.length, 0, 0, 0xc4, 0xc5);
      this.put(value);
    } else if (value instanceof Ref) {
      const id = [];
      for (let rest = value.id; rest || !id.length; rest = Math.floor(rest / 256)) {
        id.push(rest % 256);
      }
      this.head(id.length, 0, 0, 0xc7);
      this.byte(REFERENCE);
      this.put(id);
    } else if (Array.isArray(value)) {
      this.head(value.length, 0x90, 16, 0, 0xdc);
      for (const item of value) this.value(item, depth + 1);
    } else if (typeof value === "object") {
      const entries = Object.entries(value);
      this.head(entries.length, 0x80, 16, 0, 0xde);
      for (const [key, item] of entries) {
        this.value(key, depth + 1);
        this.value(item, depth + 1);
      }
    } else throw new Error(`a ${typeof value} can't be sent`);
  }

  byte(value) {
    this.put([value]);
  }

  put(bytes) {
    const at = this.room(bytes.length);
    this.bytes.set(bytes, at);
  }

  /** Make room for `size` bytes; where they go. */
  room(size) {
    const at = this.size;
    this.size += size;
    if (this.size > this.bytes.length) {
      const grown = new Uint8Array(Math.max(this.size, 2 * this.bytes.length));
      grown.set(this.bytes);
      this.bytes = grown;
      this.view = new DataView(grown.buffer);
    }
    return at;
  }

  head(size, fixTag, fixLimit, tag8, tag16) {
    if (size < fixLimit) this.byte(fixTag | size);
    else if (tag8 && size < 0x100) this.tagged(tag8, "Uint8", 1, size);
    else if (size < 0x10000) this.tagged(tag16, "Uint16", 2, size);
    else this.tagged(tag16 + 1, "Uint32", 4, size);
  }

  tagged(tag, type, size, value) {
    this.byte(tag);
    const at = this.room(size);
    this.view[`set${type}`](at, value);
  }

  number(value) {
    if (!Number.isSafeInteger(value)) this.tagged(0xcb, "Float64", 8, value);
    else if (value >= 0) {
      if (value < 0x80) this.byte(value);
      else if (value < 0x100) this.tagged(0xcc, "Uint8", 1, value);
      else if (value < 0x10000) this.tagged(0xcd, "Uint16", 2, value);
      else if (value < 0x100000000) this.tagged(0xce, "Uint32", 4, value);
      else this.tagged(0xcf, "BigUint64", 8, BigInt(value));
    } else if (value >= -32) this.byte(value & 0xff);
    else if (value >= -0x80) this.tagged(0xd0, "Int8", 1, value);
    else if (value >= -0x8000) this.tagged(0xd1, "Int16", 2, value);
    else if (value >= -0x80000000) this.tagged(0xd2, "Int32", 4, value);
    else this.tagged(0xd3, "BigInt64", 8, BigInt(value));
  }
}
