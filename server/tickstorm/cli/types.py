"""TypeScript declarations of a game: its state, inputs, messages and events, from its rules."""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from ..games.catalogue import GameError, load
from . import CommandError
from .rules import specs_of

USAGE = """\
examples:
  tickstorm types tag.py                   print them
  tickstorm types tag.py -o page/tag.d.ts  write them to a file

In a TypeScript client that has the package `tickstorm` (clients/js):

  import { join } from "tickstorm";
  import type { Tag } from "./tag";

  const room = await join<Tag>("tag");
  room.input = { dx: 1, dy: 0 };          // a mistake in it is an error of the compiler's"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "game",
        nargs="?",
        metavar="FILE|MODULE",
        help="the rules; without, the one file in this folder that defines a Room",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="PATH", help="write there instead of printing"
    )


def run(options: argparse.Namespace) -> int:
    specs = specs_of([options.game] if options.game else [])
    try:
        entry = load(specs).first
    except GameError as error:
        raise CommandError(str(error)) from None
    if entry.kind != "objects":
        raise CommandError(
            f"{specs[0]} is a crowd game: clients get its columns by `room.columns(kind)`, and "
            "there is nothing to declare"
        )
    text = declarations(entry.game)
    if options.output is None:
        print(text, end="")
        return 0
    try:
        options.output.write_text(text)
    except OSError as error:
        raise CommandError(f"{options.output} can't be written: {error.strerror}") from None
    print(f"tickstorm: {options.output} declares the game {entry.name!r}")
    return 0


# ------------------------------------------------------------------ the declarations

_HIDDEN = 4


def declarations(game: Any) -> str:
    """A module of TypeScript declarations for a `Game` of objects."""
    declared = game.declaration()
    classes = [kind.owner.__name__ for kind in game.kinds]
    room = classes[0]
    write = Writer(classes[1:])
    (_, state), *kinds = declared["kinds"]
    blocks = [
        f"// Written by `tickstorm types` from the game {declared['game']!r}: change its rules, "
        "not this file.\n"
        'import type { Entity } from "tickstorm";',
        *(
            write.fields(kind.owner.__name__, fields, doc_of(kind.owner))
            for (_, fields), kind in zip(kinds, game.kinds[1:], strict=True)
        ),
        write.fields(f"{room}State", state, "The room's own fields."),
        write.input(f"{room}Input", declared["input"]),
        write.messages(f"{room}Messages", messages_of(game)),
        write.events(f"{room}Events", declared["events"]),
        write.game(room, [name for name, _ in kinds], classes[1:], doc_of(game.room)),
    ]
    return "\n\n".join(blocks) + "\n"


def messages_of(game: Any) -> Iterator[tuple[str, list[tuple[str, str]], str, str]]:
    """``(name, arguments, result, doc)`` of each message; all types as written in Python."""
    for name, arguments in game.declaration()["messages"].items():
        function = getattr(game.room, name)
        result = inspect.signature(function).return_annotation
        if result is inspect.Signature.empty:
            result = "any"
        elif not isinstance(result, str):
            result = getattr(result, "__name__", str(result)) if result is not None else "None"
        listed = [(parameter(row[0]) + "?" * (len(row) > 4), row[1]) for row in arguments]
        yield name, listed, result, doc_of(function)


def doc_of(thing: Any) -> str:
    """The first paragraph of a docstring of its own, in one line."""
    doc = thing.__dict__.get("__doc__") if isinstance(thing, type) else thing.__doc__
    return " ".join(inspect.cleandoc(doc or "").partition("\n\n")[0].split()).replace("*/", "* /")


class Writer:
    """`entities`: names of the classes to which an annotation may refer."""

    def __init__(self, entities: Iterable[str]):
        self._entities = frozenset(entities)

    def fields(self, name: str, fields: list, doc: str) -> str:
        rows = "".join(self._field(*field) for field in fields)
        return f"{comment(doc)}export interface {name} {{\n{rows}}}"

    def _field(self, name: str, written: str, flags: int, step: float) -> str:
        kind = "Entity<any> | null" if name == "owner" else self.type(written)
        if flags & _HIDDEN:
            kind = either([kind, "null"])
        return f"  {key(name)}: {kind};\n"

    def input(self, name: str, fields: list | None) -> str:
        if not fields:
            return f"/** There is no input. */\nexport type {name} = Record<string, never>;"
        rows = "".join(
            f"  {key(field)}: {self.type(written)};{allowed(written, low, high)}\n"
            for field, written, low, high, _ in fields
        )
        return f"/** What a player wants right now. */\nexport interface {name} {{\n{rows}}}"

    def messages(self, name: str, messages: Iterable) -> str:
        rows = ""
        for message, arguments, result, doc in messages:
            answer = self.type(result)
            rows += comment(doc, "  ") + f"  {key(message)}({self._taken(arguments)}): {answer};\n"
        return (
            f"/** What a client may call, and the answers. */\nexport type {name} = {{\n{rows}}};"
        )

    def events(self, name: str, events: dict[str, list]) -> str:
        rows = "".join(
            f"  {key(event)}: [{self._listed((parameter(row[0]), row[1]) for row in arguments)}];\n"
            for event, arguments in events.items()
        )
        if not rows:  # not declared: anything may come
            rows = "  [name: string]: any[];\n"
        return f"/** What the room sends. */\nexport type {name} = {{\n{rows}}};"

    def _listed(self, arguments: Iterable[tuple[str, str]]) -> str:
        return ", ".join(f"{name}: {self.type(kind)}" for name, kind in arguments)

    def _taken(self, arguments: Iterable[tuple[str, str]]) -> str:
        return ", ".join(f"{name}: {self.argument(kind)}" for name, kind in arguments)

    def argument(self, written: str) -> str:
        """A message's argument: an entity may be given by its id, and not be null.

        >>> Writer(["Card"]).argument("Card"), Writer(["Card"]).argument("Card | None")
        ('Entity<Card> | number', 'Entity<Card> | number | null')
        """
        found = self.type(written)
        if not found.startswith("Entity<"):
            return found
        optional = ["null"] if "None" in written else []
        return either([found.removesuffix(" | null"), "number", *optional])

    def game(self, room: str, kinds: list[str], classes: list[str], doc: str) -> str:
        rows = "".join(f" {key(k)}: {c};" for k, c in zip(kinds, classes, strict=True))
        return (
            f"{comment(doc)}export interface {room} {{\n"
            f"  state: {room}State;\n"
            f"  entities: {{{rows} }};\n"
            f"  player: {json.dumps(kinds[0])};\n"
            f"  input: {room}Input;\n"
            f"  messages: {room}Messages;\n"
            f"  events: {room}Events;\n}}"
        )

    # -------------------------------------------------------------- types

    def type(self, written: str) -> str:
        """A Python annotation, as it was written, in TypeScript.

        >>> write = Writer(["Card"])
        >>> write.type("list[tuple[int, str]]"), write.type("dict[str, Card] | None")
        ('[number, string][]', 'Record<string, Entity<Card> | null> | null')
        >>> write.type("Literal['a', 2]"), write.type("Any"), write.type("tuple[float, ...]")
        ('"a" | 2', 'unknown', 'number[]')
        """
        try:
            return self._type(ast.parse(written.strip(), mode="eval").body)
        except (SyntaxError, ValueError):
            return "unknown"

    def _type(self, node: ast.expr) -> str:
        if isinstance(node, ast.Constant):
            if isinstance(node.value, str):  # a name in quotes
                return self.type(node.value)
            return "null" if node.value is None else "unknown"
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            return either([self._type(node.left), self._type(node.right)])
        if isinstance(node, ast.Subscript):
            inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            return self._generic(last_name(node.value), list(inner))
        name = last_name(node)
        if name in self._entities:
            return f"Entity<{name}> | null"
        return _PLAIN.get(name, "unknown")

    def _generic(self, name: str, inner: list[ast.expr]) -> str:
        several: dict[str, Callable[[], str]] = {
            "Literal": lambda: either(json.dumps(ast.literal_eval(node)) for node in inner),
            "Optional": lambda: either([self._type(inner[0]), "null"]),
            "Union": lambda: either(map(self._type, inner)),
            "Annotated": lambda: self._type(inner[0]),
            "dict": lambda: f"Record<{self._key(inner[0])}, {self._type(inner[1])}>",
            "list": lambda: listed(self._type(inner[0])),
            "tuple": lambda: self._tuple(inner),
        }
        name = name.lower() if name in ("Dict", "List", "Tuple") else name
        return several[name]() if name in several else "unknown"

    def _key(self, node: ast.expr) -> str:
        found = self._type(node)
        return found if found in ("string", "number") else "string"

    def _tuple(self, inner: list[ast.expr]) -> str:
        if len(inner) == 2 and isinstance(inner[1], ast.Constant) and inner[1].value is Ellipsis:
            return listed(self._type(inner[0]))
        return "[" + ", ".join(map(self._type, inner)) + "]"


_PLAIN = {
    "int": "number",
    "float": "number",
    "bool": "boolean",
    "str": "string",
    "bytes": "Uint8Array",
    "list": "unknown[]",
    "tuple": "unknown[]",
    "dict": "Record<string, unknown>",
    "ref": "Entity<any> | null",
    "Entity": "Entity<any> | null",
    "Player": "Entity<any> | null",
    "NoneType": "null",
}


def last_name(node: ast.expr) -> str:
    return ast.unparse(node).rpartition(".")[2]


def either(types: Iterable[str]) -> str:
    """A union in which each part stands once."""
    parts = [part for joined in types for part in joined.split(" | ")]
    return " | ".join(dict.fromkeys(parts))


def listed(item: str) -> str:
    return f"({item})[]" if " | " in item and item[0] not in "[{" else f"{item}[]"


def key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z_$][\w$]*", name) else json.dumps(name)


_RESERVED = frozenset(
    "break case catch class const continue debugger default delete do else enum export extends "
    "false finally for function if import in instanceof new null return super switch this throw "
    "true try typeof var void while with".split()
)


def parameter(name: str) -> str:
    """A parameter's name; `new` and its like can't be one."""
    return f"{name}_" if name in _RESERVED else name


def allowed(written: str, low: float | None, high: float | None) -> str:
    if low is None:
        return ""
    if written == "str":
        return f" // at most {high:g} characters"
    return f" // {low:g} to {high:g}"


def comment(text: str, indent: str = "") -> str:
    return f"{indent}/** {text} */\n" if text else ""
