"""What malloc is told so that a tick's arrays cost nothing but their use."""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h

ARRAY_BYTES = 32 << 20
"""Blocks up to this size come from the heap; the most that glibc allows."""

KEPT_BYTES = 64 << 20
"""So much of the heap may lie unused before it is given back."""


def keep() -> None:
    """Have malloc keep what a tick's arrays took for the next tick's.

    By default glibc returns the larger ones to the kernel at once, which then has to clear
    them anew for every tick: half the time of encoding for 3,000 players. Elsewhere than on
    glibc nothing is changed. See mallopt(3).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, ARRAY_BYTES)
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
