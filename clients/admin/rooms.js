/** The table of rooms. */

import { h, keyed, number, percent, text } from "./dom.js";

const SHED = {
  none: "", cosmetics: "sheds feed and board", far_half: "sheds far entities", far_quarter: "sheds far entities",
  snapshots_half: "half the snapshots", snapshots_quarter: "a quarter of the snapshots",
  admission: "lets nobody in",
};

/** `brief`: the first ten only. Shows what `rooms(found)` is given. */
export function roomTable(me, { brief = false } = {}) {
  const body = h("tbody");
  const note = h("p.note");
  const table = h("table.rooms", {},
    h("thead", {}, h("tr", {}, ["Room", "Game", "Players", "", "Rate", "Busy", ""].map((name, at) =>
      h("th", { className: ["", "wide-only", "num", "wide-only", "num wide-only", "num", ""][at] }, name)))),
    body);
  const element = h("div.scroll", {}, table, note);
  element.rooms = ({ found, rows }) => {
    const shown = brief ? rows.slice(0, 10) : rows;
    keyed(body, shown, (row) => row.id, roomRow);
    const more = found - shown.length;
    note.hidden = found > 0 && more <= 0;
    text(note, found ? `${number(more)} more${brief ? "" : ": search for them"}` : "No room is open.");
  };
  return element;
}

function roomRow({ id }) {
  const title = h("b");
  const game = h("td.wide-only");
  const players = h("td.num");
  const meter = h("i");
  const rate = h("td.num.dim.wide-only");
  const busy = h("td.num");
  const marks = h("td.marks");
  const link = h("a", { href: `#/room/${encodeURIComponent(id)}` }, title, h("code", {}, id));
  const element = h("tr", {}, h("td.name", {}, link), game, players,
    h("td.wide-only", {}, h("span.track", {}, meter)), rate, busy, marks);
  element.onclick = (event) => {
    if (!event.target.closest("a")) link.click();
  };
  let shownMarks = "";
  element.show = (row) => {
    text(title, row.title || row.game);
    text(game, row.game);
    text(players, `${number(row.players)} / ${number(row.capacity)}`);
    meter.style.setProperty("width", `${Math.min(100, (100 * row.players) / Math.max(1, row.capacity))}%`);
    text(rate, row.hz ? `${row.hz} Hz` : "on demand");
    text(busy, percent(row.busy));
    const now = marksOf(row);
    if (now.join() !== shownMarks) {
      shownMarks = now.join();
      marks.replaceChildren(...now.map(([tone, said]) => h(`span.chip.${tone}`, {}, said)));
    }
  };
  return element;
}

export function marksOf(row) {
  const marks = [];
  if (row.fault) marks.push(["bad", "waits for a cure"]);
  if (row.shedding !== "none") marks.push(["warn", SHED[row.shedding] || row.shedding]);
  if (row.held) marks.push(["warn", "moves"]);
  if (row.locked) marks.push(["warn", "locked"]);
  if (!row.public) marks.push(["dim", "private"]);
  if (row.bots) marks.push(["dim", `${number(row.bots)} bots`]);
  return marks;
}

export function roomsPage(me, search) {
  const table = roomTable(me);
  const field = h("input", {
    type: "search", placeholder: "Find by id, game or title", ariaLabel: "Find a room", value: search,
  });
  let typing = 0;
  field.oninput = () => {
    clearTimeout(typing);
    typing = setTimeout(() => page.onsearch(field.value.trim()), 250);
  };
  const page = h("section.card.only", {}, h("h1", {}, "Rooms", field), table);
  page.rooms = (found) => table.rooms(found);
  page.machine = () => {};
  return page;
}
