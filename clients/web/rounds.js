/** Rounds, where a room has them: the time that is left, and the podium between two. */

const byId = (id) => document.getElementById(id);
const STEPS = 3;

export class Rounds {
  #shown = "";

  /** Once a frame. Which phase it is follows from the tick alone. */
  update({ time, tickHz, round, board, self }) {
    const length = round.ticks + round.podiumTicks;
    const phase = round.ticks ? Math.floor(time * tickHz) % length : 0;
    const podium = round.ticks > 0 && phase >= round.ticks;
    const left = Math.ceil(((podium ? length : round.ticks) - phase) / tickHz);
    const shown = round.ticks ? `${podium} ${left}` : "";
    if (shown === this.#shown) return;
    this.#shown = shown;
    byId("round").hidden = !round.ticks || podium;
    byId("podium").hidden = !podium;
    if (!podium) {
      byId("round").textContent = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
      return;
    }
    byId("podium-next").textContent = `Next round in ${left} s`;
    byId("podium-rows").replaceChildren(
      ...board.rows.slice(0, STEPS).map(([name, score]) => {
        const step = document.createElement("li");
        const who = document.createElement("span");
        const points = document.createElement("b");
        who.textContent = name;
        points.textContent = String(score);
        step.classList.toggle("me", name === self.name);
        step.append(who, points);
        return step;
      }),
    );
  }
}
