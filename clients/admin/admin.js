/** The page: who looks, at what, and the line to the server. */

import { get, keepToken, knownToken, live } from "./api.js";
import { ask, attempt, toast } from "./ask.js";
import { h, number, percent, text } from "./dom.js";
import { logPage } from "./log.js";
import { overview } from "./overview.js";
import { roomPage } from "./room.js";
import { roomsPage } from "./rooms.js";
import { slowPage } from "./slow.js";

const $ = (selector) => document.querySelector(selector);
let me = null;
let end = () => {};
let view = null;

function signIn(note = "") {
  end();
  $("#top").hidden = $("#foot").hidden = true;
  $("#line").hidden = true;
  const field = h("input", { type: "password", name: "token", required: true, autocomplete: "current-password", ariaLabel: "Token" });
  const form = h("form.sign-in", {},
    h("img", { src: "mark.svg", alt: "", width: 56, height: 56 }),
    h("h1", {}, "Tickstorm admin"),
    h("p.dim", {}, "The token is ADMIN_TOKEN of the server, to act, or ADMIN_LOOK_TOKEN, to look. ",
      h("code", {}, "tickstorm run"), " prints a link with one."),
    field, h("button.go", { type: "submit" }, "Sign in"), h("p.error", { role: "alert" }, note));
  form.onsubmit = (event) => {
    event.preventDefault();
    keepToken(field.value.trim());
    begin();
  };
  $("#main").replaceChildren(form);
  field.focus();
}

async function begin() {
  try {
    me = await get("me");
  } catch (error) {
    if (error.status !== 0) keepToken("");
    signIn(error.status === 401 ? "This is not a token of this server." : error.message);
    return;
  }
  document.body.classList.toggle("looks-only", me.role !== "act");
  $("#top").hidden = $("#foot").hidden = false;
  $("#say").hidden = me.role !== "act";
  text($("#node"), me.node);
  document.title = `${me.node} · Tickstorm admin`;
  go();
}

function go() {
  if (!me) return;
  const [, where = "", what = ""] = location.hash.split("/");
  /** @type {NodeListOf<HTMLElement>} */
  const links = document.querySelectorAll("nav a");
  for (const link of links) {
    const here = link.dataset.view === (where === "room" ? "rooms" : where);
    link.classList.toggle("here", here);
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  let query = {};
  if (where === "room") {
    const id = decodeURIComponent(what);
    view = roomPage(me, id);
    query = { room: id };
  } else if (where === "rooms") {
    view = roomsPage(me, "");
    view.onsearch = (search) => listen({ search });
  } else if (where === "slow") view = slowPage(me);
  else if (where === "log") view = logPage(me);
  else view = overview(me);
  $("#main").replaceChildren(view);
  scrollTo(0, 0);
  listen(query);
}

function listen(query) {
  end();
  end = live(query, (name, data) => {
    if (name === "machine") machine(data);
    view[name]?.(data);
  }, (trouble, denied) => {
    if (denied) return signIn("The token is not valid any more.");
    $("#line").hidden = !trouble;
    text($("#line"), trouble);
    document.body.classList.toggle("lost", Boolean(trouble));
  });
}

function machine(m) {
  const health = $("#health");
  const [tone, said] = !m.healthy ? ["bad", "ticks stand still"]
    : m.draining ? ["warn", "draining"] : ["good", "healthy"];
  health.className = `pill ${tone}`;
  text(health, said);
  const others = m.viewers === 1 ? "" : `, for ${number(m.viewers)} viewers`;
  text($("#foot"), `Tickstorm ${m.version} · this page costs the server ${percent(m.cost)} of a core${others}${m.profiling ? " · samples are taken" : ""}`);
}

$("#say").onclick = async () => {
  const said = await ask({
    title: "Say to everyone", about: "In every room of this server.",
    fields: [{ name: "text", label: "Text", required: true }], go: "Say",
  });
  if (said?.text) attempt("say", { text: said.text });
};
$("#out").onclick = () => {
  keepToken("");
  me = null;
  signIn();
};
addEventListener("hashchange", () => {
  if (location.hash.startsWith("#token=")) {
    knownToken();
    begin();
  } else go();
});
addEventListener("error", (event) => toast(event.message, "bad"));

if (knownToken()) begin();
else signIn();
