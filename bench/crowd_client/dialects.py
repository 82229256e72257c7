"""What a client says to which server: the way in, the way out, and how a snapshot shows.

`snapshot_byte` of a payload has `snapshot_value` if it is a snapshot, and at `head_at` its
head (`frames.HEAD`) begins; None if it has none. `input_prefix`: what an input's payload
begins with, before the row (`Layout.input_row`).
"""

from __future__ import annotations

import json
import struct

from clients.bots import wire

from ..arena import LAYOUT
from .frames import BINARY, CLOSE, frame, upgrade_request


class Tickstorm:
    """PROTOCOL.md, as this project's server and all peers that share its wire speak it."""

    input_prefix = LAYOUT.input_prefix
    snapshot_byte, snapshot_value = 1, wire.SNAPSHOT
    head_at = 4

    def open(self, client: int) -> bytes:
        return upgrade_request("/ws", wire.SUBPROTOCOL)

    def opened(self, client: int, header: bytes, body: bytes) -> bytes | str:
        """What to send after the upgrade; a str says why there will be none."""
        if b" 101 " not in header[:16]:
            return header.split(b"\r\n", 1)[0].decode(errors="replace")
        hello = wire.encode_hello(f"crowd {client}", bot=True)
        return frame(BINARY, hello)

    def message(self, payload: bytes) -> bytes | None:
        return None

    def leave(self) -> bytes:
        return frame(BINARY, wire.encode_leave()) + frame(CLOSE, struct.pack(">H", 1000))


class Colyseus:
    """Colyseus 0.18: a seat by HTTP, then a WebSocket to the room."""

    join_room, room_data_bytes, room_state, room_state_patch = 10, 17, 14, 15
    input_prefix = bytes([room_data_bytes, 1, 0, 0])
    snapshot_byte, snapshot_value = 0, room_state_patch
    head_at = None  # own position is somewhere inside the patch

    def __init__(self):
        self.seats: dict[int, str] = {}

    def open(self, client: int) -> bytes:
        if client in self.seats:
            return upgrade_request(self.seats.pop(client))
        return (
            b"POST /matchmake/joinOrCreate/arena HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            b"Content-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
        )

    def opened(self, client: int, header: bytes, body: bytes) -> bytes | str | None:
        """None: the seat is reserved, connect once more."""
        if b" 101 " in header[:16]:
            return b""
        if b" 200 " not in header[:16]:
            return header.split(b"\r\n", 1)[0].decode(errors="replace")
        seat = json.loads(body)
        self.seats[client] = f"/{seat['processId']}/{seat['roomId']}?sessionId={seat['sessionId']}"
        return None

    def message(self, payload: bytes) -> bytes | None:
        return frame(BINARY, bytes([self.join_room])) if payload[0] == self.join_room else None

    def leave(self) -> bytes:
        return frame(BINARY, bytes([12]))


DIALECTS = {"tickstorm": Tickstorm, "colyseus": Colyseus}
