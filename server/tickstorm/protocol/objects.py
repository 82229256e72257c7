"""The messages of object rooms, both ways. PROTOCOL.md draws the bytes.

What a client sends is taken apart here and checked for shape; whether it fits the game is
the room's to say. What the server sends is built from parts that are packed already, so that
a patch is packed once for all who see the same.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ..replication.patches import NOTHING, REFERENCE, pack
from .wire import CALL as CALL

MOVE = 9
STATE, PATCH, EVENT, ANSWER, FAULT = 25, 26, 27, 28, 29

NO_VALUES = msgspec.Raw()
"""Like no input's."""

_move = msgspec.msgpack.Decoder(tuple[int, int, msgspec.Raw])
_values = msgspec.msgpack.Decoder(list[int | float | bool | str | None])


def _number_of(code: int, data: memoryview) -> int:
    """An entity travels as its number, whether it is written as one or as a reference."""
    if code != REFERENCE or len(data) > 4:
        raise ValueError("an unknown extension")
    return int.from_bytes(data, "little")


_call = msgspec.msgpack.Decoder(tuple[int, str, list[Any], int | None], ext_hook=_number_of)


decode_move = _move.decode
"""A payload to ``(kind, target tick, values)``, the values as they came: nearly always those of
the last time, so that they need no second look. Raises ValueError.

>>> kind, target, values = decode_move(msgspec.msgpack.encode([MOVE, 7, [1, 0]]))
>>> target, decode_values(values)
(7, [1, 0])
"""


def decode_values(values: msgspec.Raw) -> list[Any]:
    """The values of a MOVE. Raises ValueError."""
    return _values.decode(values)


def decode_call(payload: bytes) -> tuple[str, list[Any], int | None]:
    """``(message, arguments, request)``; the last is None if no answer is wanted.
    Raises ValueError."""
    _, name, values, request = _call.decode(payload)
    return name, values, request


def frame(payload: bytes) -> bytes:
    """A whole binary WebSocket frame, unmasked."""
    n = len(payload)
    if n < 126:
        return bytes((0x82, n)) + payload
    if n < 65536:
        return b"\x82\x7e" + n.to_bytes(2, "big") + payload
    return b"\x82\x7f" + n.to_bytes(8, "big") + payload


def state(tick: int, slack: int | None, enters: bytes, hidden: bytes) -> bytes:
    """A frame with STATE: everything, in place of whatever was known."""
    head = bytes((0x95 if hidden else 0x94, STATE))
    return frame(head + pack(tick) + pack(slack) + enters + hidden)


def patch(tick: bytes, slack: int | None, parts: int, body: bytes, hidden: bytes) -> bytes:
    """A frame with PATCH. `tick` is packed already; `body` has `parts` of its three parts."""
    if hidden:
        body += NOTHING * (3 - parts) + hidden
        parts = 4
    said = NOTHING if slack is None else bytes((slack & 0xFF,))
    return frame(bytes((0x93 + parts, PATCH)) + tick + said + body)


def event(name: str, values: bytes) -> bytes:
    """`values` are packed already."""
    return frame(bytes((0x93, EVENT)) + pack(name) + values)


def answer(request: int, value: bytes, refused: str | None) -> bytes:
    """`value` is packed already."""
    if refused is not None:
        return frame(pack([ANSWER, request, False, refused]))
    return frame(bytes((0x94, ANSWER)) + pack(request) + b"\xc3" + value)


def fault(text: str) -> bytes:
    """An author's traceback, for pages of a development run."""
    return frame(pack([FAULT, text]))


def slack_byte(slack: int) -> int:
    """Slack as it fits a msgpack fixint: -32 to 127 ticks."""
    return max(-32, min(127, slack))
