"""All sockets of a room at once: what came in, and what goes out, once a tick.

Two ways to the same end. `Sockets` makes one system call per client, and works on every
Linux. `Batched` makes all of them in one, through io_uring (`uring.py`), and takes plain
inputs apart with numpy; it is used where the kernel allows it.
"""

from __future__ import annotations

import errno
import logging
from functools import cache
from select import EPOLLIN, epoll
from typing import NamedTuple

import numpy as np

from ..protocol.layout import InputFrame
from ..replication.snapshot import Snapshots
from .connection import Connection
from .uring import Ring

log = logging.getLogger("tickstorm.sockets")

INPUTS_READ = 17
"""Inputs read from a socket per tick: of a few numbers each, they are as much as Python allocates
from its small-object pools (0.2 µs less than a page). The kernel keeps the rest until the next."""

MANY = 48
"""From so many clients on, `Batched` makes its calls in one: the arrays for that take as long to
make as some fifty calls."""


class Received(NamedTuple):
    """What came in: ``frames: uint8[m, input frame]`` that look like plain inputs, the
    ``seats: intp[m]`` they came from, the bytes of `others`, and whose streams have `ended`."""

    frames: np.ndarray
    seats: np.ndarray
    others: list[tuple[Connection, bytes]]
    ended: list[Connection]


class Ahead:
    """What goes out before each of n snapshots: bytes of `data`, from ``begin`` on, ``size`` of
    them, int64[n] each."""

    def __init__(self, data: bytes, begin: np.ndarray, size: np.ndarray):
        self.data, self.begin, self.size = data, begin, size

    @classmethod
    def alike(cls, data: bytes, n: int) -> Ahead:
        """The same before all."""
        return cls(data, np.zeros(n, np.int64), np.full(n, len(data)))

    def one(self, i: int) -> bytes:
        begin = int(self.begin[i])
        return self.data[begin : begin + int(self.size[i])]


class Sockets:
    """The connections of a room that are read by its tick: `readers`, by file descriptor. One
    `recv` for each readable socket, one `send` for each snapshot.

    `connections` is the room's list of them, by seat; `inputs` tells plain inputs apart.
    """

    name = "epoll"

    def __init__(self, connections: list[Connection | None], inputs: InputFrame):
        self.inputs = inputs
        self.read_size = INPUTS_READ * inputs.size
        self.readers: dict[int, Connection] = {}
        self._connections = connections
        self._poll = epoll()

    def add(self, connection: Connection) -> None:
        """From now on it is read by `receive`."""
        self.readers[connection.fd] = connection
        self._poll.register(connection.fd, EPOLLIN)

    def remove(self, connection: Connection) -> bool:
        """Before the descriptor is closed; False if it wasn't there."""
        known = self.readers.pop(connection.fd, None) is not None
        if known and not self._poll.closed:
            self._poll.unregister(connection.fd)
        return known

    def grow(self, more: int) -> None:
        """There are so many more seats."""

    def close(self) -> None:
        """Nothing is received any more: its room has ended. Those who are left can be removed."""
        self._poll.close()

    def receive(self) -> Received:
        """What all of them have sent since the last time."""
        frames, seats = [], []
        mixed = Mixed(self.inputs)
        size, start, is_plain = self.inputs.size, self.inputs.start, self.inputs.is_plain
        read_size = self.read_size
        for fd, _ in self._poll.poll(0, max(1, len(self.readers))):
            connection = self.readers[fd]
            try:
                data = connection.recv(read_size)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            if connection.plain and len(data) == size and data.startswith(start):
                frames.append(data)
                seats.append(connection.seat)
            elif data and connection.plain and is_plain(data):
                frames.append(data)
                seats += [connection.seat] * (len(data) // size)
            else:
                mixed.take(connection, data)
        return mixed.received(
            np.frombuffer(b"".join(frames), np.uint8).reshape(-1, size),
            np.array(seats, np.intp),
        )

    def send(self, seats: np.ndarray, ahead: Ahead, snapshots: Snapshots) -> np.ndarray:
        """Write, without blocking, what is `ahead` and then its snapshot to each of `seats`,
        intp[n].

        Returns int64[n]: how many bytes the socket has taken, or -errno.
        """
        taken = []
        for i, (seat, frame) in enumerate(zip(seats.tolist(), snapshots.cut(), strict=True)):
            if ahead.data:
                frame = ahead.one(i) + frame
            try:
                taken.append(self._connections[seat].send(frame))
            except OSError as error:
                assert error.errno is not None, "a system call failed"
                taken.append(-error.errno)
        return np.array(taken, np.int64)


class Batched(Sockets):
    """The same in one system call for all, unless they are few. Raises OSError where io_uring
    can't be had.

    Nothing here looks at a connection that sends plain inputs and takes its snapshots:
    what its tick needs to know of it stands in columns by seat.
    """

    name = "io_uring"

    def __init__(self, connections: list[Connection | None], inputs: InputFrame):
        super().__init__(connections, inputs)
        self._start = np.frombuffer(inputs.start, np.uint8)
        self.ring = process_ring()
        self._fd = np.full(len(connections), -1, np.int32)
        self._busy: set[Connection] = set()  # with something that isn't plain on its way
        self._changed = True

    def add(self, connection: Connection) -> None:
        super().add(connection)
        self._fd[connection.seat] = connection.fd
        self._changed = True

    def grow(self, more: int) -> None:
        self._fd = np.concatenate([self._fd, np.full(more, -1, np.int32)])

    def remove(self, connection: Connection) -> bool:
        self._busy.discard(connection)
        self._changed = True
        return super().remove(connection)

    def receive(self) -> Received:
        if len(self.readers) < MANY:
            return super().receive()
        if self._changed:
            self._changed = False
            self._seats = np.array([c.seat for c in self.readers.values()], np.intp)
            self._buffer = np.empty((len(self._seats), self.read_size), np.uint8)
            self._busy.update(self.readers.values())
        seats, buffer = self._seats, self._buffer
        got = self.ring.receive(self._fd[seats], buffer)

        # Whole plain inputs, nearly always exactly one.
        size, start = self.inputs.size, self._start
        count, part = np.divmod(got, size)
        plain = (got > 0) & (part == 0)
        self._busy = {c for c in self._busy if not c.plain}
        if self._busy:
            plain &= ~np.isin(seats, [c.seat for c in self._busy])
        source = np.repeat(np.flatnonzero(plain), count[plain])
        rank = np.arange(len(source)) - np.searchsorted(source, source)
        frames = buffer.reshape(len(buffer), INPUTS_READ, size)[source, rank]
        alike = frames[:, : len(start)] == start
        if not alike.all():
            plain[source[~alike.all(axis=1)]] = False
            frames, source = frames[plain[source]], source[plain[source]]

        mixed = Mixed(self.inputs)
        for i in np.flatnonzero(~plain & (got != -errno.EAGAIN)).tolist():
            connection = self._connections[seats[i]]
            mixed.take(connection, buffer[i, : max(got[i], 0)].tobytes())
            self._busy.add(connection)
        return mixed.received(frames, seats[source])

    def send(self, seats: np.ndarray, ahead: Ahead, snapshots: Snapshots) -> np.ndarray:
        if len(seats) < MANY:
            return super().send(seats, ahead, snapshots)
        pieces = snapshots.pieces()
        if ahead.data:
            data = np.frombuffer(ahead.data, np.uint8)
            address = ahead.begin.astype(np.uint64) + np.uint64(data.ctypes.data)
            pieces.insert(0, (address, ahead.size))
        return self.ring.send(self._fd[seats], pieces).astype(np.int64)


@cache
def process_ring() -> Ring:
    """One for the process: every call is complete at its end. Raises OSError."""
    return Ring()


def shared_ring(way: str) -> Ring | None:
    """The process' ring, as the option `SOCKETS` says; None for a call each."""
    try:
        return None if way == "epoll" else process_ring()
    except OSError:
        return None


class Mixed:
    """What came from those that sent something else than plain inputs."""

    def __init__(self, inputs: InputFrame) -> None:
        self._inputs = inputs
        self.others: list[tuple[Connection, bytes]] = []
        self.ended: list[Connection] = []
        self._frames: list[bytes] = []
        self._seats: list[int] = []

    def take(self, connection: Connection, data: bytes) -> None:
        """Small messages beside an input, such as a ping, must not hold it up."""
        if not data:
            self.ended.append(connection)
            return
        inputs, rest = self._inputs.split(data) if connection.plain else (b"", data)
        self.others.append((connection, rest))
        self._frames.append(inputs)
        self._seats += [connection.seat] * (len(inputs) // self._inputs.size)

    def received(self, frames: np.ndarray, seats: np.ndarray) -> Received:
        """These, and the plain inputs `frames` from `seats`."""
        if self._seats:
            more = np.frombuffer(b"".join(self._frames), np.uint8).reshape(-1, self._inputs.size)
            frames = np.concatenate([frames, more])
            seats = np.concatenate([seats, np.array(self._seats, np.intp)])
        return Received(frames, seats, self.others, self.ended)


def open_sockets(way: str, connections: list[Connection | None], inputs: InputFrame) -> Sockets:
    """As the option `SOCKETS` says. Raises OSError if that is io_uring, and can't be had."""
    if way == "epoll":
        return Sockets(connections, inputs)
    try:
        return Batched(connections, inputs)
    except OSError as error:
        if way == "io_uring":
            raise OSError(
                f"SOCKETS=io_uring can't be had here: {error}; `auto` and `epoll` can"
            ) from error
        log.info("io_uring can't be had here (%s): a system call for each client", error)
        return Sockets(connections, inputs)
