"""The way in: which room, which seat, new or come back."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from time import monotonic, time
from typing import IO

import game

from . import __version__, journal, tokens
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
        self.closing: tuple[Close, str] | None = None
        self._writer = journal.Writer() if config.journal == "on" else None
        self.open(DEFAULT_ROOM)

    def open(self, room_id: str) -> Room:
        """A room with a world of its own: the one in its journal, or a new one."""
        settings = WorldSettings(
            tick_hz=self.config.tick_hz,
            size=self.config.world_size,
            players=self.config.max_players,
            orbs=self.config.orbs,
        )
        header = journal.header_of(room_id, settings, self.config.seed)
        folder = journal.folder_of(self.config.data_dir, room_id)
        lock = journal.lock(folder) if self._writer is not None else None
        back = journal.recover(folder, header) if lock is not None else None
        if back is not None:
            world, sessions, header["seed"] = back
        else:
            header["seed"] = self.config.seed or int.from_bytes(os.urandom(6), "little")
            world, sessions = game.create_world(settings, header["seed"]), []
            log.info("room %s opens with seed %d", room_id, header["seed"])
        kept = self._journal(folder, header, lock)
        room = self.rooms[room_id] = Room(room_id, self.config, world, self.clock, kept, sessions)
        return room

    def _journal(self, folder: Path, header: dict, lock: IO | None) -> journal.Journal | None:
        if self._writer is None:
            return None
        if lock is None:
            log.warning(
                "room %s keeps no journal: another process has the one in DATA_DIR=%s",
                header["room"], self.config.data_dir,
            )  # fmt: skip
            return None
        config = self.config
        return journal.Journal(
            self._writer,
            folder,
            header,
            limit_bytes=config.journal_megabytes << 20,
            limit_s=config.journal_hours * 3600,
            checkpoint_s=config.checkpoint_seconds,
            lock=lock,
        )

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
        if self.closing is not None:
            raise ProtocolViolation(*self.closing)
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
            "status": "ok" if self.alive() else "stalled",
            "tick": first.world.tick,
            "tick_hz": self.config.tick_hz,
            "players": self.players,
            "rooms": len(rooms),
            "version": __version__,
            "stats": first.summary(),
        }

    def close(self, code: Close, reason: str) -> None:
        """Tell everyone to go, and stop the loops."""
        self.closing = code, reason
        for room in self.rooms.values():
            room.close(code, reason)

    def finish(self) -> None:
        """After `close`, when all have gone: end the journals. `finished` when all is on disk."""
        for room in self.rooms.values():
            room.finish()
        if self._writer is not None:
            self._writer.stop()

    @property
    def finished(self) -> bool:
        return self._writer is None or self._writer.stopped

    def alive(self) -> bool:
        """Do the ticks of all rooms advance?"""
        return all(room.alive() for room in self.rooms.values())
