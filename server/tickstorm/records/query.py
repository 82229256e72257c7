"""What one searches a room's past for, as one would say it: ``hp of Ada falls below 10``."""

from __future__ import annotations

import dataclasses
import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from ..games.entity import Entity
from ..games.simulation import CALL, NAMES, Sent
from ..games.watched import Watched, named, plain

HELP = (
    "say a condition, such as `hp of Ada < 10`, `room.phase becomes over`, `walker.it changes`, "
    "`#12.x > 100`; or what happens: the name of a message, an event, a hook or a timer"
)

_WORDS: dict[str, str] = {
    "falls below": "<", "drops below": "<", "is below": "<", "rises above": ">",
    "is above": ">", "becomes": "==", "is not": "!=", "is": "==", "=": "==", "equals": "==",
}  # fmt: skip
_TESTS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
    "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
_ORDERS = sorted([*_WORDS, *_TESTS], key=len, reverse=True)
_CONDITION = re.compile(
    r"^(?:(?P<field>\w+)\s+of\s+(?P<of>.+?)|(?:(?P<who>[^.<>=!]+?)\.)?(?P<name>\w+))\s*"
    r"(?:(?P<changes>\schanges)|(?P<test>"
    + "|".join(rf"\b{o}\b" if o[0].isalpha() else re.escape(o) for o in _ORDERS)
    + r")\s*(?P<value>.+))$",
    re.IGNORECASE,
)

_ABSENT: Any = object()


@dataclass
class Query:
    """`who`: a player's or an entity's name, a kind, ``room``, ``#id``, or "" for whoever has the
    field; `test`: one of `_TESTS`, ``changes``, or "" to wait for something called `what`."""

    who: str = ""
    field: str = ""
    test: str = ""
    value: Any = None
    what: str = ""
    met: bool = False  # has anything had the field?
    _before: dict[int, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Query:
        """Raises ValueError that says what can be searched for.

        >>> query = Query.parse("hp of Ada falls below 10")
        >>> query.who, query.field, query.test, query.value
        ('Ada', 'hp', '<', 10)
        >>> Query.parse("message say").what
        'say'
        """
        text = text.strip()
        found = _CONDITION.match(text)
        if found:
            name = found["field"] or found["name"]
            who = (found["of"] or found["who"] or "").strip()
            if found["changes"]:
                return cls(who, name, "changes")
            test = found["test"].lower()
            return cls(who, name, _WORDS.get(test, test), _value(found["value"].strip()))
        words = text.split()
        if words and words[0] in ("message", "event", "hook", "timer", "call") and len(words) == 2:
            words = words[1:]
        if len(words) != 1:
            raise ValueError(f"{text!r} is not understood: {HELP}")
        return cls(what=words[0])

    @property
    def absent(self) -> str:
        """What to say where nothing that was looked at could ever fit; else ""."""
        if self.met or not self.field:
            return ""
        return f"Nothing{f' called {self.who}' if self.who else ''} has an attribute {self.field}."

    # ------------------------------------------------------------------ running

    def begin(self, room: Watched) -> None:
        """What holds already is not found."""
        self._before = {e._id: self._held(e) for e in self._subjects(room)} if self.field else {}
        self.met = bool(self._before)

    def look(
        self, room: Watched, events: list[list[Any]], sent: list[Sent]
    ) -> Iterator[dict[str, Any]]:
        """What came about in this tick."""
        if not self.field:
            yield from self._happened(room, events, sent)
            return
        now: dict[int, Any] = {}
        for entity in self._subjects(room):
            self.met = True
            value = now[entity._id] = self._held(entity)
            before = self._before.get(entity._id, _ABSENT)
            if self._came_about(before, value):
                yield {
                    "entity": entity._id,
                    "name": plain(entity.__dict__.get("name")) or self._called(entity),
                    "field": self.field,
                    "before": None if before is _ABSENT else plain(before),
                    "after": plain(value),
                }
        self._before = now

    def _came_about(self, before: Any, value: Any) -> bool:
        if self.test == "changes":
            return before is not _ABSENT and before != value
        return self._holds(value) and (before is _ABSENT or not self._holds(before))

    def _holds(self, value: Any) -> bool:
        try:
            return bool(_TESTS[self.test](value, self.value))
        except TypeError:  # text is not below 10
            return False

    def _held(self, entity: Entity) -> Any:
        value = entity.__dict__[self.field]
        return value[:] if isinstance(value, list) else dict(value) if isinstance(
            value, dict) else value  # fmt: skip

    def _subjects(self, room: Watched) -> list[Entity]:
        entities = room.replica.entities
        who = self.who
        found: list[Entity]
        if not who:
            found = list(entities.values())
        elif who == "room":
            found = [room.room]
        elif who.startswith("#"):
            entity = entities.get(int(who[1:])) if who[1:].isdecimal() else None
            found = [] if entity is None else [entity]
        else:
            found = [e for e in entities.values() if e._id and e.kind.name == who.lower()]
            found = found or named(entities.values(), who)
        return [entity for entity in found if self.field in entity.__dict__]

    @staticmethod
    def _called(entity: Entity) -> str:
        return "room" if entity._id == 0 else f"{entity.kind.name} {entity._id}"

    def _happened(
        self, room: Watched, events: list[list[Any]], sent: list[Sent]
    ) -> Iterator[dict[str, Any]]:
        what = self.what
        for event in events:
            if what in (NAMES[event[0]], event[2] if event[0] == CALL else ""):
                yield {"what": what, "name": self._name(room, event)}
        for row in sent:
            if row.name == what:
                yield {"what": f"event {what}", "name": "", "values": plain(row.values)}
        for fired in room.fired:
            if fired.what == what or fired.what == f"timer {what}":
                yield {"what": fired.what, "name": self._name(room, [0, fired.who])}

    @staticmethod
    def _name(room: Watched, event: list[Any]) -> str:
        who = event[1] if len(event) > 1 else ""
        player = room.players.get(who) if isinstance(who, str) else None
        return player.name if player is not None else str(event[2]) if len(event) > 2 else ""


def _value(text: str) -> Any:
    """As JSON, or the text itself."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return {"True": True, "False": False, "None": None}.get(text, text.strip("'\""))
