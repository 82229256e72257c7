"""What a value may be: the checks of inputs, messages and settings, and the types on the wire.

A check stands as a default value, so that type checkers see plain types::

    class Walk(Input):
        dx: int = whole(-1, 1)


    @message
    def say(self, player: Player, words: str = text(200)) -> None: ...

Values are checked by `msgspec`, in C, before a rule sees them.
"""

from __future__ import annotations

import inspect
import re
import types
import typing
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta


class DeclarationError(TypeError):
    """A game declares something that can't be; the message names the place and what can."""


def place_of(thing: Any, attribute: str = "") -> str:
    """``file.py:12`` of a class or a function, or of an attribute that a class declares."""
    try:
        lines, first = inspect.getsourcelines(thing)
        declares = re.compile(rf"\s+{attribute}\s*[:=]").match
        more = next((at for at, line in enumerate(lines) if declares(line)), 0) if attribute else 0
        return f"{inspect.getsourcefile(thing)}:{first + more}"
    except (OSError, TypeError):
        return getattr(thing, "__module__", "?")


@dataclass(frozen=True)
class Check:
    """A type with bounds. `default`: what an input is before the first one came, and, where it was
    `given`, what a message's argument is that was left out."""

    type: Any
    default: Any
    low: float | None = None
    high: float | None = None
    given: bool = False

    @property
    def spec(self) -> Any:
        """The same for msgspec."""
        if self.type is str:
            return Annotated[str, Meta(max_length=int(self.high or 0))]
        if self.low is None:
            return self.type
        return Annotated[self.type, Meta(ge=self.low, le=self.high)]

    def check(self, value: Any) -> Any:
        """`value` if it fits. Raises ValueError that says what is allowed.

        >>> whole(1, 6).check(7)
        Traceback (most recent call last):
            ...
        ValueError: a whole number from 1 to 6
        """
        try:
            return msgspec.convert(value, self.spec)
        except msgspec.ValidationError:
            raise ValueError(self.words) from None

    @property
    def words(self) -> str:
        """What is allowed, in words."""
        if self.type is str:
            return f"text of at most {self.high} characters"
        if self.type is bool:
            return "true or false"
        if self.low is not None:
            kind = "a whole number" if self.type is int else "a number"
            return f"{kind} from {self.low:g} to {self.high:g}"
        return "one of " + ", ".join(map(str, typing.get_args(self.type)))


def whole(low: int, high: int, default: int | None = None) -> Any:
    """A whole number, both ends included. Default: 0, or `low` where 0 is not allowed."""
    _ordered(low, high)
    return Check(int, _default(low, high, default), low, high, default is not None)


def number(low: float, high: float, default: float | None = None) -> Any:
    """A number, both ends included; never NaN. Default as for `whole`."""
    _ordered(low, high)
    value = float(_default(low, high, default))
    return Check(float, value, float(low), float(high), default is not None)


def flag(default: bool | None = None) -> Any:
    """True or false. Default: false."""
    return Check(bool, bool(default), given=default is not None)


def text(most: int, default: str | None = None) -> Any:
    """Text of at most so many characters. Default: none."""
    return Check(str, default or "", 0, most, default is not None)


def choice(*values: str | int) -> Any:
    """One of these; the first is the default."""
    if not values:
        raise DeclarationError("choice() needs at least one value")
    return Check(Literal[values], values[0])


def _ordered(low: float, high: float) -> None:
    if not low <= high:
        raise DeclarationError(f"{low} to {high}: the lower end comes first")


def _default(low: float, high: float, default: float | None) -> Any:
    if default is None:
        return 0 if low <= 0 <= high else low
    if not low <= default <= high:
        raise DeclarationError(f"the default {default} is not from {low} to {high}")
    return default


# ------------------------------------------------------------------ tuples of named values


@dataclass(frozen=True)
class Reference:
    """An argument that is an entity of a class. It travels as the entity's number."""

    cls: type
    optional: bool = False  # or None

    @property
    def spec(self) -> Any:
        number = Annotated[int, Meta(ge=0)]
        return number | None if self.optional else number

    @property
    def type(self) -> str:
        """As it is written."""
        return self.cls.__name__ + " | None" * self.optional


class EntityInEvent(Reference):
    """An entity in an event: rules send it as itself."""

    @property
    def spec(self) -> Any:
        return self.cls | None if self.optional else self.cls


class Arguments:
    """Named values that travel as a list: the fields of an input, the arguments of a message.

    `fields`: by name a Check, a Reference or a plain annotation; `defaults`: of those that may be
    left out, the last ones.
    """

    def __init__(self, where: str, fields: dict[str, Any], defaults: dict[str, Any] | None = None):
        self.where = where
        self.fields = fields
        self.names = list(fields)
        self.defaults_of = defaults or {}
        self.references = {n: f for n, f in fields.items() if isinstance(f, Reference)}
        specs: list[Any] = []
        for name, field in fields.items():
            spec = check_of(field, f"{where}: {name}")
            if name in self.defaults_of:
                default = fitting(self.defaults_of[name], spec, f"{where}: {name}")
                specs.append(
                    (name, spec, msgspec.field(default_factory=partial(deepcopy, default)))
                )
            else:
                specs.append((name, spec))
        try:
            self.struct = msgspec.defstruct(
                re.sub(r"\W", "_", where), specs, array_like=True, forbid_unknown_fields=True
            )
            self.decoder = msgspec.msgpack.Decoder(self.struct)
        except TypeError as error:
            raise DeclarationError(f"{where}: {error}") from None

    def convert(self, values: Any) -> Any:
        """A struct with these attributes. Raises ValueError that names the field.

        >>> Arguments("walk", {"dx": whole(-1, 1)}).convert([2])
        Traceback (most recent call last):
            ...
        ValueError: walk: dx: Expected `int` <= 1
        """
        try:
            return msgspec.convert(values, self.struct)
        except msgspec.ValidationError as error:
            raise ValueError(self.explain(error)) from None

    def fresh(self, values: Any) -> Any:
        """The same as `convert`, with lists and dicts of its own: rules may change them."""
        if any(type(value) in (list, dict) for value in values):
            return self.decoder.decode(msgspec.msgpack.encode(values))
        return self.convert(values)

    def explain(self, error: msgspec.ValidationError) -> str:
        """The same error, with the field's name."""
        said, _, path = str(error).partition(" - at `$")
        found = re.match(r"\[(\d+)\]|\.(\w+)", path)
        if found is None:
            return f"{self.where}: {said}"
        name = self.names[int(found[1])] if found[1] else found[2]
        reference = self.references.get(name)
        if reference is not None and not isinstance(reference, EntityInEvent):
            got = said.partition(", got ")[1:]
            said = f"Expected a {reference.cls.__name__.lower()} or its id{''.join(got)}"
        return f"{self.where}: {name}: {said}"

    def defaults(self) -> Any:
        """The struct of all defaults. Only for those whose fields are all checks."""
        return self.struct(*[check.default for check in self.fields.values()])

    def declare(self) -> list[list[Any]]:
        """``[[name, type, low, high, default], …]``, as clients receive it."""
        rows = []
        for name, check in self.fields.items():
            if isinstance(check, Check):
                rows.append([name, type_name(check.type), check.low, check.high, check.default])
            else:
                written = check.type if isinstance(check, Reference) else type_name(check)
                rows.append([name, written, None, None, None])
        return rows

    def declare_message(self) -> list[list[Any]]:
        """The same for a message: a default only where the argument may be left out."""
        return [
            [*row[:4], self.defaults_of[row[0]]] if row[0] in self.defaults_of else row[:4]
            for row in self.declare()
        ]


_CARRIED = (int, float, bool, str, bytes, list, dict, tuple, type(None), Any)


def check_of(annotation: Any, where: str) -> Any:
    """An annotation for msgspec. Raises DeclarationError for what the wire can't carry."""
    if isinstance(annotation, Check | Reference):
        return annotation.spec
    _must_carry(annotation, where)
    return annotation


def fitting(default: Any, spec: Any, where: str) -> Any:
    """A default that is of its own type. Raises DeclarationError."""
    try:
        return msgspec.convert(default, spec)
    except msgspec.ValidationError as error:
        raise DeclarationError(
            f"{where}: the default {default!r} is not allowed: {error}"
        ) from None


def _must_carry(annotation: Any, where: str) -> None:
    origin = typing.get_origin(annotation)
    if origin is Literal:
        return
    if origin is Annotated:
        annotation = typing.get_args(annotation)[0]
        origin = typing.get_origin(annotation)
    if origin is None:
        if annotation in _CARRIED:
            return
        raise DeclarationError(
            f"{where}: {type_name(annotation)} can't travel; what can: numbers, bool, str, bytes, "
            "lists, tuples and dicts of them"
        )
    if origin not in (list, dict, tuple, typing.Union, types.UnionType):
        raise DeclarationError(f"{where}: {type_name(annotation)} can't travel")
    for part in typing.get_args(annotation):
        if part is not Ellipsis:
            _must_carry(part, where)


def type_name(annotation: Any) -> str:
    """A type as it is written.

    >>> type_name(int), type_name(list[int]), type_name("str | None")
    ('int', 'list[int]', 'str | None')
    """
    if isinstance(annotation, str):
        return annotation
    if annotation is Any:
        return "any"
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return annotation.__name__
    return str(annotation).replace("typing.", "")
