/** The start page: a card for each game of this server, with a small scene of it. */

import { scenes } from "./scenes.js";

const ABOUT = {
  arena: "Ships, sparks and hundreds of pilots in one world.",
  tag: "Whoever is it runs after the others.",
  tictactoe: "Three in a row, one against one; others watch.",
  board: "Draw, talk and point together.",
  chat: "Rooms to talk in, with a host each.",
  crazy: "Cards for two to five. Eights are wild.",
  crowd: "Thousands of dots, one numpy step.",
};

const still = matchMedia("(prefers-reduced-motion: reduce)");
const list = document.getElementById("games");
const note = document.getElementById("note");
const cards = new Map(); // by the game's name

function make(tag, fields = {}, ...children) {
  const made = Object.assign(document.createElement(tag), fields);
  made.append(...children);
  return made;
}

function card({ name, title, capacity, page }) {
  const canvas = make("canvas", { ariaHidden: "true" });
  const online = make("small");
  const link = make(
    "a", { href: page || `/${name}/`, ariaLabel: `Play ${title || name}` }, canvas,
    make(
      "div", {}, make("h2", { textContent: title || name }),
      make("p", { textContent: ABOUT[name] ?? (capacity ? `Up to ${capacity} in a room.` : "") }),
      online, make("span", { className: "go", textContent: "Play" }),
    ),
  );
  cards.set(name, { canvas, online, scene: scenes[name] ?? scenes.other });
  return make("li", { className: name === "arena" ? "large" : "" }, link);
}

/** The arena first, then what is not known here, then the examples. */
function place({ name }) {
  const known = Object.keys(ABOUT).indexOf(name);
  return known < 0 ? 0.5 : known;
}

/** How many play each game, in the `rooms` that are listed. */
function count(rooms) {
  for (const [name, { online }] of cards) {
    const own = rooms.filter(({ game }) => (game ?? "arena") === name);
    const players = own.reduce((sum, room) => sum + room.players, 0);
    online.textContent = players ? `${players} playing now` : "";
    online.className = players ? "on" : "";
  }
}

function draw(now) {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`);
  for (const { canvas, scene } of cards.values()) {
    const { top, bottom } = canvas.getBoundingClientRect();
    if (bottom < 0 || top > innerHeight) continue;
    const [wide, high] = [canvas.clientWidth, canvas.clientHeight];
    const scale = Math.min(2, devicePixelRatio);
    if (canvas.width !== Math.round(wide * scale)) canvas.width = Math.round(wide * scale);
    if (canvas.height !== Math.round(high * scale)) canvas.height = Math.round(high * scale);
    const pen = canvas.getContext("2d");
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, wide, high);
    pen.save();
    scene(pen, still.matches ? 7 : now / 1000, wide, high, colour);
    pen.restore();
  }
  if (!still.matches) requestAnimationFrame(draw);
}

async function start() {
  try {
    const { games } = await (await fetch("/games.json")).json();
    games.sort((a, b) => place(a) - place(b));
    list.append(...games.map(card));
    note.textContent = games.length ? "" : "This server has no games yet.";
  } catch {
    note.textContent = "The server does not answer. Please load the page again.";
    return;
  }
  requestAnimationFrame(draw);
  addEventListener("resize", () => still.matches && requestAnimationFrame(draw));
  const live = new EventSource("/api/live");
  live.addEventListener("rooms", ({ data }) => count(JSON.parse(data).rooms));
}
start();
