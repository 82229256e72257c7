import { $, ask, colourOf, enter, make, talk } from "/shared/page.js";

const [WIDTH, HEIGHT] = [1250, 1000];
const room = await enter("board");
const canvas = Object.assign($("canvas"), { width: WIDTH, height: HEIGHT });
const pen = canvas.getContext("2d");
const pens = [...document.querySelectorAll(".pen")];
const at = ({ offsetX: x, offsetY: y }) => [
  Math.round((x / canvas.clientWidth) * WIDTH), Math.round((y / canvas.clientHeight) * HEIGHT),
];
let [colour, fresh, points, here, due] = [0, false, [], null, 0];

function draw([, ink, line]) {
  Object.assign(pen, { lineWidth: 8, lineCap: "round", lineJoin: "round" });
  pen.strokeStyle = getComputedStyle(canvas).getPropertyValue(`--ink-${ink}`);
  pen.stroke(new Path2D(`M${line.join("L")}`));
}

function redraw() {
  cancelAnimationFrame(due);
  due = requestAnimationFrame(() => {
    pen.clearRect(0, 0, WIDTH, HEIGHT);
    room.state.parts.forEach(draw);
  });
}
room.state.onAdd("parts", draw);
room.state.onRemove("parts", redraw);
matchMedia("(prefers-color-scheme: dark)").onchange = redraw;

canvas.onpointerdown = (event) => {
  canvas.setPointerCapture(event.pointerId);
  [fresh, points] = [true, [at(event), at(event)]]; // twice: a dot is seen at once
  draw([0, colour, points]);
};
canvas.onpointermove = (event) => {
  here = at(event);
  if (!event.buttons) return;
  points.push(...event.getCoalescedEvents().map(at));
  draw([0, colour, points]);
};
setInterval(() => {
  if (points.length > 1) room.send("draw", fresh, points, colour);
  if (points.length > 1) [fresh, points] = [false, points.slice(-1)];
  if (here) here = void room.send("point", ...here);
}, 40);

room.state.onAdd("artist", (artist) => {
  if (artist === room.me) return;
  const flag = make("span", { textContent: artist.name, hidden: true });
  flag.style.setProperty("--colour", colourOf(artist));
  artist.listen("at", ([x, y]) => {
    Object.assign(flag.style, { left: `${(x / WIDTH) * 100}%`, top: `${(y / HEIGHT) * 100}%` });
    flag.hidden = !x && !y;
  });
  artist.onGone(() => flag.remove());
  $("#pointers").append(flag);
});

function choose(chosen) {
  colour = pens.indexOf(chosen);
  for (const one of pens) one.ariaPressed = String(one === chosen);
}
for (const one of pens) one.onclick = () => choose(one);
choose(pens[0]);
$("#undo").onclick = () => ask(room, "undo");
addEventListener("keydown", (event) => event.ctrlKey && event.key === "z" && ask(room, "undo"));
talk(room, "said", ([name, words]) => [make("b", { textContent: name }), words]);
