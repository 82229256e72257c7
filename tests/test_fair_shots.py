"""What looked like a hit is one, whatever the network: measured with a steady-handed bot.

The world, the server's input buffer, the bots' input clock and the conditioner's
schedule are the real ones; only time is simulated, so that each run is exact. The
target passes on a straight course; the gunner fires at what it sees.
"""

import math
from collections import deque
from dataclasses import replace

import gevent
import numpy as np
import pytest
from websockets.uri import parse_uri

import game
from clients.bots import wire
from clients.bots.__main__ import Crowd
from clients.bots.brain import HUNTER, Brain
from clients.bots.conditioner import Conditioner, Conditions, Schedule
from clients.bots.session import InputClock
from game.rules import MAX_HP
from game.schema import BUTTON_FIRE
from tests.arena import LAYOUT
from tests.bot_arena import TICK_HZ, arena, see
from tickstorm.rooms.inputs import InputBuffer
from tickstorm.rooms.inputs import commands as step_commands

TICK_S = 1 / TICK_HZ
GUNNER, TARGET = 0, 1

MARKSMAN = replace(
    HUNTER, aim_error=0.0, turn_rate=3600.0, burst_s=60.0, fight_range=1000.0, flees_below=0.0
)
NO_LATENCY = Conditions()
TRAIN = Conditions(latency_ms=75, jitter_ms=20, stall_percent=1, stall_ms=200)
"""A round trip of 150 ms, 20 ms of jitter, and a stall in one of a hundred chunks."""


class Gunnery:
    """One gunner at the end of a network, and a target on rails.

    `view_delay`: what the client claims, given its tick and the honest value.
    """

    def __init__(self, network, *, seed=1, rewind=True, view_delay=lambda tick, honest: honest):
        self.world = arena(2, size=4096, seed=seed)
        self.world.rewind_enabled = rewind
        self.fired = self.hits = 0
        self._view_delay = view_delay
        self._network = network
        self._up, self._down = Schedule(f"{seed}/up"), Schedule(f"{seed}/down")
        self._to_server: deque = deque()  # (time of arrival, row)
        self._to_client: deque = deque()  # (time of arrival, sight, slack)
        self._inputs = InputBuffer(1, LAYOUT.input_row)
        self._clock = InputClock(TICK_HZ)
        self._brain = Brain(MARKSMAN, seed, self.world.rules(), 4096)
        self._sight = None
        self._sequence = 0
        self._now = 0.0

    def run(self, seconds, course):
        """Let the target fly by; `course(seconds)` is where it is, and its velocity."""
        end = self._now + seconds
        while self._now < end:
            self._server_tick(course)
            for _ in range(int(TICK_S * 1000)):
                self._now += 0.001
                self._client()

    def _server_tick(self, course):
        world, ships = self.world, self.world.ships
        rows = []
        while self._to_server and self._to_server[0][0] <= self._now:
            rows.append(self._to_server.popleft()[1])
        upcoming = world.tick + 1
        self._inputs.put(upcoming, np.zeros(len(rows), np.intp), np.array(rows, LAYOUT.input_row))
        _, taken = self._inputs.take(upcoming)

        # Back on its rails whatever hit it: movement brings it from here to its course.
        x, y, vx, vy = course(upcoming * TICK_S)
        drag = float(world.constants.movement.drag)
        ships.x[TARGET], ships.y[TARGET] = x - vx * TICK_S, y - vy * TICK_S
        ships.vx[TARGET], ships.vy[TARGET] = vx / drag, vy / drag
        ships.hp[:], ships.energy[:], ships.protected_until[:] = MAX_HP, 100, 0
        world.step(step_commands(game, np.zeros(len(taken), np.intp), taken))
        self.hits += ships.hp[TARGET] < MAX_HP
        self.fired += np.count_nonzero(world.shots.present & (world.shots.born == world.tick))

        sight = see(world, GUNNER, reach=1500)
        at = self._down.deliver_at(self._now, 500, self._network)
        self._to_client.append((at, sight, int(self._inputs.slack[0])))

    def _client(self):
        while self._to_client and self._to_client[0][0] <= self._now:
            _, self._sight, slack = self._to_client.popleft()
            self._clock.saw(self._sight.tick, slack, self._now)
        view_tick = self._clock.due(self._now)
        if view_tick is None:
            return
        target_tick = view_tick + self._clock.lead
        if self._brain.thinks_at(view_tick):
            self._brain.think(self._sight, view_tick, target_tick)
        command = self._brain.command()
        self._sequence += 1
        view_delay = self._view_delay(self._sequence, self._clock.lead * 16)
        row = (target_tick, self._sight.tick, self._sequence)
        row += (command.aim, 0, command.buttons & BUTTON_FIRE, min(255, view_delay), 0)
        self._to_server.append((self._up.deliver_at(self._now, 26, self._network), row))


def passes(seed):
    """A straight course past the gunner at (2048, 2048), at a distance, tilt and turn by `seed`.

    It begins and ends out of the gun's reach, and starts over from there.
    """
    rng = np.random.default_rng(seed)
    speed, distance, tilt = rng.uniform(200, 360), rng.uniform(180, 420), rng.uniform(-0.4, 0.4)
    turn = rng.uniform(0, 2 * math.pi)
    cos, sin = math.cos(turn), math.sin(turn)

    def course(seconds):
        along = -1100 + speed * (seconds % (2200 / speed))
        u, v = along * math.cos(tilt), distance + along * math.sin(tilt)
        du, dv = speed * math.cos(tilt), speed * math.sin(tilt)
        return (
            2048 + u * cos - v * sin,
            2048 + u * sin + v * cos,
            du * cos - dv * sin,
            du * sin + dv * cos,
        )

    return course


def hit_share(network, **options):
    """Share of shots that hit, over eight courses."""
    fired = hits = 0
    for seed in range(8):
        gunnery = Gunnery(network, seed=seed, **options)
        gunnery.world.place(GUNNER, 2048, 2048)
        gunnery.run(16, passes(seed))
        fired, hits = fired + gunnery.fired, hits + gunnery.hits
    assert fired > 400
    return hits / fired


@pytest.fixture(scope="module")
def fair_share():
    """Share of hits without any latency."""
    return hit_share(NO_LATENCY)


@pytest.fixture(scope="module")
def train_share():
    """Share of hits on the train."""
    return hit_share(TRAIN)


def test_without_latency_a_steady_hand_hits_nearly_always(fair_share):
    assert fair_share > 0.9


@pytest.mark.parametrize("latency_ms", [25, 50, 75, 100])
def test_latency_alone_costs_no_hits(fair_share, latency_ms):
    assert hit_share(Conditions(latency_ms=latency_ms)) > 0.98 * fair_share


def test_on_the_train_shots_hit_at_least_95_percent_as_often(fair_share, train_share):
    assert train_share >= 0.95 * fair_share


def test_without_rewinding_they_mostly_miss(fair_share):
    assert hit_share(TRAIN, rewind=False) < 0.5 * fair_share


FORGERIES = {
    "none": lambda tick, honest: 0,
    "half": lambda tick, honest: honest // 2,
    "the most": lambda tick, honest: 255,
    "changing": lambda tick, honest: 255 * (tick // 4 % 2),
}


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES.keys())
def test_a_forged_view_delay_gains_nothing(fair_share, train_share, forgery):
    assert hit_share(TRAIN, view_delay=forgery) <= train_share + 0.005
    assert hit_share(NO_LATENCY, view_delay=forgery) <= fair_share + 0.005


# ---------------------------------------------------------------- end to end


def test_a_bot_on_the_train_claims_the_view_delay_that_it_has(server, monkeypatch):
    sent, taken = {}, {}  # sequence: (target, view delay), sequence: tick that took it
    encode, apply = wire.encode_input, wire.KnownWorld.apply

    def recording_encode(target, ack, seq, aim, move, buttons, view_delay):
        sent[seq] = target, view_delay
        return encode(target, ack, seq, aim, move, buttons, view_delay)

    def recording_apply(world, head, body):
        fields = apply(world, head, body)
        taken.setdefault(fields["ack_seq"], fields["tick"])
        return fields

    monkeypatch.setattr(wire, "encode_input", recording_encode)
    monkeypatch.setattr(wire.KnownWorld, "apply", recording_apply)
    with Conditioner(("127.0.0.1", server.port), TRAIN, seed=1) as network:
        crowd = Crowd(parse_uri(f"ws://127.0.0.1:{network.port}/ws"), players=1, seed=1)
        crowd.start()
        gevent.sleep(10)
        crowd.stop()
    # After the first three seconds the clock has settled.
    late = [taken[seq] - sent[seq][0] for seq in sent if seq in taken and seq > 60]
    assert len(late) > 100
    assert late.count(0) > 0.8 * len(late)
    delays = {view_delay for seq, (_, view_delay) in sent.items() if seq > 60}
    # A round trip of 150 ms is three ticks, and the wait for the next one adds a fourth.
    assert delays <= {n * 16 for n in range(3, 10)}
