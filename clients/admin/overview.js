/** The machine: what it holds, where its time goes, what it closes and keeps. */

import { areas, lane, legend, MOST, phases, spark } from "./charts.js";
import { bytes, h, keyed, number, percent, span, text } from "./dom.js";
import { roomTable } from "./rooms.js";

const CODES = {
  DONE: "left", LOST: "line lost", GOING_AWAY: "server stops", RESTART: "moved", IDLE: "idle",
  SLOW: "reads too slowly", FLOOD: "sends too much", MALFORMED: "malformed", FULL: "full",
  NO_ROOM: "no such room", KICKED: "kicked, banned", REFUSED: "refused by the game",
  INTERNAL: "our failure", TAKEN_OVER: "newer connection", HELLO_EXPECTED: "no HELLO",
  TOKEN: "bad token", SCHEMA: "old page", VERSION: "old client", PROTOCOL_ERROR: "broken frames",
};

export function overview(me) {
  const history = [];
  const tiles = [
    tile("Players", "cyan", (m) => m.players, number,
      (m) => `of ${number(m.players_most)} · ${number(m.bots)} bots · ${number(m.away)} away`),
    tile("Rooms", "violet", (m) => m.rooms, number,
      (m) => `${number(m.spectators)} spectators · ${number(m.replays)} replays`),
    tile("Worker", "green", (m) => m.cpu, percent,
      (m) => `of a core · load ${m.load.toFixed(1)} on ${m.cores} cores`),
    tile("Sent", "pink", (m) => sum(m.rates, "bytes_sent"), (v) => `${bytes(v)}/s`,
      (m) => `${number(sum(m.rates, "messages_sent"))} messages/s · in ${bytes(sum(m.rates, "bytes_received"))}/s`),
    tile("Memory", "amber", (m) => m.memory, bytes,
      (m) => `at most ${bytes(Math.max(m.memory, m.memory_most))} · ${number(m.descriptors)} descriptors`),
  ];
  const lanes = h("div.lanes");
  const lanesNote = h("p.note");
  const area = areas();
  const areaLegend = h("div.slot");
  const closed = h("div.bars");
  const facts = h("dl.facts");
  const rooms = roomTable(me, { brief: true });
  const page = h("div.overview", {},
    h("section.tiles", { ariaLabel: "Figures" }, tiles),
    h("section.card.wide", {},
      h("h2", {}, "The last second", h("small", {}, "each loop's ticks, to scale; what is empty was free, red is late")),
      lanes, lanesNote),
    h("section.card", {},
      h("h2", {}, "Where the time goes"), area, areaLegend),
    h("section.card", {},
      h("h2", {}, "Connections ended", h("small", {}, "since the start")), closed),
    h("section.card", {}, h("h2", {}, "Machine"), facts),
    h("section.card.wide", {},
      h("h2", {}, "Rooms", h("a.more", { href: "#/rooms" }, "all of them")), rooms));

  let order = [];
  page.machine = (m) => {
    const used = {};
    for (const one of m.lanes) {
      for (const [, , parts] of one.ticks) {
        parts.forEach((took, at) => {
          used[one.phases[at]] = (used[one.phases[at]] ?? 0) + took / 1000;
        });
      }
    }
    history.push(used);
    if (history.length > MOST) history.shift();
    const names = [...new Set(m.lanes.flatMap((one) => one.phases))];
    if (names.join() !== order.join()) {
      order = names;
      areaLegend.replaceChildren(legend(order));
    }
    area.show(history, order);
    for (const one of tiles) one.machine(m);
    keyed(lanes, m.lanes, (one) => one.room || one.name.replace(/^\d+ /, ""), laneRow);
    lanesNote.hidden = m.lanes.some((one) => one.ticks.length);
    text(lanesNote, "Nothing ticks: rooms stand still while nobody is in them.");
    keyed(closed, ranked(m.closed, m.refused), ([name]) => name, barRow);
    fill(facts, factsOf(m, me));
  };
  page.rooms = (found) => rooms.rooms(found);
  return page;
}

const sum = (rates, what) => (rates[`crowd.${what}`] ?? 0) + (rates[`objects.${what}`] ?? 0);

function tile(name, tone, value, shown, about) {
  const values = [];
  const big = h("strong");
  const small = h("small");
  const line = spark(tone);
  const element = h(`div.tile.${tone}`, {}, h("span", {}, name), big, small, line);
  element.machine = (m) => {
    values.push(value(m));
    if (values.length > 60) values.shift();
    text(big, shown(values.at(-1)));
    text(small, about(m));
    line.show(values);
  };
  return element;
}

function laneRow(first) {
  const title = first.room
    ? h("a", { href: `#/room/${encodeURIComponent(first.room)}` }, first.room)
    : h("b");
  const busy = h("span.dim");
  const picture = lane();
  const mean = h("div.slot");
  const element = h("div.lane", {}, h("div.lane-head", {}, title, busy), picture, mean);
  element.show = (one) => {
    const ticks = one.ticks.length;
    text(title, one.room || one.name);
    text(busy, `${percent(one.busy)} of the time · ${ticks} ${one.room ? "ticks" : "turns"}`);
    picture.show(one);
    if (!ticks) return mean.replaceChildren();
    const means = one.phases.map((name, at) =>
      [name, one.ticks.reduce((all, tick) => all + (tick[2][at] ?? 0), 0) / ticks]);
    mean.replaceChildren(phases(means));
  };
  return element;
}

function ranked(closed, refused) {
  const rows = [
    ...Object.entries(closed).map(([name, count]) => [name, count, CODES[name] ?? name.toLowerCase()]),
    ...Object.entries(refused).filter(([, count]) => count)
      .map(([name, count]) => [`refused ${name}`, count, `refused: ${name.replace("_", " ")}`]),
  ].sort((a, b) => b[1] - a[1]).slice(0, 7);
  const most = Math.max(1, ...rows.map((row) => row[1]));
  return rows.map((row) => [...row, row[1] / most]);
}

const FINE = new Set(["DONE", "LOST", "GOING_AWAY", "RESTART", "TAKEN_OVER"]);

function barRow([name]) {
  const label = h("span");
  const bar = h(`i.${FINE.has(name) ? "fine" : "odd"}`);
  const count = h("b");
  const element = h("div.bar", {}, label, h("span.track", {}, bar), count);
  element.show = ([, value, said, share]) => {
    text(label, said);
    text(count, number(value));
    bar.style.setProperty("width", `${Math.max(1, 100 * share)}%`);
  };
  return element;
}

function factsOf(m, me) {
  const skipped = (m.totals["crowd.skipped"] ?? 0) + (m.totals["objects.skipped"] ?? 0);
  const failed = (m.totals["crowd.rules_failed"] ?? 0) + (m.totals["objects.rules_failed"] ?? 0);
  return [
    ["Up", span(m.t - m.started)],
    ["Version", `${m.version}${me.dev ? ", development run" : ""}, worker ${m.pid}`],
    ["Journals", m.journal.on ? `${bytes(m.journal.bytes)}, ${bytes(m.journal.waiting)} waiting` : "off",
      m.journal.error],
    ["Disk", m.disk_free === null ? "nothing written yet" : `${bytes(m.disk_free)} free`,
      m.disk_free !== null && m.disk_free < 1e9 ? "less than 1 GB" : ""],
    ["Directory", me.shared ? (m.directory === "ok" ? "Redis answers" : "does not answer") : "this node alone",
      m.directory === "ok" ? "" : m.directory],
    ["Rooms moved", number(m.moved)],
    ["Ticks skipped", number(skipped), skipped > 0 ? "for want of time" : ""],
    ["Rules that raised", number(failed), failed > 0 ? "the log has them" : ""],
    ["WebSockets", number(m.connections)],
  ];
}

function fill(list, rows) {
  keyed(list, rows, ([name]) => name, ([name]) => {
    const value = h("span");
    const warn = h("em");
    const element = h("div", {}, h("dt", {}, name), h("dd", {}, value, warn));
    element.show = ([, now, why]) => {
      text(value, now);
      text(warn, why ?? "");
    };
    return element;
  });
}

