/** One room: who is in it, what it is in, and what can be done about it. */

import { ask, attempt, HOURS, toast } from "./ask.js";
import { bytes, h, keyed, ms, number, percent, span, text } from "./dom.js";
import { marksOf } from "./rooms.js";

export function roomPage(me, id) {
  const may = me.role === "act";
  const title = h("h1");
  const marks = h("span.marks");
  const about = h("p.dim");
  const acts = h("div.acts");
  const fault = h("pre.fault", { hidden: true });
  const people = h("tbody");
  const nobody = h("p.note", {}, "Nobody is here.");
  const peopleHead = h("small");
  const settings = h("div.settings");
  const settingsCard = h("section.card", { hidden: true }, h("h2", {}, "Settings"), settings);
  const timers = h("ul.timers");
  const timersCard = h("section.card", { hidden: true }, h("h2", {}, "Timers"), timers);
  const state = h("div.state");
  const stateHead = h("small");
  const page = h("div.room", {},
    h("section.card.wide.head", {}, h("div.title", {}, title, marks), about, acts, fault),
    h("section.card.wide", {}, h("h2", {}, "People", peopleHead),
      h("div.scroll.tall", {}, h("table.people", {}, h("thead", {}, h("tr", {},
        ["Name", "Address", "Latency", "Behind", "Sent", "Received", ""].map((name, at) =>
          h("th", { className: at > 1 && at < 6 ? "num" : "" }, name)))), people)), nobody),
    settingsCard, timersCard,
    h("section.card.wide", {}, h("h2", {}, "State", stateHead), state));

  let known = null;
  page.room = (room) => {
    if (!room) {
      if (known) toast(`Room ${id} has closed.`, "warn");
      page.replaceChildren(h("section.card.only", {}, h("h1", {}, "This room is not open here"),
        h("p.dim", {}, "It has closed, or moved to another node. "),
        h("a", { href: "#/rooms" }, "All rooms")));
      return;
    }
    if (!known) acts.append(...actsOf(me, room, may, () => known));
    known = room;
    text(title, room.title || room.game);
    const now = marksOf(room);
    if (marks.textContent !== now.map((mark) => mark[1]).join("")) {
      marks.replaceChildren(...now.map(([tone, said]) => h(`span.chip.${tone}`, {}, said)));
    }
    text(about, [room.id, room.game, `${room.players} of ${room.capacity} players`,
      `${number(room.spectators)} watch`, room.hz ? `tick ${number(room.tick)} at ${room.hz} Hz` : `turn ${number(room.tick)}`,
      `${percent(room.busy)} of a core`, room.time !== undefined ? `room time ${span(room.time)}` : ""].filter(Boolean).join(" · "));
    const lock = acts.querySelector("[data-act=lock]");
    if (lock) text(lock, room.locked ? "Unlock" : "Lock");
    fault.hidden = !room.fault_text;
    text(fault, room.fault_text ?? "");
    nobody.hidden = room.sessions.length > 0;
    text(peopleHead, room.more_sessions ? `the first ${room.sessions.length} of ${room.sessions.length + room.more_sessions}` : "");
    keyed(people, room.sessions, (one) => one.id, () => personRow(room, may));
    const names = Object.keys(room.settings);
    settingsCard.hidden = !names.length;
    keyed(settings, names.map((name) => [name, room.settings[name]]), ([name]) => name,
      (one) => settingRow(room.id, one, may));
    timersCard.hidden = !room.timers?.length;
    keyed(timers, room.timers ?? [], (one) => `${one.method} ${one.every_s}`, timerRow);
    if (room.state) {
      text(stateHead, `${room.more_entities ? `the first ${room.state.length} of ${room.state.length + room.more_entities} entities; ` : ""}hidden attributes included; what changes lights up${room.editable && may ? "; click a value to change it" : ""}`);
      keyed(state, room.state, (entity) => entity.id, (entity) => entityCard(room, entity, may));
    } else {
      text(stateHead, "the first rows of each kind, by slot");
      keyed(state, room.tables, (one) => one.kind, tableCard);
    }
  };
  page.machine = () => {};
  return page;
}

// ---------------------------------------------------------------- what can be done

function actsOf(me, first, may, now) {
  const game = me.games.find((one) => one.name === first.game);
  const base = me.alone ? "/" : `/${first.game}/`;
  const link = (label, href, why) => h("a.button", { href, target: "_blank", rel: "noopener", title: why }, label);
  const out = [];
  if (game?.page) {
    const live = first.kind === "crowd" ? `${base}?spectate&room=${encodeURIComponent(first.id)}`
      : `${base}?watch#${encodeURIComponent(first.id)}`;
    out.push(link("Watch live", live, "Opens the game's page as a spectator"));
    if (first.journal) out.push(link("Replay", `${base}?replay=${encodeURIComponent(first.id)}`, "Opens its journal in the game's page"));
  }
  if (me.dev && first.kind === "objects" && first.journal) {
    out.push(link("Time travel", `/playground/#travel/objects/${encodeURIComponent(first.id)}`, "Opens its journal in the playground"));
  }
  if (!may) return out;
  const button = (label, name, onclick, tone = "act") =>
    out.push(h(`button.${tone}`, { type: "button", "data-act": name, onclick }, label));
  button("Say", "say", async () => {
    const said = await ask({ title: "Say to everyone in this room", fields: [{ name: "text", label: "Text", required: true }], go: "Say" });
    if (said?.text) attempt("say", { room: first.id, text: said.text });
  });
  button("Lock", "lock", () => attempt("lock", { room: first.id, locked: !now().locked }));
  if (me.shared) {
    button("Move", "move", async () => {
      const sure = await ask({ title: "Move this room to another node?", about: "Its players follow by themselves.", go: "Move" });
      if (sure) attempt("move", { room: first.id });
    });
  }
  button("Close", "close", async () => {
    const sure = await ask({
      title: "Close this room?", about: "It ends for everyone in it, for good. Its journal is kept for a while.",
      fields: [{ name: "reason", label: "What players are told", value: "closed by an operator" }], go: "Close", bad: true,
    });
    if (sure && await attempt("close", { room: first.id, reason: sure.reason })) location.hash = "#/rooms";
  }, "bad");
  return out;
}

function personRow(room, may) {
  const name = h("b");
  const marks = h("span.marks");
  const address = h("td");
  const cells = ["", "", "", ""].map(() => h("td.num"));
  const acts = h("td.acts");
  const element = h("tr", {}, h("td.name", {}, h("div", {}, name, marks)), address, cells, acts);
  let now = null;
  let shown = "";
  if (may) {
    acts.append(
      h("button.small", { type: "button", onclick: () => kick(room.id, now) }, "Kick"),
      h("button.small.bad", { type: "button", onclick: () => ban(room, now) }, "Ban"));
  }
  element.show = (one) => {
    now = one;
    text(name, one.name);
    name.title = one.player;
    const chips = [one.bot && "bot", one.spectator && "watches", one.away && "away", one.failures && `${one.failures} failures`].filter(Boolean);
    if (chips.join() !== shown) {
      shown = chips.join();
      marks.replaceChildren(...chips.map((chip) => h(`span.chip.${chip === "away" ? "warn" : "dim"}`, {}, chip)));
    }
    text(address, one.address || "–");
    text(cells[0], one.rtt_ms === undefined ? "–" : `${ms(one.rtt_ms)} ±${one.jitter_ms.toFixed(1)}`);
    text(cells[1], behind(one));
    text(cells[2], one.sent === undefined ? "–" : bytes(one.sent));
    text(cells[3], one.received === undefined ? "–" : bytes(one.received));
    cells[1].classList.toggle("warn", one.waiting > 0 || one.every > 1);
  };
  return element;
}

function behind(one) {
  if (one.away) return "–";
  if (one.waiting) return `${bytes(one.waiting)} waiting`;
  if (one.every > 1) return `every ${one.every}th tick`;
  if (one.behind !== undefined && one.behind !== null && one.behind < 1000) return `${one.behind} tick${one.behind === 1 ? "" : "s"}`;
  return "in time";
}

async function kick(room, one) {
  const sure = await ask({
    title: `Kick ${one.name}?`, about: "The stay ends. Whoever is kicked may come again; a ban keeps them out.",
    fields: [{ name: "reason", label: "What the player is told", value: "kicked by an operator" }], go: "Kick", bad: true,
  });
  if (sure) attempt("kick", { room, session: one.id, reason: sure.reason });
}

async function ban(room, one) {
  const kinds = [];
  if (room.signs_in && one.player) kinds.push(["player", `the player ${one.player}`]);
  if (one.address) kinds.push(["address", `the address ${one.address}`]);
  if (!room.signs_in && one.player) kinds.push(["player", "this stay only (anyone may come as a new player)"]);
  const sure = await ask({
    title: `Ban ${one.name}?`,
    about: "An address may be shared by many people. Bans are kept over restarts and end by themselves.",
    fields: [
      { name: "kind", label: "Who", options: kinds },
      { name: "hours", label: "For", options: HOURS },
      { name: "reason", label: "Reason, which is told", value: "" },
    ], go: "Ban", bad: true,
  });
  if (!sure) return;
  const who = sure.kind === "address" ? { address: one.address } : { player: one.player };
  attempt("ban", { ...who, hours: Number(sure.hours), reason: sure.reason });
}

function settingRow(room, [name, first], may) {
  const field = first.choices.length
    ? h("select", {}, first.choices.map((choice) => h("option", {}, String(choice))))
    : typeof first.value === "boolean"
      ? h("input", { type: "checkbox" })
      : h("input", { type: typeof first.value === "number" ? "number" : "text", min: first.low ?? "", max: first.high ?? "", step: "any" });
  field.disabled = !may || first.fixed;
  field.name = name;
  const element = h("label.setting", {}, h("span", {}, name), field, h("small", {}, hintOf(first)));
  let now = first.value;
  field.onchange = async () => {
    let value = typeof now === "boolean" ? field.checked : field.value;
    if (first.choices.length) value = first.choices.find((choice) => String(choice) === field.value);
    else if (typeof now === "number") value = Number(field.value);
    if (!await attempt("set", { room, name, value })) put(now);
  };
  const put = (value) => {
    if (typeof value === "boolean") field.checked = value;
    else field.value = value;
  };
  element.show = ([, { value }]) => {
    now = value;
    if (document.activeElement !== field) put(value);
  };
  return element;
}

function hintOf({ help, low, high }) {
  const range = low !== null && high !== null ? `${low} to ${high}` : "";
  return [help, range].filter(Boolean).join("; ");
}

function timerRow() {
  const element = h("li");
  element.show = ({ in_s, every_s, method }) =>
    text(element, `${method} in ${span(in_s)}${every_s ? `, every ${every_s} s` : ""}`);
  return element;
}

// ---------------------------------------------------------------- state

function entityCard(room, first, may) {
  const list = h("dl");
  const element = h(`div.entity${first.id === 0 ? ".own" : ""}`, {},
    h("h3", {}, first.kind, h("code", {}, first.id === 0 ? "room" : `#${first.id}`)), list);
  element.show = (entity) => keyed(list, entity.fields, ([name]) => name,
    (field) => fieldRow(room, entity.id, field, may));
  return element;
}

function fieldRow(room, entity, [name, , seen, settable], may) {
  const value = room.editable && may && settable
    ? h("button.value", { type: "button", title: "Change it" }) : h("span.value");
  const element = h("div", {}, h(`dt.${seen}`, { title: SEEN[seen] }, name), h("dd", {}, value));
  let now;
  let shown = null;
  value.onclick = value.localName === "button" ? () => edit(room.id, entity, name, now) : null;
  element.show = ([, fresh]) => {
    now = fresh;
    const said = JSON.stringify(fresh);
    if (said === shown) return;
    if (shown !== null) {
      value.classList.remove("lit");
      void value.offsetWidth; // or the animation would not begin anew
      value.classList.add("lit");
    }
    shown = said;
    text(value, said);
  };
  return element;
}

const SEEN = {
  synced: "everyone sees it", hidden: "only some see it", kept: "the room's own, never sent",
};

async function edit(room, entity, name, now) {
  const said = await ask({
    title: `${name} of ${entity ? `#${entity}` : "the room"}`,
    about: "As JSON. It counts from the next tick on, and is in the journal. In a development run only.",
    fields: [{ name: "value", label: "Value", value: JSON.stringify(now), max: 4000 }], go: "Set",
  });
  if (!said) return;
  let value;
  try {
    value = JSON.parse(said.value);
  } catch {
    toast(`${said.value} is not JSON: text wants quotes.`, "bad");
    return;
  }
  attempt("set", { room, entity, name, value });
}

function tableCard(first) {
  const body = h("tbody");
  const count = h("code");
  const element = h("div.kind", {}, h("h3", {}, first.kind, count),
    h("div.scroll.tall", {}, h("table", {}, h("thead", {}, h("tr", {}, first.columns.map((name) => h("th.num", {}, name)))), body)));
  element.show = ({ count: all, rows }) => {
    text(count, rows.length < all ? `${rows.length} of ${all}` : String(all));
    keyed(body, rows, (row) => row[0], (row) => {
      const cells = row.map((value) => h(typeof value === "number" ? "td.num" : "td"));
      const line = h("tr", {}, cells);
      line.show = (now) => now.forEach((value, at) => text(cells[at], value));
      return line;
    });
  };
  return element;
}
