"""What an author writes: a `Room` with hooks, a step, messages, timers and settings.

    class Tag(Room):
        capacity, tick_hz = 8, 20
        player, input = Walker, Walk
        round_s: int = setting(60, low=10, high=600, help="length of a round, seconds")
        phase: str = synced("play")

        def on_join(self, player: Walker) -> None: ...
        def step(self, dt: float) -> None: ...

        @message(per_second=10)
        def say(self, player: Walker, words: str = text(200)) -> None: ...

A room must be a pure function of what comes in: no clock but `self.time`, no chance but
`self.random`, no I/O but `self.fetch`. Then the journal brings it back exactly, after a crash,
on another machine, or as a replay.
"""

from __future__ import annotations

import difflib
import inspect
import random
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import msgspec

from .checks import Arguments, Check, DeclarationError, EntityInEvent, place_of
from .entity import Audience, Entity, Field, Kind, Player, hints_of
from .messages import declared, messages_of, reference_of
from .settings import Setting, choose, settings_of

HOOKS = ("on_create", "on_join", "on_drop", "on_return", "on_leave", "on_close", "on_auth")

E = TypeVar("E", bound=Entity)


class Input:
    """What a player wants right now: the latest one wins, once a tick. All fields are checks."""

    arguments: ClassVar[Arguments]

    def __init_subclass__(cls) -> None:
        fields: dict[str, Any] = {}
        for base in reversed(cls.__mro__):
            for name, value in vars(base).items():
                if isinstance(value, Check):
                    fields[name] = value
        for name in getattr(cls, "__annotations__", {}):
            if name not in fields:
                raise DeclarationError(
                    f"{place_of(cls)}: {cls.__name__}.{name} needs a check, such as whole(-1, 1)"
                )
        cls.arguments = Arguments(cls.__name__.lower(), fields)


@dataclass(frozen=True)
class Identity:
    """Who somebody is, as the game's `on_auth` says. `id`: "" for whoever this is."""

    id: str
    name: str


ID_CHARACTERS = 64


def identify(room: type[Room], name: str, options: dict[str, Any]) -> Identity:
    """Ask a game who this is. It may wait and do I/O, so never call it in a tick. Raises `Refuse`,
    and whatever else the game's `on_auth` raises."""
    answer = room.on_auth(name, options)  # type: ignore[attr-defined]  # else nobody asks
    if answer is None:
        return Identity("", name)
    id, called = (answer.get("id"), answer.get("name")) if isinstance(answer, dict) else (0, 0)
    id, called = "" if id is None else id, name if called is None else called
    if not (isinstance(id, str) and len(id) <= ID_CHARACTERS and isinstance(called, str)):
        raise TypeError(
            f"on_auth returned {answer!r}; allowed are None and "
            f'{{"id": text of at most {ID_CHARACTERS} characters, "name": text}}'
        )
    return Identity(id, called)


class Room(Entity):
    """One match, table, board or document, and the rules for it."""

    _has_owner = False
    __slots__ = ("_simulation",)
    _simulation: Any  # `simulation.Simulation`, which runs it

    # ---- what a game declares

    capacity: ClassVar[int] = 16
    """Players at most, 1 to 1000; those who are away and may return count."""
    tick_hz: ClassVar[int] = 20
    """Steps and patches a second, 1 to 60; 0: the room runs for messages and timers only."""
    grace_s: ClassVar[float] = 20
    """Seconds in which a player who dropped may return, 0 to 3600; 0: a drop is a leave. They run
    on the wall clock, also while the room's own time stands still."""
    title: ClassVar[str] = ""
    """The game's name for people; without one, the class'."""
    spectators: ClassVar[int] = 50
    """Who may watch at once, beside the players; 0: nobody."""
    player: ClassVar[type[Player]] = Player
    """The class of its players."""
    input: ClassVar[type[Input] | None] = None
    """What its players hold, an `Input`; None: they have messages only."""
    kinds: ClassVar[tuple[type[Entity], ...] | None] = None
    """Entity classes of this room, such as ``(Card, Loot)``; unless said, all that are in the
    module of its rules (those that are imported into it, too)."""
    events: ClassVar[dict[str, dict[str, Any]]] = {}
    """What `send` sends, by name: ``{"over": {"winner": Walker | None, "points": int}}``. With it,
    what is sent is checked and clients get types (`tickstorm types`)."""

    game: ClassVar[Game]

    def __init_subclass__(cls, to: Audience | None = None, **rest: Any):
        if to is not None:
            raise DeclarationError(
                f"{place_of(cls)}: a room itself can't be hidden, its fields can"
            )
        super().__init_subclass__(**rest)
        _check_hooks(cls)

    # ---- hooks, all optional; a game may also have a static method `on_auth(name, options)`

    def on_create(self) -> None:
        """The room begins."""

    def on_join(self, player: Any) -> None:
        """Somebody came. Raise `Refuse` to keep them out."""

    def on_drop(self, player: Any) -> None:
        """The player's connection is gone; `on_return` or `on_leave` follows."""

    def on_return(self, player: Any) -> None:
        """A player who dropped is back."""

    def on_leave(self, player: Any) -> None:
        """A player goes for good; its entity is taken out afterwards."""

    def on_close(self) -> None:
        """The room ends."""

    def step(self, dt: float) -> None:
        """One tick of `dt` seconds."""

    # ---- what a rule may call

    @property
    def players(self) -> list[Any]:
        """Everybody in the room, in order of arrival, those away included."""
        return list(self._simulation.players.values())

    def find(self, id: str) -> Any:
        """The player of this id, or None."""
        return self._simulation.players.get(id)

    def each(self, cls: type[E]) -> list[E]:
        """All entities of a class, in order of their ids."""
        return self._simulation.each(cls)

    def spawn(self, cls: type[E], **values: Any) -> E:
        """A new entity in the room."""
        return self._simulation.spawn(cls(**values))

    def despawn(self, entity: Entity | None) -> None:
        """Take an entity out of the room; None and what is gone already are no error."""
        if entity is None or not entity.alive:
            return
        if isinstance(entity, Player) and self.find(entity.id) is entity:
            raise ValueError("who is in the room can't be despawned; use kick()")
        self._simulation.despawn(entity)

    def send(self, name: str, *values: Any, to: Any = None, but: Any = None) -> None:
        """An event for everyone, for one player, or for a list of them; `but` gets none."""
        self._simulation.send(name, values, to, but)

    @property
    def random(self) -> random.Random:
        """The room's own chance: seeded, and kept with the room."""
        return self._simulation.random

    @property
    def time(self) -> float:
        """Seconds since the room was created. Stands still while the server is down and, in a room
        with a tick, while nobody is connected."""
        return self._simulation.time

    @property
    def tick(self) -> int:
        """The number of this tick (of a room without a tick: of this message or timer)."""
        return self._simulation.tick

    def after(self, seconds: float, method: str, *values: Any) -> int:
        """Call a method once, `seconds` of the room's `time` from now: ``self.after(3, "boom",
        bomb)``. Returns what `cancel` takes. It outlives a restart. An entity or a player that has
        gone meanwhile is given all the same, with `alive` False; after a restart it is None. So
        begin such a method with ``if not (bomb and bomb.alive): return``."""
        return self._simulation.after(seconds, method, values, 0.0)

    def every(self, seconds: float, method: str, *values: Any) -> int:
        """Call a method every so many `seconds`, for the first time after as many; as `after`."""
        return self._simulation.after(seconds, method, values, seconds)

    def cancel(self, timer: int | None) -> None:
        """Forget a timer; one that is over is no error."""
        self._simulation.timers.pop(timer, None)

    def kick(self, player: Any, reason: str = "") -> None:
        """The player leaves, and is told why."""
        self._simulation.kick(player, reason)

    def lock(self, locked: bool = True) -> None:
        """Nobody new may join (players may return); `lock(False)` opens the room again."""
        self._simulation.locked = locked

    def close(self, reason: str = "") -> None:
        """End the room, after this tick."""
        self._simulation.closing = reason or "the room is over"

    def fetch(self, function: Callable[..., Any], *values: Any, then: str) -> None:
        """Have a thread call ``function(*values)``: the one way to I/O. Its result, plain data,
        comes back as a call of the method `then` with two arguments, `result` and `error` (text
        or None), and is journalled like any other input."""
        self._simulation.fetch(function, values, then)


def _check_hooks(cls: type[Room]) -> None:
    for name, value in vars(cls).items():
        if name.startswith("on_") and name not in HOOKS and callable(value):
            near = difflib.get_close_matches(name, HOOKS, 1)
            hint = f"; did you mean {near[0]}?" if near else f"; hooks are {', '.join(HOOKS)}"
            raise DeclarationError(f"{place_of(value)}: {cls.__name__}.{name} is no hook{hint}")


def _source_of(room: type[Room]) -> str:
    """The file that the rules are in, as it was when they were loaded; "" if they are in none."""
    try:
        return Path(inspect.getfile(room)).read_text()
    except (OSError, TypeError, UnicodeDecodeError):
        return ""


class Game:
    """A room class as the engine runs it: checked, numbered, declared. `checksum`: of what clients
    are told; `source`: the file that it is in; `rules`: the checksum of that.

    Raises DeclarationError, with file and line, for what can't work.
    """

    kind = "objects"

    def __init__(self, room: type[Room], name: str = ""):
        self.room = room
        self.name = name or room.__name__.lower()
        self.title = room.title or room.__name__
        self.place = place_of(room)
        self._check_numbers()
        self.kinds = self._number_kinds()
        self.by_class = {kind.owner: kind for kind in self.kinds}
        self.has_hidden = any(kind.hidden for kind in self.kinds)
        self.settings: dict[str, Setting] = settings_of(room)
        self.input = room.input.arguments if room.input is not None else None
        self.messages = messages_of(room, tuple(self.by_class))
        self.events = {name: self._event(name, fields) for name, fields in room.events.items()}
        self.checksum = zlib.crc32(msgspec.msgpack.encode(self.declaration()))
        self.source = _source_of(room)
        self.rules = zlib.crc32(self.source.encode())

    def _event(self, name: str, fields: dict[str, Any]) -> Arguments:
        kinds = tuple(self.by_class)
        known = {
            each: reference_of(type, kinds, EntityInEvent) or type for each, type in fields.items()
        }
        try:
            return Arguments(f"event {name}", known)
        except DeclarationError as error:
            raise DeclarationError(f"{place_of(self.room, 'events')}: {error}") from None

    def _check_numbers(self) -> None:
        room = self.room
        for name, low, high in (("capacity", 1, 1000), ("tick_hz", 0, 60), ("grace_s", 0, 3600)):
            value = getattr(room, name)
            if not isinstance(value, int | float) or not low <= value <= high:
                raise DeclarationError(
                    f"{self.place}: {room.__name__}.{name} = {value!r} is not allowed: "
                    f"{low} to {high}"
                )
        if not (isinstance(room.player, type) and issubclass(room.player, Player)):
            raise DeclarationError(f"{self.place}: {room.__name__}.player must be a Player class")
        if room.input is not None:
            if not (isinstance(room.input, type) and issubclass(room.input, Input)):
                raise DeclarationError(
                    f"{self.place}: {room.__name__}.input must be an Input class"
                )
            if room.tick_hz == 0:
                raise DeclarationError(
                    f"{self.place}: {room.__name__} has an input and tick_hz = 0; inputs are taken "
                    "once a tick, so give it a rate, or use a message"
                )
        auth = inspect.getattr_static(room, "on_auth", None)
        if auth is not None and not isinstance(auth, staticmethod | classmethod):
            raise DeclarationError(
                f"{place_of(auth)}: {room.__name__}.on_auth is called before there is a room for "
                "them: make it a @staticmethod on_auth(name, options)"
            )
        if room.tick_hz == 0 and room.step is not Room.step:
            raise DeclarationError(
                f"{self.place}: {room.__name__}.step never runs with tick_hz = 0"
            )

    def _number_kinds(self) -> list[Kind]:
        room = self.room
        classes: list[type[Entity]] = [room, room.player]
        if room.kinds is not None:
            more: list[Any] = list(room.kinds)
        else:
            module = sys.modules.get(room.__module__)
            more = [
                value for value in vars(module).values()
                if isinstance(value, type) and issubclass(value, Entity)
                and not issubclass(value, Room | Player) and value is not Entity
            ] if module else []  # fmt: skip
        classes += [cls for cls in dict.fromkeys(more) if cls not in classes]
        kinds = []
        for number, cls in enumerate(classes):
            cls.kind.number = number
            kinds.append(cls.kind)
            self._check_audience(cls, "", cls.kind.to)
            for field in cls.kind.fields:
                self._check_field(cls, field)
                self._check_audience(cls, field.name, field.to)
        return kinds

    def _check_field(self, cls: type[Entity], field: Field) -> None:
        if field.fixed and field.smooth:
            raise DeclarationError(
                f"{place_of(cls)}: {cls.__name__}.{field.name} is fixed, so it can't be smooth"
            )
        if field.smooth and field.mode not in (0, 1):
            raise DeclarationError(f"{place_of(cls)}: {cls.__name__}.{field.name}: smooth is for "
                                   "numbers")  # fmt: skip
        if cls is self.room and field.to == "owner":
            raise DeclarationError(
                f"{place_of(cls)}: {cls.__name__}.{field.name}: a room has no owner; hide it on a "
                "player or an entity"
            )

    def _check_audience(self, cls: type[Entity], name: str, to: Audience | None) -> None:
        if not isinstance(to, str) or to == "owner":
            return
        both = (cls, self.room.player)
        if all(hasattr(one, to) or to in hints_of(one) for one in both):
            return
        shared = sorted(
            each
            for each in hints_of(cls).keys() & hints_of(self.room.player).keys()
            if not each.startswith("_") and each not in (name, "kind", "owner", "connected")
        )
        of, player = cls.__name__, self.room.player.__name__
        whose = of if cls is self.room.player else f"both {of} and {player}"
        raise DeclarationError(
            f"{place_of(cls, name)}: {of}{'.' * bool(name)}{name}: to={to!r} is not allowed, but "
            f"'owner', a function of the entity and the player, or the name of an attribute that "
            f"{whose} must declare ({', '.join(shared) or 'there is none'})"
        )

    def declaration(self) -> dict[str, Any]:
        """What clients receive; PROTOCOL.md describes it."""
        kinds = [kind.declare() for kind in self.kinds]
        kinds[0][0] = "room"
        return {
            "game": self.name,
            "kinds": kinds,
            "input": self.input.declare() if self.input else None,
            "messages": declared(self.messages),
            "events": {
                name: [row[:2] for row in found.declare()] for name, found in self.events.items()
            },
        }

    def choose(self, chosen: dict[str, Any]) -> dict[str, Any]:
        """All settings, the `chosen` ones checked. Raises KeyError for one that doesn't exist,
        ValueError as ``name: what is allowed``."""
        return choose(self.settings, chosen)
