/** The page: title, game and settings around one client and one frame loop. */

import { PRESETS } from "/tickstorm/conditioner.js";
import { tokenKey } from "/tickstorm/connection.js";
import { Attract } from "./attract.js";
import { Audio } from "./audio.js";
import { Client } from "./client.js";
import { Hud } from "./hud.js";
import { Input } from "./input.js";
import { Lobby, LobbyError } from "./lobby.js";
import { Overlay } from "./overlay.js";
import { AutoQuality, LEVELS } from "./quality.js";
import { Renderer } from "./render.js";
import { Rounds } from "./rounds.js";
import { inventName, openStorage, Settings } from "./settings.js";
import { Spectator, watched } from "./spectate.js";
import { NO_SLOT } from "./wire.js";

const LAST_ROOM = "tickstorm.room";

/** Some element of the page. @type {(id: string) => any} */
const byId = (id) => document.getElementById(id);
const unfocus = () => /** @type {HTMLElement | null} */ (document.activeElement)?.blur();
const query = new URLSearchParams(location.search);
const settings = new Settings(openStorage("localStorage"), query);
const audio = new Audio(settings);
const canvas = byId("arena");
const renderer = new Renderer(canvas, settings);
const input = new Input(canvas, byId("stick-move"), byId("stick-aim"));
const hud = new Hud();
const overlay = new Overlay(byId("overlay"));
const attract = new Attract();
const dialog = byId("settings");
const chatForm = byId("chat-form");
const chatText = byId("chat-text");

const coarse = matchMedia("(pointer: coarse)").matches;
const automatic = new AutoQuality();
const session = openStorage("sessionStorage");
const rounds = new Rounds();
let asked = watched(query); // a room or a replay, without a ship; only until it was left
const lobby = new Lobby({
  room: query.get("room"),
  watching: asked !== null && asked.replay === null,
  onFly: () => byId("join").requestSubmit(),
});
let watching = asked;
let client = null;
let spectator = null;
let flight = 0; // counts the attempts to find a room
let playing = false; // whether the game is on the screen, connected or coming back

// Joining and leaving.

/** Ask the lobby for a place and go there; a full or waiting lobby is asked again. */
async function fly(name) {
  const attempt = ++flight;
  byId("join-note").textContent = "";
  watching = asked ?? (lobby.watching ? { replay: null } : null);
  if (watching?.replay) {
    const { replay } = watching;
    join(name, { url: replayUrl(replay), ticket: null, room: `replay ${replay}` });
    return;
  }
  try {
    const last = session.getItem(LAST_ROOM);
    const place = await lobby.find(last && !watching ? session.getItem(tokenKey(last)) : null);
    if (attempt === flight) join(name, place);
  } catch (error) {
    if (!(error instanceof LobbyError)) throw error;
    if (attempt !== flight) return;
    byId("join-note").textContent = `${error.message}${error.retryS ? " Trying again …" : ""}`;
    if (error.retryS) {
      setTimeout(() => attempt === flight && fly(name), error.retryS * 1000);
    }
  }
}

function replayUrl(replay) {
  const url = new URL("/ws", location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  url.search = new URLSearchParams({ replay }).toString();
  return url.href;
}

function join(name, { url, ticket, room }) {
  client?.leave();
  spectator?.close();
  if (!watching) session.setItem(LAST_ROOM, room);
  client = new Client({
    url,
    name,
    onStatus: showStatus,
    storage: session,
    net: settings.get("net") || null,
    place: {
      ticket,
      // The token of a ship in this tab is another's.
      room: watching ? `watch ${room}` : room,
      find: watching?.replay ? null : (token) => {
        lobby.avoid();
        return lobby.find(watching ? null : token);
      },
    },
  });
  client.on("emote", (slot, mark) => renderer.emote(slot, mark, performance.now() / 1000));
  window.tickstorm.client = client;
  hud.reset();
  renderer.particles.clear();
  playing = true;
  document.body.classList.toggle("watching", watching !== null);
  if (watching) {
    const { replay } = watching;
    const [camera, ratio] = [renderer.camera, () => renderer.ratio];
    spectator = new Spectator({ client, canvas, bar: byId("watch"), camera, ratio, replay });
    window.tickstorm.spectator = spectator;
  }
  client.join(name, watching ? { spectate: true } : {});
  showPage();
}

function leave(note = "") {
  flight++;
  const left = client;
  client = null;
  window.tickstorm.client = null;
  left?.leave();
  spectator?.close();
  spectator = null;
  playing = false;
  asked = null;
  lobby.watching = false;
  const url = new URL(location.href);
  for (const key of ["replay", "spectate"]) url.searchParams.delete(key);
  history.replaceState(null, "", url);
  closeChat();
  byId("join-note").textContent = note;
  showPage();
}

function showPage() {
  document.body.className = document.body.className.replace(
    /on-\w+/,
    playing ? "on-game" : "on-title",
  );
  byId("title").hidden = playing;
  lobby.shown = !playing;
  input.releaseAll();
  audio.drive(0);
  if (playing) unfocus();
  else {
    showStatus({ state: "playing", text: "" });
    if (!coarse) byId("name").focus(); // on a phone it would raise the keyboard
  }
}

function showStatus({ state, text }) {
  const status = byId("status");
  const quiet = state === "playing" || !playing;
  status.textContent = quiet ? "" : text;
  status.className = quiet ? "" : `shown ${state}`;
  if (state === "closed" && playing) leave(text);
}

byId("name").value = settings.get("name");
byId("another").addEventListener("click", () => {
  byId("name").value = inventName();
});
byId("join").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = byId("name").value.trim() || inventName();
  settings.set("name", name);
  fly(name);
});

// Settings.

for (const [value, text] of [
  ["", "as it is"],
  ...Object.keys(PRESETS).map((name) => [name, name]),
]) {
  byId("settings").querySelector("[data-setting=net]").append(new Option(text, value));
}
settings.bind(dialog);
settings.onChange((key) => {
  if (key === "quality" || key === "safeColours") fit();
  renderer.tune();
  showMuted();
});

function openSettings() {
  byId("leave").hidden = !playing;
  lobby.showInvite();
  input.releaseAll();
  dialog.showModal();
}

function showMuted() {
  byId("button-mute").setAttribute("aria-pressed", String(settings.get("muted")));
}

byId("button-menu").addEventListener("click", openSettings);
byId("title-settings").addEventListener("click", openSettings);
byId("button-mute").addEventListener("click", () => settings.set("muted", !settings.get("muted")));
byId("leave").addEventListener("click", () => {
  dialog.close();
  leave();
});
showMuted();

// Keys belong to the ship again once a button or the dialog has done its work.
byId("buttons").addEventListener("click", () => {
  if (chatForm.hidden && !dialog.open) unfocus();
});
dialog.addEventListener("close", () => {
  if (playing) unfocus();
});

// Chat.

function openChat() {
  if (!playing) return;
  chatForm.hidden = false;
  byId("talk").classList.add("open");
  input.releaseAll();
  chatText.focus();
}

function closeChat() {
  chatForm.hidden = true;
  byId("talk").classList.remove("open");
  chatText.value = "";
  chatText.blur();
}

chatForm.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = chatText.value.trim();
  if (text) client?.chat(text);
  closeChat();
});
chatText.addEventListener("blur", closeChat);
byId("button-chat").addEventListener("click", openChat);

addEventListener("keydown", (event) => {
  if (event.code === "F3") {
    event.preventDefault();
    overlay.toggle();
    return;
  }
  if (event.target === chatText) {
    if (event.code === "Escape") closeChat();
    return;
  }
  const busy = dialog.open || /** @type {Element} */ (event.target).closest?.("input, select, textarea, button");
  if (!playing || busy || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.code === "Enter" || event.code === "NumpadEnter") {
    event.preventDefault();
    openChat();
  } else if (event.code === "Escape") {
    event.preventDefault();
    openSettings();
  } else if (/^Digit[1-6]$/.test(event.code) && !watching) {
    client?.say("emote", Number(event.code.slice(5)) - 1);
  } else if (event.code === "KeyM") {
    settings.set("muted", !settings.get("muted"));
  }
});

// Drawing.

function fit() {
  const choice = settings.get("quality");
  renderer.resize(
    innerWidth,
    innerHeight,
    devicePixelRatio,
    LEVELS[choice] ?? LEVELS[automatic.level],
  );
}

let fitTimer = 0;
addEventListener("resize", () => {
  clearTimeout(fitTimer);
  fitTimer = setTimeout(fit, 80);
});

let last = performance.now();
function frame(now) {
  requestAnimationFrame(frame);
  const elapsed = now - last;
  last = now;
  const dt = Math.min(0.1, Math.max(0, elapsed / 1000));
  if (settings.get("quality") === "auto" && automatic.frame(elapsed)) fit();

  const arrived = client !== null && client.scene.size > 0; // the first welcome is in
  input.enabled = arrived && !watching && !dialog.open && chatForm.hidden;
  if (client) {
    client.setInput(input.read(renderer.own.x, renderer.own.y));
    client.sample(now);
    spectator?.sample(now, dt);
    hud.update(client.scene, client.stats, now, renderer.camera);
    rounds.update(client.scene, now);
  }
  if (!arrived) attract.step(dt);
  const scene = arrived ? client.scene : attract.scene;
  renderer.feel(scene);
  if (arrived) {
    audio.hear(scene);
    audio.drive(engineWork(scene.ships));
  }
  scene.fx.length = 0;
  renderer.draw(scene, dt, now / 1000, scene.board.rows[0]?.[2] ?? NO_SLOT, arrived);
  overlay.draw(client?.stats ?? null, renderer.parts, now);
}

/** 0 idle, 1 thrust, 2 boost: the own engine. */
function engineWork({ ownIndex, flags }) {
  if (ownIndex < 0 || (flags[ownIndex] & 1) === 0) return 0;
  return flags[ownIndex] & 4 ? 2 : flags[ownIndex] & 2 ? 1 : 0;
}

window.tickstorm = { client, settings, renderer };
if (query.has("overlay")) overlay.toggle(true);
if (coarse) document.body.classList.add("uses-touch");
fit();
if (query.has("autojoin") || asked) fly(settings.get("name"));
else if (!coarse) byId("name").select();
requestAnimationFrame(frame);
