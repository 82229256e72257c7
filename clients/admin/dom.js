/** Elements without markup: the policy of this page lets no text become HTML. */

const SVG = "http://www.w3.org/2000/svg";

/** `h("button.small.bad", {onclick}, "Kick")`: an element with classes, properties, children. */
export function h(what, about = {}, ...children) {
  const [tag, ...classes] = what.split(".");
  const element = document.createElement(tag || "div");
  if (classes.length) element.classList.add(...classes);
  for (const [name, value] of Object.entries(about)) {
    if (value === undefined || value === null || value === false) continue;
    if (name in element && name !== "list") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export function svg(tag, about = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(about)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Set text only where it changes: a selection in it lives on. */
export function text(element, value) {
  const now = String(value);
  if (element.textContent !== now) element.textContent = now;
}

/**
 * Keep `parent`'s children in step with `rows`: `make(row)` returns an element with a method
 * `show(row)`; what stays is never made anew, so that focus and hover stay too.
 */
export function keyed(parent, rows, key, make) {
  const known = parent.keyed ??= new Map();
  const seen = new Set();
  let at = parent.firstElementChild;
  for (const row of rows) {
    const id = key(row);
    seen.add(id);
    let element = known.get(id);
    if (!element) known.set(id, element = make(row));
    element.show(row);
    if (element === at) at = at.nextElementSibling;
    else parent.insertBefore(element, at);
  }
  for (const [id, element] of known) {
    if (!seen.has(id)) {
      element.remove();
      known.delete(id);
    }
  }
}

const UNITS = ["B", "kB", "MB", "GB", "TB"];

export function bytes(count) {
  let at = 0;
  let value = count ?? 0;
  while (value >= 1000 && at < UNITS.length - 1) {
    value /= 1000;
    at += 1;
  }
  return `${at && value < 100 ? value.toFixed(1) : Math.round(value)} ${UNITS[at]}`;
}

export function number(value) {
  return (value ?? 0).toLocaleString("en-US", { maximumFractionDigits: 0 }).replaceAll(",", " ");
}

export function percent(share) {
  const value = 100 * (share ?? 0);
  return `${value >= 10 ? value.toFixed(0) : value.toFixed(value >= 1 ? 1 : 2)} %`;
}

export function ms(value) {
  return `${value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2)} ms`;
}

export function span(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 90) return `${s} s`;
  if (s < 5400) return `${Math.round(s / 60)} min`;
  if (s < 129600) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86400)} days`;
}

export function clock(unix) {
  return new Date(unix * 1000).toLocaleTimeString("en-GB");
}

export function day(unix) {
  return new Date(unix * 1000).toLocaleString("en-GB", {
    day: "2-digit", month: "short", hour: "2-digit", minute: "2-digit",
  });
}
