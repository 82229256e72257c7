import { $, ask, colourOf, enter, make, say, talk } from "/shared/page.js";
import { create } from "/tickstorm.js";

const LIST_MS = 3000;
const TYPING_MS = 2500; // without a key, one no longer types

const room = await enter("chat");
const field = $(".talk input");

// What is said; lines without a name are the room's own.

talk(room, "lines", ([nick, words]) => {
  const speaker = room.players.find((player) => player.nick === nick);
  const name = make("b", { textContent: nick });
  if (speaker) name.style.setProperty("--colour", colourOf(speaker));
  return nick ? [name, words] : [make("span", { className: "dim", textContent: words })];
});

let typing = false;
let quiet = 0;

function tell(on) {
  clearTimeout(quiet);
  if (on) quiet = setTimeout(tell, TYPING_MS, false);
  if (on !== typing) room.send("typing", on);
  typing = on;
}
field.addEventListener("input", () => tell(field.value !== ""));
$(".talk form").addEventListener("submit", () => tell(false));

// Who is here.

function row(guest, iAmHost) {
  const name = make("b", { textContent: guest.nick });
  name.style.setProperty("--colour", colourOf(guest));
  const marks = [
    guest === room.me && "you", guest.host && "host", guest.muted && "muted",
    guest.connected || "away",
  ].filter((mark) => typeof mark === "string");
  const found = make("li", {}, name, make("small", { textContent: marks.join(", ") }));
  if (iAmHost && guest !== room.me) {
    const act = (message, text) => make("button", {
      className: "plain", textContent: text, ariaLabel: `${text} ${guest.nick}`,
      onclick: () => ask(room, message, guest.nick),
    });
    found.append(act("mute", guest.muted ? "Unmute" : "Mute"), act("remove", "Remove"));
  }
  return found;
}

let shown = "";

function guests() {
  const { me, players } = room;
  const writing = players.filter((player) => player.typing && player !== me).map((p) => p.nick);
  $("#typing").textContent = writing.length === 0 ? ""
    : writing.length < 3 ? `${writing.join(" and ")} ${writing[1] ? "are" : "is"} typing…`
      : "Several people are typing…";
  field.disabled = Boolean(me?.muted);
  field.placeholder = me?.muted ? "The host has muted you." : "Say something…";
  const now = JSON.stringify(players.map((p) => [p.id, p.nick, p.host, p.muted, p.connected]));
  if (now === shown) return; // buttons stay while nothing about them changes
  shown = now;
  $("#guests").replaceChildren(...players.map((guest) => row(guest, Boolean(me?.host))));
}
room.onChange(guests);
guests();

$("#rename").onclick = () => {
  $("#nick").value = room.me.nick;
  $("#renaming").showModal();
};
$("#renaming form").onsubmit = ({ submitter }) => {
  if (submitter?.value !== "cancel") ask(room, "rename", $("#nick").value);
};

// The rooms.

async function list() {
  const answer = await fetch("/api/rooms").then((response) => response.json()).catch(() => null);
  const rooms = (answer?.rooms ?? []).filter(({ game }) => game === "chat");
  const own = rooms.find((one) => one.room === room.id) ?? room.place;
  $("#room-name").textContent = own.name ?? "Chat";
  if (!rooms.some((one) => one.room === room.id)) rooms.unshift({ ...own, room: room.id });
  $("#rooms ul").replaceChildren(...rooms.map((one) => {
    const link = make(
      "a", { href: `#${one.room}` }, make("span", { textContent: one.name ?? "Chat" }),
      make("small", { textContent: one.room === room.id ? room.players.length : one.players }),
    );
    if (one.room === room.id) link.setAttribute("aria-current", "page");
    return make("li", {}, link);
  }));
}
$("#rooms form").onsubmit = async (event) => {
  event.preventDefault();
  const title = $("#rooms input").value.trim();
  if (!title) return;
  try {
    const made = await create("chat", { title, public: true, name: room.me.name });
    location.hash = made.id;
  } catch (error) {
    say(error.message);
  }
};
setInterval(list, LIST_MS);
list();
