/** What a declared type allows, so that a mistake shows where it was made. */

import { Ref } from "./msgpack.js";

const any = [(value) => value !== undefined, "a value"];
const list = [Array.isArray, "an array"];

/** Type: is it that, and how it is called. */
const TYPES = {
  int: [Number.isInteger, "a whole number"],
  float: [Number.isFinite, "a number"],
  bool: [(value) => value === !!value, "true or false"],
  str: [(value) => value === `${value}`, "a text"],
  bytes: [(value) => value instanceof Uint8Array, "bytes"],
  list,
  tuple: list,
  dict: [(value) => value?.constructor === Object, "an object"],
  None: [(value) => value === null, "null"],
  any,
  Any: any,
};

/**
 * The values of an input or a message's arguments, with the defaults of those that were left out.
 * Throws an Error unless they are as declared: `[[name, type, low, high, default], …]`.
 */
export function taken(name, args, declared) {
  if (args.length > declared.length) {
    throw new Error(`${name} takes ${declared.length} arguments, not ${args.length}`);
  }
  return declared.map(([field, type, low, high, usual], at) => {
    const { [at]: value = usual } = args;
    check(`${name} ${field}`, value, type, low, high);
    return value;
  });
}

const entity = (name) => [
  (value) => value instanceof Ref || Number.isInteger(value), `a ${name.toLowerCase()} or its id`,
];

/**
 * Throw an Error that begins with `where` unless `value` is of `type`, as declared: a name, with
 * the types of its items as in `list[int]`, or several as in `int | None`. `low` and `high` bound
 * a number, or the length of a text.
 */
function check(where, value, type, low = null, high = null) {
  const allowed = refusal(value, type, low, high);
  if (!allowed) return;
  const shown = value instanceof Ref ? "an entity" : `${JSON.stringify(value)}`.slice(0, 60);
  throw new Error(`${where}: ${shown} is not allowed, but ${allowed}`);
}

/** What would be allowed; empty if `value` is. */
function refusal(value, type, low, high) {
  const several = split(type, "|");
  if (several.length > 1) {
    const all = several.map((one) => refusal(value, one, low, high));
    return all.every(Boolean) ? all.join(" or ") : "";
  }
  const [, name, inside] = /^(\w+)(?:\[(.*)\])?$/s.exec(type) ?? [];
  const types = split(inside ?? "", ",");
  if (name === "Literal") {
    return types.includes(JSON.stringify(value)?.replaceAll('"', "'")) ? "" : `one of ${inside}`;
  }
  const [is, called] = TYPES[name] ?? (inside ? any : entity(name));
  const text = name === "str";
  const size = text ? [...`${value}`].length : value;
  if (!is(value) || (high !== null && (size > high || size < low))) {
    return called + (high === null ? "" : text ? ` of at most ${high} characters` : ` from ${low} to ${high}`);
  }
  const fixed = name === "tuple" && types[1] !== "...";
  if (fixed && inside && value.length !== types.length) return `${called} of ${types.length}`;
  for (const [key, item] of inside ? Object.entries(value) : []) {
    const allowed = refusal(item, fixed ? types[key] : name === "dict" ? types[1] : types[0], null, null);
    if (allowed) return `${called} with ${allowed} at ${key}`;
  }
  return "";
}

/** An entry of a table by name; `complaint` begins the error where there is none. */
export function find(table, name, complaint) {
  if (Object.hasOwn(table, name)) return table[name];
  throw new Error(`${complaint} ${name}, but ${Object.keys(table).join(", ")}`);
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
