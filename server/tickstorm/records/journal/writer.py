"""The thread that writes the journals of all rooms of a process, and the files it writes.

It deflates, writes at once, so that a killed worker loses one tick at most, and syncs once
a second. Segments are bounded, and the oldest are deleted when the journal has grown to
what it may take. A full or failing disk ends the segment; `recording.py` begins another.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from io import FileIO
from pathlib import Path

from ..background import Background
from .folder import SUFFIX, segments, set_aside
from .format import MAGIC, frame

log = logging.getLogger("tickstorm.journal")

QUEUE_BYTES = 32 << 20
"""Waiting for the disk at most; ticks that would be more are dropped and counted."""

SYNC_S = 1.0
SEGMENT_SHARE = 8  # a segment is at most this part of what the whole journal may take


class Writer(Background):
    """The thread. Its queue is counted in bytes; only ticks may be dropped."""

    def __init__(self) -> None:
        self._unsynced: set[SegmentFile] = set()
        super().__init__("journal", QUEUE_BYTES, SYNC_S)

    def offer_tick(self, file: SegmentFile, payload: bytes) -> bool:
        """Have a TICK written to `file`; False if it was dropped, for too much is waiting."""
        return self.offer((file, file.append_tick, payload), len(payload))

    def write(self, file: SegmentFile, action: Callable[[bytes], None], payload: bytes) -> None:
        """Have the thread call `action(payload)`, a method of `file`."""
        self.put((file, action, payload), len(payload))

    def _work(self, item: tuple[SegmentFile, Callable[[bytes], None], bytes]) -> None:
        file, action, payload = item
        self._unsynced.add(file)
        action(payload)

    def _settle(self) -> bool:
        for file in self._unsynced:
            file.sync()
        self._unsynced.clear()
        return True


class SegmentFile:
    """The segment that a room is writing. Its methods run in the writer's thread; its
    attributes are read by the game loop, each written by one side only."""

    def __init__(self, folder: Path, limit_bytes: int, limit_s: float):
        """`limit_bytes`, `limit_s`: how much, and for how long, the folder may keep."""
        self.number = max((int(path.stem) for path in segments(folder)), default=0)
        self.opened = self.failed = 0  # segments asked for that were begun, that failed: the last
        self.error = ""
        self.lost = 0  # ticks that could not be written
        self.bytes = 0  # of the present segment
        self.total_bytes = 0  # of all that are kept
        self._folder = folder
        self._limit_bytes, self._limit_s = limit_bytes, limit_s
        self._file: FileIO | None = None
        self._asked = 0

    def begin(self, payload: bytes) -> None:
        """Close the segment, and begin the next one with this header."""
        self.sync()
        self._asked += 1
        try:
            self._close()
            self._prune()
            self.number += 1
            path = self._folder / f"{self.number:06d}{SUFFIX}"
            self._file = path.open("xb", buffering=0)
            self.bytes = 0
            self.write(MAGIC + frame(payload))
            _sync_folder(self._folder)
            self.opened = self._asked
        except OSError as error:
            self._fail(error)

    def append(self, payload: bytes) -> None:
        """Write a record that is no TICK."""
        self._append(payload)

    def append_tick(self, payload: bytes) -> None:
        """Write a TICK, or count it as lost."""
        if not self._append(payload):
            self.lost += 1

    def close(self, _: bytes) -> None:
        """No more records. (The thread calls all that changes the file with bytes.)"""
        self.sync()
        self._close()

    def set_aside(self, reason: bytes) -> None:
        """No more records, and nobody comes back from those that there are."""
        self.close(b"")
        try:
            set_aside(self._folder, reason.decode())
        except OSError as error:
            log.error("the journal in %s can't be set aside: %s", self._folder, error)

    def sync(self) -> None:
        """Have the disk keep what was written; what fails ends the segment."""
        try:
            if self._file is not None:
                os.fsync(self._file.fileno())
        except OSError as error:
            self._fail(error)

    def _append(self, payload: bytes) -> bool:
        if self._file is None:
            return False
        try:
            self.write(frame(payload))
        except OSError as error:
            self._fail(error)
            return False
        return True

    def write(self, data: bytes) -> None:
        assert self._file is not None, "whoever calls has seen to it"
        left = memoryview(data)
        while left:
            left = left[self._file.write(left) :]
        self.bytes += len(data)
        self.total_bytes += len(data)

    def _fail(self, error: OSError) -> None:
        self.error = str(error)
        self.failed = self._asked
        self._close()

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError as error:
                self.error = str(error)

    def _prune(self) -> None:
        """Delete the oldest segments beyond the limits; the newest one is always kept."""
        found = [(path, path.stat()) for path in segments(self._folder)]
        self.total_bytes = sum(stat.st_size for _, stat in found)
        room_for = self._limit_bytes - self._limit_bytes // SEGMENT_SHARE
        for path, stat in found[:-1]:
            if self.total_bytes <= room_for and time.time() - stat.st_mtime <= self._limit_s:
                break
            path.unlink()
            self.total_bytes -= stat.st_size


def _sync_folder(folder: Path) -> None:
    """A new file's name has to be synced as well."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
