"""Who is near whom: the world cut into square cells, a block of 3 × 3 around each viewer.

Cells are numbered row by row in a grid with a margin of one empty cell on every
side, so that the three cells of each row of a block are always consecutive and
no block ever leaves the array.
"""

from __future__ import annotations

import math

import numpy as np

CELL_SIZE = 1024
"""Side of a cell, world units. A player sees at least one cell less the hysteresis
in each direction, so the page must not show more than about 1,750 units."""

HYSTERESIS = 0.125
"""Share of a cell that a viewer must be past a border before its cell changes;
keeps a player who circles on a border from re-entering the same entities."""


SMALL_SIDE = 2
"""Where a world has no more cells than this along a side, all of it is in the block around any
cell of it: everyone looks from the first one, and shares what is sent."""


GROUPS = 256
"""In a world of groups, there are as many at most."""


def grid_of(interest: str, size: int) -> Grid:
    """The cells of a world in which who sees what goes by one of `game.INTERESTS`. For groups each
    is a cell of its own, as if it were a room; where all see all, there is one cell."""
    if interest == "near":
        return Grid(size)
    return Grid(1, GROUPS if interest == "groups" else 1)


class Grid:
    """Cells of square worlds, side by side with an empty cell between them.

    Places are each world's own, so with them goes the number of the room they are in; where there
    is one room it may be left out.
    """

    def __init__(self, size: int, rooms: int = 1):
        """`size`: side of the world (world units), or of the largest of
        as many as `rooms`."""
        self.size = size
        self.side = -(-size // CELL_SIZE)
        across = math.isqrt(rooms - 1) + 1
        down = -(-rooms // across)
        self.width = across * (self.side + 1) + 1
        self.height = down * (self.side + 1) + 1
        self.count = self.width * self.height
        if self.count >= 1 << 16:
            raise ValueError(f"{rooms} rooms of {self.side} x {self.side} cells are too many")
        self.nowhere = self.count
        """Cell number of absent entities: in no block."""
        number = np.arange(rooms)
        self.origin = (number // across * self.width + number % across) * (self.side + 1)
        """int64[rooms]: what a room's cells come after."""
        self.sides = np.full(rooms, self.side, np.float32)
        """float32[rooms]: cells along a side of each."""
        # BLOCK[difference + origin]: is a cell at this difference within the 3 × 3 block?
        # 3 * width of slack keeps `nowhere` minus any inner cell out of the true entries.
        self._origin = self.count
        self._block = np.zeros(2 * self.count + 1, bool)
        for row in (-self.width, 0, self.width):
            self._block[self._origin + row - 1 : self._origin + row + 2] = True
        self.block_rows = np.array([-self.width - 1, -1, self.width - 1], np.intp)
        """What to add to a viewer's cell for the first cell of each row of its block."""
        self.block_cells = (self.block_rows[:, None] + np.arange(3)).ravel().astype(np.int16)
        """What to add to a cell for all nine of its block."""

    def place(self, room: int, size: int) -> None:
        """A room of this size begins; at most as large as the largest may be."""
        self.sides[room] = -(-size // CELL_SIZE)

    def cell_of(self, x: np.ndarray, y: np.ndarray, room: np.ndarray | None = None) -> np.ndarray:
        """uint16[n]: the cell at float32[n] `x`, `y`; places outside count as the nearest cell."""
        last = (self.side if room is None else self.sides[room]) - 1
        column = np.clip(x * (1 / CELL_SIZE), 0, last).astype(np.uint16)
        row = np.clip(y * (1 / CELL_SIZE), 0, last).astype(np.uint16)
        cell = (row + np.uint16(1)) * np.uint16(self.width) + column + np.uint16(1)
        return cell if room is None else cell + self.origin[room].astype(np.uint16)

    def in_block(self, cell: np.ndarray, viewer_cell: np.ndarray) -> np.ndarray:
        """bool[n]: is `cell` within the block around `viewer_cell`? Both unsigned or int, [n]."""
        return self._block.take(cell.astype(np.intp) - viewer_cell + self._origin)

    def viewer_cell(
        self,
        previous: np.ndarray,
        x: np.ndarray,
        y: np.ndarray,
        room: np.ndarray | None = None,
    ) -> np.ndarray:
        """The viewers' cells, sticking to `previous` (0: none) until well past its border."""
        origin = 0 if room is None else self.origin[room]
        first = origin + self.width + 1
        if room is None and self.side <= SMALL_SIDE:
            return np.full_like(previous, first)
        column = (previous - origin) % self.width - 1
        row = (previous - origin) // self.width - 1
        slack = CELL_SIZE * HYSTERESIS
        left, top = column * CELL_SIZE, row * CELL_SIZE
        inside = (
            (previous > 0)
            & (x >= left - slack)
            & (x < left + CELL_SIZE + slack)
            & (y >= top - slack)
            & (y < top + CELL_SIZE + slack)
        )
        cell = np.where(inside, previous, self.cell_of(x, y, room).astype(previous.dtype))
        return cell if room is None else np.where(self.sides[room] <= SMALL_SIDE, first, cell)

    def population(self, starts: np.ndarray, room: int = 0) -> tuple[int, np.ndarray]:
        """How many are where in a room: its side in cells, int64[side * side]. `starts`: where
        each cell begins in an order of entities."""
        side = int(self.sides[room])
        cells = np.diff(starts).reshape(self.height, self.width)
        row, column = divmod(int(self.origin[room]), self.width)
        return side, cells[row + 1 : row + 1 + side, column + 1 : column + 1 + side].ravel()
