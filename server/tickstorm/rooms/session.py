"""One client's stay in a room, and what a connection may ask of a room of any kind.

A `Session` outlives its connection by the grace period: whoever comes back with its token
is the same session, in the same place, with the same score.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..protocol.wire import NO_SLOT
from ..transport.connection import Connection

CHAT_BURST = 4
"""A player may say so many things at once, then one every CHAT_SECONDS; the rest is dropped."""


class Host(Protocol):
    """A running room, as those who talk with its clients know it."""

    id: str
    schema: int  # checksum of what clients must know of its game
    announce: Callable[[], None]

    @property
    def ticks(self) -> int:
        """The number of the last tick."""

    def receive(self, session: Session, kind: int, fields: list) -> None:
        """A message that is for the room: not HELLO, PING or LEAVE. Raises ProtocolViolation."""

    def welcome(self, session: Session) -> dict[str, Any]:
        """What WELCOME says of the room and of this client's place in it."""

    def leave(self, session: Session) -> None:
        """The session ends."""

    def disconnect(self, session: Session, connection: Connection) -> None:
        """The socket is gone."""

    def count_message(self, seat: int, cost: int = 1) -> None:
        """Charge a client for a message that isn't an input."""


@dataclass(eq=False)
class Session:
    """One client's stay in `room`, at row `seat` of its table, with the player in `slot`
    (NO_SLOT for a spectator). `connection` is None while the client is away."""

    room: Host
    seat: int
    slot: int
    name: str
    connection: Connection | None
    bot: bool = False
    id: str = field(default_factory=lambda: os.urandom(8).hex())
    away_since: float = 0.0
    address: str = ""  # whose seat it is; empty for nobody's (see `census.py`)
    chat_credit: float = CHAT_BURST
    chat_at: float = 0.0
    buckets: dict[str, list[float]] = field(default_factory=dict)  # of messages: [credit, when]
    failures: dict[str, int] = field(default_factory=dict)  # of messages

    @property
    def spectator(self) -> bool:
        return self.slot == NO_SLOT
