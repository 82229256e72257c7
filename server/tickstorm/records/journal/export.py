"""Some ticks of a journal, to carry a bug elsewhere: as JSON, or as a journal of their own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...games.game import Game
from .folder import segments
from .format import CHECKPOINT, HEADER, TICK, Damage, JournalError, read
from .playback import repeat, tail


def cut(game: Game, path: Path, first: int, last: int) -> Iterator[list]:
    """The records of a journal of its own that holds the ticks from `first` to `last`:
    header, checkpoint, ticks. Raises JournalError if they aren't there."""
    base = None
    for file in segments(path):
        found = tail(game, file, until=first - 1)
        base = found or base
    if base is None:
        raise JournalError(f"there is no checkpoint before tick {first}")
    world, sessions = repeat(game, base.checkpoint, base.ticks)
    yield [HEADER, base.header]
    yield [CHECKPOINT, world.tick, world.checksum(), world.dump(), sessions, []]
    due = world.tick + 1
    for file in segments(path):
        for record in read(file):
            if not isinstance(record, Damage) and record[0] == TICK and record[1] == due <= last:
                yield record
                due += 1
    if due <= first:
        raise JournalError(f"tick {first} is not there")


def as_json(game: Game, record: list) -> str:
    """A TICK for people and other programs."""
    _, tick, events, commands, checksum, _ = record
    rows = np.frombuffer(commands, game.STEP_COMMAND)
    return json.dumps(
        {
            "tick": tick,
            "joins": [e[:3] for e in events if len(e) > 1],
            "leaves": [e[0] for e in events if len(e) == 1],
            "commands": {"fields": rows.dtype.names, "rows": rows.tolist()},
            "checksum": checksum,
        }
    )
