/**
 * Two clocks in server ticks, both running at the display's pace and steered gently:
 *
 *     now ──► InputClock     the tick for which input is being sampled: ahead of the server by
 *                            the way there, so that inputs arrive just in time
 *     now ──► PlaybackClock  the tick at which the others are drawn: behind the newest snapshot
 *                            by as little as the network's jitter allows
 *
 * Times are `performance.now()` in ms.
 */

/** Sorts the first `count` values of a scratch array and returns the one at share `q`. */
function quantile(scratch, count, q) {
  const sorted = scratch.subarray(0, count).sort();
  return sorted[Math.min(count - 1, Math.floor(q * count))];
}

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

export class PlaybackClock {
  static WINDOW = 64; // snapshots
  static WINDOW_MS = 4000;
  static ON_TIME = 0.9; // share of snapshots that should be there before they are needed
  static MARGIN_MS = 3;
  static MOST_LATE_MS = 250;
  static SLEW = 0.1; // largest deviation from the real pace,
  static FAR_SLEW = 0.5; // and when off by more than
  static FAR_TICKS = 2;
  static SNAP_MS = 600;
  static SHIFT_MS = 120; // more than jitter: the way itself has changed,
  static SHIFT_RUN = 6; // if that many in a row are so late

  #offset = new Float64Array(PlaybackClock.WINDOW); // arrival time less the tick's nominal time
  #when = new Float64Array(PlaybackClock.WINDOW);
  #scratch = new Float64Array(PlaybackClock.WINDOW);
  #count = 0;
  #usual = NaN;
  #lateRun = 0;
  #origin = NaN; // real time at which tick 0 should be drawn, ms
  #now = NaN;
  #tick = NaN;

  constructor(tickHz) {
    this.tickMs = 1000 / tickHz;
    this.jitterMs = 0; // how late the late snapshots are, compared to most
    this.delayMs = 0; // from a usual arrival of a snapshot to its being drawn
  }

  onSnapshot(now, tick, snapshotTicks) {
    const offset = now - tick * this.tickMs;
    this.#noticeShift(offset);
    const slot = this.#count++ % PlaybackClock.WINDOW;
    this.#offset[slot] = offset;
    this.#when[slot] = now;

    let recent = 0;
    const kept = Math.min(this.#count, PlaybackClock.WINDOW);
    for (let i = 0; i < kept; i++) {
      if (now - this.#when[i] < PlaybackClock.WINDOW_MS) this.#scratch[recent++] = this.#offset[i];
    }
    this.#usual = quantile(this.#scratch, recent, 0.5);
    const late = quantile(this.#scratch, recent, PlaybackClock.ON_TIME) - this.#usual;
    this.jitterMs = Math.min(late, PlaybackClock.MOST_LATE_MS);
    // The next snapshot must be here when the time of this one is over.
    this.delayMs = snapshotTicks * this.tickMs + this.jitterMs + PlaybackClock.MARGIN_MS;
    this.#origin = this.#usual + this.delayMs;
  }

  /** After a stall has ended, or on another route, what came before says nothing about now. */
  #noticeShift(offset) {
    const { SHIFT_MS, SHIFT_RUN } = PlaybackClock;
    this.#lateRun = offset > this.#usual + SHIFT_MS ? this.#lateRun + 1 : 0;
    if (offset < this.#usual - SHIFT_MS || this.#lateRun >= SHIFT_RUN) {
      this.#count = 0;
      this.#lateRun = 0;
    }
  }

  /** The tick (with a fraction) to draw now. Never runs backwards. */
  tickAt(now) {
    const wanted = (now - this.#origin) / this.tickMs;
    if (Number.isNaN(this.#tick)) {
      this.#tick = wanted;
    } else {
      const elapsed = Math.max(0, now - this.#now) / this.tickMs;
      const error = wanted - (this.#tick + elapsed);
      if (error * this.tickMs > PlaybackClock.SNAP_MS) this.#tick = wanted;
      else if (error * this.tickMs > -PlaybackClock.SNAP_MS) {
        const far = Math.abs(error) > PlaybackClock.FAR_TICKS;
        const limit = far ? PlaybackClock.FAR_SLEW : PlaybackClock.SLEW;
        const slew = clamp(error * 0.2, -limit, limit);
        this.#tick += elapsed * (1 + slew);
      }
    }
    this.#now = Math.max(now, this.#now || now);
    return this.#tick;
  }
}

export class InputClock {
  static GOAL = 0; // ticks of slack: there when its tick begins, and not a whole tick earlier
  static WINDOW_S = 2;
  static NUDGE = 0.1; // ticks to move ahead after an input that was late once
  static EARLY_STEP = 0.4; // ticks to fall back when nearly all are early
  static EARLY_SHARE = 0.9;
  static SLEW = 0.05; // largest deviation from the real pace
  static SNAP_TICKS = 4;
  static RECENT = 5; // late by the median of so many reports calls for a change at once

  #now = NaN;
  #tick = NaN;
  #owed = 0; // ticks still to be slewed in
  #slack;
  #scratch;
  #count = 0;
  #deafUntil = 0; // reports before this tick are about inputs from before the last change

  /** `reportsHz`: how many inputs a second the server reports on. */
  constructor(tickHz, reportsHz = tickHz) {
    this.tickHz = tickHz;
    this.#slack = new Float64Array(Math.ceil(InputClock.WINDOW_S * reportsHz));
    this.#scratch = new Float64Array(this.#slack.length);
  }

  get running() {
    return !Number.isNaN(this.#tick);
  }

  /** Begin: the snapshot of `tick` came now, and a message there and back takes `rttMs`. */
  start(now, tick, rttMs) {
    this.#now = now;
    this.#tick = tick + 1.4 + (rttMs / 1000) * this.tickHz;
    this.#owed = 0;
    this.#listenAfter(0);
  }

  /** The tick (with a fraction) for which input is due now. */
  tickAt(now) {
    const elapsed = (Math.max(0, now - this.#now) / 1000) * this.tickHz;
    const slew = clamp(this.#owed, -InputClock.SLEW * elapsed, InputClock.SLEW * elapsed);
    this.#owed -= slew;
    this.#tick += elapsed + slew;
    this.#now = Math.max(now, this.#now);
    return this.#tick;
  }

  /** The snapshot of `tick` reports by how many ticks the newest input was early. */
  onSlack(tick, slack) {
    if (tick < this.#deafUntil) return;
    const { GOAL, RECENT, SNAP_TICKS, NUDGE, EARLY_STEP, EARLY_SHARE } = InputClock;
    const size = this.#slack.length;
    const previous = this.#count ? this.#slack[(this.#count - 1) % size] : GOAL;
    this.#slack[this.#count++ % size] = slack;
    if (slack < GOAL && previous >= GOAL) this.#owed += NUDGE;

    if (this.#count >= RECENT) {
      for (let i = 0; i < RECENT; i++) {
        this.#scratch[i] = this.#slack[(this.#count - 1 - i) % size];
      }
      const error = GOAL - quantile(this.#scratch, RECENT, 0.5);
      if (Math.abs(error) >= SNAP_TICKS) this.#snap(error);
      else if (error > 0) this.#shift(error - 0.5);
    }
    if (this.#count >= size) {
      this.#scratch.set(this.#slack);
      const early = quantile(this.#scratch, size, 1 - EARLY_SHARE) - GOAL;
      if (early >= 1) this.#shift(-(early - 1) - EARLY_STEP);
    }
  }

  #shift(ticks) {
    this.#owed = ticks;
    this.#listenAfter(Math.abs(ticks) / InputClock.SLEW);
  }

  #snap(ticks) {
    this.#tick += ticks;
    this.#owed = 0;
    this.#listenAfter(0);
  }

  /** Forget the reports so far, and those about inputs sent in the next `ticks`. */
  #listenAfter(ticks) {
    this.#count = 0;
    this.#deafUntil = this.#tick + ticks;
  }
}
