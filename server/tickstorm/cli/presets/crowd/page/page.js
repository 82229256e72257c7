import { joinOrCreate } from "/tickstorm.js";

const SIZE = 1024;

const canvas = document.querySelector("canvas");
const paint = canvas.getContext("2d");
const status = document.querySelector("#status");
const keys = new Set();
let pointer = null; // where the finger or mouse is held

const room = await joinOrCreate("newgame").catch((error) => {
  status.textContent = `No way in: ${error.message}`;
  throw error;
});
const help = status.textContent;
room.onStatus((_, text) => { status.textContent = text || help; });

function wanted({ x, y, mine }) {
  const held = (...names) => names.some((name) => keys.has(name));
  if (pointer && mine >= 0) {
    const toward = (far) => (Math.abs(far) > 8 ? Math.sign(far) : 0);
    return { dx: toward(pointer.x - x[mine]), dy: toward(pointer.y - y[mine]) };
  }
  return {
    dx: held("ArrowRight", "KeyD") - held("ArrowLeft", "KeyA"),
    dy: held("ArrowDown", "KeyS") - held("ArrowUp", "KeyW"),
  };
}

function disc(x, y, size, hue, shade) {
  paint.fillStyle = `hsl(${(hue * 360) / 256} 85% 62% / ${shade})`;
  paint.beginPath();
  paint.arc(x, y, size, 0, 2 * Math.PI);
  paint.fill();
}

function frame(now) {
  // A kind comes as columns: rows 0 to count, an array for each of x, y, hue, …
  const dot = room.columns("dot", now);
  const spark = room.columns("spark", now);
  room.input = wanted(dot);
  paint.clearRect(0, 0, SIZE, SIZE);
  for (let i = 0; i < spark.count; i++) disc(spark.x[i], spark.y[i], 5, spark.hue[i], 0.45);
  paint.textAlign = "center";
  for (let i = 0; i < dot.count; i++) {
    disc(dot.x[i], dot.y[i], i === dot.mine ? 16 : 13, dot.hue[i], 1);
    paint.font = `${i === dot.mine ? "bold " : ""}16px system-ui`;
    paint.fillStyle = "#fffc";
    paint.fillText(dot.name[i], dot.x[i], dot.y[i] - 24);
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
    const scale = SIZE / width;
    const at = { x: (event.clientX - left) * scale, y: (event.clientY - top) * scale };
    pointer = event.buttons ? at : null;
  });
}
for (const type of ["pointerup", "pointercancel"]) addEventListener(type, () => { pointer = null; });
