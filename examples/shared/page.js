/**
 * What the pages of all examples have in common: the bar at the top, the question for a name, the
 * link that others join by, and how the connection is.
 */

import { create, joinById, joinOrCreate, replay, watch } from "/tickstorm.js";

const NAME = "tickstorm.name"; // in localStorage
const COLOURS = 8; // as in page.css

let moving = false; // to another room

export const $ = (selector, within = document) => within.querySelector(selector);

/** A new element: `make("p", { className: "dim" }, "text or", element)`. */
export function make(tag, fields = {}, ...children) {
  const made = Object.assign(document.createElement(tag), fields);
  made.append(...children);
  return made;
}

/** The colour of a player, as CSS. */
export function colourOf(player) {
  const style = getComputedStyle(document.documentElement);
  return style.getPropertyValue(`--player-${player.id % COLOURS}`).trim();
}

/** Tell something in passing, aloud for those who don't see. */
export function say(text) {
  const line = make("p", { textContent: text });
  $("#toasts").append(line);
  setTimeout(() => line.remove(), 4000);
}

/** Ask the room for something; what it refuses is said. */
export async function ask(room, name, ...values) {
  try {
    return await room.request(name, ...values);
  } catch (error) {
    say(sentence(error.message));
    return null;
  }
}

/**
 * Into a room: that of the link, or any with a free seat, or a new one, as is chosen. Resolves when
 * one is in.
 */
export async function enter(game) {
  bar();
  const room = await arrive(game, "");
  history.replaceState(null, "", `#${room.id}`);
  sessionStorage.setItem(`tickstorm.${game}`, room.id);
  addEventListener("hashchange", () => {
    moving = true;
    sessionStorage.setItem(`tickstorm.${game}`, location.hash.slice(1)); // no question there
    room.leave();
    location.reload();
  });
  document.body.classList.add("in");
  globalThis.room = room; // to look at in the browser's console
  $("#invite").hidden = false;
  room.onDrop(() => connection("away", "Reconnecting…"));
  room.onReconnect(() => connection("good", room.spectator ? "Watching" : "Connected"));
  room.onLeave((code, reason) => moving || over(game, reason));
  connection("good", room.spectator ? "Watching" : "Connected");
  room.onChange(() => people(room));
  people(room);
  return room;
}

async function arrive(game, note) {
  const id = location.hash.slice(1);
  const name = localStorage.getItem(NAME);
  const asked = new URLSearchParams(location.search); // as an operator's page links to it
  const again = id && name && sessionStorage.getItem(`tickstorm.${game}`) === id;
  try {
    if (asked.has("replay") && !note) return await replay(asked.get("replay"), { game });
    if (asked.has("watch") && id && !note) return await watch(id, { game, name: name ?? "Guest" });
    if (again && !note) return await joinById(id, { game, name }); // the page was loaded again
    const { how, called } = await question(ways(id), note);
    localStorage.setItem(NAME, called);
    connection("away", "Connecting…");
    const title = `${called}'s ${document.title}`;
    if (how === "new") return await create(game, { name: called, title });
    if (how === "watch") return await watch(id, { game, name: called });
    return await (id ? joinById(id, { game, name: called }) : joinOrCreate(game, { name: called }));
  } catch (error) {
    connection("bad", "Not connected");
    return arrive(game, sentence(error.message || "this did not work"));
  }
}

function sentence(text) {
  return `${text[0].toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;
}

/** The ways in, as `[[how, label], …]`; the first is the large button. */
function ways(id) {
  return id
    ? [["play", "Join"], ["watch", "Just watch"]]
    : [["play", "Play"], ["new", "New room for friends"]];
}

/** Who are you, and how do you want in? */
function question(choices, note) {
  $("#enter")?.remove();
  const about = $("meta[name=description]").content;
  const field = make("input", {
    id: "name", maxLength: 20, required: true, autocomplete: "nickname", spellcheck: false,
    value: localStorage.getItem(NAME) ?? invented(),
  });
  const buttons = choices.map(([how, label], at) => make("button", {
    value: how, textContent: label, className: at ? "plain" : "",
  }));
  const form = make(
    "form", { method: "dialog" },
    make("h2", { textContent: document.title }), make("p", { textContent: about }),
    make("label", { htmlFor: "name", textContent: "Your name" }), field, ...buttons,
    make("p", { className: "note", role: "alert", textContent: note }),
  );
  const dialog = make("dialog", { id: "enter", ariaLabel: `Join ${document.title}` }, form);
  dialog.addEventListener("cancel", (event) => event.preventDefault());
  document.body.append(dialog);
  dialog.showModal();
  field.select();
  return new Promise((resolve) => {
    form.addEventListener("submit", (event) => {
      const called = field.value.trim() || invented();
      resolve({ how: event.submitter?.value ?? choices[0][0], called });
    });
  });
}

function invented() {
  const pick = (words) => words[Math.floor(Math.random() * words.length)];
  const first = ["Brisk", "Calm", "Clever", "Lucky", "Quiet", "Sunny", "Swift", "Witty"];
  return `${pick(first)} ${pick(["Badger", "Finch", "Fox", "Hare", "Lynx", "Otter", "Wren"])}`;
}

const BOLT = "M13 2 4.5 13.5H11L9.5 22 19 10h-6.5z";

function bar() {
  const home = make("a", { href: "/", className: "home", ariaLabel: "All games" });
  home.innerHTML = `<svg viewBox="0 0 24 24" aria-hidden="true"><path d="${BOLT}"/></svg>`;
  const invite = make("button", {
    id: "invite", type: "button", className: "plain", textContent: "Invite", hidden: true,
    title: "Copy the link to this room", onclick: copyLink,
  });
  document.body.prepend(make(
    "header", {}, home, make("h1", { textContent: document.title }),
    make("ul", { id: "people", ariaLabel: "Who is here" }),
    make("p", { id: "connection", role: "status" }), invite,
  ));
  document.body.append(make("div", { id: "toasts", ariaLive: "polite" }));
}

async function copyLink() {
  try {
    await navigator.clipboard.writeText(location.href);
    say("The link is copied. Send it to someone.");
  } catch {
    say(`Send this link: ${location.href}`);
  }
}

function connection(state, text) {
  $("#connection").className = state;
  $("#connection").textContent = text;
  document.body.classList.toggle("away", state === "away" && document.body.matches(".in"));
}

/** The room is over, or one was put out of it. */
function over(game, reason) {
  connection("bad", "Left");
  sessionStorage.removeItem(`tickstorm.${game}`);
  const dialog = make(
    "dialog", { ariaLabel: "The end" }, make("form", { method: "dialog" },
      make("h2", { textContent: "You have left the room" }),
      make("p", { textContent: reason ?? "" }),
      make("button", { textContent: "Again" })),
  );
  dialog.addEventListener("close", () => location.assign(location.pathname));
  document.body.append(dialog);
  dialog.showModal();
}

const shown = new Map(); // chips by player

/** Who is here, in the bar. */
function people(room) {
  const here = new Set(room.players);
  for (const [player, chip] of shown) {
    if (!here.has(player)) shown.delete(player), chip.remove();
  }
  for (const player of here) {
    const name = player.nick || player.name;
    let chip = shown.get(player);
    if (!chip) {
      chip = make("li");
      chip.style.setProperty("--colour", `var(--player-${player.id % COLOURS})`);
      shown.set(player, chip);
      $("#people").append(chip);
    }
    const label = `${name}${player === room.me ? " (you)" : ""}${player.connected ? "" : ", away"}`;
    if (chip.title === label) continue;
    chip.title = chip.ariaLabel = label;
    chip.textContent = [...name][0]?.toUpperCase() ?? "?";
    chip.className = `${player.connected ? "" : "gone"} ${player === room.me ? "me" : ""}`;
  }
}

/**
 * A list of lines that grows at its end, and a form to add to it: `field` of the room's state, and
 * the message `say`. `draw(line)`: what stands in the row.
 */
export function talk(room, field, draw) {
  const [list, form] = [$(".talk ol"), $(".talk form")];
  const input = $("input", form);
  room.state.onAdd(field, (line, at) => {
    const atEnd = list.scrollTop + list.clientHeight > list.scrollHeight - 60;
    list.insertBefore(make("li", {}, ...draw(line)), list.children[at] ?? null);
    if (atEnd) list.scrollTop = list.scrollHeight;
  });
  room.state.onRemove(field, (line, at) => list.children[at]?.remove());
  list.scrollTop = list.scrollHeight;
  form.onsubmit = (event) => {
    event.preventDefault();
    if (input.value.trim()) ask(room, "say", input.value.trim());
    input.value = "";
  };
}
