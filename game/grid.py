"""Which points are near which, without comparing all with all.

Points are sorted by grid cell once; the neighbourhood of a query point is then
three runs of that order, one per row of cells. Everything is done for all
queries at once.
"""

from __future__ import annotations

import numpy as np


class Grid:
    """A square of ``width x width`` cells with an empty border cell on each side."""

    def __init__(self, size: float, reach: float, max_width: int = 128):
        """Cells at least `reach` wide, so that 3 x 3 of them cover it in all directions."""
        self.width = max(1, min(max_width, int(size / reach)))
        self.stride = self.width + 2
        self.cells = self.stride * self.stride
        self._per_unit = np.float32(self.width / size)

    def cell(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """int32[n]: the cells of points (float32[n]); the nearest one if they are outside."""
        last = self.width - 1
        column = np.clip((x * self._per_unit).astype(np.int32), 0, last)
        row = np.clip((y * self._per_unit).astype(np.int32), 0, last)
        return (row + 1) * np.int32(self.stride) + (column + 1)

    def sort(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points (float32[n]) by cell.

        Returns ``order``: int64[n], and ``start``: int64[cells + 1]; the points of
        cell c are ``order[start[c]:start[c + 1]]``.
        """
        cell = self.cell(x, y)
        # 130 * 130 cells fit 16 bits, which numpy sorts by radix.
        order = np.argsort(cell.astype(np.uint16), kind="stable")
        start = np.zeros(self.cells + 1, np.int64)
        np.cumsum(np.bincount(cell, minlength=self.cells), out=start[1:])
        return order, start

    def runs(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """First and one past the last cell of the three runs around each query.

        Args: float32[m]. Returns two int64[m, 3] of indices into ``start``.
        """
        rows = np.array([-self.stride, 0, self.stride], np.int64)
        first = (self.cell(x, y)[:, None] + rows) - 1
        return first, first + 3


def pairs(begin: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All (query, position) with ``begin[query] <= position < end[query]``.

    Args: int64[m, 3] (three runs per query). Returns two int64[k].

    >>> pairs(np.int64([[0, 5, 9], [2, 2, 2]]), np.int64([[2, 6, 9], [2, 3, 2]]))
    (array([0, 0, 0, 1]), array([0, 1, 5, 2]))
    """
    count = (end - begin).ravel()
    total = int(count.sum())
    shift = begin.ravel() - (np.cumsum(count) - count)
    query = np.repeat(np.arange(len(begin)), count.reshape(-1, 3).sum(axis=1))
    return query, np.arange(total) + np.repeat(shift, count)
