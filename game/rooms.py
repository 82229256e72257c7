"""What is each room's own, where the columns are of many: a row per room.

A room has a clock of its own, too: at the columns' tick t it is at tick ``t - epoch``. All that
columns say of ticks is of theirs; a room's own ticks are what its clients and its journal know.
"""

from __future__ import annotations

import numpy as np

F = np.float32


class Rooms:
    """Columns of rooms, by number. `count`: how many there can be.

    `open`: is there one? `seed`: of its chance. `epoch`: see above. `size`: side, units;
    `high`: the largest coordinate of a ship's centre. `orbs`: how many are to lie about, `refill`
    how many come in a tick at most, `lying` how many do that no wreck left. `round_ticks` (0: no
    rounds) and `podium_ticks`; `podium`: is it between two rounds? `rewind`: are shots fair?
    """

    def __init__(self, count: int):
        self.alone = count == 1
        self.open = np.zeros(count, bool)
        self.seed = np.zeros(count, np.uint64)
        self.epoch = np.zeros(count, np.int64)
        self.size = np.zeros(count, F)
        self.high = np.zeros(count, F)
        self.orbs = np.zeros(count, np.int64)
        self.refill = np.zeros(count, np.int64)
        self.lying = np.zeros(count, np.int64)
        self.round_ticks = np.zeros(count, np.int64)
        self.podium_ticks = np.zeros(count, np.int64)
        self.podium = np.zeros(count, bool)
        self.rewind = np.zeros(count, bool)
        self.shots_refused = np.zeros(count, np.int64)  # for lack of rows, in total

    def each(self, column: np.ndarray, room: np.ndarray) -> np.ndarray:
        """What a column says of the rooms of n rows, intp[n]; of one value where there is one
        room, which costs nothing."""
        return column if self.alone else column[room]

    def close(self, room: int) -> None:
        """The room has gone: its number can be another's."""
        for column in vars(self).values():
            if isinstance(column, np.ndarray):
                column[room] = 0
