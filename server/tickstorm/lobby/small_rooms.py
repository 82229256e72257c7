"""The small rooms of a process: which archipelago each is in, and how they come back from their
journal, all together."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple, cast

import numpy as np

from ..config import Config
from ..games.game import Game
from ..games.world import WorldSettings
from ..records import journal
from ..records.journal.folder import attempts, clear_attempts, note_attempts
from ..records.journal.playback import Tail
from ..records.journal.recovery import ATTEMPTS, compare
from ..records.journal.shared import CLOSED, FOLDER, SharedJournal, extract, tails
from ..rooms.archipelago import (
    Archipelago,
    Island,
    IslandRoom,
    SeaGame,
    replay_together,
)
from ..rooms.meter import Meter
from ..rooms.past import Story

log = logging.getLogger("tickstorm.lobby")


class Back(NamedTuple):
    """A room as its journal says, in the sea already."""

    archipelago: Archipelago
    world: Island
    sessions: list[list]
    seed: int


class SmallRooms:
    """`run(archipelago)` starts the loop of one."""

    def __init__(
        self,
        config: Config,
        writer: journal.Writer | None,
        clock: Callable[[], float] = monotonic,
        meter: Meter | None = None,
        worker: int = 0,
    ):
        self.config, self.clock, self.meter = config, clock, meter
        self.archipelagos: list[Archipelago] = []
        self.run: Callable[[Archipelago], None] = lambda archipelago: None
        self.apart: set[str] = set()
        """Rooms that are opened as large ones, for one of them may crash."""
        self._journal: SharedJournal | None = None
        self._tails: dict[str, Tail] = {}
        self._back: dict[str, Back] = {}
        if writer is not None:
            self._open_journal(writer, worker)

    def read(self, worker: int) -> None:
        """Another worker has died: its rooms may be restored here."""
        folder = folder_of(self.config, worker)
        if self._journal is not None and folder.is_dir():
            self._tails |= tails(folder)

    def _open_journal(self, writer: journal.Writer, worker: int) -> None:
        config, folder = self.config, folder_of(self.config, worker)
        folder.mkdir(parents=True, exist_ok=True)
        lock = journal.lock(folder)
        if lock is None:
            log.warning("small rooms keep no journal: another process has the one in %s", folder)
            return
        self._tails = tails(folder)
        tried = attempts(folder, 0)
        if tried >= ATTEMPTS:
            self._set_apart(folder)
        self._journal = SharedJournal(
            writer, folder, config.journal_megabytes << 20, config.journal_hours * 3600,
            config.checkpoint_seconds, lock,
        )  # fmt: skip
        for id in self.apart:
            self._journal.put([CLOSED, id])
        if self._tails:  # until a tick is through, it may be one of these rooms that ends us
            note_attempts(folder, 0, tried + 1)
        else:
            clear_attempts(folder)

    def _set_apart(self, folder: Path) -> None:
        """Again and again this process has died before their first tick: one of these rooms has
        something in it that crashes. Each gets columns and a journal of its own, so that it shows
        which one it is; that one's journal is set aside then (see `recovery`)."""
        log.error("small rooms crash again and again: each of %d is opened apart from the others",
                  len(self._tails))  # fmt: skip
        for id in self._tails:
            own = journal.folder_of(self.config.data_dir, id)
            own.mkdir(parents=True, exist_ok=True)
            number = max((int(path.stem) for path in journal.segments(own)), default=0) + 1
            extract(folder, id, own / f"{number:06d}{journal.SUFFIX}")
        self.apart = set(self._tails)
        self._tails = {}

    def fit(self, id: str, game: Game, settings: WorldSettings) -> bool:
        """Is a room of these settings a small one, of a game that can have many in one sea?"""
        return (
            id not in self.apart
            and hasattr(game, "create_sea")
            and cast(SeaGame, game).shares_sea(settings)
        )

    def _archipelago(self, game: Game, tick_hz: int) -> Archipelago:
        for archipelago in self.archipelagos:
            alike = archipelago.game is game and archipelago.config.tick_hz == tick_hz
            if alike and not archipelago.full:
                return archipelago
        config = replace(self.config, tick_hz=tick_hz)
        archipelago = Archipelago(config, game, self._journal, self.clock, self.meter)
        self.archipelagos.append(archipelago)
        return archipelago

    def start(self, archipelago: Archipelago) -> None:
        """Its loop runs, from its first room on."""
        if not archipelago.started:
            archipelago.started = True
            self.run(archipelago)

    def start_all(self) -> None:
        """The loops of those whose rooms were opened before there was anything to run them."""
        for archipelago in self.archipelagos:
            self.run(archipelago)

    # ------------------------------------------------------------------ back from the journal

    def restore(self, rooms: dict[str, tuple[Game, WorldSettings]]) -> None:
        """Bring back those of `rooms` that the journal knows, all at once."""
        alike: dict[tuple[str, int], list[str]] = {}
        for id, (game, settings) in rooms.items():
            if (
                id in self._tails
                and self.fit(id, game, settings)
                and self._usable(id, game, settings)
            ):
                alike.setdefault((game.name, settings.tick_hz), []).append(id)
        for (_, tick_hz), ids in alike.items():
            self._restore(rooms[ids[0]][0], tick_hz, ids)

    def _usable(self, id: str, game: Game, settings: WorldSettings) -> bool:
        header = self._tails[id].header
        try:
            journal.check(header, game)
            compare(header, journal.header_of(game, id, settings, self.config.seed))
        except (journal.JournalError, KeyError, TypeError) as error:
            log.error("room %s can't come back: %s", id, error)
            return False
        return True

    def _restore(self, game: Game, tick_hz: int, ids: list[str]) -> None:
        began = monotonic()
        left = list(ids)
        while left:
            archipelago = self._archipelago(game, tick_hz)
            some, left = left[: archipelago.free], left[archipelago.free :]
            stories = [_story(game, self._tails[id]) for id in some]
            try:
                found = _last(replay_together(game, archipelago.sea, stories))
            except Exception:
                log.exception("rooms can't come back: %s", ", ".join(some))
                self.archipelagos.remove(archipelago)
                continue
            for id, (world, sessions) in zip(some, found, strict=True):
                seed = self._tails.pop(id).header["seed"]
                self._back[id] = Back(archipelago, world, sessions, seed)
                archipelago.expected += 1
        log.info("%d small rooms of %s are back, %.0f ms", len(ids), game.name,
                 (monotonic() - began) * 1e3)  # fmt: skip

    # ------------------------------------------------------------------ opening

    def open(
        self,
        id: str,
        config: Config,
        game: Game,
        settings: WorldSettings,
        state: dict | None,
        **others: Any,
    ) -> IslandRoom:
        """A room: from `state`, from the journal, or new."""
        header = journal.header_of(game, id, settings, self.config.seed)
        worlds = cast(SeaGame, game)  # see `fit`
        back = self._back.pop(id, None)
        sessions: list[list] = []
        if back is not None and state is None:
            archipelago, world, sessions, header["seed"] = back
            archipelago.expected -= 1
            log.info("room %s is back at tick %d with %d players", id, world.tick, len(sessions))
        else:
            archipelago = self._archipelago(game, settings.tick_hz)
            if state is not None:
                world = worlds.load_world(state["world"], archipelago.sea)
                sessions = state["sessions"]
                header["seed"] = state["world"]["seed"]
                log.info("room %s goes on at tick %d with %d players", id, world.tick,
                         len(sessions))  # fmt: skip
            else:
                header["seed"] = self.config.seed or int.from_bytes(os.urandom(6), "little")
                world = worlds.create_world(settings, header["seed"], archipelago.sea)
        share = self._journal.share(id, header) if self._journal is not None else None
        return IslandRoom(
            id, config, game, world, archipelago, journal=share, sessions=sessions, **others
        )

    def close(self) -> None:
        """After all rooms have finished."""
        if self._journal is not None:
            self._journal.close()


def folder_of(config: Config, worker: int) -> Path:
    """Where a worker keeps the journal of its small rooms."""
    return Path(config.data_dir) / (f"{FOLDER}-{worker}" if worker else FOLDER)


def _story(game: Game, tail: Tail) -> Story:
    steps = [
        (events, np.frombuffer(commands, game.STEP_COMMAND))
        for _, _, events, commands, *_ in tail.ticks
    ]
    return Story(tail.checkpoint[3], tail.checkpoint[4], steps)


def _last(found: Iterator[Any]) -> Any:
    """What a generator yields at its end."""
    return deque(found, maxlen=1).pop()
