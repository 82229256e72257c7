"""Server-sent events for pages that only look: who plays where, the best, and what happens in a
room. API.md describes them.

Each is a *feed*: one source for all who listen, running while somebody does. What is new is
written once, kept for a while, and numbered, so that a page that comes back with `Last-Event-ID`
has missed nothing.
"""

from __future__ import annotations

import json
import logging
import os
import socket
from base64 import b64encode
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any

import gevent
from gevent.event import Event

from ..client.state import Ref, WireError, pack, unpack
from ..protocol import objects, wire
from ..transport.bridge import Bridge
from ..transport.held import EVENTS, Headers, Held, head, send_all, send_events

log = logging.getLogger("tickstorm.live")

LOOK_S = 1.0
"""How often a lobby's feed looks what is new."""

KEPT_EVENTS = 256
"""Of a room, for pages that come back."""

MOST_FEEDS = 256
"""Rooms that are looked on at once by pages."""

EVENT_BYTES = 16384
"""What an event may take; a larger one is left out."""

LINGER_S = 30.0
"""A source runs on for so long after the last page has gone: it may come back."""

OPEN_S = 5.0
"""Time for a room to let us look on."""


class Feed:
    """What all listeners of one source get."""

    def __init__(self, kept: int):
        self.name = os.urandom(4).hex()
        """Numbers of another feed's events mean nothing here."""
        self.newest = 0
        self.listeners: set[Event] = set()
        self.left_at = monotonic()
        self.over: bytes | None = None
        """The last event, once there is an end."""
        self._events: deque[bytes] = deque(maxlen=kept)

    def put(self, event: str, data: Any) -> None:
        text = json.dumps(data, default=_plain, separators=(",", ":"))
        if len(text) > EVENT_BYTES:
            return
        self.newest += 1
        name = f"event: {event}\n" if event else ""
        self._events.append(f"id: {self.name}.{self.newest}\n{name}data: {text}\n\n".encode())
        self._wake()

    def end(self, code: int, reason: str) -> None:
        told = json.dumps({"code": code, "reason": reason})
        self.over = f"event: close\ndata: {told}\n\n".encode()
        self._wake()

    def _wake(self) -> None:
        for wake in self.listeners:
            wake.set()

    def since(self, number: int) -> bytes:
        """All that is kept and newer."""
        missing = min(self.newest - number, len(self._events))
        return b"".join(list(self._events)[len(self._events) - missing :]) if missing else b""

    def number_of(self, last: str) -> int | None:
        """The number in a `Last-Event-ID`, if it is one of this feed."""
        name, _, number = last.partition(".")
        known = name == self.name and number.isascii() and number.isdecimal() and len(number) < 16
        return min(int(number), self.newest) if known else None

    def idle(self, now: float) -> bool:
        return not self.listeners and now - self.left_at > LINGER_S

    def held(self, last: str, everything: bool, headers: Headers, seconds: float) -> Held:
        """The answer to a page; `everything`: one that is new here gets what is kept, too."""
        known = self.number_of(last)
        number = known if known is not None else 0 if everything else self.newest

        def write(sock: socket.socket) -> None:
            nonlocal number
            wake, done = Event(), False

            def more() -> bytes | None:
                nonlocal number, done
                if done:
                    return None
                data, number = self.since(number), self.newest
                if self.over is not None:
                    done, data = True, data + self.over
                return data

            self.listeners.add(wake)
            try:
                send_all(sock, head([*EVENTS, *headers]) + b": hello\n\n", seconds)
                send_events(sock, wake, more, seconds)
            except OSError:
                pass  # it went, or takes nothing
            finally:
                self.listeners.discard(wake)
                self.left_at = monotonic()

        return Held(write)


class Lobby:
    """The feed of `/api/live`: events `rooms` and `leaders`, whenever they are others. `ask(path)`
    is what the API answers to GET there."""

    def __init__(self, ask: Callable[[str], dict[str, Any]]):
        self._ask = ask
        self._feed: Feed | None = None

    def feed(self) -> Feed:
        if self._feed is None:
            self._feed = Feed(2)
            self._look(self._feed, {})
            gevent.spawn(self._run, self._feed)
        return self._feed

    def _run(self, feed: Feed) -> None:
        told: dict[str, Any] = {}
        while not feed.idle(monotonic()):
            gevent.sleep(LOOK_S)
            self._look(feed, told)
        self._feed = None

    def _look(self, feed: Feed, told: dict[str, Any]) -> None:
        new = {"rooms": self._ask("/api/rooms"), "leaders": self._ask("/api/leaderboard")}
        if new != told and not any("error" in answer for answer in new.values()):
            told.update(new)
            for event, data in new.items():  # both, for both are kept for who comes next
                feed.put(event, data)


class Rooms:
    """The feeds of `/rooms/<id>/events`: what a room tells everyone who looks on, as a spectator
    of it hears it. `open(room)` is the way there."""

    def __init__(self, open: Callable[[str], Bridge]):
        self._open = open
        self._feeds: dict[str, Feed] = {}

    def feed(self, room: str) -> Feed | None:
        """That of a room, which has ended if the room lets nobody look on; None if there are too
        many."""
        feed = self._feeds.get(room)
        if feed is None:
            if len(self._feeds) >= MOST_FEEDS:
                return None
            feed = self._feeds[room] = Feed(KEPT_EVENTS)
            opened = Event()
            gevent.spawn(self._run, room, feed, opened)
            opened.wait(OPEN_S)
        return feed

    def _run(self, room: str, feed: Feed, opened: Event) -> None:
        bridge, wake = self._open(room), Event()
        bridge.watch(wake.set)
        ping = pack([wire.PING, 0])
        try:
            options = {"spectate": True}
            bridge.say([pack([wire.HELLO, wire.PROTOCOL_VERSION, 0, "", None, options])])
            while not feed.idle(monotonic()):
                for message in bridge.hear():
                    _publish(feed, message)
                    opened.set()
                if bridge.ended is not None:
                    feed.end(*bridge.ended)
                    break
                if not wake.wait(LINGER_S / 2):
                    bridge.say([ping])  # or it would be taken for gone
                wake.clear()
        except OSError:
            feed.end(int(wire.Close.NO_ROOM), "the room has gone")
        finally:
            opened.set()
            self._feeds.pop(room, None)
            bridge.unwatch()
            bridge.close()


def _publish(feed: Feed, data: bytes) -> None:
    """A message that a spectator got, if it is public and of an event."""
    kind = data[1] if len(data) > 1 else -1
    if kind not in (objects.EVENT, wire.FEED, wire.CHATTED):
        return
    try:
        message = unpack(data)
    except WireError:
        log.exception("a message of our own can't be read")
        return
    if kind == objects.EVENT:
        feed.put("", {"name": message[1], "args": message[2]})
    elif kind == wire.FEED:
        for name, *args in message[1]:
            feed.put("", {"name": name, "args": args})
    else:
        feed.put("", {"name": "chat", "args": message[1:]})


def _plain(value: Any) -> Any:
    if isinstance(value, Ref):
        return {"entity": value.id}
    if isinstance(value, bytes):
        return {"bytes": b64encode(value).decode()}
    return str(value)
