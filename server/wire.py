"""Every message, both ways, its limits and its close codes. PROTOCOL.md draws the bytes.

Client bytes are checked for shape before meaning; whatever is wrong raises
`ProtocolViolation`, which carries the close code that ends that one session.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import msgpack
import numpy as np

import game

PROTOCOL_VERSION = 1
SUBPROTOCOL = "tickstorm.1"
NO_SLOT = 65535
CHAT_CHARACTERS = 120
NAME_BYTES = 20

HELLO, INPUT, CHAT, PING, LEAVE, SYNC, LOOK, REPLAY = range(1, 9)
WELCOME, SNAPSHOT, FEED, BOARD, CHATTED, PONG, NOTICE, HEAT, REPLAYING = range(16, 25)

FLAG_FULL, FLAG_SHED, FLAG_SPECTATOR = 1, 2, 4
NO_SLACK = -128


class Close(IntEnum):
    """Close codes; below 4000 as in RFC 6455, from 4000 on ours."""

    DONE = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    TEXT = 1003
    NOT_UTF8 = 1007
    TOO_BIG = 1009
    INTERNAL = 1011
    RESTART = 1012
    FULL = 1013
    MALFORMED = 4000
    VERSION = 4001
    SCHEMA = 4002
    HELLO_EXPECTED = 4003
    FLOOD = 4004
    SLOW = 4005
    TAKEN_OVER = 4006
    TOKEN = 4007
    IDLE = 4008
    NO_ROOM = 4009


class ProtocolViolation(Exception):
    """A client broke the protocol, or can't be served. `code` is the close code, `reason` what
    it is told, `url` where to go instead."""

    def __init__(self, code: Close, reason: str, url: str | None = None):
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.url = url


# ------------------------------------------------------------------ client to server

INPUT_ROW = np.dtype([("target", "<u4"), ("ack", "<u4"), ("seq", "<u2")] + game.COMMAND.descr)
"""One input, as it stands in the message: the server's fields, then the game's."""

INPUT_PREFIX = bytes([0x92, INPUT, 0xC4, INPUT_ROW.itemsize])
INPUT_SIZE = len(INPUT_PREFIX) + INPUT_ROW.itemsize

# A plain input is one unfragmented, masked, binary frame of exactly this size.
INPUT_FRAME_START = bytes([0x82, 0x80 | INPUT_SIZE])
INPUT_FRAME_SIZE = 2 + 4 + INPUT_SIZE
assert INPUT_SIZE < 126, "an input must fit a frame with the short header"


def unmask_inputs(raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Plain input frames, uint8[n, INPUT_FRAME_SIZE], as rows.

    Returns ``(rows: INPUT_ROW[n], valid: bool[n])``; a row is valid if the
    message around it is an INPUT.
    """
    mask = raw[:, 2:6]
    message = raw[:, 6:] ^ np.tile(mask, -(-INPUT_SIZE // 4))[:, :INPUT_SIZE]
    valid = (message[:, : len(INPUT_PREFIX)] == np.frombuffer(INPUT_PREFIX, np.uint8)).all(axis=1)
    rows = np.ascontiguousarray(message[:, len(INPUT_PREFIX) :]).view(INPUT_ROW).ravel()
    return rows, valid


_FIELDS: dict[int, tuple[type | tuple[type, ...], ...]] = {
    HELLO: (int, int, str, (str, type(None)), dict),
    INPUT: (bytes,),
    CHAT: (str,),
    PING: ((int, float),),
    LEAVE: (),
    SYNC: (),
    REPLAY: ((int, float), (int, type(None))),
}


def decode(data: bytes) -> list:
    """A client's message as ``[type, field, …]``, checked for type and shape.

    >>> decode(msgpack.packb([PING, 1.5]))
    [4, 1.5]
    """
    try:
        # unpackb believes no declared length beyond the bytes that are there.
        message = msgpack.unpackb(data)
    except Exception as error:  # msgpack raises a dozen types, RecursionError among them
        raise ProtocolViolation(Close.MALFORMED, "not msgpack") from error
    if not isinstance(message, list) or not message or type(message[0]) is not int:
        raise ProtocolViolation(Close.MALFORMED, "not an array that starts with a type")
    kind, fields = message[0], message[1:]
    if kind == LOOK:
        shapes = [(int,), ((int, float), (int, float))]
    elif kind in _FIELDS:
        shapes = [_FIELDS[kind]]
    else:
        raise ProtocolViolation(Close.MALFORMED, f"unknown message type {kind}")
    if not any(_fits(fields, shape) for shape in shapes):
        raise ProtocolViolation(Close.MALFORMED, f"message {kind} with wrong fields")
    if kind == INPUT and len(fields[0]) != INPUT_ROW.itemsize:
        raise ProtocolViolation(Close.MALFORMED, f"input of {len(fields[0])} bytes")
    return message


def _fits(fields: list, shape: tuple) -> bool:
    # bool is an int to Python, not to us.
    return len(fields) == len(shape) and all(
        isinstance(value, types) and not isinstance(value, bool)
        for value, types in zip(fields, shape, strict=True)
    )


# ------------------------------------------------------------------ server to client

HEAD = np.dtype(
    [
        ("tick", "<u4"),
        ("ack_seq", "<u2"),
        ("slack", "i1"),
        ("flags", "u1"),
        ("baseline_age", "u1"),
        ("snapshot_ticks", "u1"),
        ("self", game.SELF),
    ]
)

# 93 11  c4 <len> head  c6 <len u32> body: what precedes the body, with room before it
# for the longest frame header, so that all heads of a tick are one array.
_SNAPSHOT_START = np.dtype(
    [
        ("frame", "u1", 10),
        ("array", "u1"),
        ("type", "u1"),
        ("bin8", "u1"),
        ("head_size", "u1"),
        ("head", HEAD),
        ("bin32", "u1"),
        ("body_size", ">u4"),
    ]
)
_HEADER_ROOM = 10
assert HEAD.itemsize < 256, "a head must fit a bin8"


class SnapshotStarts:
    """All that precedes the bodies of n snapshots: frame header, message start, head.

    `heads`: HEAD[n], zeros, to be filled in place before `cut`.
    """

    def __init__(self, n: int):
        self._rows = np.zeros(n, _SNAPSHOT_START)
        self._rows["array"], self._rows["type"] = 0x93, SNAPSHOT
        self._rows["bin8"], self._rows["head_size"] = 0xC4, HEAD.itemsize
        self._rows["bin32"] = 0xC6
        self.heads = self._rows["head"]

    def fill_self(self, own: np.ndarray) -> None:
        """Set the heads' `self` from SELF[n]: as bytes, a tenth of the time by fields."""
        at = _SNAPSHOT_START.fields["head"][1] + HEAD.fields["self"][1]
        raw = self._rows.view(np.uint8).reshape(len(own), _SNAPSHOT_START.itemsize)
        raw[:, at : at + own.itemsize] = own.view(np.uint8).reshape(len(own), own.itemsize)

    def seal(self, body_sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The sizes of the bodies, int64[n], are known: all is in place then.

        Returns ``(begin: int64[n], size: int64[n])``, what to send before each body: bytes
        `begin` to ``begin + size`` of `raw`.
        """
        rows, size = self._rows, _SNAPSHOT_START.itemsize
        rows["body_size"] = body_sizes
        payload = body_sizes + (size - _HEADER_ROOM)
        short, long = payload < 126, payload >= 65536
        header = np.where(short, 2, np.where(long, 10, 4))
        frame = rows["frame"]
        for i in range(4):  # the low four bytes of the longer lengths; 4 GB is never reached
            frame[:, 9 - i] = payload >> (8 * i)
        frame[~long, 6], frame[~long, 7] = 0x82, 126
        frame[short, 8], frame[short, 9] = 0x82, payload[short]
        frame[long, 0], frame[long, 1] = 0x82, 127
        unused = _HEADER_ROOM - header
        return np.arange(len(rows)) * size + unused, size - unused

    @property
    def raw(self) -> np.ndarray:
        """uint8[bytes], where the starts are."""
        return self._rows.view(np.uint8)


def frame(message: list) -> bytes:
    """A whole binary frame, unmasked, with one message."""
    payload = msgpack.packb(message)
    n = len(payload)
    if n < 126:
        return bytes([0x82, n]) + payload
    if n < 65536:
        return b"\x82\x7e" + n.to_bytes(2, "big") + payload
    return b"\x82\x7f" + n.to_bytes(8, "big") + payload


def welcome(fields: dict[str, Any]) -> bytes:
    return frame([WELCOME, fields])


def feed(events: list) -> bytes:
    return frame([FEED, events])


def board(rows: list, players: int) -> bytes:
    return frame([BOARD, rows, players])


def chatted(name: str | None, text: str) -> bytes:
    return frame([CHATTED, name, text])


def pong(time: float, tick: int) -> bytes:
    return frame([PONG, time, tick])


def notice(code: int, text: str, url: str | None = None) -> bytes:
    return frame([NOTICE, code, text] if url is None else [NOTICE, code, text, url])


def heat(width: int, counts: np.ndarray) -> bytes:
    """`counts`: int[width * width], ships per cell."""
    return frame([HEAT, width, np.minimum(counts, 255).astype(np.uint8).tobytes()])


def replaying(tick: int, first: int, last: int, speed: float) -> bytes:
    return frame([REPLAYING, tick, first, last, speed])
