"""Chance without a generator: a number from what it is for.

A generator hands out its numbers in the order in which it is asked. Where many rooms are stepped
at once, that would tie each room's chance to what its neighbours do. So a draw is a hash of the
room's seed, the tick, a purpose, and who draws: the same whoever else is there, for all at once.
The mixing is that of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number
Generators, 2014).
"""

from __future__ import annotations

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_UNIT = 2.0**-53


def chance(
    seed: np.ndarray, tick: np.ndarray | int, purpose: int, who: np.ndarray, draws: int
) -> np.ndarray:
    """float64[draws, n], each evenly in 0 <= value < 1.

    Args: `seed`: uint64[n]; `tick`: int64[n], the room's own, or one for all; `purpose`: 0..255,
    another for each use within a tick; `who`: int[n], 0..2**32 - 1, who draws within its room.

    >>> one = chance(np.uint64([7]), 3, 1, np.array([5]), 2)
    >>> two = chance(np.uint64([9, 7]), np.array([8, 3]), 1, np.array([0, 5]), 2)
    >>> one.shape, bool((one[:, 0] == two[:, 1]).all())
    ((2, 1), True)
    """
    when = np.atleast_1d(tick).astype(np.uint64) << np.uint64(8) | np.uint64(purpose)
    base = _mix(seed + _GOLDEN * (when + np.uint64(1)))
    place = np.asarray(who).astype(np.uint64) << np.uint64(16)
    key = place + np.arange(draws, dtype=np.uint64)[:, None]
    return (_mix(base + _GOLDEN * (key + np.uint64(1))) >> np.uint64(11)) * _UNIT


def _mix(key: np.ndarray) -> np.ndarray:
    key = (key ^ (key >> np.uint64(30))) * _FIRST
    key = (key ^ (key >> np.uint64(27))) * _SECOND
    return key ^ (key >> np.uint64(31))
