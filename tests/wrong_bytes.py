"""What no honest client sends: messages of a wrong shape, bytes that are none, broken frames."""

from __future__ import annotations

import random

import msgpack

from clients.bots import wire
from tests.raw_client import frame

WRONG = [
    None, 7, "text", {}, {1: 2}, [], [None], ["1"], [1.0], [True], [True, 1.5], [0], [8], [16],
    [255], [-1], [2**64 - 1], [[1]], [1], [1, 1, 0, "Ada", None], [1, 1, 0, "Ada", None, {}, 0],
    [1, "1", 0, "Ada", None, {}], [1, 1, 0, b"Ada", None, {}], [1, 1, 0, None, None, {}],
    [1, 1, 0, "Ada", 5, {}], [1, 1, 0, "Ada", None, None], [1, 1, 0, "Ada", None, []],
    [1, True, 0, "Ada", None, {}], [1, 1.0, 0, "Ada", None, {}], [1, 1, None, "Ada", None, {}],
    [2], [2, "x" * 16], [2, bytes(16), 1],
    [2, [0] * 16],
    [3], [3, None], [3, b"gg"], [3, 5], [3, "a", "b"], [3, ["gg"]],
    [4], [4, None], [4, "now"], [4, True], [4, 1, 2], [5, 1], [6, None],
    [7], [7, 1.5], [7, "1"], [7, True], [7, 1, 2, 3], [7, None, None], [7, [1, 2]],
]  # fmt: skip


BYTES = {
    "nothing": b"",
    "reserved byte": b"\xc1",
    "truncated array": b"\x92\x03",
    "truncated text": b"\x92\x03\xa5abc",
    "more after the message": msgpack.packb([5]) + b"\x00",
    "text cut inside a code point": b"\x92\x03\xa1\xe2",
    "text that is not UTF-8": b"\x92\x03\xa2\xff\xfe",
    "a surrogate": b"\x92\x03\xa3\xed\xa0\x80",
    "an array said to have 4 billion items": b"\xdd\xff\xff\xff\xff",
    "a map said to have 4 billion items": b"\x92\x01\xdf\xff\xff\xff\xff",
    "a text said to have 4 billion bytes": b"\x92\x03\xdb\xff\xff\xff\xff",
    "nested 4,000 arrays deep": b"\x91" * 4000,
    "nested 4,000 arrays deep, and complete": b"\x91" * 4000 + b"\xc0",
    "nested 2,000 maps deep": b"\x81\x00" * 2000 + b"\xc0",
    "a map with a list as key": b"\x96\x01\x01\x00\xa0\xc0\x81\x91\x01\x01",
    "an extension type": b"\xd4\x05\x00",
    "a bad timestamp": b"\x92\x04\xc7\x03\xff\x00\x00\x00",
    "NaN as a type": b"\x91\xcb\x7f\xf8" + bytes(6),
}


FRAMES = {
    "the continuation that kills uWSGI's own WebSockets": (
        bytes.fromhex("80 84 00000000 61626364"),
        1002,
    ),
    "a continuation fragment of nothing": (frame(b"x", opcode=0, fin=False), 1002),
    "an unmasked frame": (frame(wire.encode_sync(), masked=False), 1002),
    "a text message": (frame(b"hello", opcode=1), 1003),
    "a text message that is not UTF-8": (frame(b"\xff", opcode=1), 1003),
    "a new message inside a fragmented one": (
        frame(b"\x91", fin=False) + frame(wire.encode_sync()),
        1002,
    ),
    "a plain input inside a fragmented message": (
        frame(b"\x91", fin=False) + frame(wire.encode_input(0, 0, 1, 0, 0, 0, 0)),
        1002,
    ),
    "a message of one byte too many": (frame(bytes(4097)), 1009),
    "a message said to have 2**63 bytes": (frame(b"", length=1 << 63, width=8), 1009),
    "a message said to have 2**64 - 1 bytes": (frame(b"", length=2**64 - 1, width=8), 1009),
    "fragments of too many bytes in all": (
        frame(bytes(3000), fin=False) + frame(bytes(1097), opcode=0),
        1009,
    ),
    "a compressed frame": (frame(b"\xaa\x56\x4a\x2c\x00", rsv=4), 1002),
    "a ping of 126 bytes": (frame(bytes(126), opcode=9), 1002),
    "a ping in fragments": (frame(b"x", opcode=9, fin=False), 1002),
    "garbage": (random.Random(1).randbytes(2000), 1002),
    "an HTTP request": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 1002),
    "a TLS hello": (bytes.fromhex("1603010200010001fc0303") + bytes(500), 1002),
}
