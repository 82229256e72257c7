"""How much one address may ask for: token buckets by address, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

MOST_ADDRESSES = 10_000
"""Addresses that a set of buckets remembers: past that, those that asked the longest ago are
forgotten, whose buckets are the likeliest to be full again."""


class Buckets:
    """`per_second` things for each address, `depth` at once. A rate of 0 means no limit.

    >>> now = [0.0]
    >>> buckets = Buckets(per_second=0.5, depth=2, clock=lambda: now[0])
    >>> [buckets.take("a") for _ in range(3)], buckets.take("b")
    ([0.0, 0.0, 2.0], 0.0)
    >>> now[0] = 2.0
    >>> buckets.take("a")
    0.0
    """

    def __init__(self, per_second: float, depth: float, clock: Callable[[], float] = monotonic):
        self.per_second, self.depth, self.clock = per_second, depth, clock
        self._left: dict[str, tuple[float, float]] = {}  # (credit, when), the last asked at the end

    def take(self, address: str, cost: float = 1.0) -> float:
        """Take `cost`, or as much as there can ever be. Returns 0, or, having taken nothing, the
        seconds until that could be had."""
        if not self.per_second or not address:
            return 0.0
        now, cost = self.clock(), min(cost, self.depth)
        credit, since = self._left.pop(address, (self.depth, now))
        credit = min(self.depth, credit + (now - since) * self.per_second)
        granted = credit >= cost
        self._left[address] = (credit - cost if granted else credit), now
        if len(self._left) > MOST_ADDRESSES:
            del self._left[next(iter(self._left))]
        return 0.0 if granted else (cost - credit) / self.per_second
