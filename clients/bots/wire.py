"""The client's side of PROTOCOL.md: bytes in, values out, and back.

No sockets here. `KnownWorld` is the reference decoder: it knows nothing of the
game but the declaration that WELCOME carries, and it refuses, with a reason,
whatever does not fit what it already knows.
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import Any, NamedTuple

import msgpack
import numpy as np

PROTOCOL_VERSION = 1
SUBPROTOCOL = "tickstorm.1"
NO_SLOT = 65535

HELLO, INPUT, CHAT, PING, LEAVE, SYNC, LOOK = range(1, 8)
WELCOME, SNAPSHOT, FEED, BOARD, CHATTED, PONG, NOTICE, HEAT = range(16, 24)

# Bits of a snapshot's flags.
FULL, SHED, SPECTATOR = 1, 2, 4

NO_SLACK = -128
"""`slack` of a snapshot when the server had no input to report on."""


class WireError(ValueError):
    """The server's bytes break the protocol, or contradict what it sent before."""


# ---------------------------------------------------------------- client to server


def encode_hello(
    name: str, token: str | None = None, schema: int = 0, **options: bool | str
) -> bytes:
    """HELLO; `schema` 0 accepts whatever the server declares.

    >>> encode_hello("Ada", bot=True).hex(" ")
    '96 01 01 00 a3 41 64 61 c0 81 a3 62 6f 74 c3'
    """
    return msgpack.packb([HELLO, PROTOCOL_VERSION, schema, name, token, options])


_INPUT = struct.Struct("<4sIIHHBBBx")
_INPUT_HEADER = bytes([0x92, INPUT, 0xC4, _INPUT.size - 4])


def encode_input(
    target: int, ack: int, seq: int, aim: int, move: int, buttons: int, view_delay: int
) -> bytes:
    """INPUT, always 20 bytes.

    >>> encode_input(0, 258, 1, aim=256, move=64, buttons=5, view_delay=32).hex(" ")
    '92 02 c4 10 00 00 00 00 02 01 00 00 01 00 00 01 40 05 20 00'
    """
    return _INPUT.pack(_INPUT_HEADER, target, ack, seq, aim, move, buttons, view_delay)


def encode_chat(text: str) -> bytes:
    return msgpack.packb([CHAT, text])


def encode_ping(time: float) -> bytes:
    return msgpack.packb([PING, time])


def encode_leave() -> bytes:
    return msgpack.packb([LEAVE])


def encode_sync() -> bytes:
    return msgpack.packb([SYNC])


def encode_look(*target: float) -> bytes:
    """LOOK at a ship (one number, its slot) or at a place (two, x and y)."""
    return msgpack.packb([LOOK, *target])


# ---------------------------------------------------------------- server to client

_FIELDS: dict[int, tuple[str, tuple[type | tuple[type, ...], ...]]] = {
    WELCOME: ("WELCOME", (dict,)),
    SNAPSHOT: ("SNAPSHOT", (bytes, bytes)),
    FEED: ("FEED", (list,)),
    BOARD: ("BOARD", (list, int)),
    CHATTED: ("CHAT", ((str, type(None)), str)),
    PONG: ("PONG", ((int, float), int)),
    NOTICE: ("NOTICE", (int, str)),
    HEAT: ("HEAT", (int, bytes)),
}


def decode(data: bytes) -> list:
    """One message from the server as ``[type, field, …]``, its shape checked if it is known.

    >>> decode(msgpack.packb([PONG, 1.5, 77]))
    [21, 1.5, 77]
    """
    try:
        message = msgpack.unpackb(data)
    except Exception as error:  # msgpack raises a dozen types, UnicodeDecodeError among them
        raise WireError(f"not msgpack: {error or type(error).__name__}") from error
    if not isinstance(message, list) or not message or type(message[0]) is not int:
        raise WireError(f"not an array that starts with a type: {message!r:.80}")
    kind, fields = message[0], message[1:]
    if kind not in _FIELDS:
        return message  # of a later version of the server: whoever doesn't know it skips it
    name, types = _FIELDS[kind]
    if kind == NOTICE and len(fields) == 3:
        types += (str,)
    if len(fields) != len(types) or not all(map(isinstance, fields, types)):
        raise WireError(f"{name} with wrong fields: {fields!r:.80}")
    if kind == HEAT and len(fields[1]) != fields[0] ** 2:
        raise WireError(f"HEAT of width {fields[0]} with {len(fields[1])} bytes")
    return message


_WELCOME_TYPES: dict[str, type | tuple[type, ...]] = {
    "version": int,
    "schema": int,
    "declaration": list,
    "room": str,
    "slot": int,
    "name": str,
    "tick": int,
    "tick_hz": int,
    "snapshot_ticks": int,
    "size": (int, float),
    "cell": (int, float),
    "token": str,
    "resumed": bool,
    "grace_s": (int, float),
    "rules": dict,
    "server": str,
}


def check_welcome(welcome: dict) -> dict:
    """The WELCOME map itself, after its keys, types, version and checksum were checked."""
    for key, types in _WELCOME_TYPES.items():
        if key not in welcome:
            raise WireError(f"WELCOME without {key!r}")
        if not isinstance(welcome[key], types):
            raise WireError(f"WELCOME with {key} = {welcome[key]!r:.80}")
    if welcome["version"] != PROTOCOL_VERSION:
        raise WireError(f"the server speaks version {welcome['version']}, not {PROTOCOL_VERSION}")
    schema = zlib.crc32(msgpack.packb(welcome["declaration"]))
    if schema != welcome["schema"]:
        raise WireError(f"declaration has checksum {schema}, WELCOME says {welcome['schema']}")
    return welcome


# ---------------------------------------------------------------- the declared schema


class KindSchema(NamedTuple):
    """What the declaration says of one kind: dtypes are packed and little-endian."""

    name: str
    scale: dict[str, float]
    deltas: tuple[str, ...]  # names of the delta columns, in order
    mutable: np.dtype  # delta and state columns
    row: np.dtype  # all columns
    enter: np.dtype  # id u2, and the row


_DTYPE = re.compile(r"[ui][124]|f4|S[1-9]\d*")
_ROLES = ("delta", "state", "static")


def _dtype(fields: list) -> np.dtype:
    for name, code, *_ in fields:
        if not isinstance(name, str) or not _DTYPE.fullmatch(code):
            raise WireError(f"column {name!r} of unknown dtype {code!r}")
    return np.dtype([(name, "<" + code) for name, code, *_ in fields])


def kind_schema(declared: list) -> KindSchema:
    """Read ``[name, [[column, dtype, role, scale], …]]``."""
    name, columns = declared
    for column, code, role, _ in columns:
        if role not in _ROLES:
            raise WireError(f"{name}.{column} has the unknown role {role!r}")
        if role == "delta" and code not in ("u1", "i1", "u2", "i2"):
            raise WireError(
                f"{name}.{column} is a delta column of {code}; 8 or 16 bits are allowed"
            )
    deltas = [c for c in columns if c[2] == "delta"]
    if deltas and deltas[0][1] not in ("u2", "i2"):
        raise WireError(f"the first delta column of {name} is not 16 bits wide")
    row = _dtype([[column, code] for column, code, _, _ in columns])
    return KindSchema(
        name=name,
        scale={column: scale for column, _, _, scale in columns},
        deltas=tuple(c[0] for c in deltas),
        mutable=_dtype([[c, code] for c, code, role, _ in columns if role != "static"]),
        row=row,
        enter=np.dtype([("id", "<u2"), ("row", row)]),
    )


# ---------------------------------------------------------------- what a client knows


class KnownKind:
    """The known entities of one kind.

    Attributes: ``ids``: uint16[k], ascending; ``rows``: structured[k], the wire
    values of all columns, in the order of `ids`. Neither is changed in place, so
    they may be kept as they are; the next snapshot brings new ones.
    """

    def __init__(self, schema: KindSchema) -> None:
        self.schema = schema
        self.forget()

    def forget(self) -> None:
        self.ids = np.empty(0, "<u2")
        self.rows = np.empty(0, self.schema.row)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, column: str) -> np.ndarray:
        """Wire values of a column, [k]."""
        return self.rows[column]

    def scaled(self, column: str) -> np.ndarray:
        """float64[k]: a column in world units."""
        return self.rows[column] * self.schema.scale[column]

    def index(self, entity: int) -> int:
        """Row of the entity with this id, or -1."""
        i = int(np.searchsorted(self.ids, entity))
        return i if i < len(self.ids) and self.ids[i] == entity else -1


class KnownWorld:
    """All that one connection was told about the world, by applying each snapshot in order.

    `declaration` is WELCOME's. After each `apply`, ``tick`` is the snapshot's tick
    and ``kinds[name]`` a `KnownKind`. A snapshot that is refused with `WireError`
    changes nothing.
    """

    def __init__(self, declaration: list) -> None:
        try:
            kinds, self_fields, _ = declaration
            schemas = [kind_schema(kind) for kind in kinds]
            own = _dtype(self_fields)
        except (TypeError, ValueError) as error:
            raise WireError(f"unreadable declaration: {error}") from error
        if len(schemas) > 8:
            raise WireError(f"{len(schemas)} kinds; the mask of sections has 8 bits")
        self.tick: int | None = None
        self.kinds = {schema.name: KnownKind(schema) for schema in schemas}
        self.head = np.dtype(
            [
                ("tick", "<u4"),
                ("ack_seq", "<u2"),
                ("slack", "i1"),
                ("flags", "u1"),
                ("baseline_age", "u1"),
                ("snapshot_ticks", "u1"),
                ("self", own),
            ]
        )

    def apply(self, head: bytes, body: bytes) -> dict[str, Any]:
        """Apply SNAPSHOT's two fields; returns the fields of the head, `self` as a dict."""
        fields = self._read_head(head)
        full = bool(fields["flags"] & FULL)
        reader = _Reader(body)
        mask = int(reader.array(U1, 1, "the mask of sections")[0])
        if mask >> len(self.kinds):
            raise WireError(f"sections {mask:#b} of {len(self.kinds)} kinds")

        kinds = list(self.kinds.values())
        after = [(kind.ids[:0], kind.rows[:0]) if full else (kind.ids, kind.rows) for kind in kinds]
        for bit, kind in enumerate(kinds):
            if mask >> bit & 1:
                after[bit] = _read_section(reader, kind.schema, *after[bit])
        reader.end()

        for kind, (ids, rows) in zip(kinds, after):
            kind.ids, kind.rows = ids, rows
        self.tick = fields["tick"]
        return fields

    def _read_head(self, head: bytes) -> dict[str, Any]:
        if len(head) != self.head.itemsize:
            raise WireError(f"head of {len(head)} bytes, declared are {self.head.itemsize}")
        record = np.frombuffer(head, self.head)[0]
        fields = dict(zip(self.head.names, record.item()))
        fields["self"] = dict(zip(self.head["self"].names, fields["self"]))
        tick, age = fields["tick"], fields["baseline_age"]
        if self.tick is not None and tick <= self.tick:
            raise WireError(f"snapshot of tick {tick} after that of tick {self.tick}")
        if fields["flags"] & FULL:
            if age != 0:
                raise WireError(f"full snapshot with a baseline of age {age}")
        elif self.tick is None:
            raise WireError("delta before any full snapshot")
        elif tick - age != self.tick:
            raise WireError(f"baseline {tick} - {age}, but the last snapshot was {self.tick}")
        return fields


U1, U2, I1 = np.dtype("u1"), np.dtype("<u2"), np.dtype("i1")


class _Reader:
    """Takes arrays off the front of a body; never past its end."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.offset = 0

    def array(self, dtype: np.dtype, count: int, what: str) -> np.ndarray:
        if count == 0:
            return np.empty(0, dtype)
        start, self.offset = self.offset, self.offset + count * dtype.itemsize
        if self.offset > len(self.data):
            raise WireError(f"body of {len(self.data)} bytes ends inside {what}, at {self.offset}")
        return np.frombuffer(self.data, dtype, count, start)

    def end(self) -> None:
        if self.offset != len(self.data):
            raise WireError(f"{len(self.data) - self.offset} bytes after the last section")


def _read_section(
    reader: _Reader, schema: KindSchema, ids: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Known ids (uint16[k], ascending) and rows of one kind, before and after its section."""
    n_leave, n_enter = reader.array(U2, 2, f"counts of {schema.name}").tolist()

    if n_leave:
        leave = reader.array(U2, n_leave, f"leave of {schema.name}")
        place, known = _find(ids, leave)
        if not known.all():
            raise WireError(f"leave of {schema.name} {leave[~known][0]}, which is not known")
        stays = np.ones(len(ids), bool)
        stays[place] = False
        ids, rows = ids.compress(stays), rows.compress(stays)
        if len(ids) + n_leave != len(stays):
            raise WireError(f"leave of {schema.name} with an id twice: {leave.tolist()}")

    if schema.mutable.names and len(ids):
        rows = _read_changes(reader, schema, rows)

    if n_enter:
        enter = reader.array(schema.enter, n_enter, f"enter of {schema.name}")
        place, known = _find(ids, enter["id"])
        stays = np.ones(len(ids), bool)
        stays[place[known]] = False
        # numpy joins structured arrays field by field, 20 times slower than their bytes.
        joined = rows.compress(stays).tobytes() + enter["row"].tobytes()
        ids = np.concatenate([ids.compress(stays), enter["id"]])
        order = ids.argsort()
        ids, rows = ids.take(order), np.frombuffer(joined, schema.row).take(order)
        if (ids[1:] == ids[:-1]).any():
            raise WireError(f"enter of {schema.name} with an id twice: {enter['id'].tolist()}")
    return ids, rows


def _find(ids: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places of `wanted` in `ids` (both uint16, `ids` ascending), and bool: is it there?"""
    if not len(ids):
        return np.zeros(len(wanted), np.intp), np.zeros(len(wanted), bool)
    place = np.minimum(ids.searchsorted(wanted), len(ids) - 1)
    return place, ids[place] == wanted


def _read_changes(reader: _Reader, schema: KindSchema, rows: np.ndarray) -> np.ndarray:
    """Survivors' rows, structured[k], with the section's deltas and full rows taken in."""
    k = len(rows)
    bits = reader.array(U1, (k + 7) // 8, f"changed bits of {schema.name}")
    changed = np.unpackbits(bits, bitorder="little").nonzero()[0]
    if not len(changed):
        return rows
    if changed[-1] >= k:
        raise WireError(f"changed bits of {schema.name} beyond its {k} survivors")
    rows = rows.copy()

    # A kind without delta columns has no escape byte: each changed row comes whole.
    whole = np.ones(len(changed), bool)
    for i, name in enumerate(schema.deltas):
        delta = reader.array(I1, len(changed), f"deltas of {schema.name}.{name}")
        if i == 0:
            whole = delta == -128
        column = rows[name]
        exact = column[changed].astype(np.int32) + delta
        value = exact.astype(column.dtype)
        # Eight bits may wrap.
        if column.itemsize == 2 and np.count_nonzero((value != exact) & ~whole):
            raise WireError(f"delta takes {schema.name}.{name} beyond its range")
        column[changed] = value

    if whole.any():
        escaped = changed[whole]
        full = reader.array(schema.mutable, len(escaped), f"full rows of {schema.name}")
        for name in schema.mutable.names:
            rows[name][escaped] = full[name]
    return rows
