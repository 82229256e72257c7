"""What everyone in a crowd may know beside the world: services, each of which a game may list.

`feed` sends what happened as soon as it has; `board` (the best players) and `heat` (how many are
where) come once a second, half a second apart. They are cosmetic: a room that has no time for
them leaves them out, but for a board that is a result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from ..config import Config
from ..games.world import World
from ..protocol import wire


class Crowd(Protocol):
    """A room, as these services know it."""

    world: World
    players: int
    config: Config  # its `tick_hz`: in a replay, time runs at another pace for those who watch

    def heat(self) -> tuple[int, np.ndarray]:
        """Players' entities by cell: the cells in a row, int64[side * side]."""


def feed(crowd: Crowd, tick: int) -> bytes | None:
    events = crowd.world.feed()
    return wire.feed(events) if events else None


def board(crowd: Crowd, tick: int) -> bytes | None:
    if tick % crowd.config.tick_hz:
        return None
    return wire.board(crowd.world.board(), crowd.players)


def heat(crowd: Crowd, tick: int) -> bytes | None:
    if tick % crowd.config.tick_hz != crowd.config.tick_hz // 2:
        return None
    return wire.heat(*crowd.heat())


def result(crowd: Crowd, tick: int) -> bytes | None:
    """What a room without time for the rest sends: the board, where it is a result."""
    return board(crowd, tick) if crowd.world.final else None


ANNOUNCEMENTS: dict[str, Callable[[Crowd, int], bytes | None]] = {
    "feed": feed,
    "board": board,
    "heat": heat,
}
"""By name, in the order in which they are sent."""
