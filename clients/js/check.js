/** What a declared type allows, so that a mistake shows where it was made. */

import { Ref } from "./msgpack.js";

const whole = (value) => Number.isInteger(value);
const list = Array.isArray;
const map = (value) => value !== null && typeof value === "object" && !list(value)
  && !(value instanceof Ref) && !(value instanceof Uint8Array);

/** Type: is it that, and how it is called. */
const TYPES = {
  int: [whole, "a whole number"],
  float: [Number.isFinite, "a number"],
  bool: [(value) => typeof value === "boolean", "true or false"],
  str: [(value) => typeof value === "string", "a text"],
  bytes: [(value) => value instanceof Uint8Array, "a Uint8Array"],
  list: [list, "an array"],
  tuple: [list, "an array"],
  dict: [map, "an object"],
  ref: [(value) => value instanceof Ref, "an entity of this room"],
  None: [(value) => value === null, "null"],
};

/**
 * Throw an Error that begins with `where` unless `value` is of `type`, as declared: a name, with
 * the types of its items as in `list[int]`, or several as in `int | None`. `low` and `high` bound
 * a number, or the length of a text.
 */
export function check(where, value, type, low = null, high = null) {
  const allowed = refusal(value, type, low, high);
  if (allowed) throw new Error(`${where}: ${show(value)} is not allowed, but ${allowed}`);
}

/** What would be allowed; empty if `value` is. */
function refusal(value, type, low, high) {
  const several = split(type, "|");
  if (several.length > 1) {
    const all = several.map((one) => refusal(value, one, low, high));
    return all.every(Boolean) ? all.join(" or ") : "";
  }
  const choice = /^Literal\[(.*)\]$/s.exec(type);
  if (choice) {
    const named = split(choice[1], ",").map((one) => one.replace(/^(['"])(.*)\1$/s, "$2"));
    return named.includes(String(value)) ? "" : `one of ${named.join(", ")}`;
  }
  const [, name, inside] = /^(\w+)(?:\[(.*)\])?$/s.exec(type.trim()) ?? [];
  if (!Object.hasOwn(TYPES, name ?? "")) return ""; // the server knows better
  const [is, called] = TYPES[name];
  if (!is(value)) return called + bounds(name, low, high);
  if (name === "str" ? high !== null && [...value].length > high
    : (low !== null && value < low) || (high !== null && value > high)) {
    return called + bounds(name, low, high);
  }
  if (inside) return itemsRefused(value, name, split(inside, ","), called);
  return "";
}

function itemsRefused(value, name, types, called) {
  const several = name === "tuple" && types[1] !== "...";
  if (several && value.length !== types.length) return `${called} of ${types.length}`;
  for (const [key, item] of Object.entries(value)) {
    const type = several ? types[key] : name === "dict" ? types[1] : types[0];
    const allowed = type ? refusal(item, type, null, null) : "";
    if (allowed) return `${called} with ${allowed} at ${key}`;
  }
  return "";
}

function bounds(name, low, high) {
  if (name === "str") return high === null ? "" : ` of at most ${high} characters`;
  return (low === null ? "" : ` from ${low}`) + (high === null ? "" : ` to ${high}`);
}

/** Parts of `text` between separators that stand in no brackets. */
function split(text, separator) {
  const parts = [""];
  let depth = 0;
  for (const letter of text) {
    if (letter === "[") depth++;
    if (letter === "]") depth--;
    if (letter === separator && depth === 0) parts.push("");
    else parts[parts.length - 1] += letter;
  }
  return parts.map((part) => part.trim());
}

function show(value) {
  if (value instanceof Ref) return `entity ${value.id}`;
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
