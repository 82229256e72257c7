"""What a room gives up when a tick doesn't fit its time, in a declared order.

Never input, never leaves, never the simulation rate: those come last, and only
the clock can take them.
"""

from __future__ import annotations

from typing import NamedTuple


class Level(NamedTuple):
    """What is given up at one level, everything of the levels before included."""

    name: str
    cosmetics: bool  # heat, board and feed are sent
    far_interval: int  # ticks between refreshes of entities outside the viewer's cell
    snapshot_ticks: int  # ticks between a client's snapshots
    admits: bool  # new players are let in


LEVELS = (
    Level("none", True, 1, 1, True),
    Level("cosmetics", False, 1, 1, True),
    Level("far_half", False, 2, 1, True),
    Level("far_quarter", False, 4, 1, True),
    Level("snapshots_half", False, 4, 2, True),
    Level("snapshots_quarter", False, 4, 4, True),
    Level("admission", False, 4, 4, False),
)

BUSY, CALM = 0.95, 0.92
"""Shares of the tick period that ticks take on average: above the first the room is busy and
gives up one more thing, below the second it is calm."""

SETTLE_S, SMOOTH_S, MOST = 0.5, 1.0, 1.5
"""The average begins anew at each level; it counts after the first time, seconds, and has the
second for its time constant. The third is the most that one tick counts: a burst of joins, or
a moment that the machine spent elsewhere, is not an overload."""

LOWER_AFTER_S, LONGEST_S = 0.5, 32.0
"""Seconds of calm until something is given back, to begin with, and at most."""

TRIED_S = 4.0
"""Busy again so soon after something was given back: that was too early, and the next attempt
waits twice as long. What a level costs can't be told from the level above it: with fewer
snapshots, say, the kernel has to acknowledge inputs with packets of their own."""


class Shedding:
    """Follows how long ticks take, and says what to give up."""

    def __init__(self, tick_hz: int):
        self.level = LEVELS[0]
        self.raised = 0
        self._index = 0
        self._tick_hz = tick_hz
        self.share = 1.0  # of the process's time that this room may use
        self._period = 1.0 / tick_hz
        self._lower_after_s = LOWER_AFTER_S
        self._since_lowered = int(TRIED_S * tick_hz)  # ticks
        self._mean = 0.0  # share of the period
        self._seen = int(SMOOTH_S * tick_hz)  # ticks at this level
        self._calm = 0  # of them in a row

    def observe(self, took_s: float) -> None:
        """Take in the duration of a tick."""
        share = min(took_s / self._period, MOST)
        self._seen += 1
        self._since_lowered += 1
        self._mean += (share - self._mean) / min(self._seen, SMOOTH_S * self._tick_hz)
        if self._seen < SETTLE_S * self._tick_hz:
            return
        self._calm = self._calm + 1 if self._mean < CALM else 0
        if self._mean > BUSY:
            too_early = self._since_lowered < TRIED_S * self._tick_hz
            wait_s = min(2 * self._lower_after_s, LONGEST_S) if too_early else LOWER_AFTER_S
            self._lower_after_s = wait_s
            self._move(+1)
        elif self._index and self._calm >= self._lower_after_s * self._tick_hz:
            self._since_lowered = 0
            self._move(-1)

    def allow(self, share: float) -> None:
        """Of the process's time, this room may use `share` (0..1]."""
        self.share = share
        self._period = share / self._tick_hz

    def rest_s(self, took_s: float) -> float:
        """What must be left to other rooms after a tick of `took_s`: nothing, unless it took
        more than this room's share.

        >>> shedding = Shedding(tick_hz=20)
        >>> shedding.allow(0.5)
        >>> shedding.rest_s(0.02), shedding.rest_s(0.1)
        (0.0, 0.1)
        """
        return took_s * (1.0 / self.share - 1.0) if took_s > self._period else 0.0

    def _move(self, by: int) -> None:
        index = min(max(self._index + by, 0), len(LEVELS) - 1)
        self.raised += index > self._index
        self._index, self.level = index, LEVELS[index]
        self._seen = self._calm = 0
