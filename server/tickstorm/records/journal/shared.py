"""One journal for all small rooms of a process: one file, one record a tick.

Segments are those of `format.py`, with records that say whose they are::

    [HEADER, {format, shared, build, created}]
    [OPEN, room, header]                  what `header_of` says of the room
    [PART, room, record]                  a CHECKPOINT of the room
    [ROWS, [[room, tick, events, commands], …]]
    [CLOSED, room]

A room's own records follow from them as if it had written them itself (`records_of`): so it comes
back, is replayed and verified like any other. Ticks have no checksum (None), which would cost more
than the tick itself; checkpoints have one, every few seconds.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from ... import __version__
from ...games.world import World
from .folder import SUFFIX, clear_attempts, folder_of, segments, set_aside
from .format import (
    CHECKPOINT,
    HEADER,
    MAGIC,
    TICK,
    Damage,
    frame,
    pack,
    read,
)
from .playback import Tail
from .writer import SEGMENT_SHARE, SegmentFile, Writer

log = logging.getLogger("tickstorm.journal")

FOLDER = "small"
"""Of this journal, in DATA_DIR."""

OPEN, PART, ROWS, CLOSED = range(20, 24)
SHARED_FORMAT = 1
SEGMENT_S, RETRY_S = 600.0, 5.0


class SharedJournal:
    """The loop's side. `folder`: where segments are; `lock`: held as long as this is."""

    def __init__(
        self,
        writer: Writer,
        folder: Path,
        limit_bytes: int = 256 << 20,
        limit_s: float = 24 * 3600,
        checkpoint_s: float = 5.0,
        lock: IO[str] | None = None,
    ):
        folder.mkdir(parents=True, exist_ok=True)
        self.checkpoint_s = checkpoint_s
        self.folder = folder
        self.ticks_lost = 0
        self.gaps = 0
        self.shares: dict[str, Share] = {}
        self._writer, self._lock = writer, lock
        self._file = SegmentFile(folder, limit_bytes, limit_s)
        self._segment_bytes = max(1 << 20, limit_bytes // SEGMENT_SHARE)
        self._rows: list[list[Any]] = []
        self._proven = False
        self._segment_at = 0.0
        self._opened = 0  # rooms, so far: their checkpoints are spread by it
        self._begin()

    def _begin(self) -> None:
        self._segment_at = time.monotonic()
        header = {"format": SHARED_FORMAT, "shared": True, "build": __version__,
                  "created": time.time()}  # fmt: skip
        self._writer.write(self._file, self._file.begin, pack([HEADER, header]))
        for share in self.shares.values():
            share.known = False  # soon: at its next checkpoint

    def share(self, room: str, header: dict[str, Any]) -> Share:
        """A room's part in it, in place of a `Journal`."""
        self._opened += 1
        self.shares[room] = Share(self, room, header, self._opened)
        return self.shares[room]

    def put(self, record: list[Any]) -> None:
        self.flush()
        self._writer.write(self._file, self._file.append, pack(record))

    def row(self, row: list[Any]) -> None:
        self._rows.append(row)

    def flush(self) -> None:
        """What was recorded since the last call goes to the writer: once a tick."""
        if not self._rows:
            return
        rows, self._rows = self._rows, []
        if not self._proven:  # a whole tick is through
            self._proven = True
            clear_attempts(self.folder)
        failed = self._file.failed > self._file.opened
        if failed or not self._writer.offer_tick(self._file, pack([ROWS, rows])):
            self.ticks_lost += len(rows)
            for row in rows:
                share = self.shares.get(row[0])
                if share is not None and not share.torn:
                    share.torn = True
                    self.gaps += 1
        old = time.monotonic() - self._segment_at
        if self._file.bytes > self._segment_bytes or old > (RETRY_S if failed else SEGMENT_S):
            self._begin()

    def set_aside(self, room: str, reason: str) -> None:
        """Copy a room's records into a folder of its own, in the writer's thread."""
        folder = folder_of(str(self.folder.parent), room)

        def copy(_: bytes) -> None:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                extract(self.folder, room, folder / f"000001{SUFFIX}")
                set_aside(folder, reason)
            except OSError as error:
                log.error("the journal of %s can't be set aside: %s", room, error)

        self.flush()
        self._writer.write(self._file, copy, b"")

    def closed(self, room: str) -> None:
        """The room is gone for good."""
        if self.shares.pop(room, None) is not None:
            self.put([CLOSED, room])

    def summary(self) -> dict[str, Any]:
        return {
            "state": "gap" if any(share.torn for share in self.shares.values()) else "ok",
            "gaps": self.gaps,
            "ticks_lost": self.ticks_lost + self._file.lost,
            "error": self._file.error,
            "segment": self._file.number,
            "bytes": self._file.total_bytes,
            "waiting_bytes": self._writer.waiting,
        }

    def close(self) -> None:
        self.flush()
        self._writer.write(self._file, self._file.close, b"")


class Share:
    """A room's part in a shared journal; it is called as `Journal` is."""

    def __init__(self, journal: SharedJournal, room: str, header: dict[str, Any], number: int):
        hz = header["settings"]["tick_hz"]
        self.dump: Callable[[World], dict[str, Any]] = lambda world: world.dump()
        self.known = False  # is it in the present segment?
        self.torn = False  # a tick was lost: useless until the next checkpoint
        self._journal, self._room, self._header = journal, room, header
        self._checkpoint_ticks = max(1, int(journal.checkpoint_s * hz))
        self._offset = number * 7 % self._checkpoint_ticks
        self._closed = False

    def tick_begins(self, tick: int) -> None:
        """All rooms have their ticks together."""

    def tick_ends(self) -> None:
        """All rooms have their ticks together."""

    def begin(self, world: World, sessions: list[list]) -> None:
        self.checkpoint(world, sessions, [])

    def record(
        self,
        world: World,
        events: list[list],
        commands: np.ndarray,
        sessions: Callable[[], list[list]],
    ) -> None:
        tick = world.tick
        if not self.torn:
            self._journal.row([self._room, tick, events, commands.tobytes()])
        if (tick + self._offset) % self._checkpoint_ticks == 0:
            self.checkpoint(world, sessions(), [])

    def checkpoint(self, world: World, sessions: list[list], events: list[list]) -> None:
        if not self.known:
            self.known = True
            header = {**self._header, "created": time.time(), "lost": 0}
            self._journal.put([OPEN, self._room, header])
        self.torn = False
        record = [CHECKPOINT, world.tick, world.checksum(), self.dump(world), sessions, events]
        self._journal.put([PART, self._room, record])

    def close(self, world: World, sessions: list[list], events: list[list]) -> None:
        self.checkpoint(world, sessions, events)

    def stop(self) -> None:
        """No more ticks."""

    def abandon(self, reason: str) -> None:
        """No more ticks, for the rules fail at the next: what there is of the room is set aside."""
        self._journal.set_aside(self._room, reason)

    def unlock(self) -> None:
        """The room is not here any more."""
        self._journal.closed(self._room)

    @property
    def ticks_lost(self) -> int:
        return 0

    def summary(self) -> dict[str, Any]:
        """For `/healthz`; of the bytes, its part."""
        whole = self._journal.summary()
        return whole | {"bytes": whole["bytes"] // max(1, len(self._journal.shares))}


# ------------------------------------------------------------------ reading


def records(folder: Path) -> Iterator[list[Any]]:
    """All records of all segments, those that are damaged left out."""
    for path in segments(folder):
        for record in read(path):
            if isinstance(record, Damage):
                if not record.torn:
                    log.warning("journal: %s", record)
            else:
                yield record


def tails(folder: Path) -> dict[str, Tail]:
    """How each open room stands at the end of the segments, by id."""
    found: dict[str, Tail] = {}
    headers: dict[str, dict[str, Any]] = {}
    for record in records(folder):
        kind, room = record[0], record[1]
        if kind == OPEN:
            headers[room] = record[2]
        elif kind == PART and room in headers:
            found[room] = Tail(headers[room], record[2], [], [])
        elif kind == CLOSED:
            found.pop(room, None)
        elif kind == ROWS:
            for id, *row in record[1]:
                tail = found.get(id)
                if tail is not None and row[0] == tail.tick + 1:
                    tail.ticks.append([TICK, *row, None, None])
    return found


def records_of(folder: Path, room: str) -> Iterator[list[Any]]:
    """A room's records, as a journal of its own would have them."""
    for record in records(folder):
        if record[0] == OPEN and record[1] == room:
            yield [HEADER, record[2]]
        elif record[0] == PART and record[1] == room:
            yield record[2]
        elif record[0] == ROWS:
            for id, *row in record[1]:
                if id == room:
                    yield [TICK, *row, None, None]


def extract(folder: Path, room: str, path: Path) -> int:
    """Write a room's records into a segment of its own; returns how many ticks it has."""
    ticks = 0
    with path.open("wb") as file:
        file.write(MAGIC)
        headed = False
        for record in records_of(folder, room):
            if record[0] == HEADER and headed:
                continue
            headed = headed or record[0] == HEADER
            ticks += record[0] == TICK
            file.write(frame(pack(record)))
    return ticks


def rooms_of(folder: Path) -> list[str]:
    """The rooms that these segments know of."""
    return list({record[1]: None for record in records(folder) if record[0] == OPEN})


def is_shared(path: Path) -> bool:
    """Are these segments those of small rooms?"""
    for file in segments(path):
        for record in read(file):
            return not isinstance(record, Damage) and bool(record[1].get("shared"))
    return False
