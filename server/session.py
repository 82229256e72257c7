"""What a client may say when: HELLO first, then everything else. No sockets here.

A `Session` is one client's stay in a room. It outlives its connection by the
grace period: whoever comes back with its token is the same session, in the same
ship, with the same score.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import game

from . import names, wire
from .wire import Close, ProtocolViolation

if TYPE_CHECKING:
    from .connection import Connection
    from .lobby import Lobby
    from .room import Room

log = logging.getLogger("tickstorm.session")

CHAT_BURST = 4
"""A player may say so many things at once, then one every CHAT_SECONDS; the rest is dropped."""

SYNC_COST = 10
"""SYNC is short and its answer long: it counts as so many messages."""


@dataclass(eq=False)
class Session:
    """One client's stay in `room`, at row `seat` of its table, with the player in `slot`
    (NO_SLOT for a spectator). `connection` is None while the client is away."""

    room: Room
    seat: int
    slot: int
    name: str
    connection: Connection | None
    bot: bool = False
    id: str = field(default_factory=lambda: os.urandom(8).hex())
    away_since: float = 0.0
    chat_credit: float = CHAT_BURST
    chat_at: float = 0.0

    @property
    def spectator(self) -> bool:
        return self.slot == wire.NO_SLOT


class Conversation:
    """One connection's side of the protocol: takes messages, answers with frames."""

    def __init__(
        self,
        lobby: Lobby,
        room_id: str | None,
        connection: Connection,
        replay: str | None = None,
    ):
        """`replay` names what to watch in place of a room."""
        self.lobby = lobby
        self.room_id = room_id
        self.replay = replay
        self.connection = connection
        self.session: Session | None = None

    def receive(self, data: bytes) -> None:
        """Act on one message. Raises ProtocolViolation."""
        kind, *fields = wire.decode(data)
        if self.session is None:
            if kind != wire.HELLO:
                raise ProtocolViolation(Close.HELLO_EXPECTED, "HELLO comes first")
            self._hello(*fields)
            return
        session, room = self.session, self.session.room
        if kind == wire.INPUT:
            room.queue_input(session.seat, fields[0])
            return
        room.count_message(session.seat, SYNC_COST if kind == wire.SYNC else 1)
        if kind == wire.CHAT:
            self._chat(*fields)
        elif kind == wire.PING:
            self.connection.push(wire.pong(fields[0], room.world.tick))
        elif kind == wire.SYNC:
            room.resync(session)
        elif kind == wire.LOOK:
            room.look(session, *fields)
        elif kind == wire.REPLAY:
            room.control(*fields)
        elif kind == wire.LEAVE:
            room.leave(session)
            raise ProtocolViolation(Close.DONE, "left")
        else:
            raise ProtocolViolation(Close.MALFORMED, "HELLO twice")

    def end(self) -> None:
        """The connection is over."""
        if self.session is not None:
            self.session.room.disconnect(self.session, self.connection)

    def _hello(self, version: int, schema: int, name: str, token: str | None, options: dict):
        if version != wire.PROTOCOL_VERSION:
            raise ProtocolViolation(
                Close.VERSION, f"this server speaks version {wire.PROTOCOL_VERSION}; reload"
            )
        if schema not in (0, game.checksum()):
            raise ProtocolViolation(Close.SCHEMA, "the game has changed; reload")
        name = names.clean(name, 16, wire.NAME_BYTES) or names.DEFAULT_NAME
        if self.replay is not None:
            self.session = self.lobby.watch(self.replay, self.connection, name)
            self.session.room.announce = self._welcome
            self._welcome()
            return
        ticket = options.get("ticket")
        try:
            self.session, resumed = self.lobby.enter(
                self.room_id,
                self.connection,
                name=name,
                token=token,
                bot=options.get("bot") is True,
                spectate=options.get("spectate") is True,
                ticket=ticket if isinstance(ticket, str) else None,
            )
        except ProtocolViolation as violation:
            if violation.url is not None:
                notice = wire.notice(violation.code, violation.reason, violation.url)
                self.connection.push(notice)
            raise
        self._welcome(resumed)

    def _welcome(self, resumed: bool = False) -> None:
        session, room = self.session, self.session.room
        self.connection.push(
            wire.welcome(
                {
                    "version": wire.PROTOCOL_VERSION,
                    "schema": game.checksum(),
                    "declaration": game.declaration(),
                    "room": room.id,
                    "slot": session.slot,
                    "name": session.name,
                    "tick": room.world.tick,
                    "tick_hz": room.tick_hz,
                    "snapshot_ticks": room.snapshot_ticks,
                    "size": room.config.world_size,
                    "cell": room.cell_size,
                    "token": self.lobby.token_for(session),
                    "resumed": resumed,
                    "grace_s": room.config.grace_seconds,
                    "rules": room.world.rules(),
                    "server": self.lobby.version,
                }
            )
        )

    def _chat(self, text: str) -> None:
        session, now = self.session, self.lobby.clock()
        earned = (now - session.chat_at) / session.room.config.chat_seconds
        session.chat_credit = min(CHAT_BURST, session.chat_credit + earned)
        session.chat_at = now
        text = names.clean(text, wire.CHAT_CHARACTERS)
        if session.chat_credit < 1:
            session.room.metrics.count["chat_dropped"] += 1
            self.connection.push(wire.notice(0, "Not so fast."))
        elif text:
            session.chat_credit -= 1
            session.room.say(session.name, text)
