"""Rules that are saved go into running rooms, in development runs.

`tickstorm run --dev` looks for files that are saved, tries them in a process of its own and notes
what came of it in a file (`saved.py`); this is the server's side. Rooms of objects go on with the
new rules at their next tick. Then the last minute of each is run again, with the rules of before
and the new ones: the page says from which tick on it would have been another. A crowd's rules
need a new worker.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent

from ..games import catalogue
from ..games.catalogue import CROWD, OBJECTS, GameError
from ..games.room import Game
from ..lobby.lobby import Lobby
from ..records.comparison import Difference, against_rules
from ..records.journal import JournalError
from ..records.object_reel import ObjectReel
from ..rooms.object_room import ObjectRoom
from . import saved

log = logging.getLogger("tickstorm.live")

LOOK_S = 0.1
LOOK_BACK_S = 60.0
"""So much of each room's past is run again."""

WRITTEN_S = 0.3
"""Time for what was recorded to be in the journal's file."""

SLICE_TICKS = 20


class LiveRules:
    """`renewed()` is called when rooms have other rules; `report()` is for the playground."""

    def __init__(self, lobby: Lobby, renewed: Callable[[], None] = lambda: None):
        self._lobby, self.renewed = lobby, renewed
        self._path = saved.path_for(lobby.config.data_dir, lobby.config.port)
        self._seen = self._stamp()
        self._report: dict[str, Any] = {}

    def report(self) -> dict[str, Any]:
        """``{at, files, problem, rooms: {id: {ticks, tick, lines} or {}}}``; of a room without
        `tick` nothing differs, and one that is not there yet is being looked at."""
        return self._report

    def run(self) -> None:
        """Until the process ends."""
        while True:
            gevent.sleep(LOOK_S)
            stamp = self._stamp()
            if stamp != self._seen:
                self._seen = stamp
                try:
                    self.take(saved.read(self._path))
                except Exception:  # the next one that is saved may do better
                    log.exception("what was saved can't be taken over")

    def _stamp(self) -> int:
        try:
            return self._path.stat().st_mtime_ns
        except OSError:
            return 0

    def take(self, row: dict[str, Any]) -> None:
        """Something was saved."""
        files = [Path(file) for file in row["files"]]
        self._report = {"at": row["at"], "files": [file.name for file in files],
                        "problem": row["problem"], "rooms": {}}  # fmt: skip
        if row["problem"]:
            return
        games = self._lobby.games
        was: dict[str, Game] = {e.name: e.game for e in games if e.kind == OBJECTS}
        try:
            _forget_modules({file.parent for file in files})
            now = list(catalogue.load(self._lobby.config.games))
        except (GameError, OSError) as error:
            log.error("the rules that were saved can't be read here, so the server restarts: %s",
                      error)  # fmt: skip
            _restart()
            return
        if [(e.name, e.kind) for e in now] != [(e.name, e.kind) for e in games] or any(
            e.kind == CROWD for e in now
        ):
            _restart()
            return
        renewed: list[ObjectRoom] = []
        for entry in now:
            if entry.game.rules != was[entry.name].rules or _beside(entry.game, files):
                renewed += self._lobby.renew(entry)
        self.renewed()
        log.info("%s: %d rooms go on with it", ", ".join(self._report["files"]), len(renewed))
        ticks = {room.id: room.ticks for room in renewed}
        gevent.spawn(self._look_back, renewed, ticks, was, self._report)

    def _look_back(
        self,
        rooms: list[ObjectRoom],
        ticks: dict[str, int],
        was: dict[str, Game],
        report: dict[str, Any],
    ) -> None:
        """Would the last minute have been another?"""
        folder = self._lobby.ledger_folder()
        gevent.sleep(WRITTEN_S)
        for room in rooms if folder is not None else []:
            if report is not self._report:
                return  # something newer was saved
            try:
                reel = gevent.get_hub().threadpool.apply(ObjectReel, (folder, room.id))
            except JournalError:
                continue
            hz = room.hz or 20
            last = ticks[room.id]
            first = max(reel.first, last - int(LOOK_BACK_S * hz))
            for found in against_rules(reel, was[room.game.name], room.game, first, last):
                if isinstance(found, Difference):
                    self._tell(room, found, report)
                elif found % SLICE_TICKS == 0:
                    gevent.sleep(0.001)

    def _tell(self, room: ObjectRoom, found: Difference, report: dict[str, Any]) -> None:
        if found.same:
            report["rooms"][room.id] = {"ticks": found.ticks}
            return
        lines = found.lines()
        report["rooms"][room.id] = {"ticks": found.ticks, "tick": found.tick, "lines": lines}
        log.info("room %s: with these rules the last minute would be another from tick %d on: %s",
                 room.id, found.tick, "; ".join(lines[:3]))  # fmt: skip


def _beside(game: Game, files: list[Path]) -> bool:
    """Is one of the files beside the game's own?"""
    own = getattr(sys.modules.get(game.room.__module__), "__file__", None)
    return own is not None and Path(own).resolve().parent in {file.parent for file in files}


def _forget_modules(folders: set[Path]) -> None:
    """What was imported from there is imported anew."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and Path(file).resolve().parent in folders and not name.startswith("tickstorm."):
            del sys.modules[name]


def _restart() -> None:
    """A new worker takes this one's place."""
    os.kill(os.getpid(), signal.SIGHUP)
