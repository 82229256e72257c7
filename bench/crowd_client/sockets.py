"""The inner loop: read all sockets, send all inputs. Whatever is rare goes to the owner.

Two system calls per client and tick; so all the time goes here, and nothing else is done
here. `Batched` makes them through io_uring where the kernel allows it, a sweep's at once.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from typing import Protocol

import numpy as np

from tickstorm.transport.uring import Ring

from .dialects import Colyseus, Tickstorm
from .frames import BINARY, HEAD, INPUT
from .snapshots import Snapshots

BUFFER_BYTES = 1 << 18
"""The most that is read at once from a socket."""

SLOW_RECEIVE_BUFFER = 4096
"""Of a slow client: else its kernel would read on for it for a long while."""


BATCH, BATCH_BYTES = 512, 4096
"""Sockets read at once by `Batched`, and bytes of each; all their snapshots count as read when
the last of them was, less than a millisecond later."""


class Owner(Protocol):
    """Who is told what happens to a client. It may open, close and send in any of these."""

    def connected(self, client: int) -> None:
        """`open` has succeeded."""

    def received(self, client: int, data: bytes) -> None:
        """Bytes that are more than one snapshot, or less; none at all is the end."""

    def lose(self, client: int, reason: str) -> None:
        """Its socket failed; to be closed."""


class Sockets:
    """The non-blocking sockets of all clients, by client number, each with one at most.

    The owner says by client what the loops need to know, and `close` takes it back:

    * `plain`: of this client a read that is exactly one whole snapshot is only noted in
      `snapshots`, and the owner hears nothing of it;
    * `steered`: this client sends inputs.
    """

    name = "epoll"

    def __init__(
        self,
        clients: int,
        address: tuple[str, int],
        dialect: Tickstorm | Colyseus,
        snapshots: Snapshots,
        owner: Owner,
    ):
        self.plain = bytearray(clients)
        self.steered = bytearray(clients)
        self.paused: set[int] = set()
        self.bytes_in = 0
        self.inputs_out = 0
        self.inputs_withheld = 0  # the socket took nothing, or had not taken all before
        self._address, self._dialect = address, dialect
        self._snapshots, self._owner = snapshots, owner
        self._poll = select.epoll()
        self._by_fd: dict[int, int] = {}
        self._sockets: list[socket.socket | None] = [None] * clients
        self._sends: list = [None] * clients  # their `send`
        self._connecting: set[int] = set()
        self._unsent: dict[int, bytes] = {}  # the rest of what the socket did not take
        self._buffer = bytearray(BUFFER_BYTES)

    # ------------------------------------------------------------ each sweep

    def read(self) -> None:
        """Read every socket that has something, once."""
        recv_into, view, buffer = socket.socket.recv_into, memoryview(self._buffer), self._buffer
        by_fd, sockets, plain, connecting = self._by_fd, self._sockets, self.plain, self._connecting
        snapshots, clock, readable = self._snapshots, time.perf_counter, select.EPOLLIN
        connection, heads = snapshots.connection, snapshots.heads_bytes
        read_by, read_at = snapshots.read_by.append, snapshots.read_at.append
        mark, value = self._dialect.snapshot_byte, self._dialect.snapshot_value
        head_at, head_size = self._dialect.head_at, HEAD.itemsize
        bytes_in = 0

        for fd, event in self._poll.poll(0, len(sockets) + 1):
            client = by_fd.get(fd)
            if client is None:  # closed while this sweep went on
                continue
            if event != readable and client in connecting:
                self._connected(client)
                continue
            try:
                got = recv_into(sockets[client], buffer)
            except BlockingIOError:
                continue
            except OSError as error:
                self._owner.lose(client, error.strerror or "socket error")
                continue
            bytes_in += got

            # Nearly always this is exactly one snapshot of a player who is playing.
            length = buffer[1]
            if length < 126:
                start, end = 2, 2 + length
            elif length == 126:
                start, end = 4, 4 + (buffer[2] << 8 | buffer[3])
            else:
                start, end = 0, -1  # that long is never plain
            if (
                end == got
                and buffer[0] == BINARY
                and buffer[start + mark] == value
                and plain[client]
            ):
                read_by(connection[client])
                read_at(clock())
                if head_at:
                    at = start + head_at
                    to = client * head_size
                    heads[to : to + head_size] = view[at : at + head_size]
            else:
                self._owner.received(client, bytes(view[:got]))
        self.bytes_in += bytes_in

    def send_inputs(self, clients: range, frames: bytes) -> None:
        """Send each of `clients` that is steered its frame; `frames`: INPUT, one for each."""
        steered, sends, unsent = self.steered, self._sends, self._unsent
        data, size, at, sent = memoryview(frames), INPUT.itemsize, 0, 0
        for client in clients:
            if steered[client]:
                try:
                    if unsent and client in unsent:
                        self.send(client, b"")
                        self.inputs_withheld += 1
                    elif sends[client](data[at : at + size]) == size:
                        sent += 1
                    else:
                        self._owner.lose(client, "an input was cut short")
                except BlockingIOError:
                    self.inputs_withheld += 1
                except OSError as error:
                    self._owner.lose(client, error.strerror or "socket error")
            at += size
        self.inputs_out += sent

    # ------------------------------------------------------------ now and then

    def open(self, client: int, slow: bool = False) -> None:
        """Begin to connect; `owner.connected` or `owner.lose` follows. `slow`: see `pause`."""
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if slow:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_RECEIVE_BUFFER)
        self._sockets[client], self._sends[client] = sock, sock.send
        self._by_fd[sock.fileno()] = client
        self._connecting.add(client)
        error = sock.connect_ex(self._address)
        if error not in (0, errno.EINPROGRESS):
            self._owner.lose(client, os.strerror(error))
            return
        self._poll.register(sock.fileno(), select.EPOLLOUT)

    def _connected(self, client: int) -> None:
        sock = self._sockets[client]
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self._owner.lose(client, os.strerror(error))
            return
        self._connecting.discard(client)
        self._poll.modify(sock.fileno(), select.EPOLLIN)
        self._owner.connected(client)

    def send(self, client: int, data: bytes) -> None:
        """Send after whatever is still unsent; what the socket doesn't take is sent later."""
        if self._sockets[client] is None:
            return
        data = self._unsent.pop(client, b"") + data
        try:
            sent = self._sends[client](data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._owner.lose(client, error.strerror or "socket error")
            return
        if sent < len(data):
            self._unsent[client] = data[sent:]

    def pause(self, client: int) -> None:
        """Read nothing of it until `resume`."""
        self._poll.unregister(self._sockets[client].fileno())
        self.paused.add(client)

    def resume(self, client: int) -> None:
        """Read what it gets again."""
        self._poll.register(self._sockets[client].fileno(), select.EPOLLIN)
        self.paused.discard(client)

    def close(self, client: int) -> None:
        """Close its socket, if it has one."""
        sock = self._sockets[client]
        if sock is None:
            return
        del self._by_fd[sock.fileno()]
        sock.close()
        self._sockets[client] = self._sends[client] = None
        self.plain[client] = self.steered[client] = 0
        self._unsent.pop(client, None)
        self._connecting.discard(client)
        self.paused.discard(client)

    def close_all(self) -> None:
        """The end of it."""
        for client in range(len(self._sockets)):
            self.close(client)
        self._poll.close()


class Batched(Sockets):
    """The same in one system call for many clients. Raises OSError where io_uring can't be had."""

    name = "io_uring"

    def __init__(self, clients: int, *args):
        self._ring = Ring()
        super().__init__(clients, *args)
        self._plain = np.frombuffer(self.plain, np.uint8)
        self._steered = np.frombuffer(self.steered, np.uint8)
        self._fd = np.full(clients, -1, np.int32)  # by client
        self._rows = np.empty((BATCH, BATCH_BYTES), np.uint8)

    def open(self, client: int, slow: bool = False) -> None:
        super().open(client, slow)
        if self._sockets[client] is not None:
            self._fd[client] = self._sockets[client].fileno()

    def close(self, client: int) -> None:
        super().close(client)
        self._fd[client] = -1

    def close_all(self) -> None:
        super().close_all()
        self._ring.close()

    def read(self) -> None:
        ready = []
        for fd, event in self._poll.poll(0, len(self._sockets) + 1):
            client = self._by_fd.get(fd, -1)
            if event != select.EPOLLIN and client in self._connecting:
                self._connected(client)
            else:
                ready.append(client)
        clients = np.array(ready, np.intp)
        clients = clients[clients >= 0]  # of the others, the socket was closed by now
        for begin in range(0, len(clients), BATCH):
            self._read_batch(clients[begin : begin + BATCH])

    def _read_batch(self, clients: np.ndarray) -> None:
        rows, n = self._rows, np.arange(len(clients))
        got = self._ring.receive(self._fd[clients], rows[: len(clients)])
        self.bytes_in += int(got[got > 0].sum())

        # Nearly always this is exactly one snapshot of a player who is playing.
        short = rows[n, 1].astype(np.int64)
        long = rows[n, 2].astype(np.int64) << 8 | rows[n, 3]
        start = np.where(short < 126, 2, 4)
        end = start + np.where(short < 126, short, np.where(short == 126, long, -1000))
        mark, value = self._dialect.snapshot_byte, self._dialect.snapshot_value
        whole = (end == got) & (rows[n, 0] == BINARY) & (rows[n, start + mark] == value)
        whole &= self._plain[clients] != 0
        heads = None
        if self._dialect.head_at:
            first = (start + self._dialect.head_at)[whole, None]
            heads = rows[n[whole, None], first + np.arange(HEAD.itemsize)]
        self._snapshots.note_all(clients[whole], heads)

        rest = np.flatnonzero(~whole & (got != -errno.EAGAIN)).tolist()
        data = [rows[i, : max(got[i], 0)].tobytes() for i in rest]  # rows may be used again
        for i, bytes_read in zip(rest, data, strict=True):
            client = int(clients[i])
            if self._sockets[client] is None:
                continue
            if got[i] < 0:
                self._owner.lose(client, os.strerror(-got[i]))
            else:
                self._owner.received(client, bytes_read)

    def send_inputs(self, clients: range, frames: bytes) -> None:
        data, size = np.frombuffer(frames, np.uint8), INPUT.itemsize
        chosen = np.array(clients)
        address = data.ctypes.data + np.arange(len(chosen), dtype=np.uint64) * size
        steered = self._steered[chosen] != 0
        behind = [client for client in clients if client in self._unsent] if self._unsent else []
        if behind:
            steered &= ~np.isin(chosen, behind)
        chosen = chosen[steered]
        sent = self._ring.send(self._fd[chosen], [(address[steered], size)])
        self.inputs_out += int(np.count_nonzero(sent == size))
        for i in np.flatnonzero(sent != size).tolist():
            if sent[i] == -errno.EAGAIN:
                self.inputs_withheld += 1
            elif sent[i] < 0:
                self._owner.lose(int(chosen[i]), os.strerror(-sent[i]))
            else:
                self._owner.lose(int(chosen[i]), "an input was cut short")
        for client in behind:
            self.send(client, b"")
            self.inputs_withheld += self._sockets[client] is not None


def open_sockets(clients: int, *args) -> Sockets:
    """`Batched` where the kernel allows it; see `Sockets` for the arguments."""
    try:
        return Batched(clients, *args)
    except OSError:
        return Sockets(clients, *args)
