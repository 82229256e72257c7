/** Elements, and what the server says, in few words. */

/** `make("button.small", {onclick}, "text", child, …)`; null children are left out. */
export function make(what, properties = {}, ...children) {
  const [name, ...classes] = what.split(".");
  const element = document.createElement(name);
  if (classes.length) element.classList.add(...classes);
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes("-") || key === "for" || key === "role") element.setAttribute(key, value);
    else element[key] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Ask the playground's server. Throws an Error that says why not. */
export async function ask(path, query = {}, options = {}) {
  const url = new URL(path, new URL("/playground/", location.href));
  for (const [key, value] of Object.entries(query)) url.searchParams.set(key, value);
  let response;
  try {
    response = await fetch(url, options);
  } catch {
    throw new Error("the server does not answer");
  }
  const answer = await response.json().catch(() => ({ message: `the server says ${response.status}` }));
  if (!response.ok) throw new Error(answer.message);
  return answer;
}

/** A value as one line. Entities are `{"$": id}`; `named(id)` says their names. */
export function show(value, named = (id) => `#${id}`) {
  if (value === null || value === undefined) return "none";
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "number") return Number.isInteger(value) ? `${value}` : `${+value.toFixed(3)}`;
  if (typeof value !== "object") return `${value}`;
  if (Array.isArray(value)) return `[${value.map((item) => show(item, named)).join(", ")}]`;
  if (Object.keys(value).length === 1 && "$" in value) return named(value.$);
  const rows = Object.entries(value).map(([key, item]) => `${key}: ${show(item, named)}`);
  return `{${rows.join(", ")}}`;
}

/** "12 B", "3.4 kB" */
export function bytes(count) {
  return count < 1000 ? `${count} B` : `${(count / 1000).toFixed(1)} kB`;
}

/** A colour of the palette for each of few things, always the same. */
export function hue(id) {
  let hash = 7;
  for (const letter of `${id}`) hash = (hash * 31 + letter.charCodeAt(0)) >>> 0;
  return `var(--player-${hash % 8})`;
}
