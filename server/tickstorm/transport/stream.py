"""One client's stay over plain HTTP: what was sent to it, numbered, and what it has said.

Requests end, and are lost, where a WebSocket goes on. So each message to the client has a number,
and stays here until the client has surely got it: whoever asks again names the last number that
came. What the client says is numbered as well, and is taken once, however often it is sent.

On the wire, in both directions, a batch is records one after the other: a length of four bytes
(big-endian) and a message of so many bytes.
"""

from __future__ import annotations

import os
from base64 import urlsafe_b64encode
from collections import deque
from collections.abc import Iterable
from struct import Struct
from time import monotonic

from gevent.event import Event

from .bridge import Bridge

KEPT_BYTES = 1 << 17
KEPT_MESSAGES = 1024
"""What is kept of the newest messages, for a client that asks for them again."""

LINGER_S = 5.0
"""A client that has no request open for so long is lost."""

SILENT_S = 50.0
"""The same for one that listens, and has said nothing for so long."""

_LENGTH = Struct(">I")


class Gone(Exception):
    """What the client asks for is not kept any more: it has to come anew."""


class Stream:
    """`bridge`: to the room; `site`: what the client's address counts as; `prefix`: of its name."""

    def __init__(self, bridge: Bridge, site: str, prefix: str = ""):
        self.id = prefix + urlsafe_b64encode(os.urandom(18)).decode()
        self.bridge = bridge
        self.site = site
        self.way = ""
        """How its client listens: "sse" or "polling"; empty before it does."""
        self.newest = 0  # number of the last message to the client
        self.taken = 0  # number of the last batch of the client
        self.taking = False  # a batch is on its way to the room
        self.heard_at = self.free_since = monotonic()
        self.wake = Event()  # the listener's, when there is something for it
        self._kept: deque[bytes] = deque()  # messages up to the newest
        self._kept_bytes = 0
        self._listener: object | None = None

    # ------------------------------------------------------------------ to the client

    def listen(self, way: str) -> tuple[object, Event]:
        """A request begins to listen; one that did before is told to end. Returns its mark, and
        what is set when there is something for it."""
        mark = self._listener = object()
        self.way = way
        self.wake.set()
        self.wake = Event()
        self.bridge.unwatch()
        self.bridge.watch(self.wake.set)
        return mark, self.wake

    def listens(self, mark: object) -> bool:
        """Is this request still the one that listens?"""
        return self._listener is mark

    def stop_listening(self, mark: object) -> None:
        if self._listener is mark:
            self._listener = None
            self.bridge.unwatch()
            self.free_since = monotonic()

    def after(self, number: int) -> list[bytes]:
        """All messages that come after the one with this number, without waiting. Raises Gone."""
        for message in self.bridge.hear():
            self.newest += 1
            self._kept.append(message)
            self._kept_bytes += len(message)
        missing = self.newest - number
        if not 0 <= missing <= len(self._kept):
            raise Gone
        return list(self._kept)[len(self._kept) - missing :] if missing else []

    def shrink(self, number: int) -> None:
        """Messages up to this number were written: of them only the newest are kept."""
        written = len(self._kept) - (self.newest - number)
        while written > 0 and (self._kept_bytes > KEPT_BYTES or len(self._kept) > KEPT_MESSAGES):
            self._kept_bytes -= len(self._kept.popleft())
            written -= 1

    # ------------------------------------------------------------------ from the client

    def take(self, number: int, messages: Iterable[bytes]) -> bool:
        """A batch; False if it isn't its turn. One that was taken already is taken for it.

        Raises OSError if the connection has ended.
        """
        self.heard_at = monotonic()
        if number == self.taken and number:
            return True
        if number != self.taken + 1 or self.taking:
            return False
        self.taking = True
        try:
            self.bridge.say(messages)
        finally:
            self.taking = False
        self.taken = number
        return True

    def lost(self, now: float) -> bool:
        """Has its client gone?"""
        if self._listener is None:
            return now - self.free_since > LINGER_S
        return now - self.heard_at > SILENT_S


def records(data: bytes) -> list[bytes]:
    """The messages of a batch. Raises ValueError.

    >>> records(batch([b"one", b"two"]))
    [b'one', b'two']
    """
    messages, at = [], 0
    while at < len(data):
        if at + _LENGTH.size > len(data):
            raise ValueError("a length is cut short")
        size = _LENGTH.unpack_from(data, at)[0]
        at += _LENGTH.size
        if not 0 < size <= len(data) - at:
            raise ValueError(f"a message of {size} bytes, {len(data) - at} are there")
        messages.append(data[at : at + size])
        at += size
    return messages


def batch(messages: Iterable[bytes]) -> bytes:
    """
    >>> batch([b"a", b"bc"]).hex(" ")
    '00 00 00 01 61 00 00 00 02 62 63'
    """
    return b"".join([_LENGTH.pack(len(message)) + message for message in messages])
