"""A running object room: a simulation, the sessions in it, and what goes between them.

`ObjectRoom.run` is the table of contents. It is called by the process' one loop (`loop.py`),
which reads and writes for all rooms at once.

A rule that raises ends at most its own room: the room goes back to its last checkpoint and
through what has happened since, in memory, and leaves out the event that did it. If that can't
be, because the step or a timer raises again, the room closes with 1011 and its journal is set
aside.
"""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Callable, Iterable
from time import perf_counter
from typing import TYPE_CHECKING, Any
from zlib import crc32

from ..games.room import Game
from ..games.simulation import (
    CALL,
    CLOSE,
    DROP,
    JOIN,
    LEAVE,
    MOVE,
    RESULT,
    RETURN,
    SHOWING,
    SILENT,
    TIME,
    RuleError,
    Simulation,
)
from ..protocol import objects
from ..protocol.objects import MOVE as MOVE_MESSAGE
from ..protocol.wire import LEAVE as LEAVE_MESSAGE
from ..protocol.wire import PING, SYNC, Close, ProtocolViolation, notice, pong, welcome
from ..replication.patches import pack
from .census import YIELD_S, Census
from .shedding import Shedding

if TYPE_CHECKING:
    from ..transport.connection import Connection
    from .loop import Loop

log = logging.getLogger("tickstorm.room")

AHEAD = 16
"""Ticks that an input may be early. What is earlier counts for the next tick."""

EVENTS = 4096
"""Events that may wait for the next tick of a room; what is beyond is dropped, counted."""

FAILURES = 2
"""A player whose message makes the same rule raise so often is let go."""

CHECKPOINT_TICKS = 1000
"""So many ticks are run again to come back, unless a checkpoint takes very long."""

CHECKPOINT_REST = 50
"""A checkpoint stops everything, so the next one waits for so many times as long as it took."""

BEHIND_S = 0.05
"""A room without a tick looks again so soon whether who read slowly can be told all."""

STALLED_AFTER_S = 2.0

_NOTHING_CAME: list[list[Any]] = []


class ObjectSession:
    """One client's stay. `player` is its id in the simulation, "" for a spectator."""

    __slots__ = (
        "room", "id", "name", "player", "bot", "spectator", "connection", "away_since", "told",
        "fresh", "greet", "ahead", "newest", "last", "raw", "values", "slack", "budget", "buckets",
        "failures", "heard_at", "pinged", "seated", "address",
    )  # fmt: skip

    def __init__(self, room: ObjectRoom, id: str, name: str, player: str, bot: bool):
        self.room = room
        self.id = id
        self.name = name
        self.player = player
        self.spectator = not player
        self.address = ""  # whose seat it is; empty for nobody's (see `census.py`)
        self.bot = bot
        self.connection: Connection | None = None
        self.away_since = 0.0
        self.told: dict[Any, dict[int, bytes]] = {}
        self.fresh = True  # the next thing it gets is a STATE
        self.greet: bool | None = None  # WELCOME is due, resumed or not
        self.seated = self.spectator  # its JOIN has been taken
        self.ahead: dict[int, list[Any]] = {}  # inputs by tick
        self.newest = 0
        self.last: list[Any] | None = None
        self.raw = b""  # the newest input as it came, and its values, checked
        self.values: list[Any] = []
        self.slack: int | None = None
        self.budget = 0
        self.buckets: dict[str, list[float]] = {}  # of messages: [credit, when]
        self.failures: dict[str, int] = {}
        self.heard_at = 0.0
        self.pinged = False

    def take(self, payload: bytes) -> None:
        """One message from the client; what is wrong with it ends the connection."""
        connection = self.connection
        if connection is None:
            return  # it has left, or lost its place to a newer connection
        try:
            self.room.take(self, payload)
        except ProtocolViolation as violation:
            connection.close(violation.code, violation.reason)
        except Exception:  # one client's trouble is not to become another's
            log.exception("room %s: a message of %s", self.room.id, self.name)
            connection.close(Close.INTERNAL, "the server failed")


class ObjectRoom:
    """`simulation`: new or restored; `sessions`: ``[[id, player, name, bot], …]`` of players that
    are in it already; `host` is told what the room can't do by itself."""

    kind = "objects"

    def __init__(
        self,
        id: str,
        game: Game,
        simulation: Simulation,
        loop: Loop,
        capacity: int,
        sessions: Iterable[list[Any]] = (),
        grace_s: float | None = None,
    ):
        self.id = id
        self.game = game
        self.simulation = simulation
        self.loop = loop
        self.capacity = capacity
        self.hz = game.room.tick_hz
        self.grace_s = game.room.grace_s if grace_s is None else grace_s
        self.sessions: dict[str, ObjectSession] = {}
        self.by_player: dict[str, ObjectSession] = {}
        self.live: list[ObjectSession] = []  # with a connection
        self._held = False
        self.running = True
        self.shedding = Shedding(max(1, self.hz))
        self.journal = None  # all rooms of objects share one: `records/ledger.py`
        self.over: str | None = None  # why it has ended, if it has by itself
        self.broken = False  # its rule failed for good
        self.fatal: list[list[Any]] | None = None  # at these events
        self.fault = ""  # in a development run: why its time stands still
        self.failures = 0
        self.dropped = 0
        self.took_s = 0.0  # of the last second's ticks, smoothed
        self.last_s = 0.0  # of the last one
        self.taken_messages = 0
        self.census = Census()
        self.token_for: Callable[[ObjectSession], str] = lambda session: ""
        self.version = ""
        self._events: list[list[Any]] = []
        self._base = simulation.dump()
        self._since: list[list[list[Any]]] = []
        self._began = loop.clock() - simulation.time
        self._shown: tuple[int, bytes, dict[str, bytes]] = (0, b"", {})
        self._behind = False  # somebody has yet to be told all
        self.checkpoint_due = 0.0
        for row in sessions:
            session = self._session(*row)
            session.seated = True
            session.away_since = loop.clock()
            player = simulation.players.get(session.player)
            if player is None or player.connected:
                self._events.append([DROP, session.player])
        # Whoever had left, or what was awaited of a process that died.
        self._events += [[LEAVE, id] for id in simulation.players if id not in self.by_player]
        self._events += [
            [RESULT, fetch, None, "the server has restarted"] for fetch in simulation.fetching
        ]

    def _session(self, id: str, player: str, name: str, bot: bool) -> ObjectSession:
        session = ObjectSession(self, id, name, player, bot)
        self.sessions[id] = session
        if player:
            self.by_player[player] = session
        return session

    # ------------------------------------------------------------------ as others see it

    @property
    def schema(self) -> int:
        return self.game.checksum

    @property
    def ticks(self) -> int:
        """The number of the last tick."""
        return self.simulation.tick

    @property
    def busy(self) -> float:
        """The share of one core that its ticks take."""
        return self.took_s * self.hz

    @property
    def skipped_ticks(self) -> int:
        return self.loop.skipped

    @property
    def held(self) -> bool:
        """Does it stand still, because it is handed over?"""
        return self._held

    @held.setter
    def held(self, held: bool) -> None:
        self._held = held
        if not held:  # what came meanwhile waits
            self.loop.wake(self)

    def alive(self) -> bool:
        """Has the loop turned lately?"""
        return self.loop.alive(STALLED_AFTER_S)

    def summary(self) -> dict[str, Any]:
        """For `/healthz`."""
        return {
            "ticks": self.simulation.tick,
            "entities": len(self.simulation.replica.entities),
            "failures": self.failures,
            "dropped": self.dropped,
            "connected": len(self.live),
            "away": self.away,
        }

    def totals(self) -> dict[str, int]:
        """What it has counted since it was opened; each number only grows."""
        return {
            "messages_received": self.taken_messages,
            "inputs_dropped": self.dropped,
            "rules_failed": self.failures,
        }

    # ------------------------------------------------------------------ coming and going

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

    def busy_with(self) -> str:
        """Why nobody can be let in just now, or nothing."""
        return ""

    def _gone(self) -> list[ObjectSession]:
        """Players who have been away for so long that others may have their seats; who has been
        away the longest first."""
        until = self.loop.clock() - YIELD_S
        gone = [s for s in self.by_player.values() if s.connection is None]
        return sorted((s for s in gone if s.away_since <= until), key=lambda s: s.away_since)

    @property
    def yielding(self) -> int:
        if self.simulation.locked or len(self.sessions) == len(self.live):
            return 0
        return len(self._gone())

    def longest_away(self) -> ObjectSession | None:
        """Who has to go first, should a seat be needed."""
        return next(iter(self._gone()), None)

    def make_room(self, seats: int = 1) -> bool:
        """See to it that so many seats are free, if those who are away the longest can give
        them; otherwise nobody has to go."""
        if self.simulation.locked:
            return self.players + seats <= self.capacity  # nobody comes in, so nobody has to go
        wanted = self.players + seats - self.capacity
        gone = self._gone() if wanted > 0 else []
        if wanted > len(gone):
            return False
        for session in gone[: max(0, wanted)]:
            self.leave(session)
        return True

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
        self._put([JOIN, session.player, name, session.id, bot])
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
            self._detach(session)
            if session.player:
                self._put([DROP, session.player])
        if session.player:
            self._put([RETURN, session.player])
        self._attach(session, connection, resumed=True)

    def _attach(self, session: ObjectSession, connection: Connection, resumed: bool) -> None:
        session.connection = connection
        session.fresh, session.greet = True, resumed
        session.told = {}
        session.ahead.clear()
        session.newest, session.last, session.slack = 0, None, None
        session.budget = self.loop.budget
        session.heard_at, session.pinged = self.loop.clock(), False
        connection.deadline = None
        self.live.append(session)
        self.loop.pool.add(connection, session, self.hz > 0)
        self.loop.wake(self)

    def _detach(self, session: ObjectSession) -> None:
        connection, session.connection = session.connection, None
        if connection is not None:
            self.loop.pool.remove(connection)
            self.live.remove(session)
            session.away_since = self.loop.clock()

    def disconnect(self, session: ObjectSession, connection: Connection) -> None:
        """The socket is gone; the player may return within the grace period."""
        self.loop.pool.remove(connection)
        if session.connection is not connection:
            return
        self._detach(session)
        if session.spectator or not session.seated or self.grace_s == 0:
            self.leave(session)
        else:
            self._put([DROP, session.player])

    def leave(self, session: ObjectSession) -> None:
        """The session ends for good."""
        if self.sessions.pop(session.id, None) is None:
            return
        self.census.rise(session)
        self._detach(session)
        if session.player:
            del self.by_player[session.player]
            self._put([LEAVE, session.player])

    def _put(self, event: list[Any]) -> None:
        self._events.append(event)
        self.loop.wake(self)

    # ------------------------------------------------------------------ what clients say

    def take(self, session: ObjectSession, payload: bytes) -> None:
        """One message. Raises ProtocolViolation."""
        self.taken_messages += 1
        session.budget -= 1
        if session.budget < 0:
            raise ProtocolViolation(Close.FLOOD, "too many messages")
        kind = payload[1] if len(payload) > 1 and 0x90 <= payload[0] <= 0x9F else -1
        try:
            if kind == MOVE_MESSAGE:
                self._move(session, *objects.decode_move(payload))
            elif kind == objects.CALL:
                self._call(session, len(payload), *objects.decode_call(payload))
            else:
                self._other(session, kind, payload)
        except ValueError as error:
            raise ProtocolViolation(Close.MALFORMED, str(error)[:100]) from None

    def _move(self, session: ObjectSession, target: int, raw: bytes) -> None:
        if raw == session.raw:
            values = session.values
        else:
            arguments = self.game.input
            if arguments is None or session.spectator:
                raise ProtocolViolation(Close.MALFORMED, "nobody takes inputs from you here")
            values = objects.decode_values(raw)
            arguments.convert(values)
            session.raw, session.values = raw, values
        coming = self.simulation.tick + 1
        slack = target - coming
        if target > 0:
            session.slack = slack if -32 <= slack <= 127 else objects.slack_byte(slack)
        when = target if 0 <= slack < AHEAD else coming
        if when >= session.newest:  # the latest wins
            session.newest = when
            if session.ahead or values is not session.last:  # else nothing will change
                session.ahead[when] = values

    def _call(
        self, session: ObjectSession, size: int, name: str, values: list[Any], request: int | None
    ) -> None:
        found = self.game.messages.get(name)
        if found is None:
            raise ValueError(f"there is no message {name[:40]!r}")
        if session.spectator:
            if request is not None:
                self._answer(session, request, b"", "spectators only watch")
            return
        if size > found.most_bytes:
            raise ValueError(f"{name}: {size} bytes, {found.most_bytes} are allowed")
        found.arguments.convert(values)
        now = self.loop.clock()
        bucket = session.buckets.get(name)
        if bucket is None:
            bucket = session.buckets[name] = [2 * found.per_second, now]
        bucket[0] = min(2 * found.per_second, bucket[0] + (now - bucket[1]) * found.per_second)
        bucket[1] = now
        if bucket[0] < 1 or len(self._events) >= EVENTS:
            self.dropped += 1
            if request is not None:
                self._answer(session, request, b"", "not so fast")
            return
        bucket[0] -= 1
        self._put([CALL, session.player, name, values, request])

    def _other(self, session: ObjectSession, kind: int, payload: bytes) -> None:
        connection = session.connection
        if kind == PING:
            try:
                time = objects.msgspec.msgpack.decode(payload, type=tuple[int, float | int])[1]
            except objects.msgspec.ValidationError as error:
                raise ValueError(f"ping: {error}") from None
            if connection is not None:
                self.loop.push(connection, pong(time, self.simulation.tick))
        elif kind == SYNC:
            session.budget -= 10
            session.fresh = True
            self.loop.wake(self)
        elif kind == LEAVE_MESSAGE:
            self.leave(session)
            raise ProtocolViolation(Close.DONE, "left")
        else:
            raise ValueError("no message of an object room")

    def _answer(
        self, session: ObjectSession, request: int, value: bytes, refused: str | None
    ) -> None:
        if session.connection is not None:
            self.loop.push(session.connection, objects.answer(request, value, refused))

    def fetched(self, fetch: int, result: Any, error: str | None) -> None:
        """What a rule wanted from outside is there."""
        try:
            pack(result)
        except (TypeError, ValueError, OverflowError) as wrong:
            result, error = None, f"the result is no plain data: {wrong}"
        self._put([RESULT, fetch, result, error])

    # ------------------------------------------------------------------ one turn

    def run(self, out: list[tuple[Connection, bytes]]) -> None:
        """One tick, or one turn of a room without: events in, frames out (into `out`)."""
        if self.held or not self.running:
            return
        if not self.live and not self._events and self.hz:
            return  # nobody is here: its time stands still
        began = perf_counter()
        if self.fault:
            self._events.clear()  # its time stands still until the author has saved a cure
            self._shown = self._show()
            self._publish(out)
        elif not self.hz and not self._events and self.now < self.simulation.next_due:
            self._shown = self._show()  # nothing is new, but for who was behind or has just come
            self._publish(out)
        elif self._advance(self._collect()):
            self.loop.record(self, crc32(self._shown[1]))
            self._publish(out)
            self._checkpoint_if_due()
        simulation = self.simulation
        if simulation.kicked:
            for player, reason in simulation.kicked:
                self._kick(player, reason)
            simulation.kicked.clear()
        if simulation.closing and self.running:
            self.over = simulation.closing
            self.loop.ended(self)
        self.last_s = perf_counter() - began
        self.took_s += (self.last_s - self.took_s) * 0.05

    def _checkpoint_if_due(self) -> None:
        ticks, now = len(self._since), self.loop.clock()
        if ticks >= CHECKPOINT_TICKS and now >= self.checkpoint_due:
            self.loop.checkpoint(self)

    def _collect(self) -> list[list[Any]]:
        """The events of this turn: what was put in, then each player's input if it is another."""
        events, self._events = self._events, []
        if self.hz == 0:
            events.insert(0, [TIME, self.now])
            return events
        coming = self.simulation.tick + 1
        for session in self.live:
            ahead = session.ahead
            if ahead:
                values = ahead.pop(coming, None)
                if len(ahead) > AHEAD:
                    ahead.clear()
                if values is not None and values is not session.last and values != session.last:
                    session.last = values
                    events.append([MOVE, session.player, values])
        return events

    @property
    def now(self) -> float:
        """Room time of a room without ticks, seconds."""
        return round(self.loop.clock() - self._began, 6)

    @property
    def next_due(self) -> float:
        """The clock's time at which a room without ticks wants its turn."""
        due = self.simulation.next_due + self._began
        return min(due, self.loop.clock() + BEHIND_S) if self._behind else due

    def _advance(self, events: list[list[Any]]) -> bool:
        """Run the rules; False if the room has come to its end over it."""
        careful = again = False
        for _ in range(4 + 2 * len(events)):
            try:
                self.simulation.advance(events, careful=careful)
                self._shown = self._show()
            except RuleError as error:
                self._report(error, events)
                last = error.event is None and (careful if error.what is SHOWING else again)
                if last or not self._go_back():
                    self._break(error, events)
                    return False
                if error.event is not None:
                    events = self._without(events, error)
                elif error.what is SHOWING:
                    careful = True  # to find out after which event
                else:
                    again = True
                continue
            self._since.append(events or _NOTHING_CAME)
            return True
        self._break(RuleError("one event after the other", None), events)
        return False

    def _show(self) -> tuple[int, bytes, dict[str, bytes]]:
        """What is new for all, as `Replica.patch` says it, and for each player beyond that.
        Raises RuleError."""
        simulation = self.simulation
        secrets: dict[str, bytes] = {}
        try:
            parts, body = simulation.replica.patch()
            if self.game.has_hidden:
                for session in self.live:
                    player = simulation.players.get(session.player)
                    connection = session.connection
                    if player is None or connection is None or connection.tail:
                        continue
                    if session.fresh:
                        session.told = {}
                    secrets[session.player] = simulation.replica.hidden(player, session.told)
        except Exception as error:
            raise RuleError(SHOWING, None) from error
        return parts, body, secrets

    def _report(self, error: RuleError, events: list[list[Any]]) -> None:
        self.failures += 1
        text = "".join(traceback.format_exception(error.__cause__ or error)).rstrip()
        event = "" if error.event is None else f", event {events[error.event]!r:.200}"
        log.error(
            "room %s (%s), tick %d: %s raised%s\n%s",
            self.id, self.game.name, self.simulation.tick, error.what, event, text,
        )  # fmt: skip
        self.loop.tell_fault(self, f"{error.what} raised at tick {self.simulation.tick}\n{text}")

    def _without(self, events: list[list[Any]], error: RuleError) -> list[list[Any]]:
        """The events of this turn without the one whose rule raised, or with its hook left out."""
        assert error.event is not None
        event = events[error.event]
        kind, rest = event[0], events[:]
        del rest[error.event]
        if kind == CALL:
            session = self.by_player.get(event[1])
            if session is not None:
                if event[4] is not None:
                    self._answer(session, event[4], b"", "the rule failed")
                count = session.failures[event[2]] = session.failures.get(event[2], 0) + 1
                if count >= FAILURES and session.connection is not None:
                    session.connection.close(Close.INTERNAL, f"{event[2]} failed again")
        elif kind == JOIN:
            session = self.by_player.pop(event[1], None)
            if session is not None:
                self.sessions.pop(session.id, None)
                self.census.rise(session)
                if session.connection is not None:
                    session.connection.close(Close.INTERNAL, "the room failed to let you in")
                self._detach(session)
        elif kind in (LEAVE, DROP, RETURN, RESULT):
            rest.insert(error.event, [*event, SILENT])
        return rest

    def _go_back(self) -> bool:
        """To the state before this tick: the last checkpoint, and what has come since."""
        try:
            simulation = Simulation.load(self.game, self._base)
            for events in self._since:
                simulation.advance(events)
                simulation.replica.patch()
        except Exception:
            log.exception("room %s can't go back to its last checkpoint", self.id)
            return False
        simulation.forget_output()
        self.simulation = simulation
        for session in self.live:
            session.fresh, session.told = True, {}
        return True

    def _break(self, error: RuleError, events: list[list[Any]]) -> None:
        if self.loop.dev and self._go_back():
            text = "".join(traceback.format_exception(error.__cause__ or error)).rstrip()
            self.fault = f"{error.what} raised; the room waits for a cure\n{text}"
            log.error("room %s waits for a cure", self.id)
            self.loop.wake(self)
            return
        log.error("room %s closes: %s raised again at the same point", self.id, error.what)
        self.broken, self.fatal = True, events
        self.over = "the room failed"
        self.loop.ended(self)

    # ------------------------------------------------------------------ out

    def _publish(self, out: list[tuple[Connection, bytes]]) -> None:
        simulation = self.simulation
        parts, body, secrets = self._shown
        self._behind = False
        if simulation.wanted:
            for fetch, function, values in simulation.wanted:
                self.loop.fetch(self, fetch, function, values)
            simulation.wanted.clear()
        if simulation.refused:
            self._refuse_joins()
        said = self._said() if simulation.outbox or simulation.answers else None
        hidden = self.game.has_hidden
        tick = pack(simulation.tick)
        shared = objects.patch(tick, None, parts, body, b"") if parts else b""
        by_slack: dict[int, bytes] = {}
        full = b""
        plain = said is None and not hidden
        for session in self.live:
            connection = session.connection
            if connection is None or connection.closing is not None:
                continue
            if plain and not session.fresh and not connection.tail and not connection.extra:
                slack = session.slack
                if slack is None:
                    data = shared
                else:
                    session.slack = None
                    data = by_slack.get(slack, b"")
                    if not data:
                        data = by_slack[slack] = objects.patch(tick, slack, parts, body, b"")
                if data:
                    out.append((connection, data))
                continue
            events = b"" if said is None else said(session)
            if connection.tail:  # it reads slowly: it gets all of it later, and misses no event
                session.fresh = self._behind = True
                if events:
                    connection.push(events)
                continue
            if session.fresh:
                player = simulation.players.get(session.player)
                if player is None and session.player:
                    continue  # its JOIN has yet to be taken
                if not full:
                    full = simulation.replica.full()
                data = self._greeting(session) + self._state(session, secrets, full)
                if self.fault:
                    data += objects.fault(self.fault)
            elif hidden and session.player:
                secret = secrets.get(session.player, b"")
                if not parts and not secret and session.slack is None:
                    data = b""
                else:
                    data = objects.patch(tick, session.slack, parts, body, secret)
            elif session.slack is None:
                data = shared
            else:
                data = objects.patch(tick, session.slack, parts, body, b"")
            session.slack = None
            if connection.extra:
                data = b"".join(connection.extra) + data
                connection.extra.clear()
            if events:
                data += events
            if data:
                out.append((connection, data))

    def _state(self, session: ObjectSession, secrets: dict[str, bytes], full: bytes) -> bytes:
        session.fresh = False
        secret = secrets.get(session.player, b"")
        return objects.state(self.simulation.tick, session.slack, full, secret)

    def _greeting(self, session: ObjectSession) -> bytes:
        """WELCOME, if this connection hasn't had one."""
        if session.greet is None:
            return b""
        resumed, session.greet = session.greet, None
        session.seated = True
        player = self.simulation.players.get(session.player)
        return welcome(
            {
                "version": 1,
                "schema": self.game.checksum,
                "kind": "objects",
                "game": self.game.name,
                "declaration": self.game.declaration(),
                "room": self.id,
                "player": None if player is None else player._id,
                "id": session.player,
                "name": session.name,
                "tick": self.simulation.tick,
                "tick_hz": self.hz,
                "token": self.token_for(session),
                "resumed": resumed,
                "grace_s": self.grace_s,
                "spectator": session.spectator,
                "settings": self.simulation.settings,
                "server": self.version,
            }
        )

    def _said(self) -> Callable[[ObjectSession], bytes]:
        """What rules have sent, as a function of who gets it."""
        simulation = self.simulation
        sent = [(row, objects.event(row.name, row.packed)) for row in simulation.outbox]
        simulation.outbox = []
        answers: dict[str, bytes] = {}
        for answer in simulation.answers:
            if answer.request is not None:
                data = objects.answer(answer.request, answer.value, answer.refused)
                answers[answer.player] = answers.get(answer.player, b"") + data
        simulation.answers = []
        everyone = b"".join(data for _, data in sent)
        plain = all(row.to is None and row.but is None for row, _ in sent)

        def said(session: ObjectSession) -> bytes:
            player = session.player
            data = everyone if plain else b"".join(
                data for row, data in sent
                if (row.to is None or player in row.to) and (row.but is None or row.but != player)
            )  # fmt: skip
            return data + answers.get(player, b"") if answers else data

        return said

    def _refuse_joins(self) -> None:
        for player, reason in self.simulation.refused.items():
            session = self.by_player.pop(player, None)
            if session is None:
                continue
            self.sessions.pop(session.id, None)
            self.census.rise(session)
            if session.connection is not None:
                session.connection.close(Close.REFUSED, reason)
            self._detach(session)
        self.simulation.refused.clear()

    def _kick(self, player: str, reason: str) -> None:
        session = self.by_player.get(player)
        if session is not None:
            connection = session.connection
            self.leave(session)
            if connection is not None:
                connection.close(Close.KICKED, reason or "kicked")

    # ------------------------------------------------------------------ upkeep, state, the end

    def look_after(self, now: float) -> None:
        """Once a second: who is gone for good."""
        for session in [s for s in self.sessions.values() if s.connection is None]:
            if now - session.away_since >= self.grace_s:
                self.leave(session)

    def checkpoint(self) -> bytes:
        """The state between two ticks; from now on the room comes back to here. Raises
        TypeError, which names what can't be kept."""
        began = perf_counter()
        self._base = self.simulation.dump()
        self._since = []
        self.checkpoint_due = self.loop.clock() + CHECKPOINT_REST * (perf_counter() - began)
        return self._base

    def remembered(self) -> tuple[bytes, list[list[list[Any]]]]:
        """The last checkpoint, and the events of each tick since."""
        return self._base, self._since

    def take_events(self, events: list[list[Any]]) -> None:
        """What had come, and had no turn yet, where the room was before."""
        known = self.game.messages
        events = [event for event in events if event[0] != CALL or event[2] in known]
        self._events = [event for event in events if event[0] != MOVE] + self._events

    def finish(self) -> None:
        """After `close`: it has no more turns."""
        self.loop.remove(self)
        for session in self.sessions.values():
            self.census.rise(session)

    def playing(self) -> list[list[Any]]:
        """The players' sessions, as `__init__` takes them."""
        return [[s.id, s.player, s.name, s.bot] for s in self.by_player.values()]

    def dump(self) -> dict[str, Any]:
        """What the room needs to go on elsewhere, as msgpack can carry it."""
        return {
            "simulation": self.simulation.dump(),
            "sessions": self.playing(),
            "events": self._events,
        }

    def close(self, code: Close, reason: str, url: str | None = None) -> None:
        """Tell everyone to go, to `url` if there is one."""
        if self.running and not self.broken and code not in (Close.RESTART, Close.GOING_AWAY):
            self._end()
        self.running = False
        for session in list(self.live):
            connection = session.connection
            if connection is not None:
                self.loop.pool.remove(connection)
                connection.push(notice(code, reason, url))
                connection.close(code, reason)

    def _end(self) -> None:
        """It is over for good: the rules have the last word."""
        try:
            self.simulation.advance([[CLOSE]], stepping=False)
            self._shown = self._show()
        except RuleError as error:
            self._report(error, [[CLOSE]])
            return
        self._since.append([[CLOSE]])
        self.loop.record(self, crc32(self._shown[1]))
        out: list[tuple[Connection, bytes]] = []
        self._publish(out)
        self.loop.pool.send(out)
