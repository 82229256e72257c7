"""What a room counts and times, cheap enough for every tick."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from time import perf_counter, thread_time, time
from typing import Any

import numpy as np

from .meter import Meter, Phases, SlowTick

WINDOW = 400
"""Ticks over which percentiles are taken."""

RECENT = 128
"""Ticks whose phases are kept for whoever looks on."""


class Metrics:
    """Counters by name, and the time that each phase of the last ticks took. `meter` adds it all
    up for the process; `room` is whose ticks they are."""

    def __init__(self, meter: Meter | None = None, room: str = "") -> None:
        self.meter = meter or Meter()
        self.room = room
        self.count: Counter[str] = Counter()
        self.ticks = 0
        self.recent: deque[tuple[float, float, float, Phases]] = deque(maxlen=RECENT)
        """``(began, late_s, took_s, phases)`` of the last ticks; `began` is a `perf_counter()`."""
        self._tick_ms = np.zeros(WINDOW)
        self._phase_us: dict[str, float] = {}
        self._phases: Phases = []
        self._late_s = 0.0
        self._mark = self._start = self._end = perf_counter()
        self._cpu = self._cpu_end = 0.0
        self._busy_end = self._garbage_end = 0.0

    def begin(self, late_s: float = 0.0) -> None:
        """A tick begins, `late_s` after it was due."""
        self._late_s = late_s
        self._phases = []
        self._cpu = thread_time()
        self._start = self._mark = perf_counter()

    def phase(self, name: str) -> None:
        """The phase `name` ends. Its time is smoothed over some 50 ticks."""
        now = perf_counter()
        took = now - self._mark
        self._phase_us[name] = self._phase_us.get(name, took * 1e6) * 0.98 + took * 2e4
        self._phases.append((name, took))
        self._mark = now

    def end(self, counts: Callable[[], dict[str, Any]] = dict, tick: int | None = None) -> float:
        """The tick ends; returns its duration in seconds. `counts()`: what had to be done in it,
        should it be one of the slowest; `tick`: its number, else they are counted."""
        now = perf_counter()
        took = now - self._start
        self._tick_ms[self.ticks % WINDOW] = took * 1e3
        self.ticks += 1
        meter = self.meter
        shared = meter.shared
        meter.duration.observe(took)
        meter.lateness.observe(self._late_s)
        for name, seconds in self._phases:
            meter.phase_s[name] = meter.phase_s.get(name, 0.0) + seconds
        self.recent.append((self._start, self._late_s, took, self._phases))
        if shared.slowest.wants(self._late_s + took):
            shared.slowest.keep(
                SlowTick(
                    over_s=self._late_s + took,
                    at=time(),
                    began=self._start,
                    kind=meter.kind,
                    room=self.room,
                    tick=self.ticks if tick is None else tick,
                    late_s=self._late_s,
                    took_s=took,
                    cpu_s=thread_time() - self._cpu,
                    between_s=self._start - self._end,
                    between_cpu_s=self._cpu - self._cpu_end if self._cpu_end else 0.0,
                    others_s=shared.busy_s - self._busy_end,
                    garbage_s=shared.garbage_s - self._garbage_end,
                    phases=self._phases,
                    counts=counts(),
                )
            )
        shared.busy_s += took
        self._busy_end, self._garbage_end = shared.busy_s, shared.garbage_s
        self._end, self._cpu_end = now, thread_time()
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
