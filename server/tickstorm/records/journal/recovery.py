"""How a room comes back after a crash or a deploy: latest checkpoint, and the ticks after it.

A journal that is damaged, of another build or of a room with other options, or that
crashes the server again and again, is set aside: the room opens anew.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any, NamedTuple

from ...games.game import Game
from ...games.world import World
from .folder import attempts, note_attempts, segments, set_aside
from .format import JournalError
from .playback import Tail, repeat, tail

log = logging.getLogger("tickstorm.journal")

ATTEMPTS = 2
"""A room that died so often while it came back at the same tick, or in the first tick after, has
something in it that crashes: its journal is set aside. Two, for a worker may happen to be killed
just then. The note is made only while it is this room's turn, so that the rooms beside a guilty
one have nothing against them."""


class Recovered(NamedTuple):
    """A room as of the last whole record of its journal."""

    world: World
    sessions: list[list]
    """``[[session, slot, name, bot], …]``"""
    seed: int


def recover(game: Game, folder: Path, expected: dict[str, Any]) -> Recovered | None:
    """Bring back what a journal ends with; None if there is nothing, or nothing of use.

    `expected` is the header that the room would write; its seed 0 stands for any. A
    journal that can't be used is set aside, and the reason is logged.
    """
    if not segments(folder):
        return None
    began = time.monotonic()
    try:
        newest = _newest(game, folder)
        compare(newest.header, expected)
        tried = attempts(folder, newest.tick)
        if tried >= ATTEMPTS:
            raise JournalError(f"it crashes again and again at tick {newest.tick}")
        note_attempts(folder, newest.tick, tried + 1)
        for damage in newest.damage:
            log.warning("journal: %s; everything before it is used", damage)
        world, sessions = repeat(game, newest.checkpoint, newest.ticks)
        # Until its first tick begins, which Journal.tick_begins notes, nothing can be its fault.
        note_attempts(folder, newest.tick, tried)
    except Exception as error:  # whatever is in there must not keep the room from opening
        set_aside(folder, f"{type(error).__name__}: {error}")
        return None
    log.info(
        "room %s is back at tick %d with %d players: checkpoint %d and %d ticks, %.0f ms",
        expected["room"], world.tick, len(sessions), newest.checkpoint[1], len(newest.ticks),
        (time.monotonic() - began) * 1e3,
    )  # fmt: skip
    return Recovered(world, sessions, newest.header["seed"])


def _newest(game: Game, folder: Path) -> Tail:
    for path in reversed(segments(folder)):
        found = tail(game, path)
        if found is not None:
            return found
        log.warning("journal: %s has no whole checkpoint; using the one before", path.name)
    raise JournalError("no segment has a whole checkpoint")


def compare(header: dict[str, Any], expected: dict[str, Any]) -> None:
    """Raises JournalError if the options of the room were changed."""
    then, now = header["settings"], expected["settings"]
    changed = [
        f"{key} was {then.get(key)}, is {now[key]}" for key in now if then.get(key) != now[key]
    ]
    if expected["seed"] not in (0, header["seed"]):
        changed.append(f"seed was {header['seed']}, is {expected['seed']}")
    if changed:
        raise JournalError("the options of the room have changed: " + ", ".join(changed))
