"""What was published in the last 32 ticks: the baselines that deltas are taken against.

Everything that snapshots say about an entity comes from here, never from the
world directly. An entity's state is published at two levels: *near*, for viewers
in its own cell, and *far*, for those in the eight cells around. Where a cell is
crowded or the server is short of time, entities take turns: one that isn't due
keeps what was published before, which costs its viewers a single bit. As both
levels are pure functions of (tick, slot), what a client knows still follows from
its baseline's tick and cell alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..games.kind import Kind
from ..games.world import KindView
from .interest import Grid

RING = 32
"""Ticks kept. A baseline is usable up to an age of RING - 1 ticks."""

NEAR_ROWS = 256
"""Entities of one cell refreshed per tick for viewers in that cell; the rest take turns."""

FAR_ROWS = 64
"""The same for viewers in the cells around: at most 256 + 8 × 64 rows in one body."""


class KindHistory:
    """Ring of one kind's published cells and states.

    Shapes, with n the slots of the kind: ``cell: uint16[RING, n]``,
    ``order: uint16[RING, n]`` (present slots sorted by cell, then slot; uint32 from 65,537 on),
    ``starts: int32[RING, cells + 1]`` (where each cell begins in `order`),
    ``state: uint8[2, RING, n, width]`` (near and far mutable rows, zero-padded to
    whole 8-byte words; also seen as ``rows: uint8[2 * RING * n, width]`` and, word by
    word, as ``words``: uint64[2 * RING * n] each).
    """

    def __init__(self, kind: Kind, slots: int, grid: Grid):
        if slots > 65536 and len(grid.origin) == 1:
            raise ValueError(f"kind {kind.name!r} has {slots} slots; ids on the wire allow 65536")
        self.kind = kind
        self.slots = slots
        self.views: np.ndarray | None = None
        """int64[cells of viewers]: the cell that stands for each here; None: the same."""
        if kind.seen == "all":
            whole = Grid(1)
            self.views = np.full(grid.count, whole.width + 1, np.int64)
            grid = whole
        self.grid = grid
        mutable = kind.dtype("delta", "state")
        self.row_bytes = mutable.itemsize
        width = -(-self.row_bytes // 8) * 8
        self.delta_columns = _delta_columns(kind, mutable)
        """(word, shift, bytes) of each delta column in a mutable row."""
        mask = np.zeros(width, np.uint8)
        mask[: self.row_bytes] = 0xFF
        for word, shift, size in self.delta_columns:
            mask[8 * word + shift // 8 :][:size] = 0
        self.state_masks = mask.view(np.uint64).tolist()
        """For each word of a row, the bits that are not in delta columns."""
        self._width = width
        self.ids = np.arange(slots).astype(np.uint16)
        """uint16[n]: what clients call each slot."""
        self.cell = np.full((RING, slots), grid.nowhere, np.uint16)
        self.order = np.zeros((RING, slots), np.uint16 if slots <= 65536 else np.uint32)
        self.starts = np.zeros((RING, grid.count + 1), np.int32)
        self.state = np.zeros((2, RING, slots, width), np.uint8)
        self._see_rows()
        self.born = np.zeros(slots, np.int64)
        self.static = np.zeros(slots, kind.dtype("static"))
        self.changed_at = np.zeros(grid.count, np.int64)
        self.block_changed_at = np.zeros(grid.count, np.int64)
        """int64[cells]: last tick at which anything in the block around a cell changed."""
        self._seen_at = -RING  # last tick with any entity
        self._recorded = -RING  # last tick that was put into the ring
        self._still: int | None = None  # what the view said of itself then

    def _see_rows(self) -> None:
        self.rows = self.state.reshape(2 * RING * self.slots, self._width)
        self.words = list(self.rows.view(np.uint64).T)

    def _grow(self, slots: int) -> None:
        """There are more slots now; nobody was in the new ones."""
        new, old = slots - self.slots, self.slots
        self.slots = slots
        self.cell = np.pad(self.cell, ((0, 0), (0, new)), constant_values=self.grid.nowhere)
        order = np.zeros((RING, slots), np.uint16 if slots <= 65536 else np.uint32)
        order[:, :old] = self.order
        self.order = order
        self.state = np.pad(self.state, ((0, 0), (0, 0), (0, new), (0, 0)))
        self._see_rows()

    def record(self, tick: int, view: KindView, far_interval: int = 1) -> None:
        """Publish a kind's entities as of `tick`; ticks must follow one another."""
        now, before = tick % RING, (tick - 1) % RING
        self.born = view.born
        self.static = view.static
        berths = view.berths
        if berths is not None:
            self.ids = berths.number
            if len(view.born) > self.slots:
                self._grow(len(view.born))
        cell, starts = self.cell[now], self.starts[now]

        slots = np.flatnonzero(view.present)
        if len(slots):
            self._seen_at = tick
        elif self.empty(tick - 1):
            return  # as in all of the ring
        same = view.still is not None and view.still == self._still and view.group is None
        if same and self._recorded == tick - 1:
            cell[:] = self.cell[before]
            was = cell != self.grid.nowhere
            appeared = view.present & ((view.born == tick) | ~was)
            cell[was & ~view.present] = self.grid.nowhere
            fresh = np.flatnonzero(appeared)
        else:
            cell.fill(self.grid.nowhere)
            fresh = slots
        self._still, self._recorded = view.still, tick
        room = None if berths is None else berths.room[fresh]
        if view.group is not None and self.views is None:
            room = view.group[fresh]
        cell[fresh] = self.grid.cell_of(view.x[fresh], view.y[fresh], room)
        own_cell = cell.take(slots)
        population = np.bincount(own_cell, minlength=self.grid.count)
        starts[0] = 0
        np.cumsum(population, out=starts[1:])
        self.order[now, : len(slots)] = slots[np.argsort(own_cell, kind="stable")]

        moved = (cell != self.cell[before]) | ((view.born == tick) & view.present)
        if self.row_bytes:
            moved |= self._publish_state(tick, slots, own_cell, population, view, far_interval)
        self._mark_changed(tick, cell[moved], self.cell[before][moved])

    def empty(self, tick: int) -> bool:
        """Was there nobody at all, at `tick` and in the ring before it?"""
        return tick - self._seen_at >= RING

    def _publish_state(
        self,
        tick: int,
        slots: np.ndarray,
        own_cell: np.ndarray,
        population: np.ndarray,
        view: KindView,
        far_interval: int,
    ) -> np.ndarray:
        """Fill both levels of `state`; returns bool[n]: whose state differs from before."""
        now, before = tick % RING, (tick - 1) % RING
        rows = np.ascontiguousarray(view.mutable).view(np.uint8).reshape(self.slots, -1)
        crowd = int(population.max(initial=0))
        differs = np.zeros(self.slots, bool)
        for level, limit, interval in ((0, NEAR_ROWS, 1), (1, FAR_ROWS, far_interval)):
            state = self.state[level]
            if crowd <= limit and interval == 1:
                state[now, :, : self.row_bytes] = rows
            else:
                stride = np.maximum(-(-population // limit), interval)[own_cell]
                new = (view.born[slots] == tick) | (self.cell[before, slots] == self.grid.nowhere)
                turn = slots
                if view.berths is not None:  # by the room's own clock and slots, as if alone
                    epoch = view.berths.epoch[view.berths.room[slots]]
                    turn = view.berths.number[slots] - epoch
                due = new | ((tick + turn) % stride == 0)
                state[now] = state[before]
                state[now, slots[due], : self.row_bytes] = rows[slots[due]]
            for words in self.words:
                word = words.reshape(2, RING, self.slots)[level]
                differs |= word[now] != word[before]
        return differs & view.present

    def _mark_changed(self, tick: int, *cells: np.ndarray) -> None:
        grid = self.grid
        for touched in cells:
            self.changed_at[touched[touched != grid.nowhere]] = tick
        # The largest of each 3 × 3 block, by rows and then by columns of the padded grid.
        field = self.changed_at.reshape(grid.height, grid.width)
        wide = field.copy()
        np.maximum(wide[:, :-1], field[:, 1:], out=wide[:, :-1])
        np.maximum(wide[:, 1:], field[:, :-1], out=wide[:, 1:])
        block = self.block_changed_at.reshape(grid.height, grid.width)
        block[:] = wide
        np.maximum(block[:-1], wide[1:], out=block[:-1])
        np.maximum(block[1:], wide[:-1], out=block[1:])

    def in_blocks_by_slot(self, tick: int, cell: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Who is in the block around `cell[i]` at `tick`, ordered by group, then by slot.

        Args: `cell`: int64[g]. Returns ``(group, slot)``, intp[m] each.
        """
        # Every entity is in the nine blocks around itself. Listed in order of slot, a
        # stable sort by cell (a radix sort, as cells are 16 bits) keeps that order.
        cells = self.cell[tick % RING]
        slots = np.flatnonzero(cells != self.grid.nowhere)
        blocks = (cells.take(slots)[:, None] + self.grid.block_cells).astype(np.uint16).ravel()
        listed = slots.take(np.argsort(blocks, kind="stable") // len(self.grid.block_cells))
        sizes = np.bincount(blocks, minlength=self.grid.count)
        count = sizes.take(cell)
        source = (np.cumsum(sizes) - sizes).take(cell) - (np.cumsum(count) - count)
        index = np.repeat(source, count)
        index += np.arange(len(index))
        return np.repeat(np.arange(len(cell)), count), listed.take(index)

    def rows_in_blocks(self, tick: np.ndarray, cell: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Who was in the block around `cell[i]` at `tick[i]`.

        Args: `tick`, `cell`: int64[g]. Returns ``(group, slot)``, intp[m] each, ordered
        by group.
        """
        ring = tick % RING
        first = ring * self.starts.shape[1] + cell
        return self._gather(self.starts.ravel(), self.order.ravel(), first, ring * self.slots)

    def moved_in_blocks(
        self, tick: int, age: int, cell: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Like `rows_in_blocks` at ``tick - age``, but only those who have left their cell, gone,
        or become another entity since: for a viewer that stayed, nobody else can leave."""
        was, now = self.cell[(tick - age) % RING], self.cell[tick % RING]
        moved = (now != was) | (self.born > tick - age)
        slots = np.flatnonzero(moved & (was != self.grid.nowhere))
        was = was.take(slots)
        starts = np.zeros(self.grid.count + 1, np.int64)
        np.cumsum(np.bincount(was, minlength=self.grid.count), out=starts[1:])
        return self._gather(starts, slots.take(np.argsort(was, kind="stable")), cell, 0)

    def _gather(
        self, starts: np.ndarray, order: np.ndarray, first: np.ndarray, offset: np.ndarray | int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The three runs of `order` that make up each block. `first`: int64[g], where a block's
        middle cell stands in `starts`; `offset`: what to add to places in `order`."""
        rows = first[:, None] + self.grid.block_rows
        begin = starts.take(rows).astype(np.int64)
        count = starts.take(rows + 3) - begin
        per_group = count.sum(axis=1)
        count = count.ravel()
        begin = (begin + np.reshape(offset, (-1, 1))).ravel()
        index = np.repeat(begin - (np.cumsum(count) - count), count)
        index += np.arange(len(index))
        return np.repeat(np.arange(len(first)), per_group), order.take(index).astype(np.intp)


def _delta_columns(kind: Kind, mutable: np.dtype) -> list[tuple[int, int, int]]:
    """Where the delta columns are: (word, shift within it in bits, bytes) each."""
    places: list[tuple[int, int, int]] = []
    fields: Mapping[str, Any] = mutable.fields or {}  # none without columns
    for column in kind.columns:
        if column.role == "delta":
            offset, size = fields[column.name][1], mutable[column.name].itemsize
            if offset // 8 != (offset + size - 1) // 8:
                raise ValueError(
                    f"kind {kind.name!r}: delta column {column.name!r} crosses an 8-byte "
                    "boundary of the row; declare it elsewhere"
                )
            places.append((offset // 8, offset % 8 * 8, size))
    if places and places[0][2] != 2:
        raise ValueError(f"kind {kind.name!r}: its first delta column must be 16 bits wide")
    return places
