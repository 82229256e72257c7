"""What a room counts and times, cheap enough for every tick."""

from __future__ import annotations

from collections import Counter
from time import perf_counter

import numpy as np

WINDOW = 400
"""Ticks over which percentiles are taken."""


class Metrics:
    """Counters by name, and the time that each phase of the last ticks took."""

    def __init__(self) -> None:
        self.count: Counter[str] = Counter()
        self.ticks = 0
        self._tick_ms = np.zeros(WINDOW)
        self._phase_us: dict[str, float] = {}
        self._mark = 0.0
        self._start = 0.0

    def begin(self) -> None:
        """A tick begins."""
        self._start = self._mark = perf_counter()

    def phase(self, name: str) -> None:
        """The phase `name` ends. Its time is smoothed over some 50 ticks."""
        now = perf_counter()
        took = (now - self._mark) * 1e6
        self._phase_us[name] = self._phase_us.get(name, took) * 0.98 + took * 0.02
        self._mark = now

    def end(self) -> float:
        """The tick ends; returns its duration in seconds."""
        took = perf_counter() - self._start
        self._tick_ms[self.ticks % WINDOW] = took * 1e3
        self.ticks += 1
        return took

    def busy(self, tick_hz: int) -> float:
        """Share of one core that the last two seconds' ticks took."""
        last = min(self.ticks, 2 * tick_hz)
        window = self._tick_ms.take(range(self.ticks - last, self.ticks), mode="wrap")
        return float(window.mean()) * tick_hz / 1e3 if last else 0.0

    def summary(self) -> dict:
        """For `/healthz`: milliseconds per tick, µs per phase, and the counters."""
        window = self._tick_ms[: min(self.ticks, WINDOW)]
        p50, p99 = np.percentile(window, [50, 99]) if len(window) else (0.0, 0.0)
        return {
            "ticks": self.ticks,
            "tick_ms_p50": round(float(p50), 3),
            "tick_ms_p99": round(float(p99), 3),
            "phase_us": {name: round(us, 1) for name, us in self._phase_us.items()},
            "count": dict(sorted(self.count.items())),
        }
