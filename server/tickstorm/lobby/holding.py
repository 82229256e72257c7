"""Connections that another process can go on with: held by the keeper, given to another worker,
taken from one that died, and all of them left to the next one when this worker reloads.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from ..protocol.wire import Close, ProtocolViolation
from ..transport.connection import Connection
from .conversation import Conversation
from .machine import Machine

log = logging.getLogger("tickstorm.machine")

MOST_HOPS = 3
"""A connection that has been given on so often, because its room moves about, is to try again."""


class Holding:
    """What this worker has at the keeper; `machine` is None where there is no keeper."""

    def __init__(self, machine: Machine | None):
        self.machine = machine
        self._keys: dict[Connection, str] = {}

    def hold(self, conversation: Conversation, key: str = "") -> None:
        """From now on, this connection outlives this process."""
        connection = conversation.connection
        if self.machine is None or connection.closing is not None or connection.lost:
            return
        about = {**conversation.about(), **conversation.origin}
        held = self.machine.hold(connection, about, key or self._keys.get(connection, ""))
        if held:
            self._keys[connection] = held

    def let(self, connection: Connection) -> None:
        """It has ended, here at least."""
        key = self._keys.pop(connection, None)
        if key is not None and self.machine is not None:
            self.machine.let(key)

    def give(self, worker: int, conversation: Conversation) -> None:
        """Another worker has the room that HELLO names: it gets the connection, HELLO included."""
        connection = conversation.connection
        hops = conversation.hops + 1
        rest = None if self.machine is None or hops > MOST_HOPS else connection.release()
        if self.machine is None or rest is None:
            connection.close(Close.RESTART, "the room moves; try again")
            return
        tail, read = rest
        about = {"room": "", "session": "", **conversation.origin, "hops": hops}
        self.machine.give(worker, about, [tail, framed(conversation.hello) + read], connection.fd)
        connection.part()

    def take(
        self, conversation: Conversation, about: dict[str, Any], rest: list[bytes] | None
    ) -> None:
        """Go on with a connection that another process had."""
        connection = conversation.connection
        if about["session"]:
            try:
                conversation.go_on(about)
            except ProtocolViolation as violation:
                connection.close(violation.code, violation.reason)
        if about.get("key"):
            self.hold(conversation, about["key"])
        if rest is not None:
            connection.go_on(rest)

    def rests(self, conversations: Iterable[Conversation]) -> dict[str, list[bytes]]:
        """Let go of connections for another process; what is left of each, by key. Those that
        can't go are told to reconnect. `Connection.part` comes next."""
        rests: dict[str, list[bytes]] = {}
        for conversation in conversations:
            connection = conversation.connection
            key = self._keys.pop(connection, None)
            rest = connection.release() if key is not None else None
            if key is None or rest is None:
                connection.close(Close.RESTART, "the room moves")
                continue
            if conversation.hello:  # it was being acted on
                rest[1] = framed(conversation.hello) + rest[1]
            rests[key] = rest
        return rests


def framed(message: bytes) -> bytes:
    """A message as its client has sent it, or could have: with a mask of zeros.

    >>> framed(b"ab")
    b'\\x82\\x82\\x00\\x00\\x00\\x00ab'
    """
    size = len(message)
    if size < 126:
        head = bytes([0x82, 0x80 | size])
    elif size < 1 << 16:
        head = b"\x82\xfe" + size.to_bytes(2, "big")
    else:
        head = b"\x82\xff" + size.to_bytes(8, "big")
    return head + bytes(4) + message
