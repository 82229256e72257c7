"""When the next tick is due: absolute deadlines, bounded catch-up, no clock of its own."""

from __future__ import annotations

MAX_CATCH_UP = 3
"""Ticks run back to back after a stall. What is beyond is given up, and counted."""


class Ticker:
    """Deadlines at ``origin + n / hz`` seconds.

    `overruns` counts ticks that began more than one tick late; `skipped` counts the
    tick periods that were given up after stalls (the origin moved by as many).
    """

    def __init__(self, hz: int, now: float):
        self.hz = hz
        self.overruns = 0
        self.skipped = 0
        self._origin = now
        self._count = 0

    def wait_s(self, now: float) -> float:
        """Seconds until the next tick is due; 0 if it is due already."""
        return max(0.0, self._deadline() - now)

    def due(self, now: float) -> int:
        """How many ticks to run now (0..MAX_CATCH_UP), each of them then counted as run."""
        late = now - self._deadline()
        if late < 0:
            return 0
        ticks = int(late * self.hz) + 1
        if ticks > 1:
            self.overruns += 1
        if ticks > MAX_CATCH_UP:
            self.skipped += ticks - MAX_CATCH_UP
            self._origin += (ticks - MAX_CATCH_UP) / self.hz
            ticks = MAX_CATCH_UP
        self._count += ticks
        # Whole seconds go into the origin: the product below stays small and exact enough.
        if self._count >= self.hz:
            self._origin += self._count // self.hz
            self._count %= self.hz
        return ticks

    def late_s(self, now: float, follow: int = 0) -> float:
        """Seconds since the last tick that `due` counted should have begun, or the one before
        which so many others `follow`."""
        return max(0.0, now - self._origin - (self._count - follow) / self.hz)

    def _deadline(self) -> float:
        return self._origin + (self._count + 1) / self.hz
