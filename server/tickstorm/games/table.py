"""Entities of one kind as columns: one numpy array per column, one row per slot."""

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

    Every table has ``present: bool`` and ``born: int64``, and the arrays for the
    wire, which are never cut: ``mutable`` and ``static``, structured[capacity].
    """

    present: np.ndarray
    born: np.ndarray

    if TYPE_CHECKING:  # the columns that a table was made with; `_cut` sets them

        def __getattr__(self, name: str) -> np.ndarray: ...

        def __setattr__(self, name: str, value: Any) -> None: ...

    def __init__(self, kind: Kind, columns: list[tuple[str, str]], capacity: int):
        self.capacity = capacity
        self.used = 0
        self._full = {
            name: np.zeros(capacity, dtype)
            for name, dtype in [("present", "?"), ("born", "<i8"), *columns]
        }
        self.mutable = np.zeros(capacity, kind.dtype("delta", "state"))
        self.static = np.zeros(capacity, kind.dtype("static"))
        self._cut(0)

    def full(self, name: str) -> np.ndarray:
        """A column over all slots, used or not."""
        return self._full[name]

    def _cut(self, used: int) -> None:
        self.used = used
        for name, column in self._full.items():
            setattr(self, name, column[:used])

    def claim(self, count: int, born: int) -> np.ndarray:
        """The lowest free slots, int64[count or fewer when full]: present, born, all else zero."""
        slots = np.flatnonzero(~self._full["present"])[:count]
        if slots.size:
            if slots[-1] >= self.used:
                self._cut(int(slots[-1]) + 1)
            self.present[slots] = True
            self.born[slots] = born
        return slots

    def release(self, slots: np.ndarray) -> None:
        """Free slots; their rows become zero."""
        for column in self._full.values():
            column[slots] = 0
        if self.used and not self.present[-1]:
            taken = np.flatnonzero(self.present)
            self._cut(int(taken[-1]) + 1 if taken.size else 0)

    def dump(self) -> dict[str, Any]:
        """All rows in use, as msgpack can carry them."""
        columns = {name: column[: self.used].tobytes() for name, column in self._full.items()}
        return {
            "used": self.used,
            "columns": columns,
            "static": self.static[: self.used].tobytes(),
        }

    def load(self, data: dict[str, Any]) -> None:
        """Take over the rows of a dump in place of all that was there."""
        self.release(np.arange(self.used))
        self._cut(data["used"])
        for name, column in self._full.items():
            column[: self.used] = np.frombuffer(data["columns"][name], column.dtype)
        self.static[: self.used] = np.frombuffer(data["static"], self.static.dtype)
