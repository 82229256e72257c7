/**
 * What the server has told of a room: its entities, kept up to date by STATE and PATCH.
 *
 * Entities are live objects: the same one from enter to leave, its fields always the newest. The
 * room itself is entity 0. Lists and maps are changed in place. Callbacks come when the whole
 * message is applied, so that they see one moment.
 */

import { Listeners } from "./listeners.js";
import { find } from "./check.js";
import { Ref, WireError, put } from "./msgpack.js";

const FIXED = 1;
const SMOOTH = 2;
const HIDDEN = 4;
const QUANTISED = 8;

/** How an entity is known inside: not for games. */
export const inner = Symbol("inner");

/** One entity of the room. Its fields are properties; a hidden field that isn't shown is null. */
export class Entity extends Ref {
  constructor(id, kind, state) {
    super(id);
    Object.defineProperty(this, inner, {
      value: { kind, state, values: new Array(kind.fields.length).fill(null), on: null },
    });
    for (const field of kind.fields) if (!field.loose) put(this, field.name, null);
  }

  /** The name of its kind: that of the class on the server, in lower case. */
  get kind() {
    return this[inner].kind.name;
  }

  /** Is it one's own player, or owned by it? */
  get mine() {
    const { me } = this[inner].state;
    // @ts-expect-error: `owner` is one of the fields, which are the game's
    return me !== null && (this === me || this.owner === me);
  }

  /** `callback(value, before)` now and whenever the field has changed. */
  listen(field, callback) {
    const stop = this.#on("set", field, callback);
    callback(this[field], undefined);
    return stop;
  }

  /** `callback(item, key)` for what is in a list or map, and for what is added to it. */
  onAdd(field, callback) {
    const stop = this.#on("add", field, callback);
    for (const [key, item] of items(this[field])) callback(item, key);
    return stop;
  }

  /** `callback(item, key)` for what is taken out of a list or map. */
  onRemove(field, callback) {
    return this.#on("remove", field, callback);
  }

  /** `callback(entity)` after each message that has changed any of its fields. */
  onChange(callback) {
    return listeners(this).add("change", callback);
  }

  /** `callback(entity)` when it leaves. */
  onGone(callback) {
    return listeners(this).add("gone", callback);
  }

  #on(what, field, callback) {
    const { kind } = this[inner];
    find(kind.byName, field, `${kind.name} has no field`);
    return listeners(this).add(`${what} ${field}`, callback);
  }
}

function listeners(entity) {
  return (entity[inner].on ??= new Listeners());
}

/** The room's own fields, and where one hears of entities. */
export class RoomState extends Entity {
  /** `callback(entity)` for each of a kind, or `callback(item, key)` of a list or map field. */
  onAdd(what, callback) {
    const { state } = this[inner];
    const kind = state.byName[what];
    if (!kind) return super.onAdd(what, callback);
    const stop = state.on.add(`add ${what}`, callback);
    for (const entity of [...kind.entities]) callback(entity);
    return stop;
  }

  onRemove(what, callback) {
    const { state } = this[inner];
    if (!state.byName[what]) return super.onRemove(what, callback);
    return state.on.add(`remove ${what}`, callback);
  }
}

/** A kind as it was declared: `[name, [[field, type, flags, step], …]]`. */
class Kind {
  constructor([name, fields], index, state) {
    this.name = name;
    this.entities = [];
    this.fields = fields.map(([field, type, flags = 0, step = 0], at) => ({
      name: field, type, step, at,
      fixed: (flags & FIXED) !== 0,
      smooth: (flags & SMOOTH) !== 0,
      hidden: (flags & HIDDEN) !== 0,
      quantised: (flags & QUANTISED) !== 0,
      // What may hold a reference is looked up when it is read: its entity may come or go.
      loose: !/^(int|float|bool|str|bytes|list|dict|tuple)\b/.test(type),
      usual: 0, // what a smooth one changes by, as seen so far
    }));
    this.byName = Object.fromEntries(this.fields.map((field) => [field.name, field]));
    const open = this.fields.filter((field) => !field.hidden);
    this.row = open.length ? open : this.fields; // of an enter; all of those of a hidden kind
    this.mutable = open.filter((field) => !field.fixed);
    this.Entity = index ? class extends Entity {} : class extends RoomState {};
    for (const field of this.fields.filter((f) => f.loose)) {
      Object.defineProperty(this.Entity.prototype, field.name, {
        get() {
          return state.resolve(this[inner].values[field.at]);
        },
      });
    }
  }
}

export class State {
  #news = []; // what the callbacks are told when all is applied
  #changed = new Set();
  #unknown = []; // fields with references to what may still come in the same message
  #full = false;

  /** `declaration`: WELCOME's; `player`: the id of one's own player, or null. */
  constructor(declaration, player = null) {
    this.on = new Listeners();
    this.kinds = declaration.kinds.map((kind, index) => new Kind(kind, index, this));
    this.byName = Object.fromEntries(this.kinds.slice(1).map((kind) => [kind.name, kind]));
    this.player = player;
    this.tick = -1;
    this.all = new Map();
    this.recorder = null; // hears of all that happens, for drawing
    this.room = new this.kinds[0].Entity(0, this.kinds[0], this);
    this.all.set(0, this.room);
  }

  get me() {
    return this.all.get(this.player) ?? null;
  }

  /** Apply a STATE or PATCH, whole; then call back. */
  apply(message) {
    const [type, tick, , ...parts] = message;
    this.#full = type === 25;
    this.#news = [];
    this.#changed.clear();
    this.#unknown = [];
    this.recorder?.begin(tick, this.#full);
    this.tick = tick;
    if (this.#full) this.#replace(parts[0] ?? [], parts[1] ?? []);
    else {
      for (const id of parts[1] ?? []) this.#leave(id);
      this.#enter(parts[2] ?? []);
      this.#change(parts[0] ?? []);
      this.#applyHidden(parts[3] ?? []);
    }
    for (const [entity, field] of this.#unknown) {
      entity[field.name] = this.lookUp(entity[field.name]);
    }
    this.#tell();
  }

  /** The entity of a reference, or null. Other values come back as they are. */
  resolve(value) {
    if (!(value instanceof Ref) || value instanceof Entity) return value;
    return this.all.get(value.id) ?? null;
  }

  // -------------------------------------------------------------- the parts of a message

  /** STATE: what is the same stays the same object; the rest leaves and enters. */
  #replace(enters, hidden) {
    const [shows = [], , secret = []] = hidden;
    const all = [...enters, ...secret];
    const come = new Map();
    for (let i = 0; i < all.length; i += 3) come.set(all[i + 1], i);
    for (const [id, entity] of this.all) {
      const { kind, values } = entity[inner];
      const at = come.get(id) ?? all.length;
      // Ids are used again: what has come under one may be another entity.
      const same = kind === this.kinds[all[at]] && kind.row.every(
        (field, i) => !field.fixed || alike(values[field.at], all[at + 2][i] ?? null),
      );
      if (id !== 0 && !same) this.#leave(id);
    }
    const shown = new Set();
    for (let i = 0; i < shows.length; i += 3) shown.add(`${shows[i]} ${shows[i + 1]}`);
    for (const [id, entity] of this.all) {
      for (const field of entity[inner].kind.fields) {
        const kept = entity[inner].kind.row.includes(field) || shown.has(`${id} ${field.at}`);
        if (!kept) this.#set(entity, field, null);
      }
    }
    this.#enter(enters);
    this.#applyHidden(hidden);
  }

  #enter(enters) {
    for (let i = 0; i < enters.length; i += 3) {
      const kind = this.kinds[enters[i]];
      const id = enters[i + 1];
      if (!kind) throw new WireError(`kind ${enters[i]} was not declared`);
      if (this.all.has(id)) {
        if (id !== 0 && !this.#full) throw new WireError(`entity ${id} entered twice`);
        continue;
      }
      const entity = new kind.Entity(id, kind, this);
      this.all.set(id, entity);
      kind.entities.push(entity);
      this.#news.push([this.on, `add ${kind.name}`, entity]);
    }
    for (let i = 0; i < enters.length; i += 3) {
      const entity = this.#entity(enters[i + 1]);
      entity[inner].kind.row.forEach((field, at) => this.#set(entity, field, enters[i + 2][at] ?? null));
      this.recorder?.enter(entity);
    }
  }

  #leave(id) {
    const entity = this.#entity(id);
    const { kind, on } = entity[inner];
    this.all.delete(id);
    kind.entities.splice(kind.entities.indexOf(entity), 1);
    this.#changed.delete(entity);
    this.#news.push([this.on, `remove ${kind.name}`, entity]);
    if (on) this.#news.push([on, "gone", entity]);
    this.recorder?.leave(entity);
  }

  #change(changes) {
    for (let i = 0; i < changes.length;) {
      const entity = this.#entity(changes[i++]);
      const { kind, values } = entity[inner];
      let mask = changes[i++];
      for (let bit = 0; mask > 0; bit++, mask = Math.floor(mask / 2)) {
        if (mask % 2 === 0) continue;
        const field = kind.mutable[bit];
        if (!field || i >= changes.length) throw new WireError(`a change of ${kind.name} is cut`);
        const value = changes[i++];
        if (field.quantised) this.#set(entity, field, values[field.at] + value);
        else if (/^(list|dict)\b/.test(field.type)) this.#edit(entity, field, value);
        else this.#set(entity, field, value);
      }
    }
  }

  #applyHidden([shows = [], gone = [], enters = [], leaves = []]) {
    for (const id of leaves) this.#leave(id);
    this.#enter(enters);
    for (let i = 0; i < shows.length; i += 3) {
      this.#set(...this.#place(shows[i], shows[i + 1]), shows[i + 2]);
    }
    for (let i = 0; i < gone.length; i += 2) this.#set(...this.#place(gone[i], gone[i + 1]), null);
  }

  #place(id, at) {
    const entity = this.#entity(id);
    const field = entity[inner].kind.fields[at];
    if (!field) throw new WireError(`${entity.kind} has no field ${at}`);
    return [entity, field];
  }

  #entity(id) {
    const entity = this.all.get(id);
    if (!entity) throw new WireError(`entity ${id} is not known`);
    return entity;
  }

  // -------------------------------------------------------------- one field

  /** Give a field the value that came for it, whole. */
  #set(entity, field, wire) {
    const { values, on } = entity[inner];
    const { name } = field;
    const before = entity[name];
    if (field.loose) values[field.at] = wire instanceof Ref ? wire : this.lookUp(wire);
    else {
      if (field.fixed || !isOpen(wire)) values[field.at] = wire;
      const value = field.quantised && wire !== null
        ? wire * field.step : this.#known(entity, field, wire);
      if (isOpen(before) && isOpen(value) && Array.isArray(before) === Array.isArray(value)) {
        if (this.#refill(entity, field, before, value)) this.#touch(entity, field, before);
        return;
      }
      entity[name] = value;
      if (on) {
        for (const [key, item] of items(before)) this.#note(entity, "remove", field, item, key);
        for (const [key, item] of items(value)) this.#note(entity, "add", field, item, key);
      }
    }
    if (entity[name] !== before || field.loose) this.#touch(entity, field, before);
  }

  /** Apply the operations on a list or map. */
  #edit(entity, field, operations) {
    const target = entity[field.name];
    for (const [code, key, item] of operations) {
      if (code === 3) {
        this.#set(entity, field, key);
        continue;
      }
      if (!isOpen(target)) throw new WireError(`${entity.kind}.${field.name} has nothing to change`);
      const list = Array.isArray(target);
      // @ts-expect-error: true counts as one
      if (list && !(key >= 0 && key < target.length + (code === 1))) {
        throw new WireError(`${entity.kind}.${field.name} has no item ${key}`);
      }
      const value = this.#known(entity, field, item);
      if (code !== 1 && Object.hasOwn(target, key)) {
        this.#note(entity, "remove", field, target[key], key);
      }
      if (code === 0) put(target, key, value);
      else if (code === 1) target.splice(key, 0, value);
      else if (list) target.splice(key, 1);
      else delete target[key];
      if (code !== 2) this.#note(entity, "add", field, value, key);
    }
    this.#touch(entity, field, target);
  }

  /** Make a list or map like another one, in place; what both begin with stays. Did it change? */
  #refill(entity, field, target, value) {
    let changed = false;
    const list = Array.isArray(target);
    let kept = 0;
    if (list) while (kept < value.length && alike(target[kept], value[kept])) kept++;
    for (const [key, item] of items(target).reverse()) {
      if (list ? key < kept : Object.hasOwn(value, key) && alike(item, value[key])) continue;
      this.#note(entity, "remove", field, item, key);
      if (!list) delete target[key];
      changed = true;
    }
    if (list) target.length = kept;
    for (const [key, item] of items(value)) {
      if (list ? key < kept : Object.hasOwn(target, key)) continue;
      put(target, key, item);
      this.#note(entity, "add", field, item, key);
      changed = true;
    }
    return changed;
  }

  #note(entity, what, field, item, key) {
    const { on } = entity[inner];
    if (on) this.#news.push([on, `${what} ${field.name}`, item, key]);
  }

  /** A field has changed: note whom to tell. */
  #touch(entity, field, before) {
    this.#changed.add(entity);
    this.recorder?.change(entity, field);
    const { on } = entity[inner];
    if (on) this.#news.push([on, `set ${field.name}`, entity, before]);
  }

  // -------------------------------------------------------------- references inside of values

  /** A value with its references as entities; those not known yet are looked up at the end. */
  #known(entity, field, value) {
    if (value === null || typeof value !== "object") return value;
    const missing = {};
    const made = this.lookUp(value, missing);
    if (missing.any) this.#unknown.push([entity, field]);
    return made;
  }

  /**
   * A value in which the references are entities. What is not known becomes null; or stays as it
   * is, and is noted in `missing`.
   */
  lookUp(value, missing = null) {
    if (value instanceof Ref) {
      if (value instanceof Entity) return value;
      const found = this.all.get(value.id);
      if (found || !missing) return found ?? null;
      missing.any = true;
      return value;
    }
    if (!isOpen(value)) return value;
    for (const [key, item] of items(value)) {
      if (item !== null && typeof item === "object") put(value, key, this.lookUp(item, missing));
    }
    return value;
  }

  // -------------------------------------------------------------- callbacks

  #tell() {
    const [news, changed] = [this.#news, [...this.#changed]];
    for (const [on, key, subject, detail] of news) {
      if (!key.startsWith("set ")) on.call(key, this.resolve(subject), detail);
      else if (isOpen(detail) || subject[key.slice(4)] !== detail) {
        on.call(key, subject[key.slice(4)], detail);
      }
    }
    for (const entity of changed) entity[inner].on?.call("change", entity);
    this.on.call("change", this.room);
  }
}

/** A list or map, that has items of its own. */
function isOpen(value) {
  return value !== null && typeof value === "object"
    && !(value instanceof Ref) && !(value instanceof Uint8Array);
}

/**
 * What is in a list or map, with its places or keys.
 * @returns {[any, any][]}
 */
function items(value) {
  if (Array.isArray(value)) return [...value.entries()];
  return isOpen(value) ? Object.entries(value) : [];
}

/** Is a value as it came the same as one that is kept? */
function alike(kept, wire) {
  if (kept === wire) return true;
  if (kept instanceof Ref || wire instanceof Ref) return wire instanceof Ref && kept?.id === wire.id;
  if (!isOpen(kept) || !isOpen(wire)) return false;
  const keys = Object.keys(kept);
  return keys.length === Object.keys(wire).length
    && keys.every((key) => Object.hasOwn(wire, key) && alike(kept[key], wire[key]));
}
