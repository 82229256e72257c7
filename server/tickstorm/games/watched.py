"""A simulation that tells what its rules did: which hook, message, timer or step ran, what each
changed, and in which line. For looking into a room; servers that only play don't use it.

`fired` is always kept, and cheap. For the rest, `watching` is set while one tick is looked at:
then whatever an entity holds is compared before and after each act, and between the lines of the
author's code.
"""

from __future__ import annotations

import inspect
import math
import sys
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from .entity import Entity, Player
from .room import Game
from .simulation import MOVE, NAMES, Sent, Simulation

MOST_FIRED = 400
"""Of what fired, so much is remembered; the oldest is forgotten first."""

MOST_LINES = 20_000
MOST_TRACED = 300
"""Beyond so many lines in a tick, or entities in the room, changes are told by act, not by line."""

Facts = dict[int, dict[str, Any]]
"""By entity: what it holds, by name."""


class Fired(NamedTuple):
    """A rule that ran, other than the step. `who`: the player's id, if one was behind it."""

    tick: int
    what: str
    who: str


@dataclass
class Change:
    """An attribute was set. `line`: ``file.py:12``, where that could be told."""

    entity: int
    field: str
    before: Any
    after: Any
    line: str = ""


@dataclass
class Act:
    """One thing that happened in a tick, and what came of it. `event`: the index of the event
    that led to it, or None for timers and the step."""

    what: str
    event: int | None
    who: str = ""
    changes: list[Change] = field(default_factory=list)
    came: list[int] = field(default_factory=list)
    went: list[int] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)
    answer: Any = None
    refused: str | None = None

    @property
    def empty(self) -> bool:
        return not (
            self.changes or self.came or self.went or self.sent or self.answer or self.refused
        )


class Watched(Simulation):
    """A `Simulation` in all that it does."""

    def __init__(self, game: Game, settings: dict[str, Any], seed: int):
        self.fired: deque[Fired] = deque(maxlen=MOST_FIRED)
        self.watching = False
        self.acts: list[Act] = []
        self._known: Facts = {}
        self._event: list[Any] = []
        self._told = 0  # of what was sent
        self._place = ""
        self._lines = 0
        self._folder = str(Path(inspect.getfile(game.room)).parent)
        super().__init__(game, settings, seed)

    def watch(self, events: list[list[Any]], stepping: bool = True) -> list[Act]:
        """`advance`, and all that happened in it. Raises RuleError; `acts` is what came before."""
        self.watching, self.acts, self._told, self._lines = True, [], len(self.outbox), 0
        self._known = facts(self)
        try:
            self.advance(events, stepping)
        finally:
            self.watching = False
        return self.acts

    # ------------------------------------------------------------------ what ran

    def _take(self, index: int, event: list[Any]) -> None:
        self._event = event
        answers = len(self.answers)
        super()._take(index, event)
        if not self.watching:
            return
        # What is left is the engine's own doing: an input is held, a player's entity goes.
        act = self._act(NAMES[event[0]], index)
        if event[0] == MOVE and event[1] in self.players:
            act.who = event[1]
        self._settle(act)
        if act.empty:
            self.acts.pop()
        if len(self.answers) > answers:
            if not self.acts or self.acts[-1].event != index:
                self._act(NAMES[event[0]], index)
            self.acts[-1].answer = self.answers[-1]

    def _guard(self, what: str, event: int | None, function: Callable[..., Any], *args: Any) -> Any:
        player = next((arg for arg in args if isinstance(arg, Player)), None)
        who = player.id if player is not None and event is not None else ""
        if what != "step":
            self.fired.append(Fired(self.tick, what, who))
        if not self.watching:
            return super()._guard(what, event, function, *args)
        if event is not None:
            self._settle(self._act(NAMES[self._event[0]], event, who))
            if self.acts[-1].empty:
                self.acts.pop()
        act = self._act(what, event, who)
        refused = set(self.refused)
        before, traced = sys.gettrace(), len(self.replica.entities) <= MOST_TRACED
        try:
            if traced:
                sys.settrace(self._trace)
            return super()._guard(what, event, function, *args)
        except Exception as error:
            act.refused = str(error.__cause__ or error) or type(error).__name__
            raise
        finally:
            sys.settrace(before)
            self._settle(act)
            self._place = ""
            for id in set(self.refused) - refused:
                act.refused = self.refused[id]

    def _step(self) -> None:
        self._guard("step", None, self.room.step, self._dt)

    def _act(self, what: str, event: int | None, who: str = "") -> Act:
        act = Act(what, event, who)
        self.acts.append(act)
        return act

    # ------------------------------------------------------------------ what changed

    def _settle(self, act: Act) -> None:
        """What is other than it was belongs to this act, and to the line that ran last."""
        known = self._known
        for id, entity in self.replica.entities.items():
            held = known.get(id)
            if held is None:
                act.came.append(id)
                known[id] = held_by(entity)
                continue
            self._compare(act, id, entity, held)
        if len(known) > len(self.replica.entities):
            for id in [id for id in known if id not in self.replica.entities]:
                act.went.append(id)
                del known[id]
        act.sent += self.outbox[self._told :]
        self._told = len(self.outbox)

    def _compare(self, act: Act, id: int, entity: Entity, held: dict[str, Any]) -> None:
        now = entity.__dict__
        for name, value in now.items():
            before = held.get(name)
            if value is before or (type(value) is type(before) and _same(value, before)):
                continue
            copy = _copied(value)
            if name in held and type(copy) is type(before) and _same(copy, before):
                continue
            act.changes.append(Change(id, name, before, copy, self._place))
            held[name] = copy
        if isinstance(entity, Player) and entity.input is not held.get("input"):
            act.changes.append(Change(id, "input", held.get("input"), entity.input, self._place))
            held["input"] = entity.input
        if len(held) > len(now) + 1:
            for name in [name for name in held if name not in now and name != "input"]:
                act.changes.append(Change(id, name, held.pop(name), None, self._place))

    def _trace(self, frame: FrameType, event: str, arg: Any) -> Any:
        """The interpreter tells of each line of the author's."""
        name = frame.f_code.co_filename
        if not name.startswith(self._folder) or self._lines > MOST_LINES:
            return None
        return self._trace_line

    def _trace_line(self, frame: FrameType, event: str, arg: Any) -> Any:
        self._lines += 1
        if self._lines > MOST_LINES:
            sys.settrace(None)
            return None
        self._settle(self.acts[-1])
        back = frame.f_back if event == "return" else frame
        if back is not None and back.f_code.co_filename.startswith(self._folder):
            self._place = f"{Path(back.f_code.co_filename).name}:{back.f_lineno}"
        return self._trace_line


def _same(a: Any, b: Any) -> bool:
    return a == b or (isinstance(a, float) and math.isnan(a) and math.isnan(b))


def _copied(value: Any) -> Any:
    """What a rule may change in place, as it is now."""
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copied(item) for item in value]
    return value


def held_by(entity: Entity) -> dict[str, Any]:
    """All that an entity holds, synced or not, by name; of players their input, too."""
    held = {name: _copied(value) for name, value in entity.__dict__.items()}
    if isinstance(entity, Player):
        held["input"] = entity.input
    return held


def facts(simulation: Simulation) -> Facts:
    """All that the entities of a room hold."""
    return {id: held_by(entity) for id, entity in simulation.replica.entities.items()}


def plain(value: Any) -> Any:
    """A value of a room as JSON can carry it; entities as ``{"$": id}``.

    >>> plain([1, (2.5, float("inf")), b"ab"])
    [1, [2.5, 'inf'], "b'ab'"]
    """
    if isinstance(value, Entity):
        return {"$": value._id}
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if hasattr(value, "__struct_fields__"):  # an input
        return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    return repr(value)


def named(entities: Iterable[Entity], name: str) -> list[Entity]:
    """Those whose field `name` says so; capitals don't count."""
    wanted = name.casefold()
    return [e for e in entities if str(e.__dict__.get("name", "")).casefold() == wanted]
