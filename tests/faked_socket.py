"""A socket that takes only what the test allows."""

from __future__ import annotations

import errno


class Socket:
    """The connection's socket, except that `send` takes only what the test allows."""

    def __init__(self, connection):
        self._send = connection.send
        self.takes: int | None = None  # bytes in all; None: any number
        connection.send = self.send

    def send(self, data):
        if self.takes is None:
            return self._send(data)
        if self.takes == 0:
            raise BlockingIOError(errno.EAGAIN, "full")
        sent = self._send(data[: self.takes])
        self.takes -= sent
        return sent
