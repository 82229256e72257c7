"""`tickstorm journal` for rooms of objects: what each of its commands does with a ledger."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

from ..config import load
from ..games import catalogue
from ..games.catalogue import OBJECTS, GameError
from ..games.room import Game
from . import ledger
from .comparison import Difference, against_record, against_rules
from .debugger import debug
from .journal import JournalError
from .journal.format import MAGIC, frame
from .object_reel import ObjectReel
from .timeline import Timeline


def chosen(options: argparse.Namespace) -> dict[str, ledger.Row]:
    """The rooms that are meant, each with a game that is here."""
    rooms = ledger.rooms_of(options.path)
    if options.room is None:
        return rooms
    if options.room not in rooms:
        raise JournalError(f"no room {options.room!r}; there are {', '.join(rooms) or 'none'}")
    return {options.room: rooms[options.room]}


def _list_rooms(options: argparse.Namespace) -> int:
    for id, row in chosen(options).items():
        created = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row.created))
        print(f"room {id} of {row.game}: ticks {row.first} to {row.last} ({row.ticks} recorded), "
              f"{row.kept} checkpoints, {row.joins} joins; begun {created}"
              + (", closed" if row.closed else ""))  # fmt: skip
    return 0


def _verify_rooms(options: argparse.Namespace) -> int:
    games = catalogue.load(options.games if options.games is not None else load().games)
    fine = True
    for id, row in chosen(options).items():
        found = ledger.check(games[row.game].game, options.path, id)
        span = f" ({found.first} to {found.last})" if found.same else ""
        print(f"room {id}: {found.same} ticks verified{span}")
        if found.missing:
            print(f"{found.missing} ticks are missing between them")
        if found.difference:
            print(f"first difference: {found.difference}")
            if found.changed:
                print("the rules have changed since: see `tickstorm journal check`")
        fine = fine and not found.difference
    return 0 if fine else 1


def _export_room(options: argparse.Namespace) -> int:
    if options.room is None:
        raise JournalError("of which room? Name it with --room; `list` says which there are")
    row = chosen(options)[options.room]
    if options.journal is None:
        for tick in ledger.exported(options.path, options.room, options.first, options.last):
            print(json.dumps(tick, default=repr))
        return 0
    games = catalogue.load(options.games if options.games is not None else load().games)
    cut_ = ledger.cut(games[row.game].game, options.path, options.room, options.first, options.last)
    with options.journal.open("xb") as file:
        file.write(MAGIC)
        for record in cut_:
            file.write(frame(ledger.pack(record)))
    return 0


def _debug(options: argparse.Namespace) -> int:
    """Run to a tick, and stop in the rule."""
    rooms = chosen(options)
    if len(rooms) > 1:
        raise JournalError(f"of which room? Name it with --room; there are {', '.join(rooms)}")
    ((id, row),) = rooms.items()
    game = _game(options.games, row.game)
    timeline = Timeline(game, ObjectReel(options.path, id))
    for event in timeline.moment(options.tick)["events"]:
        print(f"tick {options.tick}: {event['what']} {event['name']} {event['values'] or ''}")
    if not debug(timeline, options.tick):
        print(f"no line of {game.name}'s rules runs in tick {options.tick}")
    return 0


def _check(options: argparse.Namespace) -> int:
    """Edited rules against what happened, room by room; 1 if any of them differs."""
    fine, looked = True, False
    for id, row in chosen(options).items():
        now = _game(options.games, "")
        if row.game != now.name:
            continue
        looked = True
        reel = ObjectReel(options.path, id)
        runs = (
            against_record(reel, now)
            if options.was is None
            else against_rules(reel, _game(options.was, ""), now)
        )
        found = next(each for each in runs if isinstance(each, Difference))
        fine = fine and found.same
        for line in _told(id, found, options.was is not None):
            print(line)
    if not looked:
        raise JournalError(f"no room of {_game(options.games, '').name!r} is in it")
    return 0 if fine else 1


def _told(id: str, found: Difference, exact: bool) -> list[str]:
    if found.same:
        return [f"room {id}: {found.ticks} ticks, and nothing differs"]
    first = f"tick {found.tick} is the first that differs"
    if not found.exact:
        first = f"something differs by tick {found.tick}, the next checkpoint"
    lines = [f"room {id}: {found.ticks} ticks were the same; {first}"]
    if not exact and found.exact and not found.error:
        lines.append("these rules write in it (--was OLD.py tells them from what happened):")
    return lines + [f"  {line}" for line in found.lines()]


def _game(spec: str | None, name: str) -> Game:
    """The game called `name`, or without it the one that `spec` is. Raises GameError."""
    games = catalogue.load(spec if spec is not None else load().games)
    entry = games[name] if name else games.first
    if entry.kind != OBJECTS:
        raise GameError(f"{entry.name!r} is no game of objects")
    game: Game = entry.game
    return game


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "info": _list_rooms,
    "list": _list_rooms,
    "verify": _verify_rooms,
    "export": _export_room,
    "debug": _debug,
    "check": _check,
}
