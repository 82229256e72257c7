/** Rounds, where a room has them: the time that is left, and the podium between two. */

/** Some element of the page. @type {(id: string) => any} */
const byId = (id) => document.getElementById(id);
const STEPS = 3;
const PACE_MS = 4000; // over which the ticks of a second are counted

export class Rounds {
  #shown = "";
  #since = 0; // when, and
  #from = NaN; // at which tick the present count began
  #tickHz = NaN;

  /** Once a frame. Which phase it is follows from the tick alone. */
  update({ time, tickHz, round, board, self }, nowMs) {
    const tick = time * tickHz;
    const length = round.ticks + round.podiumTicks;
    const phase = round.ticks ? Math.floor(tick) % length : 0;
    const podium = round.ticks > 0 && phase >= round.ticks;
    const left = Math.ceil(((podium ? length : round.ticks) - phase) / this.#pace(tick, tickHz, nowMs));
    const shown = round.ticks ? `${podium} ${left} ${podium ? board.rows : ""}` : "";
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
      ...board.rows.slice(0, STEPS).map(([name, score, slot]) => {
        const step = document.createElement("li");
        const who = document.createElement("span");
        const points = document.createElement("b");
        who.textContent = name;
        points.textContent = String(score);
        step.classList.toggle("me", slot === self.slot);
        step.append(who, points);
        return step;
      }),
    );
  }

  /** Ticks in a second, as they come: a server that is short of time makes fewer. */
  #pace(tick, tickHz, nowMs) {
    const passed = nowMs - this.#since;
    if (!(tick >= this.#from) || passed > 2 * PACE_MS) {
      this.#tickHz = tickHz; // another room, or nobody looked for a while
    } else if (passed < PACE_MS) {
      return this.#tickHz;
    } else {
      const measured = ((tick - this.#from) * 1000) / passed;
      this.#tickHz = measured > tickHz / 4 ? measured : tickHz;
    }
    this.#since = nowMs;
    this.#from = tick;
    return this.#tickHz;
  }
}
