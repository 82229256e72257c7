import { $, ask, colourOf, enter, make, talk } from "/shared/page.js";
import { Paper } from "/shared/paper.js";

const room = await enter("board");
const pens = [...document.querySelectorAll(".pen")];
const paper = new Paper($("canvas"), {
  onPart: (fresh, points) => room.send("draw", fresh, points, paper.ink),
  onPoint: (x, y) => room.send("point", x, y),
  parts: () => room.state.parts.map(([, ink, points]) => [ink, points]),
});
room.state.onAdd("parts", ([, ink, points]) => paper.draw(ink, points));
room.state.onRemove("parts", () => paper.redraw());

room.state.onAdd("artist", (artist) => {
  if (artist === room.me) return;
  const flag = make("span", { textContent: artist.name });
  flag.style.setProperty("--colour", colourOf(artist));
  $("#pointers").append(flag);
  artist.listen("at", ([x, y]) => paper.point(flag, x, y));
  artist.onGone(() => flag.remove());
});

function choose(chosen) {
  paper.ink = pens.indexOf(chosen);
  for (const pen of pens) pen.ariaPressed = String(pen === chosen);
}
for (const pen of pens) pen.addEventListener("click", () => choose(pen));
choose(pens[0]);
$("#undo").onclick = () => ask(room, "undo");
addEventListener("keydown", (event) => event.ctrlKey && event.key === "z" && ask(room, "undo"));
talk(room, "said", ([name, words]) => [make("b", { textContent: name }), words]);
