"""Which games this server runs, by name.

A server is told of its games by specs, each of them ``module``, ``module:attribute`` or
``path/to/file.py`` (with or without ``:attribute``); the option `GAMES` lists them. The
first one is what players get who name no game.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from .checks import DeclarationError
from .crowd import CrowdGame, World
from .game import EXPORTS, SERVICES
from .room import Game as ObjectGame
from .room import Room

CROWD = "crowd"
"""The kind of game that has one world of columns in each room (`Game`)."""

OBJECTS = "objects"
"""The kind of game that is a class of rooms (`room.Room`)."""

NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")


class GameError(ValueError):
    """A game can't be run. The message says which, and where to look."""


@dataclass(frozen=True)
class Entry:
    """A game of this server. `kind` says what `game` is: for CROWD, a `game.Game`; for OBJECTS,
    a `room.Game`."""

    name: str
    kind: str
    title: str
    game: Any
    page: Path | None = None  # the folder whose files browsers get
    link: str = "#"  # what precedes a room's id in a link to its page


class Catalogue:
    """The games of a server, in the order in which they were named."""

    def __init__(self, entries: Iterable[Entry]):
        """Raises GameError if there are none, or two of one name."""
        self._entries: dict[str, Entry] = {}
        for entry in entries:
            if entry.name in self._entries:
                raise GameError(f"two games are named {entry.name!r}")
            self._entries[entry.name] = entry
        if not self._entries:
            raise GameError("no game is named: set GAMES, or give a file (`mygame.py`)")

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __getitem__(self, name: str) -> Entry:
        """The game of this name. Raises GameError if there is none."""
        if name not in self._entries:
            raise GameError(f"there is no game {name!r} here, only {', '.join(self.names)}")
        return self._entries[name]

    def renew(self, entry: Entry) -> None:
        """Rules were saved: this is the game of that name from now on."""
        self._entries[self[entry.name].name] = entry

    @property
    def names(self) -> list[str]:
        return list(self._entries)

    @property
    def first(self) -> Entry:
        """What players get who name no game."""
        return next(iter(self._entries.values()))


def load(specs: str | Iterable[str]) -> Catalogue:
    """The games that `specs` name (as text: separated by commas). Raises GameError."""
    if isinstance(specs, str):
        specs = specs.split(",")
    wanted = [spec.strip() for spec in specs]
    return Catalogue([_entry(spec) for spec in wanted if spec])


def catalogue_of(*games: Any) -> Catalogue:
    """A catalogue of games that are at hand, for tests and tools."""
    return Catalogue([entry_of(game, getattr(game, "name", repr(game))) for game in games])


def entry_of(thing: Any, spec: str) -> Entry:
    """What `thing`, which came from `spec`, is to a server. Raises GameError.

    Each kind of game is told by what it has; a further kind is recognised here.
    """
    rules = thing if _is_rules(thing) else _rules_of(thing, spec)
    if rules is not None:
        return _entry_of_class(rules)
    missing = [name for name in EXPORTS if not hasattr(thing, name)]
    if missing:
        raise GameError(f"{_where(thing, spec)}: no game, for it has no {', '.join(missing)}")
    if not isinstance(thing.name, str) or not NAME.fullmatch(thing.name):
        raise GameError(
            f"{_where(thing, spec)}: name is {thing.name!r}; allowed are 1 to 32 of a-z, 0-9, "
            "- and _, the first a letter"
        )
    if unknown := set(thing.services) - set(SERVICES):
        raise GameError(
            f"{_where(thing, spec)}: no service {min(unknown)!r}; there are {', '.join(SERVICES)}"
        )
    return Entry(thing.name, CROWD, thing.title, thing, getattr(thing, "page", None),
                 getattr(thing, "link", "#"))  # fmt: skip


def _is_rules(thing: Any) -> bool:
    """Is it a class of rooms, or of crowds' worlds?"""
    bases = (Room, World)
    return isinstance(thing, type) and issubclass(thing, bases) and thing not in bases


def _rules_of(module: Any, spec: str) -> type[Room] | type[World] | None:
    """The one such class that a module defines; None if there is none."""
    if not isinstance(module, ModuleType):
        return None
    found = [
        thing for thing in vars(module).values()
        if _is_rules(thing) and thing.__module__ == module.__name__
    ]  # fmt: skip
    found = [
        rules for rules in found if not any(o is not rules and issubclass(o, rules) for o in found)
    ]
    if len(found) > 1:
        names = ", ".join(f"{spec}:{rules.__name__}" for rules in found)
        what = "rooms" if all(issubclass(rules, Room) for rules in found) else "games"
        raise GameError(f"{spec} has several {what}; name one of {names}")
    return found[0] if found else None


def _entry_of_class(rules: type[Room] | type[World]) -> Entry:
    kind = OBJECTS if issubclass(rules, Room) else CROWD
    try:
        game: Any = ObjectGame(rules) if issubclass(rules, Room) else CrowdGame(rules)
    except DeclarationError as error:
        raise GameError(str(error)) from None
    if not NAME.fullmatch(game.name):
        raise GameError(f"{game.place}: the class name {rules.__name__!r} makes no game's name")
    return Entry(game.name, kind, game.title, game, _page_of(rules))


def _page_of(rules: type) -> Path | None:
    """The folder `page` beside the rules, else the rules' own if there is an index.html in it."""
    file = getattr(sys.modules.get(rules.__module__), "__file__", None)
    if file is None:
        return None
    folder = Path(file).resolve().parent
    for page in (folder / "page", folder):
        if (page / "index.html").is_file():
            return page
    return None


def _entry(spec: str) -> Entry:
    source, _, attribute = spec.partition(":")
    module = _module(source)
    if not attribute:
        return entry_of(module, spec)
    if not hasattr(module, attribute):
        raise GameError(f"{_where(module, spec)}: there is no {attribute!r} in it")
    return entry_of(getattr(module, attribute), spec)


def _module(source: str) -> ModuleType:
    """Import a module by name or by file. Raises GameError with the place of what failed."""
    try:
        if source.endswith(".py"):
            return _from_file(Path(source))
        return importlib.import_module(source)
    except GameError:
        raise
    except ModuleNotFoundError as error:
        if error.name is not None and (source + ".").startswith(error.name + "."):
            raise GameError(f"GAMES: there is no module {source!r} on the path") from None
        raise GameError(_what_failed(source, error)) from error
    except Exception as error:
        raise GameError(_what_failed(source, error)) from error


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise GameError(f"GAMES: there is no file {path}")
    folder = str(path.resolve().parent)
    if folder not in sys.path:  # so that a game may have modules beside it
        sys.path.append(folder)
    name = f"tickstorm_game_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None, "its name ends in .py"
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except DeclarationError as error:
        del sys.modules[name]
        raise GameError(str(error)) from None
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _what_failed(source: str, error: Exception) -> str:
    """File, line and what went wrong while a game was imported."""
    if isinstance(error, SyntaxError):
        place = f"{error.filename}:{error.lineno}"
    else:
        frames = [
            frame
            for frame in traceback.extract_tb(error.__traceback__)
            if frame.filename != __file__ and "importlib" not in Path(frame.filename).parts
            if not frame.filename.startswith("<frozen")
        ]
        place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else source
    return f"{place}: {type(error).__name__}: {error}"


def _where(thing: Any, spec: str) -> str:
    file = getattr(thing, "__file__", None)
    return f"{spec} ({file})" if file else spec
