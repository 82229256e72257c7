"""A running object room: a simulation, the sessions in it, and what goes between them.

`ObjectRoom.run` is the table of contents. It is called by the process' one loop (`loop.py`),
which reads and writes for all rooms at once. Its parts:

* `object_seats.py`: who is in the room; `object_session.py`: one client's stay
* `object_intake.py`: what clients say, checked and put in line
* `object_rules.py`: the simulation run and watched, and brought back when a rule raises
* `object_outgoing.py`: what goes out after a turn
"""

from __future__ import annotations

from collections.abc import Iterable
from select import epoll
from time import perf_counter
from typing import TYPE_CHECKING, Any
from zlib import crc32

from ..games.room import Game
from ..games.simulation import CALL, CLOSE, LOCK, MOVE, RESULT, SET, TIME, RuleError, Simulation
from ..protocol import objects
from ..protocol.wire import Close, notice
from ..replication.patches import pack
from . import object_intake
from .object_intake import AHEAD
from .object_outgoing import ObjectOutgoing
from .object_rules import ObjectRules
from .object_seats import ObjectSeats
from .object_session import ObjectSession
from .shedding import Shedding

if TYPE_CHECKING:
    from ..transport.connection import Connection
    from .loop import Loop

CHECKPOINT_TICKS = 1000
"""So many ticks are run again to come back, unless a checkpoint takes very long."""

CHECKPOINT_REST = 50
"""A checkpoint stops everything, so the next one waits for so many times as long as it took."""

BEHIND_S = 0.05
"""A room without a tick looks again so soon whether who read slowly can be told all."""

STALLED_AFTER_S = 2.0


class ObjectRoom(ObjectSeats):
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
        super().__init__(id, game, simulation, loop, capacity, sessions, grace_s)
        self.rules = ObjectRules(self)
        self.outgoing = ObjectOutgoing(self)
        self._held = False
        self.running = True
        self.shedding = Shedding(max(1, self.hz))
        self.journal = None  # all rooms of objects share one: `records/ledger.py`
        self.over: str | None = None  # why it has ended, if it has by itself
        self.broken = False  # its rule failed for good
        self.fatal: list[list[Any]] | None = None  # at these events
        self.took_s = 0.0  # of the last second's ticks, smoothed
        self.last_s = 0.0  # of the last one
        self._began = loop.clock() - simulation.time
        self.checkpoint_due = 0.0
        self.waiting += [  # it was awaited by a process that died
            [RESULT, fetch, None, "the server has restarted"] for fetch in simulation.fetching
        ]

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
    def sockets(self) -> epoll:
        return self.loop.sockets_of(self)

    def wake(self) -> None:
        self.loop.wake(self)

    @property
    def held(self) -> bool:
        """Does it stand still, because it is handed over?"""
        return self._held

    @held.setter
    def held(self, held: bool) -> None:
        self._held = held
        if not held:  # what came meanwhile waits
            self.wake()

    def alive(self) -> bool:
        """Has the loop turned lately?"""
        return self.loop.alive(STALLED_AFTER_S)

    def summary(self) -> dict[str, Any]:
        """For `/healthz`."""
        return {
            "ticks": self.simulation.tick,
            "entities": len(self.simulation.replica.entities),
            "failures": self.rules.failures,
            "dropped": self.dropped,
            "connected": len(self.live),
            "away": self.away,
        }

    def totals(self) -> dict[str, int]:
        """What it has counted since it was opened; each number only grows."""
        return {
            "messages_received": self.heard,
            "inputs_dropped": self.dropped,
            "rules_failed": self.rules.failures,
        }

    # ------------------------------------------------------------------ what comes in

    def take(self, session: ObjectSession, payload: bytes) -> None:
        """One message of a client; what is wrong with it ends the connection."""
        object_intake.hear([(session, payload)])

    def take_events(self, events: list[list[Any]]) -> None:
        """What had come, and had no turn yet, where the room was before."""
        known = self.game.messages
        events = [event for event in events if event[0] != CALL or event[2] in known]
        self.waiting = [event for event in events if event[0] != MOVE] + self.waiting

    def fetched(self, fetch: int, result: Any, error: str | None) -> None:
        """What a rule wanted from outside is there."""
        try:
            pack(result)
        except (TypeError, ValueError, OverflowError) as wrong:
            result, error = None, f"the result is no plain data: {wrong}"
        self.put([RESULT, fetch, result, error])

    # ------------------------------------------------------------------ of whoever runs the server

    @property
    def locked(self) -> bool:
        """Is nobody new let in?"""
        return self.simulation.locked

    def lock(self, locked: bool) -> None:
        """From its next turn on nobody new is let in, or everybody again."""
        self.put([LOCK, locked])

    def kick(self, session: ObjectSession, reason: str) -> None:
        """The session ends, whether its client is here or away."""
        connection = session.connection
        self.leave(session)
        if connection is not None:
            connection.close(Close.KICKED, reason or "kicked")

    def say(self, name: str | None, text: str) -> None:
        """A line for everyone here; `name` None is the server itself."""
        line = notice(0, text if name is None else f"{name}: {text}")
        for session in self.live:
            if session.connection is not None:
                self.loop.push(session.connection, line)

    def set(self, entity: int, name: str, value: Any) -> None:
        """A setting (`entity` 0), or an attribute of an entity, from the next turn on. It is an
        event as any other, so a replay has it too. Raises ValueError for what is not there, or
        can't be."""
        here = self.simulation.replica.entities.get(entity)
        if here is None or name not in here.__dict__:
            raise ValueError(f"entity {entity} has no attribute {name!r}")
        if any(field.name == name and field.fixed for field in here.kind.fields):
            raise ValueError(f"{name} is fixed once its entity was spawned")
        if entity == 0 and name in self.game.settings:
            value = self.game.settings[name].check(value)
        try:
            pack(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"{name}: {error}") from None
        self.put([SET, entity, name, value])

    # ------------------------------------------------------------------ one turn

    def run(self, out: list[tuple[Connection, bytes]]) -> None:
        """One tick, or one turn of a room without: events in, frames out (into `out`)."""
        if self.held or not self.running:
            return
        if not self.live and not self.waiting and self.hz:
            return  # nobody is here: its time stands still
        began = perf_counter()
        rules = self.rules
        if rules.fault:
            self.waiting.clear()  # its time stands still until the author has saved a cure
            rules.show()
            self._publish(out)
        elif not self.hz and not self.waiting and self.now < self.simulation.next_due:
            rules.show()  # nothing is new, but for who was behind or has just come
            self._publish(out)
        elif rules.advance(self._collect()):
            self.loop.record(self, crc32(rules.shown[1]))
            self._publish(out)
            self._checkpoint_if_due()
        elif rules.fault:
            self.wake()
        else:
            self.broken, self.over = True, "the room failed"
            self.fatal = rules.fatal
            self.loop.ended(self)
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

    def _publish(self, out: list[tuple[Connection, bytes]]) -> None:
        simulation = self.simulation
        if simulation.wanted:
            for fetch, function, values in simulation.wanted:
                self.loop.fetch(self, fetch, function, values)
            simulation.wanted.clear()
        if simulation.refused:
            for player, reason in simulation.refused.items():
                self.expel(player, Close.REFUSED, reason)
            simulation.refused.clear()
        self.outgoing.publish(self.rules.shown, self.rules.fault, out)

    def _kick(self, player: str, reason: str) -> None:
        session = self.by_player.get(player)
        if session is not None:
            self.kick(session, reason)

    def _checkpoint_if_due(self) -> None:
        ticks, now = len(self.rules.since), self.loop.clock()
        if ticks >= CHECKPOINT_TICKS and now >= self.checkpoint_due:
            self.loop.checkpoint(self)

    def _collect(self) -> list[list[Any]]:
        """The events of this turn: what was put in, then each player's input if it is another."""
        events, self.waiting = self.waiting, []
        if self.hz == 0:
            events.insert(0, [TIME, self.now])
            return events
        if self.steering:
            coming = self.simulation.tick + 1
            steering, self.steering = self.steering, []
            for session in steering:
                ahead = session.ahead
                values = ahead.pop(coming, None)
                if len(ahead) > AHEAD:
                    ahead.clear()
                if ahead:
                    self.steering.append(session)
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
        return min(due, self.loop.clock() + BEHIND_S) if self.outgoing.behind else due

    # ------------------------------------------------------------------ upkeep, state, the end

    def renew(self, game: Game, capacity: int) -> None:
        """Go on with other rules, from the next turn on, with what fits of the state. Clients that
        know another declaration are sent away, to come back to this one. Raises whatever keeps the
        rules from taking over; the room is as it was then."""
        simulation = type(self.simulation).load(game, self.simulation.dump())
        alike = (game.checksum, game.room.tick_hz, game.settings.keys()) == (
            self.game.checksum, self.hz, self.game.settings.keys()
        )  # fmt: skip
        self.loop.remove(self)
        self.game, self.simulation, self.capacity = game, simulation, capacity
        self.hz, self.grace_s = game.room.tick_hz, game.room.grace_s
        self.rules.fault = ""
        self._began = self.loop.clock() - simulation.time
        events, self.waiting = self.waiting, []
        self.take_events(events)
        for session in self.sessions.values():
            session.ahead.clear()
            session.raw, session.values, session.last = objects.NO_VALUES, [], None
            session.fresh, session.told = True, {}
            session.failures.clear()
        self.checkpoint()
        self.loop.add(self)
        for session in self.live:  # it may take its turn with others from now on
            if session.connection is not None:
                self.loop.pool.remove(session.connection)
                self.loop.pool.add(session.connection, session, self.sockets)
        if not alike:
            for session in list(self.live):
                if session.connection is not None:
                    session.connection.close(Close.RESTART, "the rules have changed")

    def checkpoint(self) -> bytes:
        """The state between two ticks; from now on the room comes back to here. Raises
        TypeError, which names what can't be kept."""
        began = perf_counter()
        data = self.rules.checkpoint()
        self.checkpoint_due = self.loop.clock() + CHECKPOINT_REST * (perf_counter() - began)
        return data

    def remembered(self) -> tuple[bytes, list[list[list[Any]]]]:
        """The last checkpoint, and the events of each tick since."""
        return self.rules.base, self.rules.since

    def finish(self) -> None:
        """After `close`: it has no more turns."""
        self.loop.remove(self)
        for session in self.sessions.values():
            self.census.rise(session)

    def dump(self) -> dict[str, Any]:
        """What the room needs to go on elsewhere, as msgpack can carry it."""
        return {
            "simulation": self.simulation.dump(),
            "sessions": self.playing(),
            "events": self.waiting,
        }

    def stop(self) -> None:
        """It has no more turns, and reads and writes nothing; nobody is told."""
        self.running = False
        for session in self.live:
            if session.connection is not None:
                self.loop.pool.remove(session.connection)

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
            self.rules.show()
        except RuleError as error:
            self.rules.report(error, [[CLOSE]])
            return
        self.rules.since.append([[CLOSE]])
        self.loop.record(self, crc32(self.rules.shown[1]))
        out: list[tuple[Connection, bytes]] = []
        self._publish(out)
        self.loop.pool.send(out)
