/**
 * Where a tab keeps its resume tokens: in memory while its page is shown, in sessionStorage when
 * the page may go. So a reload finds them, and a duplicate of the tab, which gets a copy of
 * sessionStorage, does not take the place of the first.
 */
class TabStorage {
  #kept = new Map();

  constructor(below) {
    this.below = below;
    const save = () => this.#kept.forEach((value, key) => below.setItem(key, value));
    const hide = () => document.visibilityState === "hidden" && save();
    addEventListener("pagehide", save);
    document.addEventListener("visibilitychange", hide);
    const show = () => this.#kept.forEach((_, key) => below.removeItem(key));
    addEventListener("pageshow", show);
    document.addEventListener("visibilitychange", () => document.visibilityState === "hidden" || show());
  }

  getItem(key) {
    if (!this.#kept.has(key)) {
      const value = this.below.getItem(key);
      if (value === null) return null;
      this.#kept.set(key, value);
      this.below.removeItem(key);
    }
    return this.#kept.get(key);
  }

  setItem(key, value) {
    this.#kept.set(key, value);
    if (document.visibilityState === "hidden") this.below.setItem(key, value);
  }

  removeItem(key) {
    this.#kept.delete(key);
    this.below.removeItem(key);
  }
}

/** Storage that nothing survives. */
export class MemoryStorage {
  #kept = new Map();

  getItem(key) {
    return this.#kept.get(key) ?? null;
  }

  setItem(key, value) {
    this.#kept.set(key, value);
  }

  removeItem(key) {
    this.#kept.delete(key);
  }
}

let ofTab = null;

/** The storage of this tab, or of this process where there is none. */
export function tabStorage() {
  if (ofTab) return ofTab;
  try {
    ofTab = new TabStorage(globalThis.sessionStorage);
    ofTab.getItem("tickstorm");
  } catch {
    ofTab = new MemoryStorage(); // not a browser, or one that keeps nothing
  }
  return ofTab;
}
