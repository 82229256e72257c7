"""What clients say in an object room: checked, and put in line for the room's next turn."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from msgspec import Raw

from ..games.simulation import CALL
from ..protocol import objects
from ..protocol.objects import MOVE as MOVE_MESSAGE
from ..protocol.wire import LEAVE as LEAVE_MESSAGE
from ..protocol.wire import PING, SYNC, Close, ProtocolViolation, pong
from .object_seats import ObjectSeats
from .object_session import ObjectSession

log = logging.getLogger("tickstorm.room")

AHEAD = 16
"""Ticks that an input may be early. What is earlier counts for the next tick."""

_A_MOVE = bytes((0x93, MOVE_MESSAGE))

EVENTS = 4096
"""Events that may wait for the next tick of a room; what is beyond is dropped, counted."""


def hear(said: Iterable[tuple[ObjectSession, bytes]]) -> None:
    """Messages of clients, in order. What is wrong with one ends its connection, and no other.

    Nearly all of them are inputs with the values of the last one: only their tick is looked at.
    """
    decode = objects.decode_move
    for session, payload in said:
        connection = session.connection
        if connection is None:
            continue  # it has left, or lost its place to a newer connection
        room: ObjectSeats = session.room  # type: ignore[assignment]  # replays listen themselves
        room.heard += 1
        session.budget -= 1
        try:
            if session.budget < 0:
                raise ProtocolViolation(Close.FLOOD, "too many messages")
            if payload[:2] == _A_MOVE:
                _, target, raw = decode(payload)
                if raw != session.raw:
                    _want(room, session, raw)
                coming = room.simulation.tick + 1
                slack = target - coming
                if target > 0:
                    session.slack = slack if -32 <= slack <= 127 else objects.slack_byte(slack)
                when = target if 0 <= slack < AHEAD else coming
                if when >= session.newest:  # the latest wins
                    session.newest = when
                    values = session.values
                    if session.ahead:
                        session.ahead[when] = values
                    elif values is not session.last:  # else nothing will change
                        session.ahead[when] = values
                        room.steering.append(session)
            else:
                _take(room, session, payload)
        except ValueError as error:
            connection.close(Close.MALFORMED, str(error)[:100])
        except ProtocolViolation as violation:
            connection.close(violation.code, violation.reason)
        except Exception:  # one client's trouble is not to become another's
            log.exception("room %s: a message of %s", room.id, session.name,
                          extra={"player": session.player})  # fmt: skip
            connection.close(Close.INTERNAL, "the server failed")


def _want(room: ObjectSeats, session: ObjectSession, raw: Raw) -> None:
    """Another input than before. Raises ValueError, ProtocolViolation."""
    arguments = room.game.input
    if arguments is None or session.spectator:
        raise ProtocolViolation(Close.MALFORMED, "nobody takes inputs from you here")
    values = objects.decode_values(raw)
    arguments.convert(values)
    session.raw, session.values = raw, values


def _take(room: ObjectSeats, session: ObjectSession, payload: bytes) -> None:
    """Anything but an input. Raises ValueError, ProtocolViolation."""
    kind = payload[1] if len(payload) > 1 and 0x90 <= payload[0] <= 0x9F else -1
    if kind == objects.CALL:
        _call(room, session, len(payload), *objects.decode_call(payload))
    elif kind == PING:
        try:
            time = objects.msgspec.msgpack.decode(payload, type=tuple[int, float | int])[1]
        except objects.msgspec.ValidationError as error:
            raise ValueError(f"ping: {error}") from None
        if session.connection is not None:
            room.loop.push(session.connection, pong(time, room.simulation.tick))
    elif kind == SYNC:
        session.budget -= 10
        session.fresh = True
        room.wake()
    elif kind == LEAVE_MESSAGE:
        room.leave(session)
        raise ProtocolViolation(Close.DONE, "left")
    else:
        raise ValueError("no message of an object room")


def _call(
    room: ObjectSeats,
    session: ObjectSession,
    size: int,
    name: str,
    values: list[Any],
    request: int | None,
) -> None:
    found = room.game.messages.get(name)
    if found is None:
        raise ValueError(f"there is no message {name[:40]!r}")
    if session.spectator:
        if request is not None:
            room.answer(session, request, b"", "spectators only watch")
        return
    found.check(values, size)
    if len(room.waiting) >= EVENTS or not found.afford(session.buckets, room.loop.clock()):
        room.dropped += 1
        if request is not None:
            room.answer(session, request, b"", "not so fast")
        return
    room.put([CALL, session.player, name, values, request])
