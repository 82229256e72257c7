/**
 * What crowds' rooms say of their world: the declared schema compiled to readers, the input's
 * bytes, and the known entities of every kind, in wire values, brought up to date by each
 * snapshot's body. Generic over the schema; whatever does not fit throws `WireError`.
 */

import { WireError } from "./msgpack.js";

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

// ---------------------------------------------------------------- the input

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

/**
 * The private head of a snapshot, `self` included, written into `into`.
 * @returns {any} HEAD's fields and `self`
 */
export function readHead(schema, bytes, into = { self: {} }) {
  if (bytes.length !== HEAD.size + schema.self.size) {
    throw new WireError(`head of ${bytes.length} bytes, not ${HEAD.size + schema.self.size}`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  HEAD.read(view, 0, into);
  schema.self.read(view, HEAD.size, into.self);
  return into;
}

// ---------------------------------------------------------------- the known world

const ESCAPE = -128;

/** `mark` of an id: not known, known, or known before the full snapshot that is being read. */
const ABSENT = 0;
const KNOWN = 1;
const STALE = 2;

export class World {
  constructor(schema) {
    this.tick = -1; // of the newest snapshot; -1 before the first
    this.kinds = schema.kinds.map((kind) => new KnownKind(kind));
    this.byName = Object.fromEntries(this.kinds.map((kind) => [kind.name, kind]));
  }

  /** Apply a snapshot. `head`: from `readHead`; `body`: Uint8Array. */
  apply(head, body) {
    const full = (head.flags & FULL) !== 0;
    if (!full && head.tick - head.baseline_age !== this.tick) {
      throw new WireError(`baseline ${head.tick - head.baseline_age}, but ${this.tick} is known`);
    }
    const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
    this.tick = -1; // a body that fails half-way leaves nothing to build on
    try {
      const mask = view.getUint8(0);
      if (mask >> this.kinds.length) throw new WireError(`sections ${mask} of unknown kinds`);
      let at = 1;
      this.kinds.forEach((kind, bit) => {
        kind.begin(full);
        if ((mask >> bit) & 1) at = kind.read(view, at);
        kind.end();
      });
      if (at !== body.length) throw new WireError(`${body.length - at} bytes after the body`);
    } catch (error) {
      throw error instanceof RangeError ? new WireError("the body ends too early") : error;
    }
    this.tick = head.tick;
  }
}

/**
 * The known entities of one kind.
 *
 * `ids`: uint16, the first `count` are the known ids in ascending order.
 * `columns[name]`: wire values indexed by id (a typed array, or an array of strings).
 * `generation[id]`: uint32, changes when another entity takes the id.
 * `entered`, `left`: ids of the last snapshot (the first `enteredCount`, `leftCount`); an entity
 * that left keeps its values until its id is taken again.
 */
export class KnownKind {
  constructor(kind) {
    this.kind = kind;
    this.name = kind.name;
    this.count = 0;
    this.enteredCount = 0;
    this.leftCount = 0;
    this.columns = {};
    this.#grow(256);
  }

  /** Room for ids below `capacity`, in everything that is indexed by id or lists ids. */
  #grow(capacity) {
    const grown = (old, fresh) => {
      if (Array.isArray(fresh)) old?.forEach((value, i) => { fresh[i] = value; });
      else if (old) fresh.set(old);
      return fresh;
    };
    this.capacity = capacity;
    for (const f of this.kind.row.fields) {
      this.columns[f.name] = grown(this.columns[f.name], f.column(capacity));
    }
    this.generation = grown(this.generation, new Uint32Array(capacity));
    this.mark = grown(this.mark, new Uint8Array(capacity));
    this.ids = grown(this.ids, new Uint16Array(capacity));
    this.entered = grown(this.entered, new Uint16Array(capacity));
    this.left = grown(this.left, new Uint16Array(capacity));
    this.scratch = grown(this.scratch, new Uint16Array(capacity));
  }

  has(id) {
    return id < this.capacity && this.mark[id] === KNOWN;
  }

  begin(full) {
    this.enteredCount = 0;
    this.leftCount = 0;
    if (full) {
      for (let i = 0; i < this.count; i++) this.mark[this.ids[i]] = STALE;
      this.scratch.set(this.ids.subarray(0, this.count));
      this.staleCount = this.count;
      this.count = 0;
    } else {
      this.staleCount = 0;
    }
  }

  /** Read a section from byte `at`; returns where it ends. */
  read(view, at) {
    const leaves = view.getUint16(at, true);
    const enters = view.getUint16(at + 2, true);
    at = this.#leave(view, at + 4, leaves);
    if (this.kind.mutable.size) at = this.#update(view, at);
    return this.#enter(view, at, enters);
  }

  end() {
    for (let i = 0; i < this.staleCount; i++) {
      const id = this.scratch[i];
      if (this.mark[id] === STALE) {
        this.mark[id] = ABSENT;
        this.left[this.leftCount++] = id;
      }
    }
  }

  #leave(view, at, leaves) {
    for (let i = 0; i < leaves; i++, at += 2) {
      const id = view.getUint16(at, true);
      if (!this.has(id)) throw new WireError(`leave of ${this.name} ${id}, which is not known`);
      this.mark[id] = ABSENT;
      this.left[this.leftCount++] = id;
    }
    if (leaves) {
      let kept = 0;
      for (let i = 0; i < this.count; i++) {
        if (this.mark[this.ids[i]] === KNOWN) this.ids[kept++] = this.ids[i];
      }
      this.count = kept;
    }
    return at;
  }

  #update(view, at) {
    const { ids, scratch, columns, kind } = this;
    const deltas = kind.deltas;
    let changed = 0;
    for (let i = 0; i < this.count; i++) {
      if ((view.getUint8(at + (i >> 3)) >> (i & 7)) & 1) scratch[changed++] = ids[i];
    }
    at += (this.count + 7) >> 3;

    // A kind without delta columns has no escape byte: each changed row comes whole.
    let escaped = deltas.length ? 0 : changed;
    for (let d = 1; d < deltas.length; d++) {
      const column = columns[deltas[d]];
      for (let i = 0; i < changed; i++) column[scratch[i]] += view.getInt8(at + d * changed + i);
    }
    if (deltas.length) {
      // Read last, because it turns `scratch` into the list of the escaped.
      const column = columns[deltas[0]];
      for (let i = 0; i < changed; i++) {
        const delta = view.getInt8(at + i);
        if (delta === ESCAPE) scratch[escaped++] = scratch[i];
        else column[scratch[i]] += delta;
      }
      at += deltas.length * changed;
    }
    for (let i = 0; i < escaped; i++, at += kind.mutable.size) {
      for (const f of kind.mutable.fields) columns[f.name][scratch[i]] = f.read(view, at + f.offset);
    }
    return at;
  }

  #enter(view, at, enters) {
    const { row, statics } = this.kind;
    const before = this.count;
    for (let n = 0; n < enters; n++) {
      const id = view.getUint16(at, true);
      at += 2;
      if (id >= this.capacity) this.#grow(Math.min(65536, 1 << (32 - Math.clz32(id))));
      if (this.mark[id] === KNOWN) throw new WireError(`enter of ${this.name} ${id}, a known one`);
      let same = this.mark[id] === STALE; // a full snapshot names entities that we had already
      for (const f of row.fields) {
        const value = f.read(view, at + f.offset);
        if (same && statics.includes(f.name) && this.columns[f.name][id] !== value) same = false;
        this.columns[f.name][id] = value;
      }
      at += row.size;
      if (!same) this.generation[id]++;
      this.entered[this.enteredCount++] = id;
      this.ids[this.count++] = id;
      this.mark[id] = KNOWN;
    }
    if (this.count > before) this.#merge(before);
    return at;
  }

  /** Bring `ids` in ascending order; the ones before `middle` are already. */
  #merge(middle) {
    const added = this.ids.slice(middle, this.count).sort();
    let i = middle - 1;
    let to = this.count - 1;
    for (let j = added.length - 1; j >= 0; to--) {
      this.ids[to] = i >= 0 && this.ids[i] > added[j] ? this.ids[i--] : added[j--];
    }
  }
}
