import { joinOrCreate } from "/tickstorm.js";

const [status, board, again] = ["status", "board", "again"].map((id) => document.getElementById(id));
const cells = Array.from({ length: 9 }, (_, cell) => {
  const button = document.createElement("button");
  button.onclick = () => room.request("place", cell).catch(say);
  board.append(button);
  return button;
});

const room = await joinOrCreate("newgame").catch((error) => {
  say(error);
  throw error;
});
again.onclick = () => room.request("again").catch(say);
room.onChange(draw);
room.onStatus((_, text) => { if (text) status.textContent = text; });
draw();

function say(error) {
  status.textContent = error.message;
}

function draw() {
  const { state, me, players } = room;
  cells.forEach((button, cell) => {
    button.textContent = state.cells[cell];
    button.setAttribute("aria-label", `cell ${cell + 1}: ${state.cells[cell] || "free"}`);
    button.disabled = state.cells[cell] !== "" || state.result !== "";
  });
  again.hidden = !state.result;
  if (state.result === "draw") status.textContent = "Nobody wins.";
  else if (state.result) status.textContent = state.result === me?.mark ? "You win!" : "You lose.";
  else if (players.length < 2) status.textContent = "Open this page in a second window to play.";
  else if (state.turn === me?.mark) status.textContent = `You are ${me.mark}: your turn.`;
  else status.textContent = "The other one thinks …";
}
