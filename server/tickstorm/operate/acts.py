"""What an operator may do, each act checked and said in one place.

`do` is the way in. An act is a function of the server and its arguments; its annotations say what
it takes, and the page asks for just that.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from ipaddress import ip_address
from time import time
from typing import Any

from ..lobby.lobby import AnyRoom, AnySession
from ..lobby.web import Web, site_of
from ..protocol import names
from ..protocol.wire import Close
from ..rooms.object_room import ObjectRoom
from ..services.bans import Ban
from .profile import Sampler

SAY_CHARACTERS, REASON_CHARACTERS = 200, 100
LONGEST_BAN_S = 366 * 86400


class ActError(Exception):
    """The act was not done; the message says why. `status`: for HTTP."""

    def __init__(self, message: str, status: int = 400):
        super().__init__(message)
        self.status = status


class Acts:
    """`dev`: may state be edited?"""

    def __init__(self, web: Web, sampler: Sampler, dev: bool):
        self._web, self._sampler, self._dev = web, sampler, dev

    def check(self, name: str, given: dict[str, Any]) -> Callable[[], str]:
        """The act, ready to be done; what it returns is said to who did it. Raises ActError."""
        method = ACTS.get(name)
        if method is None:
            raise ActError(f"there is no act {name!r}; there are {', '.join(ACTS)}")
        wanted = inspect.signature(method).parameters
        arguments = {}
        for key, parameter in list(wanted.items())[1:]:
            if key in given:
                arguments[key] = _checked(key, given[key], parameter.annotation)
            elif parameter.default is inspect.Parameter.empty:
                raise ActError(f"{name}: {key} is missing")
        unknown = set(given) - set(wanted)
        if unknown:
            raise ActError(f"{name}: takes no {', '.join(sorted(unknown))}")
        if "room" in arguments and arguments["room"]:
            self._room(arguments["room"])
        return lambda: method(self, **arguments)

    # ------------------------------------------------------------------ what there is

    def _room(self, id: str) -> AnyRoom:
        room = self._web.lobby.rooms.get(id)
        if room is None:
            raise ActError(f"room {id} is not open here any more", 404)
        return room

    def _session(self, room: AnyRoom, id: str) -> AnySession:
        session = room.sessions.get(id)
        if session is None:
            raise ActError("this player has left meanwhile", 404)
        return session

    # ------------------------------------------------------------------ the acts

    def say(self, text: str, room: str = "") -> str:
        """A line for everyone in a room, or in all of them."""
        line = names.clean(text, SAY_CHARACTERS)
        if not line:
            raise ActError("say: there is no text")
        lobby = self._web.lobby
        rooms = [self._room(room)] if room else list(lobby.rooms.values())
        for one in rooms:
            one.say(None, line)
        return f"Said in {_count(len(rooms), 'room')}."

    def kick(self, room: str, session: str, reason: str = "") -> str:
        """End a stay. Whoever is kicked may come again; a ban keeps them out."""
        here = self._room(room)
        who = self._session(here, session)
        here.kick(who, _reason(reason) or "kicked by an operator")  # type: ignore[arg-type]
        return f"{who.name} was kicked."

    def ban(self, hours: float, address: str = "", player: str = "", reason: str = "") -> str:
        """Keep an address or a player out until then; whoever is here is kicked."""
        if bool(address) == bool(player):
            raise ActError("ban: either an address or a player")
        if not 0 < hours <= LONGEST_BAN_S / 3600:
            raise ActError(f"ban: hours is a number above 0, up to {LONGEST_BAN_S // 3600}")
        if address:
            try:
                ip_address(address)
            except ValueError:
                raise ActError(f"ban: {address!r} is no address") from None
        kind, who = ("address", site_of(address)) if address else ("player", player)
        ban = Ban(kind, who, time() + hours * 3600, _reason(reason), "admin")
        bans = self._web.lobby.bans
        try:
            bans.add(ban)
        except OSError as error:
            raise ActError(f"the ban can't be kept: {error}", 503) from None
        why, kicked = bans.why(kind, who), 0
        for room in list(self._web.lobby.rooms.values()):
            sessions: list[AnySession] = [*room.sessions.values()]
            for session in sessions:
                ids = (session.id, getattr(session, "player", ""))
                if session.address == who if address else who in ids:
                    room.kick(session, why)  # type: ignore[arg-type]
                    kicked += 1
        return f"{who} is {why}; {_count(kicked, 'stay')} ended."

    def unban(self, address: str = "", player: str = "") -> str:
        """End a ban before its time."""
        kind, who = ("address", address) if address else ("player", player)
        try:
            if not self._web.lobby.bans.lift(kind, who):
                raise ActError(f"{who} is not banned", 404)
        except OSError as error:
            raise ActError(f"that can't be kept: {error}", 503) from None
        return f"{who} may come in again."

    def lock(self, room: str, locked: bool) -> str:
        """Let nobody new in, or everybody again; players who are in it come back as ever."""
        self._room(room).lock(locked)
        return f"Room {room} is {'locked' if locked else 'open'}."

    def close(self, room: str, reason: str = "") -> str:
        """End a room for good."""
        self._room(room)
        self._web.node.shut(room, Close.NO_ROOM, _reason(reason) or "closed by an operator")
        return f"Room {room} is closed."

    def move(self, room: str) -> str:
        """Hand a room to another node; its players follow."""
        self._room(room)
        if not self._web.node.directory.shared:
            raise ActError("there is no other node: DIRECTORY=memory", 409)
        if not self._web.node.move(room):
            raise ActError("no other node takes the room now", 409)
        return f"Room {room} has moved."

    def drain(self) -> str:
        """Take no more rooms, and hand each one to another node."""
        if not self._web.node.directory.shared:
            raise ActError("there is no other node to take the rooms: DIRECTORY=memory", 409)
        self._web.node.drain()
        return "The node is draining."

    def set(self, room: str, name: str, value: Any, entity: int = 0) -> str:
        """A setting of a room; in a development run, any attribute of an entity."""
        here = self._room(room)
        if not isinstance(here, ObjectRoom):
            raise ActError("the rules of a crowd have no settings that can be changed")
        setting = entity == 0 and name in here.game.settings
        if not setting and not self._dev:
            raise ActError("state is edited in a development run only (`tickstorm run --dev`)", 403)
        try:
            here.set(entity, name, value)
        except ValueError as error:
            raise ActError(f"{name}: {error}" if setting else str(error)) from None
        return f"{name} is set."

    def profile(self, on: bool) -> str:
        """Take samples of what the worker runs, for ten minutes."""
        if on:
            self._sampler.start()
        else:
            self._sampler.stop()
        return "Samples are taken." if on else "No more samples are taken."

    def forget(self) -> str:
        """Forget the slowest ticks, to see what is slow from now on."""
        self._web.lobby.meters["crowd"].shared.slowest.clear()
        return "The slowest ticks are forgotten."


ACTS: dict[str, Callable[..., str]] = {
    method.__name__: method
    for method in (
        Acts.say, Acts.kick, Acts.ban, Acts.unban, Acts.lock, Acts.close, Acts.move, Acts.drain,
        Acts.set, Acts.profile, Acts.forget,
    )
}  # fmt: skip

_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,), "bool": (bool,), "int": (int,), "float": (int, float)
}  # fmt: skip


def _checked(name: str, value: Any, annotation: str) -> Any:
    """Raises ActError."""
    types = _TYPES.get(annotation)
    if types is None:
        return value
    if not isinstance(value, types) or (bool not in types and isinstance(value, bool)):
        raise ActError(f"{name} must be {annotation}")
    return value


def _reason(text: str) -> str:
    return names.clean(text, REASON_CHARACTERS)


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"
