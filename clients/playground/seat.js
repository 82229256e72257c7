/** One player: its line, its forms, what it knows, and what each patch changed. */

import { create, joinById } from "/tickstorm/tickstorm.js";
import { Ref } from "/tickstorm/msgpack.js";
import { bytes, make, show } from "./dom.js";
import { field } from "./form.js";
import { Line } from "./line.js";

const DRAW_MS = 100;
const MOST_PATCHES = 40;
const WELCOME = 16;
const STATE = 25;
const PATCH = 26;
const EVENT = 27;
const ANSWER = 28;

/** A player's own place for its token: two players of one page must not share it. */
class Pocket {
  #items = new Map();

  getItem(key) {
    return this.#items.get(key) ?? null;
  }

  setItem(key, value) {
    this.#items.set(key, `${value}`);
  }

  removeItem(key) {
    this.#items.delete(key);
  }
}

export class Seat {
  #line = new Line((way, message, size) => this.#heard(way, message, size));
  #pocket = new Pocket();
  #onGone;
  #parts = {};
  #patches = [];
  #counts = { in: 0, out: 0 };
  #rate = { at: 0, in: 0, out: 0 };
  #declaration = null;
  #known = new Map(); // "id field": what was shown
  #timer = 0;
  room = null;

  constructor(game, name, onGone) {
    this.game = game;
    this.name = name;
    this.#onGone = onGone;
    this.#build();
  }

  async join(id, settings) {
    const options = { name: this.name, storage: this.#pocket, WebSocket: this.#line.WebSocket };
    try {
      this.room = id ? await joinById(id, { ...options, game: this.game }) : await create(this.game, { ...options, settings });
    } catch (error) {
      this.#onGone();
      throw error;
    }
    const { room } = this;
    room.onStatus((status, text) => this.#status(status, text));
    room.onLeave((code, reason) => this.#status("closed", reason || `closed, ${code}`));
    this.#status(room.status, "");
    this.#forms();
    this.#timer = setInterval(() => this.#draw(), DRAW_MS);
  }

  leave() {
    clearInterval(this.#timer);
    this.room?.leave();
    this.#onGone();
  }

  // -------------------------------------------------------------- what it looks like

  #build() {
    const part = this.#parts;
    part.status = make("span.status", { role: "status" }, "joining");
    part.traffic = make("span.dim.traffic");
    part.cut = make("button", { type: "button", ariaPressed: "false", onclick: () => this.#cut() }, "Cut the line");
    const slider = (label, key, most, unit) => {
      const said = make("output", {}, `0 ${unit}`);
      const input = make("input", { type: "range", min: 0, max: most, value: 0, "aria-label": label });
      input.oninput = () => {
        this.#line.net[key] = Number(input.value);
        said.textContent = `${input.value} ${unit}`;
      };
      return make("label", {}, make("span", {}, label), input, said);
    };
    part.forms = make("div.forms");
    part.answer = make("p.answer", { role: "status" });
    part.patches = make("ol.patches", { "aria-label": "Messages from the server" });
    part.tree = make("div.state");
    this.element = make("section.card.seat", {},
      make("div.who", {}, make("h3", {}, this.name), part.status, part.traffic,
        make("button.quiet", { type: "button", title: "Leave", "aria-label": "Leave", onclick: () => this.leave() }, "✕")),
      make("details.net", {}, make("summary", {}, "Line"),
        slider("latency", "latencyMs", 500, "ms"), slider("jitter", "jitterMs", 200, "ms"),
        slider("loss", "stallPercent", 20, "%"), part.cut,
        make("p.dim", {}, "One way. On TCP nothing is lost: it stalls until it was sent again.")),
      part.forms, part.answer,
      make("details", { open: true }, make("summary", {}, "What it knows"), part.tree),
      make("details.log", { open: true }, make("summary", {}, "What came, and its bytes"), part.patches));
  }

  #status(status, text) {
    this.#parts.status.className = `status ${status}`;
    this.#parts.status.textContent = this.#line.isCut ? "the line is cut" : text || status;
  }

  #cut() {
    this.#line.cut(!this.#line.isCut);
    this.#parts.cut.ariaPressed = `${this.#line.isCut}`;
    this.#parts.cut.textContent = this.#line.isCut ? "Mend the line" : "Cut the line";
    this.#status(this.room?.status ?? "", "");
  }

  // -------------------------------------------------------------- what it says

  #forms() {
    const { forms, answer } = this.#parts;
    forms.replaceChildren();
    const declared = this.#declaration;
    if (!declared) return;
    const crowd = Array.isArray(declared); // [kinds, own, input]
    const inputs = crowd ? declared[2].filter((row) => row.length === 5) : declared.input;
    if (inputs?.length) {
      const fields = inputs.map(([label, type, low, high, usual]) => (
        field([label, /^[ui]\d/.test(type) ? "int" : type, low, high, usual], () => this.#hold(fields))));
      forms.append(make("fieldset.input", {}, make("legend", {}, "input, held"), ...fields.map(({ element }) => element)));
    }
    for (const [name, rows] of Object.entries(declared.messages ?? {})) {
      const fields = rows.map(([label, type, low = null, high = null]) => field([label, type, low, high, null]));
      const read = () => fields.map((one) => one.read());
      const say = async (way) => {
        try {
          if (way === "send") this.room.send(name, ...read());
          else answer.textContent = `${name}: ${show(plain(await this.room.request(name, ...read())))}`;
          answer.className = "answer";
        } catch (error) {
          answer.textContent = error.message;
          answer.className = "answer bad";
        }
      };
      const form = make("form", { noValidate: true, onsubmit: (event) => {
        event.preventDefault();
        say("send");
      } }, make("code", {}, name), ...fields.map(({ element }) => element),
      make("button", { type: "submit" }, "Send"),
      make("button.quiet", { type: "button", title: "Send it, and wait for its answer", onclick: () => say("request") }, "Ask"));
      forms.append(form);
    }
  }

  #hold(fields) {
    try {
      this.room.input = Object.fromEntries(fields.map(({ name, read }) => [name, read()]));
      this.#parts.answer.textContent = "";
    } catch (error) {
      this.#parts.answer.textContent = error.message;
      this.#parts.answer.className = "answer bad";
    }
  }

  // -------------------------------------------------------------- what it hears

  #heard(way, message, size) {
    this.#counts[way] += size;
    if (way !== "in" || !message) return;
    const [type, ...rest] = message;
    if (type === WELCOME) this.#welcomed(rest[0]);
    else if (type === PATCH || type === STATE) this.#patches.push([type, rest[0], size, this.#told(type, rest)]);
    else if (type === EVENT) this.#patches.push([type, null, size, `${rest[0]} ${show(plain(rest[1]))}`]);
    else if (type === ANSWER) this.#patches.push([type, null, size, rest[1] ? show(plain(rest[2])) : `no: ${rest[2]}`]);
    if (this.#patches.length > MOST_PATCHES) this.#patches.splice(0, this.#patches.length - MOST_PATCHES);
  }

  #welcomed(welcome) {
    const before = JSON.stringify(this.#declaration);
    this.#declaration = welcome.declaration;
    if (this.room && before !== JSON.stringify(welcome.declaration)) this.#forms();
  }

  /** What a patch changes, in words: `Ada.x +3`. */
  #told(type, [, , changes, leaves, enters]) {
    if (type === STATE) return "everything";
    const words = [];
    const { kinds } = this.#declaration;
    for (let at = 0; at < (changes ?? []).length;) {
      const id = changes[at++];
      let mask = changes[at++];
      const entity = id === 0 ? this.room?.state : this.room?.get(id);
      const kind = id === 0 ? kinds[0] : kinds.find(([name]) => name === entity?.kind);
      const fields = (kind?.[1] ?? []).filter(([, , flags]) => !(flags & 1) && !(flags & 4));
      for (const [name, , flags] of fields) {
        if (mask & 1) {
          const value = changes[at++];
          words.push(`${this.#called(id, entity)}.${name} ${flags & 8 ? (value > 0 ? `+${value}` : value) : `= ${show(plain(value))}`}`);
        }
        mask >>>= 1;
      }
      if (!kind) break; // not known yet
    }
    for (const id of leaves ?? []) words.push(`− #${id}`);
    for (let at = 0; at < (enters ?? []).length; at += 3) words.push(`+ ${kinds[enters[at]][0]} #${enters[at + 1]}`);
    return words.join(", ") || "nothing new";
  }

  #called(id, entity) {
    return id === 0 ? "room" : entity?.name || `#${id}`;
  }

  // -------------------------------------------------------------- drawing

  #draw() {
    const { room } = this;
    if (!room || !this.element.isConnected) return;
    this.#drawTraffic();
    if (this.#patches.length) {
      const rows = this.#patches.splice(0).reverse().map(([type, tick, size, text]) => make(`li.m${type}`, {},
        make("span.dim", {}, type === EVENT ? "event " : type === ANSWER ? "answer " : `${tick} `),
        make("b", {}, bytes(size)), ` ${text}`));
      this.#parts.patches.prepend(...rows);
      while (this.#parts.patches.childElementCount > MOST_PATCHES) this.#parts.patches.lastChild.remove();
    }
    if (room.state) this.#drawTree(room);
    else if (Array.isArray(this.#declaration)) this.#drawCounts(room);
  }

  #drawTraffic() {
    const now = performance.now();
    if (now - this.#rate.at < 1000) return;
    const seconds = (now - this.#rate.at) / 1000;
    const rate = (way) => bytes(Math.round((this.#counts[way] - this.#rate[way]) / seconds));
    const { rtt } = this.room;
    this.#parts.traffic.textContent = this.#rate.at
      ? `${rtt === undefined ? "" : `${Math.round(rtt)} ms · `}↓ ${rate("in")}/s · ↑ ${rate("out")}/s` : "";
    this.#rate = { at: now, ...this.#counts };
  }

  /** Of a crowd: how many of each kind are near, and oneself. */
  #drawCounts(room) {
    const counts = this.#declaration[0].map(([name]) => [name, `${room.columns(name).count} in sight`]);
    const rows = [...counts, ...Object.entries(room.me ?? {}).map(([key, value]) => [key, show(value)])];
    this.#parts.tree.replaceChildren(make("details", { open: true }, make("summary", {}, make("b", {}, "crowd")),
      make("dl", {}, ...rows.flatMap(([key, value]) => [make("dt", {}, key), make("dd", {}, value)]))));
  }

  /** The room and its entities: one box each, made once; values that changed light up. */
  #drawTree(room) {
    const kinds = this.#declaration.kinds.slice(1).map(([name]) => name);
    const entities = [room.state, ...kinds.flatMap((kind) => [...room.entities(kind)])];
    const here = new Set();
    for (const entity of entities) {
      const id = entity === room.state ? 0 : entity.id;
      const [, fields] = id === 0 ? this.#declaration.kinds[0] : this.#declaration.kinds.find(([name]) => name === entity.kind);
      here.add(`${id}`);
      let box = this.#parts.tree.querySelector(`:scope > [data-id="${id}"]`);
      if (!box) {
        box = make("details", { open: true }, make("summary", {}, make("b", {}, this.#called(id, entity)),
          make("span.dim", {}, id === 0 ? "" : ` ${entity.kind} #${id}${entity.mine ? ", mine" : ""}`)), make("dl"));
        box.dataset.id = id;
        for (const [name, , flags] of fields) {
          box.lastChild.append(make(`dt${flags & 4 ? ".hidden" : ""}`, { title: flags & 4 ? "hidden from others" : "" }, name), make("dd"));
        }
        this.#parts.tree.append(box);
      }
      fields.forEach(([name], at) => this.#drawField(`${id} ${name}`, show(plain(entity[name])), box.lastChild.children[2 * at + 1]));
    }
    for (const box of [...this.#parts.tree.children]) if (!here.has(box.dataset.id)) box.remove();
  }

  #drawField(key, text, cell) {
    const before = this.#known.get(key);
    if (before === text && cell.textContent === text) return;
    this.#known.set(key, text);
    cell.textContent = text;
    if (before === undefined) return;
    cell.classList.remove("flash");
    void cell.offsetWidth; // so that it lights up again
    cell.classList.add("flash");
  }
}

/** Entities as `{"$": id}`, so that `show` takes them. */
function plain(value) {
  if (value instanceof Ref) return { $: value.id };
  if (Array.isArray(value)) return value.map(plain);
  if (value && typeof value === "object" && !(value instanceof Uint8Array)) {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item)]));
  }
  return value;
}
