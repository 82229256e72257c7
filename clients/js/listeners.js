/** Callbacks by key. One that throws is reported, and does not keep the others from their turn. */
export class Listeners {
  #byKey = new Map();

  /** Add one; returns a function that takes it away again. */
  add(key, callback) {
    if (typeof callback !== "function") throw new Error(`${key}: a function is expected`);
    const all = this.#byKey.get(key) ?? new Set();
    this.#byKey.set(key, all.add(callback));
    return () => all.delete(callback);
  }

  call(key, ...args) {
    for (const callback of this.#byKey.get(key) ?? []) attempt(callback, ...args);
  }
}

/** Call a function of the page's; what it throws shows as uncaught, but not here. */
export function attempt(callback, ...args) {
  try {
    callback(...args);
  } catch (error) {
    if (globalThis.reportError) reportError(error);
    else setTimeout(() => { throw error; });
  }
}
