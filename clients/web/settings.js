/** What a player may choose; kept in localStorage, overridden by the page's URL. */

const KEY = "tickstorm.settings";

export const DEFAULTS = Object.freeze({
  name: "",
  volume: 0.6,
  muted: false,
  calm: false, // no screen shake, no flashes
  particles: true,
  quality: "auto", // auto, low, medium, high
  safeColours: false, // own ship blue, all others orange
  net: "", // name of a bad-network preset, or nothing
});

const FIRST = [
  "Brave",
  "Cosmic",
  "Dizzy",
  "Electric",
  "Fuzzy",
  "Gentle",
  "Hasty",
  "Lucky",
  "Mellow",
  "Neon",
  "Plucky",
  "Quantum",
  "Rusty",
  "Sneaky",
  "Turbo",
  "Velvet",
  "Wobbly",
  "Zesty",
];
const SECOND = [
  "Badger",
  "Comet",
  "Dumpling",
  "Falcon",
  "Gecko",
  "Heron",
  "Lobster",
  "Magpie",
  "Noodle",
  "Otter",
  "Pickle",
  "Quokka",
  "Raven",
  "Sprocket",
  "Teapot",
  "Walrus",
  "Yak",
];

/** A playful name. `random` gives numbers in [0, 1). */
export function inventName(random = Math.random) {
  const pick = (list) => list[Math.floor(random() * list.length)];
  return `${pick(FIRST)} ${pick(SECOND)}`;
}

/**
 * The named Web Storage, or one that forgets where the browser refuses it.
 * @param {"localStorage" | "sessionStorage"} kind
 */
export function openStorage(kind) {
  try {
    const storage = window[kind];
    storage.getItem(KEY);
    return storage;
  } catch {
    const values = new Map();
    return {
      getItem: (key) => values.get(key) ?? null,
      setItem: (key, value) => void values.set(key, String(value)),
      removeItem: (key) => void values.delete(key),
    };
  }
}

/** Only known settings of the right type; whatever else was stored is dropped. */
export function restore(text, defaults) {
  const values = { ...defaults };
  let stored = null;
  try {
    stored = JSON.parse(text);
  } catch {
    /* unreadable: the defaults serve */
  }
  for (const key of Object.keys(defaults)) {
    if (stored && typeof stored[key] === typeof defaults[key]) values[key] = stored[key];
  }
  return values;
}

export class Settings {
  /** `query`: URLSearchParams of the page; what it says holds for this visit only. */
  constructor(storage, query) {
    this.storage = storage;
    this.listeners = [];
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.saved = restore(storage.getItem(KEY), { ...DEFAULTS, calm });
    this.values = { ...this.saved };
    if (!this.values.name) this.values.name = inventName();
    if (query.has("name")) this.values.name = query.get("name").slice(0, 20);
    if (query.has("net")) this.values.net = query.get("net");
    if (query.has("mute")) this.values.muted = true;
  }

  get(key) {
    return this.values[key];
  }

  set(key, value) {
    this.values[key] = value;
    this.saved[key] = value;
    try {
      this.storage.setItem(KEY, JSON.stringify(this.saved));
    } catch {
      /* storage full or refused: the choice holds for this visit */
    }
    for (const listener of this.listeners) listener(key, value);
  }

  /** Call `listener(key, value)` after every change. */
  onChange(listener) {
    this.listeners.push(listener);
  }

  /** Bind a form's `data-setting` controls both ways. */
  bind(form) {
    const controls = [...form.querySelectorAll("[data-setting]")];
    const show = (control) => {
      const value = this.values[control.dataset.setting];
      if (control.type === "checkbox") control.checked = value;
      else control.value = value;
    };
    for (const control of controls) {
      show(control);
      control.addEventListener("input", () => {
        const value =
          control.type === "checkbox"
            ? control.checked
            : control.type === "range"
              ? Number(control.value)
              : control.value;
        this.set(control.dataset.setting, value);
      });
    }
    this.onChange((key) => controls.filter((c) => c.dataset.setting === key).forEach(show));
  }
}
