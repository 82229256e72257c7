"""Every message, both ways, its limits and its close codes. PROTOCOL.md draws the bytes;
`layout.py` has those that follow from what a game declares.

Client bytes are checked for shape before meaning; whatever is wrong raises
`ProtocolViolation`, which carries the close code that ends that one session.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import msgpack
import numpy as np

PROTOCOL_VERSION = 1
SUBPROTOCOL = "tickstorm.1"
NO_SLOT = 65535
CHAT_CHARACTERS = 120
NAME_BYTES = 20

HELLO, INPUT, CHAT, PING, LEAVE, SYNC, LOOK, REPLAY = range(1, 9)
WELCOME, SNAPSHOT, FEED, BOARD, CHATTED, PONG, NOTICE, HEAT, REPLAYING = range(16, 25)

CALL = 10

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
    KICKED = 4010
    REFUSED = 4011


class ProtocolViolation(Exception):
    """A client broke the protocol, or can't be served. `code` is the close code, `reason` what
    it is told, `url` where to go instead."""

    def __init__(self, code: Close, reason: str, url: str | None = None):
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.url = url


# ------------------------------------------------------------------ client to server

_FIELDS: dict[int, tuple[type | tuple[type, ...], ...]] = {
    HELLO: (int, int, str, (str, type(None)), dict),
    INPUT: (bytes,),
    CHAT: (str,),
    PING: ((int, float),),
    LEAVE: (),
    SYNC: (),
    REPLAY: ((int, float), (int, type(None))),
    CALL: (str, list, (int, type(None))),
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
    return message


def _fits(fields: list, shape: tuple) -> bool:
    # bool is an int to Python, not to us.
    return len(fields) == len(shape) and all(
        isinstance(value, types) and not isinstance(value, bool)
        for value, types in zip(fields, shape, strict=True)
    )


# ------------------------------------------------------------------ server to client


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
    """`counts`: int[width * width], players' entities per cell."""
    return frame([HEAT, width, np.minimum(counts, 255).astype(np.uint8).tobytes()])


def replaying(tick: int, first: int, last: int, speed: float) -> bytes:
    return frame([REPLAYING, tick, first, last, speed])
