"""The way in when a crowd comes: accepting has a share of the loop, and whoever can't be let in
hears so at once.

uWSGI accepts one connection per turn of the worker's loop. With ticks that fill their time there
are few turns, so the queue of those who wait grows up to its end, and everyone in it, the health
check too, waits until they give up. Two things keep it short:

* `let_in` gives the loop more turns after a tick while somebody waits, within a share of the time.
* A native thread takes those off the queue who are too many (`MOST_WAITING`), and tells them to
  come again; health checks among them it answers itself.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable

import gevent

log = logging.getLogger("tickstorm.door")

ACCEPT_SHARE = 0.1
"""Of the loop's time, what goes to accepting while somebody waits."""

MOST_CREDIT_S = 0.05
"""How much of it may be saved up."""

TURN_S = 1e-5

MOST_WAITING = 128
"""So many may wait to be accepted; the others are told to come again."""

LOOK_S = 0.05
REQUEST_S = 0.25
"""Time for the request of one who is turned away; it usually is there already."""

AT_ONCE = 256
REQUEST_BYTES = 4096
RETRY_S = 2

_WAITING = struct.Struct("=I")
_WAITING_AT = 24  # in struct tcp_info: of a listening socket, the length of its queue
_HEALTH = (b"GET /healthz ", b"HEAD /healthz ", b"GET /healthz?")

_TEXT = "too many come at once; try again soon\n"
TURNED_AWAY = (
    "HTTP/1.1 503 Service Unavailable\r\n"
    f"Retry-After: {RETRY_S}\r\n"
    "Content-Type: text/plain; charset=utf-8\r\n"
    f"Content-Length: {len(_TEXT)}\r\n"
    f"Connection: close\r\n\r\n{_TEXT}"
).encode()


class Door:
    """The listening socket of this process on `port`. `health()` is a whole HTTP answer; it is
    called in a thread."""

    def __init__(self, port: int, health: Callable[[], bytes]):
        self.turned_away = 0
        self._health = health
        self._socket = _listening(port)
        self._credit_s, self._since = 0.0, time.monotonic()
        if self._socket is None:
            log.warning("no listening socket on port %d: nobody is turned away", port)
        else:
            threading.Thread(target=self._run, name="door", daemon=True).start()

    def waiting(self) -> int:
        """How many wait to be accepted."""
        if self._socket is None:
            return 0
        info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _WAITING_AT + 4)
        return _WAITING.unpack_from(info, _WAITING_AT)[0] if len(info) > _WAITING_AT else 0

    def let_in(self) -> None:
        """After a tick, in a greenlet: have the loop accept, if somebody waits."""
        now = time.monotonic()
        earned = (now - self._since) * ACCEPT_SHARE
        self._credit_s, self._since = min(self._credit_s + earned, MOST_CREDIT_S), now
        until = now + self._credit_s
        while now < until and self.waiting():
            gevent.sleep(TURN_S)
            before, now = now, time.monotonic()
            self._credit_s -= now - before

    # -------------------------------------------------------------- in the thread

    def _run(self) -> None:
        while True:
            select.select([], [], [], LOOK_S)  # in no way by a clock that can be set
            try:
                excess = self.waiting() - MOST_WAITING
                if excess > 0:
                    self._turn_away(min(excess, AT_ONCE))
            except Exception:
                log.exception("nobody is turned away for a while")
                time.sleep(1.0)

    def _turn_away(self, count: int) -> None:
        waiting: dict[int, socket.socket] = {}
        poll = select.poll()
        assert self._socket is not None, "the thread runs only with one"
        try:
            for _ in range(count):
                try:
                    client, _address = self._socket.accept()
                except OSError:
                    break  # the loop was quicker
                client.setblocking(False)
                waiting[client.fileno()] = client
                poll.register(client, select.POLLIN)
            until = time.monotonic() + REQUEST_S
            while waiting and (left := until - time.monotonic()) > 0:
                for fd, _ in poll.poll(left * 1000):
                    poll.unregister(fd)
                    self._answer(waiting.pop(fd))
        finally:
            for client in waiting.values():
                self._say(client, TURNED_AWAY)

    def _answer(self, client: socket.socket) -> None:
        try:
            request = client.recv(REQUEST_BYTES)
        except OSError:
            request = b""
        self._say(client, self._health() if request.startswith(_HEALTH) else TURNED_AWAY)

    def _say(self, client: socket.socket, answer: bytes) -> None:
        self.turned_away += answer is TURNED_AWAY
        with client:
            try:
                client.send(answer)
                client.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # gone


def _listening(port: int) -> socket.socket | None:
    """A duplicate of the socket on which this process listens on a port."""
    for name in os.listdir("/dev/fd"):
        try:
            sock = socket.socket(fileno=os.dup(int(name)))
        except OSError:
            continue
        try:
            if (
                sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
                and sock.getsockname()[1] == port
            ):
                sock.setblocking(False)
                return sock
        except (OSError, IndexError):
            pass
        sock.close()
    return None
