"""Snapshot bodies for all clients at once: enter, update and leave, group by group.

A client's *known set* is never stored. It follows from two numbers, the tick and
the cell of its baseline: whoever was in the block around that cell at that tick,
in the state published then (`history.py`). Clients with the same cell, baseline
tick and baseline cell share one body. For each group:

* **leave**: in the baseline's block then, and not in the viewer's block now or not
  the same entity any more (its slot was reused);
* **enter**: in the block now, not known;
* **update**: known, still in the block, and published differently now.

The bytes are drawn in PROTOCOL.md, "SNAPSHOT".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np

from ..protocol.layout import SnapshotStarts
from .history import RING, KindHistory

FULL_AGE = 0
"""Baseline age that stands for "no usable baseline"."""

ESCAPE = -128


@dataclass(frozen=True)
class Groups:
    """Clients that share a body. All int64[g]."""

    cell: np.ndarray
    age: np.ndarray  # ticks since the baseline, 1..RING-1; FULL_AGE for a full snapshot
    baseline_cell: np.ndarray


def group(
    cell: np.ndarray, age: np.ndarray, baseline_cell: np.ndarray
) -> tuple[Groups, np.ndarray]:
    """Distinct views among n clients: the groups, and intp[n] each client's group.

    Args: int64[n] each; ages outside 1..RING-1 mean a full snapshot.
    """
    full = (age < 1) | (age >= RING)
    age = np.where(full, FULL_AGE, age)
    baseline_cell = np.where(full, 0, baseline_cell)
    key = ((cell << 16 | baseline_cell) << 6) | age
    distinct, member_of = np.unique(key, return_inverse=True)
    return Groups(distinct >> 22, distinct & 63, distinct >> 6 & 0xFFFF), member_of


@dataclass(frozen=True)
class Bodies:
    """The bodies of g groups, one after the other.

    ``data: uint8[bytes]``; group i's is from ``begin[i]`` on, ``size[i]`` long, int64[g] each.
    """

    data: np.ndarray
    begin: np.ndarray
    size: np.ndarray

    def cut(self) -> list[bytes]:
        """Each group's body."""
        data = self.data.tobytes()
        ends = self.begin + self.size
        return [data[a:b] for a, b in zip(self.begin.tolist(), ends.tolist(), strict=True)]


class Snapshots:
    """A tick's snapshots for n clients, ready to be sent: each is a start of its own and the
    body of its group.

    Args: `starts` with all heads filled in; `bodies`; `member_of`: intp[n], each client's group.
    `size`: int64[n], bytes of each snapshot's frame.
    """

    def __init__(self, starts: SnapshotStarts, bodies: Bodies, member_of: np.ndarray):
        body_size = bodies.size[member_of]
        begin, size = starts.seal(body_size)
        self.size = size + body_size
        self._parts = (
            (starts.raw, begin, size),
            (bodies.data, bodies.begin[member_of], body_size),
        )

    def pieces(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Where the parts of each snapshot are in memory: ``(address: uint64[n], size: int64[n])``
        of the starts, and of the bodies. Good while this object lives."""
        return [
            (begin.astype(np.uint64) + np.uint64(data.ctypes.data), size)
            for data, begin, size in self._parts
        ]

    def cut(self) -> list[bytes]:
        """Each client's frame."""
        (starts, *start), (bodies, *body) = self._parts
        head, tail = starts.tobytes(), bodies.tobytes()
        columns = [column.tolist() for column in (*start, *body)]
        return [head[a : a + b] + tail[c : c + d] for a, b, c, d in zip(*columns, strict=True)]

    def one(self, i: int) -> bytes:
        """Client i's frame."""
        return b"".join(data[at[i] :][: size[i]].tobytes() for data, at, size in self._parts)


def encode(tick: int, kinds: list[KindHistory], groups: Groups) -> Bodies:
    """The body of each group's snapshot of `tick`."""
    sections = [encode_kind(tick, history, groups) for history in kinds]
    sizes = np.ones(len(groups.age), np.int64)
    for section in sections:
        sizes += section.size
    ends = np.cumsum(sizes)
    out = np.zeros(int(ends[-1]) if len(ends) else 0, np.uint8)
    at = ends - sizes
    mask_at, at = at, at + 1
    for bit, section in enumerate(sections):
        out[mask_at[section.size > 0]] |= 1 << bit
        section.write(out, at)
        at = at + section.size
    return Bodies(out, mask_at, sizes)


class Section:
    """One kind's part of every group's body.

    `parts`: ``(rows: uint8[m, bytes], count: int64[g])`` in wire order, the rows
    ordered by group; `size`: int64[g], bytes of the whole section, 0 if there is none.
    """

    def __init__(self, parts: list[tuple[np.ndarray, np.ndarray]], groups: int):
        self.parts = parts
        self.size = np.zeros(groups, np.int64)
        for rows, count in parts:
            self.size += count * rows.shape[1]

    def write(self, out: np.ndarray, at: np.ndarray) -> None:
        """Copy each group's parts into `out`, one after the other, from int64[g] `at` on."""
        for rows, count in self.parts:
            width = rows.shape[1]
            if len(rows):
                # A row's place: where its group's part begins, plus its rank within the group.
                place = np.repeat(at - (np.cumsum(count) - count) * width, count)
                place += np.arange(len(rows)) * width
                for byte in range(width):
                    out[place + byte] = rows[:, byte]
            at = at + count * width


def encode_kind(tick: int, history: KindHistory, groups: Groups) -> Section:
    """The section of one kind for every group."""
    full = groups.age == FULL_AGE
    if history.empty(tick):
        return Section([], len(full))
    if history.views is not None:
        views = history.views
        groups = Groups(views[groups.cell], groups.age, views[groups.baseline_cell])
    # The same view, and nothing happened near: no section, and no work.
    quiet = ~full & (groups.cell == groups.baseline_cell)
    quiet &= history.block_changed_at.take(groups.cell) <= tick - groups.age
    active = np.flatnonzero(~quiet)
    parts = []
    if len(active):
        busy = Groups(groups.cell[active], groups.age[active], groups.baseline_cell[active])
        parts = _parts(tick, history, busy, full[active])
    return Section([(rows, _spread(n, active, len(full))) for rows, n in parts], len(full))


def _parts(tick: int, history: KindHistory, groups: Groups, full: np.ndarray) -> list:
    """The parts of `Section` for `groups`, none of which is quiet."""
    g = len(full)
    cell, baseline_cell, baseline_tick = groups.cell, groups.baseline_cell, tick - groups.age
    grid, cell_now = history.grid, history.cell[tick % RING]
    far = RING * history.slots  # from an entity's near row to its far one

    # Who is visible, and which of them the group knows already.
    if history.row_bytes:  # both ends keep what has updates in order of id
        group, slot = history.in_blocks_by_slot(tick, cell)
    else:
        group, slot = history.rows_in_blocks(np.full(g, tick), cell)
    now = tick % RING * history.slots + slot
    then = (baseline_tick % RING * history.slots).take(group) + slot
    cell_then = history.cell.ravel().take(then)
    known = grid.in_block(cell_then, baseline_cell.take(group))
    known &= history.born.take(slot) <= baseline_tick.take(group)
    known &= ~full.take(group)
    now += far * (cell_now.take(slot) != cell.take(group))

    # Whom the group knew and sees no more.
    leave_group, leave_slot = _leavers(tick, history, groups, full)
    leaves = _count(leave_group, g)

    entering = ~known
    enters = _count(group[entering], g)
    used = (leaves + enters) > 0
    updates = []
    if history.row_bytes:
        then += far * (cell_then != baseline_cell.take(group))
        updates = _update_parts(history, group[known], now[known], then[known], used)

    header = np.stack([leaves, enters], axis=1).astype("<u2").view(np.uint8)
    return [
        (header[used], used.astype(np.int64)),
        (_bytes(history.ids.take(leave_slot)), leaves),
        *updates,
        (_enter_rows(history, slot[entering], now[entering]), enters),
    ]


def _leavers(tick: int, history: KindHistory, groups: Groups, full: np.ndarray) -> tuple:
    """Who was in the baseline's block and is not in the viewer's now, or not the same entity.

    Returns ``(group, slot)``, intp[m] each, ordered by group.
    """
    stayed = groups.cell == groups.baseline_cell
    ages = np.unique(groups.age[stayed & ~full])
    which = [np.flatnonzero(~stayed & ~full)]
    found = [history.rows_in_blocks((tick - groups.age)[which[0]], groups.baseline_cell[which[0]])]
    for age in ages.tolist():
        which.append(np.flatnonzero(stayed & (groups.age == age)))
        found.append(history.moved_in_blocks(tick, age, groups.cell[which[-1]]))
    group = np.concatenate([w.take(rows) for w, (rows, _) in zip(which, found)])
    slot = np.concatenate([slots for _, slots in found])

    gone = ~history.grid.in_block(history.cell[tick % RING].take(slot), groups.cell.take(group))
    gone |= history.born.take(slot) > tick - groups.age.take(group)
    group, slot = group[gone], slot[gone]
    order = np.argsort(group, kind="stable")
    return group.take(order), slot.take(order)


def _update_parts(
    history: KindHistory, group: np.ndarray, now: np.ndarray, then: np.ndarray, used: np.ndarray
) -> list:
    """Changed bits, deltas and escaped rows of the survivors.

    Args: `group`, `now`, `then`: intp[k], each survivor's group and its places in
    `history.rows` now and at the baseline; `used`: bool[g], set here where a
    group has anything to update.
    """
    words_now = [words.take(now) for words in history.words]
    words_then = [words.take(then) for words in history.words]
    differs = [a ^ b for a, b in zip(words_now, words_then)]
    changed = np.flatnonzero(reduce(np.bitwise_or, differs))
    changed_group = group.take(changed)
    survivors = _count(group, len(used))
    changes = _count(changed_group, len(used))
    used |= changes > 0

    bitmap = np.where(used, (survivors + 7) // 8, 0)
    first_bit = (np.cumsum(bitmap) - bitmap) * 8 - (np.cumsum(survivors) - survivors)
    bits = np.zeros(int(bitmap.sum()) * 8, bool)
    bits[first_bit.take(changed_group) + changed] = True

    escape = np.zeros(len(changed), bool)
    for word, mask in zip(differs, history.state_masks):
        escape |= (word.take(changed) & np.uint64(mask)) != 0
    deltas = []
    for at, shift, size in history.delta_columns:
        whole = np.uint64((1 << 8 * size) - 1)
        value = (words_now[at].take(changed) >> np.uint64(shift)) & whole
        delta = value.astype(np.int32)
        delta -= ((words_then[at].take(changed) >> np.uint64(shift)) & whole).astype(np.int32)
        if size > 1:  # a single byte wraps at 256, so every difference of it fits
            escape |= (delta <= ESCAPE) | (delta >= -ESCAPE)
        deltas.append(delta.astype(np.int8))
    # The mark of an escape is in the first delta; without delta columns every change is a row.
    for i, column in enumerate(deltas):
        column[escape] = 0 if i else ESCAPE
    escaped = np.flatnonzero(escape) if deltas else np.arange(len(changed))
    rows = history.rows[now.take(changed.take(escaped)), : history.row_bytes]
    return [
        (np.packbits(bits, bitorder="little")[:, None], bitmap),
        *((_bytes(column), changes) for column in deltas),
        (rows, _count(changed_group.take(escaped), len(used))),
    ]


def _enter_rows(history: KindHistory, slot: np.ndarray, now: np.ndarray) -> np.ndarray:
    """uint8[m, row]: id, mutable columns as published, static columns."""
    mutable = history.rows[now, : history.row_bytes]
    return np.hstack([_bytes(history.ids.take(slot)), mutable, _bytes(history.static[slot])])


def _bytes(rows: np.ndarray) -> np.ndarray:
    """The rows of a one-dimensional array as uint8[m, itemsize]."""
    if not rows.itemsize:
        return np.zeros((len(rows), 0), np.uint8)
    return np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), rows.itemsize)


def _count(group: np.ndarray, groups: int) -> np.ndarray:
    """int64[g]: rows of each group."""
    return np.bincount(group, minlength=groups)


def _spread(values: np.ndarray, active: np.ndarray, groups: int) -> np.ndarray:
    """`values` of the active groups among all, zero for the others."""
    out = np.zeros(groups, np.int64)
    out[active] = values
    return out
