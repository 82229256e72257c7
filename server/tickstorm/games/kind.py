"""Kinds of entities in a crowd, and their columns: what travels on the wire, declared once.

The server packs, deltas and checksums whatever is declared, and sends the declaration
to each client at join.

Roles of a column:

* ``delta``: changes nearly every tick; travels as one signed byte of difference
  to the client's baseline. The first delta column must be 16 bits wide (its
  byte -128 is the escape mark to a full row).
* ``state``: changes now and then; a change sends the row's mutable columns whole.
* ``static``: fixed from spawn to despawn; travels once, when the entity enters.
* ``kept``: of the rules alone, and never sent (for `crowd.World`).

A kind without delta and state columns costs nothing after its entities entered.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Column:
    """One column on the wire: ``value = wire * scale`` in world units.

    `dtype` is a numpy code without byte order (the wire is little-endian):
    ``u1 u2 i1 i2 u4 f4`` or ``S<n>`` for UTF-8 text, zero-padded.
    """

    name: str
    dtype: str
    role: str
    scale: float = 1.0


@dataclass(frozen=True)
class Kind:
    """A kind of entity. Its row is its columns in order, packed, little-endian. `most`: how many
    there can be at once (of players, so many as the room takes). `seen`: "all" shows it to
    everyone, whatever the world's `interest` is."""

    name: str
    columns: tuple[Column, ...]
    most: int = 4096
    seen: str = ""

    @property
    def sent(self) -> tuple[Column, ...]:
        """The columns that travel."""
        return tuple(column for column in self.columns if column.role != "kept")

    def dtype(self, *roles: str) -> np.dtype:
        """The packed dtype of the columns that have one of `roles`."""
        return np.dtype([(c.name, "<" + c.dtype) for c in self.columns if c.role in roles])


def names_of(dtype: np.dtype) -> tuple[str, ...]:
    """The fields of a packed dtype, by name."""
    assert dtype.names is not None, "a declared dtype is a structured one"
    return dtype.names


def fields_of(dtype: np.dtype) -> list:
    """A packed dtype as plain lists, as the client receives it.

    >>> fields_of(np.dtype([("x", "<f4"), ("hp", "u1")]))
    [['x', 'f4'], ['hp', 'u1']]
    """
    return [[name, dtype[name].str.lstrip("<|")] for name in names_of(dtype)]
