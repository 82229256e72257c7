import { $, enter, make } from "/shared/page.js";

const [SIZE, HUES] = [1024, 64];
const room = await enter("crowd");
const canvas = $("canvas");
const pen = canvas.getContext("2d");
const colour = (hue, light = 62) => `hsl(${(hue * 360) / 256} 95% ${light}%)`;
const glows = Array.from({ length: HUES }, (_, n) => glow(colour((n * 256) / HUES)));
const view = { scale: 1, left: 0, top: 0 };
const drift = [new Float32Array(65536), new Float32Array(65536)]; // by id, which way it has been flying
let pointer = null;

/** A soft spot of light, painted once for each colour. */
function glow(fill, size = 64) {
  const spot = make("canvas", { width: size, height: size });
  const brush = spot.getContext("2d");
  const light = brush.createRadialGradient(size / 2, size / 2, 0, size / 2, size / 2, size / 2);
  for (const [at, shade] of [[0, "#fff"], [.12, fill], [.3, fill.replace(")", " / .25)")], [1, "transparent"]]) {
    light.addColorStop(at, shade);
  }
  brush.fillStyle = light;
  brush.fillRect(0, 0, size, size);
  return spot;
}

/** All of the night if the screen is large, else the part around `x`, `y`. */
function look(x, y) {
  const [wide, high, dpr] = [canvas.clientWidth, canvas.clientHeight, devicePixelRatio];
  if (canvas.width !== Math.round(wide * dpr)) canvas.width = Math.round(wide * dpr);
  if (canvas.height !== Math.round(high * dpr)) canvas.height = Math.round(high * dpr);
  view.scale = Math.max(Math.min(wide, high) / SIZE, Math.min(0.7, Math.max(wide, high) / SIZE));
  const whole = SIZE * view.scale;
  const along = (length, at) => (length >= whole ? (length - whole) / 2
    : Math.min(0, Math.max(length - whole, length / 2 - at * view.scale)));
  [view.left, view.top] = [along(wide, x), along(high, y)];
  pen.setTransform(1, 0, 0, 1, 0, 0);
  pen.clearRect(0, 0, canvas.width, canvas.height);
  const zoom = dpr * view.scale;
  pen.setTransform(zoom, 0, 0, zoom, dpr * view.left, dpr * view.top);
}

function draw({ fly, lantern }) {
  pen.globalCompositeOperation = "lighter";
  for (let i = 0; i < lantern.count; i++) {
    const far = 380 + 12 * Math.sin(performance.now() / 400 + i);
    pen.globalAlpha = 0.5;
    pen.drawImage(glows[lantern.hue[i] >> 2], lantern.x[i] - far / 2, lantern.y[i] - far / 2, far, far);
  }
  pen.globalAlpha = 0.5;
  pen.lineWidth = 2.2;
  pen.lineCap = "round";
  const trails = Array.from({ length: HUES }, () => new Path2D());
  for (let i = 0; i < fly.count; i++) {
    const [dx, dy] = [fly.vx, fly.vy].map((v, axis) => (
      drift[axis][fly.ids[i]] += (v[i] - drift[axis][fly.ids[i]]) * 0.12));
    trails[fly.hue[i] >> 2].moveTo(fly.x[i], fly.y[i]);
    trails[fly.hue[i] >> 2].lineTo(fly.x[i] - dx * 0.12, fly.y[i] - dy * 0.12);
  }
  trails.forEach((trail, n) => (pen.strokeStyle = colour((n * 256) / HUES), pen.stroke(trail)));
  pen.globalAlpha = 1;
  for (let i = 0; i < fly.count; i++) {
    const size = 17 + 5 * Math.sin(performance.now() / 260 + fly.ids[i] * 1.7);
    pen.drawImage(glows[fly.hue[i] >> 2], fly.x[i] - size / 2, fly.y[i] - size / 2, size, size);
  }
  pen.globalCompositeOperation = "source-over";
  pen.textAlign = "center";
  pen.font = `600 ${15 / view.scale}px system-ui, "DejaVu Sans", sans-serif`;
  for (let i = 0; i < lantern.count; i++) {
    pen.fillStyle = colour(lantern.hue[i], 90);
    pen.beginPath();
    pen.arc(lantern.x[i], lantern.y[i], i === lantern.mine ? 11 : 8, 0, 2 * Math.PI);
    pen.fill();
    pen.fillText(lantern.name[i], lantern.x[i], lantern.y[i] - 20 / view.scale);
  }
}

/** The lanterns that lead most, once in a while. */
function rank() {
  const { count, led, hue, name, mine } = room.columns("lantern");
  const rows = Array.from({ length: count }, (_, i) => i).sort((a, b) => led[b] - led[a]).slice(0, 5);
  $("#leaders").replaceChildren(...rows.map((i) => {
    const row = make("li", { className: i === mine ? "me" : "" }, make("b", { textContent: led[i] }),
      make("i"), make("span", { textContent: name[i] }));
    row.style.setProperty("--colour", colour(hue[i]));
    return row;
  }));
}
setInterval(rank, 500);

for (const type of ["pointerdown", "pointermove"]) {
  canvas.addEventListener(type, ({ offsetX, offsetY }) => {
    pointer = [offsetX, offsetY];
    $("#hint").classList.add("known");
  });
}

function frame(now) {
  const drawn = room.sample(now);
  const { x, y, mine } = drawn.lantern;
  look(mine < 0 ? SIZE / 2 : x[mine], mine < 0 ? SIZE / 2 : y[mine]);
  if (pointer && mine >= 0) {
    const inside = (at, from) => Math.round(Math.min(SIZE, Math.max(0, (at - from) / view.scale)));
    room.input = { to_x: inside(pointer[0], view.left), to_y: inside(pointer[1], view.top) };
  }
  draw(drawn);
  requestAnimationFrame(frame);
}
requestAnimationFrame(frame);
