"""The game loop's side of a room's journal: it packs bytes and hands them to the writer.

When the disk is full or too slow the game goes on: ticks are dropped and counted, and as
soon as the disk can be written again a new segment begins with a checkpoint.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np

from ...games.world import World
from .folder import attempts, clear_attempts, note_attempts
from .format import CHECKPOINT, HEADER, TICK, column_checksums, pack
from .writer import SEGMENT_SHARE, SegmentFile, Writer

log = logging.getLogger("tickstorm.journal")

SEGMENT_S = 600.0
RETRY_S = 5.0  # after a gap, between attempts at a new segment


class Journal:
    """The game loop's side of a room's journal.

    `begin` is called before the first tick, `record` after each step, `close` or `abandon` at
    the end; `tick_begins` and `tick_ends` around each tick. `dump(world)` is how a checkpoint
    takes the world's state: the room remembers it, too.
    """

    def __init__(
        self,
        writer: Writer,
        folder: Path,
        header: dict[str, Any],
        limit_bytes: int = 256 << 20,
        limit_s: float = 24 * 3600,
        checkpoint_s: float = 5.0,
        lock: IO | None = None,
    ):
        """Makes `folder` if it is not there.

        Args: `header`: see `header_of`; `limit_bytes`, `limit_s`: how much the journal may take,
        and how old its segments may get, before the oldest are deleted; `checkpoint_s`: time
        between checkpoints; `lock`: held for as long as the journal is (see `folder.lock`).
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.dump: Callable[[World], dict[str, Any]] = lambda world: world.dump()
        hz = header["settings"]["tick_hz"]
        self.gaps = 0
        self._lost = 0  # ticks that were not even handed to the writer
        self._writer, self._folder, self._header, self._lock = writer, folder, header, lock
        self._file = SegmentFile(folder, limit_bytes, limit_s)
        self._segment_bytes = limit_bytes // SEGMENT_SHARE
        self._segment_ticks = int(SEGMENT_S * hz)
        self._checkpoint_ticks = max(1, int(checkpoint_s * hz))
        self._retry_ticks = int(RETRY_S * hz)
        self._asked = 0  # segments asked for
        self._segment_due = self._checkpoint_due = 0  # ticks
        self._lost_before = 0  # this segment
        self._cut = False  # a tick was dropped since the last checkpoint: the next ones are useless
        self._in_gap = False
        self._proven = False  # has it got through a whole tick?

    # -------------------------------------------------------------- called by the room

    def tick_begins(self, tick: int) -> None:
        """Should the process die in the first tick, it was this room's (see `recovery`)."""
        if not self._proven:
            before = tick - 1
            note_attempts(self._folder, before, attempts(self._folder, before) + 1)

    def tick_ends(self) -> None:
        """The room got through a tick."""
        if not self._proven:
            self._proven = True
            clear_attempts(self._folder)

    def begin(self, world: World, sessions: list[list]) -> None:
        """A new segment, from this tick on. The room calls it once, before its first tick."""
        self._asked += 1
        self._cut = False
        lost, self._lost_before = self.ticks_lost - self._lost_before, self.ticks_lost
        header = {**self._header, "created": time.time(), "lost": lost}
        self._segment_due = world.tick + self._segment_ticks
        self._writer.write(self._file, self._file.begin, pack([HEADER, header]))
        self.checkpoint(world, sessions, [])

    def record(
        self,
        world: World,
        events: list[list],
        commands: np.ndarray,
        sessions: Callable[[], list[list]],
    ) -> None:
        """What happened before the step of this tick (`events`), what it was given (`commands`:
        STEP_COMMAND[m]), and what it came to.

        `sessions()` lists who plays, as a checkpoint holds it.
        """
        if self._cut or self._file.failed == self._asked:
            self._bridge(world, sessions)
            return
        columns = column_checksums(world.view())
        record = [TICK, world.tick, events, commands.tobytes(), world.checksum(), columns]
        if not self._writer.offer_tick(self._file, pack(record)):
            self._bridge(world, sessions)
            return
        begun = self._file.opened == self._asked
        if world.tick >= self._segment_due or (begun and self._file.bytes > self._segment_bytes):
            self.begin(world, sessions())
        elif world.tick >= self._checkpoint_due:
            self.checkpoint(world, sessions(), [])
        if self._in_gap and begun:
            self._in_gap = False
            log.warning("the journal of %s is whole again; %d ticks are missing",
                        self._header["room"], self.ticks_lost)  # fmt: skip

    def close(self, world: World, sessions: list[list], events: list[list]) -> None:
        """No more ticks: a last checkpoint, so that nothing has to be replayed. `events`: what
        happened since the last step."""
        self.checkpoint(world, sessions, events)
        self.stop()
        clear_attempts(self._folder)

    def stop(self) -> None:
        """No more ticks."""
        self._writer.write(self._file, self._file.close, b"")

    def abandon(self, reason: str) -> None:
        """No more ticks, for the rules fail at the next: set all of it aside."""
        self._writer.write(self._file, self._file.set_aside, reason.encode())

    def unlock(self) -> None:
        """After `close`: this process may open the journal again, behind what it has queued."""
        if self._lock is not None:
            self._lock.close()

    # -------------------------------------------------------------- what became of it

    @property
    def ticks_lost(self) -> int:
        """Ticks that no segment holds: dropped before the writer, or not written by it."""
        return self._lost + self._file.lost

    def summary(self) -> dict:
        """For `/healthz`."""
        return {
            "state": "gap" if self._in_gap or self._cut else "ok",
            "gaps": self.gaps,
            "ticks_lost": self.ticks_lost,
            "error": self._file.error,
            "segment": self._file.number,
            "bytes": self._file.total_bytes,
            "waiting_bytes": self._writer.waiting,
        }

    def checkpoint(self, world: World, sessions: list[list], events: list[list]) -> None:
        """The world between two steps. `events`: what happened since the last one."""
        self._checkpoint_due = world.tick + self._checkpoint_ticks
        record = [CHECKPOINT, world.tick, world.checksum(), self.dump(world), sessions, events]
        self._writer.write(self._file, self._file.append, pack(record))

    # -------------------------------------------------------------- gaps

    def _bridge(self, world: World, sessions: Callable[[], list[list]]) -> None:
        """This tick is lost. Try a new segment now and then, if the disk takes anything."""
        self._lost += 1
        self._cut = True
        if not self._in_gap:
            self._in_gap = True
            self.gaps += 1
            self._segment_due = world.tick + self._retry_ticks
            reason = (
                self._file.error if self._file.failed == self._asked else "the disk is too slow"
            )
            log.error("the journal of %s has a gap from tick %d on: %s",
                      self._header["room"], world.tick, reason)  # fmt: skip
        elif world.tick >= self._segment_due and self._writer.waiting < self._writer.limit // 2:
            self.begin(world, sessions())
            self._segment_due = world.tick + self._retry_ticks
