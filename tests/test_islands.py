"""Many rooms in one set of columns: tick by tick and byte by byte, each is what it is alone."""

from __future__ import annotations

import msgpack
import numpy as np
import pytest

import game
from game.schema import BUTTON_BOOST, BUTTON_FIRE, BUTTON_THRUST, STEP_COMMAND
from tickstorm.games.world import WorldSettings
from tickstorm.replication import snapshot
from tickstorm.replication.history import RING, KindHistory
from tickstorm.replication.interest import Grid

HZ = 10
LARGEST = 4096


class Viewers:
    """Players' eyes on histories: what each was sent last, by slot."""

    def __init__(self, capacity: int):
        self.cell = np.zeros(capacity, np.int64)
        self.baseline_tick = np.full(capacity, -RING)
        self.baseline_cell = np.zeros(capacity, np.int64)

    def bodies(self, tick, grid, histories, slots, taken, x, y, room=None) -> list[bytes]:
        """What the players in `slots` are sent; the sockets of those in `taken` take it."""
        cell = self.cell[slots] = grid.viewer_cell(self.cell[slots], x, y, room)
        age = tick - self.baseline_tick[slots]
        groups, member_of = snapshot.group(cell, age, self.baseline_cell[slots])
        bodies = snapshot.encode(tick, histories, groups).cut()
        moved = slots[taken]
        self.baseline_tick[moved], self.baseline_cell[moved] = tick, self.cell[moved]
        return [bodies[i] for i in member_of]


class Room:
    """The same room twice: alone, and in the sea."""

    def __init__(self, sea, grid, rng, far_interval):
        self.rng = np.random.default_rng(rng.integers(1 << 40))
        self.players = int(rng.integers(1, 9))
        size = int(rng.choice([2048, 3072, LARGEST]))
        chosen = {
            "size": size,
            "orbs": int(rng.choice([-1, 0, 40])),
            "round_s": int(rng.choice([0, 2])),
        }
        settings = WorldSettings(HZ, self.players, chosen)
        seed = int(rng.integers(1 << 48))
        self.alone = game.create_world(settings, seed)
        for _ in range(int(rng.integers(0, 30))):  # it comes from elsewhere, perhaps
            self.alone.step(np.zeros(0, STEP_COMMAND))
        self.size = size
        self.far_interval = far_interval
        if self.alone.tick:
            dump = msgpack.unpackb(msgpack.packb(self.alone.dump()))
            self.beside = game.load_world(dump, sea)
        else:
            self.beside = game.create_world(settings, seed, sea)
        grid.place(self.beside.room, self.size)
        self.grid = Grid(self.size)
        self.histories = [
            KindHistory(kind, len(view.present), self.grid)
            for kind, view in zip(game.KINDS, self.alone.view(), strict=True)
        ]
        self.viewers = Viewers(self.players)
        self.sea_viewers = Viewers(self.players)

    def churn(self) -> None:
        """Who comes, who goes, who is put before another's gun."""
        rng, present = self.rng, self.slots
        if len(present) < self.players and rng.random() < 0.3:
            slot = self.alone.join("näm" + str(rng.integers(99)), False)
            assert self.beside.join(self.alone.name(slot), False) == slot
            for viewers in (self.viewers, self.sea_viewers):
                viewers.baseline_tick[slot] = -RING
                viewers.cell[slot] = 0
        elif len(present) and rng.random() < 0.02:
            for world in (self.alone, self.beside):
                world.leave(int(present[0]))
        elif len(present) and rng.random() < 0.1:
            x, y = rng.uniform(300, 700, 2)
            for world in (self.alone, self.beside):
                world.place(int(present[-1]), x, y)

    @property
    def slots(self) -> np.ndarray:
        return np.flatnonzero(self.alone.view()[0].present)

    def commands(self) -> np.ndarray:
        speaking = self.slots[self.rng.random(len(self.slots)) < 0.9]
        rows = np.zeros(len(speaking), STEP_COMMAND)
        rows["slot"], rows["seq"] = speaking, self.alone.tick & 0xFFFF
        x, y = self.alone.eyes(speaking)
        rows["aim"] = (np.arctan2(500 - y, 500 - x) * (512 / np.pi)).astype(int) & 1023
        rows["move"] = rows["aim"] >> 2
        rows["buttons"] = BUTTON_THRUST | BUTTON_FIRE | BUTTON_BOOST * (speaking % 2)
        rows["view_delay"] = self.rng.integers(0, 60, len(speaking))
        return rows

    def snapshots(self, taken) -> list[bytes]:
        tick, slots = self.alone.tick, self.slots
        for history, view in zip(self.histories, self.alone.view(), strict=True):
            history.record(tick, view, self.far_interval)
        x, y = self.alone.eyes(slots)
        return self.viewers.bodies(tick, self.grid, self.histories, slots, taken, x, y)


@pytest.mark.parametrize("seed", range(2))
def test_rooms_in_one_sea_are_what_each_is_alone(seed):
    rng = np.random.default_rng(seed)
    far_interval = 1 + seed % 2
    sea = game.create_sea(HZ)
    grid = Grid(LARGEST, 30)
    histories = [
        KindHistory(kind, len(view.present), grid)
        for kind, view in zip(game.KINDS, sea.view(), strict=True)
    ]
    rooms: list[Room] = []
    kills = gone = most = 0
    for _ in range(140):
        if len(rooms) < 12 and rng.random() < 0.25:
            rooms.append(Room(sea, grid, rng, far_interval))
        elif rooms and rng.random() < 0.02:
            rooms.pop(int(rng.integers(len(rooms)))).beside.close()
            gone += 1
        most = max(most, len(rooms))
        parts = []
        for room in rooms:
            room.churn()
            rows = room.commands()
            room.alone.step(rows)
            rows["slot"] += room.beside.base
            parts.append(rows)
        sea.step(np.concatenate([np.zeros(0, STEP_COMMAND), *parts]))
        for history, view in zip(histories, sea.view(), strict=True):
            history.record(sea.tick, view, far_interval)
        for room in rooms:
            one, other = room.alone, room.beside
            where = f"seed {seed}, room {other.room}, tick {one.tick}"
            assert one.tick == other.tick, where
            assert one.checksum() == other.checksum(), where
            assert one.feed() == other.feed() and one.board() == other.board(), where
            slots = room.slots
            assert np.array_equal(one.self_rows(slots), other.self_rows(slots)), where
            taken = room.rng.random(len(slots)) < 0.7
            x, y = other.eyes(slots)
            number = np.full(len(slots), other.room)
            viewers = room.sea_viewers
            assert room.snapshots(taken) == viewers.bodies(
                sea.tick, grid, histories, slots, taken, x, y, number
            ), where
            kills += len(one.feed())
            if rng.random() < 0.02:
                assert one.dump() == other.dump(), where
    assert kills > 10 and gone and most >= 5, "this test tests something"
