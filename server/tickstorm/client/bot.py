"""A player that plays by itself, in any game: it does what the declaration allows, at random."""

from __future__ import annotations

import ast
import random
from collections.abc import Callable, Iterable
from typing import Any

from .state import Record, entity_of

HOLD_S = 0.5
"""About how long an input stands, as a person's would."""

SAY_S = 2.0
"""About how often a bot sends a message, if it is to send any."""

NO_TURN = "its turn did not come"
"""Why a bot has not said something that it could have."""

_WORDS = ("a", "go", "hello", "left", "nice", "no", "ready?", "well", "yes")


class Whims:
    """What a bot does next; the same for the same seed."""

    def __init__(self, seed: str | float, declaration: dict[str, Any], messages: bool = False):
        self.random = random.Random(seed)
        self._input = declaration.get("input") or []
        self._kinds = {kind[0] for kind in declaration.get("kinds", [])[1:]}
        self._messages = sorted(declaration.get("messages", {}).items()) if messages else []
        self.unsaid = {name: NO_TURN for name, _ in self._messages}
        """Messages that were never made, and why."""

    def hold_s(self) -> float:
        """How long the next input is to stand."""
        return self.random.uniform(0.6, 1.4) * HOLD_S

    def input(self) -> dict[str, Any]:
        """A valid input; {} if the game has none."""
        return {
            name: self._within(kind, low, high, default)
            for name, kind, low, high, default in self._input
        }

    def message(self, seen: Iterable[Record] = ()) -> tuple[str, list[Any]] | None:
        """A message to send now, or None: there are about `SAY_S` between two. Its entities are
        some of those that are `seen`."""
        if not self._messages or self.random.random() > HOLD_S / SAY_S:
            return None
        name, arguments = self.random.choice(self._messages)
        values = []
        for _, kind, *bounds in arguments:
            wanted, optional = entity_of(kind, self._kinds)
            if not wanted:
                values.append(self.argument(kind, *bounds[:2]))
                continue
            anything = wanted not in self._kinds  # a base class: some other one may be refused
            ids = sorted(one.id for one in seen if one.id and (anything or one.kind == wanted))
            if not ids and not optional:
                if name in self.unsaid:
                    self.unsaid[name] = f"it takes a {wanted}, and none was seen"
                return None
            values.append(self.random.choice(ids) if ids else None)
        self.unsaid.pop(name, None)
        return name, values

    def argument(self, kind: str, low: Any = None, high: Any = None) -> Any:
        """A value of a type as the declaration writes it.

        >>> whims = Whims(1, {})
        >>> type(whims.argument("list[tuple[int, int]]")[0][0]), whims.argument("bool")
        (<class 'int'>, True)
        """
        if low is not None:
            return self._within(kind, low, high, None)
        try:
            return self._of(ast.parse(kind.strip(), mode="eval").body)
        except SyntaxError:
            return None

    def _within(self, kind: str, low: Any, high: Any, default: Any) -> Any:
        if kind == "bool":
            return self.random.random() < 0.5
        if kind == "int" and low is not None:
            return self.random.randint(low, high)
        if kind == "float" and low is not None:
            return self.random.uniform(low, high)
        if kind == "str":
            return self.random.choice(_WORDS)[: int(high)] if default in ("", None) else default
        return self.argument(kind) if default is None or "[" in kind else default

    def _of(self, node: ast.expr) -> Any:
        if isinstance(node, ast.BinOp):  # a union: its first part
            return self._of(node.left)
        if isinstance(node, ast.Subscript):
            inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            name = ast.unparse(node.value).rpartition(".")[2].lower()
            if name == "literal":
                return ast.literal_eval(self.random.choice(inner))
            if name == "tuple" and not _is_ellipsis(inner[-1]):
                return [self._of(item) for item in inner]
            if name in ("list", "tuple"):
                return [self._of(inner[0]) for _ in range(self.random.randint(1, 4))]
            if name == "dict":
                return {self._of(inner[0]): self._of(inner[1])}
            return None
        plain: dict[str, Callable[[], Any]] = {
            "int": lambda: self.random.randint(0, 100),
            "float": lambda: self.random.uniform(0, 100),
            "bool": lambda: self.random.random() < 0.5,
            "str": lambda: self.random.choice(_WORDS),
            "bytes": lambda: b"",
            "list": list,
            "tuple": list,
            "dict": dict,
        }
        return plain.get(ast.unparse(node), lambda: None)()


def _is_ellipsis(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is Ellipsis
