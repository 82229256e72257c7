/** Under `tickstorm run --dev`: the traceback of a rule that failed, over the page. */
export function show(text) {
  console.error(text);
  if (!globalThis.document) return;
  const box = document.createElement("pre");
  box.textContent = `${text}\n\n(click to close)`;
  box.style.cssText = "position:fixed;inset:5vh 5vw auto;max-height:80vh;overflow:auto;z-index:9999;"
    + "margin:0;padding:1.2em;border-radius:8px;background:#2b1114;color:#ffd7d7;"
    + "font:13px/1.5 ui-monospace,monospace;white-space:pre-wrap;box-shadow:0 8px 40px #000a";
  box.onclick = () => box.remove();
  document.body.append(box);
}
