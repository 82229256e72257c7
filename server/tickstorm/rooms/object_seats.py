"""Who is in an object room: players, spectators, and those who dropped and may yet return."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from select import epoll
from typing import TYPE_CHECKING, Any

from ..games.room import Game
from ..games.simulation import DROP, JOIN, LEAVE, RETURN, Simulation
from ..protocol import objects
from ..protocol.wire import Close, ProtocolViolation
from .census import YIELD_S, Census
from .object_session import ObjectSession

if TYPE_CHECKING:
    from ..transport.connection import Connection
    from .loop import Loop


class ObjectSeats:
    """The part of a room that knows its sessions. `sessions`: ``[[id, player, name, bot], …]`` of
    players that are in it already, by `simulation`."""

    def __init__(
        self,
        id: str,
        game: Game,
        simulation: Simulation,
        loop: Loop,
        capacity: int,
        sessions: Iterable[list[Any]],
        grace_s: float | None,
    ):
        self.id = id
        self.game = game
        self.loop = loop
        self.capacity = capacity
        self.hz = game.room.tick_hz
        self.grace_s = game.room.grace_s if grace_s is None else grace_s
        self.simulation = simulation
        self.census = Census()
        self.heard = self.dropped = 0  # messages
        self.sessions: dict[str, ObjectSession] = {}
        self.by_player: dict[str, ObjectSession] = {}
        self.live: list[ObjectSession] = []  # with a connection
        self.version = ""
        self.token_for: Callable[[ObjectSession], str] = lambda session: ""
        self.waiting: list[list[Any]] = []  # events, until the room's next turn
        self.steering: list[ObjectSession] = []  # those with inputs ahead
        for row in sessions:
            session = self._session(*row)
            session.seated = True
            session.away_since = loop.clock()
            player = simulation.players.get(session.player)
            if player is None or player.connected:
                self.waiting.append([DROP, session.player])
        # Whoever had left.
        self.waiting += [[LEAVE, id] for id in simulation.players if id not in self.by_player]

    def take(self, session: ObjectSession, payload: bytes) -> None:
        """One message of a client."""
        raise NotImplementedError

    @property
    def sockets(self) -> epoll:
        """The set in which its sockets are."""
        raise NotImplementedError

    def wake(self) -> None:
        """There is something to do."""
        raise NotImplementedError

    def put(self, event: list[Any]) -> None:
        """What the rules hear of with the room's next turn."""
        self.waiting.append(event)
        self.wake()

    def _session(self, id: str, player: str, name: str, bot: bool) -> ObjectSession:
        session = ObjectSession(self, id, name, player, bot)
        self.sessions[id] = session
        if player:
            self.by_player[player] = session
        return session

    def playing(self) -> list[list[Any]]:
        """The players' sessions, as `__init__` takes them."""
        return [[s.id, s.player, s.name, s.bot] for s in self.by_player.values()]

    # ------------------------------------------------------------------ how many

    @property
    def players(self) -> int:
        return len(self.by_player)

    @property
    def taken(self) -> int:
        """Seats that nobody new can have: all of them while the room is locked."""
        return self.capacity if self.simulation.locked else self.players

    @property
    def spectators(self) -> int:
        return len(self.sessions) - len(self.by_player)

    @property
    def humans(self) -> int:
        return sum(not session.bot for session in self.sessions.values())

    @property
    def away(self) -> int:
        return len(self.sessions) - len(self.live)

    @property
    def weight(self) -> float:
        """What its share of the process goes by: players who are here; a bot is a quarter."""
        here = [session for session in self.live if not session.spectator]
        return 1.0 + sum(0.25 if session.bot else 1.0 for session in here)

    def _gone(self) -> list[ObjectSession]:
        """Players who have been away for so long that others may have their seats; who has been
        away the longest first."""
        until = self.loop.clock() - YIELD_S
        gone = [s for s in self.by_player.values() if s.connection is None]
        return sorted((s for s in gone if s.away_since <= until), key=lambda s: s.away_since)

    yielding = 0
    """Seats of those away that newcomers can have: none. A game of a few is nothing without the
    one who was in a tunnel, and `grace_s` is its author's word."""

    def longest_away(self) -> ObjectSession | None:
        """Who has to go first, should the whole server be full."""
        return next(iter(self._gone()), None)

    def make_room(self, seats: int = 1) -> bool:
        """Are so many seats free? Those of players who are away are not."""
        return self.players + seats <= self.capacity

    def busy_with(self) -> str:
        """Why nobody can be let in just now, or nothing."""
        return ""

    # ------------------------------------------------------------------ coming and going

    def join(
        self,
        name: str,
        bot: bool,
        connection: Connection,
        player: str = "",
        address: str = "",
        expected: bool = False,
    ) -> ObjectSession:
        """A new player, seated with the next tick. Raises ProtocolViolation if there is no place.

        `player`: who it is, if the game or the server knows; else an id is made.
        """
        known = self.by_player.get(player) if player else None
        if known is not None:  # the same person again: the newest socket wins
            self._resume(known, connection)
            return known
        if not self.make_room():
            raise ProtocolViolation(Close.FULL, "the room is full; try again later")
        if self.simulation.locked:
            raise ProtocolViolation(Close.FULL, "the room is locked")
        session = self._session(os.urandom(8).hex(), player or os.urandom(6).hex(), name, bot)
        self.census.sit(session, address)
        self.put([JOIN, session.player, name, session.id, bot])
        self._attach(session, connection, resumed=False)
        return session

    def spectate(self, name: str, connection: Connection, address: str = "") -> ObjectSession:
        if self.spectators >= self.game.room.spectators:
            raise ProtocolViolation(Close.FULL, "no more spectators; try again later")
        session = self._session(os.urandom(8).hex(), "", name, False)
        self.census.sit(session, address)
        self._attach(session, connection, resumed=False)
        return session

    def resume(
        self, session_id: str, connection: Connection, address: str = ""
    ) -> ObjectSession | None:
        """The session that comes back, or None if it is gone. The newest socket wins."""
        session = self.sessions.get(session_id)
        if session is not None:
            self.census.sit(session, address)
            self._resume(session, connection)
        return session

    def _resume(self, session: ObjectSession, connection: Connection) -> None:
        if session.connection is not None:
            session.connection.close(Close.TAKEN_OVER, "taken over by a newer connection")
            self.detach(session)
            if session.player:
                self.put([DROP, session.player])
        if session.player:
            self.put([RETURN, session.player])
        self._attach(session, connection, resumed=True)

    def carry_on(
        self, session_id: str, connection: Connection, address: str
    ) -> ObjectSession | None:
        """The same client on the same socket, after its room's process was another: as if nothing
        had been, but for a whole state. None if the session is gone."""
        session = self.sessions.get(session_id)
        if session is None:
            return None
        self.census.sit(session, address)
        dropped = [DROP, session.player]
        if dropped in self.waiting:
            self.waiting.remove(dropped)
        elif session.player:
            self.put([RETURN, session.player])
        self._attach(session, connection, resumed=None)
        return session

    def _attach(self, session: ObjectSession, connection: Connection, resumed: bool | None) -> None:
        """`resumed`: as WELCOME says it; None for one who needs none."""
        session.connection = connection
        session.fresh, session.greet = True, resumed
        session.told = {}
        session.newest, session.last, session.slack = 0, None, None
        session.budget = self.loop.budget
        session.heard_at, session.pinged = self.loop.clock(), False
        connection.deadline = None
        self.live.append(session)
        self.loop.pool.add(connection, session, self.sockets)
        self.wake()

    def detach(self, session: ObjectSession) -> None:
        connection, session.connection = session.connection, None
        if connection is not None:
            self.loop.pool.remove(connection)
            self.live.remove(session)
            session.ahead.clear()
            session.away_since = self.loop.clock()

    def disconnect(self, session: ObjectSession, connection: Connection) -> None:
        """The socket is gone; the player may return within the grace period."""
        self.loop.pool.remove(connection)
        if session.connection is not connection:
            return
        self.detach(session)
        if session.spectator or not session.seated or self.grace_s == 0:
            self.leave(session)
        else:
            self.put([DROP, session.player])

    def leave(self, session: ObjectSession) -> None:
        """The session ends for good."""
        if self.sessions.pop(session.id, None) is None:
            return
        self.census.rise(session)
        self.detach(session)
        if session.player:
            del self.by_player[session.player]
            self.put([LEAVE, session.player])

    def expel(self, player: str, code: Close, reason: str) -> None:
        """The rules didn't take the player in: the session ends, and no rule hears of that."""
        session = self.by_player.pop(player, None)
        if session is None:
            return
        self.sessions.pop(session.id, None)
        self.census.rise(session)
        if session.connection is not None:
            session.connection.close(code, reason)
        self.detach(session)

    def look_after(self, now: float) -> None:
        """Once a second: who is gone for good."""
        for session in [s for s in self.sessions.values() if s.connection is None]:
            if now - session.away_since >= self.grace_s:
                self.leave(session)

    def answer(
        self, session: ObjectSession, request: int, value: bytes, refused: str | None
    ) -> None:
        """Answer a request beside patches; `value` is packed already."""
        if session.connection is not None:
            self.loop.push(session.connection, objects.answer(request, value, refused))
