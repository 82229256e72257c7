"""The sockets of all object rooms of a process: read by one loop, written in one pass.

Sockets are in sets. Those of rooms that take their turn together are in one, which is read just
before. Those of rooms without a tick wait in an epoll set whose own descriptor is one watcher of
the hub: so thousands of silent players cost nothing, and the first byte wakes the loop.

Whole, short, unfragmented binary frames, which is nearly everything that clients send, are
unmasked here; anything else goes through the connection's codec in its own greenlet.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from select import EPOLLIN, epoll
from typing import Any, Protocol

import numpy as np
from websockets.frames import apply_mask

from .connection import Connection
from .uring import Ring

log = logging.getLogger("tickstorm.sockets")

READ_SIZE, MORE_BYTES = 4096, 1 << 16
MANY = 32
"""From so many sockets on, they are read, or written, by one system call where io_uring can be
had."""

READ_AT_ONCE, ROW_SIZE = 512, 256 + 64
"""Sockets, and bytes of each, that are read by one system call: as much as stays in the cache. Rows
that are no power of two bytes apart don't fall onto one another there."""

SHORT = 120
"""Payloads up to this size are unmasked together, for all sockets that were read at once."""

_KEY_OF_BYTE = np.arange(SHORT) % 4 + 2

PONG = 0x8A


class Client(Protocol):
    """Whoever is at the other end of a connection."""

    connection: Connection | None
    heard_at: float

    def take(self, payload: bytes) -> None:
        """One message. It never raises: what is wrong ends the connection."""


def take_each(said: list[tuple[Client, bytes]]) -> None:
    """Messages, each with whoever said it."""
    for client, payload in said:
        client.take(payload)


class Pool:
    """Connections by descriptor. `ring`: for reading and writing many at once, or None; `hear`
    takes what many said at once, with who said it, and never raises."""

    def __init__(
        self,
        clock: Callable[[], float],
        ring: Ring | None = None,
        hear: Callable[[list[tuple[Any, bytes]]], None] = take_each,
    ):
        self.clock = clock
        self.waiting = epoll()
        self._ring = ring
        self._clients: dict[int, tuple[Connection, Client, Any]] = {}
        self.hear = hear
        self._rows = np.empty((READ_AT_ONCE if ring else 0, ROW_SIZE), np.uint8)
        self.bytes_sent = self.frames_sent = self.bytes_received = 0

    def __len__(self) -> int:
        return len(self._clients)

    def add(self, connection: Connection, client: Client, poll: epoll) -> None:
        """From now on it is read here, whenever this set is."""
        self._clients[connection.fd] = (connection, client, poll)
        poll.register(connection.fd, EPOLLIN)
        connection.read_by_tick()

    def remove(self, connection: Connection) -> None:
        """Before the descriptor is closed; one that isn't here is no error."""
        found = self._clients.get(connection.fd)
        if found is not None and found[0] is connection:
            del self._clients[connection.fd]
            found[2].unregister(connection.fd)

    def receive(self, poll: epoll) -> None:
        """Give what has come in this set to its clients."""
        now = self.clock()
        ready = poll.poll(0, 1024)
        if self._ring is not None and len(ready) >= MANY:
            for at in range(0, len(ready), READ_AT_ONCE):
                self._receive_at_once(self._ring, ready[at : at + READ_AT_ONCE], now)
            return
        for fd, _ in ready:
            found = self._clients.get(fd)
            if found is None:
                continue  # gone, by what another client said
            connection, client, _ = found
            try:
                data = connection.recv(READ_SIZE)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            if len(data) == READ_SIZE:
                data += self._more(connection)
            self._take(connection, client, data, now)

    def _take(self, connection: Connection, client: Client, data: bytes, now: float) -> None:
        """What was read from one socket; nothing is the end of its stream."""
        client.heard_at = now
        self.bytes_received += len(data)
        if not data:
            self.remove(connection)
            connection.hand_over(b"")
        elif connection.plain:
            self._split(connection, client, data)
        else:
            connection.hand_over(data)

    def _receive_at_once(self, ring: Ring, ready: list[tuple[int, int]], now: float) -> None:
        """Read all of these, and unmask those who said exactly one short thing."""
        clients = self._clients
        known = [clients[fd] for fd, _ in ready if fd in clients]
        count = len(known)
        rows = self._rows[:count]
        got = ring.receive(np.array([c[0].fd for c in known], np.int32), rows)
        sizes = rows[:, 1] & 0x7F
        single = (rows[:, 0] == 0x82) & (rows[:, 1] >= 0x80) & (sizes <= SHORT) & (got == sizes + 6)
        self.bytes_received += int(got[single].sum())
        width = int(sizes[single].max(initial=0))
        data = (rows[:, 6 : 6 + width] ^ rows[:, _KEY_OF_BYTE[:width]]).tobytes()
        ends = np.where(single, np.arange(count) * width + sizes, -1).tolist()
        said: list[tuple[Client, bytes]] = []
        others = []
        at = 0
        for i, (connection, client, _) in enumerate(known):
            end = ends[i]
            if end >= 0 and connection.plain:
                client.heard_at = now
                said.append((client, data[at:end]))
            elif -int(got[i]) not in (11, 4):  # EAGAIN, EINTR
                others.append((known[i], rows[i, : max(0, int(got[i]))].tobytes()))
            at += width
        self.hear(said)
        for (connection, client, poll), taken in others:
            if len(taken) == ROW_SIZE:
                taken += self._more(connection)
            if clients.get(connection.fd) == (connection, client, poll):
                self._take(connection, client, taken, now)
            else:  # gone, by what another said
                connection.hand_over(taken)

    def _more(self, connection: Connection) -> bytes:
        """The rest of what was too long to be read at first."""
        try:
            return connection.recv(MORE_BYTES)
        except OSError:  # no more, or the next read will say what is wrong
            return b""

    def _split(self, connection: Connection, client: Client, data: bytes) -> None:
        at, size = 0, len(data)
        while at + 6 <= size:
            end = at + 6 + (data[at + 1] & 0x7F)
            if not 0x80 <= data[at + 1] < 0xFE or end > size:
                break
            if data[at] == 0x82:
                payload = apply_mask(data[at + 6 : end], data[at + 2 : at + 6])
                client.take(payload)
                if connection.closing is not None:
                    at = end  # the rest may be its side of the closing handshake
                    break
            elif data[at] != PONG:
                break
            at = end
        if at < size:
            connection.hand_over(data[at:] if at else data)

    def send(self, frames: list[tuple[Connection, bytes]]) -> None:
        """Write without blocking. What a socket doesn't take is the connection's tail."""
        self.frames_sent += len(frames)
        if self._ring is not None and len(frames) >= MANY:
            self._send_at_once(self._ring, frames)
            return
        for connection, data in frames:
            try:
                sent = connection.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                connection.drop()
                continue
            self.bytes_sent += sent
            if sent < len(data):
                connection.keep_tail(data[sent:])

    def _send_at_once(self, ring: Ring, frames: list[tuple[Connection, bytes]]) -> None:
        data = np.frombuffer(b"".join([data for _, data in frames]), np.uint8)
        sizes = np.array([len(data) for _, data in frames], np.int64)
        address = (np.cumsum(sizes) - sizes + data.ctypes.data).astype(np.uint64)
        fds = np.array([connection.fd for connection, _ in frames], np.int32)
        taken = ring.send(fds, [(address, sizes)])
        self.bytes_sent += int(taken[taken > 0].sum())
        for i in np.flatnonzero(taken != sizes).tolist():
            connection, frame = frames[i]
            if taken[i] > 0:
                connection.keep_tail(frame[int(taken[i]) :])
            elif -int(taken[i]) in (0, 11, 4):  # nothing, EAGAIN, EINTR
                connection.keep_tail(frame)
            else:
                connection.drop()
