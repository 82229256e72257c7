"""Which points are near which, without comparing all with all.

Points are sorted by grid cell once; the neighbourhood of a query point is then
three runs of that order, one per row of cells. Everything is done for all
queries at once.
"""

from __future__ import annotations

import numpy as np

ROOM_WIDTH = 8
"""Cells along a side of each room, where a grid is of many."""


class Grid:
    """A square of ``width x width`` cells with an empty border cell on each side, or one such
    square after the other for each of many rooms.

    What room a point is in goes with it everywhere, as an intp[n]; points of different rooms are
    never near each other.
    """

    def __init__(self, width: int, rooms: int = 1):
        """`rooms`: how many there can be; `in_use` says how many of them count."""
        self.width = width
        self.stride = width + 2
        self.square = self.stride * self.stride
        self.alone = rooms == 1
        self.in_use = rooms
        self.per_unit = np.zeros(rooms, np.float32)

    @property
    def cells(self) -> int:
        return self.square * self.in_use

    def place(self, room: int, size: float, reach: float) -> None:
        """A room of this size begins. Cells are at least `reach` wide, so that 3 x 3 of them cover
        it in all directions."""
        width = max(1, min(self.width, int(size / reach)))
        self.per_unit[room] = np.float32(width / size)

    def cell(self, x: np.ndarray, y: np.ndarray, room: np.ndarray) -> np.ndarray:
        """int32[n]: the cells of points (float32[n]); the nearest one if they are outside."""
        last = self.width - 1
        per_unit = self.per_unit[0] if self.alone else self.per_unit[room]
        column = np.clip((x * per_unit).astype(np.int32), 0, last)
        row = np.clip((y * per_unit).astype(np.int32), 0, last)
        cell = (row + 1) * np.int32(self.stride) + (column + 1)
        return cell if self.alone else cell + room.astype(np.int32) * np.int32(self.square)

    def sort(self, x: np.ndarray, y: np.ndarray, room: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points (float32[n]) by cell.

        Returns ``order``: int64[n], and ``start``: int64[cells + 1]; the points of
        cell c are ``order[start[c]:start[c + 1]]``.
        """
        cell = self.cell(x, y, room)
        # 130 * 130 cells, and 100 of each of 655 rooms, fit 16 bits, which numpy sorts by radix.
        order = np.argsort(cell.astype(np.uint16), kind="stable")
        start = np.zeros(self.cells + 1, np.int64)
        np.cumsum(np.bincount(cell, minlength=self.cells), out=start[1:])
        return order, start

    def runs(self, x: np.ndarray, y: np.ndarray, room: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """First and one past the last cell of the three runs around each query.

        Args: float32[m]. Returns two int64[m, 3] of indices into ``start``.
        """
        rows = np.array([-self.stride, 0, self.stride], np.int64)
        first = (self.cell(x, y, room)[:, None] + rows) - 1
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
