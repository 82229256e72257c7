/** Forms made of declared types: of a message's arguments, an input's fields, a room's settings. */

import { make } from "./dom.js";

/**
 * A field of a form, and how to read it. `row`: `[name, type, low, high, default]`, as games
 * declare them. `read()` throws an Error for what is no value of the type.
 */
export function field([name, type, low, high, usual], onChange = () => {}) {
  const choices = /^Literal\[(.*)\]$/.exec(type);
  let input;
  let read;
  if (choices) {
    const values = JSON.parse(`[${choices[1].replaceAll("'", '"')}]`);
    input = make("select", {}, ...values.map((value) => make("option", { value: JSON.stringify(value) }, `${value}`)));
    if (usual !== null && usual !== undefined) input.value = JSON.stringify(usual);
    read = () => JSON.parse(input.value);
  } else if (type === "bool") {
    input = make("input", { type: "checkbox", checked: usual === true });
    read = () => input.checked;
  } else if (type === "int" || type === "float") {
    if (type === "int" && low !== null && high !== null && high - low <= 4) return pad(name, low, high, usual ?? 0, onChange);
    input = make("input", { type: "number", step: type === "int" ? 1 : "any", value: usual ?? low ?? 0 });
    if (low !== null) Object.assign(input, { min: low, max: high });
    input.title = low === null ? type : `${low} to ${high}`;
    read = () => {
      const value = input.valueAsNumber;
      if (!Number.isFinite(value)) throw new Error(`${name}: a number is wanted`);
      return value;
    };
  } else if (type === "str") {
    input = make("input", { type: "text", value: usual ?? "", maxLength: high ?? 4096, autocomplete: "off" });
    read = () => input.value;
  } else {
    input = make("input", { type: "text", value: usual === null || usual === undefined ? "" : JSON.stringify(usual), placeholder: `${type}, as JSON`, spellcheck: false });
    read = () => {
      try {
        return JSON.parse(input.value);
      } catch {
        throw new Error(`${name}: ${type}, written as JSON, such as [1, 2]`);
      }
    };
  }
  input.setAttribute("aria-label", name);
  input.addEventListener("input", onChange);
  return { name, read, element: make("label.field", {}, make("span", {}, name), input) };
}

/** Few whole numbers: one button each. */
function pad(name, low, high, usual, onChange) {
  let value = usual;
  const buttons = [];
  for (let each = low; each <= high; each++) {
    const button = make("button", { type: "button", ariaPressed: `${each === value}` }, `${each}`);
    button.onclick = () => {
      value = each;
      for (const one of buttons) one.ariaPressed = `${one === button}`;
      onChange();
    };
    buttons.push(button);
  }
  return { name, read: () => value, element: make("div.field", { role: "group", "aria-label": name }, make("span", {}, name), make("div.pad", {}, ...buttons)) };
}
