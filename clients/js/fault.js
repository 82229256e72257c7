/**
 * What the server says beside the game: `show(traceback)` of a rule that failed under
 * `tickstorm run --dev`, over the page; `show(0, line)` of whoever runs the server, for a while.
 * Notices with another code come before a close and are told by that.
 */
export function show(what, line) {
  const fault = typeof what === "string";
  if (!fault && what !== 0) return;
  const text = fault ? what : line;
  console[fault ? "error" : "info"](text);
  if (!globalThis.document) return;
  const box = document.createElement(fault ? "pre" : "div");
  box.textContent = fault ? `${text}\n\n(click to close)` : text;
  box.className = fault ? "tickstorm-fault" : "tickstorm-notice";
  box.style.cssText = fault
    ? "position:fixed;inset:5vh 5vw auto;max-height:80vh;overflow:auto;z-index:9999;"
      + "margin:0;padding:1.2em;border-radius:8px;background:#2b1114;color:#ffd7d7;"
      + "font:13px/1.5 ui-monospace,monospace;white-space:pre-wrap;box-shadow:0 8px 40px #000a"
    : "position:fixed;top:12px;left:50%;transform:translateX(-50%);max-width:min(90vw,48em);"
      + "z-index:9999;padding:.7em 1.2em;border-radius:8px;background:#101a2bee;color:#eaf2ff;"
      + "font:600 15px/1.4 system-ui,sans-serif;box-shadow:0 6px 30px #0008;cursor:pointer";
  box.setAttribute("role", fault ? "alert" : "status");
  box.onclick = () => box.remove();
  if (!fault) setTimeout(() => box.remove(), NOTICE_MS);
  document.body.append(box);
}

const NOTICE_MS = 12_000;
