"""The same game, interest and bodies as the server's, without any transport.

Servers that differ from this project's only in how they move bytes are built on it:
`picows_server` and `uwsgi_websockets`. It keeps no sessions, sheds no load and limits
nobody, as a first server written by hand would not.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from time import monotonic

import msgpack
import numpy as np

from tickstorm.games.world import WorldSettings
from tickstorm.process import memory
from tickstorm.protocol import wire
from tickstorm.replication import snapshot
from tickstorm.replication.history import RING, KindHistory
from tickstorm.replication.interest import CELL_SIZE, Grid
from tickstorm.rooms import inputs
from tickstorm.rooms.ticker import Ticker

from ..arena import GAME, LAYOUT

NEVER = -RING
"""Tick of a baseline that is too old to be used."""


@dataclass(frozen=True)
class Settings:
    """What the benchmark passes to a peer in its environment."""

    port: int
    tick_hz: int
    world_size: int
    max_players: int
    seed: int

    @classmethod
    def read(cls) -> Settings:
        return cls(
            port=int(os.environ["PORT"]),
            tick_hz=int(os.environ["TICK_HZ"]),
            world_size=int(os.environ["WORLD_SIZE"]),
            max_players=int(os.environ["MAX_PLAYERS"]),
            seed=int(os.environ["SEED"]),
        )


class Arena:
    """One world and what each client was last sent, by slot."""

    def __init__(self, settings: Settings):
        memory.keep()
        world = WorldSettings(
            settings.tick_hz, settings.max_players, {"size": settings.world_size, "orbs": 0}
        )
        self.settings = settings
        self.world = GAME.create_world(world, settings.seed)
        self.grid = Grid(settings.world_size)
        self.histories = [
            KindHistory(kind, len(view.present), self.grid)
            for kind, view in zip(GAME.KINDS, self.world.view(), strict=True)
        ]
        slots = self.world.capacity
        self.cell = np.zeros(slots, np.int64)
        self.baseline_tick = np.full(slots, NEVER, np.int64)
        self.baseline_cell = np.zeros(slots, np.int64)
        self.applied = np.zeros(slots, np.uint16)
        self._messages: list[bytes] = []
        self._sources: list[int] = []

    def ticker(self) -> Ticker:
        return Ticker(self.settings.tick_hz, monotonic())

    def join(self, message: bytes) -> tuple[int, bytes]:
        """A slot and the WELCOME message for the client that sent this HELLO."""
        kind, *fields = wire.decode(message)
        if kind != wire.HELLO:
            raise wire.ProtocolViolation(wire.Close.HELLO_EXPECTED, "not a HELLO")
        name = fields[2]
        slot = self.world.join(name, True)
        self.cell[slot] = 0
        self.baseline_tick[slot] = NEVER
        welcome = {
            "version": wire.PROTOCOL_VERSION,
            "schema": LAYOUT.schema,
            "declaration": GAME.declaration(),
            "room": "bench",
            "slot": slot,
            "name": name,
            "tick": self.world.tick,
            "tick_hz": self.settings.tick_hz,
            "snapshot_ticks": 1,
            "size": self.settings.world_size,
            "cell": CELL_SIZE,
            "token": "",
            "resumed": False,
            "grace_s": 0,
            "rules": self.world.rules(),
            "server": "peer",
        }
        return slot, msgpack.packb([wire.WELCOME, welcome])

    def leave(self, slot: int) -> None:
        self.world.leave(slot)

    def put(self, slot: int, message: bytes) -> None:
        """A message of the player in `slot`; all but inputs are passed over."""
        if len(message) == LAYOUT.input_size and message[:4] == LAYOUT.input_prefix:
            self._messages.append(message)
            self._sources.append(slot)

    def step(self) -> None:
        """Step the world with what was put."""
        self.world.step(self._commands())

    def record(self) -> None:
        """Publish the world as of this tick."""
        for history, view in zip(self.histories, self.world.view(), strict=True):
            history.record(self.world.tick, view)

    def encode(self, slots: np.ndarray) -> snapshot.Snapshots:
        """The snapshots of the clients in `slots`, intp[n]. `commit` must be told which of
        them went out."""
        tick = self.world.tick
        cell = self.grid.viewer_cell(self.cell[slots], *self.world.eyes(slots))
        self.cell[slots] = cell
        age = tick - self.baseline_tick[slots]
        groups, member_of = snapshot.group(cell, age, self.baseline_cell[slots])
        bodies = snapshot.encode(tick, self.histories, groups)
        age = groups.age[member_of]

        starts = LAYOUT.starts(len(slots))
        starts.heads["tick"] = tick
        starts.heads["ack_seq"] = self.applied[slots]
        starts.heads["slack"] = wire.NO_SLACK
        starts.heads["flags"] = np.where(age == snapshot.FULL_AGE, wire.FLAG_FULL, 0)
        starts.heads["baseline_age"] = age
        starts.heads["snapshot_ticks"] = 1
        starts.fill_self(self.world.self_rows(slots))
        return snapshot.Snapshots(starts, bodies, member_of)

    def tick(self, slots: list[int]) -> tuple[np.ndarray, list[bytes]]:
        """A whole tick; returns ``(slots: intp[n], frames)``, whole and unmasked."""
        self.step()
        self.record()
        due = np.array(slots, np.intp)
        return due, self.encode(due).cut()

    def _commands(self) -> np.ndarray:
        """STEP_COMMAND[m]: the newest input of each player that sent any."""
        messages, sources = self._messages, self._sources
        self._messages, self._sources = [], []
        raw = np.frombuffer(b"".join(messages), np.uint8).reshape(-1, LAYOUT.input_size)
        rows = (
            np.ascontiguousarray(raw[:, len(LAYOUT.input_prefix) :]).view(LAYOUT.input_row).ravel()
        )
        slots, last = np.unique(np.array(sources, np.intp)[::-1], return_index=True)
        rows = rows[::-1][last]
        self.applied[slots] = rows["seq"]
        return inputs.commands(GAME, slots, rows)

    def commit(self, slots: np.ndarray, sent: list[bool]) -> None:
        """The baseline moves for those whose snapshot went out."""
        taken = slots[np.array(sent, bool)]
        self.baseline_tick[taken] = self.world.tick
        self.baseline_cell[taken] = self.cell[taken]


def payload(frame: bytes) -> bytes:
    """A server frame without its header: for transports that frame by themselves.

    >>> payload(wire.frame([1])) == msgpack.packb([1])
    True
    """
    length = frame[1]
    return frame[2 if length < 126 else 4 if length == 126 else 10 :]
