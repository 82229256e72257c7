/** The author's file, with the lines that wrote something in this tick. */

import { make } from "./dom.js";

let shown = null; // the text whose lines are there already

export function showSource(box, text, wrote, marked, jump) {
  if (shown?.box !== box || shown.text !== text) {
    shown = { box, text };
    box.replaceChildren(...text.split("\n").map((line, at) => make("div.code", {},
      make("span.number", {}, `${at + 1}`), make("code", {}, line || " "))));
  }
  [...box.children].forEach((row, at) => {
    row.classList.toggle("wrote", wrote.has(at + 1));
    row.classList.toggle("marked", at + 1 === marked);
  });
  const to = jump ? marked : Math.min(...wrote);
  const row = Number.isFinite(to) ? box.children[to - 1] : null;
  if (!row) return;
  const { scrollTop, clientHeight } = box;
  const top = row.offsetTop - box.offsetTop;
  if (jump || top < scrollTop || top > scrollTop + clientHeight - 40) box.scrollTop = top - clientHeight / 3;
  if (jump) box.scrollIntoView({ block: "nearest", behavior: "smooth" });
}
