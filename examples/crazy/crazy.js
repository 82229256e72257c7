import { $, ask, enter, make } from "/shared/page.js";

const SUITS = {
  S: ["spades",
    "M50 4C62 26 94 42 94 66A21 21 0 0 1 55 76Q56 90 66 96H34Q44 90 45 76A21 21 0 0 1 6 66C6 42 38 26 50 4Z"],
  H: ["hearts", "M50 94C34 74 6 58 6 32A22 22 0 0 1 50 24A22 22 0 0 1 94 32C94 58 66 74 50 94Z"],
  D: ["diamonds", "M50 4 88 50 50 96 12 50Z"],
  C: ["clubs",
    "M50 4A20 20 0 0 1 66 37A20 20 0 1 1 55 67Q56 88 66 96H34Q44 88 45 67A20 20 0 1 1 34 37A20 20 0 0 1 50 4Z"],
};
const RANKS = { A: "ace", T: "10", J: "jack", Q: "queen", K: "king" };
const SEEN = 7; // backs that are drawn of an opponent's hand

const isRed = (suit) => suit === "H" || suit === "D";
const named = (card) => `${RANKS[card[1]] ?? card[1]} of ${SUITS[card[0]][0]}`;
const pip = (suit, size) =>
  `<svg class="${size}" viewBox="0 0 100 100" aria-hidden="true"><path d="${SUITS[suit][1]}"/></svg>`;

function face(tag, card, fields) {
  const found = make(tag, { className: `card ${isRed(card[0]) ? "red" : ""}`, ...fields });
  const rank = card[1] === "T" ? "10" : card[1];
  found.innerHTML = `<b>${rank}</b>${pip(card[0], "small")}${pip(card[0], "large")}`;
  return found;
}

const room = await enter("crazy");
const drawn = {}; // what is on the screen, by part

/** Draw a part anew only if what it shows has changed, so that focus and motion stay. */
function part(name, shown, draw) {
  const key = JSON.stringify(shown);
  if (drawn[name] === key) return;
  drawn[name] = key;
  draw();
}

function fits(card) {
  const { top, suit } = room.state;
  return card[1] === "8" || card[0] === suit || card[1] === top[1];
}

async function play(card) {
  if (card[1] !== "8") return ask(room, "play", card, "");
  const dialog = $("#suits");
  dialog.returnValue = "";
  dialog.showModal();
  await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  return dialog.returnValue && ask(room, "play", card, dialog.returnValue);
}

function situation({ phase, turn, winner }, me) {
  if (phase === "play" && turn === me) return me.hand.some(fits) ? "Your turn" : "Draw a card";
  if (phase === "play") return `${turn?.name ?? "Someone"}’s turn`;
  if (winner) return winner === me?.name ? "You win this round!" : `${winner} wins this round!`;
  if (room.players.length < 2) return "Invite someone: it takes two at least";
  return phase === "over" ? "The others left." : "Ready?";
}

function seat(player) {
  const row = make("li", {
    className: `${player === room.state.turn ? "turn" : ""} ${player.connected ? "" : "gone"}`,
  });
  const backs = Array.from({ length: Math.min(player.count, SEEN) }, () => make("i"));
  const waits = room.state.phase === "play" && !player.playing;
  const count = waits ? "waits" : player.count;
  const wins = player.wins ? ` · ${player.wins} won` : "";
  row.append(
    make("b", { textContent: player.name + wins }),
    make("div", {}, ...backs, make("span", { textContent: count, ariaLabel: `${count} cards` })),
  );
  return row;
}

function show() {
  const { state, me, players } = room;
  const mine = state.phase === "play" && state.turn === me;
  const others = players.filter((player) => player !== me);
  const shown = others.map((p) => [p.id, p.count, p.playing, p.wins, p.connected]);
  part("others", [shown, state.turn?.id, state.phase], () => {
    $("#others").replaceChildren(...others.map(seat));
  });
  part("top", state.top, () => $("#top").replaceChildren(
    state.top ? face("div", state.top) : make("div", { className: "card none" }),
  ));
  $("#top").ariaLabel = state.top ? `On top: ${named(state.top)}` : "No card yet";
  part("suit", [state.suit, state.top], () => {
    const other = state.suit && state.suit !== state.top[0];
    $("#suit").className = isRed(state.suit) ? "red" : "";
    $("#suit").innerHTML = other ? pip(state.suit, "") : "";
    $("#suit").ariaLabel = other ? `The suit is ${SUITS[state.suit][0]}` : "";
  });
  $("#pile span").textContent = state.left;
  $("#pile").disabled = !mine || state.drawn || !state.left;
  $("#said").textContent = situation(state, me);
  $("#skip").hidden = !mine || !(state.drawn || !state.left);
  $("#deal").hidden = !me || state.phase === "play" || players.length < 2;
  $("#deal").textContent = state.phase === "over" ? "Next round" : "Deal";
  const hand = me?.hand ?? [];
  part("hand", [hand, mine, state.top, state.suit], () => {
    const many = Math.max(0, hand.length - 9) * 0.28;
    $("#hand").classList.toggle("mine", mine);
    $("#hand").style.setProperty("--tuck", `${Math.min(3, many)}rem`);
    $("#hand").replaceChildren(...hand.map((card) => face("button", card, {
      ariaLabel: named(card), ariaDisabled: String(!mine || !fits(card)),
      title: named(card),
      onclick: () => play(card),
    })));
  });
}

$("#pile").onclick = () => ask(room, "draw");
$("#skip").onclick = () => ask(room, "skip");
$("#deal").onclick = () => ask(room, "deal");
$("#suits div").append(...Object.entries(SUITS).map(([suit, [name]]) => {
  const button = make("button", { value: suit, ariaLabel: name, className: isRed(suit) ? "red" : "" });
  button.innerHTML = pip(suit, "");
  return button;
}));
room.onChange(show);
show();
