"""Simulate a journal again and compare: the first tick at which two builds disagree."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...games.game import Game
from ...games.world import World
from .folder import segments
from .format import (
    CHECKPOINT,
    HEADER,
    TICK,
    Damage,
    JournalError,
    check,
    column_checksums,
    column_names,
    read,
)
from .playback import apply, step


@dataclass
class Report:
    """What `verify` found."""

    ticks: int = 0  # repeated, with the same result
    first: int | None = None  # the first and the last of them
    last: int | None = None
    segments: int = 0
    damage: list[Damage] = field(default_factory=list)
    missing: int = 0  # ticks that no segment holds
    difference: str = ""

    @property
    def ok(self) -> bool:
        """Is everything there the same again? A torn end is what a crash leaves, and no fault."""
        return not self.difference and all(damage.torn for damage in self.damage)


def verify(game: Game, path: Path) -> Report:
    """Re-simulate a journal and compare every checksum, up to the first difference.

    Raises JournalError if it is of another game or build, if a record says what can't be repeated,
    or there is nothing to verify.
    """
    try:
        return _verified(game, path)
    except JournalError:
        raise
    except Exception as error:  # whole, and yet of another shape: of another build, or forged
        raise JournalError(f"it can't be repeated ({type(error).__name__}: {error})") from error


def _verified(game: Game, path: Path) -> Report:
    report = Report()
    world: World | None = None
    for file in segments(path):
        report.segments += 1
        for record in read(file):
            if isinstance(record, Damage):
                report.damage.append(record)
            elif record[0] == HEADER:
                check(record[1], game)
            elif record[0] == CHECKPOINT:
                report.missing += max(0, record[1] - world.tick) if world is not None else 0
                report.difference = _check_checkpoint(game, world, record)
                if world is None or world.tick != record[1]:
                    world = game.load_world(record[3])
            elif world is not None and record[1] == world.tick + 1:
                step(game, world, record)
                report.difference = _check_tick(game, world, record)
            if report.difference:
                return report
            if isinstance(record, Damage) or record[0] != TICK or world is None:
                continue
            if world.tick == record[1]:
                report.first = report.first or world.tick
                report.last = world.tick
                report.ticks += 1
    if world is None:
        raise JournalError("there is no whole checkpoint")
    return report


def _check_checkpoint(game: Game, world: World | None, record: list) -> str:
    """How a checkpoint differs from itself loaded, or from the world that was stepped to it."""
    _, tick, checksum, dump, _, events = record
    if game.load_world(dump).checksum() != checksum:
        return f"the checkpoint of tick {tick} is another world once it is loaded"
    if world is None or world.tick != tick:
        return ""
    apply(world, events)
    if world.checksum() == checksum:
        return ""
    return f"tick {tick} (checkpoint): {', '.join(differing(dump, world.dump())) or 'the checksum'}"


def _check_tick(game: Game, world: World, record: list) -> str:
    _, tick, _, _, checksum, columns = record
    if checksum is None or world.checksum() == checksum:  # a shared journal has few of them
        return ""
    now = column_checksums(world.view())
    names = [name for name, a, b in zip(column_names(game), columns, now) if a != b]
    return f"tick {tick}: {', '.join(names) or 'nothing that is published, but hidden state'}"


def differing(a: Any, b: Any, at: str = "") -> list[str]:
    """Where two dumps differ.

    >>> differing({"x": [1, 2], "y": 3}, {"x": [1, 5], "y": 3})
    ['x[1]']
    """
    if isinstance(a, dict) and isinstance(b, dict):
        return [
            place
            for key in a.keys() | b.keys()
            for place in differing(a.get(key), b.get(key), f"{at}.{key}" if at else str(key))
        ]
    if isinstance(a, list | tuple) and isinstance(b, list | tuple) and len(a) == len(b):
        places = enumerate(zip(a, b, strict=True))
        return [place for i, (x, y) in places for place in differing(x, y, f"{at}[{i}]")]
    return [] if a == b else [at]
