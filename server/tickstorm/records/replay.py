"""A match watched again: a room whose world is driven by a journal.

`Reel` finds records in a journal without holding them; it is made off the loop. A
`ReplayRoom` steps a world of its own with them and serves its one viewer as a live room
serves a spectator, so the page needs no second way to draw.

A replay must not cost the players anything: it steps a tick at a time between theirs,
takes a fifth of the time at most, and there are only so many at once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from time import monotonic, thread_time
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

import gevent
import numpy as np

from ..config import Config
from ..games.catalogue import Catalogue
from ..games.game import Game
from ..protocol import wire
from ..protocol.wire import Close, ProtocolViolation
from ..replication.history import KindHistory
from ..rooms.crowd_room import CrowdRoom
from ..rooms.seats import NEVER
from ..rooms.session import Session
from ..transport.connection import Connection
from . import journal
from .journal import CHECKPOINT, HEADER, JournalError, shared
from .journal.format import check, read_one, skim

log = logging.getLogger("tickstorm.replay")

MOST_SEGMENTS = 12
"""Segments in a reel, the newest ones: two hours at most."""

EXTRACTS, MOST_EXTRACTS = "extracts", 20
"""The folder of small rooms' journals that were taken out to be watched, and how many are kept."""

SLOWEST, FASTEST = 0.1, 8.0
"""Bounds of the speed. At 8, a snapshot spans 8 ticks, well within the ring of baselines."""

BUSY_SHARE = 0.4
"""Share of the time that all replays of a process may take together: one alone shows an arena of
24 ships eight times as fast, and twenty of them cost live rooms no more than that."""

BEHIND_S = 1.0
"""What a replay that was held up makes good; what is more is left out of its pace."""

TELL_S = 0.5
"""Seconds between reports to the viewer about where the replay is."""


class Place(NamedTuple):
    """Where a record is."""

    path: Path
    offset: int


class Reel:
    """The ticks and checkpoints of some segments, by tick.

    Where two segments hold the same tick, the later one counts: the room came back from
    a crash to before it, and played it anew.
    """

    def __init__(self, game: Game, paths: list[Path]):
        """Reads all of it; raises JournalError if there is nothing that can be played."""
        self.game = game
        self.header: dict[str, Any] = {}
        self.checkpoints: dict[int, Place] = {}
        self.ticks: dict[int, Place] = {}
        for path in paths[-MOST_SEGMENTS:]:
            self._add(path)
        if not self.checkpoints:
            raise JournalError("there is no whole checkpoint")
        self.first = min(self.checkpoints)
        self.last = max(max(self.checkpoints), max(self.ticks, default=0))

    def _add(self, path: Path) -> None:
        for offset, kind, second in skim(path):
            if kind == HEADER:
                check(second, self.game)
                self.header = second
            else:
                places = self.checkpoints if kind == CHECKPOINT else self.ticks
                places[second] = Place(path, offset)

    def before(self, tick: int) -> int:
        """The newest checkpoint up to `tick`, or the first of all."""
        return max((at for at in self.checkpoints if at <= tick), default=self.first)

    def after(self, tick: int) -> int | None:
        """The next checkpoint after `tick`."""
        return min((at for at in self.checkpoints if at > tick), default=None)

    def read(self, place: Place) -> list:
        """One record. Raises JournalError if it is not there any more."""
        return read_one(*place)


class ReplayRoom(CrowdRoom):
    """A room for one viewer, who is told with `announce` when what it knows is void."""

    remembers = False  # the journal does

    def __init__(
        self,
        name: str,
        config: Config,
        reel: Reel,
        clock: Callable[[], float] = monotonic,
    ):
        settings = reel.header["settings"]
        config = replace(
            config,
            tick_hz=settings["tick_hz"],
            max_players=1,
            max_spectators=1,
        )
        self.reel = reel
        self.speed = 1.0
        self._wanted: int | None = None  # tick to go to
        self._void = False
        self._share: Callable[[], float] = lambda: BUSY_SHARE
        self._now: list = []  # the record that is stepped next
        self._tell_at = 0.0
        self._unseen_s = 0.0  # CPU time of this turn's unseen ticks, and of others meanwhile
        world = reel.game.load_world(reel.read(reel.checkpoints[reel.first])[3])
        super().__init__(name, config, reel.game, world, clock)

    # ------------------------------------------------------------------ what the viewer asks for

    def control(self, speed: float, tick: int | None) -> None:
        """Go on at `speed` (0 stops), from `tick` if there is one."""
        if not 0 <= speed <= FASTEST:
            raise ProtocolViolation(Close.MALFORMED, f"a speed that is not 0 to {FASTEST:g}")
        if speed:
            speed = round(speed) if speed > 1 else max(speed, SLOWEST)
        self._void |= speed not in (0, self.speed)
        self.speed = speed
        if tick is not None:
            self._wanted = min(max(tick, self.reel.first), self.reel.last)
        self._tell_at = 0.0

    @property
    def tick_hz(self) -> float:
        """Ticks that pass for the viewer in a second."""
        return self.config.tick_hz * (self.speed or 1)

    @property
    def snapshot_ticks(self) -> int:
        return max(1, int(self.speed))

    # ------------------------------------------------------------------ the loop

    def run(self, share: Callable[[], float] = lambda: BUSY_SHARE) -> None:
        """The replay's greenlet, until its viewer has gone. `share`: of the time, for it."""
        self._share = share
        try:
            due = self.clock()
            while self._running:
                began, self._unseen_s = thread_time(), 0.0
                self._turn()
                worked_s = thread_time() - began - self._unseen_s
                now = self.last_tick_at = self.clock()
                # What it is behind it makes good, but never at the live rooms' cost.
                due = max(due + self.snapshot_ticks / self.tick_hz, now - BEHIND_S)
                gevent.sleep(max(due - now, rest_s(worked_s, share())))
        except Exception as error:  # a damaged journal, or other rules than then
            log.warning("replay %s ends: %r", self.id, error)
            self.close(Close.NO_ROOM, "the replay ends here")
        finally:
            self.sockets.close()

    def _turn(self) -> None:
        """As many ticks as one snapshot spans; the last of them is shown."""
        if self._wanted is not None:
            self._seek(self._wanted)
        if self.clock() >= self._tell_at:
            self._tell_where()
        if self.speed == 0 or self.world.tick >= self.reel.last:
            tick = self.world.tick + 1
            self._commands(tick, *self._read(tick))  # the viewer is heard, and answered
            for connection in self.sockets.readers.values():
                connection.nudge()
            return
        if self._void:
            self._begin_anew()
        span = self.snapshot_ticks
        while (self.world.tick + 1) % span and self.world.tick + 1 < self.reel.last:
            if not self._step_unseen():
                return
            self._record(self.world.tick)  # what changed is found from one tick to the next
        if self._fetch():
            self.tick()

    def _seek(self, tick: int) -> None:
        """Go to the checkpoint before `tick`, step on from there, and show that tick."""
        self._wanted = None
        base = self.reel.before(tick - 1)
        if not base <= self.world.tick < tick:
            self._load(base)
        while self.world.tick < tick - 1 and self._wanted is None and self._running:
            if not self._step_unseen():
                break
        self._begin_anew()
        if self.world.tick < self.reel.last and self._fetch():
            self.tick()
        self._tell_where()

    def _begin_anew(self) -> None:
        """What was sent before is void: other ticks follow, or the same at another pace."""
        self._void = False
        self.seats.baseline_tick[:] = NEVER
        self.seats.begun[:] = self.seats.heard[:] = self.world.tick
        self.seats.cell[:] = self.seats.full_at[:] = 0
        self._histories = [
            KindHistory(kind, len(view.present), self.grid)
            for kind, view in zip(self.game.KINDS, self.world.view(), strict=True)
        ]
        self.announce()

    def _tell_where(self) -> None:
        self._tell_at = self.clock() + TELL_S
        reel = self.reel
        where = wire.replaying(self.world.tick, reel.first, reel.last, self.speed)
        for connection in self.sockets.readers.values():
            connection.push(where)  # without waiting for a tick: the replay may be halted

    # ------------------------------------------------------------------ the world

    def _step_unseen(self) -> bool:
        """A tick that the viewer is not shown; live rooms have their turn after it."""
        began = thread_time()
        if not self._fetch():
            return False
        journal.step(self.game, self.world, self._now)
        self._now = []
        gevent.sleep(rest_s(thread_time() - began, self._share()))
        self._unseen_s += thread_time() - began
        return True

    def _fetch(self) -> bool:
        """Have the next tick's record at hand. Where ticks are missing, jump to the next
        checkpoint, or end; False then."""
        place = self.reel.ticks.get(self.world.tick + 1)
        if place is not None:
            self._now = self.reel.read(place)
            return True
        checkpoint = self.reel.after(self.world.tick)
        if checkpoint is None:
            self.reel.last = self.world.tick
        else:
            self._load(checkpoint)
            self._void = True
        return False

    def _load(self, checkpoint: int) -> None:
        self.world = self.game.load_world(self.reel.read(self.reel.checkpoints[checkpoint])[3])

    def _commands(self, tick: int, seats: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """What the players of then did; the viewer's own messages are only counted."""
        super()._commands(tick, seats, rows)
        record, self._now = self._now, []
        if not record:
            return np.zeros(0, self.game.STEP_COMMAND)
        journal.apply(self.world, record[2])
        return np.frombuffer(record[3], self.game.STEP_COMMAND)

    def disconnect(self, session: Session, connection: Connection) -> None:
        super().disconnect(session, connection)
        self._running = bool(self.sessions)


def rest_s(worked_s: float, share: float) -> float:
    """How long to leave the others alone after so much CPU time.

    >>> rest_s(0.02, share=0.25)
    0.06
    """
    return worked_s * (1 / share - 1)


# ------------------------------------------------------------------ what there is


def paths_of(name: str, data_dir: str) -> list[Path]:
    """The segments that `name` stands for: ``room`` or ``room/segment``. Raises JournalError."""
    room, _, segment = name.partition("/")
    found = journal.segments(journal.folder_of(data_dir, room))
    if segment:
        found = [path for path in found if path.stem == segment]
    found = found or _of_small_room(room, Path(data_dir) / shared.FOLDER)
    if not found:
        raise JournalError(f"there is no replay {name!r}")
    return found


def _of_small_room(room: str, folder: Path) -> list[Path]:
    """What the journal of all small rooms has of this one, as a segment of its own."""
    if not any(record[0] == shared.OPEN and record[1] == room for record in shared.records(folder)):
        return []
    path = folder / EXTRACTS / f"{quote(room, safe='')}{journal.SUFFIX}"
    path.parent.mkdir(exist_ok=True)
    for old in sorted(path.parent.iterdir(), key=lambda file: file.stat().st_mtime)[
        :-MOST_EXTRACTS
    ]:
        old.unlink(missing_ok=True)
    fresh = path.with_suffix(".new")
    shared.extract(folder, room, fresh)
    fresh.replace(path)
    return [path]


def game_of(paths: list[Path], games: Catalogue) -> Game:
    """The game that these segments are of. Raises JournalError if it isn't among `games`."""
    name = read_one(paths[-1])[1].get("game", "")
    if name not in games:
        raise JournalError(f"it is of the game {name!r}, which isn't here")
    return games[name].game


def listing(data_dir: str, games: Catalogue) -> list[dict]:
    """Every segment that can be watched, the newest first."""
    rows: list[dict] = []
    for folder in (Path(data_dir) / "rooms").glob("*/"):
        if ".aside-" in folder.name:
            continue
        for path in journal.segments(folder):
            rows += _row(path, unquote(folder.name), games)
    return sorted(rows, key=lambda row: row["created"], reverse=True)


def _row(path: Path, room: str, games: Catalogue) -> Iterator[dict]:
    try:
        header = read_one(path)[1]
        check(header, game_of([path], games))
        stat = path.stat()
    except (OSError, TypeError, ValueError):  # gone, damaged, or of another build
        return
    yield {
        "replay": f"{room}/{path.stem}",
        "room": room,
        "game": header["game"],
        "created": header["created"],
        "seconds": round(max(0.0, stat.st_mtime - header["created"]), 1),
        "bytes": stat.st_size,
        "build": header["build"],
    }
