"""A WebSocket to the server: gevent's socket, and the `websockets` library's codec on it."""

from __future__ import annotations

import time

from gevent import socket
from websockets.client import ClientProtocol
from websockets.frames import Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import WebSocketURI

from .wire import SUBPROTOCOL

CONNECT_TIMEOUT_S = 5.0
SEND_TIMEOUT_S = 10.0
READ_BYTES = 64 * 1024
MAX_MESSAGE_BYTES = 4 << 20


class Dropped(Exception):
    """The connection is over, or never came about.

    `code`: close code that the server sent, or None; `status`: HTTP status with
    which it refused the upgrade, or None.
    """

    def __init__(self, reason: str, code: int | None = None, status: int | None = None) -> None:
        super().__init__(reason)
        self.code, self.status = code, status


class Connection:
    """An open WebSocket. Any of its methods may raise `Dropped`.

    Attributes: ``bytes_received`` since the start, handshake included.
    """

    def __init__(self, uri: WebSocketURI) -> None:
        self.bytes_received = 0
        self._protocol = ClientProtocol(uri, subprotocols=[SUBPROTOCOL], max_size=MAX_MESSAGE_BYTES)
        try:
            self._socket = socket.create_connection((uri.host, uri.port), CONNECT_TIMEOUT_S)
        except OSError as error:
            raise Dropped(f"cannot connect to {uri.host}:{uri.port}: {error}") from error
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._protocol.send_request(self._protocol.connect())
            self._flush()
            self._waiting = self._handshake(time.monotonic() + CONNECT_TIMEOUT_S)
        except BaseException:
            self._socket.close()
            raise

    def _handshake(self, until: float) -> list[bytes]:
        """Messages that arrived together with the server's answer."""
        while self._protocol.state is State.CONNECTING and self._protocol.handshake_exc is None:
            if time.monotonic() > until:
                raise Dropped("the server does not answer the upgrade")
            self._read(until)
        events = self._protocol.events_received()
        if self._protocol.handshake_exc is not None:
            status = events[0].status_code if events else None
            raise Dropped(f"upgrade refused: {self._protocol.handshake_exc}", status=status)
        return self._messages(events)

    def send(self, *messages: bytes) -> None:
        if self._protocol.state is not State.OPEN:  # the server was quicker
            raise self._end()
        for message in messages:
            self._protocol.send_binary(message)
        self._flush()

    def receive(self, until: float) -> list[bytes]:
        """Messages that have arrived; [] if none had at `until` (as in time.monotonic)."""
        if self._waiting:
            messages, self._waiting = self._waiting, []
            return messages
        self._read(until)
        messages = self._messages(self._protocol.events_received())
        if messages or self._protocol.state is State.OPEN:
            return messages
        raise self._end()

    def _end(self) -> Dropped:
        """Why the connection is over."""
        received = self._protocol.close_rcvd
        if received is not None:
            return Dropped(f"closed: {received}", code=received.code)
        return Dropped(f"connection lost: {self._protocol.parser_exc or 'end of stream'}")

    def close(self, last_message: bytes | None = None, wait_s: float = 1.0) -> None:
        """Say goodbye if that is still possible, and close."""
        try:
            if self._protocol.state is State.OPEN:
                if last_message is not None:
                    self._protocol.send_binary(last_message)
                self._protocol.send_close(1000)
                self._flush()
                until = time.monotonic() + wait_s
                while self._protocol.state is not State.CLOSED and time.monotonic() < until:
                    self._read(until)
                    self._protocol.events_received()
        except Dropped:
            pass  # then the server was quicker
        finally:
            self.abort()

    def abort(self) -> None:
        """End it without a word, as a network that fails does."""
        self._socket.close()

    def _messages(self, events: list) -> list[bytes]:
        frames = [event for event in events if not isinstance(event, Response)]
        messages = [frame.data for frame in frames if frame.opcode is Opcode.BINARY]
        others = {frame.opcode for frame in frames} & {Opcode.TEXT, Opcode.CONT}
        if others or not all(frame.fin for frame in frames):
            raise Dropped("the server sent text or fragments", code=1002)
        return messages

    def _read(self, until: float) -> None:
        """Feed the codec with what arrives by `until`, and send what it answers."""
        self._socket.settimeout(max(0.0, until - time.monotonic()))
        try:
            data = self._socket.recv(READ_BYTES)
        except (TimeoutError, BlockingIOError):
            return
        except OSError as error:
            raise Dropped(f"connection lost: {error}") from error
        self.bytes_received += len(data)
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
        self._flush()

    def _flush(self) -> None:
        data = b"".join(self._protocol.data_to_send())
        if data:
            self._socket.settimeout(SEND_TIMEOUT_S)
            try:
                self._socket.sendall(data)
            except OSError as error:
                raise Dropped(f"connection lost: {error}") from error
