/** Why was that tick late: the slowest ones of the last hour, and what ran in them. */

import { get, save } from "./api.js";
import { ask, attempt, toast } from "./ask.js";
import { flame, phases } from "./charts.js";
import { clock, h, keyed, ms, number, text } from "./dom.js";

export function slowPage(me) {
  const may = me.role === "act";
  const list = h("div.slow");
  const note = h("p.note");
  const toggle = h("button.act", { type: "button", hidden: !may });
  const samples = h("span.dim");
  const picture = h("section.card.wide", { hidden: true });
  let on = false;
  toggle.onclick = async () => {
    await attempt("profile", { on: !on });
    look();
  };
  const all = h("button.plain", { type: "button", onclick: () => show("", "all that was sampled") }, "All samples");
  const forget = h("button.plain", { type: "button", hidden: !may, onclick: async () => {
    const sure = await ask({ title: "Forget the slowest ticks?", about: "To see what is slow from now on.", go: "Forget" });
    if (sure && await attempt("forget")) look();
  } }, "Forget them");
  const page = h("div.slow-page", {},
    h("section.card.wide", {}, h("h1", {}, "Slow ticks",
      h("small", {}, "the 32 that ended the latest after they were due, of the last hour")),
    h("p.dim", {}, "Each says how late it began, how long it took, and of what. With samples on, a thread looks every 4 ms at what the worker runs, and slow ticks keep their stacks; off again after ten minutes, or by ",
      h("code", {}, "kill -USR2 worker"), "."),
    h("div.acts", {}, toggle, all, forget, samples), note),
    picture, list);

  async function look() {
    let found;
    try {
      found = await get("slow");
    } catch (error) {
      toast(error.message, "bad");
      return;
    }
    on = found.profiling;
    text(toggle, on ? "Stop taking samples" : "Take samples");
    toggle.classList.toggle("on", on);
    text(samples, found.samples ? `${number(found.samples)} samples` : "");
    all.hidden = !found.samples;
    note.hidden = found.ticks.length > 0;
    text(note, "No tick was slow yet.");
    keyed(list, found.ticks, (tick) => tick.at, (tick) => card(tick, show));
  }

  async function show(at, name) {
    try {
      const { tree, every_ms: unit } = await get(`stacks?at=${at}`);
      const file = at ? `tick-${at}.speedscope.json` : "profile.speedscope.json";
      picture.hidden = false;
      picture.replaceChildren(
        h("h2", {}, `What ran: ${name}`, h("small", {}, "wider took longer; click to look into a part")),
        flame(tree, unit),
        h("div.acts", {},
          h("button.act", { type: "button", onclick: () => save(`profile?at=${at}`, file) }, "Save for speedscope"),
          h("span.dim", {}, "Open the file with speedscope.app: it stays in your browser.")));
      picture.scrollIntoView({ behavior: "smooth", block: "start" });
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

function card(tick, show) {
  const facts = [
    ["late", tick.late_ms], ["took", tick.took_ms], ["of it with a core", tick.cpu_ms],
    ["other rooms before", tick.others_ms], ["garbage before", tick.garbage_ms],
  ].filter(([name, value]) => value > 0.05 || name === "took");
  const counts = Object.entries(tick.counts).map(([name, value]) => `${name} ${value}`).join(" · ");
  const at = tick.at.toFixed(3);
  const name = `${tick.room || "object rooms"}, ${tick.room ? "tick" : "turn"} ${number(tick.tick)}`;
  const bars = h("div.late-bar");
  const total = Math.max(tick.over_ms, 0.01);
  const late = h("span.late", { title: `late: ${ms(tick.late_ms)}` }, tick.late_ms / total > 0.2 ? `late ${ms(tick.late_ms)}` : "");
  late.style.setProperty("flex-grow", tick.late_ms / total);
  const took = phases(tick.phases);
  took.style.setProperty("flex-grow", tick.took_ms / total);
  if (tick.late_ms > 0.05) bars.append(late);
  bars.append(took);
  const element = h("section.card.wide.tick", {},
    h("div.tick-head", {},
      h("strong", { className: tick.over_ms > 50 ? "bad" : "" }, ms(tick.over_ms)),
      h("span", {}, name), h("span.dim", {}, clock(tick.at)),
      tick.stacks ? h("button.small", { type: "button", onclick: () => show(at, name) }, `${tick.stacks} stacks`) : null),
    h("p", {}, tick.why), bars,
    h("p.dim", {}, facts.map(([label, value]) => `${label} ${ms(value)}`).join(" · "), counts ? ` — ${counts}` : ""));
  element.show = () => {};
  return element;
}
