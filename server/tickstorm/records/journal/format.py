"""The format of a journal: records, the frames around them, and how damage shows.

A segment is `MAGIC` and then records, each in a frame::

    length u32 | CRC-32 of length and payload u32 | payload

little-endian; the highest bit of `length` says that the payload is deflated. A payload
is a msgpack array::

    [HEADER, {format, game, schema, build, room, seed, settings, created, lost}]
    [CHECKPOINT, tick, checksum, world, sessions, events]
    [TICK, tick, events, commands, checksum, columns]

* `events`, in the order in which they happened before the step: a join is
  ``[slot, name, bot, session]``, a leave ``[slot]``, or ``[slot, SILENT]`` if the rule for it
  raised and was left out, a message ``[slot, name, values]``. A checkpoint's own events came
  after the step of its tick (there are some only where a journal was closed, or a rule raised);
* `commands`: the rows of STEP_COMMAND that `World.step` was given, as they were;
* `checksum`: `World.checksum()` after the step; `columns`: a CRC-32 per published column
  (see `column_checksums`);
* `world`: `World.dump()`; `sessions`: ``[[session, slot, name, bot], …]`` of the players.

Files may be torn, flipped or foreign: reading believes only what its checksum confirms.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack
import numpy as np

from ... import __version__
from ...games.game import Game
from ...games.kind import names_of
from ...games.world import KindView, WorldSettings

FORMAT = 3
MAGIC = b"TICKSTORM JOURNAL\n"
HEADER, CHECKPOINT, TICK = range(3)
SILENT = 1

_FRAME = struct.Struct("<II")
_DEFLATED = 1 << 31
_MAX_RECORD = 1 << 29  # bytes; what claims to be longer is damage
_DEFLATE_FROM = 512  # bytes; shorter payloads gain too little


class JournalError(ValueError):
    """This journal can't be used; the message says why."""


# ------------------------------------------------------------------ what records hold


def header_of(game: Game, room: str, settings: WorldSettings, seed: int) -> dict[str, Any]:
    """What a segment says about itself; `created` and `lost` come when it is begun."""
    return {
        "format": FORMAT,
        "game": game.name,
        "schema": game.checksum(),
        "build": __version__,
        "room": room,
        "seed": seed,
        "settings": {"tick_hz": settings.tick_hz, "players": settings.players, **settings.chosen},
    }


def check(header: dict[str, Any], game: Game) -> None:
    """Raises JournalError if this build of `game` can't step what the header describes."""
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        found = header.get("format") if isinstance(header, dict) else "of another kind"
        raise JournalError(f"it has format {found}, this build reads {FORMAT}")
    if header.get("game") != game.name:
        raise JournalError(f"it is of the game {header.get('game')!r}, not of {game.name!r}")
    if header.get("schema") != game.checksum():
        raise JournalError(
            f"it is of schema {header.get('schema')} (build {header.get('build')}), "
            f"the game now has {game.checksum()}"
        )


def column_checksums(views: Iterable[KindView]) -> list[int]:
    """A CRC-32 of the present entities' slots and of each of their published columns,
    kind by kind, in the order of `column_names`."""
    sums = []
    for view in views:
        present = np.flatnonzero(view.present)
        sums.append(zlib.crc32(present))  # type: ignore[arg-type]  # as below
        for rows in (view.mutable, view.static):
            for name in rows.dtype.names or ():
                column = np.ascontiguousarray(rows[name][present])
                sums.append(zlib.crc32(column))  # type: ignore[arg-type]  # numpy's types know buffers from 3.12 on
    return sums


def column_names(game: Game) -> list[str]:
    """What `column_checksums` are of."""
    names = []
    for kind in game.KINDS:
        columns = (*names_of(kind.dtype("delta", "state")), *names_of(kind.dtype("static")))
        names += [f"{kind.name}.{name}" for name in ("present", *columns)]
    return names


# ------------------------------------------------------------------ records to bytes


def pack(record: list) -> bytes:
    """The payload that holds a record: all that the game loop spends on the file."""
    return msgpack.packb(record)


def frame(payload: bytes) -> bytes:
    """A payload as it stands in the file, deflated if that pays: for the writer's thread."""
    mark = 0
    if len(payload) >= _DEFLATE_FROM:
        deflated = zlib.compress(payload, 1)
        if len(deflated) < len(payload):
            payload, mark = deflated, _DEFLATED
    length = len(payload) | mark
    crc = zlib.crc32(payload, zlib.crc32(length.to_bytes(4, "little")))
    return _FRAME.pack(length, crc) + payload


# ------------------------------------------------------------------ bytes to records


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
        payload, end = _unframe(data, at)
        if payload is None:
            cut = end > len(data)
            yield Damage(path, at, "a record is " + ("cut off" if cut else "damaged"), torn=cut)
            if cut or (end < len(data) and _unframe(data, end)[0] is None):
                return
        else:
            try:
                yield _unpack(payload)
            except JournalError as error:
                yield Damage(path, at, str(error), torn=False)
        at = end


def skim(path: Path) -> Iterator[tuple[int, int, Any]]:
    """``(offset, type, second field)`` of a segment's records, up to the first that is damaged.

    The rest of them, which is nearly all, is not decoded.
    """
    data = memoryview(path.read_bytes())
    at = len(MAGIC)
    while True:
        payload, end = _unframe(data, at)
        if payload is None:
            return
        reader = msgpack.Unpacker(strict_map_key=False)
        reader.feed(payload)
        reader.read_array_header()
        yield at, reader.unpack(), reader.unpack()
        at = end


def read_one(path: Path, offset: int = len(MAGIC)) -> list:
    """The record at `offset`, by default the first. Raises JournalError if it isn't there."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            start = file.read(_FRAME.size)
            claimed = _FRAME.unpack(start)[0] & ~_DEFLATED if len(start) == _FRAME.size else 0
            data = memoryview(start + file.read(min(claimed, _MAX_RECORD)))
    except OSError as error:
        raise JournalError(f"the journal is gone: {error}") from error
    payload, _ = _unframe(data, 0)
    if payload is None:
        raise JournalError("a record is damaged")
    return _unpack(payload)


def _unpack(payload: bytes | memoryview) -> list:
    """The record that a payload holds. Raises JournalError."""
    try:
        record = msgpack.unpackb(payload, strict_map_key=False)
    except Exception as error:  # msgpack raises a dozen types, TypeError for odd keys among them
        raise JournalError(f"a record is no msgpack ({error or type(error).__name__})") from error
    if not isinstance(record, list) or not record or type(record[0]) is not int:
        raise JournalError("a record is no array that starts with a type")
    return record


def _unframe(data: memoryview, at: int) -> tuple[bytes | memoryview | None, int]:
    """The payload of the frame at `at`, None if it is damaged, and where the frame ends."""
    if at + _FRAME.size > len(data):
        return None, len(data) + 1
    length, crc = _FRAME.unpack_from(data, at)
    size = length & ~_DEFLATED
    end = at + _FRAME.size + size
    if size > _MAX_RECORD or end > len(data):
        return None, len(data) + 1
    payload = data[at + _FRAME.size : end]
    if zlib.crc32(payload, zlib.crc32(data[at : at + 4])) != crc:
        return None, end
    if not length & _DEFLATED:
        return payload, end
    inflate = zlib.decompressobj()
    try:
        inflated = inflate.decompress(payload, _MAX_RECORD)
    except zlib.error:
        return None, end
    return (inflated if inflate.eof else None), end
