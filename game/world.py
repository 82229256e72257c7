"""A room of the arena: its players, and its part of the columns that it is in (`sea.py`)."""

from __future__ import annotations

from typing import Any
from zlib import crc32

import numpy as np

from tickstorm.games.chance import chance
from tickstorm.games.checks import whole
from tickstorm.games.messages import message
from tickstorm.games.speaker import Sent, Speaker
from tickstorm.games.world import KindView

from .chances import HUE
from .orbs import scatter
from .rules import ORB_AREA, PODIUM_S, Rules
from .sea import Sea

F = np.float32

MIN_SHOTS, MAX_SHOTS, SHOTS_EACH = 1024, 32_768, 18
"""Shots that can fly in a room: 8 for each player, but so many at least, unless fewer players can't
have more: a ship fires 3 at once, 6 times in a shot's life."""

SIGHT = 1400
"""How far a mark is seen, units along each axis."""

DROPS_EACH = 48
"""Orbs of wrecks that can lie about for each player, at most."""


class World(Speaker):
    """A room, a pure function of its settings, its seed and the calls it gets, whoever else is in
    its sea.

    >>> from game.schema import STEP_COMMAND
    >>> world = World(tick_hz=20, size=2048, players=4, orbs=10, seed=7)
    >>> slot = world.join("ada", bot=False)
    >>> world.step(np.zeros(0, STEP_COMMAND))
    >>> world.tick, slot, bool(world.view()[0].present[slot])
    (1, 0, True)
    """

    def __init__(
        self,
        tick_hz: int,
        size: int,
        players: int,
        orbs: int,
        seed: int,
        round_s: int = 0,
        sea: Sea | None = None,
        tick: int | None = None,
    ):
        """`orbs`: how many lie about; -1: one per 200 x 200 units, 0: none, ever. `round_s`:
        seconds until a podium ends the round and everyone begins anew; 0: never. `sea`: the
        columns that it shares with others of this tick rate; None: it has its own. `tick`: it is
        at this one already, and to be loaded. Raises ValueError if the sea is full."""
        if not 1 <= players <= 65_535:
            raise ValueError(f"players is {players}, must be 1 to 65535")
        if orbs < 0:
            orbs = int(size * size / ORB_AREA)
        self.constants = rules = Rules.at(tick_hz, size)
        # Room for what wrecks leave; what finds none is not dropped.
        lying = min(2 * orbs + 4 * players, orbs + DROPS_EACH * players, 65_535) if orbs else 1
        shots = min(SHOTS_EACH * players, max(MIN_SHOTS, 8 * players), MAX_SHOTS)
        self.capacity = players
        self.outbox: list[Sent] = []
        self.size = size
        self.seed = seed
        self.orb_count = min(orbs, lying)
        self.round_s = round_s
        self.sea = sea = sea or Sea(rules, players, shots, lying)
        counts = (players, shots, lying)
        room = sea.open_room(rules, seed, tick or 0, counts, self.orb_count)
        if room is None:
            raise ValueError("the sea is full")
        self.room = room
        self.base = int(sea.ships.berth_first[room])
        """The row of slot 0 in the ships' table."""
        self.epoch = sea.tick - (tick or 0)
        """The sea's tick at which the room's own was 0."""
        rooms = sea.rooms
        rooms.round_ticks[room] = self.round_ticks = round_s * tick_hz
        rooms.podium_ticks[room] = self.podium_ticks = PODIUM_S * tick_hz if round_s else 0
        self.ships, self.shots, self.orbs = sea.tables
        if tick is None:
            count = np.zeros(rooms.open.size, np.int64)
            count[room] = self.orb_count
            scatter(sea.orbs, rooms, sea.ground, count, sea.tick)

    def close(self) -> None:
        """It leaves the sea."""
        self.sea.close_room(self.room)

    # Players.

    @property
    def tick(self) -> int:
        """The room's own."""
        return self.sea.tick - self.epoch

    def join(self, name: str, bot: bool) -> int:
        """Give a new player the lowest free slot and a ship somewhere; returns the slot.

        `name` is cut to 20 bytes of UTF-8, between code points. Raises ValueError when
        all slots are taken.
        """
        sea, ships, room = self.sea, self.ships, self.room
        slots = ships.claim(1, sea.tick + 1, room)
        if slots.size == 0:
            raise ValueError(f"all {self.capacity} player slots are taken")
        name = name.replace("\0", "").encode("utf-8", "ignore")[:20].decode("utf-8", "ignore")
        slot = int(slots[0]) - self.base
        lot = chance(sea.rooms.seed[[room]], self.tick, HUE, np.array([slot]), 1)
        ships.name[slots] = name.encode()
        ships.hue[slots] = int(lot[0, 0] * 256)
        ships.bot[slots] = bot
        ships.rank[slots] = np.count_nonzero(ships.full("present")[ships.span(room)])
        ships.static["name"][slots] = ships.name[slots]
        ships.static["hue"][slots] = ships.hue[slots]
        sea.spawn(slots, sea.tick + 1)
        return slot

    def leave(self, slot: int, silent: bool = False) -> None:
        """Take a ship and its shots out of the world."""
        row, shots = slot + self.base, self.shots
        shots.release(np.flatnonzero(shots.present & (shots.owner == row)))
        self.ships.release(np.array([row]))

    @message(per_second=1)
    def emote(self, slot: int, mark: int = whole(0, 5)) -> None:
        """A mark over the player's ship, for those who are near."""
        ships, span = self.ships, self.ships.span(self.room)
        x, y = ships.full("x")[span], ships.full("y")[span]
        near = (np.abs(x - x[slot]) < SIGHT) & (np.abs(y - y[slot]) < SIGHT)
        self.send("emote", slot, mark, to=np.flatnonzero(near & ships.full("present")[span]))

    def place(self, slot: int, x: float, y: float) -> None:
        """Put a living ship somewhere else at once, standing still: for everyone a new entity.

        For tests and tools; nothing in the arena teleports but by respawning.
        """
        row = np.array([slot + self.base])
        self.sea.put(row, np.array([x], F), np.array([y], F), self.sea.tick + 1)

    def name(self, slot: int) -> str:
        """The name of the player in a slot, as it was accepted."""
        return self.sea.name(slot + self.base)

    # One tick.

    def step(self, commands: np.ndarray) -> None:
        """Advance one tick, of a room that has its sea to itself. `commands`: STEP_COMMAND[m], at
        most one row per slot; rows of empty slots are ignored."""
        self.sea.step(commands)

    @property
    def podium(self) -> bool:
        """Is this tick between two rounds, when nobody fires and scores stand still?"""
        return self.round_ticks > 0 and self._phase() >= self.round_ticks

    @property
    def final(self) -> bool:
        """Does the board say how a round has ended?"""
        return self.podium

    def _phase(self) -> int:
        return self.tick % (self.round_ticks + self.podium_ticks)

    @property
    def rewind_enabled(self) -> bool:
        """Are shots tested where their shooters saw the others?"""
        return bool(self.sea.rooms.rewind[self.room])

    @rewind_enabled.setter
    def rewind_enabled(self, enabled: bool) -> None:
        self.sea.rooms.rewind[self.room] = enabled

    @property
    def shots_refused(self) -> int:
        """For lack of rows, in total."""
        return int(self.sea.rooms.shots_refused[self.room])

    # What others see.

    def view(self) -> list[KindView]:
        """The world for the wire; arrays are valid until the next call that changes it."""
        ships = self.ships
        berth = ships.span(self.room)
        self.sea.fill_rows(slice(berth.start, min(berth.stop, ships.used)))
        epoch = self.epoch
        views = []
        for table in (ships, self.shots, self.orbs):
            rows = table.span(self.room)
            born = table.full("born")[rows]
            views.append(
                KindView(
                    table.full("present")[rows],
                    born - epoch if epoch else born,
                    table.full("x")[rows],
                    table.full("y")[rows],
                    table.mutable[rows],
                    table.static[rows],
                    still=table.shuffled if table is self.orbs else None,
                )
            )
        return views

    def eyes(self, slots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """float32[n] x and y from which the players in `slots` look: their ship or wreck;
        0, 0 for a slot in which nobody is."""
        return self.sea.eyes(slots + self.base)

    def self_rows(self, slots: np.ndarray) -> np.ndarray:
        """SELF[n]: the own state of the players in `slots`."""
        return self.sea.self_rows(slots + self.base)

    def feed(self) -> list:
        """Kills of the last step: ``[["kill", killer, victim, killer's slot, victim's], ...]``."""
        return self.sea.feeds.get(self.room, [])

    def board(self) -> list:
        """The ten best players: ``[[name, score, slot], ...]``."""
        rows = self.ships.span(self.room)
        present = np.flatnonzero(self.ships.full("present")[rows])
        score = self.ships.full("score")[rows][present]
        best = np.argsort(-score, kind="stable")[:10]
        return [[self.name(present[i]), int(score[i]), int(present[i])] for i in best]

    def rules(self) -> dict[str, float]:
        """Constants that clients need to draw and predict; see `game/rules.py`."""
        return self.constants.as_map() | {
            "round_ticks": float(self.round_ticks),
            "podium_ticks": float(self.podium_ticks),
        }

    # To go on elsewhere.

    def checksum(self) -> int:
        """CRC-32 of the state: two worlds that went different ways differ in it.

        It covers what moves, fights and scores, and the wire rows.
        """
        self.view()
        crc = crc32(repr(self.tick).encode())
        for table, names in zip((self.ships, self.shots, self.orbs), CHECKED_COLUMNS):
            rows = table.span(self.room)
            present = np.flatnonzero(table.full("present")[rows])
            crc = crc32(present, crc)  # type: ignore[arg-type]  # as below
            columns = [table.mutable[rows][present]] if table is self.ships else []
            for name in names:
                column = table.full(name)[rows][present]
                if name in TICKS:
                    column[column != 0] -= self.epoch
                elif name == "owner":
                    column = column - self.base
                columns.append(column)
            for column in columns:
                crc = crc32(column, crc)  # type: ignore[arg-type]  # numpy's types know buffers from 3.12 on
        return crc

    def dump(self) -> dict[str, Any]:
        """Everything needed to go on from here, as msgpack can carry it."""
        sea, tick = self.sea, self.tick
        ticks, slots = dict.fromkeys(TICKS, self.epoch), {"owner": self.base}
        tables = [table.dump(self.room, ticks, slots) for table in sea.tables]
        return {
            "settings": [self.constants.tick_hz, self.constants.size, self.capacity],
            "orb_count": self.orb_count,
            "seed": self.seed,
            "round_s": self.round_s,
            "tick": tick,
            "rewind_enabled": self.rewind_enabled,
            "shots_refused": self.shots_refused,
            "tables": tables,
            "history": [values.tobytes() for values in self._past(tables[0]["used"])],
        }

    def _past(self, used: int) -> list[np.ndarray]:
        """float32[depth, used] x and y of the last ticks, by the room's own; 0 where a ship was
        not there yet."""
        history, tick, epoch = self.sea.history, self.tick, self.epoch
        rows = slice(self.base, self.base + used)
        when = tick - (tick - np.arange(history.depth)) % history.depth
        there = self.ships.full("present")[rows]
        there = there & (self.ships.full("born")[rows] - epoch <= when[:, None])
        return [
            np.where(there, np.roll(ring[:, rows], -(epoch % history.depth), axis=0), F(0))
            for ring in (history.x, history.y)
        ]


TICKS = ("born", "protected_until", "heard", "until")
"""Columns of ticks: the sea's, there; in dumps and checksums, the room's own."""

CHECKED_COLUMNS = (
    ("born", "x", "y", "vx", "vy", "energy", "cooldown", "respawn", "protected_until", "seq",
     "view_delay", "charge", "score", "streak"),
    ("x", "y", "owner", "view_delay"),
    ("x", "y", "value"),
)  # fmt: skip


def load_world(data: dict[str, Any], sea: Sea | None = None) -> World:
    """The world that was dumped; it goes on exactly as the original would. `sea`: see `World`."""
    tick_hz, size, players = data["settings"]
    world = World(
        tick_hz, size, players, data["orb_count"], data["seed"], data["round_s"], sea, data["tick"]
    )
    sea, room = world.sea, world.room
    world.rewind_enabled = data["rewind_enabled"]
    sea.rooms.shots_refused[room] = data["shots_refused"]
    if sea.alone:
        sea.tick, sea.rooms.epoch[room] = data["tick"], 0
        world.epoch = 0
    epoch = world.epoch
    for table, rows in zip(sea.tables, data["tables"]):
        table.load(rows, room, dict.fromkeys(TICKS, epoch), {"owner": world.base})
    sea.loaded(room)
    used = data["tables"][0]["used"]
    for ring, values in zip((sea.history.x, sea.history.y), data["history"]):
        past = np.frombuffer(values, F).reshape(len(ring), used)
        ring[:, world.base : world.base + used] = np.roll(past, epoch % len(ring), axis=0)
    return world
