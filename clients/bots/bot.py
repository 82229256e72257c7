"""One bot: it connects, plays, and comes back when it was dropped."""

from __future__ import annotations

import random
import time
from typing import NamedTuple
from urllib.parse import urljoin

from gevent.event import Event
from websockets.uri import WebSocketURI, parse_uri

from . import wire
from .brain import TEMPERAMENTS, bot_name
from .connection import Connection, Dropped
from .lobby import Lobby, Place
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
    if code in (1000, 4006, 4010, 4011):  # done, taken over, sent away, refused
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
    (why it is not connected), ``session`` (the present or last one), ``token`` (with which it
    can come back; None before WELCOME and after LEAVE), ``returns`` (it will, so at the end it
    doesn't say LEAVE).
    """

    session_type = Session

    def __init__(
        self,
        uri: WebSocketURI | None,
        number: int,
        seed: int,
        tally: Tally,
        lobby: Lobby | None = None,
    ) -> None:
        """With a `lobby`, it says where to play, and `uri` is not needed."""
        self.temperament = TEMPERAMENTS[number % len(TEMPERAMENTS)]
        self.name = bot_name(self.temperament, number // len(TEMPERAMENTS))
        self.connected = self.ever_connected = False
        self.trouble = "has not tried yet"
        self.session: Session | None = None
        self._uri, self._tally, self._lobby = uri, tally, lobby
        self._place: Place | None = None  # as the lobby said
        self._ticket: str | None = None  # that was shown last
        self._avoid: list[str] = []  # nodes that did not answer
        self._left: tuple[float, int] | None = None  # when it was dropped, and its score
        self._seed = f"{seed}/{number}"
        self._random = random.Random(self._seed)
        self.token: str | None = None
        self.returns = False

    def run(self, stopping: Event) -> None:
        """Play until `stopping` is set, or the server wants no more of this bot."""
        attempts = 0
        while not stopping.is_set():
            try:
                self._play(stopping)
                return
            except Dropped as drop:
                self.trouble = str(drop)
                next_ = self._follow() or after(drop.code, drop.status)
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
                self.token = None
                self._place = None
            attempts = 1 if was_connected else attempts + 1
            delay_s = min(MAX_DELAY_S, next_.delay_s * 2 ** min(attempts - 1, 8))
            stopping.wait(delay_s * self._random.uniform(0.5, 1.5))

    def _follow(self) -> Next | None:
        """If the server said where the room goes on, go there at once."""
        session, self.session = self.session, None
        if session is None:
            return None
        if session.own is not None and session.snapshot_at is not None:
            self._left = session.snapshot_at, session.own["score"]
        if session.sent_to is None:
            return None
        here = self._place.url if self._place else f"ws://{self._uri.host}:{self._uri.port}/"
        # Who was sent on before being let in still has the ticket.
        ticket = self._ticket if session.welcome is None else None
        self._place = Place(urljoin(here, session.sent_to), ticket, "")
        return Next(True, delay_s=0.025)

    def _find(self) -> tuple[WebSocketURI, str | None]:
        """Where to connect, and the ticket for it. Raises `Dropped`."""
        if self._place is None and self._lobby is not None:
            if self.token is not None:
                try:
                    self._place = self._lobby.join(token=self.token, avoid=self._avoid)
                except Dropped as drop:
                    if drop.status not in (403, 404):
                        raise
                    self.token = None
            if self._place is None:
                self._place = self._lobby.join(quick=True, avoid=self._avoid)
        if self._place is None:
            return self._uri, None
        return parse_uri(self._place.url), self._place.ticket

    def _connect(self) -> tuple[Connection, str | None]:
        uri, ticket = self._find()
        place, self._place = self._place, None  # a place is good for one attempt
        try:
            connection = Connection(uri)
        except Dropped:
            self._avoid = [place.node] if place and place.node else []
            raise
        self._avoid, self._place = [], place and Place(place.url, None, place.node)
        return connection, ticket

    def _play(self, stopping: Event) -> None:
        """One connection, until it ends (`Dropped`) or `stopping` is set."""
        connection, ticket = self._connect()
        self._ticket = ticket
        now = time.monotonic()
        session = self.session = self.session_type(
            self.name, self.temperament, self._seed, self.token, self._tally, now
        )
        try:
            connection.send(session.hello(ticket))
            while not stopping.is_set():
                before, received_before = now, connection.bytes_received
                for data in connection.receive(session.wake()):
                    session.receive(data, time.monotonic())
                if session.welcome is not None and not self.connected:
                    self._welcomed(session)
                if self._left is not None and session.own is not None:
                    self._returned(session, *self._left)
                now = time.monotonic()
                if session.overdue(now):
                    raise Dropped("the server is silent")
                messages = session.transmit(now)
                if messages:
                    connection.send(*messages)
                self._tally.played_s += now - before
                self._tally.bytes_received += connection.bytes_received - received_before
        finally:
            leaves = stopping.is_set() and not self.returns
            connection.close(wire.encode_leave() if leaves else None)
            if leaves:
                self.token = None

    def _returned(self, session: Session, left_at: float, score: int) -> None:
        """The first snapshot in the same ship: how long was it, and is the score there?"""
        self._left = None
        self._tally.pause(session.snapshot_at - left_at)
        # A death in the meantime takes 30 %.
        self._tally.scores_lost += session.own["score"] < int(score * 0.7)

    def _welcomed(self, session: Session) -> None:
        self.token = session.token
        self._tally.reconnects += self.ever_connected
        if not session.welcome["resumed"]:
            self._left = None
        self.connected = self.ever_connected = True
