/**
 * Watching, without a ship: a live room (`?spectate`) or a replay (`?replay=<room>` or
 * `?replay=<room>/<segment>`). A `Spectator` is the camera, which follows a ship or roams, and
 * the bar below the picture.
 *
 * Click a ship to follow it, F for the next one; drag, or the keys that fly a ship, to roam.
 * In a replay: space stops and goes on, the slider jumps.
 */

import { NO_SLOT, REPLAYING } from "./wire.js";

const ROAM = 1100; // units per second, by keys
const LOOK_MS = 120; // between two messages about where the camera is
const LOOK_UNITS = 24;
const CLICK_PX = 6; // a pointer that moved less was a click
const REACH_PX = 70; // from a click to the ship that it means
const LOST_MS = 6000; // a followed ship that is not seen for so long has gone
const SEEK_MS = 150; // between two jumps while the slider is dragged

const DIRECTIONS = {
  KeyW: [0, -1], ArrowUp: [0, -1], KeyS: [0, 1], ArrowDown: [0, 1],
  KeyA: [-1, 0], ArrowLeft: [-1, 0], KeyD: [1, 0], ArrowRight: [1, 0],
};

/** What may be watched from the address of a page: `{room, replay}`, or null. */
export function watched(query) {
  if (query.has("replay")) return { replay: query.get("replay") || "arena" };
  return query.has("spectate") ? { replay: null } : null;
}

/** 125.4 → "2:05". */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

export class Spectator {
  #client;
  #camera;
  #parts;
  #replay;
  #listening = new AbortController();
  #held = new Set();
  #drag = null;
  #session = null;
  #following = NO_SLOT;
  #followedAt = 0;
  #x = NaN;
  #y = NaN;
  #chosen = false; // somebody has pointed the camera
  #lookedAt = 0;
  #looked = [];
  #state = null; // of a replay: [tick, first, last, speed]
  #sought = 0;
  #seekTimer = 0;
  #tickHz = NaN;

  /**
   * `camera`: the renderer's, for its scale; `ratio()`: device pixels per CSS pixel;
   * `bar`: the element with the controls; `replay`: its name, or null.
   */
  constructor({ client, canvas, bar, camera, ratio, replay }) {
    this.#client = client;
    this.#camera = { camera, ratio };
    this.#replay = replay;
    const part = (name) => bar.querySelector(`[data-watch=${name}]`);
    this.#parts = {
      bar, play: part("play"), seek: part("seek"), time: part("time"), speed: part("speed"),
      follow: part("follow"), who: part("who"), what: part("what"),
    };
    bar.hidden = false;
    for (const name of ["play", "seek", "time", "speed"]) this.#parts[name].hidden = replay === null;
    client.onMessage = (message) => message[0] === REPLAYING && this.#replaying(message.slice(1));
    this.#listen(canvas);
    this.#list();
  }

  close() {
    this.#listening.abort();
    clearTimeout(this.#seekTimer);
    this.#parts.bar.hidden = true;
  }

  /** The slot that the camera follows, or NO_SLOT. */
  get following() {
    return this.#following;
  }

  /** What the server said last of the replay: `[tick, first, last, speed]`, or null. */
  get state() {
    return this.#state;
  }

  // -------------------------------------------------------------- the camera

  /** Once a frame, after the client's own: put the camera. */
  sample(now, seconds) {
    const { scene, session } = this.#client;
    if (scene.size === 0) return;
    if (session !== this.#session) {
      this.#session = session;
      this.#looked = []; // the server has to be told again
      if (Number.isNaN(this.#x)) [this.#x, this.#y] = [scene.size / 2, scene.size / 2];
    }
    this.#roam(seconds);
    const ship = scene.ships.id.subarray(0, scene.ships.count).indexOf(this.#following);
    if (this.#following !== NO_SLOT && ship >= 0) {
      this.#followedAt = now;
      this.#x = scene.ships.x[ship];
      this.#y = scene.ships.y[ship];
      this.#say(scene.ships.name[ship]);
    } else if (this.#following !== NO_SLOT && now - this.#followedAt > LOST_MS) {
      this.#chosen = false;
      this.follow(NO_SLOT);
    }
    if (!this.#chosen && this.#following === NO_SLOT) this.#choose(scene);
    scene.view.x = this.#x = Math.min(scene.size, Math.max(0, this.#x));
    scene.view.y = this.#y = Math.min(scene.size, Math.max(0, this.#y));
    this.#look(now);
  }

  /** Follow the ship in a slot; NO_SLOT: none. */
  follow(slot) {
    this.#following = slot;
    this.#followedAt = performance.now();
    if (slot === NO_SLOT) this.#say("");
  }

  /** Follow the next of the ships in sight, by slot. */
  followNext() {
    const { ships } = this.#client.scene;
    const slots = [...ships.id.subarray(0, ships.count)].sort((a, b) => a - b);
    if (slots.length === 0) return;
    this.#chosen = true;
    this.follow(slots.find((slot) => slot > this.#following) ?? slots[0]);
  }

  /** Nobody has said what to look at: where most ships are, and then one of them. */
  #choose({ ships, heat, size }) {
    if (ships.count > 0) {
      this.follow(ships.id[0]);
    } else if (heat.cells) {
      const most = heat.cells.indexOf(Math.max(...heat.cells));
      const pitch = size / heat.width;
      this.#x = ((most % heat.width) + 0.5) * pitch;
      this.#y = (Math.floor(most / heat.width) + 0.5) * pitch;
    }
  }

  #roam(seconds) {
    let [dx, dy] = [0, 0];
    for (const code of this.#held) {
      dx += DIRECTIONS[code][0];
      dy += DIRECTIONS[code][1];
    }
    if (dx || dy) this.#move((dx * ROAM * seconds), (dy * ROAM * seconds));
  }

  #move(dx, dy) {
    this.#chosen = true;
    if (this.#following !== NO_SLOT) this.follow(NO_SLOT);
    this.#x += dx;
    this.#y += dy;
  }

  /** Tell the server, when it has changed enough. */
  #look(now) {
    if (now - this.#lookedAt < LOOK_MS) return;
    const target = this.#following !== NO_SLOT ? [this.#following] : [this.#x, this.#y];
    const [x, y] = this.#looked;
    const near = target.length === 1
      ? this.#looked.length === 1 && x === target[0]
      : this.#looked.length === 2 && Math.hypot(x - target[0], y - target[1]) < LOOK_UNITS;
    if (near) return;
    this.#looked = target;
    this.#lookedAt = now;
    this.#client.look(...target);
  }

  // -------------------------------------------------------------- the replay's time

  #replaying(state) {
    this.#state = state;
    const [tick, first, last, speed] = state;
    const { play, seek, time } = this.#parts;
    if (speed > 0) this.#parts.speed.value = String(speed);
    const over = this.#over;
    play.textContent = over ? "↻" : speed === 0 ? "▶" : "❚❚";
    play.setAttribute("aria-label", over ? "Play again" : speed === 0 ? "Go on" : "Stop");
    // WELCOME says how many ticks pass in a second at this speed.
    this.#tickHz = this.#client.scene.tickHz / (speed || Number(this.#parts.speed.value));
    seek.min = String(first);
    seek.max = String(last);
    if (performance.now() - this.#sought > 1000) seek.value = String(tick);
    const at = (tick - first) / this.#tickHz;
    const whole = clock((last - first) / this.#tickHz);
    time.textContent = over ? `The end · ${whole}` : `${clock(at)} / ${whole}`;
  }

  #speed() {
    return Number(this.#parts.speed.value);
  }

  /** Whether the replay has come to its last tick. */
  get #over() {
    return this.#state !== null && this.#state[0] >= this.#state[2];
  }

  /** Stop, or go on; at the end, play it again. */
  toggle() {
    if (this.#over) this.#client.replay(this.#speed(), this.#state[1]);
    else if (this.#state) this.#client.replay(this.#state[3] === 0 ? this.#speed() : 0, null);
  }

  /** Jump to a tick. */
  seek(tick) {
    if (this.#state) this.#client.replay(this.#state[3], Math.round(tick));
  }

  // -------------------------------------------------------------- what people do

  #listen(canvas) {
    const { signal } = this.#listening;
    const on = (target, type, act) => target.addEventListener(type, act, { signal });
    const { play, seek, speed, follow, what } = this.#parts;
    on(play, "click", () => this.toggle());
    on(follow, "click", () => this.followNext());
    on(speed, "change", () => this.#client.replay(this.#speed(), null));
    on(seek, "input", () => {
      this.#sought = performance.now();
      clearTimeout(this.#seekTimer);
      this.#seekTimer = setTimeout(() => this.seek(Number(seek.value)), SEEK_MS);
    });
    on(what, "change", () => {
      location.search = what.value ? `?replay=${encodeURIComponent(what.value)}` : "?spectate";
    });
    on(window, "keydown", (event) => this.#key(event));
    on(window, "keyup", (event) => this.#held.delete(event.code));
    on(window, "blur", () => this.#held.clear());
    on(canvas, "pointerdown", (event) => {
      this.#drag = { x: event.clientX, y: event.clientY, far: 0 };
      canvas.setPointerCapture(event.pointerId);
    });
    on(canvas, "pointermove", (event) => this.#dragged(event));
    on(canvas, "pointerup", (event) => {
      if (this.#drag && this.#drag.far < CLICK_PX) this.#click(event);
      this.#drag = null;
    });
    on(canvas, "pointercancel", () => (this.#drag = null));
  }

  #key(event) {
    const busy = event.target.closest?.("input:not([type=range]), select, textarea, dialog");
    if (busy || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.code in DIRECTIONS && event.target.type !== "range") this.#held.add(event.code);
    else if (event.code === "KeyF" && !event.repeat) this.followNext();
    else if (event.code === "Space" && !event.repeat && event.target.tagName !== "BUTTON") {
      event.preventDefault();
      this.toggle();
    }
  }

  /** World units per CSS pixel. */
  get #pitch() {
    return this.#camera.ratio() / this.#camera.camera.scale;
  }

  #dragged(event) {
    const drag = this.#drag;
    if (!drag) return;
    const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
    drag.far += Math.hypot(dx, dy);
    [drag.x, drag.y] = [event.clientX, event.clientY];
    if (drag.far >= CLICK_PX) this.#move(-dx * this.#pitch, -dy * this.#pitch);
  }

  #click(event) {
    const { ships } = this.#client.scene;
    const { camera, ratio } = this.#camera;
    const x = (event.clientX * ratio() + camera.left) / camera.scale;
    const y = (event.clientY * ratio() + camera.top) / camera.scale;
    let best = NO_SLOT;
    let nearest = REACH_PX * this.#pitch;
    for (let i = 0; i < ships.count; i++) {
      const distance = Math.hypot(ships.x[i] - x, ships.y[i] - y);
      if (distance < nearest) [best, nearest] = [ships.id[i], distance];
    }
    if (best === NO_SLOT) return;
    this.#chosen = true;
    this.follow(best);
  }

  #say(name) {
    if (this.#parts.who.textContent !== name) this.#parts.who.textContent = name;
  }

  /** What else there is to be watched. */
  async #list() {
    const { what } = this.#parts;
    const rows = await fetch("/replays.json").then((answer) => answer.json()).catch(() => null);
    const made = (rows?.replays ?? []).slice(0, 30).map(({ replay, room, created, seconds }) => {
      const when = new Date(created * 1000).toLocaleString([], { dateStyle: "short", timeStyle: "short" });
      return new Option(`${room}, ${when}, ${clock(seconds)}`, replay);
    });
    const all = this.#replay && !made.some((option) => option.value === this.#replay)
      ? [new Option(this.#replay, this.#replay)] : [];
    what.replaceChildren(new Option("Live", ""), ...all, ...made);
    what.value = this.#replay ?? "";
  }
}
