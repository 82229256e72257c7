"""Entities: objects whose declared attributes every client sees change.

    class Walker(Entity):
        x: float = synced(0.0, step=0.5, smooth=True)
        name: str = synced("", fixed=True)
        hand: list[str] = synced([], to="owner")
        speed: float = 0.0                          # the room's own: kept, never sent

Setting a synced attribute notes it; nothing is ever scanned for changes. What has no `synced`
is the room's own business: it is kept in checkpoints and never sent.
"""

from __future__ import annotations

import builtins
import copy
import typing
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar

from .checks import DeclarationError, fitting, place_of, type_name

FIXED, SMOOTH, HIDDEN, QUANTISED = 1, 2, 4, 8
"""Flags of a field in the declaration that clients receive."""

SCALAR, STEPPED, LIST, DICT = range(4)
"""How a field's changes travel: whole, as a difference of steps, or as a list of edits."""

MOST_FIELDS = 32
MOST_MASKS = 4096

Change = tuple[int, str, float, int]
"""What a patch needs of a field: ``(mode, name, steps in one, bit)``."""

Audience = str | Callable[[Any, Any], bool]


class Field:
    """One synced attribute. As a data descriptor without `__get__` it is in the way of writes
    only: reads find the value in the instance, at full speed."""

    def __init__(
        self,
        default: Any,
        step: float | None = None,
        smooth: bool = False,
        fixed: bool = False,
        to: Audience | None = None,
        most: int | None = None,
    ):
        if most is not None and not (isinstance(default, list | tuple | dict) and most >= 1):
            raise DeclarationError(f"most={most}: for a list or a dict, at least 1")
        if step is not None and not step > 0:
            raise DeclarationError(f"step={step}: must be larger than 0")
        if step is not None and isinstance(default, bool | str | list | dict):
            raise DeclarationError("step is for numbers")
        self.default = default
        self.step = step
        self.per_step = 0.0 if step is None else 1.0 / step
        self.smooth = smooth
        self.fixed = fixed
        self.to = to
        self.most = most
        self.name = ""
        self.type = "any"
        self.index = 0  # among all fields of its kind
        self.bit = 0  # among the public ones that change; 0 for the others
        self.mode = SCALAR
        if isinstance(default, list | tuple):
            self.mode = LIST
        elif isinstance(default, dict):
            self.mode = DICT
        elif step is not None:
            self.mode = STEPPED

    def __set__(self, entity: Entity, value: Any) -> None:
        values = entity.__dict__
        name = self.name
        if self.mode >= LIST:
            if value is values.get(name):
                return  # `room.scores |= …` assigns what it has changed in place
            value = contain(value, entity, self)
        elif values.get(name, values) == value:
            return
        elif self.fixed and entity._note is not None:
            raise AttributeError(
                f"{type(entity).__name__}.{name} is fixed once it was spawned: despawn it and "
                "spawn another one, or declare it without fixed=True"
            )
        values[name] = value
        bit = self.bit
        if bit and entity._note is not None:
            if not entity._dirty:
                entity._note(entity)
            entity._dirty |= bit

    def flags(self) -> int:
        return (
            FIXED * self.fixed
            | SMOOTH * self.smooth
            | HIDDEN * (self.to is not None)
            | QUANTISED * (self.mode == STEPPED)
        )

    def copy(self) -> Field:
        """For a subclass, in which it may have another place."""
        return copy.copy(self)

    def wire(self, value: Any) -> Any:
        """`value` as it travels when whole."""
        if self.mode == STEPPED:
            return steps(value, self.per_step)
        return value


def steps(value: float, per_step: float) -> int:
    """The nearest step; halves go up, on every platform alike."""
    return int(value * per_step + 0.5) if value >= 0 else -int(0.5 - value * per_step)


def synced(
    default: Any = None,
    *,
    step: float | None = None,
    smooth: bool = False,
    fixed: bool = False,
    to: Audience | None = None,
    most: int | None = None,
) -> Any:
    """An attribute that clients see.

    `step`: the precision that travels, in the attribute's own unit; changes of it cost a byte
    or two. `smooth`: clients draw it between two values. `fixed`: set when spawned, never
    again, and sent once. `to`: who sees it, everybody by default: ``"owner"``, the name of an
    attribute that entity and player share (``"team"``), or ``predicate(entity, player)``. `most`:
    a list or a dict keeps its last so many items; as more come, the first go.

    >>> class Log(Entity):
    ...     lines: list[str] = synced([], most=3)
    >>> log = Log(lines=["a", "b", "c", "d"])
    >>> log.lines.append("e")
    >>> log.lines
    ['c', 'd', 'e']
    """
    return Field(default, step, smooth, fixed, to, most)


class Kind:
    """What the engine knows of an entity class."""

    def __init__(self, owner: type[Entity], to: Audience | None):
        self.name = owner.__name__.lower()
        self.owner = owner
        self.number = -1  # in the declaration of its game
        self.to = to
        self.fields = [field.copy() for field in fields_of(owner)]
        hints = hints_of(owner)
        bit = 1
        for index, field in enumerate(self.fields):
            field.index = index
            owned = field.name == "owner" and fields_of(owner)[-1].name == "owner"
            field.type = "ref" if owned else type_name(hints.get(field.name, "any"))
            if to is None and field.to is None and not field.fixed:
                field.bit, bit = bit, bit << 1
            else:
                field.bit = 0
            setattr(owner, field.name, field)
        if bit.bit_length() > MOST_FIELDS:
            raise DeclarationError(
                f"{owner.__name__} has more than {MOST_FIELDS - 1} public fields that change"
            )
        self.public = [field for field in self.fields if to is None and field.to is None]
        self.hidden = [field for field in self.fields if to is not None or field.to is not None]
        self.changing = [field for field in self.fields if field.bit]
        self.stepped = [field for field in self.fields if field.mode == STEPPED]
        self.by_mask: dict[int, list[Change]] = {}  # those that were asked for, up to `MOST_MASKS`

    def changed(self, mask: int) -> list[Change]:
        """The fields whose bits are set."""
        found = self.by_mask.get(mask)
        if found is None:
            found = [
                (field.mode, field.name, field.per_step, field.bit)
                for field in self.changing if field.bit & mask
            ]  # fmt: skip
            if len(self.by_mask) < MOST_MASKS:
                self.by_mask[mask] = found
        return found

    def declare(self) -> list[Any]:
        hidden = HIDDEN if self.to is not None else 0
        return [
            self.name,
            [[f.name, f.type, f.flags() | hidden, f.step or 0] for f in self.fields],
        ]


class Entity:
    """Something in a room. Made by `Room.spawn`, gone with `Room.despawn`.

    `id`: a small number, used again after a while; `owner`: the player whose it is, or None.
    ``loot.owner = other`` hands it over; who may see it changes with the next patch.
    """

    __slots__ = ("_id", "_note", "_dirty", "_wire", "__dict__", "__weakref__")

    kind: ClassVar[Kind]
    _to: ClassVar[Audience | None] = None
    _defaults: ClassVar[list[tuple[str, Any]]]  # of each class: see `defaults_of`

    owner: Any = synced(None)

    def __init_subclass__(cls, to: Audience | None = None, **rest: Any):
        super().__init_subclass__(**rest)
        if to is not None:
            cls._to = to
        for name, value in list(vars(cls).items()):
            if isinstance(value, Field):
                value.name = name
                _check_default(cls, value)
        cls.kind = Kind(cls, cls._to)

    def __init__(self, **values: Any):
        self._id = -1
        self._note: Callable[[Entity], None] | None = None
        self._dirty = 0
        self._wire: dict[str, int] = {}
        for name, default in defaults_of(type(self)):
            setattr(self, name, copy.deepcopy(default))
        known = type(self)
        for name, value in values.items():
            if not hasattr(known, name) and name not in self.__dict__:
                raise AttributeError(f"{known.__name__} has no attribute {name!r} to spawn it with")
            setattr(self, name, value)

    @property
    def id(self) -> Any:
        """A small number, its own while it is in the room."""
        return self._id

    @property
    def alive(self) -> bool:
        """Is it in the room? False for what was despawned and for a player who has left for good,
        wherever a rule still holds it: in an attribute, or in the arguments of a timer. (A
        player who dropped is in the room, with `connected` False.) Clients, and the room after a
        restart, have None in its place."""
        return self._note is not None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._id}>"


Entity.__dict__["owner"].name = "owner"


def fields_of(cls: type) -> list[Field]:
    """Synced fields in order of declaration, those of base classes first, `owner` last."""
    found: dict[str, Field] = {}
    for base in reversed(cls.__mro__):
        for name, value in vars(base).items():
            if isinstance(value, Field):
                found.pop(name, None) if name == "owner" else None
                found[name] = value
    owner = found.pop("owner", None)
    if owner is not None and getattr(cls, "_has_owner", True):
        found["owner"] = owner
    return list(found.values())


def defaults_of(cls: type[Entity]) -> list[tuple[str, Any]]:
    """Attributes with a value of their own in each instance: synced ones, and annotated ones
    whose default is a list or a dict (else all instances would share it)."""
    found = cls.__dict__.get("_defaults")
    if found is None:
        rows = {field.name: field.default for field in fields_of(cls)}
        for base in reversed(cls.__mro__):
            for name, annotation in getattr(base, "__annotations__", {}).items():
                if "ClassVar" in str(annotation):
                    continue  # what a class declares, such as a room's events
                value = getattr(cls, name, None)
                if isinstance(value, list | dict) and not name.startswith("_"):
                    rows.setdefault(name, value)
        found = list(rows.items())
        cls._defaults = found
    return found


def hints_of(cls: type) -> dict[str, Any]:
    """Annotations as written, of the class and its bases."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        found.update(getattr(base, "__annotations__", {}))
    return found


_JUDGED = {
    name: getattr(typing, name, None) or getattr(builtins, name, None)
    for name in "int float bool str bytes list dict tuple Any Literal Optional Union".split()
}


def _check_default(cls: type, field: Field) -> None:
    """Raises DeclarationError, with file and line, unless the default is of the type that is
    written there. Types with a name of the game's own, such as an entity's, are not judged."""
    written = type_name(hints_of(cls).get(field.name, "any"))
    try:
        wanted = eval(written, {"__builtins__": {}}, _JUDGED)
    except (NameError, TypeError, SyntaxError, AttributeError):
        return
    fitting(field.default, wanted, f"{place_of(cls, field.name)}: {cls.__name__}.{field.name}")


class Player(Entity):
    """Somebody in the room, and an entity like any other: what a subclass declares is that
    player's synced state.

    `id`: who it is, the same after every return: what `on_auth` says, else an id of the
    session's; `input`: the newest checked input (a game's `Input`, or None); `connected`: False
    while the player is away and may yet return.
    """

    __slots__ = ("id", "input")
    _has_owner = False

    name: str = synced("", fixed=True)
    connected: bool = synced(True)

    def __init__(self, **values: Any):
        super().__init__(**values)
        self.id = ""
        self.input: Any = None

    if typing.TYPE_CHECKING:
        id: str

        def __getattr__(self, name: str) -> Any: ...  # authors add attributes of their own
        def __setattr__(self, name: str, value: Any) -> None: ...


# ------------------------------------------------------------------ lists and dicts

SET, INSERT, DELETE, WHOLE = range(4)
"""Edits of a list: [SET, i, value], [INSERT, i, value], [DELETE, i], [WHOLE, list]; of a dict:
[SET, key, value], [DELETE, key], [WHOLE, dict]."""


class FrozenDict(dict):
    """A dict inside a synced list or dict: to change it, replace it."""

    def _refuse(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("a dict inside a synced list or dict can't be changed: replace it")

    __setitem__ = __delitem__ = update = pop = popitem = clear = setdefault = _refuse


def freeze(value: Any) -> Any:
    """What is inside of containers can't be changed unnoticed.

    >>> freeze([1, [2]])
    (1, (2,))
    """
    if isinstance(value, list | tuple):
        return tuple(freeze(item) for item in value)
    if isinstance(value, dict):
        return FrozenDict((key, freeze(item)) for key, item in value.items())
    return value


def contain(value: Any, entity: Entity, field: Field) -> SyncedList | SyncedDict:
    """A tracked copy of a list or a dict."""
    if field.mode == LIST:
        if not isinstance(value, list | tuple):
            raise TypeError(f"{type(entity).__name__}.{field.name} is a list, not {value!r}")
        return SyncedList(value, entity, field)
    if not isinstance(value, dict):
        raise TypeError(f"{type(entity).__name__}.{field.name} is a dict, not {value!r}")
    return SyncedDict(value, entity, field)


class _Edits:
    """What was done to a container since it was last sent."""

    _edits: list[list[Any]] | None
    _entity: Entity
    _field: Any  # a Field; named so here, it would be taken for a descriptor

    if typing.TYPE_CHECKING:

        def __len__(self) -> int: ...

    def _edited(self, *edit: Any) -> None:
        entity, field = self._entity, self._field
        if not field.bit or entity._note is None:
            return
        edits = self._edits
        if edits is not None:
            if len(edits) >= 16 and len(edits) > len(self):
                self._edits = None  # the whole is shorter
            else:
                edits.append(list(edit))
        if not entity._dirty:
            entity._note(entity)
        entity._dirty |= field.bit

    def take_edits(self) -> list[list[Any]]:
        """The edits since the last call, for the wire."""
        edits, self._edits = self._edits, []
        return [[WHOLE, plain(self)]] if edits is None else edits

    def __deepcopy__(self, memo: Any) -> Any:
        return plain(self)


def plain(value: Any) -> Any:
    """An untracked copy of a container."""
    return dict(value) if isinstance(value, dict) else list(value)


class SyncedList(list, _Edits):
    """A list that notes what is done to it. Items are frozen."""

    def __init__(self, items: Iterable[Any], entity: Entity, field: Field):
        super().__init__(freeze(item) for item in items)
        self._entity, self._field = entity, field
        self._edits = None
        if field.most is not None and len(self) > field.most:
            super().__delitem__(slice(len(self) - field.most))

    def _at(self, index: int) -> int:
        return index + len(self) if index < 0 else index

    def __setitem__(self, index: Any, value: Any) -> None:
        if isinstance(index, slice):
            super().__setitem__(index, [freeze(item) for item in value])
            self._all()
            self._shorten()
            return
        value = freeze(value)
        super().__setitem__(index, value)
        self._edited(SET, self._at(index), value)

    def __delitem__(self, index: Any) -> None:
        if isinstance(index, slice):
            super().__delitem__(index)
            self._all()
            return
        at = self._at(index)
        super().__delitem__(index)
        self._edited(DELETE, at)

    def append(self, value: Any) -> None:
        self.insert(len(self), value)

    def insert(self, index: typing.SupportsIndex, value: Any) -> None:
        value = freeze(value)
        at = min(max(self._at(int(index)), 0), len(self))
        super().insert(at, value)
        self._edited(INSERT, at, value)
        self._shorten()

    def _shorten(self) -> None:
        """The first go, as far as there are more than there may be."""
        most = self._field.most
        if most is not None:
            for _ in range(len(self) - most):
                del self[0]

    def extend(self, values: Iterable[Any]) -> None:
        for value in list(values):
            self.append(value)

    def __iadd__(self, values: Iterable[Any]) -> SyncedList:  # type: ignore[misc]  # unlike + and *, in place
        self.extend(values)
        return self

    def pop(self, index: typing.SupportsIndex = -1) -> Any:
        at = self._at(int(index))
        value = super().pop(index)
        self._edited(DELETE, at)
        return value

    def remove(self, value: Any) -> None:
        del self[self.index(value)]

    def clear(self) -> None:
        super().clear()
        self._all()

    def sort(self, **how: Any) -> None:
        super().sort(**how)
        self._all()

    def reverse(self) -> None:
        super().reverse()
        self._all()

    def __imul__(self, times: Any) -> SyncedList:  # type: ignore[misc]  # unlike + and *, in place
        super().__imul__(times)
        self._all()
        self._shorten()
        return self

    def _all(self) -> None:
        self._edits = None
        self._edited()


class SyncedDict(dict, _Edits):
    """A dict that notes what is done to it. Values are frozen."""

    def __init__(self, items: dict[Any, Any], entity: Entity, field: Field):
        super().__init__((key, freeze(value)) for key, value in items.items())
        self._entity, self._field = entity, field
        self._edits = None
        if field.most is not None:
            for key in list(self)[: -field.most]:
                super().__delitem__(key)

    def __setitem__(self, key: Any, value: Any) -> None:
        value = freeze(value)
        super().__setitem__(key, value)
        self._edited(SET, key, value)
        if self._field.most is not None and len(self) > self._field.most:
            del self[next(iter(self))]

    def __delitem__(self, key: Any) -> None:
        super().__delitem__(key)
        self._edited(DELETE, key)

    def setdefault(self, key: Any, default: Any = None) -> Any:
        if key not in self:
            self[key] = default
        return self[key]

    def update(self, *args: Any, **kwargs: Any) -> None:
        for key, value in dict(*args, **kwargs).items():
            self[key] = value

    def __ior__(self, other: Any) -> SyncedDict:  # type: ignore[misc]  # unlike |, in place
        self.update(other)
        return self

    _MISSING: ClassVar[Any] = object()

    def pop(self, key: Any, default: Any = _MISSING) -> Any:
        if key not in self:
            if default is SyncedDict._MISSING:
                raise KeyError(key)
            return default
        value = self[key]
        del self[key]
        return value

    def popitem(self) -> tuple[Any, Any]:
        key, value = super().popitem()
        self._edited(DELETE, key)
        return key, value

    def clear(self) -> None:
        super().clear()
        self._edits = None
        self._edited()


def references(value: Any) -> Iterator[Entity]:
    """The entities in a value."""
    if isinstance(value, Entity):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from references(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from references(item)
