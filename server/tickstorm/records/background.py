"""Work that the game loop must not wait for, in a native thread with a bounded queue.

The journal writes to disk this way (`journal/writer.py`), the all-time scores to SQLite
(`scores.py`). The loop hands items over and goes on; the thread works them off in order
and *settles* what it did now and then: a sync, a transaction.

What if the thread can't keep up? `offer` refuses an item when more than `limit` is waiting:
it is dropped, `dropped` counts it, and the caller does without. `put` takes it anyhow, for
the few that others depend on. So no more waits than `limit`, one item, and what was `put`.
"""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from math import inf
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any

log = logging.getLogger("tickstorm.background")

_STOP = object()


class Background(ABC):
    """A thread with a queue. A subclass says what the thread does: `_work`, `_settle`, `_end`.

    `offer`, `put`, `flush` and `stop` are for one other thread, the game loop's; those that
    take a deadline wait, and are for tools and tests. An exception in the subclass's methods
    is logged and counted in `errors`; the thread goes on with the next item.

    >>> class Sum(Background):
    ...     total = 0
    ...
    ...     def _work(self, item):
    ...         self.total += item
    >>> sums = Sum("sum", limit=100)
    >>> sums.offer(3), sums.offer(4), sums.flush(5.0), sums.total
    (True, True, True, 7)
    """

    def __init__(self, name: str, limit: int, settle_s: float = 0.0, retry_s: float = 5.0):
        """Starts the thread, so a subclass sets up what that needs before.

        Args: `limit`: how much may wait, in the unit of the items' sizes; `settle_s`: seconds
        from an item's turn to `_settle` at most; `retry_s`: between attempts at `_settle`.
        """
        self.limit = limit
        self.dropped = 0  # items that `offer` refused
        self.errors = 0
        self._queue: SimpleQueue = SimpleQueue()
        self._taken = self._done = 0  # sizes; the first is the loop's, the second the thread's
        self._settle_s, self._retry_s = settle_s, retry_s
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    # -------------------------------------------------------------- for the game loop

    @property
    def waiting(self) -> int:
        """The sizes of all items that have not had their turn."""
        return self._taken - self._done

    @property
    def full(self) -> bool:
        """Is so much waiting that `offer` refuses?"""
        return self.waiting > self.limit

    def offer(self, item: Any, size: int = 1) -> bool:
        """Hand over what can be done without; False if it was dropped, for the queue is full."""
        if self.full:
            self.dropped += 1
            return False
        self.put(item, size)
        return True

    def put(self, item: Any, size: int = 1) -> None:
        """Hand over what must not be dropped. The caller sees to it that this is rare."""
        self._taken += size
        self._queue.put((item, size))

    def stop(self) -> None:
        """Work off what is waiting, settle, then end. `stopped` tells when that is done."""
        self._queue.put((_STOP, 0))

    @property
    def stopped(self) -> bool:
        return not self._thread.is_alive()

    # -------------------------------------------------------------- for tools and tests

    def flush(self, timeout_s: float) -> bool:
        """Wait until all that was handed over is worked off and settled; False if it is not."""
        flushed = threading.Event()
        self._queue.put((flushed, 0))
        return flushed.wait(timeout_s)

    def close(self, timeout_s: float) -> bool:
        """Stop, and wait for the end; False if it has not come by then."""
        self.stop()
        self._thread.join(timeout_s)
        return self.stopped

    # -------------------------------------------------------------- in the thread

    @abstractmethod
    def _work(self, item: Any) -> None:
        """An item's turn."""

    def _settle(self) -> bool:
        """Make what was worked off last; False if it has to be tried again."""
        return True

    def _end(self) -> None:  # noqa: B027 (most have nothing to end)
        """The thread's last act."""

    def _run(self) -> None:
        due = inf  # when to settle
        waiters: list[threading.Event] = []  # of `flush`
        running = True
        while running:
            try:
                timeout_s = None if due == inf else max(0.0, due - monotonic())
                item, size = self._queue.get(timeout=timeout_s)
            except Empty:
                pass  # time to settle
            else:
                if item is _STOP:
                    running = False
                elif isinstance(item, threading.Event):
                    waiters.append(item)
                    due = 0.0
                else:
                    self._safely(self._work, item)
                    self._done += size
                    due = min(due, monotonic() + self._settle_s)
            if not running or monotonic() >= due:
                settled = self._safely(self._settle)
                due = inf if settled else monotonic() + self._retry_s
                while waiters and settled:
                    waiters.pop().set()
        self._safely(self._end)

    def _safely(self, action: Callable[..., Any], *arguments: Any) -> Any:
        """The action's result; None if it raised. Whatever it is, the next item has its turn."""
        try:
            return action(*arguments)
        except Exception:
            self.errors += 1
            log.exception("%s: an error in the background", self._thread.name)
            return None
