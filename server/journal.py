"""The journal of a room: what went into its world, tick by tick, and what came out.

One mechanism with four uses: a room comes back after a crash or a deploy (`recover`),
a match can be watched again (`replay.py`), a difference between two builds is found at
its first tick (`verify`), and a bug can be carried elsewhere (`export`).

A journal is a folder of *segments*. A segment is a file that needs no other: it begins
with a header and a checkpoint. After `MAGIC` come records, each in a frame::

    length u32 | CRC-32 of length and payload u32 | payload

little-endian; the highest bit of `length` says that the payload is deflated. A payload
is a msgpack array::

    [HEADER, {format, schema, build, room, seed, settings, created, lost}]
    [CHECKPOINT, tick, checksum, world, sessions, events]
    [TICK, tick, events, commands, checksum, columns]

* `events`, in the order in which they happened before the step: a join is
  ``[slot, name, bot, session]``, a leave ``[slot]``. A checkpoint's own events came after
  the step of its tick (there are some only where a journal was closed);
* `commands`: the rows of STEP_COMMAND that `World.step` was given, as they were;
* `checksum`: `World.checksum()` after the step; `columns`: a CRC-32 per published column
  (see `column_checksums`);
* `world`: `World.dump()`; `sessions`: ``[[session, slot, name, bot], …]`` of the players.

The tick only packs bytes and hands them to a bounded queue. A native thread deflates,
writes at once, so that a killed worker loses one tick at most, and syncs once a second.
When the disk is full or too slow the game goes on: ticks are dropped and counted, and as
soon as the disk can be written again a new segment begins with a checkpoint.

    python -m server.journal verify PATH      re-simulate and compare
    python -m server.journal info PATH        what there is
    python -m server.journal export PATH …    some ticks, as JSON or as a journal of their own

PATH is a segment or a folder of them.
"""

from __future__ import annotations

import argparse
import fcntl
import glob
import json
import logging
import os
import shutil
import struct
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Any, NamedTuple
from urllib.parse import quote

import msgpack
import numpy as np

import game

from . import __version__
from .game_interface import KindView, World, WorldSettings

log = logging.getLogger("tickstorm.journal")

FORMAT = 1
MAGIC = b"TICKSTORM JOURNAL\n"
SUFFIX = ".journal"
HEADER, CHECKPOINT, TICK = range(3)

FRAME = struct.Struct("<II")
DEFLATED = 1 << 31
MAX_RECORD = 1 << 29  # bytes; what claims to be longer is damage
DEFLATE_FROM = 512  # bytes; shorter payloads gain too little

QUEUE_BYTES = 32 << 20
"""Waiting for the disk at most; what would be more is dropped and counted."""

SYNC_S = 1.0
SEGMENT_SHARE = 8  # a segment is at most this part of what the whole journal may take
SEGMENT_S = 600.0
RETRY_S = 5.0  # after a gap, between attempts at a new segment

ATTEMPTS_FILE = "attempts.json"
ATTEMPTS = 2
STUCK_TICKS = 5
"""A room that was brought back twice to about the same tick (`STUCK_TICKS`) and got no
further has something in it that crashes: its journal is set aside. Two, because the replay
counts as one attempt and the first tick after it as the next: a worker that happens to be
killed while it recovers is no reason to give up a match."""


MOST_ASIDE = 20
"""Journals of a room that are kept aside. The first are the most telling: when there are
so many, a further one is deleted instead."""


class JournalError(ValueError):
    """This journal can't be used; the message says why."""


# ------------------------------------------------------------------ records


def pack(record: list) -> bytes:
    return msgpack.packb(record)


def frame(payload: bytes) -> bytes:
    """A payload as it stands in the file."""
    mark = 0
    if len(payload) >= DEFLATE_FROM:
        deflated = zlib.compress(payload, 1)
        if len(deflated) < len(payload):
            payload, mark = deflated, DEFLATED
    length = len(payload) | mark
    crc = zlib.crc32(payload, zlib.crc32(length.to_bytes(4, "little")))
    return FRAME.pack(length, crc) + payload


@dataclass(frozen=True)
class Damage:
    """Bytes of a segment that are no record."""

    path: Path
    offset: int
    reason: str
    torn: bool  # the file ends within a record: its writing was cut off

    def __str__(self) -> str:
        return f"{self.path.name}: {self.reason} at byte {self.offset}"


def read(path: Path) -> Iterator[list | Damage]:
    """The records of a segment, and what is damaged between or after them.

    A record whose bytes changed is passed over if the next one is whole; otherwise
    nothing more of the file is believed.
    """
    data = memoryview(path.read_bytes())
    if data[: len(MAGIC)] != MAGIC:
        torn = MAGIC.startswith(data)
        yield Damage(path, 0, "the start of a journal is missing", torn)
        return
    at = len(MAGIC)
    while at < len(data):
        payload, end = unframe(data, at)
        if payload is None:
            cut = end > len(data)
            yield Damage(path, at, "a record is " + ("cut off" if cut else "damaged"), torn=cut)
            if cut or (end < len(data) and unframe(data, end)[0] is None):
                return
        else:
            try:
                yield msgpack.unpackb(payload, strict_map_key=False)
            except ValueError as error:
                yield Damage(path, at, f"a record is no msgpack ({error})", torn=False)
        at = end


def unframe(data: memoryview, at: int) -> tuple[bytes | memoryview | None, int]:
    """The payload of the frame at `at`, None if it is damaged, and where the frame ends."""
    if at + FRAME.size > len(data):
        return None, len(data) + 1
    length, crc = FRAME.unpack_from(data, at)
    size = length & ~DEFLATED
    end = at + FRAME.size + size
    if size > MAX_RECORD or end > len(data):
        return None, len(data) + 1
    payload = data[at + FRAME.size : end]
    if zlib.crc32(payload, zlib.crc32(data[at : at + 4])) != crc:
        return None, end
    try:
        return zlib.decompress(payload) if length & DEFLATED else payload, end
    except zlib.error:
        return None, end


def segments(path: Path) -> list[Path]:
    """The segments of a journal, oldest first; a segment is a journal of one."""
    if not path.is_dir():
        return [path] if path.exists() else []
    return sorted(file for file in path.glob(f"*{SUFFIX}") if file.stem.isdigit())


def column_checksums(views: Iterable[KindView]) -> list[int]:
    """A CRC-32 of the present entities' slots and of each of their published columns,
    kind by kind, in the order of `column_names`."""
    sums = []
    for view in views:
        present = np.flatnonzero(view.present)
        sums.append(zlib.crc32(present))
        for rows in (view.mutable, view.static):
            for name in rows.dtype.names or ():
                sums.append(zlib.crc32(np.ascontiguousarray(rows[name][present])))
    return sums


def column_names() -> list[str]:
    """What `column_checksums` are of."""
    names = []
    for kind in game.KINDS:
        columns = (*kind.dtype("delta", "state").names, *kind.dtype("static").names)
        names += [f"{kind.name}.{name}" for name in ("present", *columns)]
    return names


def header_of(room: str, settings: WorldSettings, seed: int) -> dict[str, Any]:
    """What a segment says about itself; `created` and `lost` come when it is begun."""
    return {
        "format": FORMAT,
        "schema": game.checksum(),
        "build": __version__,
        "room": room,
        "seed": seed,
        "settings": asdict(settings),
    }


def folder_of(data_dir: str, room: str) -> Path:
    """Where the journal of a room is. Any room id is a safe name."""
    return Path(data_dir) / "rooms" / quote(room, safe="").replace(".", "%2E")


def lock(folder: Path) -> IO | None:
    """Claim the journal in `folder` for this process; None if another one has it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    path = folder.with_name(folder.name + ".lock")
    while True:
        file = path.open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        # Whoever deleted a journal (retention.py) may have taken this very file away meanwhile.
        try:
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except FileNotFoundError:
            pass
        file.close()


# ------------------------------------------------------------------ writing


class Writer:
    """The thread that writes the journals of all rooms of a process.

    `put` and `stop` are for the game loop, and don't block.
    """

    def __init__(self) -> None:
        self._queue: SimpleQueue = SimpleQueue()
        self._taken = self._done = 0  # bytes; the first is the loop's, the second the thread's
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Bytes that the disk has not been given yet."""
        return self._taken - self._done

    @property
    def full(self) -> bool:
        """Is so much waiting that no tick may be added?"""
        return self.waiting > QUEUE_BYTES

    def put(self, file: _File, action: Callable[[bytes], None], payload: bytes) -> None:
        """Have the thread call `action(payload)`, which writes to `file`."""
        self._taken += len(payload)
        self._queue.put((file, action, payload))

    def stop(self) -> None:
        """Write and sync what is waiting, then end. `stopped` tells when that is done."""
        self._queue.put(None)

    @property
    def stopped(self) -> bool:
        return not self._thread.is_alive()

    def join(self, timeout: float) -> None:
        """Wait for the end (for tools and tests; the game loop must not)."""
        self._thread.join(timeout)

    def _run(self) -> None:
        files: set[_File] = set()
        due = time.monotonic() + SYNC_S
        running = True
        while running:
            try:
                item = self._queue.get(timeout=max(0.0, due - time.monotonic()))
            except Empty:
                pass
            else:
                running = item is not None
                if running:
                    file, action, payload = item
                    action(payload)
                    files.add(file)
                    self._done += len(payload)
            if not running or time.monotonic() >= due:
                for file in files:
                    file.sync()
                files.clear()
                due = time.monotonic() + SYNC_S


class _File:
    """The segment that a room is writing. Its methods run in the writer's thread; its
    attributes are read by the game loop, each written by one side only."""

    def __init__(self, folder: Path, limit_bytes: int, limit_s: float):
        self.number = max((int(path.stem) for path in segments(folder)), default=0)
        self.opened = self.failed = 0  # segments asked for that were begun, that failed: the last
        self.error = ""
        self.tick_records = 0  # ticks written in all segments
        self.lost = 0  # ticks that could not be written
        self.bytes = 0  # of the present segment
        self.total_bytes = 0  # of all that are kept
        self._folder = folder
        self._limit_bytes, self._limit_s = limit_bytes, limit_s
        self._file = None
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
            self._write(MAGIC + frame(payload))
            _sync_folder(self._folder)
            self.opened = self._asked
        except OSError as error:
            self._fail(error)

    def append(self, payload: bytes) -> None:
        self._append(payload)

    def append_tick(self, payload: bytes) -> None:
        if self._append(payload):
            self.tick_records += 1
        else:
            self.lost += 1

    def close(self, _: bytes) -> None:
        self.sync()
        self._close()

    def sync(self) -> None:
        try:
            if self._file is not None:
                os.fsync(self._file.fileno())
        except OSError as error:
            self._fail(error)

    def _append(self, payload: bytes) -> bool:
        if self._file is None:
            return False
        try:
            self._write(frame(payload))
        except OSError as error:
            self._fail(error)
            return False
        return True

    def _write(self, data: bytes) -> None:
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


class Journal:
    """The game loop's side of a room's journal.

    `begin` is called before the first tick, `join` and `leave` as they happen, `record`
    after each step. `lock` (see `lock`) is held for as long as the journal is.
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
        folder.mkdir(parents=True, exist_ok=True)
        hz = header["settings"]["tick_hz"]
        self.gaps = 0
        self._lost = 0  # ticks that were not even handed to the writer
        self._writer, self._folder, self._header, self._lock = writer, folder, header, lock
        self._file = _File(folder, limit_bytes, limit_s)
        self._segment_bytes = limit_bytes // SEGMENT_SHARE
        self._segment_ticks = int(SEGMENT_S * hz)
        self._checkpoint_ticks = max(1, int(checkpoint_s * hz))
        self._retry_ticks = int(RETRY_S * hz)
        self._events: list[list] = []
        self._asked = 0  # segments asked for
        self._segment_due = self._checkpoint_due = 0  # ticks
        self._lost_before = 0  # this segment
        self._cut = False  # a tick was dropped since the last checkpoint: the next ones are useless
        self._in_gap = False

    # -------------------------------------------------------------- called by the room

    def begin(self, world: World, sessions: list[list]) -> None:
        """A new segment, from this tick on. The room calls it once, before its first tick."""
        self._asked += 1
        self._cut = False
        lost, self._lost_before = self.ticks_lost - self._lost_before, self.ticks_lost
        header = {**self._header, "created": time.time(), "lost": lost}
        self._segment_due = world.tick + self._segment_ticks
        self._writer.put(self._file, self._file.begin, pack([HEADER, header]))
        self._checkpoint(world, sessions)

    def join(self, slot: int, name: str, bot: bool, session: str) -> None:
        self._events.append([slot, name, bot, session])

    def leave(self, slot: int) -> None:
        self._events.append([slot])

    def record(
        self, world: World, commands: np.ndarray, sessions: Callable[[], list[list]]
    ) -> None:
        """What the step of this tick was given (`commands`: STEP_COMMAND[m]) and came to.

        `sessions()` lists who plays, as a checkpoint holds it.
        """
        events, self._events = self._events, []
        if self._cut or self._writer.full or self._file.failed == self._asked:
            self._bridge(world, sessions)
            return
        columns = column_checksums(world.view())
        record = [TICK, world.tick, events, commands.tobytes(), world.checksum(), columns]
        self._writer.put(self._file, self._file.append_tick, pack(record))
        begun = self._file.opened == self._asked
        if world.tick >= self._segment_due or (begun and self._file.bytes > self._segment_bytes):
            self.begin(world, sessions())
        elif world.tick >= self._checkpoint_due:
            self._checkpoint(world, sessions())
        if self._in_gap and begun:
            self._in_gap = False
            log.warning("the journal of %s is whole again; %d ticks are missing",
                        self._header["room"], self.ticks_lost)  # fmt: skip

    def close(self, world: World, sessions: list[list]) -> None:
        """No more ticks: a last checkpoint, so that nothing has to be replayed."""
        self._checkpoint(world, sessions)
        self._writer.put(self._file, self._file.close, b"")
        clear_attempts(self._folder)

    def unlock(self) -> None:
        """After `close`: this process may open the journal again, behind what it has queued."""
        if self._lock is not None:
            self._lock.close()

    # -------------------------------------------------------------- what became of it

    @property
    def ticks_lost(self) -> int:
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

    # -------------------------------------------------------------- segments and gaps

    def _checkpoint(self, world: World, sessions: list[list]) -> None:
        events, self._events = self._events, []
        self._checkpoint_due = world.tick + self._checkpoint_ticks
        record = [CHECKPOINT, world.tick, world.checksum(), world.dump(), sessions, events]
        self._writer.put(self._file, self._file.append, pack(record))

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
        elif world.tick >= self._segment_due and self._writer.waiting < QUEUE_BYTES // 2:
            self.begin(world, sessions())
            self._segment_due = world.tick + self._retry_ticks


# ------------------------------------------------------------------ reading it back


def check(header: dict[str, Any]) -> None:
    """Raises JournalError if this build can't step what the header describes."""
    if header["format"] != FORMAT:
        raise JournalError(f"it has format {header['format']}, this build reads {FORMAT}")
    if header["schema"] != game.checksum():
        raise JournalError(
            f"it is of schema {header['schema']:#010x} (build {header['build']}), "
            f"the game now has {game.checksum():#010x}"
        )


def apply(world: World, events: list[list]) -> None:
    """Repeat joins and leaves. Raises JournalError if a player gets another slot."""
    for event in events:
        if len(event) == 1:
            world.leave(event[0])
        else:
            slot, name, bot, _ = event
            got = world.join(name, bot)
            if got != slot:
                raise JournalError(f"{name!r} joined in slot {slot}, now in {got}")


def step(world: World, record: list) -> None:
    """Repeat a TICK."""
    _, _, events, commands, *_ = record
    apply(world, events)
    world.step(np.frombuffer(commands, game.STEP_COMMAND))


@dataclass
class Tail:
    """The newest state of a segment: its last checkpoint, and the ticks after it."""

    header: dict[str, Any]
    checkpoint: list
    ticks: list[list]
    damage: list[Damage]

    @property
    def tick(self) -> int:
        return self.ticks[-1][1] if self.ticks else self.checkpoint[1]


def tail(path: Path, until: int | None = None) -> Tail | None:
    """The state at the end of a segment, or at tick `until`; None if it has no whole
    checkpoint. Raises JournalError if it is of another build."""
    header, checkpoint, ticks, damage = None, None, [], []
    for record in read(path):
        if isinstance(record, Damage):
            damage.append(record)
        elif record[0] == HEADER:
            header = record[1]
            check(header)
        elif until is not None and record[1] > until:
            break
        elif record[0] == CHECKPOINT:
            checkpoint, ticks = record, []
        elif checkpoint is not None and record[1] == checkpoint[1] + len(ticks) + 1:
            ticks.append(record)
    if header is None or checkpoint is None:
        return None
    return Tail(header, checkpoint, ticks, damage)


class Recovered(NamedTuple):
    """A room as of the last whole record of its journal."""

    world: World
    sessions: list[list]
    """``[[session, slot, name, bot], …]``"""
    seed: int


def recover(folder: Path, expected: dict[str, Any]) -> Recovered | None:
    """Bring back what a journal ends with; None if there is nothing, or nothing of use.

    `expected` is the header that the room would write; its seed 0 stands for any. A
    journal that can't be used is set aside, and the reason is logged.
    """
    if not segments(folder):
        return None
    began = time.monotonic()
    try:
        newest = _newest(folder)
        _compare(newest.header, expected)
        attempts = _attempts(folder, newest.tick)
        if attempts >= ATTEMPTS:
            raise JournalError(f"it crashes again and again at tick {newest.tick}")
        _note_attempts(folder, newest.tick, attempts + 1)
        for damage in newest.damage:
            log.warning("journal: %s; everything before it is used", damage)
        world, sessions = _replay(newest.checkpoint, newest.ticks)
        _note_attempts(folder, newest.tick, attempts + 2)
    except Exception as error:  # whatever is in there must not keep the room from opening
        set_aside(folder, f"{type(error).__name__}: {error}")
        return None
    log.info(
        "room %s is back at tick %d with %d players: checkpoint %d and %d ticks, %.0f ms",
        expected["room"], world.tick, len(sessions), newest.checkpoint[1], len(newest.ticks),
        (time.monotonic() - began) * 1e3,
    )  # fmt: skip
    return Recovered(world, sessions, newest.header["seed"])


def _newest(folder: Path) -> Tail:
    for path in reversed(segments(folder)):
        found = tail(path)
        if found is not None:
            return found
        log.warning("journal: %s has no whole checkpoint; using the one before", path.name)
    raise JournalError("no segment has a whole checkpoint")


def _compare(header: dict[str, Any], expected: dict[str, Any]) -> None:
    """Raises JournalError if the options of the room were changed."""
    then, now = header["settings"], expected["settings"]
    changed = [
        f"{key} was {then.get(key)}, is {now[key]}" for key in now if then.get(key) != now[key]
    ]
    if expected["seed"] not in (0, header["seed"]):
        changed.append(f"seed was {header['seed']}, is {expected['seed']}")
    if changed:
        raise JournalError("the options of the room have changed: " + ", ".join(changed))


def _replay(checkpoint: list, ticks: list[list]) -> tuple[World, list[list]]:
    """The world and the sessions after `ticks`. A tick that can't be repeated ends it."""
    _, _, _, dump, sessions, events = checkpoint
    world = game.load_world(dump)
    playing = {slot: [session, slot, name, bot] for session, slot, name, bot in sessions}
    differs = None
    for i, record in enumerate(ticks):
        try:
            step(world, record)
        except Exception as error:
            log.error("journal: tick %d can't be repeated (%s); back to the one before",
                      record[1], error)  # fmt: skip
            return _replay(checkpoint, ticks[:i])
        for event in record[2]:
            slot = event[0]
            playing.pop(slot, None)
            if len(event) > 1:
                playing[slot] = [event[3], slot, event[1], event[2]]
        if differs is None and world.checksum() != record[4]:
            differs = record[1]
    if differs is not None:
        log.error("journal: this build comes to another result from tick %d on", differs)
    return world, list(playing.values())


def set_aside(folder: Path, reason: str) -> None:
    """Move a journal out of the way, for examination."""
    aside = f"{folder.name}.aside-"
    if len(list(folder.parent.glob(f"{glob.escape(aside)}*"))) >= MOST_ASIDE:
        shutil.rmtree(folder)
        log.error("the journal of %s is deleted, for %d are set aside already: %s",
                  folder.name, MOST_ASIDE, reason)  # fmt: skip
        return
    target = folder.with_name(f"{aside}{time.strftime('%Y%m%dT%H%M%S')}-{os.urandom(2).hex()}")
    folder.rename(target)
    try:
        (target / "reason.txt").write_text(reason + "\n")
    except OSError:
        pass  # it is in the log
    log.error("the journal of %s is set aside as %s: %s", folder.name, target, reason)


def _attempts(folder: Path, tick: int) -> int:
    """How often the room was brought back to about this tick without getting further."""
    try:
        before, count = json.loads((folder / ATTEMPTS_FILE).read_text())
    except (OSError, ValueError):
        return 0
    return count if 0 <= tick - before <= STUCK_TICKS else 0


def _note_attempts(folder: Path, tick: int, count: int) -> None:
    try:
        (folder / ATTEMPTS_FILE).write_text(json.dumps([tick, count]))
    except OSError as error:  # a full disk is no reason to give up a match
        log.warning("journal: attempts of %s can't be noted: %s", folder.name, error)


def clear_attempts(folder: Path) -> None:
    (folder / ATTEMPTS_FILE).unlink(missing_ok=True)


# ------------------------------------------------------------------ looking into it


@dataclass
class Report:
    """What `verify` found."""

    ticks: int = 0  # repeated, with the same result
    first: int | None = None  # the first and the last of them
    last: int | None = None
    segments: int = 0
    damage: list[Damage] = field(default_factory=list)
    missing: int = 0  # ticks that no segment holds
    difference: str = ""

    @property
    def ok(self) -> bool:
        """Is everything there the same again? A torn end is what a crash leaves, and no fault."""
        return not self.difference and all(damage.torn for damage in self.damage)


def verify(path: Path) -> Report:
    """Re-simulate a journal and compare every checksum, up to the first difference.

    Raises JournalError if it is of another build, or there is nothing to verify.
    """
    report = Report()
    world: World | None = None
    for file in segments(path):
        report.segments += 1
        for record in read(file):
            if isinstance(record, Damage):
                report.damage.append(record)
            elif record[0] == HEADER:
                check(record[1])
            elif record[0] == CHECKPOINT:
                report.missing += max(0, record[1] - world.tick) if world is not None else 0
                report.difference = _check_checkpoint(world, record)
                if world is None or world.tick != record[1]:
                    world = game.load_world(record[3])
            elif world is not None and record[1] == world.tick + 1:
                step(world, record)
                report.difference = _check_tick(world, record)
            if report.difference:
                return report
            if not isinstance(record, Damage) and record[0] == TICK and world.tick == record[1]:
                report.first = report.first or world.tick
                report.last = world.tick
                report.ticks += 1
    if world is None:
        raise JournalError("there is no whole checkpoint")
    return report


def _check_checkpoint(world: World | None, record: list) -> str:
    """How a checkpoint differs from itself loaded, or from the world that was stepped to it."""
    _, tick, checksum, dump, _, events = record
    if game.load_world(dump).checksum() != checksum:
        return f"the checkpoint of tick {tick} is another world once it is loaded"
    if world is None or world.tick != tick:
        return ""
    apply(world, events)
    if world.checksum() == checksum:
        return ""
    return f"tick {tick} (checkpoint): {', '.join(differing(dump, world.dump())) or 'the checksum'}"


def _check_tick(world: World, record: list) -> str:
    _, tick, _, _, checksum, columns = record
    if world.checksum() == checksum:
        return ""
    now = column_checksums(world.view())
    names = [name for name, a, b in zip(column_names(), columns, now) if a != b]
    return f"tick {tick}: {', '.join(names) or 'nothing that is published, but hidden state'}"


def differing(a: Any, b: Any, at: str = "") -> list[str]:
    """Where two dumps differ.

    >>> differing({"x": [1, 2], "y": 3}, {"x": [1, 5], "y": 3})
    ['x[1]']
    """
    if isinstance(a, dict) and isinstance(b, dict):
        return [
            place
            for key in a.keys() | b.keys()
            for place in differing(a.get(key), b.get(key), f"{at}.{key}" if at else str(key))
        ]
    if isinstance(a, list | tuple) and isinstance(b, list | tuple) and len(a) == len(b):
        places = enumerate(zip(a, b, strict=True))
        return [place for i, (x, y) in places for place in differing(x, y, f"{at}[{i}]")]
    return [] if a == b else [at]


def info(path: Path) -> Iterator[str]:
    """One line per segment, and what is wrong with it."""
    for file in segments(path):
        header, ticks, checkpoints, joins, damage = {}, [], 0, 0, []
        for record in read(file):
            if isinstance(record, Damage):
                damage.append(record)
            elif record[0] == HEADER:
                header = record[1]
            elif record[0] == CHECKPOINT:
                checkpoints += 1
                ticks.append(record[1])
            else:
                ticks.append(record[1])
                joins += sum(len(event) > 1 for event in record[2])
        if header:
            settings = header["settings"]
            seconds = (ticks[-1] - ticks[0]) / settings["tick_hz"] if ticks else 0
            created = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(header["created"]))
            span = f"ticks {ticks[0]} to {ticks[-1]} ({seconds:.1f} s)" if ticks else "no ticks"
            yield (
                f"{file.name}: room {header['room']}, {span}, {checkpoints} checkpoints, "
                f"{joins} joins, {file.stat().st_size} bytes; begun {created}, "
                f"build {header['build']}, schema {header['schema']:#010x}, "
                f"seed {header['seed']}, {settings}"
                + (f"; {header['lost']} ticks lost before" if header["lost"] else "")
            )
        yield from (f"  {one}" for one in damage)


def cut(path: Path, first: int, last: int) -> Iterator[list]:
    """The records of a journal of its own that holds the ticks from `first` to `last`:
    header, checkpoint, ticks. Raises JournalError if they aren't there."""
    base = None
    for file in segments(path):
        found = tail(file, until=first - 1)
        base = found or base
    if base is None:
        raise JournalError(f"there is no checkpoint before tick {first}")
    world, sessions = _replay(base.checkpoint, base.ticks)
    yield [HEADER, base.header]
    yield [CHECKPOINT, world.tick, world.checksum(), world.dump(), sessions, []]
    due = world.tick + 1
    for file in segments(path):
        for record in read(file):
            if not isinstance(record, Damage) and record[0] == TICK and record[1] == due <= last:
                yield record
                due += 1
    if due <= first:
        raise JournalError(f"tick {first} is not there")


def _as_json(record: list) -> str:
    """A TICK for people and other programs."""
    _, tick, events, commands, checksum, _ = record
    rows = np.frombuffer(commands, game.STEP_COMMAND)
    return json.dumps(
        {
            "tick": tick,
            "joins": [e[:3] for e in events if len(e) > 1],
            "leaves": [e[0] for e in events if len(e) == 1],
            "commands": {"fields": rows.dtype.names, "rows": rows.tolist()},
            "checksum": checksum,
        }
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m server.journal", description=__doc__.split("\n")[0]
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, summary in (
        ("verify", "re-simulate and compare"),
        ("info", "what there is"),
        ("export", "some ticks, as lines of JSON or as a journal of their own"),
    ):
        one = commands.add_parser(name, help=summary)
        one.add_argument("path", type=Path, metavar="PATH", help="a segment, or a folder of them")
    one.add_argument("--from", dest="first", type=int, required=True, metavar="TICK")
    one.add_argument("--to", dest="last", type=int, required=True, metavar="TICK")
    one.add_argument("--journal", type=Path, metavar="FILE", help="write a journal instead of JSON")
    options = parser.parse_args(arguments)
    try:
        if not segments(options.path):
            raise JournalError("there is no journal")
        return {"verify": _verify, "info": _info, "export": _export}[options.command](options)
    except (JournalError, OSError) as error:
        print(f"{options.path}: {error}", file=sys.stderr)
        return 1


def _verify(options: argparse.Namespace) -> int:
    report = verify(options.path)
    for damage in report.damage:
        print(damage)
    span = f" ({report.first} to {report.last})" if report.ticks else ""
    print(f"{report.ticks} ticks verified{span} in {report.segments} segments")
    if report.missing:
        print(f"{report.missing} ticks are missing between them")
    if report.difference:
        print(f"first difference: {report.difference}")
    return 0 if report.ok else 1


def _info(options: argparse.Namespace) -> int:
    for line in info(options.path):
        print(line)
    return 0


def _export(options: argparse.Namespace) -> int:
    records = cut(options.path, options.first, options.last)
    if options.journal is None:
        for record in records:
            if record[0] == TICK and record[1] >= options.first:
                print(_as_json(record))
        return 0
    with options.journal.open("xb") as file:
        file.write(MAGIC)
        for record in records:
            file.write(frame(pack(record)))
    return 0


if __name__ == "__main__":
    logging.basicConfig(format="%(message)s")
    sys.exit(main())
