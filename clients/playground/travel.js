/** Time travel: a journal, a tick in it, what came, what it did, and what there was. */

import { ask, bytes, make, show } from "./dom.js";
import { drawMap, placed } from "./map.js";
import { Scrubber } from "./scrubber.js";
import { showSource } from "./source.js";

const PLAY_MS = 100;
const SPEEDS = [0.25, 0.5, 1, 2, 4];

export class Travel {
  #box;
  #list;
  #past = null; // the overview of what is open
  #key = {}; // {journal, room}
  #moment = null;
  #before = null; // the moment that was shown last
  #wanted = null;
  #asking = false;
  #timer = 0;
  #speed = 1;
  #marked = ""; // the line of the source that is shown
  #parts = {};
  #scrubber;
  #searching = 0;

  constructor(box) {
    this.#box = box;
    this.#list = make("ul.journals", { "aria-label": "Journals" });
    const file = make("input", { type: "file", accept: ".journal", hidden: true });
    file.onchange = () => file.files[0] && this.#attach(file.files[0]);
    const attach = make("button.quiet.file", { type: "button", onclick: () => file.click() }, "Open a journal file …");
    this.#parts.note = make("p.note", { role: "status" });
    this.#parts.stage = make("section.stage", { hidden: true });
    this.#parts.choose = make("section.choose", {}, make("h2", {}, "Journals"),
      make("p.dim", {}, "Everything that came into a room is on record. Choose one, or drop a file here."),
      attach, file, this.#list, this.#parts.note);
    box.append(this.#parts.choose, this.#parts.stage);
    box.addEventListener("dragover", (event) => event.preventDefault());
    box.addEventListener("drop", (event) => {
      event.preventDefault();
      if (event.dataTransfer.files[0]) this.#attach(event.dataTransfer.files[0]);
    });
    addEventListener("keydown", (event) => this.#key_(event));
  }

  /** `rest`: journal (one or two parts), room and tick, from the address. */
  async open(rest) {
    const tick = /^\d+$/.test(rest.at(-1) ?? "") && rest.length > 2 ? Number(rest.pop()) : null;
    const room = rest.pop();
    const journal = rest.join("/");
    if (!journal) {
      await this.#showList();
      return;
    }
    if (this.#past && this.#key.journal === journal && this.#key.room === room) {
      if (tick !== null && tick !== this.#moment?.tick) this.go(tick);
      return;
    }
    await this.#load({ journal, room }, tick);
  }

  close() {
    this.#halt();
  }

  #say(text) {
    this.#parts.note.textContent = text;
  }

  async #showList() {
    this.#halt();
    this.#past = null;
    this.#parts.stage.hidden = true;
    this.#parts.choose.hidden = false;
    try {
      const { journals } = await ask("journals.json");
      this.#list.replaceChildren(...journals.map((row) => this.#row(row)));
      this.#say(journals.length ? "" : "There is none yet: join a room in the playground.");
    } catch (error) {
      this.#say(error.message);
    }
  }

  #row({ journal, room, game, first, last, created, live, where, here }) {
    const kinds = { objects: live ? "live" : "over", rooms: "crowd", aside: "failed", attached: "file" };
    const when = new Date(created * 1000).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
    const to = `#travel/${journal}/${encodeURIComponent(room)}`;
    return make("li", {}, make("a", { href: to, className: here ? "" : "off" },
      make(`span.tag.${live ? "live" : where}`, {}, kinds[where]),
      make("b", {}, room), make("span.dim", {}, `${game} · ${when}`),
      make("span.dim.ticks", {}, last ? `ticks ${first} to ${last}` : where === "rooms" ? "" : "nothing yet")));
  }

  async #attach(file) {
    try {
      const { journal, rooms } = await ask("attach", { name: file.name }, { method: "POST", body: file });
      location.hash = `#travel/${journal}/${encodeURIComponent(rooms[0])}`;
    } catch (error) {
      this.#say(error.message);
    }
  }

  async #load(key, tick) {
    this.#halt();
    try {
      this.#past = await ask("timeline.json", key);
    } catch (error) {
      await this.#showList();
      this.#say(error.message);
      return;
    }
    this.#key = key;
    this.#moment = this.#before = null;
    this.#marked = "";
    this.#parts.choose.hidden = true;
    this.#stage();
    this.go(tick ?? this.#past.last);
  }

  // -------------------------------------------------------------- the stage

  #stage() {
    const past = this.#past;
    const part = this.#parts;
    const step = (by) => () => this.#step(by);
    part.tick = make("input.tick", { type: "number", min: past.first, max: past.last, "aria-label": "Tick" });
    part.tick.onchange = () => this.go(Number(part.tick.value));
    part.play = make("button.main", { type: "button", title: "Play (space)", onclick: () => this.#toggle() }, "▶");
    part.speed = make("select", { "aria-label": "Speed" }, ...SPEEDS.map((speed) => make("option", { value: speed, selected: speed === this.#speed }, `× ${speed}`)));
    part.speed.onchange = () => { this.#speed = Number(part.speed.value); };
    part.time = make("span.dim");
    part.verdict = make("p.verdict", { role: "status" });
    this.#scrubber = new Scrubber(past, (tick) => this.go(tick));
    part.query = make("input", {
      type: "search", placeholder: "hp of Ada falls below 10 · phase becomes over · message say",
      "aria-label": "Search", autocapitalize: "off", spellcheck: false,
    });
    part.found = make("ol.found", { hidden: true });
    const search = make("form.search", {}, part.query, make("button", { type: "submit" }, "Find"));
    search.onsubmit = (event) => {
      event.preventDefault();
      this.#search(part.query.value);
    };
    part.came = make("div.rows");
    part.did = make("div.rows");
    part.state = make("div.state");
    part.map = make("canvas.map", { hidden: true });
    part.source = make("div.source");
    part.sourceBox = make("section.card", { hidden: !Object.keys(past.source).length },
      make("h3", {}, Object.keys(past.source)[0] ?? ""), part.source);
    part.timers = make("div.rows");
    const title = `${past.title} · ${past.room}`;
    part.stage.replaceChildren(
      make("div.head", {}, make("a.back", { href: "#travel" }, "‹ Journals"), make("h2", {}, title),
        make("a.dim", { href: location.hash, onclick: (event) => { event.preventDefault(); this.#load(this.#key, null); } }, "newest tick"),
        search),
      part.found,
      this.#scrubber.element,
      make("div.transport", {},
        make("button", { type: "button", title: "To the event before", onclick: () => this.#hop(-1) }, "«"),
        make("button", { type: "button", title: "A tick back (←)", onclick: step(-1) }, "−1"),
        part.play,
        make("button", { type: "button", title: "A tick on (→)", onclick: step(1) }, "+1"),
        make("button", { type: "button", title: "To the next event", onclick: () => this.#hop(1) }, "»"),
        part.speed, make("label", {}, "tick ", part.tick), part.time),
      part.verdict,
      make("div.columns", {},
        make("div.column", {},
          make("section.card", {}, make("h3", {}, "What came"), part.came, make("h3", {}, "What it did"), part.did),
          part.sourceBox),
        make("section.card", {}, make("h3", {}, "What there is"), part.map, part.state,
          make("h3", {}, "Timers that wait"), part.timers)),
    );
    part.stage.hidden = false;
    this.#scrubber.draw(past.first);
  }

  /** Show this tick; of those that are wanted while one is fetched, the last. */
  async go(tick) {
    const { first, last } = this.#past;
    this.#wanted = Math.min(Math.max(tick, first), last);
    if (this.#asking) return;
    this.#asking = true;
    try {
      while (this.#wanted !== null) {
        const wanted = this.#wanted;
        this.#wanted = null;
        const moment = await ask("moment.json", { ...this.#key, tick: wanted });
        if (!this.#past) return;
        this.#before = this.#moment;
        this.#moment = moment;
        this.#draw(wanted);
      }
    } catch (error) {
      this.#halt();
      this.#parts.verdict.className = "verdict bad";
      this.#parts.verdict.textContent = error.message;
    } finally {
      this.#asking = false;
    }
  }

  #step(by) {
    this.#halt();
    this.go((this.#wanted ?? this.#moment?.tick ?? this.#past.first) + by);
  }

  /** To the next tick, or the one before, at which something came but inputs. */
  #hop(way) {
    this.#halt();
    const now = this.#moment?.tick ?? 0;
    const ticks = this.#past.marks.map(([tick]) => tick);
    const next = way > 0 ? ticks.find((tick) => tick > now) : ticks.findLast((tick) => tick < now);
    this.go(next ?? (way > 0 ? this.#past.last : this.#past.first));
  }

  #toggle() {
    if (this.#timer) this.#halt();
    else {
      if (this.#moment?.tick >= this.#past.last) this.go(this.#past.first);
      this.#parts.play.textContent = "❚❚";
      this.#timer = setInterval(() => this.#run(), PLAY_MS);
    }
  }

  #run() {
    if (this.#asking) return;
    const hz = this.#past.hz || 1 / (PLAY_MS / 1000);
    const next = this.#moment.tick + Math.max(1, Math.round(hz * this.#speed * PLAY_MS / 1000));
    this.go(next);
    if (next >= this.#past.last) this.#halt();
  }

  #halt() {
    clearInterval(this.#timer);
    this.#timer = 0;
    if (this.#parts.play) this.#parts.play.textContent = "▶";
  }

  #key_(event) {
    if (!this.#past || this.#box.hidden || /INPUT|SELECT|TEXTAREA/.test(event.target.tagName)) return;
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by) this.#step(by * (event.shiftKey ? 10 : 1));
    else if (event.key === " ") this.#toggle();
    else return;
    event.preventDefault();
  }

  // -------------------------------------------------------------- a moment

  #draw(wanted) {
    const part = this.#parts;
    const moment = this.#moment;
    const { journal, room } = this.#key;
    history.replaceState(null, "", `#travel/${journal}/${encodeURIComponent(room)}/${moment.tick}`);
    if (document.activeElement !== part.tick) part.tick.value = moment.tick;
    const seconds = moment.time ?? moment.tick / (this.#past.hz || 1);
    part.time.textContent = `${seconds.toFixed(2)} s${moment.patch ? ` · patch ${bytes(moment.patch)}` : ""}`;
    this.#scrubber.draw(moment.tick, moment.strays);
    this.#verdict(wanted);
    const names = new Map(moment.entities.map(({ id, name, kind }) => [id, name || (id === 0 ? "room" : `${kind} #${id}`)]));
    const named = (id) => names.get(id) ?? `#${id}`;
    part.came.replaceChildren(...this.#events(named));
    part.did.replaceChildren(...this.#acts(named));
    part.timers.replaceChildren(...(moment.timers.length ? moment.timers.map((timer) => make("p", {},
      make("b", {}, timer.method), make("span.dim", {}, ` at ${timer.due.toFixed(2)} s${timer.every ? `, every ${timer.every} s` : ""}`)))
      : [make("p.dim", {}, "none")]));
    this.#drawState(named);
    this.#drawSource();
    part.map.hidden = !placed(moment.entities);
    const near = this.#before && Math.abs(this.#before.tick - moment.tick) <= (this.#past.hz || 1);
    if (!part.map.hidden) drawMap(part.map, moment, near ? this.#before : null, this.#past.room);
  }

  #verdict(wanted) {
    const moment = this.#moment;
    const { verdict } = this.#parts;
    verdict.className = "verdict";
    if (moment.error) {
      verdict.className = "verdict bad";
      verdict.replaceChildren(make("pre", {}, moment.error));
    } else if (moment.same === false || (moment.strays !== null && moment.strays <= moment.tick)) {
      verdict.className = "verdict warn";
      verdict.textContent = `These rules do something else than what happened, first seen at tick ${moment.strays}.`;
    } else if (moment.tick !== wanted) {
      verdict.textContent = `Ticks are missing here; this is tick ${moment.tick}.`;
    } else verdict.textContent = "";
  }

  #events(named) {
    const { events } = this.#moment;
    if (!events.length) return [make("p.dim", {}, "nothing")];
    return events.map(({ kind, what, name, values }) => make("p", {},
      make(`span.tag.${kind}`, {}, kind === "call" ? "message" : kind === "move" ? "input" : kind),
      make("b", {}, name), " ", kind === "call" ? make("code", {}, what) : "",
      make("span.dim", {}, Object.keys(values ?? {}).length ? ` ${show(values, named)}` : "")));
  }

  #acts(named) {
    const acts = this.#moment.acts.filter((act) => act.changes.length || act.came.length
      || act.went.length || act.sent.length || act.answer || act.refused || act.what !== "step");
    if (!acts.length) return [make("p.dim", {}, this.#moment.error ? "" : "nothing changed")];
    const inputs = this.#moment.players.filter(({ input }) => input && Object.values(input).some(Boolean));
    const held = inputs.length ? `, while held: ${inputs.map(({ name, input }) => `${name} ${show(input)}`).join(", ")}` : "";
    return acts.map((act) => make("div.act", {},
      make("h4", {}, make("code", {}, act.what), act.name ? ` of ${act.name}` : "", act.what === "step" ? held : ""),
      ...act.came.map((id) => make("p", {}, make("span.plus", {}, "+ "), `${named(id)} came`)),
      ...act.changes.map((change) => this.#change(change, named)),
      ...act.went.map((id) => make("p", {}, make("span.minus", {}, "− "), `${named(id)} went`)),
      ...act.sent.map((sent) => make("p", {}, make("span.tag.event", {}, "event"), make("code", {}, sent.name),
        make("span.dim", {}, ` ${show(sent.values, named)}${sent.to ? ` to ${sent.to.length}` : ""}`))),
      act.refused ? make("p.bad", {}, act.refused) : null,
      act.answer ? make("p.dim", {}, act.answer.refused ? `refused: ${act.answer.refused}` : `answered, ${bytes(act.answer.bytes)}`) : null));
  }

  #change({ entity, field, before, after, line }, named) {
    const row = make("p.change", {}, make("span.what", {}, make("b", {}, named(entity)), `.${field}`),
      make("span.values", {}, make("del", {}, show(before, named)), " → ", make("ins", {}, show(after, named))));
    if (line) {
      row.append(make("button.line", { type: "button", title: "Show the line", onclick: () => {
        this.#marked = line;
        this.#drawSource(true);
      } }, line));
    }
    return row;
  }

  #drawState(named) {
    const moment = this.#moment;
    const changed = new Set(moment.acts.flatMap((act) => act.changes.map((c) => `${c.entity} ${c.field}`)));
    const came = new Set(moment.acts.flatMap((act) => act.came));
    const inputs = new Map(moment.players.map((player) => [player.entity, player.input]));
    const hidden = new Map(this.#past.kinds.map((kind) => [kind.name, kind.fields]));
    const shut = new Set([...this.#parts.state.querySelectorAll("details:not([open])")].map((one) => one.dataset.id));
    this.#parts.state.replaceChildren(...moment.entities.map(({ id, kind, name, fields }) => {
      const declared = hidden.get(kind) ?? {};
      const rows = Object.entries({ ...fields, ...(inputs.get(id) && { input: inputs.get(id) }) });
      const box = make("details", { open: !shut.has(`${id}`) },
        make("summary", { className: came.has(id) ? "new" : "" },
          make("b", {}, id === 0 ? "room" : name || kind), make("span.dim", {}, id === 0 ? "" : ` ${kind} ${typeof id === "number" ? `#${id}` : ""}`)),
        make("dl", {}, ...rows.flatMap(([field, value]) => {
          const known = declared[field];
          const mark = changed.has(`${id} ${field}`) ? "changed" : "";
          const title = !known ? "never sent" : known.hidden ? "hidden" : known.type;
          return [make("dt", { className: `${mark} ${known ? known.hidden ? "hidden" : "" : "own"}`, title }, field),
            make("dd", { className: mark }, show(value, named))];
        })));
      box.dataset.id = `${id}`;
      return box;
    }));
  }

  #drawSource(jump = false) {
    const [name] = Object.keys(this.#past.source);
    if (!name) return;
    const lines = new Set();
    for (const act of this.#moment.acts) {
      for (const { line } of act.changes) if (line.startsWith(`${name}:`)) lines.add(Number(line.slice(name.length + 1)));
    }
    const marked = this.#marked.startsWith(`${name}:`) ? Number(this.#marked.slice(name.length + 1)) : null;
    showSource(this.#parts.source, this.#past.source[name], lines, marked, jump);
  }

  // -------------------------------------------------------------- searching

  async #search(text) {
    const { found } = this.#parts;
    const mine = ++this.#searching;
    this.#halt();
    found.hidden = !text;
    if (!text) {
      this.#scrubber.found([]);
      return;
    }
    found.replaceChildren(make("li.dim", {}, "Looking …"));
    const rows = [];
    let absent; // why nothing can be found: in all parts of the search, or in none
    try {
      let from = this.#past.first;
      for (;;) {
        const some = await ask("search.json", { ...this.#key, q: text, from });
        if (mine !== this.#searching) return;
        rows.push(...some.found);
        absent = absent === "" ? "" : some.absent;
        from = some.at + 1;
        if (some.done || rows.length >= 200) break;
        found.replaceChildren(make("li.dim", {}, `Looking … tick ${some.at} of ${some.last}`));
      }
    } catch (error) {
      found.replaceChildren(make("li.bad", {}, error.message));
      return;
    }
    this.#scrubber.found(rows.map(({ tick }) => tick));
    found.replaceChildren(...(rows.length ? rows.slice(0, 200).map((row) => make("li", {},
      make("button.quiet", { type: "button", onclick: () => this.go(row.tick) }, make("b", {}, `tick ${row.tick}`), " ",
        row.field ? `${row.name}.${row.field}: ${show(row.before)} → ${show(row.after)}` : `${row.what} ${row.name}`)))
      : [make("li.dim", {}, absent || "Never.")]));
    if (rows.length) this.go(rows[0].tick);
  }
}
