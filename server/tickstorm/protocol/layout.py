"""Where a crowd game's bytes stand: its input row, and all that precedes a snapshot's body.

They follow from the game's COMMAND and SELF, so each game has a `Layout` of its own, made
once (`layout_of`).
"""

from __future__ import annotations

from functools import cache

import numpy as np

from ..games.game import Game
from .wire import INPUT, SNAPSHOT, Close, ProtocolViolation

INPUT_SERVER = [("target", "<u4"), ("ack", "<u4"), ("seq", "<u2")]
HEAD_SERVER = [
    ("tick", "<u4"),
    ("ack_seq", "<u2"),
    ("slack", "i1"),
    ("flags", "u1"),
    ("baseline_age", "u1"),
    ("snapshot_ticks", "u1"),
]
"""The server's fields of an input row and of a snapshot's head; the game's come after them."""

_HEADER_ROOM = 10


class InputFrame:
    """The frame around a plain input: one unfragmented, masked, binary frame of exactly `size`
    bytes that begins with `start`."""

    def __init__(self, message_size: int):
        if message_size >= 126:
            raise ValueError(f"an input of {message_size} bytes does not fit a short frame: 125 do")
        self.start = bytes([0x82, 0x80 | message_size])
        self.size = 2 + 4 + message_size

    def is_plain(self, data: bytes) -> bool:
        """Is this a whole number of plain input frames?"""
        size, start = self.size, self.start
        if len(data) == size:
            return data.startswith(start)
        return len(data) % size == 0 and all(
            data.startswith(start, at) for at in range(0, len(data), size)
        )

    def split(self, data: bytes) -> tuple[bytes, bytes]:
        """The plain input frames among other small whole messages, and all the rest.

        >>> inputs = InputFrame(20)
        >>> ping = bytes([0x82, 0x82]) + bytes(6)
        >>> move = inputs.start + bytes(inputs.size - 2)
        >>> inputs.split(ping + move + move[:5]) == (move, ping + move[:5])
        True
        """
        found: list[bytes] = []
        rest: list[bytes] = []
        at = 0
        while at + 2 <= len(data):
            # Anything but a whole, short, unfragmented, masked, binary frame ends the search.
            size = 6 + (data[at + 1] & 0x7F)
            if data[at] != 0x82 or not 0x80 <= data[at + 1] < 0xFE or at + size > len(data):
                break
            frame = data[at : at + size]
            (found if frame.startswith(self.start) else rest).append(frame)
            at += size
        return b"".join(found), b"".join(rest) + data[at:]


class Layout:
    """What the wire derives from a game.

    ``input_row``: one input as it stands in the message, the server's fields, then the game's;
    ``input_prefix``: what precedes it there; ``input_frame``: the frame around a plain one;
    ``head``: a snapshot's head, the server's fields and the player's own state; ``schema``:
    the checksum of the declaration.
    """

    def __init__(self, game: Game):
        """Raises ValueError if the game's COMMAND or SELF is too large for the wire."""
        self.game = game
        self.schema = game.checksum()
        self.input_row = np.dtype(INPUT_SERVER + game.COMMAND.descr)
        self.input_prefix = bytes([0x92, INPUT, 0xC4, self.input_row.itemsize])
        self.input_size = len(self.input_prefix) + self.input_row.itemsize
        self.input_frame = InputFrame(self.input_size)
        self.head = np.dtype([*HEAD_SERVER, ("self", game.SELF)])
        if self.head.itemsize >= 256:
            raise ValueError(f"SELF has {game.SELF.itemsize} bytes; a head of 255 must hold it")
        # 93 11  c4 <len> head  c6 <len u32> body: what precedes the body, with room before it
        # for the longest frame header, so that all heads of a tick are one array.
        self.snapshot_start = np.dtype(
            [
                ("frame", "u1", _HEADER_ROOM),
                ("array", "u1"),
                ("type", "u1"),
                ("bin8", "u1"),
                ("head_size", "u1"),
                ("head", self.head),
                ("bin32", "u1"),
                ("body_size", ">u4"),
            ]
        )
        outer, inner = self.snapshot_start.fields, self.head.fields
        assert outer is not None and inner is not None, "both have been declared with fields"
        self.self_at = outer["head"][1] + inner["self"][1]
        self._prefix = np.frombuffer(self.input_prefix, np.uint8)

    def unmask_inputs(self, raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Plain input frames, uint8[n, input_frame.size], as rows.

        Returns ``(rows: input_row[n], valid: bool[n])``; a row is valid if the
        message around it is an INPUT.
        """
        mask = raw[:, 2:6]
        size, prefix = self.input_size, self._prefix
        message = raw[:, 6:] ^ np.tile(mask, -(-size // 4))[:, :size]
        valid = (message[:, : len(prefix)] == prefix).all(axis=1)
        rows = np.ascontiguousarray(message[:, len(prefix) :]).view(self.input_row).ravel()
        return rows, valid

    def check_input(self, row: bytes) -> None:
        """Raises ProtocolViolation unless this is an input row of this game."""
        if len(row) != self.input_row.itemsize:
            raise ProtocolViolation(Close.MALFORMED, f"input of {len(row)} bytes")

    def starts(self, n: int) -> SnapshotStarts:
        """The starts of n snapshots, all zeros."""
        return SnapshotStarts(self, n)


layout_of = cache(Layout)
"""The layout of a game; the same one each time."""


class SnapshotStarts:
    """All that precedes the bodies of n snapshots: frame header, message start, head.

    `heads`: HEAD[n], zeros, to be filled in place before `seal`.
    """

    def __init__(self, layout: Layout, n: int):
        self._layout = layout
        self._rows = np.zeros(n, layout.snapshot_start)
        self._rows["array"], self._rows["type"] = 0x93, SNAPSHOT
        self._rows["bin8"], self._rows["head_size"] = 0xC4, layout.head.itemsize
        self._rows["bin32"] = 0xC6
        self.heads = self._rows["head"]

    def fill_self(self, own: np.ndarray) -> None:
        """Set the heads' `self` from SELF[n]: as bytes, a tenth of the time by fields."""
        at = self._layout.self_at
        raw = self._rows.view(np.uint8).reshape(len(own), self._rows.itemsize)
        raw[:, at : at + own.itemsize] = own.view(np.uint8).reshape(len(own), own.itemsize)

    def seal(self, body_sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The sizes of the bodies, int64[n], are known: all is in place then.

        Returns ``(begin: int64[n], size: int64[n])``, what to send before each body: bytes
        `begin` to ``begin + size`` of `raw`.
        """
        rows, size = self._rows, self._rows.itemsize
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
