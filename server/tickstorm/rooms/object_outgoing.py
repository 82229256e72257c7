"""What an object room sends after each turn: patches, whole states, events, answers.

What all may see is packed once, and so is the frame for all whose input came equally early. Who
can't be sent a patch, because the socket is full or the player new, gets the whole state instead,
and never misses an event.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..protocol import objects
from ..protocol.wire import welcome
from ..replication.patches import pack
from .object_rules import Shown
from .object_seats import ObjectSeats
from .object_session import ObjectSession

if TYPE_CHECKING:
    from ..transport.connection import Connection


class ObjectOutgoing:
    """`behind`: somebody who reads slowly has yet to be told all."""

    def __init__(self, room: ObjectSeats):
        self.behind = False
        self._room = room

    def publish(self, shown: Shown, fault: str, out: list[tuple[Connection, bytes]]) -> None:
        """Frames for everyone who is here, into `out`. `fault`: why time stands still, if so."""
        room, simulation = self._room, self._room.simulation
        parts, body, secrets = shown
        self.behind = False
        said = self._said() if simulation.outbox or simulation.answers else None
        hidden = room.game.has_hidden
        tick = pack(simulation.tick)
        shared = objects.patch(tick, None, parts, body, b"") if parts else b""
        by_slack: dict[int, bytes] = {}
        full = b""
        plain = said is None and not hidden
        for session in room.live:
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
                session.fresh = self.behind = True
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
                if fault:
                    data += objects.fault(fault)
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
        return objects.state(self._room.simulation.tick, session.slack, full, secret)

    def _greeting(self, session: ObjectSession) -> bytes:
        """WELCOME, if this connection hasn't had one."""
        if session.greet is None:
            return b""
        resumed, session.greet = session.greet, None
        session.seated = True
        room = self._room
        player = room.simulation.players.get(session.player)
        return welcome(
            {
                "version": 1,
                "schema": room.game.checksum,
                "kind": "objects",
                "game": room.game.name,
                "declaration": room.game.declaration(),
                "room": room.id,
                "player": None if player is None else player._id,
                "id": session.player,
                "name": session.name,
                "tick": room.simulation.tick,
                "tick_hz": room.hz,
                "token": room.token_for(session),
                "resumed": resumed,
                "grace_s": room.grace_s,
                "spectator": session.spectator,
                "settings": room.simulation.settings,
                "server": room.version,
            }
        )

    def _said(self) -> Callable[[ObjectSession], bytes]:
        """What rules have sent, as a function of who gets it."""
        simulation = self._room.simulation
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
