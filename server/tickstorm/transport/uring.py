"""io_uring by way of numpy: thousands of socket calls in one system call.

Linux lets a process write the calls it wants made into a queue in shared memory and
make them all with one `io_uring_enter`. The queue is an array of 64-byte records, so
numpy fills it column by column, for all clients at once; no compiler, no C of ours,
and no Python step per call. See io_uring(7), io_uring_setup(2), io_uring_enter(2).

Every call made here is one that never waits (`MSG_DONTWAIT`), so all of them have been
made when `io_uring_enter` returns, in order, and the memory they name is ours again.
Linux 5.18 or newer; many containers forbid it.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import sys

import numpy as np

_SETUP, _ENTER = 425, 426
"""System call numbers, the same on every architecture but alpha."""

_OFF_RINGS, _OFF_ENTRIES = 0, 0x10000000
_SETUP_CLAMP = 1 << 4
_SETUP_SUBMIT_ALL = 1 << 7
"""Go on after a call that failed; since Linux 5.18."""
_GETEVENTS = 1
_OP_SENDMSG, _OP_SEND, _OP_RECV = 9, 26, 27
_MSG_DONTWAIT, _MSG_NOSIGNAL = 0x40, 0x4000

ENTRIES = 4096
"""Calls per `io_uring_enter`; more are made in several."""

_ENTRY = np.dtype(
    {
        "names": ["opcode", "fd", "addr", "len", "flags", "user_data"],
        "formats": ["u1", "<i4", "<u8", "<u4", "<u4", "<u8"],
        "offsets": [0, 4, 16, 24, 28, 32],
        "itemsize": 64,
    }
)
"""struct io_uring_sqe, as far as sends and receives use it."""

_DONE = np.dtype([("user_data", "<u8"), ("result", "<i4"), ("flags", "<u4")])
"""struct io_uring_cqe."""

_PIECE = np.dtype([("base", "<u8"), ("len", "<u8")])
"""struct iovec."""

_MESSAGE = np.dtype(
    {
        "names": ["pieces", "count"],
        "formats": ["<u8", "<u8"],
        "offsets": [16, 24],
        "itemsize": 56,
    }
)
"""struct msghdr of a 64-bit machine, without name and control."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


class Ring:
    """One pair of queues. Use from one thread only.

    Raises OSError where the kernel has no io_uring, or forbids it.
    """

    def __init__(self, entries: int = ENTRIES):
        if (sys.platform, sys.byteorder) != ("linux", "little") or sys.maxsize < 1 << 32:
            raise OSError(errno.ENOSYS, "io_uring is for Linux, and this file for 64 bits")
        parameters = (ctypes.c_uint32 * 30)()
        parameters[2] = _SETUP_CLAMP | _SETUP_SUBMIT_ALL
        self.fd = _check(_libc.syscall(_SETUP, entries, ctypes.byref(parameters)))
        try:
            self._map(parameters)
        except BaseException:
            os.close(self.fd)
            raise

    def _map(self, parameters: ctypes.Array[ctypes.c_uint32]) -> None:
        # struct io_uring_params; both rings are in one mapping since Linux 5.4.
        entries, done_entries = parameters[0], parameters[1]
        sq, cq = parameters[10:20], parameters[20:30]
        size = max(sq[6] + 4 * entries, cq[5] + _DONE.itemsize * done_entries)
        self._rings = mmap.mmap(self.fd, size, offset=_OFF_RINGS)
        self._memory = mmap.mmap(self.fd, entries * _ENTRY.itemsize, offset=_OFF_ENTRIES)
        words = np.frombuffer(self._rings, np.uint32, size // 4)
        self._sq_tail = words[sq[1] // 4 :][:1]
        words[sq[6] // 4 :][:entries] = np.arange(entries)
        self._cq_head, self._cq_tail = words[cq[0] // 4 :][:1], words[cq[1] // 4 :][:1]
        self._done = np.frombuffer(self._rings, _DONE, done_entries, cq[5])
        self._entries = np.frombuffer(self._memory, _ENTRY, entries)

    def receive(self, fds: np.ndarray, into: np.ndarray) -> np.ndarray:
        """`recv` from each of `fds`, int[n], into the row of `into`, uint8[n, size], C order.

        Returns int32[n]: bytes received, 0 at the end of the stream, or -errno.
        """
        address = into.ctypes.data + np.arange(len(fds), dtype=np.uint64) * into.strides[0]
        return self._calls(_OP_RECV, fds, address, into.shape[1])

    def send(self, fds: np.ndarray, pieces: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        """`send` to each of `fds`, int[n], what `pieces` name, one after the other: each
        is (addresses: uint64[n], lengths: int[n]).

        Returns int32[n]: bytes taken, or -errno.
        """
        if len(pieces) == 1:
            return self._calls(_OP_SEND, fds, *pieces[0])
        vectors = np.empty((len(fds), len(pieces)), _PIECE)
        for i, (address, length) in enumerate(pieces):
            vectors["base"][:, i] = address
            vectors["len"][:, i] = length
        messages = np.zeros(len(fds), _MESSAGE)
        at = np.arange(len(fds), dtype=np.uint64)
        messages["pieces"] = vectors.ctypes.data + at * vectors.strides[0]
        messages["count"] = len(pieces)
        return self._calls(_OP_SENDMSG, fds, messages.ctypes.data + at * _MESSAGE.itemsize, 1)

    def _calls(
        self, opcode: int, fds: np.ndarray, address: np.ndarray, length: np.ndarray | int
    ) -> np.ndarray:
        """Make a call for each of `fds`, `address` and `length`, int[n] or int; int32[n]
        results in the same order."""
        results = np.empty(len(fds), np.int32)
        length = np.broadcast_to(length, len(fds))
        size = len(self._entries)
        begin = 0
        while begin < len(fds):
            place = int(self._sq_tail[0]) % size
            count = min(len(fds) - begin, size - place)
            rows = self._entries[place : place + count]
            chosen = slice(begin, begin + count)
            rows["opcode"] = opcode
            rows["fd"] = fds[chosen]
            rows["addr"] = address[chosen]
            rows["len"] = length[chosen]
            rows["flags"] = _MSG_DONTWAIT | _MSG_NOSIGNAL
            rows["user_data"] = np.arange(begin, begin + count)
            self._sq_tail += np.uint32(count)
            self._enter(count)
            done = self._collect(results)
            while done < count:  # for a kernel that has put one off, against all promises
                self._enter(0, count - done)
                done += self._collect(results)
            begin += count
        return results

    def _enter(self, submit: int, wait_for: int = 0) -> None:
        """Have the next `submit` calls made, and wait until `wait_for` are complete."""
        while submit or wait_for:
            flags = _GETEVENTS if wait_for else 0
            done = _libc.syscall(_ENTER, self.fd, submit, wait_for, flags, None, 0)
            if done < 0 and ctypes.get_errno() == errno.EINTR:
                continue
            submit -= _check(done)
            wait_for = 0

    def _collect(self, results: np.ndarray) -> int:
        """Note the results of calls that are complete; returns how many."""
        head, tail = int(self._cq_head[0]), int(self._cq_tail[0])
        size = len(self._done)
        rows = self._done[np.arange(head, head + (tail - head) % (1 << 32)) % size]
        results[rows["user_data"].astype(np.intp)] = rows["result"]
        self._cq_head[0] = tail
        return len(rows)

    def close(self) -> None:
        os.close(self.fd)
