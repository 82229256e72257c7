/** The playground: which of its views is shown, and what came of rules that were saved. */

import { ask, make } from "./dom.js";
import { Play } from "./play.js";
import { Travel } from "./travel.js";

const LOOK_MS = 600;

const views = {
  play: new Play(document.querySelector("#play")),
  travel: new Travel(document.querySelector("#travel")),
};

/** `#travel/objects/k7pq2mxw/812`: the journal, the room and the tick. */
function route() {
  const [name, ...rest] = location.hash.slice(1).split("/");
  const chosen = views[name] ? name : "play";
  for (const [id, view] of Object.entries(views)) {
    document.getElementById(id).hidden = id !== chosen;
    document.querySelector(`#to-${id}`).classList.toggle("chosen", id === chosen);
    if (id === chosen) view.open(rest.map(decodeURIComponent));
    else view.close();
  }
}

let told = "";

/** What was saved last: did the rooms take it, and would the last minute have been another? */
function tell(report) {
  const text = JSON.stringify(report);
  if (text === told) return;
  told = text;
  const box = document.querySelector("#saved");
  box.replaceChildren();
  box.className = "";
  if (!report.at) return;
  const files = report.files.join(", ");
  if (report.problem) {
    box.className = "bad";
    box.append(make("b", {}, `${files} was saved, and has a mistake. `), report.problem);
    return;
  }
  const rooms = Object.entries(report.rooms);
  const other = rooms.filter(([, found]) => found.tick);
  box.append(make("b", {}, `${files} was saved; rooms go on with it. `));
  if (!rooms.length) return;
  if (!other.length) {
    box.className = "good";
    box.append("The last minute would have been the same.");
    return;
  }
  box.className = "warn";
  const [room, { tick, lines }] = other[0];
  box.append("The last minute would have been another ");
  box.append(make("a", { href: `#travel/objects/${encodeURIComponent(room)}/${tick}` }, `from tick ${tick} on`));
  box.append(`: ${lines.slice(0, 2).join("; ")}${lines.length > 2 ? " …" : ""}`);
}

async function look() {
  try {
    const room = views.play.room ?? "";
    const now = await ask("room.json", { room, since: views.play.tick });
    tell(now.report);
    views.play.heard(now);
  } catch {
    // it restarts, perhaps; players show what their connections do
  }
  setTimeout(look, LOOK_MS);
}

addEventListener("hashchange", route);
route();
look();
