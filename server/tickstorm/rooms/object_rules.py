"""The rules of an object room, run and watched: a rule that raises ends at most its own room.

The room goes back to its last checkpoint and through what has happened since, in memory, and
leaves out the event that did it. If that can't be, because the step or a timer raises again, it
has come to its end; in a development run it waits for a cure instead.
"""

from __future__ import annotations

import logging
import traceback
from typing import Any

from ..games.simulation import (
    CALL,
    DROP,
    JOIN,
    LEAVE,
    RESULT,
    RETURN,
    SHOWING,
    SILENT,
    RuleError,
)
from ..protocol.wire import Close
from .object_seats import ObjectSeats

log = logging.getLogger("tickstorm.room")

FAILURES = 2
"""A player whose message makes the same rule raise so often is let go."""

_NOTHING_CAME: list[list[Any]] = []

Shown = tuple[int, bytes, dict[str, bytes]]
"""What is new for all, as `Replica.patch` says it, and for each player beyond that."""


class ObjectRules:
    """Runs the simulation of a room, and puts another in its place when it goes back.

    `shown`: what the last turn has to show; `fault`: in a development run, why its time stands
    still; `fatal`: the events at which the rules failed for good.
    """

    def __init__(self, room: ObjectSeats):
        self.shown: Shown = (0, b"", {})
        self.failures = 0
        self.fault = ""
        self.fatal: list[list[Any]] | None = None
        self.base = room.simulation.dump()
        self.since: list[list[list[Any]]] = []
        self._room = room

    def checkpoint(self) -> bytes:
        """The state between two ticks; from now on the room comes back to here. Raises
        TypeError, which names what can't be kept."""
        self.base = self._room.simulation.dump()
        self.since = []
        return self.base

    def advance(self, events: list[list[Any]]) -> bool:
        """Run the rules on what came; False if they can't go on: the room is at its end then,
        unless there is a `fault`."""
        careful = again = False
        for _ in range(4 + 2 * len(events)):
            try:
                self._room.simulation.advance(events, careful=careful)
                self.show()
            except RuleError as error:
                self.report(error, events)
                last = error.event is None and (careful if error.what is SHOWING else again)
                if last or not self.go_back():
                    self._break(error, events)
                    return False
                if error.event is not None:
                    events = self._without(events, error)
                elif error.what is SHOWING:
                    careful = True  # to find out after which event
                else:
                    again = True
                continue
            self.since.append(events or _NOTHING_CAME)
            return True
        self._break(RuleError("one event after the other", None), events)
        return False

    def show(self) -> None:
        """Find out what is new, into `shown`. Raises RuleError."""
        room, simulation = self._room, self._room.simulation
        secrets: dict[str, bytes] = {}
        try:
            parts, body = simulation.replica.patch()
            if room.game.has_hidden:
                for session in room.live:
                    player = simulation.players.get(session.player)
                    connection = session.connection
                    if player is None or connection is None or connection.tail:
                        continue
                    if session.fresh:
                        session.told = {}
                    secrets[session.player] = simulation.replica.hidden(player, session.told)
        except Exception as error:
            raise RuleError(SHOWING, None) from error
        self.shown = parts, body, secrets

    def report(self, error: RuleError, events: list[list[Any]]) -> None:
        """Say once what a rule raised, where, and over what."""
        room, tick = self._room, self._room.simulation.tick
        self.failures += 1
        text = _traceback(error)
        event = "" if error.event is None else f", event {events[error.event]!r:.200}"
        log.error(
            "room %s (%s), tick %d: %s raised%s\n%s",
            room.id, room.game.name, tick, error.what, event, text,
            extra={"player": _who(events, error)},
        )  # fmt: skip
        room.loop.tell_fault(room.live, f"{error.what} raised at tick {tick}\n{text}")

    def _without(self, events: list[list[Any]], error: RuleError) -> list[list[Any]]:
        """The events of this turn without the one whose rule raised, or with its hook left out."""
        room = self._room
        assert error.event is not None, "the step and timers are tried again"
        event = events[error.event]
        kind, rest = event[0], events[:]
        del rest[error.event]
        if kind == CALL:
            session = room.by_player.get(event[1])
            if session is not None:
                if event[4] is not None:
                    room.answer(session, event[4], b"", "the rule failed")
                count = session.failures[event[2]] = session.failures.get(event[2], 0) + 1
                if count >= FAILURES and session.connection is not None:
                    session.connection.close(Close.INTERNAL, f"{event[2]} failed again")
        elif kind == JOIN:
            room.expel(event[1], Close.INTERNAL, "the room failed to let you in")
        elif kind in (LEAVE, DROP, RETURN, RESULT):
            rest.insert(error.event, [*event, SILENT])
        return rest

    def go_back(self) -> bool:
        """To the state before this tick: the last checkpoint, and what has come since."""
        room = self._room
        try:
            simulation = type(room.simulation).load(room.game, self.base)
            for events in self.since:
                simulation.advance(events)
                simulation.replica.patch()
        except Exception:
            log.exception("room %s can't go back to its last checkpoint", room.id)
            return False
        simulation.forget_output()
        room.simulation = simulation
        for session in room.live:
            session.fresh, session.told = True, {}
        return True

    def _break(self, error: RuleError, events: list[list[Any]]) -> None:
        room = self._room
        if room.loop.dev and self.go_back():
            self.fault = f"{error.what} raised; the room waits for a cure\n{_traceback(error)}"
            log.error("room %s waits for a cure", room.id)
        else:
            self.fatal = events
            log.error("room %s closes: %s raised again at the same point", room.id, error.what)


def _who(events: list[list[Any]], error: RuleError) -> str:
    """The player whose event it was, or ""."""
    event = [] if error.event is None else events[error.event]
    return event[1] if len(event) > 1 and isinstance(event[1], str) else ""


def _traceback(error: RuleError) -> str:
    return "".join(traceback.format_exception(error.__cause__ or error)).rstrip()
