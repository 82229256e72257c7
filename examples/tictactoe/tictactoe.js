import { $, ask, enter, make } from "/shared/page.js";

const DRAWN = { // paths of length 100
  X: '<path pathLength="100" d="M10 10 90 90"/><path pathLength="100" d="M90 10 10 90"/>',
  O: '<path pathLength="100" d="M50 8a42 42 0 1 1-.1 0"/>',
};
const STEPS = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -3, ArrowDown: 3 };

const room = await enter("tictactoe");
const cells = Array.from({ length: 9 }, (_, at) => make("button", {
  onclick: () => ask(room, "place", at),
  onkeydown: (event) => cells[at + (STEPS[event.key] ?? NaN)]?.focus(),
}));
$("#grid").append(...cells);
$("#rematch").onclick = () => ask(room, "rematch");

function situation({ turn, result }, me, other) {
  if (!other) return "Waiting for the other side…";
  if (result === "draw") return "A draw.";
  const winner = room.players.find((player) => player.mark === result);
  if (result) return winner === me ? "You win!" : `${winner?.name ?? result} wins.`;
  if (turn === me?.mark) return "Your turn";
  return `${room.players.find((player) => player.mark === turn)?.name}’s turn`;
}

function show() {
  const { state, me } = room;
  const other = room.players.find((player) => player !== (me ?? room.players[0]));
  const mayPlay = Boolean(other && me && !state.result && state.turn === me.mark);
  cells.forEach((cell, at) => {
    const mark = state.cells[at];
    if (cell.dataset.mark !== mark) {
      cell.dataset.mark = mark;
      cell.innerHTML = mark && `<svg viewBox="0 0 100 100" aria-hidden="true">${DRAWN[mark]}</svg>`;
    }
    const free = mayPlay && !mark;
    cell.className = `${mark.toLowerCase()} ${state.line.includes(at) ? "won" : ""} ${free ? "free" : ""}`;
    cell.ariaDisabled = String(!free);
    cell.ariaLabel = `Row ${Math.floor(at / 3) + 1}, column ${(at % 3) + 1}: ${mark || "free"}`;
  });
  for (const mark of ["X", "O"]) {
    const player = room.players.find((one) => one.mark === mark);
    const row = $(`#score .${mark.toLowerCase()}`);
    row.classList.toggle("turn", Boolean(other) && !state.result && state.turn === mark);
    $("dt", row).textContent = `${mark}  ${player ? player.name : "–"}`;
    $("dd", row).textContent = player?.wins ?? "";
  }
  $("#said").textContent = situation(state, me, other);
  $("#rematch").hidden = !(state.result && me && other);
  $("#rematch").disabled = Boolean(me?.again);
  $("#rematch").textContent = me?.again ? `Waiting for ${other?.name}…` : "Rematch";
}
room.onChange(show);
show();
