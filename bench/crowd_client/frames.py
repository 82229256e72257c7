"""Client frames as bytes: small ones one by one, inputs as rows of one array."""

from __future__ import annotations

import base64
import os

import numpy as np

from ..arena import LAYOUT

BINARY, CLOSE, PING, PONG = 0x82, 0x88, 0x89, 0x8A

HEAD = np.dtype(LAYOUT.head.descr[:-1] + LAYOUT.game.SELF.descr[:2])
"""The beginning of a snapshot's head, up to the own x and y: all that this client looks at."""
assert HEAD.names[-2:] == ("x", "y")

INPUT = np.dtype(
    [("frame", "V2"), ("mask", "u1", 4), ("prefix", f"V{len(LAYOUT.input_prefix)}")]
    + LAYOUT.input_row.descr
)
"""An input as it travels: a masked WebSocket frame of 26 bytes."""
assert INPUT.itemsize == LAYOUT.input_frame.size

_KEY_OF_BYTE = np.arange(LAYOUT.input_size) % 4


def masked(rows: np.ndarray, rng: np.random.Generator) -> bytes:
    """The frames in `rows`, INPUT[n], each masked with a key of its own.

    >>> rows = np.zeros(1, INPUT)
    >>> rows["seq"] = 7
    >>> data = masked(rows, np.random.default_rng(1))
    >>> len(data), data[18] ^ data[2]
    (26, 7)
    """
    keys = np.frombuffer(rng.bytes(4 * len(rows)), np.uint8).reshape(-1, 4)
    data = rows.copy().view(np.uint8).reshape(len(rows), INPUT.itemsize)
    data[:, 2:6] = keys
    data[:, 6:] ^= keys[:, _KEY_OF_BYTE]
    return data.tobytes()


def frame(opcode: int, payload: bytes) -> bytes:
    """A masked client frame of at most 125 bytes; the mask is random.

    >>> len(frame(0x82, b"12345"))
    11
    """
    mask = os.urandom(4)
    masked = bytes(byte ^ mask[i & 3] for i, byte in enumerate(payload))
    return bytes([opcode, 0x80 | len(payload)]) + mask + masked


def frame_span(data: bytes | memoryview) -> tuple[int, int] | None:
    """Where the payload of the first frame in `data` begins and ends; None if it isn't all there.

    >>> frame_span(bytes([0x82, 2, 65, 66, 0x82])), frame_span(bytes([0x82, 2, 65]))
    ((2, 4), None)
    >>> frame_span(bytes([0x82, 126, 1, 0]) + bytes(256))
    (4, 260)
    """
    if len(data) < 2:
        return None
    start, length = 2, data[1]
    if length == 126:
        start, length = 4, int.from_bytes(data[2:4], "big")
    elif length == 127:
        start, length = 10, int.from_bytes(data[2:10], "big")
    end = start + length
    return (start, end) if len(data) >= end and len(data) >= start else None


def upgrade_request(path: str, subprotocol: str | None = None) -> bytes:
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: " + base64.b64encode(os.urandom(16)).decode(),
        "Sec-WebSocket-Version: 13",
    ]
    if subprotocol:
        lines.append(f"Sec-WebSocket-Protocol: {subprotocol}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
