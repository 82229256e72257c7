"""Answers that are written bit by bit, to the request's own socket: server-sent events, polls."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gevent import get_hub
from gevent.event import Event
from gevent.socket import timeout as TimedOut
from gevent.socket import wait_write

BEAT_S = 10.0
"""Server-sent events are never silent for longer; many proxies end what is, after 30 or 60 s."""

READ = 1  # libev's event bit
EVENTS = [
    ("Content-Type", "text/event-stream"),
    ("Cache-Control", "no-store"),
    ("X-Accel-Buffering", "no"),  # nginx is not to hold it back
]

Headers = list[tuple[str, str]]


class Held:
    """`write(sock)` writes the whole answer; it may take as long as it likes."""

    def __init__(self, write: Callable[[socket.socket], None]):
        self.write = write


def head(headers: Headers, status: str = "200 OK") -> bytes:
    """Of an answer that ends with the connection, or has a length among its headers."""
    lines = [f"{name}: {value}\r\n" for name, value in [*headers, ("Connection", "close")]]
    return f"HTTP/1.1 {status}\r\n{''.join(lines)}\r\n".encode()


def send_all(sock: socket.socket, data: bytes, seconds: float) -> None:
    """Write it all. Raises OSError if nothing is taken for so long, or nothing can be."""
    view = memoryview(data)
    while view:
        try:
            view = view[sock.send(view, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL) :]
        except BlockingIOError:
            wait_write(sock.fileno(), seconds, TimedOut())


def ended(sock: socket.socket) -> bool:
    """Has the client closed? What it still says is passed over: requests are not answered in
    between."""
    try:
        return not sock.recv(4096, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True


@contextmanager
def woken(sock: socket.socket, wake: Event) -> Iterator[None]:
    """Within, `wake` is set when the client says something, or goes."""
    watcher = get_hub().loop.io(sock.fileno(), READ)
    watcher.start(wake.set)
    try:
        yield
    finally:
        watcher.stop()
        watcher.close()


def send_events(
    sock: socket.socket, wake: Event, more: Callable[[], bytes | None], seconds: float
) -> None:
    """Write what `more()` returns, whenever `wake` is set, until that is None or the client goes.
    Raises OSError if it takes nothing for so long."""
    with woken(sock, wake):
        data = more()
        while data is not None:
            if data:
                send_all(sock, data, seconds)
            elif not wake.wait(BEAT_S):
                send_all(sock, b":\n\n", seconds)
            elif ended(sock):
                return
            wake.clear()
            data = more()
