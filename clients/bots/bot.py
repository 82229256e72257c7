"""One bot: it connects, plays, and comes back when it was dropped."""

from __future__ import annotations

import random
import time
from typing import NamedTuple

from gevent.event import Event
from websockets.uri import WebSocketURI

from . import wire
from .brain import TEMPERAMENTS, bot_name
from .connection import Connection, Dropped
from .session import Session
from .tally import Tally


class Next(NamedTuple):
    """What to do after a connection ended."""

    again: bool
    delay_s: float = 0.25  # before the next attempt, doubled with each further one
    error: bool = False  # something that should not happen
    keep_token: bool = True


def after(code: int | None, status: int | None = None) -> Next:
    """What PROTOCOL.md tells a client to do after this close code or HTTP status.

    >>> after(1012)
    Next(again=True, delay_s=0.25, error=False, keep_token=True)
    """
    if status is not None:
        # The server is full, busy or just starting; or it refuses this client as such.
        return (
            Next(True, delay_s=2.0) if status >= 500 or status == 429 else Next(False, error=True)
        )
    if code in (1000, 4006):  # done, taken over
        return Next(False)
    if code in (None, 1001, 1005, 1012, 4005, 4008):
        return Next(True)
    if code == 1013:  # full
        return Next(True, delay_s=2.0)
    if code == 4007:  # not a token of this server
        return Next(True, keep_token=False)
    if code in (4001, 4002, 4009):  # other version, other schema, no such room
        return Next(False, error=True)
    return Next(True, delay_s=2.0, error=True)


MAX_DELAY_S = 8.0


class Bot:
    """Bot `number` of a run. Seed and number decide its name, temperament and luck.

    Attributes: ``connected`` (now, after WELCOME), ``ever_connected``, ``trouble``
    (why it is not connected), ``session`` (the present or last one).
    """

    session_type = Session

    def __init__(self, uri: WebSocketURI, number: int, seed: int, tally: Tally) -> None:
        self.temperament = TEMPERAMENTS[number % len(TEMPERAMENTS)]
        self.name = bot_name(self.temperament, number // len(TEMPERAMENTS))
        self.connected = self.ever_connected = False
        self.trouble = "has not tried yet"
        self.session: Session | None = None
        self._uri, self._tally = uri, tally
        self._seed = f"{seed}/{number}"
        self._random = random.Random(self._seed)
        self._token: str | None = None

    def run(self, stopping: Event) -> None:
        """Play until `stopping` is set, or the server wants no more of this bot."""
        attempts = 0
        while not stopping.is_set():
            try:
                self._play(stopping)
                return
            except Dropped as drop:
                self.trouble = str(drop)
                next_ = after(drop.code, drop.status)
            except wire.WireError as error:
                self.trouble = f"bad message: {error}"
                next_ = Next(True, delay_s=2.0, error=True)
            finally:
                was_connected, self.connected = self.connected, False
            if next_.error:
                self._tally.errors[self.trouble] += 1
            if not next_.again:
                return
            if not next_.keep_token:
                self._token = None
            attempts = 1 if was_connected else attempts + 1
            delay_s = min(MAX_DELAY_S, next_.delay_s * 2 ** min(attempts - 1, 8))
            stopping.wait(delay_s * self._random.uniform(0.5, 1.5))

    def _play(self, stopping: Event) -> None:
        """One connection, until it ends (`Dropped`) or `stopping` is set."""
        connection = Connection(self._uri)
        now = time.monotonic()
        session = self.session = self.session_type(
            self.name, self.temperament, self._seed, self._token, self._tally, now
        )
        try:
            connection.send(session.hello())
            while not stopping.is_set():
                before, received_before = now, connection.bytes_received
                for data in connection.receive(session.wake()):
                    session.receive(data, time.monotonic())
                if session.welcome is not None and not self.connected:
                    self._welcomed(session)
                now = time.monotonic()
                if session.overdue(now):
                    raise Dropped("the server is silent")
                messages = session.transmit(now)
                if messages:
                    connection.send(*messages)
                self._tally.played_s += now - before
                self._tally.bytes_received += connection.bytes_received - received_before
        finally:
            connection.close(wire.encode_leave() if stopping.is_set() else None)

    def _welcomed(self, session: Session) -> None:
        self._token = session.token
        self._tally.reconnects += self.ever_connected
        self.connected = self.ever_connected = True
