"""A running object room without its sockets: a pure function of its seed and what came in.

`advance` is the one way in: it takes what came since the last tick, in order, then runs timers
and the step. The same call, with the same events, is how a room lives, how it comes back from
its journal, how a replay plays and how `journal verify` checks. What goes out is collected in
`outbox`; what clients see is read from `replica`.
"""

from __future__ import annotations

import copy
import random
import struct
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import msgpack

from ..replication.patches import REFERENCE, TUPLE, Replica, keep, may_see, pack
from .checks import Arguments
from .entity import DICT, LIST, Entity, Field, Player, SyncedDict, SyncedList
from .messages import Refuse
from .room import Game, Room

JOIN, DROP, RETURN, LEAVE, CALL, MOVE, RESULT, CLOSE, TIME, LOCK, SET = range(11)
"""Events, as lists that begin with their type:

``[JOIN, id, name, session, bot]`` (the last two are for whoever restores it),
``[DROP, id]``, ``[RETURN, id]``, ``[LEAVE, id]``,
``[CALL, id, message, values, request]``, ``[MOVE, id, values]``,
``[RESULT, fetch, result, error]``, ``[CLOSE]``, ``[TIME, seconds]`` (rooms without a tick);
of whoever runs the server: ``[LOCK, locked]``, ``[SET, entity, name, value]``.
Those that only tell a hook may end with `SILENT`: the hook failed before, and is left out.
"""

NAMES = (
    *("join", "drop", "return", "leave", "call", "move", "result", "close", "time"),
    *("lock", "set"),
)
"""Events, as people read them."""

SILENT = "silent"
SHOWING = "showing what the rules left"
"""`RuleError.what`, where values can't travel or a predicate raises."""

_SILENT_FROM = {DROP: 2, RETURN: 2, LEAVE: 2, RESULT: 4}
"""Where it stands."""

MOST_TIMERS, MOST_ENTITIES, MOST_FETCHES = 10_000, 65_535, 64
"""Bounds of one room; a rule that goes past them raises."""

MOST_TIMERS_A_TICK = 1_000

REUSE_AFTER = 256
"""An id is given again only after so many others were freed, so that a late reference to what
has gone meets nothing rather than a stranger."""


class RuleError(Exception):
    """A rule raised. `what`: which part of it; `event`: the index of the event that was being
    handled, or None for timers and the step. The cause is the author's exception."""

    def __init__(self, what: str, event: int | None):
        super().__init__(what)
        self.what, self.event = what, event


class Sent(NamedTuple):
    """An event on its way out. `to`: ids of players, None for everyone (`but` excepted);
    `packed`: the values, as they were when it was sent."""

    name: str
    values: tuple[Any, ...]
    to: tuple[str, ...] | None
    but: str | None
    packed: bytes = b""


class Answer(NamedTuple):
    """The answer to a request, packed; `refused`: the reason, if it was."""

    player: str
    request: int | None
    value: bytes
    refused: str | None


class Simulation:
    """One room's state and rules. `game`: its declaration; `settings`: those of this room."""

    def __init__(self, game: Game, settings: dict[str, Any], seed: int):
        self.game = game
        self.settings = settings
        self.seed = seed
        self.hz = game.room.tick_hz
        self._dt = 1.0 / self.hz if self.hz else 0.0
        self.tick = 0
        self.time = 0.0
        self.locked = False
        self.closing = ""
        self._random: random.Random | None = None  # 2.5 kB that many rooms never need
        self.players: dict[str, Player] = {}
        self.timers: dict[int, list[Any]] = {}  # id: [due, every, method, values]
        self.replica = Replica(game.kinds)
        self.outbox: list[Sent] = []
        self.answers: list[Answer] = []
        self.kicked: list[tuple[str, str]] = []
        self.refused: dict[str, str] = {}  # joins, by id
        self.wanted: list[tuple[int, Callable[..., Any], tuple[Any, ...]]] = []  # to be fetched
        self.fetching: dict[int, str] = {}  # methods that wait for a result
        self._next_timer = self._next_fetch = 1
        self._next_id = 1
        self._free: deque[int] = deque()
        self._next_due = float("inf")
        self._began = False
        self._steps = game.room.step is not Room.step
        self.room = game.room.__new__(game.room)
        self.room._simulation = self
        Entity.__init__(self.room)
        for name, value in settings.items():
            self.room.__dict__[name] = value
        self.replica.enter(self.room, 0)
        self.replica.patch()  # clients know of the room from their STATE

    @property
    def random(self) -> random.Random:
        """The room's own chance, from its seed on."""
        if self._random is None:
            self._random = random.Random(self.seed)
        return self._random

    # ------------------------------------------------------------------ the way in

    def advance(
        self, events: list[list[Any]], stepping: bool = True, careful: bool = False
    ) -> None:
        """Take `events` in, in order; then timers and, unless the room has no tick, one step.

        Raises RuleError; the state is then what the rule left behind, and good for nothing.
        `careful`: find out at once who left something behind that clients can't be shown.
        """
        self.tick += 1
        if self.hz:
            self.time = self.tick / self.hz
        if not self._began:
            self._began = True
            self._guard("on_create", None, self.room.on_create)
        at: int | None = None
        try:
            for at, event in enumerate(events):  # noqa: B007
                self._take(at, event)
                if careful:
                    self._show(at)
            at = None
            if self.time >= self._next_due:
                self._run_timers()
            if self._steps and self.hz and stepping:
                self._guard("step", None, self.room.step, self._dt)
        except RuleError:
            raise
        except Exception as error:  # a message or a timer of other rules, after a change of them
            raise RuleError("what came in" if at is not None else "a timer", at) from error

    def _show(self, at: int) -> None:
        try:
            self.replica.check(list(self.players.values()))
        except Exception as error:
            raise RuleError(SHOWING, at) from error

    def _guard(self, what: str, event: int | None, function: Callable[..., Any], *args: Any) -> Any:
        try:
            return function(*args)
        except Refuse as no:
            if what != "on_join" and not what.startswith("message "):
                raise RuleError(what, event) from no  # there is nobody to refuse
            raise
        except Exception as error:
            raise RuleError(what, event) from error

    def _take(self, index: int, event: list[Any]) -> None:
        kind = event[0]
        room = self.room
        if kind == TIME:
            self.time = event[1]
            return
        if kind == RESULT:
            method = self.fetching.pop(event[1], None)
            if method is not None and len(event) == _SILENT_FROM[RESULT]:
                self._guard(  # a copy: what the rule does to it must not change the event
                    method, index, getattr(room, method), copy.deepcopy(event[2]), event[3]
                )
            return
        if kind == CLOSE:
            self._guard("on_close", index, room.on_close)
            return
        if kind == JOIN:
            self._join(index, event[1], event[2])
            return
        if kind == LOCK:
            self.locked = event[1]
            return
        if kind == SET:
            self._set(*event[1:])
            return
        player = self.players.get(event[1])
        if player is None:
            if kind == CALL and event[4] is not None:
                self.answers.append(Answer(event[1], event[4], b"", "you are not in the room"))
            return
        if kind == MOVE:
            assert self.game.input is not None, "nobody takes inputs where there are none"
            player.input = self.game.input.convert(event[2])
        elif kind == CALL:
            self._call(index, player, *event[2:])
        elif kind == DROP:
            player.connected = False
            if self.game.input is not None:
                player.input = self.game.input.defaults()
            self._tell("on_drop", index, event, player)
        elif kind == RETURN:
            player.connected = True
            self._tell("on_return", index, event, player)
        elif kind == LEAVE:
            self._tell("on_leave", index, event, player)
            self._remove(player)

    def _set(self, id: int, name: str, value: Any) -> None:
        """An operator's hand: a setting, or an attribute of an entity that is there still."""
        entity = self.replica.entities.get(id)
        if entity is None:
            return
        if entity is self.room and name in self.settings:
            self.settings[name] = value
        setattr(entity, name, copy.deepcopy(value))

    def _tell(self, hook: str, index: int, event: list[Any], player: Player) -> None:
        if len(event) == _SILENT_FROM[event[0]]:
            self._guard(hook, index, getattr(self.room, hook), player)

    def _join(self, index: int, id: str, name: str) -> None:
        player = self.game.room.player(name=name)
        player.id = id
        if self.game.input is not None:
            player.input = self.game.input.defaults()
        if self.locked:
            self.refused[id] = "the room is locked"
            return
        self.players[id] = player
        self.spawn(player)
        try:
            self._guard("on_join", index, self.room.on_join, player)
        except Refuse as no:
            self.refused[id] = str(no) or "the room refused"
            self._remove(player)

    def _remove(self, player: Player) -> None:
        self.players.pop(player.id, None)
        if player.alive:
            self.despawn(player)

    def _call(
        self, index: int, player: Player, name: str, values: list[Any], request: int | None
    ) -> None:
        found = self.game.messages[name]
        try:
            result = self._guard(
                f"message {name}", index, found.call, self.room, player, values, self._look_up
            )
        except Refuse as no:
            self.answers.append(Answer(player.id, request, b"", str(no) or "refused"))
            return
        if request is not None:
            try:
                self.answers.append(Answer(player.id, request, pack(result), None))
            except (TypeError, ValueError, OverflowError) as error:
                raise RuleError(f"the answer of message {name}", index) from error

    def _look_up(self, arguments: Arguments, fields: list[Any], player: Player) -> None:
        """Put entities in the place of their numbers. Raises Refuse for what is not there, or not
        for this player's eyes: a client can't know better."""
        for at, name in enumerate(arguments.names):
            reference = arguments.references.get(name)
            if reference is None or fields[at] is None:
                continue
            entity = self.replica.entities.get(fields[at])
            to = entity.kind.to if entity is not None else None
            if (
                entity is None
                or not isinstance(entity, reference.cls)
                or (to is not None and not may_see(to, entity, player))
            ):
                kind = reference.cls.__name__.lower()
                raise Refuse(f"{name}: there is no {kind} {fields[at]} for you")
            fields[at] = entity

    def forget_output(self) -> None:
        """What came of the last ticks is for nobody: they were run again."""
        for waiting in (self.outbox, self.answers, self.kicked, self.wanted):
            waiting.clear()
        self.refused.clear()

    # ------------------------------------------------------------------ what rules call

    def spawn(self, entity: Any) -> Any:
        if type(entity) not in self.game.by_class:
            raise TypeError(
                f"{type(entity).__name__} is no kind of this game; list it in `kinds` of the room"
            )
        if len(self.replica.entities) >= MOST_ENTITIES:
            raise RuntimeError(f"a room holds {MOST_ENTITIES} entities at most")
        if len(self._free) > REUSE_AFTER:
            id = self._free.popleft()
        else:
            id, self._next_id = self._next_id, self._next_id + 1
        self.replica.enter(entity, id)
        return entity

    def despawn(self, entity: Entity) -> None:
        if entity is self.room:
            raise ValueError("the room itself can't be despawned; use close()")
        self.replica.leave(entity)
        self._free.append(entity._id)

    def each(self, cls: type) -> list[Any]:
        found = [entity for entity in self.replica.entities.values() if isinstance(entity, cls)]
        found.sort(key=_by_id)
        return found

    def send(self, name: str, values: tuple[Any, ...], to: Any, but: Any) -> None:
        declared = self.game.events.get(name)
        if declared is not None:
            declared.convert(list(values))
        elif self.game.events:
            raise ValueError(
                f"no event {name!r} is declared; there are {', '.join(self.game.events)}"
            )
        if to is not None:
            to = tuple(player.id for player in (to if isinstance(to, list | tuple) else [to]))
        # Packed at once, so that what the rule changes later is not part of it.
        packed = pack(list(values))
        kept = tuple(copy.copy(value) for value in values)
        self.outbox.append(Sent(name, kept, to, but and but.id, packed))

    def after(self, seconds: float, method: str, values: tuple[Any, ...], every: float) -> int:
        if not callable(getattr(self.room, method, None)):
            raise AttributeError(f"{type(self.room).__name__} has no method {method!r} to call")
        if not seconds >= 0 or (every and not every > 0):
            raise ValueError(f"{seconds} seconds: a timer needs a time of 0 or more")
        if len(self.timers) >= MOST_TIMERS:
            raise RuntimeError(f"a room has {MOST_TIMERS} timers at most")
        keep(list(values))  # or it could not be kept later on
        id, self._next_timer = self._next_timer, self._next_timer + 1
        due = self.time + seconds
        self.timers[id] = [due, every, method, list(values)]
        self._next_due = min(self._next_due, due)
        return id

    def kick(self, player: Player, reason: str) -> None:
        self.kicked.append((player.id, reason))

    def fetch(self, function: Callable[..., Any], values: tuple[Any, ...], then: str) -> None:
        if not callable(getattr(self.room, then, None)):
            raise AttributeError(f"{type(self.room).__name__} has no method {then!r} to call")
        if len(self.fetching) >= MOST_FETCHES:
            raise RuntimeError(f"a room waits for {MOST_FETCHES} results at most")
        id, self._next_fetch = self._next_fetch, self._next_fetch + 1
        self.fetching[id] = then
        self.wanted.append((id, function, values))

    @property
    def next_due(self) -> float:
        """Room time of the next timer; infinite if there is none."""
        return self._next_due if self.timers else float("inf")

    def _run_timers(self) -> None:
        ran = 0
        while True:
            due = [(row[0], id) for id, row in self.timers.items() if row[0] <= self.time]
            if not due:
                break
            for _, id in sorted(due):
                row = self.timers.get(id)
                if row is None:
                    continue  # cancelled by one before it
                ran += 1
                if ran > MOST_TIMERS_A_TICK:
                    self._next_due = self.time  # the others follow with the next tick
                    return
                if row[1]:
                    row[0] = max(row[0] + row[1], self.time) if not self.hz else row[0] + row[1]
                    if row[0] <= self.time:
                        row[0] = self.time + row[1]
                else:
                    del self.timers[id]
                self._guard(f"timer {row[2]}", None, getattr(self.room, row[2]), *row[3])
        self._next_due = min((row[0] for row in self.timers.values()), default=float("inf"))

    # ------------------------------------------------------------------ to and from bytes

    def dump(self) -> bytes:
        """All of it, as msgpack. Call it between ticks. Raises TypeError naming what can't be
        kept."""
        entities = []
        for entity in self.replica.entities.values():
            try:
                entities.append(_row_of(entity))
            except (TypeError, ValueError, OverflowError, RecursionError) as error:
                _blame(entity)
                raise TypeError(f"{type(entity).__name__} can't be kept: {error}") from error
        state = {
            "tick": self.tick,
            "time": self.time,
            "locked": self.locked,
            "began": self._began,
            "seed": self.seed,
            "settings": self.settings,
            "kinds": [kind.name for kind in self.game.kinds],
            "random": None if self._random is None else _random_state(self._random),
            "timers": [[id, *row] for id, row in self.timers.items()],
            "fetching": self.fetching,
            "next": [self._next_timer, self._next_fetch, self._next_id],
            "free": list(self._free),
            "players": [[id, player._id] for id, player in self.players.items()],
        }
        return keep([state, entities])

    @staticmethod
    def tick_of(data: bytes) -> int:
        """At which tick a dump was made."""
        tick: int = msgpack.unpackb(data, strict_map_key=False, ext_hook=_no_entity)[0]["tick"]
        return tick

    @classmethod
    def load(cls, game: Game, data: bytes) -> Simulation:
        """A simulation that goes on where `dump` was called."""
        state, rows = msgpack.unpackb(data, strict_map_key=False, ext_hook=_no_entity)
        self = cls(game, {**game.choose({}), **_known(game, state["settings"])}, state["seed"])
        entities: dict[int, Any] = {0: self.room}
        classes = {kind.name: kind.owner for kind in game.kinds[1:]}
        named = {number: classes.get(name) for number, name in enumerate(state["kinds"])}
        for row in rows:  # first all of them, then what refers to them
            number, id = _head_of(row)
            cls_ = named[number]
            if id and cls_ is not None:  # else the game has no such kind any more
                entity: Any = cls_.__new__(cls_)
                Entity.__init__(entity)
                if isinstance(entity, Player):
                    entity.input = None
                entities[id] = entity

        def refer(code: int, payload: bytes) -> Any:
            if code == TUPLE:
                return tuple(msgpack.unpackb(payload, strict_map_key=False, ext_hook=refer))
            return entities.get(int.from_bytes(payload, "little")) if code == REFERENCE else None

        for row in rows:
            _, id, values, extra, contained = msgpack.unpackb(
                row, strict_map_key=False, ext_hook=refer
            )
            if id not in entities:
                continue
            entity = entities[id]
            fields = {field.name: field for field in entity.kind.fields}
            for name, value in (values | contained).items():
                _restore(entity, fields.get(name), name, value)
            if extra is not None:
                entity.id = extra[0]
                if game.input is not None:
                    fits = extra[1] is not None and len(extra[1]) == len(game.input.names)
                    entity.input = game.input.convert(extra[1]) if fits else game.input.defaults()
            if id:
                self.replica.enter(entity, id)
        self.replica.know(self.room)
        self.replica.patch()
        self.tick, self.time = state["tick"], state["time"]
        self.locked, self._began = state["locked"], state["began"]
        if state["random"] is not None:
            _set_random_state(self.random, state["random"])
        timers = msgpack.unpackb(keep(state["timers"]), strict_map_key=False, ext_hook=refer)
        # Methods may have gone since, if the rules have changed.
        self.timers = {row[0]: row[1:] for row in timers if hasattr(self.room, row[3])}
        self.fetching = {
            id: method for id, method in state["fetching"].items() if hasattr(self.room, method)
        }
        self._next_timer, self._next_fetch, self._next_id = state["next"]
        self._free.extend(state["free"])
        self.players = {id: entities[at] for id, at in state["players"] if at in entities}
        self._next_due = min((row[0] for row in self.timers.values()), default=float("inf"))
        return self


def _row_of(entity: Entity) -> bytes:
    """``[kind, id, attributes, [id, input] of a player, synced containers]``. The last are
    packed faster: what is in them is frozen, so tuples need no mark."""
    kind, values = entity.kind, dict(entity.__dict__)
    contained = {
        field.name: values.pop(field.name) for field in kind.fields if field.mode in (LIST, DICT)
    }
    extra = [entity.id, _values_of(entity.input)] if isinstance(entity, Player) else None
    head = b"\x95" + pack(kind.number) + pack(entity._id)
    return head + keep(values) + keep(extra) + pack(contained)


def _by_id(entity: Entity) -> int:
    return entity._id


def _values_of(input: Any) -> list[Any] | None:
    return None if input is None else [getattr(input, name) for name in input.__struct_fields__]


def _restore(entity: Entity, field: Field | None, name: str, value: Any) -> None:
    """One attribute from a checkpoint, without noting it."""
    if field is not None and isinstance(field.default, list | dict | tuple):
        entity.__dict__[name] = (
            SyncedDict(value, entity, field)
            if isinstance(value, dict)
            else SyncedList(value, entity, field)
        )
    else:
        entity.__dict__[name] = value


def _known(game: Game, settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of a checkpoint that the game still has, and still allows."""
    kept = {}
    for name, value in settings.items():
        try:
            kept[name] = game.settings[name].check(value)
        except (KeyError, ValueError):
            continue
    return kept


def _blame(entity: Entity) -> None:
    """Raise TypeError that names the attribute that can't be kept."""
    for name, value in entity.__dict__.items():
        try:
            keep(value)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise TypeError(
                f"{type(entity).__name__}.{name} can't be kept: {error}. Rooms may hold numbers, "
                "text, bytes, lists, dicts, entities and players"
            ) from error


def _head_of(row: bytes) -> tuple[int, int]:
    reader = msgpack.Unpacker(strict_map_key=False, ext_hook=_no_entity)
    reader.feed(row)
    reader.read_array_header()
    return reader.unpack(), reader.unpack()


def _no_entity(code: int, payload: bytes) -> Any:
    return msgpack.ExtType(code, payload)


def _random_state(source: random.Random) -> list[Any]:
    version, words, gauss = source.getstate()
    return [version, struct.pack(f"<{len(words)}I", *words), gauss]


def _set_random_state(source: random.Random, state: list[Any]) -> None:
    version, data, gauss = state
    source.setstate((version, struct.unpack(f"<{len(data) // 4}I", data), gauss))
