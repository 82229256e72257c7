/** Players side by side in one room, and what fires in it. */

import { ask, make, show } from "./dom.js";
import { field } from "./form.js";
import { Seat } from "./seat.js";

const NAMES = ["Ada", "Bob", "Cleo", "Dan", "Eve", "Finn", "Gus", "Hana"];
const MOST_FIRED = 60;

export class Play {
  #games = [];
  #game;
  #settings = [];
  #seats = [];
  #parts = {};
  #made = 0;
  room = null;
  tick = 0; // up to which what fired is known

  constructor(box) {
    const part = this.#parts;
    part.game = make("select", { "aria-label": "Game", onchange: () => this.#choose(part.game.value) });
    part.settings = make("div.settings");
    part.name = make("input", { type: "text", "aria-label": "Player's name", maxLength: 16, value: NAMES[0], autocomplete: "off" });
    part.where = make("select", { "aria-label": "Room" });
    part.join = make("button.main", { type: "submit" }, "Join");
    part.note = make("p.note", { role: "status" });
    const form = make("form.start", {}, make("label.field", {}, make("span", {}, "game"), part.game),
      part.settings, make("label.field", {}, make("span", {}, "room"), part.where),
      make("label.field", {}, make("span", {}, "player"), part.name), part.join);
    form.onsubmit = (event) => {
      event.preventDefault();
      this.#join();
    };
    part.seats = make("div.seats");
    part.fired = make("ol.fired", { "aria-label": "Hooks, messages and timers that ran" });
    part.timers = make("div.rows");
    part.room = make("section.card.room", { hidden: true },
      make("h3", {}, "Room ", part.code = make("a", { href: "#travel" })),
      make("p.dim", { }, "Hooks, messages and timers, as they run"), part.fired, make("h3", {}, "Timers that wait"), part.timers);
    part.empty = make("section.empty", {}, make("h2", {}, "Nobody is here yet"),
      make("p", {}, "Join, and join again with another name: players stand side by side, each with a line of its own to slow down or cut, with a form for every message and input that the rules declare."));
    box.append(form, part.note, part.empty, make("div.table", {}, part.seats, part.room));
    this.#load();
  }

  open() {}

  close() {}

  async #load() {
    try {
      this.#games = (await ask("games.json")).games;
    } catch (error) {
      this.#say(error.message);
      return;
    }
    this.#parts.game.replaceChildren(...this.#games.map(({ name, title }) => make("option", { value: name }, title)));
    this.#choose(this.#games[0].name);
  }

  #choose(name) {
    this.#game = this.#games.find((game) => game.name === name);
    this.#settings = this.#game.settings.map((one) => field([
      one.name,
      one.choices.length ? `Literal[${one.choices.map((c) => JSON.stringify(c)).join(", ")}]` : { number: Number.isInteger(one.default) ? "int" : "float", boolean: "bool" }[typeof one.default] ?? "str",
      one.low, one.high, one.default,
    ]));
    this.#game.settings.forEach(({ help }, i) => { this.#settings[i].element.title = help; });
    this.#parts.settings.replaceChildren(...this.#settings.map(({ element }) => element));
    this.#rooms();
  }

  /** Where the next one goes: to the others, or into a new room. */
  #rooms() {
    const here = [...new Set(this.#seats.filter(({ game }) => game === this.#game?.name).map(({ room }) => room?.id).filter(Boolean))];
    this.#parts.where.replaceChildren(...here.map((id) => make("option", { value: id }, id)), make("option", { value: "" }, "a new one"));
    this.#parts.empty.hidden = this.#seats.length > 0;
    const free = NAMES.find((name) => !this.#seats.some((seat) => seat.name === name));
    this.#parts.name.value = free ?? `Player ${this.#made + 1}`;
  }

  #say(text) {
    this.#parts.note.textContent = text;
  }

  async #join() {
    const part = this.#parts;
    this.#say("");
    try {
      const settings = Object.fromEntries(this.#settings.map(({ name, read }) => [name, read()]));
      const seat = new Seat(this.#game.name, part.name.value, () => this.#gone(seat));
      this.#seats.push(seat);
      this.#made++;
      part.seats.append(seat.element);
      part.empty.hidden = true;
      part.join.disabled = true;
      await seat.join(part.where.value || null, settings);
      this.#show(seat.room.id);
      this.#rooms();
    } catch (error) {
      this.#say(error.message);
    } finally {
      part.join.disabled = false;
    }
  }

  #gone(seat) {
    seat.element.remove();
    this.#seats = this.#seats.filter((one) => one !== seat);
    this.#rooms();
  }

  #show(id) {
    if (this.room !== id) {
      this.room = id;
      this.tick = 0;
      this.#parts.fired.replaceChildren();
    }
    this.#parts.room.hidden = false;
    this.#parts.code.textContent = id;
    const past = `#travel/objects/${encodeURIComponent(id)}`;
    this.#parts.code.href = this.#game.kind === "objects" ? past : "#travel";
    this.#parts.code.title = "Its past";
  }

  /** What the room did since the last time. */
  heard({ tick, fired, timers, time }) {
    if (tick === undefined) return;
    if (tick < this.tick) this.#parts.fired.replaceChildren(); // another room, or gone back
    this.tick = tick;
    for (const [at, what, who] of fired) {
      this.#parts.fired.prepend(make("li", {}, make("span.dim", {}, `${at} `), make("code", {}, what), who ? ` ${who}` : ""));
    }
    while (this.#parts.fired.childElementCount > MOST_FIRED) this.#parts.fired.lastChild.remove();
    this.#parts.timers.replaceChildren(...(timers.length ? timers.map(([, due, every, method]) => make("p", {},
      make("code", {}, method), make("span.dim", {}, ` in ${show(Math.max(0, due - time))} s${every ? `, every ${show(every)} s` : ""}`)))
      : [make("p.dim", {}, "none")]));
  }
}
