"""From records back to a world: repeat what they say happened.

Used wherever a journal is read: recovery, replays, `verify`, `export`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...games.game import Game
from ...games.world import World
from .format import CHECKPOINT, HEADER, Damage, JournalError, check, read

log = logging.getLogger("tickstorm.journal")


def apply(world: World, events: list[list]) -> None:
    """Repeat joins, leaves and messages. Raises JournalError if a player gets another slot."""
    for event in events:
        if len(event) == 1:
            world.leave(event[0])
        elif len(event) == 2:
            world.leave(event[0], silent=True)
        elif len(event) == 3:
            world.call(*event)
        else:
            slot, name, bot, _ = event
            got = world.join(name, bot)
            if got != slot:
                raise JournalError(f"{name!r} joined in slot {slot}, now in {got}")


def step(game: Game, world: World, record: list) -> None:
    """Repeat a TICK."""
    _, _, events, commands, *_ = record
    apply(world, events)
    world.step(np.frombuffer(commands, game.STEP_COMMAND))
    world.outbox.clear()  # it was for those who were there


def repeat(game: Game, checkpoint: list, ticks: list[list]) -> tuple[World, list[list]]:
    """The world and the sessions (as a CHECKPOINT holds them) after `ticks`.

    A tick that can't be repeated ends it; one that comes to another result is logged.
    """
    _, _, _, dump, sessions, _ = checkpoint  # the last are in the others already
    world = game.load_world(dump)
    playing = {slot: [session, slot, name, bot] for session, slot, name, bot in sessions}
    differs = None
    for i, record in enumerate(ticks):
        try:
            step(game, world, record)
        except Exception as error:
            log.error("journal: tick %d can't be repeated (%s); back to the one before",
                      record[1], error)  # fmt: skip
            return repeat(game, checkpoint, ticks[:i])
        follow(playing, record[2])
        if differs is None and record[4] is not None and world.checksum() != record[4]:
            differs = record[1]
    if differs is not None:
        log.error("journal: this build comes to another result from tick %d on", differs)
    return world, list(playing.values())


def follow(playing: dict[int, list], events: list[list]) -> None:
    """Keep sessions (as a CHECKPOINT holds them), by slot, as players come and go."""
    for event in events:
        if len(event) == 3:  # a message
            continue
        slot = event[0]
        playing.pop(slot, None)
        if len(event) > 2:
            playing[slot] = [event[3], slot, event[1], event[2]]


@dataclass
class Tail:
    """The newest state of a segment: its last checkpoint, and the ticks after it."""

    header: dict[str, Any]
    checkpoint: list
    ticks: list[list]
    damage: list[Damage]

    @property
    def tick(self) -> int:
        """The last tick that is known."""
        return self.ticks[-1][1] if self.ticks else self.checkpoint[1]


def tail(game: Game, path: Path, until: int | None = None) -> Tail | None:
    """The state at the end of a segment, or at tick `until`; None if it has no whole
    checkpoint. Raises JournalError if it is of another game or build."""
    header, checkpoint = None, None
    ticks: list[list] = []
    damage: list[Damage] = []
    for record in read(path):
        if isinstance(record, Damage):
            damage.append(record)
        elif record[0] == HEADER:
            header = record[1]
            check(header, game)
        elif until is not None and record[1] > until:
            break
        elif record[0] == CHECKPOINT:
            checkpoint, ticks = record, []
        elif checkpoint is not None and record[1] == checkpoint[1] + len(ticks) + 1:
            ticks.append(record)
    if header is None or checkpoint is None:
        return None
    return Tail(header, checkpoint, ticks, damage)
