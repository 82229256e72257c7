"""The loop of a process: all object rooms, five phases a tick, one read and one write each.

Rooms of one rate are spread over the phases of its period, so that what they send does not
come in one burst. In each phase the loop reads what the players of the rooms whose turn it is have
said, runs these rooms while that is in the processor's cache, and writes everything that came of
it in one pass. Rooms without a tick
run when somebody speaks in them or a timer is due, and cost nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from select import epoll
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any, Protocol

import gevent
from gevent import get_hub
from gevent.event import Event

from ..games.simulation import MOVE, TIME
from ..protocol import objects
from ..transport.pool import Pool
from .meter import Meter
from .metrics import Metrics

if TYPE_CHECKING:
    from ..transport.connection import Connection

log = logging.getLogger("tickstorm.loop")

PHASES = 5
"""More of them cost more than they smooth: each is a wake-up, a poll and two system calls."""

SKIP_AFTER = 3
"""Periods that a phase may be late before it gives up what it missed."""

UPKEEP_S = 1.0
SILENT_S, DEAD_S = 20.0, 50.0
"""Silent for the first: pinged; for the second: gone."""

BREATH_S = 1e-4
"""What the loop sleeps at least: gevent looks at sockets and timers only then."""

SETTLE_READS, SETTLE_S = 5, 0.005
"""At the end, so often is read once more, and so long awaited, what clients have said."""

FLUSH_S = 0.05
"""What rooms did is handed to the journal so often: each time wakes its thread. What somebody said
goes at once, so that a worker that is killed takes no message with it that others were shown."""

QUIET = (MOVE, TIME)
"""Events that wait for that: inputs, which come again, and the time."""

READ = 1
PING_FRAME = b"\x89\x00"


class Member(Protocol):
    """A room, as the loop knows it (`object_room.py`)."""

    id: str
    hz: int
    held: bool
    running: bool
    broken: bool
    over: str | None
    checkpoint_due: float
    live: list[Any]
    sessions: dict[str, Any]
    last_s: float

    @property
    def ticks(self) -> int: ...
    @property
    def next_due(self) -> float: ...
    def run(self, out: list[tuple[Connection, bytes]]) -> None: ...
    def look_after(self, now: float) -> None: ...
    def checkpoint(self) -> bytes: ...
    def remembered(self) -> tuple[bytes, list[list[list[Any]]]]: ...
    def fetched(self, fetch: int, result: Any, error: str | None) -> None: ...


class Journal(Protocol):
    """Where rooms' events go; see `records/ledger.py`."""

    def record(self, room: str, tick: int, events: list[list[Any]], checksum: int) -> None: ...
    def flush(self) -> None: ...
    def checkpoint(self, room: Any) -> None: ...
    def has(self, room: str) -> bool: ...


class Bucket:
    """Rooms that take their turn together."""

    __slots__ = ("period", "due", "rooms", "sockets")

    def __init__(self, period: float, due: float):
        self.period = period
        self.due = due
        self.rooms: list[Member] = []
        self.sockets = epoll()  # of their players: read when they are due


class Loop:
    """All object rooms of this process. `budget`: messages that a client may send in a second or
    two; `on_end(room)` is called when a room has ended by itself."""

    def __init__(
        self,
        pool: Pool,
        journal: Journal | None = None,
        clock: Callable[[], float] = monotonic,
        budget: int = 240,
        checkpoint_s: float = 5.0,
        dev: bool = False,
        meter: Meter | None = None,
    ):
        self.pool = pool
        self.clock = clock
        self.budget = budget
        self.dev = dev
        self.on_end: Callable[[Member], None] = lambda room: None
        self.after_turn: Callable[[], None] = lambda: None  # others may have theirs
        self.rooms: dict[str, Member] = {}
        self.metrics = Metrics(meter)
        self.turns = self.skipped = 0
        self.busy = 0.0  # share of a core, smoothed over some seconds
        self.last_turn_at = clock()
        self._journal = journal
        self._buckets: dict[int, list[Bucket]] = {}
        self._bucket_of: dict[str, Bucket] = {}
        self._ready: dict[str, Member] = {}
        self._timed: dict[str, float] = {}  # when rooms without a tick want their turn
        self._ended: list[Member] = []
        self._event = Event()
        self._checkpoint_s = checkpoint_s
        self._upkeep_at = clock()
        self._flushed_at = clock()
        self._recorded = False
        self._busy_s, self._busy_at = 0.0, clock()
        self._running = True
        self._seen = 0

    # ------------------------------------------------------------------ rooms

    def add(self, room: Member) -> None:
        self.rooms[room.id] = room
        if self._journal is not None:
            self._journal.checkpoint(room)
        if room.hz:
            buckets = self._buckets.get(room.hz)
            if buckets is None:
                period, now = 1.0 / room.hz, self.clock()
                buckets = self._buckets[room.hz] = [
                    Bucket(period, now + period * (i + 1) / PHASES) for i in range(PHASES)
                ]
            bucket = min(buckets, key=lambda bucket: len(bucket.rooms))
            if not bucket.rooms:  # it has slept: no ticks to catch up with
                late = max(0.0, self.clock() - bucket.due)
                bucket.due += bucket.period * int(late / bucket.period + 1) if late else 0.0
            bucket.rooms.append(room)
            self._bucket_of[room.id] = bucket
        self.wake(room)
        self._event.set()  # it may be due before what the loop sleeps for

    def remove(self, room: Member) -> None:
        """The room is gone; one that isn't here is no error."""
        if self.rooms.get(room.id) is not room:
            return
        del self.rooms[room.id]
        bucket = self._bucket_of.pop(room.id, None)
        if bucket is not None:
            bucket.rooms.remove(room)
        self._ready.pop(room.id, None)
        self._timed.pop(room.id, None)

    def sockets_of(self, room: Member) -> epoll:
        """The set in which the sockets of its players are."""
        bucket = self._bucket_of.get(room.id)
        return self.pool.waiting if bucket is None else bucket.sockets

    def wake(self, room: Member) -> None:
        """There is something for this room to do; those with a tick do it in their tick."""
        if not room.hz:
            self._ready[room.id] = room
            self._event.set()

    def ended(self, room: Member) -> None:
        """The room has come to its end; it is closed after this turn."""
        if room not in self._ended:
            self._ended.append(room)

    # ------------------------------------------------------------------ what rooms need

    def push(self, connection: Connection, frame: bytes) -> None:
        """A frame beside patches, sent as soon as it can be."""
        if connection.tail or connection.extra:
            connection.push(frame)
        else:
            self.pool.send([(connection, frame)])

    def record(self, room: Member, checksum: int) -> None:
        if self._journal is not None:
            self._recorded = True
            events = room.remembered()[1][-1]
            if any(event[0] not in QUIET for event in events):
                self._flushed_at = float("-inf")  # before anybody is told of it
            self._journal.record(room.id, room.ticks, events, checksum)

    def fetch(
        self, room: Member, fetch: int, function: Callable[..., Any], values: tuple[Any, ...]
    ) -> None:
        """Call `function` in a thread; its result comes back to the room as an event."""

        def call() -> tuple[Any, str | None]:  # the pool would print what it raises
            try:
                return function(*values), None
            except Exception as failed:
                return None, f"{type(failed).__name__}: {failed}"

        def run() -> None:
            result, error = get_hub().threadpool.apply(call)
            if room.running:
                room.fetched(fetch, result, error)

        gevent.spawn(run)

    def tell_fault(self, live: list[Any], text: str) -> None:
        """In a development run, the author sees the traceback in the page, too."""
        if self.dev:
            for session in live:
                if session.connection is not None:
                    session.connection.push(objects.fault(text))

    # ------------------------------------------------------------------ the loop

    def run(self) -> None:
        """The loop's greenlet."""
        watcher = get_hub().loop.io(self.pool.waiting.fileno(), READ)
        watcher.start(self._event.set)
        try:
            while self._running:
                patience = self._patience()
                if patience > BREATH_S and not self._event.is_set():
                    self._event.wait(patience)
                else:
                    gevent.sleep(BREATH_S)
                self._event.clear()
                self.turn()
                self.after_turn()
        finally:
            watcher.stop()
            watcher.close()

    def stop(self) -> None:
        self._running = False
        self._event.set()

    def _patience(self) -> float:
        """Seconds until something is due."""
        now = self.clock()
        due = self._upkeep_at + UPKEEP_S
        for buckets in self._buckets.values():
            for bucket in buckets:
                if bucket.rooms and bucket.due < due:
                    due = bucket.due
        if self._timed:
            due = min(due, min(self._timed.values()))
        if self._recorded:
            due = min(due, self._flushed_at + FLUSH_S)
        return max(0.0, due - now)

    def turn(self) -> None:
        """Read, run who is due, write."""
        began = perf_counter()
        now = self.last_turn_at = self.clock()
        due: list[Bucket] = []
        late_s = 0.0
        for buckets in self._buckets.values():
            for bucket in buckets:
                if bucket.rooms and now >= bucket.due:
                    late_s = max(late_s, now - bucket.due)
                    late = int((now - bucket.due) / bucket.period)
                    if late >= SKIP_AFTER:
                        self.skipped += late
                        bucket.due += late * bucket.period
                    bucket.due += bucket.period
                    due.append(bucket)
        metrics = self.metrics
        metrics.begin(late_s)
        for bucket in due:
            self.pool.receive(bucket.sockets)
        self.pool.receive(self.pool.waiting)
        metrics.phase("read")
        if self._timed:
            for id, at in list(self._timed.items()):
                if at <= now:
                    self._ready[id] = self.rooms[id]
        ready, self._ready = self._ready, {}
        out: list[tuple[Connection, bytes]] = []
        turns = [room for bucket in due for room in bucket.rooms]
        for room in turns:
            self._run(room, out)
        for room in ready.values():
            self._run(room, out)
            self._note_timer(room)
        metrics.phase("rules")
        if self._recorded and now - self._flushed_at >= FLUSH_S and self._journal is not None:
            self._recorded, self._flushed_at = False, now
            self._journal.flush()
        metrics.phase("journal")
        if out:
            self.pool.send(out)
        metrics.phase("send")
        if now - self._upkeep_at >= UPKEEP_S:
            self._upkeep_at = now
            self._look_after(now)
        while self._ended:
            room = self._ended.pop()
            if self.rooms.get(room.id) is room:
                self.on_end(room)
        metrics.phase("upkeep")
        if turns or ready:
            metrics.end(lambda: _counts([*turns, *ready.values()], len(out)), self.turns)
        self.turns += 1
        self._busy_s += perf_counter() - began

    def _run(self, room: Member, out: list[tuple[Connection, bytes]]) -> None:
        """A room's turn: whatever goes wrong in it, the others have theirs."""
        try:
            room.run(out)
        except Exception:
            log.exception("room %s closes: its turn failed", room.id)
            room.broken, room.over = True, "the room failed"
            self.ended(room)

    def settle(self) -> None:
        """The process ends: every room takes in what has come and was not its turn yet.

        Once is not enough: what a client said in many small pieces waits in its own kernel until
        the first of them are read (a new connection has ten on the way at most).
        """
        for _ in range(SETTLE_READS):
            before = self.pool.bytes_received
            for buckets in self._buckets.values():
                for bucket in buckets:
                    self.pool.receive(bucket.sockets)
            self.pool.receive(self.pool.waiting)
            # What is no plain frame is taken apart by the connection's greenlet.
            gevent.sleep(SETTLE_S)
            if self.pool.bytes_received == before:
                break
        out: list[tuple[Connection, bytes]] = []
        for room in list(self.rooms.values()):
            self._run(room, out)
        self.pool.send(out)

    def _note_timer(self, room: Member) -> None:
        if self.rooms.get(room.id) is not room:
            return
        at = float("inf") if room.held else room.next_due
        if at == float("inf"):
            self._timed.pop(room.id, None)
        else:
            self._timed[room.id] = at

    def _look_after(self, now: float) -> None:
        """Once a second: budgets, silence, sessions whose grace is over, checkpoints."""
        share = self._busy_s / max(now - self._busy_at, 1e-3)
        self.busy += (share - self.busy) * 0.5
        self._busy_s, self._busy_at = 0.0, now
        pings = []
        every = max(1, int(self._checkpoint_s))
        self._seen += 1
        for number, room in enumerate(list(self.rooms.values())):
            for session in room.live:
                session.budget = min(2 * self.budget, session.budget + self.budget)
                silence = now - session.heard_at
                if silence > SILENT_S and session.connection is not None:
                    if silence > DEAD_S:
                        session.connection.drop()
                    elif not session.pinged or silence > 2 * SILENT_S:
                        session.pinged = True
                        if not session.connection.tail:
                            pings.append((session.connection, PING_FRAME))
                else:
                    session.pinged = False
            if len(room.sessions) > len(room.live):
                room.look_after(now)
            if (number + self._seen) % every == 0 and not room.held:
                missing = self._journal is not None and not self._journal.has(room.id)
                if missing or room.remembered()[1] and now >= room.checkpoint_due:
                    self.checkpoint(room)
        if pings:
            self.pool.send(pings)

    def checkpoint(self, room: Member) -> None:
        """From now on the room comes back to here; one that can't be kept closes."""
        try:
            if self._journal is not None:
                self._journal.checkpoint(room)
            else:
                room.checkpoint()
        except TypeError as error:
            log.error("room %s closes: %s", room.id, error)
            self.tell_fault(room.live, str(error))
            room.broken, room.over = True, str(error)
            self.ended(room)

    def alive(self, within_s: float) -> bool:
        """Has it turned lately?"""
        return not self.rooms or self.clock() - self.last_turn_at < within_s


def _counts(rooms: list[Member], frames: int) -> dict[str, Any]:
    """What there was to do in a turn."""
    longest = max(rooms, key=lambda room: room.last_s)
    return {
        "rooms": len(rooms),
        "frames": frames,
        "longest room": longest.id,
        "longest room ms": round(longest.last_s * 1e3, 2),
    }
