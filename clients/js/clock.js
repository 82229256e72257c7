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

const PLAYBACK_WINDOW = 64; // snapshots
const PLAYBACK_WINDOW_MS = 4000;
const PLAYBACK_ON_TIME = 0.9; // share of snapshots that should be there before they are needed
const PLAYBACK_MARGIN_MS = 3;
const PLAYBACK_MOST_LATE_MS = 250;
const PLAYBACK_SLEW = 0.1; // largest deviation from the real pace,
const PLAYBACK_FAR_SLEW = 0.5; // and when off by more than
const PLAYBACK_FAR_TICKS = 2;
const PLAYBACK_SNAP_MS = 600;
const PLAYBACK_SHIFT_MS = 120; // more than jitter: the way itself has changed,
const PLAYBACK_SHIFT_RUN = 6; // if that many in a row are so late

export class PlaybackClock {
  #offset = new Float64Array(PLAYBACK_WINDOW); // arrival time less the tick's nominal time
  #when = new Float64Array(PLAYBACK_WINDOW);
  #scratch = new Float64Array(PLAYBACK_WINDOW);
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
    const slot = this.#count++ % PLAYBACK_WINDOW;
    this.#offset[slot] = offset;
    this.#when[slot] = now;

    let recent = 0;
    const kept = Math.min(this.#count, PLAYBACK_WINDOW);
    for (let i = 0; i < kept; i++) {
      if (now - this.#when[i] < PLAYBACK_WINDOW_MS) this.#scratch[recent++] = this.#offset[i];
    }
    this.#usual = quantile(this.#scratch, recent, 0.5);
    const late = quantile(this.#scratch, recent, PLAYBACK_ON_TIME) - this.#usual;
    this.jitterMs = Math.min(late, PLAYBACK_MOST_LATE_MS);
    // The next snapshot must be here when the time of this one is over.
    this.delayMs = snapshotTicks * this.tickMs + this.jitterMs + PLAYBACK_MARGIN_MS;
    this.#origin = this.#usual + this.delayMs;
  }

  /** After a stall has ended, or on another route, what came before says nothing about now. */
  #noticeShift(offset) {
    this.#lateRun = offset > this.#usual + PLAYBACK_SHIFT_MS ? this.#lateRun + 1 : 0;
    if (offset < this.#usual - PLAYBACK_SHIFT_MS || this.#lateRun >= PLAYBACK_SHIFT_RUN) {
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
      if (error * this.tickMs > PLAYBACK_SNAP_MS) this.#tick = wanted;
      else if (error * this.tickMs > -PLAYBACK_SNAP_MS) {
        const far = Math.abs(error) > PLAYBACK_FAR_TICKS;
        const limit = far ? PLAYBACK_FAR_SLEW : PLAYBACK_SLEW;
        const slew = clamp(error * 0.2, -limit, limit);
        this.#tick += elapsed * (1 + slew);
      }
    }
    this.#now = Math.max(now, this.#now || now);
    return this.#tick;
  }
}

const INPUT_GOAL = 0; // ticks of slack: there when its tick begins, and not a whole tick earlier
const INPUT_WINDOW_S = 2;
const INPUT_NUDGE = 0.1; // ticks to move ahead after an input that was late once
const INPUT_EARLY_STEP = 0.4; // ticks to fall back when nearly all are early
const INPUT_EARLY_SHARE = 0.9;
const INPUT_SLEW = 0.05; // largest deviation from the real pace
const INPUT_SNAP_TICKS = 4;
const INPUT_RECENT = 5; // late by the median of so many reports calls for a change at once

export class InputClock {
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
    this.#slack = new Float64Array(Math.ceil(INPUT_WINDOW_S * reportsHz));
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
    const slew = clamp(this.#owed, -INPUT_SLEW * elapsed, INPUT_SLEW * elapsed);
    this.#owed -= slew;
    this.#tick += elapsed + slew;
    this.#now = Math.max(now, this.#now);
    return this.#tick + ((now - this.#now) / 1000) * this.tickHz; // a frame began before a timer
  }

  /** The snapshot of `tick` reports by how many ticks the newest input was early. */
  onSlack(tick, slack) {
    if (tick < this.#deafUntil) return;
    const size = this.#slack.length;
    const previous = this.#count ? this.#slack[(this.#count - 1) % size] : INPUT_GOAL;
    this.#slack[this.#count++ % size] = slack;
    if (slack < INPUT_GOAL && previous >= INPUT_GOAL) this.#owed += INPUT_NUDGE;

    if (this.#count >= INPUT_RECENT) {
      for (let i = 0; i < INPUT_RECENT; i++) {
        this.#scratch[i] = this.#slack[(this.#count - 1 - i) % size];
      }
      const error = INPUT_GOAL - quantile(this.#scratch, INPUT_RECENT, 0.5);
      if (Math.abs(error) >= INPUT_SNAP_TICKS) this.#snap(error);
      else if (error > 0) this.#shift(error - 0.5);
    }
    if (this.#count >= size) {
      this.#scratch.set(this.#slack);
      const early = quantile(this.#scratch, size, 1 - INPUT_EARLY_SHARE) - INPUT_GOAL;
      if (early >= 1) this.#shift(-(early - 1) - INPUT_EARLY_STEP);
    }
  }

  #shift(ticks) {
    this.#owed = ticks;
    this.#listenAfter(Math.abs(ticks) / INPUT_SLEW);
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
