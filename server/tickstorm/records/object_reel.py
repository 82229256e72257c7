"""What a ledger has of one room of objects: its checkpoints and ticks, to be run again."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..games.room import Game
from ..games.simulation import Simulation
from . import ledger
from .journal import JournalError

KEEP_EVERY = 200
"""Of the checkpoints, one in so many ticks is held."""

Head = dict[str, Any]


class ObjectReel:
    """Reads all of a room; raises JournalError if there is nothing that can be played.

    `ticks`: the events of each tick, by its number; `checksums`: those of their patches;
    `accepts(head)`: whether what follows is wanted, by what the ledger says of its rules.
    """

    def __init__(
        self, folder: Path, room: str, accepts: Callable[[Head], bool] = lambda head: True
    ):
        self.room = room
        self.head: Head = {}
        self.checkpoints: dict[int, bytes] = {}  # deflated
        self.declared: dict[int, int] = {}  # the checksum of the declaration at each of them,
        self.rules: dict[int, int] = {}  # and of the file that the rules were in; 0: not known
        self.ticks: dict[int, list[list[Any]]] = {}
        self.checksums: dict[int, int] = {}
        wanted = False
        for record in ledger.records(folder):
            kind = record[0]
            if kind == ledger.OPEN and record[1] == room:
                wanted = accepts(record[2])
                self.head = record[2] if wanted else self.head
            elif not wanted:
                continue
            elif kind == ledger.KEPT and record[1] == room:
                self._keep(record[2], record[3])
            elif kind == ledger.TICKS:
                for id, tick, events, checksum in record[1]:
                    if id == room:
                        self.ticks[tick], self.checksums[tick] = events, checksum
        if not self.checkpoints:
            raise JournalError("there is no whole checkpoint")
        self.first = min(self.checkpoints)
        self.last = max(max(self.checkpoints), max(self.ticks, default=0))
        self.checked = any(self.checksums.values())
        """Does it say what came of each tick? What was set aside does not."""

    def _keep(self, tick: int, dump: bytes) -> None:
        if tick == 0:  # another room of this name began
            for known in (self.declared, self.rules, self.checksums):
                known.clear()
            self.checkpoints.clear()
            self.ticks.clear()
        near = max((at for at in self.checkpoints if at <= tick), default=None)
        declared, rules = self.head.get("checksum", 0), self.head.get("rules", 0)
        other = near is not None and (self.declared[near], self.rules[near]) != (declared, rules)
        if near is None or other or tick - near >= KEEP_EVERY or tick - 1 not in self.ticks:
            self.checkpoints[tick] = zlib.compress(dump, 1)
            self.declared[tick], self.rules[tick] = declared, rules

    def before(self, tick: int) -> int:
        """The newest checkpoint up to `tick`, or the first of all."""
        return max((at for at in self.checkpoints if at <= tick), default=self.first)

    def after(self, tick: int) -> int | None:
        """The next checkpoint after `tick`."""
        return min((at for at in self.checkpoints if at > tick), default=None)

    def dump(self, checkpoint: int) -> bytes:
        """The room at that checkpoint, as `Simulation.load` takes it."""
        return zlib.decompress(self.checkpoints[checkpoint])

    def at(self, game: Game, tick: int) -> Simulation:
        """The room as the newest checkpoint up to `tick` has it, or the first of all."""
        return Simulation.load(game, self.dump(self.before(tick)))
