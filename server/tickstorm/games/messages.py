"""Messages of a game's own: methods that clients may call, in rooms of objects and in crowds.

    @message(per_second=10)
    def say(self, player: Walker, words: str = text(200)) -> None: ...

The wire, the checks, the rate, the journal and the clients' types follow from the method. In a
crowd its first argument is the player's row.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar, overload
from weakref import WeakKeyDictionary

from .checks import Arguments, Check, DeclarationError, Reference, place_of

MESSAGES_PER_SECOND = 20.0
MESSAGE_BYTES = 4096

F = TypeVar("F", bound=Callable[..., Any])

LookUp = Callable[[Arguments, list[Any], Any], None]
"""Called with the arguments' declaration, their values, and who said it."""


class Refuse(Exception):
    """Raised by a rule to say no, with the reason: a request is answered with it, a join refused.
    What the rule changed before stays: refuse first."""


@dataclass(frozen=True)
class Message:
    """A method that clients may call. `per_second`: for each player, twice as many at once;
    `most_bytes`: of the whole message."""

    name: str
    arguments: Arguments
    per_second: float
    most_bytes: int

    def check(self, values: list[Any], size: int) -> None:
        """Raises ValueError, with the field and what is allowed, unless `values` fit; `size`: bytes
        of the message."""
        if size > self.most_bytes:
            raise ValueError(f"{self.name}: {size} bytes, {self.most_bytes} are allowed")
        self.arguments.convert(values)

    def afford(self, buckets: dict[str, list[float]], now: float) -> bool:
        """May a player say it now? `buckets`: the player's, ``[credit, when]`` by message."""
        bucket = buckets.get(self.name)
        if bucket is None:
            bucket = buckets[self.name] = [2 * self.per_second, now]
        earned = (now - bucket[1]) * self.per_second
        bucket[:] = min(2 * self.per_second, bucket[0] + earned), now
        if bucket[0] < 1:
            return False
        bucket[0] -= 1
        return True

    def call(self, rules: Any, who: Any, values: list[Any], look_up: LookUp | None = None) -> Any:
        """Call the method with values of its own. `look_up` puts entities in the place of their
        numbers. Raises what it and the method raise."""
        arguments = self.arguments.fresh(values)
        fields = [getattr(arguments, field) for field in self.arguments.names]
        if self.arguments.references and look_up is not None:
            look_up(self.arguments, fields, who)
        return getattr(rules, self.name)(who, *fields)


@overload
def message(function: F) -> F: ...
@overload
def message(*, per_second: float = ..., most_bytes: int = ...) -> Callable[[F], F]: ...


def message(
    function: Any = None,
    *,
    per_second: float = MESSAGES_PER_SECOND,
    most_bytes: int = MESSAGE_BYTES,
) -> Any:
    """Clients may call this method. Its first argument is the player (in a crowd, the player's
    row); the others are checked against their annotations and checks before it is called. One with
    a default, `times: int = 1` or `times: int = whole(1, 9, default=1)`, may be left out. One whose
    type is an entity class arrives as the entity; what has gone, or the player may not see, is
    refused with the reason. What it returns answers a `request`."""

    def mark(function: Any) -> Any:
        function._message = (float(per_second), int(most_bytes))
        return function

    return mark if function is None else mark(function)


_KNOWN: WeakKeyDictionary[type, dict[str, Message]] = WeakKeyDictionary()


def messages_of(rules: type, entities: tuple[type, ...] = ()) -> dict[str, Message]:
    """The messages of a class, by name. `entities`: classes that an argument may be. Raises
    DeclarationError, with file and line."""
    if rules not in _KNOWN:
        _KNOWN[rules] = {found.name: found for found in _messages(rules, entities)}
    return _KNOWN[rules]


def _messages(rules: type, entities: tuple[type, ...]) -> Iterable[Message]:
    for name in dir(rules):
        function = getattr(rules, name, None)
        marks = getattr(function, "_message", None)
        if marks is None or function is None:
            continue
        where = f"{place_of(function)}: {rules.__name__}.{name}"
        try:
            parameters = list(inspect.signature(function, eval_str=True).parameters.values())
        except NameError as error:
            raise DeclarationError(f"{where}: {error}") from None
        if len(parameters) < 2:
            raise DeclarationError(f"{where}: a message takes self and the player at least")
        fields: dict[str, Any] = {}
        defaults: dict[str, Any] = {}
        for parameter in parameters[2:]:
            default, annotation = parameter.default, parameter.annotation
            if isinstance(default, Check):
                fields[parameter.name] = default
                if default.given:
                    defaults[parameter.name] = default.default
                continue
            if annotation is inspect.Parameter.empty:
                raise DeclarationError(
                    f"{where}: {parameter.name} needs a type, such as `{parameter.name}: int`"
                )
            fields[parameter.name] = reference_of(annotation, entities) or annotation
            if default is not inspect.Parameter.empty:
                defaults[parameter.name] = default
        try:
            arguments = Arguments(name, fields, defaults)
        except DeclarationError as error:
            raise DeclarationError(f"{where}: {error}") from None
        yield Message(name, arguments, *marks)


def reference_of(
    annotation: Any, entities: tuple[type, ...], kind: type[Reference] = Reference
) -> Reference | None:
    """What an argument is whose type is one of these classes, or a base of one."""
    parts = typing.get_args(annotation)
    optional = len(parts) == 2 and type(None) in parts
    cls = next(part for part in parts if part is not type(None)) if optional else annotation
    known = isinstance(cls, type) and any(issubclass(entity, cls) for entity in entities)
    return kind(cls, optional) if known and cls is not object else None


def declared(messages: dict[str, Message]) -> dict[str, list[list[Any]]]:
    """Messages as clients receive them: ``{name: [[field, type, low, high], …]}``, with a default
    where the argument may be left out."""
    return {name: found.arguments.declare_message() for name, found in messages.items()}
