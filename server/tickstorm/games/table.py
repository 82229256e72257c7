"""Entities of one kind as columns: one numpy array per column, one row per slot.

A table may hold the rows of many rooms: each has a run of rows of its own, its *berth*, and sees
nothing of the others. So rules over columns work on all rooms at once, and rows of one room keep
their order wherever its berth is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .kind import Kind


class Table:
    """Columns of a kind, as attributes; each is cut to the slots in use.

    Slots are given out lowest first, so the arrays stay as short as the number
    of entities, whatever the capacity. Write into columns in place
    (``table.x[...] = ``); the attributes are views that `claim` and `release`
    replace.

    Every table has ``present: bool``, ``born: int64`` and ``room: intp`` (whose row it is), and the
    arrays for the wire, which are never cut: ``mutable`` and ``static``, structured[capacity].
    `berth_first` and `berth_count`, int64[rooms]: each room's berth.
    """

    present: np.ndarray
    born: np.ndarray
    room: np.ndarray

    if TYPE_CHECKING:  # the columns that a table was made with; `_cut` sets them

        def __getattr__(self, name: str) -> np.ndarray: ...

        def __setattr__(self, name: str, value: Any) -> None: ...

    def __init__(
        self, kind: Kind, columns: list[tuple[str, str]], capacity: int, rooms: int | None = None
    ):
        """`rooms`: how many can have a berth (see `berth`); None: all rows are of room 0."""
        self.capacity = capacity
        self.used = 0
        self._full = {
            name: np.zeros(capacity, dtype)
            for name, dtype in [("present", "?"), ("born", "<i8"), *columns]
        }
        self.mutable = np.zeros(capacity, kind.dtype("delta", "state"))
        self.static = np.zeros(capacity, kind.dtype("static"))
        self.room_of = np.zeros(capacity, np.intp)  # of every row; 0 for nobody's
        self.numbers = np.arange(capacity).astype(np.uint16)  # of every row, in its room
        self.shuffled = 0
        """How often rows have changed otherwise than by `claim` and `release`."""
        self.berth_first = np.zeros(rooms or 1, np.int64)
        self.berth_count = np.zeros(rooms or 1, np.int64)
        if rooms is None:
            self.berth_count[0] = capacity
        self._cut(0)

    def full(self, name: str) -> np.ndarray:
        """A column over all slots, used or not."""
        return self._full[name]

    def _cut(self, used: int) -> None:
        self.used = used
        self.room = self.room_of[:used]
        for name, column in self._full.items():
            setattr(self, name, column[:used])

    # ------------------------------------------------------------------ berths

    def berth(self, room: int, count: int) -> bool:
        """Give a room the first run of `count` rows that nobody has, and grow if there is none.
        Returns whether the table has grown, so that its arrays are others."""
        taken = np.flatnonzero(self.berth_count)
        taken = taken[np.argsort(self.berth_first[taken])]
        at = 0
        for other in taken.tolist():
            if self.berth_first[other] - at >= count:
                break
            at = int(self.berth_first[other] + self.berth_count[other])
        grows = at + count > self.capacity
        if grows:
            self._grow(max(2 * self.capacity, at + count))
        self.berth_first[room], self.berth_count[room] = at, count
        self.room_of[at : at + count] = room
        self.numbers[at : at + count] = np.arange(count)
        return grows

    def unberth(self, room: int) -> None:
        """A room has gone: its rows are zero, and can be another's."""
        self.shuffled += 1
        first, count = int(self.berth_first[room]), int(self.berth_count[room])
        self.release(np.arange(first, min(first + count, self.used)))
        self.room_of[first : first + count] = 0
        self.berth_count[room] = 0

    def _grow(self, capacity: int) -> None:
        def longer(rows: np.ndarray) -> np.ndarray:
            out = np.zeros(capacity, rows.dtype)
            out[: self.capacity] = rows
            return out

        self._full = {name: longer(column) for name, column in self._full.items()}
        self.mutable, self.static = longer(self.mutable), longer(self.static)
        self.room_of, self.numbers = longer(self.room_of), longer(self.numbers)
        self.capacity = capacity
        self._cut(self.used)

    def local(self, slots: np.ndarray) -> np.ndarray:
        """The numbers of rows within their rooms: slots as clients know them."""
        return slots - self.berth_first[self.room_of[slots]]

    def span(self, room: int) -> slice:
        """The rows of a room that `full` and the wire's arrays have."""
        first = int(self.berth_first[room])
        return slice(first, first + int(self.berth_count[room]))

    # ------------------------------------------------------------------ rows

    def claim(self, count: int, born: int, room: int = 0) -> np.ndarray:
        """A room's lowest free slots, int64[count or fewer when full]: present, born, all else
        zero."""
        berth = self.span(room)
        slots = np.flatnonzero(~self._full["present"][berth])[:count] + berth.start
        for column in self._full.values():
            column[slots] = 0  # rules leave something in free rows, too
        self._take(slots, born)
        return slots

    def claim_each(self, rooms: np.ndarray, born: int) -> tuple[np.ndarray, np.ndarray]:
        """A slot for each of `rooms`, int64[n], in which equal ones stand together: its lowest free
        one, and so on.

        Returns ``(slots: int64[k], found: bool[n])``: who comes last finds none when it is full.
        """
        free = np.flatnonzero(~self._full["present"])
        first = self.berth_first[rooms]
        ends = np.searchsorted(free, first + self.berth_count[rooms])
        at = np.searchsorted(free, first) + ranks(rooms)
        found = at < ends
        slots = free[at[found]]
        self._take(slots, born)
        return slots, found

    def _take(self, slots: np.ndarray, born: int) -> None:
        if slots.size:
            last = int(slots.max())
            if last >= self.used:
                self._cut(last + 1)
            self.present[slots] = True
            self.born[slots] = born

    def release(self, slots: np.ndarray) -> None:
        """Free slots; their rows become zero."""
        for column in self._full.values():
            column[slots] = 0
        if self.used and not self.present[-1]:
            taken = np.flatnonzero(self.present)
            self._cut(int(taken[-1]) + 1 if taken.size else 0)

    # ------------------------------------------------------------------ to go on elsewhere

    def dump(
        self,
        room: int = 0,
        ticks: dict[str, int] | None = None,
        slots: dict[str, int] | None = None,
    ) -> dict[str, Any]:
        """All rows of a room up to the last that is taken, as msgpack can carry them. `ticks`:
        what to take off columns of ticks, of which 0 means never; `slots`: off columns of rows."""
        berth = self.span(room)
        taken = np.flatnonzero(self._full["present"][berth])
        used = int(taken[-1]) + 1 if taken.size else 0
        columns = {}
        for name, column in self._full.items():
            rows = np.zeros(used, column.dtype)  # rules leave something in free rows, too
            rows[taken] = column[berth][taken]
            if ticks and name in ticks:
                rows[rows != 0] -= ticks[name]
            if slots and name in slots:
                rows[taken] -= slots[name]
            columns[name] = rows.tobytes()
        static = np.zeros(used, self.static.dtype)
        static[taken] = self.static[berth][taken]
        return {"used": used, "columns": columns, "static": static.tobytes()}

    def load(
        self,
        data: dict[str, Any],
        room: int = 0,
        ticks: dict[str, int] | None = None,
        slots: dict[str, int] | None = None,
    ) -> None:
        """Take over the rows of a dump in place of all that the room had. `ticks`, `slots`: what
        `dump` took off is added."""
        self.shuffled += 1
        berth, used = self.span(room), data["used"]
        self.release(np.arange(berth.start, min(berth.stop, self.used)))
        if used:
            self._cut(max(self.used, berth.start + used))
        for name, column in self._full.items():
            rows = np.frombuffer(data["columns"][name], column.dtype).copy()
            if ticks and name in ticks:
                rows[rows != 0] += ticks[name]
            if slots and name in slots:
                rows[np.frombuffer(data["columns"]["present"], bool)] += slots[name]
            column[berth][:used] = rows
        if self.static.dtype.itemsize:  # numpy can't count what takes no bytes
            self.static[berth][:used] = np.frombuffer(data["static"], self.static.dtype)


def ranks(groups: np.ndarray) -> np.ndarray:
    """The place of each within its group, int64[n]; equal ones of `groups` stand together.

    >>> ranks(np.array([5, 5, 2, 2, 2])).tolist()
    [0, 1, 0, 1, 2]
    """
    if not groups.size:
        return np.zeros(0, np.int64)
    at = np.arange(groups.size)
    begins = np.ones(groups.size, bool)
    begins[1:] = groups[1:] != groups[:-1]
    return at - np.maximum.accumulate(np.where(begins, at, 0))
