"""Who is near whom: the world cut into square cells, a block of 3 × 3 around each viewer.

Cells are numbered row by row in a grid with a margin of one empty cell on every
side, so that the three cells of each row of a block are always consecutive and
no block ever leaves the array.
"""

from __future__ import annotations

import numpy as np

CELL_SIZE = 1024
"""Side of a cell, world units. A player sees at least one cell less the hysteresis
in each direction, so the page must not show more than about 1,750 units."""

HYSTERESIS = 0.125
"""Share of a cell that a viewer must be past a border before its cell changes;
keeps a player who circles on a border from re-entering the same entities."""


class Grid:
    """Cells of a square world of side `size` (a multiple of CELL_SIZE, world units)."""

    def __init__(self, size: int):
        self.size = size
        self.side = size // CELL_SIZE
        self.width = self.side + 2
        self.count = self.width * self.width
        self.nowhere = self.count
        """Cell number of absent entities: in no block."""
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

    def cell_of(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """uint16[n]: the cell at float32[n] `x`, `y`; places outside count as the nearest cell."""
        column = np.clip(x * (1 / CELL_SIZE), 0, self.side - 1).astype(np.uint16)
        row = np.clip(y * (1 / CELL_SIZE), 0, self.side - 1).astype(np.uint16)
        return (row + np.uint16(1)) * np.uint16(self.width) + column + np.uint16(1)

    def in_block(self, cell: np.ndarray, viewer_cell: np.ndarray) -> np.ndarray:
        """bool[n]: is `cell` within the block around `viewer_cell`? Both unsigned or int, [n]."""
        return self._block.take(cell.astype(np.intp) - viewer_cell + self._origin)

    def viewer_cell(self, previous: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The viewers' cells, sticking to `previous` (0: none) until well past its border."""
        column = previous % self.width - 1
        row = previous // self.width - 1
        slack = CELL_SIZE * HYSTERESIS
        left, top = column * CELL_SIZE, row * CELL_SIZE
        inside = (
            (previous > 0)
            & (x >= left - slack)
            & (x < left + CELL_SIZE + slack)
            & (y >= top - slack)
            & (y < top + CELL_SIZE + slack)
        )
        return np.where(inside, previous, self.cell_of(x, y).astype(previous.dtype))
