"""The way in: which room, which seat, new or come back."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from time import monotonic, time

import game

from . import __version__, tokens
from .config import Config
from .connection import Connection
from .game_interface import WorldSettings
from .room import Room
from .session import Session
from .wire import Close, ProtocolViolation

log = logging.getLogger("tickstorm.lobby")

DEFAULT_ROOM = "arena"


class Lobby:
    """The rooms of this process, by id. `clock()`: seconds, monotonic."""

    version = __version__

    def __init__(self, config: Config, key: bytes, clock: Callable[[], float] = monotonic):
        self.config = config
        self.clock = clock
        self.rooms: dict[str, Room] = {}
        self._key = key
        self.open(DEFAULT_ROOM)

    def open(self, room_id: str) -> Room:
        """A new room with a world of its own."""
        seed = self.config.seed or int.from_bytes(os.urandom(6), "little")
        settings = WorldSettings(
            tick_hz=self.config.tick_hz,
            size=self.config.world_size,
            players=self.config.max_players,
            orbs=self.config.orbs,
        )
        log.info("room %s opens with seed %d", room_id, seed)
        room = Room(room_id, self.config, game.create_world(settings, seed), self.clock)
        self.rooms[room_id] = room
        return room

    def enter(
        self,
        room_id: str | None,
        connection: Connection,
        name: str,
        token: str | None,
        bot: bool,
        spectate: bool,
    ) -> tuple[Session, bool]:
        """The session of whoever connected, and whether it is an old one.

        Raises ProtocolViolation if there is no such room, no seat, or the token is forged.
        """
        if token:
            session = self._resume(token, connection)
            if session is not None:
                return session, True
        room = self.rooms.get(room_id or DEFAULT_ROOM)
        if room is None:
            raise ProtocolViolation(Close.NO_ROOM, "there is no such room")
        if spectate:
            return room.spectate(name, connection), False
        return room.join(name, bot, connection), False

    def token_for(self, session: Session) -> str:
        """The token with which this session can be resumed."""
        claim = tokens.Claim(session.room.id, session.id, time() + tokens.LIFETIME_S)
        return tokens.sign(claim, self._key)

    def _resume(self, token: str, connection: Connection) -> Session | None:
        try:
            claim = tokens.read(token, self._key)
        except tokens.BadToken as error:
            raise ProtocolViolation(Close.TOKEN, "not a token of this server") from error
        room = self.rooms.get(claim.room)
        if room is None or claim.expires < time():
            return None
        return room.resume(claim.session, connection)

    @property
    def players(self) -> int:
        return sum(room.players for room in self.rooms.values())

    def health(self) -> dict:
        """What `/healthz` says. `status` is "ok" while every room's ticks advance."""
        rooms = list(self.rooms.values())
        first = rooms[0]
        return {
            "status": "ok" if all(room.alive() for room in rooms) else "stalled",
            "tick": first.world.tick,
            "tick_hz": self.config.tick_hz,
            "players": self.players,
            "rooms": len(rooms),
            "version": __version__,
            "stats": first.summary(),
        }

    def close(self, code: Close, reason: str) -> None:
        """Tell everyone to go, and stop the loops."""
        for room in self.rooms.values():
            room.close(code, reason)
