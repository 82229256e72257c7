"""Messages and descriptors over a Unix socket, between the processes of one machine.

A message is one msgpack value with as many descriptors as it likes, up to `MOST_FDS`. Sending
never blocks: what the socket doesn't take waits, up to `MOST_BYTES`, beyond which the other side
is taken for dead.
"""

from __future__ import annotations

import hashlib
import os
import socket
import struct
from collections import deque
from collections.abc import Sequence
from typing import Any

import msgpack

MOST_FDS = 200
"""Linux takes 253 descriptors in one call (SCM_MAX_FD)."""

MOST_BYTES = 256 << 20
READ_SIZE = 1 << 18

_HEAD = struct.Struct("<IH")  # size of the message, number of its descriptors
_FD = struct.Struct("i")
_ROOM = socket.CMSG_SPACE(MOST_FDS * _FD.size)


class Ended(Exception):
    """The other side is gone."""


class Link:
    """One side of it. `sock` is ours from now on."""

    def __init__(self, sock: socket.socket):
        sock.setblocking(False)
        self.sock = sock
        self._out: deque[tuple[bytes, tuple[int, ...]]] = deque()
        self._waiting = 0  # bytes
        self._buffer = bytearray()
        self._fds: deque[int] = deque()

    def put(self, message: Any, fds: Sequence[int] = ()) -> None:
        """Send a message with duplicates of these descriptors. Raises Ended."""
        assert len(fds) <= MOST_FDS, "more than one call can carry"
        body = msgpack.packb(message)
        data = _HEAD.pack(len(body), len(fds)) + body
        self._waiting += len(data)
        if self._waiting > MOST_BYTES:
            raise Ended("it takes nothing")
        self._out.append((data, tuple(os.dup(fd) for fd in fds)))
        self.flush()

    def flush(self) -> bool:
        """Send what waits; False if some is left. Raises Ended."""
        while self._out:
            data, fds = self._out[0]
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"{len(fds)}i", *fds))]
            try:
                sent = self.sock.sendmsg([data], rights if fds else [])
            except BlockingIOError:
                return False
            except OSError as error:
                raise Ended(str(error)) from error
            _close(fds)
            self._waiting -= sent
            if sent == len(data):
                self._out.popleft()
            else:
                self._out[0] = data[sent:], ()
        return True

    def get(self) -> list[tuple[Any, list[int]]]:
        """The messages that have come, with their descriptors, which are the caller's. Raises
        Ended."""
        try:
            data, ancillary, _flags, _address = self.sock.recvmsg(READ_SIZE, _ROOM)
        except BlockingIOError:
            return []
        except OSError as error:
            raise Ended(str(error)) from error
        for level, kind, rights in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                whole = len(rights) - len(rights) % _FD.size
                self._fds += [fd for (fd,) in _FD.iter_unpack(rights[:whole])]
        if not data:
            raise Ended("the end of its stream")
        self._buffer += data
        messages = []
        at = 0
        while len(self._buffer) - at >= _HEAD.size:
            size, count = _HEAD.unpack_from(self._buffer, at)
            end = at + _HEAD.size + size
            if len(self._buffer) < end or len(self._fds) < count:
                break
            body = bytes(self._buffer[at + _HEAD.size : end])
            fds = [self._fds.popleft() for _ in range(count)]
            messages.append((msgpack.unpackb(body, strict_map_key=False), fds))
            at = end
        del self._buffer[:at]
        return messages

    def close(self) -> None:
        self.sock.close()
        for _, fds in self._out:
            _close(fds)
        _close(self._fds)
        self._out.clear()
        self._fds.clear()


def _close(fds: Sequence[int] | deque[int]) -> None:
    for fd in fds:
        os.close(fd)


def address(data_dir: str, port: int) -> bytes:
    """Where the keeper of this folder and port listens: a name in Linux' abstract space, so that
    no file is left over, and no path is too long."""
    where = hashlib.blake2b(os.path.abspath(data_dir).encode(), digest_size=12).hexdigest()
    return f"\0tickstorm-keeper-{port}-{where}".encode()


def peer_uid(sock: socket.socket) -> int:
    """Who is at the other end."""
    found = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", found)[1])
