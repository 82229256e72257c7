"""What a client may say when: HELLO first, then everything else. No sockets here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..protocol import names, wire
from ..protocol.wire import Close, ProtocolViolation
from ..rooms.object_session import ObjectSession
from ..rooms.session import Session
from ..transport.connection import Connection
from .lobby import Elsewhere, Lobby

SYNC_COST = 10
"""SYNC is short and its answer long: it counts as so many messages."""


class Conversation:
    """One connection's side of the protocol: takes messages, answers with frames."""

    def __init__(
        self,
        lobby: Lobby,
        room_id: str | None,
        connection: Connection,
        replay: str | None = None,
        address: str = "",
    ):
        """`replay` names what to watch in place of a room. `address` is what the client's seat
        is counted under; empty: not at all."""
        self.lobby = lobby
        self.room_id = room_id
        self.replay = replay
        self.connection = connection
        self.address = address
        self.session: Session | ObjectSession | None = None
        self.hello = b""
        """The HELLO that is being acted on."""
        self.origin: dict[str, str] = {}
        """How it came: the query of its URL, and the client's address."""
        self.hops = 0  # from worker to worker
        self.pass_on: Callable[[int], None] = lambda worker: None
        self.seated: Callable[[], None] = lambda: None

    def receive(self, data: bytes) -> None:
        """Act on one message. Raises ProtocolViolation."""
        if isinstance(self.session, ObjectSession):
            self.session.take(data)
            return
        kind, *fields = wire.decode(data)
        if self.session is None:
            if kind != wire.HELLO:
                raise ProtocolViolation(Close.HELLO_EXPECTED, "HELLO comes first")
            self.hello = data
            try:
                self._hello(*fields)
            except Elsewhere as place:
                self.pass_on(place.worker)
                return
            self.hello = b""
            self.seated()
            return
        session, room = self.session, self.session.room
        if kind == wire.INPUT:
            room.receive(session, kind, fields)
            return
        room.count_message(session.seat, SYNC_COST if kind == wire.SYNC else 1)
        if kind == wire.PING:
            self.connection.push(wire.pong(fields[0], room.ticks))
        elif kind == wire.LEAVE:
            room.leave(session)
            raise ProtocolViolation(Close.DONE, "left")
        elif kind == wire.HELLO:
            raise ProtocolViolation(Close.MALFORMED, "HELLO twice")
        else:
            room.receive(session, kind, fields)

    def forget(self) -> None:
        """Its connection is closed: no circle of references may be left."""
        self.pass_on, self.seated = lambda worker: None, lambda: None

    def about(self) -> dict[str, Any]:
        """What another process needs to go on with this: see `go_on`."""
        session = self.session
        if session is None or self.replay is not None:
            return {"room": "", "session": ""}
        room = self.lobby.rooms[session.room.id]
        return {
            "room": room.id,
            "session": session.id,
            "schema": room.schema,
            "spectator": session.spectator,
            "name": session.name,
        }

    def go_on(self, about: dict[str, Any]) -> None:
        """The same stay, where its room is now. What the client knows from WELCOME still holds;
        a whole state comes by itself. Raises ProtocolViolation."""
        room = self.lobby.rooms.get(about["room"])
        if room is None:
            raise ProtocolViolation(Close.RESTART, "the room is not here")
        if about["schema"] != room.schema:
            raise ProtocolViolation(Close.SCHEMA, "the game has changed; reload")
        session: Session | ObjectSession | None
        session = room.carry_on(about["session"], self.connection, self.address)
        if session is None and about["spectator"]:
            session = room.spectate(about["name"], self.connection, self.address)
        if session is None:
            raise ProtocolViolation(Close.RESTART, "the place in the room was lost")
        self.session = session

    def end(self) -> None:
        """The connection is over."""
        session, self.session = self.session, None
        if isinstance(session, ObjectSession):
            session.room.disconnect(session, self.connection)
        elif session is not None:
            session.room.disconnect(session, self.connection)
            if self.replay is not None:
                session.room.announce = lambda: None  # or room and conversation keep each other

    def _hello(
        self, version: int, schema: int, name: str, token: str | None, options: dict
    ) -> None:
        if version != wire.PROTOCOL_VERSION:
            raise ProtocolViolation(
                Close.VERSION, f"this server speaks version {wire.PROTOCOL_VERSION}; reload"
            )
        name = names.clean(name, wire.NAME_BYTES, wire.NAME_BYTES) or names.DEFAULT_NAME
        if self.replay is not None:
            self.session = self.lobby.watch(
                self.replay, self.connection, name, schema, self.address
            )
            if isinstance(self.session, Session):  # that of a room of objects greets by itself
                self.session.room.announce = self._welcome
                self._welcome()
            return
        ticket, extra = options.get("ticket"), options.get("options")
        try:
            self.session, resumed = self.lobby.enter(
                self.room_id,
                self.connection,
                name=name,
                token=token,
                bot=options.get("bot") is True,
                spectate=options.get("spectate") is True,
                ticket=ticket if isinstance(ticket, str) else None,
                schema=schema,
                address=self.address,
                options=extra if isinstance(extra, dict) else {},
            )
        except ProtocolViolation as violation:
            if violation.url is not None:
                notice = wire.notice(violation.code, violation.reason, violation.url)
                self.connection.push(notice)
            raise
        if isinstance(self.session, Session):  # rooms of objects greet with their next turn
            self._welcome(resumed)

    def _welcome(self, resumed: bool = False) -> None:
        session = self.session
        assert isinstance(session, Session), "rooms of objects greet by themselves"
        about = {
            "version": wire.PROTOCOL_VERSION,
            **session.room.welcome(session),
            "token": self.lobby.token_for(session),
            "resumed": resumed,
            "server": self.lobby.version,
        }
        self.connection.push(wire.welcome(about))
