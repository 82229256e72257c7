"""Look into a journal: `verify` it, list what there is (`info`), `export` some ticks, `debug` a
rule in one of them, or `check` what edited rules would have done.

PATH is a segment or a folder of them; of rooms of objects it is DATA_DIR/objects, and `--room`
says which of them is meant. Whose rules to use follows from the journal, among the games
that `--games` or the option `GAMES` names.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ...config import ConfigError, load
from ...games import catalogue
from ...games.catalogue import GameError
from ...games.game import Game
from ...games.simulation import RuleError
from .. import ledger, room_tools
from ..crowd_timeline import CrowdTimeline
from ..debugger import debug_crowd
from . import shared
from .export import as_json, cut
from .folder import SUFFIX, segments
from .format import (
    CHECKPOINT,
    HEADER,
    MAGIC,
    TICK,
    Damage,
    JournalError,
    frame,
    pack,
    read,
    read_one,
)
from .verification import verify


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tickstorm journal", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, summary in (
        ("verify", "re-simulate and compare"),
        ("info", "what there is"),
        ("list", "the same"),
        ("export", "some ticks, as lines of JSON or as a journal of their own"),
    ):
        one = commands.add_parser(name, help=summary)
        _add_place(one)
        if name not in ("info", "list"):
            one.add_argument("--games", metavar="SPECS", help="as in the option GAMES")
    one.add_argument("--from", dest="first", type=int, required=True, metavar="TICK")
    one.add_argument("--to", dest="last", type=int, required=True, metavar="TICK")
    one.add_argument("--journal", type=Path, metavar="FILE", help="write a journal instead of JSON")
    one = commands.add_parser("debug", help="stop Python's debugger in the rule at a tick")
    _add_place(one)
    one.add_argument("--tick", type=int, required=True, metavar="N")
    one.add_argument("--games", metavar="SPECS", help="as in the option GAMES")
    one = commands.add_parser("check", help="run it through edited rules: the first difference")
    _add_place(one)
    one.add_argument("--games", required=True, metavar="SPEC", help="edited rules")
    one.add_argument("--was", metavar="SPEC", help="the rules of then: to name the very field")
    options = parser.parse_args(arguments)
    try:
        if not segments(options.path):
            raise JournalError("there is no journal")
        if ledger.is_ledger(options.path):
            return room_tools.COMMANDS[options.command](options)
        command = {
            "list": _info, "info": _info, "verify": _verify, "export": _export,
            "debug": _debug, "check": _verify,
        }[options.command]  # fmt: skip
        if shared.is_shared(options.path):
            return _of_each(options, command)
        return command(options)
    except (JournalError, GameError, ConfigError, RuleError, OSError, ValueError) as error:
        print(f"{options.path}: {error}", file=sys.stderr)
        return 1


def _of_each(options: argparse.Namespace, command: Callable[[argparse.Namespace], int]) -> int:
    """The same for each small room of a shared journal, or for the one that is asked for."""
    folder, wrong = options.path, 0
    for room in [options.room] if options.room else shared.rooms_of(folder):
        with tempfile.TemporaryDirectory() as place:
            shared.extract(folder, room, Path(place) / f"000001{SUFFIX}")
            options.path = Path(place)
            print(f"room {room}:")
            wrong |= command(options)
    return wrong


def _add_place(one: argparse.ArgumentParser) -> None:
    one.add_argument("path", type=Path, metavar="PATH", help="a segment, or a folder of them")
    one.add_argument("--room", metavar="ID", help="of many rooms: only this one")


def _game(options: argparse.Namespace) -> Game:
    """The game that the journal is of."""
    games = catalogue.load(options.games if options.games is not None else load().games)
    for path in segments(options.path):
        with contextlib.suppress(JournalError):
            return games[read_one(path)[1].get("game", "")].game
    raise JournalError("no segment has a whole header")


def _verify(options: argparse.Namespace) -> int:
    report = verify(_game(options), options.path)
    for damage in report.damage:
        print(damage)
    span = f" ({report.first} to {report.last})" if report.ticks else ""
    print(f"{report.ticks} ticks verified{span} in {report.segments} segments")
    if report.missing:
        print(f"{report.missing} ticks are missing between them")
    if report.difference:
        print(f"first difference: {report.difference}")
    return 0 if report.ok else 1


def _debug(options: argparse.Namespace) -> int:
    games = catalogue.load(options.games if options.games is not None else load().games)
    if not debug_crowd(CrowdTimeline(options.path, games), options.tick):
        print(f"no line of the rules runs in tick {options.tick}")
    return 0


def _info(options: argparse.Namespace) -> int:
    for line in _segment_lines(options.path):
        print(line)
    return 0


def _segment_lines(path: Path) -> Iterator[str]:
    """One line per segment, and what is wrong with it."""
    for file in segments(path):
        header, ticks, checkpoints, joins, damage = {}, [], 0, 0, []
        for record in read(file):
            if isinstance(record, Damage):
                damage.append(record)
            elif record[0] == HEADER:
                header = record[1]
            elif record[0] == CHECKPOINT:
                checkpoints += 1
                ticks.append(record[1])
            else:
                ticks.append(record[1])
                joins += sum(len(event) == 4 for event in record[2])
        if header:
            settings = header["settings"]
            seconds = (ticks[-1] - ticks[0]) / settings["tick_hz"] if ticks else 0
            created = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(header["created"]))
            span = f"ticks {ticks[0]} to {ticks[-1]} ({seconds:.1f} s)" if ticks else "no ticks"
            yield (
                f"{file.name}: room {header['room']} of {header['game']}, {span}, "
                f"{checkpoints} checkpoints, {joins} joins, "
                f"{file.stat().st_size} bytes; begun {created}, "
                f"build {header['build']}, schema {header['schema']:#010x}, "
                f"seed {header['seed']}, {settings}"
                + (f"; {header['lost']} ticks lost before" if header["lost"] else "")
            )
        yield from (f"  {one}" for one in damage)


def _export(options: argparse.Namespace) -> int:
    game = _game(options)
    records = cut(game, options.path, options.first, options.last)
    if options.journal is None:
        for record in records:
            if record[0] == TICK and record[1] >= options.first:
                print(as_json(game, record))
        return 0
    with options.journal.open("xb") as file:
        file.write(MAGIC)
        for record in records:
            file.write(frame(pack(record)))
    return 0


if __name__ == "__main__":
    logging.basicConfig(format="%(message)s")
    sys.exit(main())
