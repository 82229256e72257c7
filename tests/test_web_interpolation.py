"""How others are drawn: real clocks and interpolation, fed with simulated networks and frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

import game

pytest_plugins = ["tests.browser"]

TICK_HZ = 20
TICK_MS = 1000 / TICK_HZ
FRAME_MS = 1000 / 60
SPEED = 350.0  # units/s, about what a ship flies at full thrust

# Runs in the page: `arrivals` are [ms, tick, snapshot_ticks, [[id, generation, x, y, heading], …]];
# answers one row per frame: [ms, playback tick, delay, [[id, x, y, angle], …]].
RUN = """async ({kind, tickHz, arrivals, frames}) => {
  const {compile} = await import('/wire.js');
  const {KnownKind} = await import('/tickstorm/columns.js');
  const {PlaybackClock} = await import('/tickstorm/clock.js');
  const {Interpolation} = await import('/tickstorm/smooth.js');
  const known = new KnownKind(compile([[kind], [], []]).kinds[0]);
  const clock = new PlaybackClock(tickHz);
  const interpolation = new Interpolation(known.kind, tickHz);
  const rows = [];
  let next = 0;
  for (const now of frames) {
    for (; next < arrivals.length && arrivals[next][0] <= now; next++) {
      const [at, tick, snapshotTicks, ships] = arrivals[next];
      known.count = ships.length;
      ships.forEach(([id, generation, x, y, heading], i) => {
        known.ids[i] = id;
        known.generation[id] = generation;
        Object.assign(known.columns, {});
        known.columns.x[id] = x;
        known.columns.y[id] = y;
        known.columns.heading[id] = heading;
      });
      clock.onSnapshot(at, tick, snapshotTicks);
      interpolation.push(tick, known);
    }
    if (next === 0) continue;
    const time = clock.tickAt(now);
    interpolation.seek(now, time, () => {});
    const {ids, count} = interpolation.frame;
    const drawn = [...ids.subarray(0, count)].map((id) => {
      interpolation.place(id);
      return [id, interpolation.x, interpolation.y, interpolation.angle(id, 'heading')];
    });
    rows.push([now, time, clock.delayMs, drawn]);
  }
  return rows;
}"""


@dataclass
class Drawn:
    """What was drawn of one ship, one row per frame. float64[n] each."""

    now: np.ndarray  # ms
    tick: np.ndarray  # of playback
    delay: np.ndarray  # ms, as the clock states it
    x: np.ndarray
    y: np.ndarray
    angle: np.ndarray


def circle(tick):
    """A turn of radius 600 at SPEED: position (units) and heading (256 per turn) at a tick."""
    phase = tick * SPEED / TICK_HZ / 600
    return (
        3000 + 600 * np.cos(phase),
        3000 + 600 * np.sin(phase),
        (phase + np.pi / 2) * 256 / (2 * np.pi),
    )


def network(rng, ticks, latency=75.0, jitter=0.0, stall_percent=0.0, stall=200.0, every=1):
    """Snapshots sent at each tick come late, but in order: ``[(ms, tick), …]``."""
    arrivals, last = [], 0.0
    for tick in range(0, ticks, every):
        late = rng.random() * 100 < stall_percent
        delay = latency + rng.uniform(-jitter, jitter) + stall * late
        last = max(last, tick * TICK_MS + delay)
        arrivals.append((last, tick))
    return arrivals


def draw(page, arrivals, path=circle, every=1, generation=lambda tick: 1, frames=None) -> Drawn:
    def ship(tick):
        x, y, heading = path(tick)
        return [7, generation(tick), int(2 * x + 0.5), int(2 * y + 0.5), int(heading) % 256]

    if frames is None:
        frames = np.arange(0, arrivals[-1][0], FRAME_MS)
    kind = game.declaration()[0][0]
    rows = page.evaluate(
        RUN,
        {
            "kind": kind,
            "tickHz": TICK_HZ,
            "arrivals": [[at, tick, every, [ship(tick)]] for at, tick in arrivals],
            "frames": [float(now) for now in frames],
        },
    )
    return Drawn(*np.array([[*row[:3], *row[3][0][1:]] for row in rows]).T)


def error(drawn: Drawn, path=circle) -> np.ndarray:
    """Distance to where the ship truly was at the playback's tick, units."""
    x, y, _ = path(drawn.tick)
    return np.hypot(drawn.x - x, drawn.y - y)


def backwards(drawn: Drawn, path=circle) -> float:
    """The largest step against the direction of flight, units."""
    x, y, _ = path(drawn.tick)
    ahead_x, ahead_y, _ = path(drawn.tick + 0.01)
    length = np.hypot(ahead_x - x, ahead_y - y)
    along = (np.diff(drawn.x) * (ahead_x - x)[1:] + np.diff(drawn.y) * (ahead_y - y)[1:]) / length[
        1:
    ]
    return float(max(0.0, -along.min()))


# At a radius of 600 the chord between two snapshots is 0.06 units off the arc; quantisation of
# both ends adds up to 0.36, in each direction a quarter of a unit.
EXACT = 0.5


def test_on_a_steady_network_others_are_one_tick_back_and_exactly_where_they_were(page):
    drawn = draw(page, network(np.random.default_rng(1), 400))
    settled = drawn.now > 1000
    assert error(drawn)[settled].max() < EXACT
    assert backwards(drawn) == 0
    behind = (drawn.now - 75) / TICK_MS - drawn.tick
    assert 1.0 <= behind[settled].min() and behind[settled].max() < 1.2
    assert np.diff(drawn.tick).min() > 0


@pytest.mark.parametrize("jitter", [5.0, 20.0, 40.0])
def test_jitter_costs_delay_but_no_smoothness(page, jitter):
    drawn = draw(page, network(np.random.default_rng(2), 600, jitter=jitter))
    settled = drawn.now > 3000
    assert backwards(drawn) == 0
    assert np.diff(drawn.tick).min() > 0
    assert error(drawn)[settled].max() < 2.0
    assert TICK_MS < np.median(drawn.delay[settled]) < TICK_MS + jitter + 5
    steps = np.hypot(np.diff(drawn.x), np.diff(drawn.y))[settled[1:]]
    even = SPEED * FRAME_MS / 1000
    assert 0.7 * even < steps.min() and steps.max() < 1.3 * even


def test_a_bad_network_never_moves_anyone_backwards_and_stays_near_the_truth(page):
    """20 ms of jitter and 1 % stalls of 200 ms for three minutes."""
    drawn = draw(page, network(np.random.default_rng(3), 3600, jitter=20, stall_percent=1))
    settled = drawn.now > 3000
    off = error(drawn)[settled]
    assert backwards(drawn) == 0
    assert np.diff(drawn.tick).min() >= 0
    assert np.quantile(off, 0.95) < 1.0
    assert off.max() < 25, "at most what a turn takes a ship off its line in 200 ms"
    assert np.median(drawn.delay[settled]) < 90


def test_the_delay_grows_with_the_snapshot_interval_and_shrinks_again(page):
    rng = np.random.default_rng(4)
    fast = network(rng, 200)
    slow = [(at + 200 * TICK_MS, tick + 200) for at, tick in network(rng, 400, every=4)]
    after = [(at + 600 * TICK_MS, tick + 600) for at, tick in network(rng, 400)]

    def ship(tick):
        x, y, heading = circle(tick)
        return [[7, 1, int(2 * x + 0.5), int(2 * y + 0.5), int(heading) % 256]]

    arrivals = [[at, tick, 1, ship(tick)] for at, tick in fast]
    arrivals += [[at, tick, 4, ship(tick)] for at, tick in slow]
    arrivals += [[at, tick, 1, ship(tick)] for at, tick in after]
    frames = np.arange(0, arrivals[-1][0], FRAME_MS)
    rows = page.evaluate(
        RUN,
        {
            "kind": game.declaration()[0][0],
            "tickHz": TICK_HZ,
            "arrivals": arrivals,
            "frames": frames.tolist(),
        },
    )
    drawn = Drawn(*np.array([[*row[:3], *row[3][0][1:]] for row in rows]).T)
    behind = (drawn.now - 75) / TICK_MS - drawn.tick
    at = lambda second: behind[np.searchsorted(drawn.now, second * 1000)]  # noqa: E731
    assert 1.0 <= at(9) < 1.2
    assert 4.0 <= at(29) < 4.4
    assert 1.0 <= at(49) < 1.2
    assert backwards(drawn) == 0
    assert np.diff(drawn.tick).min() > 0


def test_without_news_a_ship_flies_on_for_250_ms_and_then_holds(page):
    line = lambda tick: (1000 + tick * SPEED / TICK_HZ, 2000, 0)  # noqa: E731
    arrivals = network(np.random.default_rng(5), 100)
    end = arrivals[-1][0]
    drawn = draw(page, arrivals, line, frames=np.arange(0, end + 2000, FRAME_MS))
    last_told = line(99)[0]
    assert drawn.x[-1] == pytest.approx(last_told + SPEED * 0.25, abs=5)
    late = drawn.now > end + 400
    assert np.ptp(drawn.x[late]) == 0
    assert np.diff(drawn.x).min() >= 0


def test_after_a_wrong_extrapolation_the_difference_is_blended_and_not_stepped(page):
    """The ship stops dead during a stall of half a second."""
    stop = 100
    path = lambda tick: (1000 + min(tick, stop) * SPEED / TICK_HZ, 2000, 0)  # noqa: E731
    arrivals = [
        (max(at, (stop + 10) * TICK_MS) if tick >= stop else at, tick)
        for at, tick in network(np.random.default_rng(6), 160)
    ]
    drawn = draw(page, arrivals, path)
    truth = path(stop)[0]
    overshot = drawn.x.max() - truth
    assert 50 < overshot < SPEED * 0.25 + 5
    assert drawn.x[-1] == pytest.approx(truth, abs=0.5)
    assert np.diff(drawn.x).min() > -30, "no frame takes it back by more than a share of it"


def test_a_ship_at_rest_stays_where_it_is(page):
    drawn = draw(
        page,
        network(np.random.default_rng(7), 300, jitter=30, stall_percent=2),
        lambda tick: (1234.5, 987.5, 64),
    )
    assert np.ptp(drawn.x) == np.ptp(drawn.y) == np.ptp(drawn.angle) == 0


def test_a_ship_of_which_the_server_tells_only_every_third_tick_flies_evenly(page):
    """In a crowd entities take turns; between its turns a ship looks as if it stood still."""
    drawn = draw(page, network(np.random.default_rng(14), 300), lambda tick: circle(tick // 3 * 3))
    settled = drawn.now > 1000
    # Three ticks of a straight line leave the circle by 2.5 units.
    assert error(drawn)[settled].max() < 8
    even = SPEED * FRAME_MS / 1000
    steps = np.hypot(np.diff(drawn.x), np.diff(drawn.y))[settled[1:]]
    assert 0.5 * even < steps.min() and steps.max() < 1.6 * even


def test_headings_turn_by_the_shorter_arc(page):
    path = lambda tick: (1000, 1000, 250 + 3 * (tick % 4))  # noqa: E731  250, 253, 0, 3
    drawn = draw(page, network(np.random.default_rng(8), 100), path)
    step = np.abs(np.diff(np.unwrap(drawn.angle)))
    assert step.max() < 10 * 2 * np.pi / 256


def test_a_respawned_ship_appears_in_its_new_place_without_a_flight_between(page):
    def path(tick):
        return (500 + tick, 500, 0) if tick < 100 else (4000 + tick, 4000, 0)

    for generation in (lambda tick: 1, lambda tick: 1 + (tick >= 100)):
        drawn = draw(page, network(np.random.default_rng(9), 200), path, generation=generation)
        between = (drawn.x > 650) & (drawn.x < 4050)
        assert not between.any()
        assert drawn.x[0] < 700 and drawn.x[-1] > 4090


def test_another_route_with_another_latency_is_taken_up_within_two_seconds(page):
    for before, after in ((40, 240), (240, 40)):
        arrivals, last = [], 0.0
        for tick in range(400):
            last = max(last, tick * TICK_MS + (before if tick < 200 else after))
            arrivals.append((last, tick))
        drawn = draw(page, arrivals)
        behind = (drawn.now - after) / TICK_MS - drawn.tick
        settled = drawn.now > 200 * TICK_MS + 2500
        assert 1.0 <= behind[settled].min() and behind[settled].max() < 1.3
        assert backwards(drawn) == 0
        assert np.diff(drawn.tick).min() >= 0


def test_a_page_that_slept_is_up_to_date_at_once(page):
    """Frames and messages stop for five seconds; then everything comes at the same moment."""
    asleep, awake = 5000.0, 10_000.0
    arrivals = network(np.random.default_rng(10), 400)
    arrivals = [(awake if asleep < at < awake else at, tick) for at, tick in arrivals]
    frames = np.arange(0, arrivals[-1][0], FRAME_MS)
    frames = frames[(frames < asleep) | (frames > awake)]
    drawn = draw(page, arrivals, frames=frames)
    behind = (drawn.now - 75) / TICK_MS - drawn.tick
    woken = drawn.now > awake + 500
    assert 1.0 <= behind[woken].min() and behind[woken].max() < 2
    assert np.diff(drawn.tick).min() >= 0


# The input clock: a server that reads inputs at its ticks, and the slack that it reports.

STEER = """async ({tickHz, rttMs, seconds, up, down, drift}) => {
  const {InputClock} = await import('/tickstorm/clock.js');
  const clock = new InputClock(tickHz);
  const tickMs = 1000 / tickHz;
  const reports = [];  // [arrives, tick, slack]
  const inFlight = []; // [arrives, target]
  const slacks = [];
  const leads = [];
  let [sent, newest, serverTick, lastUp, lastDown, steps] = [0, 0, 0, 0, 0, 0];
  for (let now = 0; now < seconds * 1000; now += 2) {
    const server = now / (tickMs * drift);
    if (Math.floor(server) > serverTick) {
      serverTick = Math.floor(server);
      let slack = null;
      while (inFlight.length && inFlight[0][0] <= now) {
        newest = inFlight.shift()[1];
        slack = newest - serverTick;
      }
      // Nothing came, and the one for this tick was not there before: the client sees that, too.
      if (clock.running && slack === null && serverTick <= sent && newest < serverTick) slack = -1;
      lastDown = Math.max(lastDown, now + down[steps % down.length]);
      reports.push([lastDown, serverTick, slack]);
      steps++;
    }
    while (reports.length && reports[0][0] <= now) {
      const [, tick, slack] = reports.shift();
      if (!clock.running || clock.tickAt(now) < tick) clock.start(now, tick, rttMs);
      else if (slack !== null) { clock.onSlack(tick, slack); slacks.push([now, slack]); }
    }
    if (!clock.running) continue;
    const due = Math.floor(clock.tickAt(now));
    for (sent = Math.max(sent, due - 3); sent < due;) {
      sent++;
      lastUp = Math.max(lastUp, now + up[sent % up.length]);
      inFlight.push([lastUp, sent]);
    }
    leads.push([now, clock.tickAt(now) - server]);
  }
  return [slacks, leads];
}"""


def steer(page, up, down, rtt, seconds=40, drift=1.0):
    slacks, leads = page.evaluate(
        STEER,
        {
            "tickHz": TICK_HZ,
            "rttMs": rtt,
            "seconds": seconds,
            "up": np.asarray(up, float).tolist(),
            "down": np.asarray(down, float).tolist(),
            "drift": drift,
        },
    )
    return np.array(slacks), np.array(leads)


@pytest.mark.parametrize("way", [1, 30, 75, 140])
def test_on_a_steady_network_inputs_are_just_in_time_whatever_the_first_guess(page, way):
    for guess in (0, 2 * way, 2 * way + 400):
        slacks, leads = steer(page, [way], [way], guess)
        settled = slacks[slacks[:, 0] > 25_000, 1]
        assert (settled == 0).all(), f"guess {guess}: {np.unique(settled, return_counts=True)}"
        lead = leads[leads[:, 0] > 25_000, 1] * TICK_MS
        assert np.ptp(lead) < 1, "steered no more"
        assert way < lead.min() and lead.max() <= way + 2 * TICK_MS


def test_with_jitter_few_inputs_are_late_and_none_waits_long(page):
    rng = np.random.default_rng(12)
    up, down = rng.uniform(55, 95, (2, 4001))
    slacks, _ = steer(page, up, down, 150, seconds=60)
    settled = slacks[slacks[:, 0] > 15_000, 1]
    assert (settled < 0).mean() < 0.03
    assert settled.mean() < 1.0 and settled.max() <= 2


def test_stalls_do_not_drive_the_lead_up(page):
    rng = np.random.default_rng(13)
    up = rng.uniform(55, 95, 4001) + 200 * (rng.random(4001) < 0.01)
    slacks, leads = steer(page, up, [75], 150, seconds=90)
    lead = leads[leads[:, 0] > 15_000, 1] * TICK_MS
    assert np.median(lead) < 75 + 20 + 2.5 * TICK_MS
    assert (slacks[slacks[:, 0] > 15_000, 1] < 0).mean() < 0.08


def test_a_server_that_runs_slow_or_fast_is_followed(page):
    for drift in (0.99, 1.01):
        slacks, _ = steer(page, [40], [40], 80, drift=drift)
        settled = slacks[slacks[:, 0] > 20_000, 1]
        assert (settled < 0).mean() < 0.1 and settled.max() <= 2
