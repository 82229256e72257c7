import { $, colourOf, enter, say } from "/shared/page.js";
import { floor, steering } from "/shared/stage.js";

const [SIZE, RADIUS] = [900, 24];
const room = await enter("tag");
const pen = $("canvas").getContext("2d");
const way = steering($("canvas"));

room.predict("walker", (me, { dx, dy }, dt) => {
  const far = dt * (me.it ? 300 : 260) * (dx && dy ? 0.7 : 1);
  me.x = Math.min(SIZE, Math.max(0, me.x + dx * far));
  me.y = Math.min(SIZE, Math.max(0, me.y + dy * far));
});
room.on("over", (winner) => say(`${winner} wins this round!`));

function draw(walker, scale) {
  const disc = (radius, colour) => {
    pen.fillStyle = colour;
    pen.beginPath();
    pen.arc(walker.x, walker.y, radius, 0, 7);
    pen.fill();
  };
  if (walker.it) disc(RADIUS + 8 + 3 * Math.sin(room.time * 8), getComputedStyle($("#role")).backgroundColor);
  disc(RADIUS, colourOf(walker));
  pen.fillStyle = getComputedStyle(document.body).color;
  pen.font = `600 ${15 / scale}px system-ui`;
  pen.textAlign = "center";
  pen.fillText(`${walker.name} ${walker.points}`, walker.x, walker.y - RADIUS - 14);
}

function frame(now) {
  room.input = { ...way };
  const walkers = room.sample(now).walker;
  const me = walkers.find((walker) => walker.mine);
  const scale = floor(pen, SIZE, RADIUS, me);
  for (const walker of walkers) draw(walker, scale);
  $("#clock").textContent = Math.ceil(room.settings.round_s - (room.time % room.settings.round_s));
  $("#role").textContent = walkers.length < 2 ? "Invite someone to run from" : me?.it ? "You are it!" : "Run!";
  $("#role").classList.toggle("it", Boolean(me?.it));
  requestAnimationFrame(frame);
}
requestAnimationFrame(frame);
