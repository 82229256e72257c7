/**
 * The server's side. The token is kept for this tab alone and goes out as a header, never as a
 * cookie: no other page can act in its user's name.
 */

const KEY = "tickstorm.admin";

/** From the link that `tickstorm run` prints (`/admin/#token=…`), else from before a reload. */
export function knownToken() {
  const given = /^#token=([^&]+)/.exec(location.hash);
  if (given) {
    sessionStorage.setItem(KEY, decodeURIComponent(given[1]));
    history.replaceState(null, "", location.pathname); // so that no screenshot has it
  }
  return sessionStorage.getItem(KEY) ?? "";
}

export function keepToken(token) {
  if (token) sessionStorage.setItem(KEY, token);
  else sessionStorage.removeItem(KEY);
}

export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

async function ask(path, options = {}) {
  const headers = { ...options.headers, Authorization: `Bearer ${sessionStorage.getItem(KEY) ?? ""}` };
  let response;
  try {
    response = await fetch(`api/${path}`, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("The server does not answer.", 0);
  }
  if (response.ok) return response;
  const about = await response.json().catch(() => ({}));
  throw new Refused(about.error ?? response.statusText, response.status);
}

export const get = async (path) => (await ask(path)).json();

/** Do something; resolves to what the server says of it. */
export async function act(name, about = {}) {
  const response = await ask("act", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ act: name, ...about }),
  });
  return (await response.json()).done;
}

/** A file of the server's, saved under a name. */
export async function save(path, name) {
  const blob = await (await ask(path)).blob();
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/**
 * Server-sent events, read by hand, for EventSource can send no header. `on(event, data)` is
 * called for each, `status(text)` when the line is lost and found. Returns a function that ends it.
 */
export function live(query, on, status) {
  const ending = new AbortController();
  (async () => {
    for (let wait = 500; !ending.signal.aborted; wait = Math.min(2 * wait, 8000)) {
      try {
        const response = await ask(`live?${new URLSearchParams(query)}`, { signal: ending.signal });
        status("");
        const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
        let rest = "";
        for (;;) {
          const { done, value } = await reader.read();
          if (done) break;
          wait = 500;
          const parts = (rest + value).split("\n\n");
          rest = parts.pop();
          for (const part of parts) {
            const [, name, data] = /^event: (\w+)\ndata: (.*)$/s.exec(part) ?? [];
            if (name && !ending.signal.aborted) on(name, JSON.parse(data));
          }
        }
        if (!ending.signal.aborted) status("The line to the server ended; connecting again…");
      } catch (error) {
        if (ending.signal.aborted) return;
        if (error.status === 401) return void status("", error);
        status(error.status ? error.message : "The server does not answer; trying again…");
      }
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  })();
  return () => ending.abort();
}
