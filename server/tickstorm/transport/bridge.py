"""What every way to a room has in common: who is there, what came, what may go out, how it ends.

A WebSocket's client is read and written by the rooms themselves, on its own descriptor. Whoever
comes another way (server-sent events, long polling, Socket.IO) has a *bridge*: a pair of sockets
inside of the process. One end is a `Connection` like any other, so that rooms, limits, close codes
and the speed of the loop know no difference; at the other end the door says and hears messages.

What a client does not take stays in the pair's buffer, which the kernel bounds (`SEND_BUFFER`). The
room finds it full and does what it does with every slow client.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable

from gevent import get_hub
from gevent.lock import BoundedSemaphore
from gevent.socket import timeout as TimedOut
from gevent.socket import wait_write
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

READ = 1  # libev's event bit
READ_SIZE = 65536
STUCK_S = 5.0
"""A room that takes nothing for so long is not there any more."""

LOST = 1006
"""The code of an end without a close, as WebSocket clients see it (RFC 6455, 7.1.5)."""

_HERE = parse_uri("ws://bridge/")


class Bridge:
    """One client's way. `fd` is for the `Connection`, whose owner closes it; `address` is where the
    client is, for the log; `ended` is the close code and reason, once all messages were read."""

    def __init__(self, address: str = ""):
        self._sock, far = socket.socketpair()
        self._sock.setblocking(False)
        self.fd = far.detach()
        self.address = address
        self.ended: tuple[int, str] | None = None
        self._codec = ClientProtocol(_HERE, state=State.OPEN, max_size=None)
        self._writing = BoundedSemaphore(1)
        self._watcher = get_hub().loop.io(self._sock.fileno(), READ)

    def watch(self, wake: Callable[[], object]) -> None:
        """Call `wake` in the hub whenever there is something to hear, until `unwatch`."""
        if self.ended is None:
            self._watcher.start(wake)

    def unwatch(self) -> None:
        self._watcher.stop()

    def say(self, messages: Iterable[bytes]) -> None:
        """The client's messages, in order; waits while the room can take no more.

        Raises OSError at the end of the connection.
        """
        if self._codec.state is not State.OPEN:
            raise ConnectionResetError("the connection has ended")
        for message in messages:
            self._codec.send_binary(message)
        self._flush()

    def hear(self) -> list[bytes]:
        """What has come for the client, without waiting; after the last of it `ended` is set."""
        if self.ended is not None:
            return []
        try:
            data = self._sock.recv(READ_SIZE)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if data:
            self._codec.receive_data(data)
        else:
            self._codec.receive_eof()
        messages = []
        for event in self._codec.events_received():
            assert isinstance(event, Frame), "the handshake is behind us"
            if event.opcode is Opcode.BINARY:
                messages.append(bytes(event.data))
        closed = self._codec.close_rcvd
        if closed is not None:
            self.ended = (int(closed.code), closed.reason)
            self.close()
        elif not data:
            self.close()
        else:
            try:
                self._flush()  # answers to pings
            except OSError:
                pass  # it has ended, as the next `hear` finds
        return messages

    def close(self) -> None:
        """The client is gone, as a WebSocket whose stream ends."""
        if self._sock.fileno() < 0:
            return
        self._watcher.stop()
        self._watcher.close()
        try:
            for data in self._codec.data_to_send():  # its side of the closing handshake
                self._sock.send(data)
        except OSError:
            pass
        self._sock.close()
        if self.ended is None:
            self.ended = (LOST, "")

    def _flush(self) -> None:
        with self._writing:
            data = b"".join(self._codec.data_to_send())
            while data:
                try:
                    data = data[self._sock.send(data) :]
                except BlockingIOError:
                    wait_write(self._sock.fileno(), STUCK_S, TimedOut())
