/** Dialogs for what can't be taken back, and a line for what was done. */

import { act } from "./api.js";
import { h } from "./dom.js";

export function toast(message, tone = "good") {
  const line = h(`div.toast.${tone}`, {}, message);
  document.querySelector("#toasts").append(line);
  setTimeout(() => line.remove(), 6000);
}

/** Do it, and say what came of it. Resolves to whether it was done. */
export async function attempt(name, about) {
  try {
    toast(await act(name, about));
    return true;
  } catch (error) {
    toast(error.message, "bad");
    return false;
  }
}

/**
 * A dialog with fields `[{name, label, value?, type?, options?, hint?}]`. Resolves to their values,
 * or null if it was left.
 */
export function ask({ title, about = "", fields = [], go = "OK", bad = false }) {
  return new Promise((resolve) => {
    const inputs = fields.map((field) => [field, input(field)]);
    const form = h("form", {},
      h("h2", {}, title),
      about ? h("p", {}, about) : null,
      inputs.map(([field, element]) => h("label", {},
        h("span", {}, field.label), element, field.hint ? h("small", {}, field.hint) : null)),
      h("div.buttons", {},
        h("button.plain", { type: "button", onclick: () => dialog.close("") }, "Cancel"),
        h(bad ? "button.bad" : "button.go", { type: "submit" }, go)));
    const dialog = h("dialog", {}, form);
    dialog.onclose = () => {
      dialog.remove();
      const left = dialog.returnValue !== "go";
      resolve(left ? null : Object.fromEntries(inputs.map(([f, e]) => [f.name, e.value.trim()])));
    };
    form.onsubmit = (event) => { // by hand, for the policy lets no form be sent anywhere
      event.preventDefault();
      dialog.close("go");
    };
    dialog.onclick = (event) => { // a handler that returns false would prevent what follows
      if (event.target === dialog) dialog.close("");
    };
    document.body.append(dialog);
    dialog.showModal();
    inputs[0]?.[1].focus();
    inputs[0]?.[1].select?.();
  });
}

function input({ name, value = "", type = "text", options, required = false, max = 200 }) {
  if (options) {
    return h("select", { name }, options.map(([id, label]) => h("option", { value: id }, label)));
  }
  const about = { name, type, value, required, maxLength: max, autocomplete: "off" };
  return h("input", type === "number" ? { ...about, step: "any" } : about);
}

export const HOURS = [
  ["1", "an hour"], ["24", "a day"], ["168", "a week"], ["720", "30 days"], ["8760", "a year"],
];
