"""HTTP requests that take too long, or are too many: the way in must stay open.

uWSGI gives a greenlet to every socket that it accepts, and its own timeout begins
anew with every byte. Clients that send their headers byte by byte, or never read
the answer, would keep those greenlets for hours and nobody else could come in.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Set

LOOK_EVERY_S, LOOK_AGAIN_S = 0.5, 0.05
"""Seconds until the next look, and until that after one that found too much."""


class Doorkeeper:
    """Knows since when each socket at `port` is there without having become a WebSocket.

    `websockets` are the descriptors that have. A request may take `seconds`, and
    there may be `limit` of them; beyond that the oldest have to go.
    """

    def __init__(self, port: int, websockets: Set[int], seconds: float, limit: int):
        self._port = port
        self._websockets = websockets
        self._seconds = seconds
        self._limit = limit
        self._since: dict[tuple[int, int], float] = {}  # by descriptor and inode
        self._others: set[tuple[int, int]] = set()  # what isn't one of our sockets

    def look(self, now: float) -> int:
        """Shut down what is overdue or too many at `now` (s); returns how many.

        The descriptors stay open: whoever serves a request finds its end, and closes it.
        """
        found = self._requests()
        self._since = {key: self._since.get(key, now) for key in found}
        by_age = sorted(self._since, key=self._since.__getitem__)
        excess = max(0, len(by_age) - self._limit)
        overdue = [key for key in by_age[excess:] if now - self._since[key] >= self._seconds]
        for fd, _ in (out := by_age[:excess] + overdue):
            with socket.socket(fileno=os.dup(fd)) as sock:
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # then the client was quicker
        return len(out)

    def _requests(self) -> list[tuple[int, int]]:
        """(descriptor, inode) of each connection to our port that is no WebSocket."""
        seen, found = set(), []
        for fd in {int(name) for name in os.listdir("/dev/fd")} - self._websockets:
            try:
                status = os.fstat(fd)
            except OSError:
                continue  # that of the listing itself
            key = (fd, status.st_ino)
            seen.add(key)
            if key in self._others:
                continue
            if stat.S_ISSOCK(status.st_mode) and self._is_ours(fd):
                found.append(key)
            else:
                self._others.add(key)
        self._others &= seen
        return found

    def _is_ours(self, fd: int) -> bool:
        with socket.socket(fileno=os.dup(fd)) as sock:
            try:
                sock.getpeername()
                return sock.getsockname()[1] == self._port
            except (OSError, IndexError):
                return False
