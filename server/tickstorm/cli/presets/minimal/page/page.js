import { joinOrCreate } from "/tickstorm.js";

const WIDTH = 800;
const HEIGHT = 500;
const SPEED = 260;

const canvas = document.querySelector("canvas");
const paint = canvas.getContext("2d");
const status = document.querySelector("#status");
const keys = new Set();
let pointer = null; // where the finger or mouse is held

const room = await joinOrCreate("newgame").catch((error) => {
  status.textContent = `No way in: ${error.message}`;
  throw error;
});
room.onStatus((_, text) => { if (text) status.textContent = text; });
// What the server's `step` does, at once for oneself.
room.predict("dot", (me, { dx, dy }, dt) => {
  me.x = Math.min(Math.max(me.x + dx * SPEED * dt, 0), WIDTH);
  me.y = Math.min(Math.max(me.y + dy * SPEED * dt, 0), HEIGHT);
});

function wanted(own) {
  const held = (...names) => names.some((name) => keys.has(name));
  if (pointer && own) {
    const toward = (far) => (Math.abs(far) > 8 ? Math.sign(far) : 0);
    return { dx: toward(pointer.x - own.x), dy: toward(pointer.y - own.y) };
  }
  return {
    dx: held("ArrowRight", "KeyD") - held("ArrowLeft", "KeyA"),
    dy: held("ArrowDown", "KeyS") - held("ArrowUp", "KeyW"),
  };
}

function frame(now) {
  const dots = room.sample(now).dot;
  room.input = wanted(dots.find((dot) => dot.mine));
  paint.clearRect(0, 0, WIDTH, HEIGHT);
  for (const { x, y, hue, name, mine, connected } of dots) {
    paint.globalAlpha = connected ? 1 : 0.3;
    paint.fillStyle = `hsl(${hue} 80% 60%)`;
    paint.beginPath();
    paint.arc(x, y, 14, 0, 2 * Math.PI);
    paint.fill();
    paint.fillStyle = "#fffc";
    paint.textAlign = "center";
    paint.font = `${mine ? "bold " : ""}14px system-ui`;
    paint.fillText(name, x, y - 22);
  }
  requestAnimationFrame(frame);
}
requestAnimationFrame(frame);

addEventListener("keydown", (event) => keys.add(event.code));
addEventListener("keyup", (event) => keys.delete(event.code));
addEventListener("blur", () => keys.clear());
for (const type of ["pointerdown", "pointermove"]) {
  canvas.addEventListener(type, (event) => {
    const { left, top, width } = canvas.getBoundingClientRect();
    const scale = WIDTH / width;
    const at = { x: (event.clientX - left) * scale, y: (event.clientY - top) * scale };
    pointer = event.buttons ? at : null;
  });
}
for (const type of ["pointerup", "pointercancel"]) addEventListener(type, () => { pointer = null; });
