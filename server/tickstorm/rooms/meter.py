"""How long ticks take, and why: what all rooms of one kind in a process count together.

A `Meter` outlives its rooms, so its counters only grow. `rooms/metrics.py` times the ticks.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter, time
from typing import Any

BOUNDS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Upper bounds of the histograms, seconds: a tick at 20 Hz has 0.05."""

SLOWEST = 32
SLOW_FOR_S = 3600.0
"""So many of the slowest ticks are kept, and for so long."""

Phases = list[tuple[str, float]]
"""The phases of a tick in their order, each with the seconds it took."""


class Histogram:
    """Values by upper bound; the last count is of those beyond all bounds.

    >>> took = Histogram()
    >>> took.observe(0.004)
    >>> took.counts[3], took.sum
    (1, 0.004)
    """

    __slots__ = ("counts", "sum")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(BOUNDS_S, value)] += 1
        self.sum += value


@dataclass(order=True)
class SlowTick:
    """A tick that was over late. All times in seconds; `over_s` is by how much after it was due:
    it began late and it took its time.

    `cpu_s` is the part of `took_s` in which the thread had a core. Of the time since the tick
    before: `others_s` went to ticks of other rooms, `garbage_s` to the garbage collector, and for
    `between_cpu_s` of `between_s` the thread had a core.
    """

    over_s: float
    at: float = field(compare=False)  # time.time() at its end
    began: float = field(compare=False)  # perf_counter()
    kind: str = field(compare=False)
    room: str = field(compare=False)
    tick: int = field(compare=False)
    late_s: float = field(compare=False)
    took_s: float = field(compare=False)
    cpu_s: float = field(compare=False)
    between_s: float = field(compare=False)
    between_cpu_s: float = field(compare=False)
    others_s: float = field(compare=False)
    garbage_s: float = field(compare=False)
    phases: Phases = field(compare=False)
    counts: dict[str, Any] = field(compare=False)
    stacks: Any = field(compare=False, default=None)


class Slowest:
    """The slowest ticks of the last hour, at most `SLOWEST`. `stacks(began, seconds)` says what
    ran from `began` on, if somebody took samples (see operate/profile.py)."""

    def __init__(self, wall: Callable[[], float] = time):
        self._heap: list[SlowTick] = []
        self._wall = wall
        self.stacks: Callable[[float, float], Any] = lambda began, seconds: None

    def wants(self, over_s: float) -> bool:
        """Would a tick that was over so late be among them?"""
        heap = self._heap
        if len(heap) < SLOWEST or over_s > heap[0].over_s:
            return True
        if heap[0].at < self._wall() - SLOW_FOR_S:
            self._forget()
            return len(self._heap) < SLOWEST
        return False

    def keep(self, tick: SlowTick) -> None:
        tick.stacks = self.stacks(tick.began - tick.late_s, tick.over_s)
        if len(self._heap) >= SLOWEST:
            self._forget()
        if len(self._heap) < SLOWEST:
            heapq.heappush(self._heap, tick)
        else:
            heapq.heappushpop(self._heap, tick)

    def clear(self) -> None:
        self._heap.clear()

    def worst(self) -> list[SlowTick]:
        """The slowest first."""
        self._forget()
        return sorted(self._heap, reverse=True)

    def _forget(self) -> None:
        oldest = self._wall() - SLOW_FOR_S
        if any(tick.at < oldest for tick in self._heap):
            self._heap = [tick for tick in self._heap if tick.at >= oldest]
            heapq.heapify(self._heap)


class Shared:
    """What the meters of a process have in common."""

    def __init__(self) -> None:
        self.slowest = Slowest()
        self.busy_s = 0.0  # of all ticks
        self.garbage_s = 0.0
        self.collections = 0
        self._garbage_since = 0.0

    def garbage(self, phase: str, _about: dict[str, int]) -> None:
        """For `gc.callbacks`."""
        if phase == "start":
            self._garbage_since = perf_counter()
        else:
            self.garbage_s += perf_counter() - self._garbage_since
            self.collections += 1


class Meter:
    """Of all rooms of one `kind` in a process, since it started."""

    def __init__(self, kind: str = "", shared: Shared | None = None):
        self.kind = kind
        self.shared = shared or Shared()
        self.duration = Histogram()
        self.lateness = Histogram()
        self.phase_s: dict[str, float] = {}
        self.gone: Counter[str] = Counter()
        """What rooms had counted that are closed by now."""
