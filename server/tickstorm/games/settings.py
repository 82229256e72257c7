"""What whoever creates a room may choose, as a game declares it.

    class Tag(Room):
        round_s: int = setting(60, low=10, high=600, help="length of a round, seconds")

The HTTP API checks it, pages find it in ``room.settings``, and the option `SETTINGS` says what it
is where nobody chose.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .checks import DeclarationError


@dataclass(frozen=True)
class Setting:
    """What may be chosen when a room is created."""

    default: Any
    low: float | None
    high: float | None
    choices: tuple[Any, ...]
    help: str

    def check(self, value: Any) -> Any:
        """Raises ValueError that says what is allowed."""
        if self.choices:
            if value not in self.choices or type(value) is not type(self.default):
                raise ValueError("one of " + ", ".join(map(str, self.choices)))
            return value
        if isinstance(self.default, float) and type(value) is int:
            value = float(value)
        if type(value) is not type(self.default):
            raise ValueError(_KINDS[type(self.default)])
        if self.low is not None and self.high is not None:
            size = len(value) if isinstance(value, str) else value
            if not self.low <= size <= self.high:
                unit = " characters" if isinstance(value, str) else ""
                raise ValueError(
                    f"{_KINDS[type(self.default)]} from {self.low:g} to {self.high:g}{unit}"
                )
        return value

    def read(self, text: str) -> Any:
        """A value as an option says it. Raises ValueError as `check` does.

        >>> setting(60, low=10, high=600).read("120"), setting(False).read("true")
        (120, True)
        """
        kind = type(self.default)
        value: Any
        try:
            value = {"true": True, "false": False}.get(text) if kind is bool else kind(text)
        except ValueError:
            value = None
        return self.check(value)


_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def setting(
    default: Any,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: Iterable[Any] = (),
    help: str = "",
) -> Any:
    """An attribute that whoever creates a room may choose, within bounds. Clients see it."""
    if type(default) not in _KINDS:
        raise DeclarationError(f"a setting is a number, text or bool, not {default!r}")
    found = Setting(default, low, high, tuple(choices), help)
    try:
        found.check(default)
    except ValueError as error:
        raise DeclarationError(f"the default {default!r} is not allowed: {error}") from None
    return found


def settings_of(cls: type) -> dict[str, Setting]:
    """The settings that a class and its bases declare, by name."""
    return {
        name: value for base in reversed(cls.__mro__) for name, value in vars(base).items()
        if isinstance(value, Setting)
    }  # fmt: skip


def choose(settings: dict[str, Setting], chosen: dict[str, Any]) -> dict[str, Any]:
    """All settings, the `chosen` ones checked. Raises KeyError for one that doesn't exist,
    ValueError as ``name: what is allowed``."""
    values = {name: found.default for name, found in settings.items()}
    for name, value in chosen.items():
        if name not in settings:
            raise KeyError(name)
        try:
            values[name] = settings[name].check(value)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return values
