const hidden = () => document.visibilityState === "hidden";

/** Storage that nothing survives. */
export class MemoryStorage extends Map {
  getItem(key) {
    return this.get(key) ?? null;
  }

  setItem(key, value) {
    this.set(key, value);
  }

  removeItem(key) {
    this.delete(key);
  }
}

/**
 * Where a tab keeps its resume tokens: in memory while its page is shown, in sessionStorage when
 * the page may go. So a reload finds them, and a duplicate of the tab, which gets a copy of
 * sessionStorage, does not take the place of the first.
 */
class TabStorage extends MemoryStorage {
  constructor(below) {
    super();
    this.below = below;
    const save = () => this.forEach((value, key) => below.setItem(key, value));
    const take = () => this.forEach((_, key) => below.removeItem(key));
    addEventListener("pagehide", save);
    addEventListener("pageshow", take);
    document.addEventListener("visibilitychange", () => (hidden() ? save() : take()));
  }

  getItem(key) {
    const value = this.below.getItem(key);
    if (value !== null && !this.has(key)) {
      this.set(key, value);
      this.below.removeItem(key);
    }
    return super.getItem(key);
  }

  setItem(key, value) {
    super.setItem(key, value);
    if (hidden()) this.below.setItem(key, value);
  }

  removeItem(key) {
    super.removeItem(key);
    this.below.removeItem(key);
  }
}

let ofTab = null;

/** The storage of this tab, or of this process where there is none. */
export function tabStorage() {
  try {
    ofTab ??= new TabStorage(globalThis.sessionStorage);
    ofTab.getItem("tickstorm");
  } catch {
    ofTab = new MemoryStorage(); // not a browser, or one that keeps nothing
  }
  return ofTab;
}
