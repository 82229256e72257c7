"""What a crowd comes back from when a rule raises: its last checkpoint, and what came since.

It is in memory, so that going back waits for no disk, and works without a journal as well.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import gevent
import msgpack
import numpy as np

from ..games.game import Game
from ..games.world import World
from ..records.journal import apply

MOST_TICKS = 300
"""Ticks that are remembered; then there is a checkpoint, whether or not a journal wants one."""

BREATH_S = 1e-4
"""What going back sleeps after each tick: the other rooms have their turn."""


class Story(NamedTuple):
    """How a world came to be what it is: a checkpoint (`World.dump` and the sessions then), and of
    each step since ``(events, commands)``."""

    dump: dict[str, Any]
    sessions: list[list]
    steps: list[tuple[list[list], np.ndarray]]


class Past:
    """The past of one world. `events`: what happened since its last step, as a journal's TICK
    holds it."""

    def __init__(self, game: Game):
        self.events: list[list] = []
        self._game = game
        self._base = b""
        self._since: list[tuple[list[list], np.ndarray]] = []

    def begin(self, dump: dict[str, Any]) -> None:
        """A checkpoint between two steps: `World.dump`."""
        self._base = msgpack.packb(dump)
        self._since.clear()
        self.events = []

    def stepped(self, commands: np.ndarray) -> list[list]:
        """The world has stepped with `commands`: STEP_COMMAND[m]. Returns the events before it."""
        events, self.events = self.events, []
        self._since.append((events, commands))
        return events

    @property
    def full(self) -> bool:
        """It is time for a checkpoint."""
        return len(self._since) >= MOST_TICKS

    def so_far(self, sessions: list[list]) -> Story:
        """The last checkpoint, and the steps since."""
        dump = msgpack.unpackb(self._base, strict_map_key=False)
        return Story(dump, sessions, list(self._since))

    def world(self) -> World:
        """The world as it should be now. Waits, a tick at a time. Raises what its rules raise."""
        world = self._game.load_world(msgpack.unpackb(self._base, strict_map_key=False))
        for events, commands in self._since:
            apply(world, events)
            world.step(commands)
            gevent.sleep(BREATH_S)
        apply(world, self.events)
        world.outbox.clear()  # it was sent
        return world
