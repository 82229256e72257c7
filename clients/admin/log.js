/** Who did what, and who is banned. */

import { get } from "./api.js";
import { ask, attempt, HOURS, toast } from "./ask.js";
import { day, h, keyed, text } from "./dom.js";

export function logPage(me) {
  const may = me.role === "act";
  const bans = h("tbody");
  const noBans = h("p.note", {}, "Nobody is banned.");
  const acts = h("tbody");
  const noActs = h("p.note", {}, "Nobody has done anything yet.");
  const add = h("button.act", { type: "button", hidden: !may, onclick: async () => {
    const said = await ask({
      title: "Ban an address", about: "With IPv6, everyone of the same /64. Kept over restarts; ends by itself.",
      fields: [
        { name: "address", label: "Address", required: true }, { name: "hours", label: "For", options: HOURS },
        { name: "reason", label: "Reason, which is told" },
      ], go: "Ban", bad: true,
    });
    if (said && await attempt("ban", { address: said.address, hours: Number(said.hours), reason: said.reason })) look();
  } }, "Ban an address");
  const page = h("div.log", {},
    h("section.card.wide", {}, h("h1", {}, "Bans", add),
      h("div.scroll", {}, h("table", {}, h("thead", {}, h("tr", {}, ["Who", "Until", "Reason", ""].map((name) => h("th", {}, name)))), bans)), noBans),
    h("section.card.wide", {}, h("h2", {}, "What was done", h("small", {}, "the newest first; all of it is in audit.log")),
      h("div.scroll", {}, h("table.audit", {}, h("thead", {}, h("tr", {}, ["When", "From", "Act", "About"].map((name) => h("th", {}, name)))), acts)), noActs));

  async function look() {
    try {
      const found = await get("audit");
      noBans.hidden = found.bans.length > 0;
      noActs.hidden = found.acts.length > 0;
      keyed(bans, found.bans, (ban) => `${ban.kind} ${ban.who}`, (ban) => banRow(ban, may, look));
      keyed(acts, found.acts, (row) => `${row.at} ${row.act}`, actRow);
    } catch (error) {
      toast(error.message, "bad");
    }
  }
  look();
  page.machine = ((count) => () => {
    count += 1;
    if (count % 3 === 0) look();
  })(0);
  return page;
}

function banRow(ban, may, changed) {
  const until = h("td");
  const reason = h("td");
  const element = h("tr", {}, h("td", {}, h("b", {}, ban.who), " ", h("span.chip.dim", {}, ban.kind)), until, reason,
    h("td.acts", {}, may ? h("button.small", { type: "button", onclick: async () => {
      if (await attempt("unban", { [ban.kind]: ban.who })) changed();
    } }, "Lift") : null));
  element.show = (now) => {
    text(until, day(now.until));
    text(reason, now.reason || "–");
  };
  return element;
}

function actRow(row) {
  const { at, from, role, act, about } = row;
  const said = Object.entries(about).map(([name, value]) => `${name} ${typeof value === "string" ? value : JSON.stringify(value)}`).join(" · ");
  const element = h("tr", {}, h("td.dim", {}, day(at)), h("td", { title: role }, from), h("td", {}, h("span.chip", {}, act)), h("td", {}, said || "–"));
  element.show = () => {};
  return element;
}
