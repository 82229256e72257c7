import { joinOrCreate } from "/tickstorm.js";

const SEND_MS = 50;

const canvas = document.querySelector("canvas");
const paint = canvas.getContext("2d");
const status = document.querySelector("#status");
const people = document.querySelector("#people");
let points = []; // of the stroke under the pointer, not sent yet
let begins = false;
let redrawing = false;

const room = await joinOrCreate("newgame").catch((error) => {
  say(error);
  throw error;
});
room.state.onAdd("ink", ([, hue, flat]) => line(hue, flat));
room.state.onRemove("ink", redraw);
room.on("cleared", (name) => { status.textContent = `${name} has cleared the board.`; });
room.onStatus((_, text) => { if (text) status.textContent = text; });
room.onChange(list);
list();

function say(error) {
  status.textContent = error.message;
}

function line(hue, flat) {
  paint.strokeStyle = `hsl(${hue} 75% 45%)`;
  paint.lineWidth = 6;
  paint.lineCap = paint.lineJoin = "round";
  paint.beginPath();
  paint.moveTo(flat[0], flat[1]);
  for (let i = 0; i < flat.length; i += 2) paint.lineTo(flat[i], flat[i + 1]);
  paint.stroke();
}

function redraw() {
  if (redrawing) return;
  redrawing = true;
  requestAnimationFrame(() => {
    redrawing = false;
    paint.clearRect(0, 0, canvas.width, canvas.height);
    for (const [, hue, flat] of room.state.ink) line(hue, flat);
  });
}

function list() {
  people.replaceChildren(...room.players.map(({ name, hue, connected }) => {
    const row = document.createElement("li");
    row.textContent = name;
    row.style.color = `hsl(${hue} 75% 45%)`;
    row.style.opacity = connected ? 1 : 0.4;
    return row;
  }));
}

/** Where a pointer is, in the board's own units. */
function place({ clientX, clientY }) {
  const { left, top, width } = canvas.getBoundingClientRect();
  const scale = canvas.width / width;
  return [Math.round((clientX - left) * scale), Math.round((clientY - top) * scale)];
}

function flush() {
  if (!points.length) return;
  room.send("draw", begins, points);
  begins = false;
  points = points.slice(-1); // where the next piece goes on
}

let timer = 0;
canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  points = [place(event)];
  begins = true;
  clearInterval(timer);
  timer = setInterval(() => { if (points.length > 1) flush(); }, SEND_MS);
});
canvas.addEventListener("pointermove", (event) => {
  if (!event.buttons || !points.length) return;
  const [before, now] = [points.at(-1), place(event)];
  points.push(now);
  line(room.me.hue, [...before, ...now]); // at once; the server's comes on top of it
});
for (const type of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(type, () => {
    clearInterval(timer);
    if (begins || points.length > 1) flush();
    points = [];
  });
}
document.querySelector("#undo").onclick = () => room.request("undo").catch(say);
document.querySelector("#clear").onclick = () => room.send("clear");
