/**
 * What the server told this client about the world: the known entities of every declared kind,
 * in wire values, brought up to date by each snapshot body. Generic over the schema.
 */

import { FULL, WireError } from "./wire.js";

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
    for (const list of ["ids", "entered", "left", "scratch"]) {
      this[list] = grown(this[list], new Uint16Array(capacity));
    }
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
