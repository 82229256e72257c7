import { $, colourOf, enter, say } from "/shared/page.js";
import { blob, floor, label, steering } from "/shared/stage.js";

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

function frame(now) {
  room.input = { ...way };
  const walkers = room.sample(now).walker;
  const me = walkers.find((walker) => walker.mine);
  const scale = floor(pen, SIZE, RADIUS, me);
  for (const walker of walkers) {
    blob(pen, walker, RADIUS, colourOf(walker), walker.it);
    label(pen, `${walker.name} ${walker.points}`, walker.x, walker.y - RADIUS - 14, 15 / scale);
  }
  const [alone, { round_s }] = [walkers.length < 2, room.settings];
  $("#clock").textContent = Math.ceil(round_s - (room.time % round_s));
  $("#role").textContent = alone ? "Invite someone" : me?.it ? "You are it!" : "Run!";
  $("#role").classList.toggle("it", Boolean(me?.it && !alone));
  requestAnimationFrame(frame);
}
requestAnimationFrame(frame);
