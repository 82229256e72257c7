"""The journal of all object rooms of a process: one file, one thread, one record every 50 ms.

Segments are those of `journal/format.py`, with records of their own::

    [HEADER, {format, ledger, build, created}]
    [OPEN, room, {game, checksum, rules, capacity, created}]
    [KEPT, room, tick, dump, sessions]       a checkpoint: `Simulation.dump()`
    [TICKS, [[room, tick, events, checksum], …]]
    [CLOSED, room]

`checksum` is a CRC-32 of the patch that everyone was sent. A room is back by its last KEPT and
the TICKS that follow it without a gap. A new segment begins when the last one has grown large
or old; each room is kept in it within seconds, and older segments are deleted when all that
they hold is older than the limits, or the whole is larger.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote
from zlib import crc32

from .. import __version__
from ..games.room import Game
from ..games.simulation import CLOSE, JOIN, NAMES, Simulation
from ..replication.patches import pack
from .journal.folder import SUFFIX, segments
from .journal.format import MAGIC, Damage, frame, read
from .journal.writer import SEGMENT_SHARE, SegmentFile, Writer

if TYPE_CHECKING:
    from ..rooms.object_room import ObjectRoom

log = logging.getLogger("tickstorm.journal")

HEADER, OPEN, KEPT, TICKS, CLOSED = range(10, 15)
FORMAT = 1
SEGMENT_S = 600.0
RETRY_S = 5.0

MOST_ASIDE = 100
"""Journals that are kept aside; the first are the most telling."""


class Ledger:
    """The loop's side. `folder`: where segments are; `lock`: held as long as this is."""

    def __init__(
        self,
        writer: Writer,
        folder: Path,
        limit_bytes: int = 256 << 20,
        limit_s: float = 24 * 3600,
        lock: IO[str] | None = None,
    ):
        folder.mkdir(parents=True, exist_ok=True)
        self.lost = 0  # ticks that were not even handed to the writer
        self._writer, self._lock = writer, lock
        self._file = SegmentFile(folder, limit_bytes, limit_s)
        self._segment_bytes = max(1 << 20, limit_bytes // SEGMENT_SHARE)
        self._rows: list[list[Any]] = []
        self._opened: dict[str, tuple[int, int]] = {}  # in this segment, by which rules
        self._torn: set[str] = set()  # a tick was lost: useless until the next checkpoint
        self._segment_at = 0.0
        self._begin()

    def _begin(self) -> None:
        self._segment_at = time.monotonic()
        self._opened.clear()
        header = {"format": FORMAT, "ledger": True, "build": __version__, "created": time.time()}
        self._writer.write(self._file, self._file.begin, pack([HEADER, header]))

    def record(self, room: str, tick: int, events: list[list[Any]], checksum: int) -> None:
        """A tick of a room."""
        if room not in self._torn:
            self._rows.append([room, tick, events, checksum])

    def flush(self) -> None:
        """What was recorded since the last call goes to the writer: once a phase."""
        if not self._rows:
            return
        rows, self._rows = self._rows, []
        if not self._writer.offer_tick(self._file, pack([TICKS, rows])):
            self.lost += len(rows)
            self._torn.update(row[0] for row in rows)
        old = time.monotonic() - self._segment_at
        failed = self._file.failed > self._file.opened
        if self._file.bytes > self._segment_bytes or old > (RETRY_S if failed else SEGMENT_S):
            self._begin()

    def checkpoint(self, room: ObjectRoom) -> None:
        """Keep a room as it is now. Raises TypeError if that can't be."""
        self.flush()
        data = room.checkpoint()
        rules = (room.game.checksum, room.game.rules)
        if self._opened.get(room.id) != rules:
            self._opened[room.id] = rules
            head = {
                "game": room.game.name,
                "checksum": room.game.checksum,
                "rules": room.game.rules,
                "capacity": room.capacity,
                "created": time.time(),
            }
            self._put([OPEN, room.id, head])
        self._torn.discard(room.id)
        self._put([KEPT, room.id, room.ticks, data, room.playing()])

    def has(self, room_id: str) -> bool:
        """Is the room in the present segment? Older ones are deleted in time."""
        return room_id in self._opened

    def closed(self, room_id: str) -> None:
        """The room is gone for good."""
        self.flush()
        self._opened.pop(room_id, None)
        self._torn.discard(room_id)
        self._put([CLOSED, room_id])

    def moved(self, room_id: str) -> None:
        """Another worker has it now."""
        self.flush()
        self._opened.pop(room_id, None)
        self._torn.discard(room_id)

    def _put(self, record: list[Any]) -> None:
        self._writer.write(self._file, self._file.append, pack(record))

    def keep(self, rooms: Iterable[ObjectRoom]) -> None:
        """Checkpoints of all of them: the process ends."""
        for room in list(rooms):
            try:
                self.checkpoint(room)
            except TypeError as error:
                log.error("room %s: %s", room.id, error)

    def summary(self) -> dict[str, Any]:
        state = "error" if self._file.failed > self._file.opened else "ok"
        return {"state": state, "lost": self.lost + self._file.lost, "error": self._file.error,
                "bytes": self._file.total_bytes}  # fmt: skip

    def close(self) -> None:
        self.flush()
        self._writer.write(self._file, self._file.close, b"")


# ------------------------------------------------------------------ reading


def folder_of(data_dir: str | Path, worker: int = 0) -> Path:
    """Where a worker keeps its rooms; that of the first stands for all when they are read."""
    return Path(data_dir) / (f"objects-{worker}" if worker else "objects")


def open_stories(folder: Path) -> dict[str, Story]:
    """The rooms of one worker that have not been closed."""
    return {id: story for id, story in stories(folder, alone=True).items() if not story.closed}


@dataclass
class Story:
    """What segments say of one room. `kept`: ``(tick, dump, sessions)``; `ticks`:
    ``(tick, events, checksum)``, those that follow `kept`."""

    room: str
    head: dict[str, Any] = field(default_factory=dict)
    kept: tuple[int, bytes, list[list[Any]]] | None = None
    ticks: list[tuple[int, list[list[Any]], int]] = field(default_factory=list)
    closed: bool = False

    @property
    def tick(self) -> int:
        """The last tick that is known."""
        return self.ticks[-1][0] if self.ticks else self.kept[0] if self.kept else 0


_SHAPES: dict[int, tuple[Any, ...]] = {
    HEADER: (dict,),
    OPEN: (str, dict),
    KEPT: (str, int, bytes, list),
    TICKS: (list,),
    CLOSED: (str,),
}
_TICK = (str, int, list, int)


def records(folder: Path, alone: bool = False) -> Iterator[list[Any]]:
    """All records of all segments, those that are damaged left out; after those of the first
    worker, unless `alone`, the others'."""
    folders = [folder]
    if folder.name == "objects" and not alone:
        folders += sorted(folder.parent.glob("objects-*"))
    for path in (path for each in folders for path in segments(each)):
        for record in read(path):
            if isinstance(record, Damage):
                if not record.torn:
                    log.warning("journal: %s", record)
            elif well_formed(record):
                yield record
            else:
                log.warning("journal: %s: a record of type %d has another shape; it is passed over",
                            path.name, record[0])  # fmt: skip


def well_formed(record: list[Any]) -> bool:
    """Is it as this build writes it? Another build's may be whole, and yet no use.

    >>> well_formed([CLOSED, "a room"]), well_formed([CLOSED, 7]), well_formed([KEPT, "a room"])
    (True, False, False)
    """
    kind, values = record[0], record[1:]
    shape = _SHAPES.get(kind)
    if shape is None or len(values) != len(shape):
        return False
    if not all(isinstance(value, types) for value, types in zip(values, shape)):
        return False
    return kind != TICKS or all(
        isinstance(row, list)
        and len(row) == 4
        and all(isinstance(value, types) for value, types in zip(row, _TICK))
        and all(isinstance(event, list) and event for event in row[2])
        for row in values[0]
    )


def stories(folder: Path, alone: bool = False) -> dict[str, Story]:
    """How each room stands at the end of the segments, by id; closed ones included."""
    found: dict[str, Story] = {}
    for record in records(folder, alone):
        kind = record[0]
        if kind == OPEN:
            story = found.setdefault(record[1], Story(record[1]))
            story.head, story.closed = record[2], False
        elif kind == KEPT and record[1] in found:
            story = found[record[1]]
            story.kept, story.ticks = (record[2], record[3], record[4]), []
        elif kind == CLOSED and record[1] in found:
            found[record[1]].closed = True
        elif kind == TICKS:
            for room, tick, events, checksum in record[1]:
                story_of = found.get(room)
                if story_of is not None and story_of.kept and tick == story_of.tick + 1:
                    story_of.ticks.append((tick, events, checksum))
    return found


def restore(
    game: Game, story: Story, of: type[Simulation] = Simulation
) -> tuple[Simulation, list[list[Any]]]:
    """The room at its last known tick, and its players' sessions. Raises ValueError if the
    story has no beginning, RuleError if its rules fail on the way."""
    if story.kept is None:
        raise ValueError("there is no whole checkpoint")
    simulation = of.load(game, story.kept[1])
    for _, events, _ in story.ticks:
        simulation.advance(events)
        simulation.replica.patch()
        simulation.forget_output()
    return simulation, _sessions(simulation, story)


def _sessions(simulation: Simulation, story: Story) -> list[list[Any]]:
    """Sessions of the players who are in the room at its end, those who came since the last
    checkpoint included."""
    assert story.kept is not None
    known = {row[1]: row for row in story.kept[2]}
    for _, events, _ in story.ticks:
        for event in events:
            if event[0] == JOIN:
                _, player, name, session, bot = event
                known[player] = [session, player, name, bot]
    return [known[player] for player in simulation.players if player in known]


def story_of(room: ObjectRoom) -> Story:
    """What a running room would be restored from; at its end, the tick that it failed in."""
    base, since = room.remembered()
    if room.fatal is not None:
        since = [*since, room.fatal]
    head = {"game": room.game.name, "checksum": room.game.checksum, "capacity": room.capacity}
    first = Simulation.tick_of(base)
    story = Story(room.id, head, (first, base, room.playing()))
    story.ticks = [(first + i + 1, events, 0) for i, events in enumerate(since)]
    return story


def set_aside(folder: Path, story: Story) -> Path | None:
    """Keep what is known of a room that can't go on, for whoever looks into it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if len(list(folder.glob(f"*{SUFFIX}"))) >= MOST_ASIDE:
            log.error("the journal of room %s is not set aside: %d are in %s already", story.room,
                      MOST_ASIDE, folder)  # fmt: skip
            return None
        path = folder / f"{quote(story.room, safe='')}-{time.time_ns()}{SUFFIX}"
        rows: list[list[Any]] = [
            [HEADER, {"format": FORMAT, "ledger": True, "build": __version__}],
            [OPEN, story.room, story.head],
        ]
        if story.kept is not None:
            rows.append([KEPT, story.room, *story.kept])
        rows.append([TICKS, [[story.room, *row] for row in story.ticks]])
        path.write_bytes(MAGIC + b"".join(frame(pack(row)) for row in rows))
    except OSError as error:
        log.error("the journal of room %s can't be set aside: %s", story.room, error)
        return None
    log.error("the journal of room %s is set aside as %s", story.room, path)
    return path


@dataclass
class Check:
    """What `check` found: `same` ticks from `first` to `last`, and the first `difference`."""

    same: int = 0
    first: int = 0
    last: int = 0
    missing: int = 0
    difference: str = ""
    changed: bool = False
    """Is the difference, or the end, in what other rules recorded?"""


def check(game: Game, folder: Path, room: str) -> Check:
    """Run a room's ticks again and compare every checksum and checkpoint."""
    simulation: Simulation | None = None
    found = Check()
    for record in records(folder):
        if record[0] == OPEN and record[1] == room:
            head = record[2]
            found.changed = head.get("rules", game.rules) != game.rules
            if head.get("checksum") != game.checksum:
                simulation, found.changed = None, True
        elif record[0] == KEPT and record[1] == room:
            _, _, tick, data, _ = record
            if simulation is not None:
                found.missing += max(0, tick - simulation.tick)
                if simulation.tick == tick and simulation.dump() != data:
                    found.difference = f"tick {tick}: the checkpoint is another state"
                    return found
            simulation = Simulation.load(game, data)
        elif record[0] == TICKS and simulation is not None:
            for id, tick, events, checksum in record[1]:
                if id != room or tick != simulation.tick + 1:
                    continue
                simulation.advance(events, stepping=events != [[CLOSE]])
                _, body = simulation.replica.patch()
                simulation.forget_output()
                if crc32(body) != checksum:
                    found.difference = f"tick {tick}: another patch"
                    return found
                found.same += 1
                found.first, found.last = found.first or tick, tick
    return found


def verify(game: Game, folder: Path, room: str) -> tuple[int, str]:
    """How many ticks come out the same again, and what the first difference is, or ""."""
    found = check(game, folder, room)
    return found.same, found.difference


def is_ledger(path: Path) -> bool:
    """Are these segments those of rooms of objects?"""
    for file in segments(path):
        for record in read(file):
            return isinstance(record, list) and record[0] == HEADER
    return False


@dataclass
class Row:
    """What a ledger has of one room, for `tickstorm journal info`."""

    game: str = "?"
    ticks: int = 0
    kept: int = 0
    joins: int = 0
    first: int | None = None
    last: int = 0
    created: float = 0.0
    closed: bool = False


def rooms_of(folder: Path) -> dict[str, Row]:
    """The rooms that these segments know of."""
    rows: dict[str, Row] = {}
    for record in records(folder):
        if record[0] == OPEN:
            row = rows.setdefault(record[1], Row())
            row.game, row.closed = record[2].get("game", "?"), False
            row.created = row.created or record[2].get("created", 0.0)
        elif record[0] == KEPT:
            row = rows.setdefault(record[1], Row())
            row.kept += 1
            _reach(row, record[2])
        elif record[0] == CLOSED:
            rows.setdefault(record[1], Row()).closed = True
        elif record[0] == TICKS:
            for room, tick, events, _ in record[1]:
                row = rows.setdefault(room, Row())
                row.ticks += 1
                row.joins += sum(event[0] == JOIN for event in events)
                _reach(row, tick)
    return rows


def _reach(row: Row, tick: int) -> None:
    row.first = tick if row.first is None else min(row.first, tick)
    row.last = max(row.last, tick)


def exported(folder: Path, room: str, first: int, last: int) -> Iterator[dict[str, Any]]:
    """Some ticks of a room, as JSON can carry them."""
    for record in records(folder):
        if record[0] != TICKS:
            continue
        for id, tick, events, checksum in record[1]:
            if id == room and first <= tick <= last:
                named = [[NAMES[event[0]], *event[1:]] for event in events]
                yield {"tick": tick, "events": named, "checksum": checksum}


def cut(game: Game, folder: Path, room: str, first: int, last: int) -> Iterator[list[Any]]:
    """The records of a ledger of its own that holds a room's ticks from `first` to `last`."""
    head: dict[str, Any] = {}
    simulation: Simulation | None = None
    sessions: list[list[Any]] = []
    rows: list[list[Any]] = []
    for record in records(folder):
        if record[0] == OPEN and record[1] == room:
            head = record[2]
        elif record[0] == KEPT and record[1] == room and not rows and record[2] < first:
            simulation, sessions = Simulation.load(game, record[3]), record[4]
        elif record[0] == TICKS and simulation is not None:
            for id, tick, events, checksum in record[1]:
                if id != room or tick != simulation.tick + 1 + len(rows) or tick > last:
                    continue
                if tick >= first:
                    rows.append([room, tick, events, checksum])
                    continue
                simulation.advance(events)
                simulation.replica.patch()
                simulation.forget_output()
    if simulation is None or not rows:
        raise ValueError(f"tick {first} of room {room!r} is not there")
    yield [HEADER, {"format": FORMAT, "ledger": True, "build": __version__}]
    yield [OPEN, room, head]
    yield [KEPT, room, simulation.tick, simulation.dump(), sessions]
    yield [TICKS, rows]
