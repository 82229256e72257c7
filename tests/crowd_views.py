"""A world of all kinds in which everything happens, and clients that decode what they are sent."""

from __future__ import annotations

import numpy as np

from clients.bots.wire import FULL, KnownWorld
from game import schema
from game.schema import Column, Kind
from tickstorm.games.world import KindView
from tickstorm.replication import snapshot
from tickstorm.replication.history import RING, KindHistory
from tickstorm.replication.interest import CELL_SIZE

PLAIN = Kind(  # neither deltas nor static columns, and a row that isn't a multiple of 8
    "plain", (Column("a", "u2", "state"), Column("b", "u1", "state"), Column("c", "f4", "state"))
)


KINDS = (schema.SHIP, schema.SHOT, schema.ORB, PLAIN)


DECLARATION = [
    [[k.name, [[c.name, c.dtype, c.role, c.scale] for c in k.columns]] for k in KINDS],
    [["x", "u1"]],
    [],
]


SLOTS = 40


class Fake:
    """A world of every kind in which everything that can happen to an entity happens often."""

    def __init__(self, seed: int, side: int, slots: int = SLOTS):
        self.rng = np.random.default_rng(seed)
        self.size = side * CELL_SIZE
        self.slots = slots
        self.views = [self.empty(kind) for kind in KINDS]

    def empty(self, kind) -> KindView:
        n = self.slots
        return KindView(
            np.zeros(n, bool),
            np.zeros(n, np.int64),
            np.zeros(n, np.float32),
            np.zeros(n, np.float32),
            np.zeros(n, kind.dtype("delta", "state")),
            np.zeros(n, kind.dtype("static")),
        )

    def step(self, tick: int) -> None:
        rng, n = self.rng, self.slots
        for kind, v in zip(KINDS, self.views, strict=True):
            dies = v.present & (rng.random(n) < 0.06)
            v.present[dies] = False
            appears = ~v.present & (rng.random(n) < 0.2)  # a slot freed in this tick included
            v.present[appears] = True
            v.born[appears] = tick
            self._randomise(v.static, appears)
            jumps = appears | (v.present & (rng.random(n) < 0.03))
            v.x[jumps], v.y[jumps] = self._places(jumps.sum()), self._places(jumps.sum())
            moves = v.present & ~jumps & (rng.random(n) < 0.7)
            for axis in (v.x, v.y):
                axis[moves] += rng.uniform(-70, 70, moves.sum()).astype(np.float32)
                np.clip(axis, 0, self.size - 0.5, out=axis)
            if kind is schema.SHIP:
                v.mutable["x"], v.mutable["y"] = v.x / 0.5, v.y / 0.5
                turns = rng.random(n) < 0.3
                v.mutable["heading"][turns] = rng.integers(0, 256, turns.sum())
                v.mutable["hp"][rng.random(n) < 0.05] -= 1
            elif v.mutable.dtype.names:
                self._randomise(v.mutable, appears | (rng.random(n) < 0.1))

    def _places(self, n: int) -> np.ndarray:
        """Random coordinates, many of them exactly on borders of cells and of the world."""
        borders = self.rng.integers(0, self.size // CELL_SIZE + 1, n) * float(CELL_SIZE)
        place = np.where(self.rng.random(n) < 0.3, borders, self.rng.uniform(0, self.size, n))
        return np.minimum(place, self.size - 0.5).astype(np.float32)

    def _randomise(self, rows: np.ndarray, where: np.ndarray) -> None:
        for name in rows.dtype.names or ():
            raw = self.rng.integers(65, 91, (where.sum(), rows.dtype[name].itemsize), np.uint8)
            rows[name][where] = raw.view(rows.dtype[name]).ravel()


class Viewer:
    """A client: where it looks, what it was sent last, and the reference decoder."""

    def __init__(self) -> None:
        self.world = KnownWorld(DECLARATION)
        self.tick, self.cell, self.now = -RING, 0, 0

    def take(self, tick: int, body: bytes) -> None:
        age = tick - self.tick
        full = not 1 <= age < RING
        head = np.array(
            [(tick, 0, 0, FULL if full else 0, 0 if full else age, 1, 0)],
            "<u4,<u2,i1,u1,u1,u1,u1",
        )
        self.world.apply(head.tobytes(), body)
        self.tick, self.cell = tick, self.now


def encode_for(viewers: list[Viewer], tick: int, histories: list[KindHistory]) -> list[bytes]:
    groups, member_of = snapshot.group(
        np.array([v.now for v in viewers], np.int64),
        np.array([tick - v.tick for v in viewers], np.int64),
        np.array([v.cell for v in viewers], np.int64),
    )
    bodies = snapshot.encode(tick, histories, groups).cut()
    return [bodies[i] for i in member_of]
