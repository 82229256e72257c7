"""Matches watched again: what a viewer is sent is what was; it can stop, jump, speed up."""

from __future__ import annotations

import json
import time
import urllib.request
from pathlib import Path

import gevent
import msgpack
import numpy as np
import pytest
from gevent.event import Event
from websockets.uri import parse_uri

import game
from clients.bots.connection import Connection, Dropped
from clients.bots.wire import SNAPSHOT, WELCOME, KnownWorld, decode, encode_hello
from tests.live_server import LiveServer
from tests.recorded_match import Match
from tests.watched import Watched, folder
from tickstorm.records import journal, replay
from tickstorm.records.journal import CHECKPOINT, TICK
from tickstorm.records.journal.format import MAGIC, frame, pack
from tickstorm.records.journal.playback import repeat, tail

REPLAY, REPLAYING, LOOK = 8, 24, 7


class Truth:
    """Where ships really were at each tick, from the journal itself."""

    def __init__(self, paths: list[Path]):
        self.ships: dict[int, dict[int, tuple[int, int]]] = {}
        self.eyes: dict[int, dict[int, tuple[float, float]]] = {}
        world = None
        for path in paths:
            for record in journal.read(path):
                if isinstance(record, journal.Damage):
                    continue
                if record[0] == CHECKPOINT and (world is None or world.tick != record[1]):
                    world = game.load_world(record[3])
                elif record[0] == TICK:
                    journal.step(game, world, record)
                    view = world.view()[0]
                    rows = {
                        int(slot): (int(view.mutable["x"][slot]), int(view.mutable["y"][slot]))
                        for slot in np.flatnonzero(view.present)
                    }
                    self.ships[world.tick] = rows


class Viewer:
    """A client of `/ws?replay=`, with the reference decoder."""

    def __init__(self, server: LiveServer, name: str):
        self.connection = Connection(parse_uri(f"{server.url}?replay={name}"))
        self.connection.send(encode_hello("Viewer", None, 0, bot=False))
        self.welcomes: list[dict] = []
        self.states: list[list] = []
        self.seen: list[tuple[int, dict[int, tuple[int, int]]]] = []
        """Ships by slot, snapshot by snapshot, since the last WELCOME."""
        self.world: KnownWorld | None = None

    def control(self, speed: float, tick: int | None = None) -> None:
        self.connection.send(msgpack.packb([REPLAY, speed, tick]))

    def follow(self, slot: int) -> None:
        self.connection.send(msgpack.packb([LOOK, slot]))

    def watch(self, seconds: float, until=lambda: False) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not until():
            for data in self.connection.receive(min(end, time.monotonic() + 0.1)):
                if data[1] == REPLAYING:
                    self.states.append(msgpack.unpackb(data)[1:])
                    continue
                message = decode(data)
                if message[0] == WELCOME:
                    self.welcomes.append(message[1])
                    self.world = KnownWorld(message[1]["declaration"])
                    self.seen.clear()
                elif message[0] == SNAPSHOT:
                    self.world.apply(message[1], message[2])
                    ships = self.world.kinds["ship"]
                    places = zip(ships.rows["x"].tolist(), ships.rows["y"].tolist())
                    self.seen.append((self.world.tick, dict(zip(ships.ids.tolist(), places))))

    @property
    def ticks(self) -> list[int]:
        return [tick for tick, _ in self.seen]


@pytest.fixture(scope="module")
def played():
    """A server whose room has a few seconds of match in its journal."""
    with LiveServer(SETTINGS="size=2048", CHECKPOINT_SECONDS=2, MAX_REPLAYS=8) as server:
        with Watched(server, 8):
            gevent.sleep(8)
        yield server


@pytest.fixture
def viewer(played):
    viewers = []

    def make(name: str = "arena") -> Viewer:
        until = time.monotonic() + 40
        while True:  # the tests before may have used up what one address may open at once
            one = Viewer(played, name)
            try:
                one.watch(5, lambda one=one: one.seen)
            except Dropped as dropped:
                if dropped.code != 1013 or time.monotonic() > until:
                    raise
                gevent.sleep(0.5)
            else:
                viewers.append(one)
                return one

    yield make
    for one in viewers:
        one.connection.close()


def assert_true(viewer: Viewer, truth: Truth) -> int:
    """Everything that was shown is what was; returns how many ships were compared."""
    compared = 0
    for tick, ships in viewer.seen:
        for slot, place in ships.items():
            # A ship of a cell around may be shown as of an earlier tick when it is crowded;
            # eight ships never are.
            assert truth.ships[tick][slot] == place, (tick, slot)
            compared += 1
    return compared


def test_a_viewer_is_sent_what_was(played, viewer):
    one = viewer()
    one.watch(3)
    assert one.ticks == sorted(set(one.ticks)) and len(one.ticks) > 30
    assert np.diff(one.ticks).max() == 1
    assert assert_true(one, Truth(journal.segments(folder(played)))) > 50


def test_at_eight_times_the_speed_a_snapshot_spans_eight_ticks(played, viewer):
    one = viewer()
    one.control(8)
    one.watch(2, lambda: len(one.welcomes) == 2)
    one.watch(1.5)
    assert one.welcomes[-1]["tick_hz"] == 160
    assert set(np.diff(one.ticks[:-1])) == {8}
    assert_true(one, Truth(journal.segments(folder(played))))


def test_a_stopped_replay_stands_still_and_goes_on_where_it_was(viewer):
    one = viewer()
    one.watch(0.5)
    one.control(0)
    one.watch(0.5)
    stopped = one.ticks[-1]
    one.states.clear()
    one.watch(1.5)
    assert one.ticks[-1] == stopped
    assert len(one.states) >= 2 and {state[3] for state in one.states} == {0}
    one.control(1)
    one.watch(1)
    assert one.ticks[0] == stopped + 1 and len(one.ticks) > 5


def test_a_jump_forth_and_back_shows_the_tick_that_was_asked_for(played, viewer):
    one = viewer()
    truth = Truth(journal.segments(folder(played)))
    for wanted in (120, 30, 31, 90):
        one.control(0, wanted)
        one.welcomes.clear()
        one.watch(5, lambda: one.welcomes and one.seen)
        assert one.ticks == [wanted]
        assert_true(one, truth)


def test_a_followed_ship_is_always_in_sight(played, viewer):
    one = viewer()
    one.control(1, 80)
    one.follow(3)
    one.watch(1)
    one.seen.clear()
    one.watch(2)
    assert all(3 in ships for _, ships in one.seen)


def test_at_the_end_the_replay_stands_still_and_says_so(viewer):
    one = viewer()
    _, _, last, _ = one.states[0]
    one.control(8, last - 20)
    one.watch(4, lambda: one.states and one.states[-1][0] == last)
    assert one.states[-1][0] == last
    one.control(1, 10)
    one.welcomes.clear()
    one.watch(2, lambda: one.welcomes and one.seen)
    assert one.ticks[0] == 10


def test_the_list_names_what_can_be_watched(played):
    with urllib.request.urlopen(f"{played.page}replays.json", timeout=5) as response:
        rows = json.load(response)["replays"]
    assert [row["replay"] for row in rows] == ["arena/000001"]
    assert rows[0]["room"] == "arena" and rows[0]["bytes"] > 1000


def test_a_single_segment_can_be_watched(viewer):
    one = viewer("arena/000001")
    one.watch(0.5)
    assert len(one.ticks) > 5


@pytest.mark.parametrize("name", ["nothing", "arena/000099", "../arena", "arena/../secret", ""])
def test_what_is_not_there_is_refused_with_its_code(played, name):
    one = Viewer(played, name or "%20")
    with pytest.raises(Dropped) as dropped:
        one.watch(3)
    assert dropped.value.code == 4009


def test_one_address_runs_half_of_the_replays_at_once(played, viewer):
    for _ in range(4):
        viewer()
    with pytest.raises(Dropped) as dropped:
        Viewer(played, "arena").watch(10)
    assert dropped.value.code == 1013


@pytest.mark.parametrize("message", [[8, -1, None], [8, 99, None], [8, float("nan"), None]])
def test_an_impossible_speed_ends_the_replay_of_who_asked(viewer, message):
    one = viewer()
    one.connection.send(msgpack.packb(message))
    with pytest.raises(Dropped) as dropped:
        one.watch(3)
    assert dropped.value.code == 4000


def test_time_cannot_be_turned_in_a_live_room(played):
    connection = Connection(parse_uri(played.url))
    connection.send(encode_hello("Ada", None, 0, bot=False), msgpack.packb([REPLAY, 0, 5]))
    with pytest.raises(Dropped) as dropped:
        while True:
            connection.receive(time.monotonic() + 3)
    assert dropped.value.code == 4000


@pytest.mark.measured
def test_viewers_cost_the_players_no_tick(played, viewer):
    before = json.load(urllib.request.urlopen(f"{played.page}healthz"))["stats"]["skipped_ticks"]
    with Watched(played, 3):
        ones = [viewer() for _ in range(3)]
        for one in ones:
            one.control(8, 1)
        stopping = Event()
        gevent.sleep(2)
        stopping.set()
        tick = played.health()["tick"]
        gevent.sleep(2)
        assert abs(played.health()["tick"] - tick - 40) <= 3
    assert played.health()["stats"]["skipped_ticks"] == before


def test_a_reel_goes_on_over_a_gap_at_the_next_checkpoint(tmp_path):
    match = Match(tmp_path, checkpoint_s=1.0)
    match.play(100)
    match.end()
    (path,) = journal.segments(tmp_path)
    records = [r for r in journal.read(path) if not (r[0] == TICK and 45 <= r[1] <= 52)]
    path.write_bytes(MAGIC + b"".join(frame(pack(r)) for r in records))
    reel = replay.Reel(game, [path])
    assert (reel.first, reel.last) == (0, 100)
    assert (reel.before(59), reel.after(44)) == (40, 60)
    assert 48 not in reel.ticks and reel.read(reel.ticks[53])[1] == 53


def test_of_a_tick_that_was_played_twice_the_later_one_counts(tmp_path):
    match = Match(tmp_path)
    match.play(50)
    match.end()
    back = tail(game, journal.segments(tmp_path)[0], until=40)
    world, sessions = repeat(game, back.checkpoint, back.ticks)
    again = Match(tmp_path, seed=8, world=world, sessions=sessions)
    again.play(30)
    again.end()
    paths = journal.segments(tmp_path)
    reel = replay.Reel(game, paths)
    assert reel.ticks[41].path == paths[1] and reel.ticks[40].path == paths[0]
    assert reel.last == 70
