"""Which room should move to another worker of the server, because its own is short of time."""

from __future__ import annotations

from collections.abc import Mapping

SHORT = 0.7
"""From this share of its core on, a worker is short of time."""

GAP = 0.25
"""And only if another one has so much less to do, a room moves: else it would come back."""

PATIENCE = 3
"""It has to be so for so many looks, a second apart, one after the other."""

REST = 10
"""Looks that a worker lets pass after a move: what came of it is not known earlier."""


class Balancer:
    """Looks once a second.

    >>> balancer = Balancer()
    >>> looks = [balancer.look({"a": 0.5, "b": 0.4}, {1: 0.1}) for _ in range(4)]
    >>> looks
    [None, None, ('b', 1), None]
    """

    def __init__(self) -> None:
        self._short = 0
        self._rest = 0

    def rest(self) -> None:
        """A room has come, or gone: what that costs or saves is not known at once."""
        self._short, self._rest = 0, REST

    def look(
        self, rooms: Mapping[str, float], others: Mapping[int, float]
    ) -> tuple[str, int] | None:
        """A room and the worker that it should move to, or None. `rooms`: the share of a core
        that each room here takes; `others`: the same for each other worker as a whole."""
        if self._rest:
            self._rest -= 1
            return None
        found = choose(rooms, others)
        self._short = self._short + 1 if found else 0
        if self._short < PATIENCE:
            return None
        self.rest()
        return found


def choose(rooms: Mapping[str, float], others: Mapping[int, float]) -> tuple[str, int] | None:
    """The room whose move evens the two workers out best.

    >>> choose({"a": 0.5, "b": 0.3, "c": 0.1}, {1: 0.6, 2: 0.2})
    ('b', 2)
    >>> choose({"a": 0.9}, {1: 0.0})  # alone it would be as short of time there
    >>> choose({"a": 0.3, "b": 0.3}, {1: 0.0})
    """
    own = sum(rooms.values())
    if own < SHORT or len(rooms) < 2 or not others:
        return None
    worker = min(others, key=lambda other: (others[other], other))
    gap = own - others[worker]
    if gap < GAP:
        return None
    fitting = {id: busy for id, busy in rooms.items() if 0.0 < busy < gap}
    if not fitting:
        return None
    return min(fitting, key=lambda id: abs(gap / 2 - fitting[id])), worker
