"""One websocket: the greenlet that owns it from the upgrade to the close.

The owner greenlet handles everything that is not a plain input or a snapshot:
the hello, chat, control frames, violations, the tail of a partial write, the
closing handshake. Once the client is in a room, the room's tick reads the socket
(plain inputs go straight into the room's queue; anything else is handed to the
owner) and writes snapshots to it while nothing else is pending.

The codec is the `websockets` library's sans-IO protocol; this file adds the
assembly of fragments and the limits.
"""

from __future__ import annotations

import codecs
import logging
import socket
from collections.abc import Callable
from time import monotonic

from gevent import get_hub
from gevent.event import Event
from websockets.frames import Frame, Opcode
from websockets.protocol import CLOSED, OPEN
from websockets.server import ServerProtocol

from ..protocol.wire import Close, ProtocolViolation

log = logging.getLogger("tickstorm.connection")

READ_SIZE = 4096
READ, WRITE = 1, 2  # libev's event bits

EXTRA_BYTES = 65536
"""Messages beside snapshots that may wait for a slow client; past that it is closed as slow."""

OFFERED_BYTES = EXTRA_BYTES // 2
"""What everyone is told waits for a slow client up to here; what is beyond, it is not told."""

PENDING_BYTES = 1 << 18
"""What may wait in all, the rest of a snapshot and answers to control frames included."""

FRAME_COST = 64
"""A frame that comes through the codec counts as so many bytes at least: tiny ones are
cheap to send and dear to read."""

REASON_BYTES = 123
"""What a close frame has space for."""

CLOSE_SECONDS = 2.0
CLOSE_BYTES = 1 << 16
"""Time for the closing handshake, and what is read while waiting, before the socket is dropped."""


def _nobody_listens(_data: bytes) -> None:
    """Where messages go after the end."""


class Connection:
    """Socket, codec and what waits to be sent.

    `on_message(data: bytes)` is called in the owner greenlet with each binary
    message, `on_text(data: bytes)` with each text message, valid UTF-8 (without it,
    text is refused); both may raise `ProtocolViolation`. `deadline` is a `monotonic()`
    time at which the connection is closed with `deadline_close`, or None.
    """

    def __init__(
        self,
        fd: int,
        protocol: ServerProtocol,
        on_message: Callable[[bytes], None],
        send_buffer: int,
        bytes_per_second: int,
        on_text: Callable[[bytes], None] | None = None,
    ):
        self.fd = fd
        self.sock = socket.socket(fileno=fd)
        self.sock.setblocking(False)
        if self.sock.family in (socket.AF_INET, socket.AF_INET6):
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        self.send = self.sock.send
        self.recv = self.sock.recv
        self.seat = -1
        self.number = 0  # of all that this process has served, in the log
        self.plain = True
        """At a frame boundary with no fragments open: a plain input may bypass the codec."""
        self.extra: list[bytes] = []
        """Whole frames to go out before the next snapshot."""
        self.tail = b""
        """The rest of a partial write. While there is one, nothing else may be written."""
        self._waiting: set[Connection] = set()
        self.lost = False
        self.closing: tuple[Close, str] | None = None
        self.deadline: float | None = None
        self.deadline_close = (Close.HELLO_EXPECTED, "no HELLO in time")
        self._protocol = protocol
        self._on_message = on_message
        self._on_text = on_text
        self._fragments: list[bytes] = []
        self._utf8: codecs.IncrementalDecoder | None = None
        """Checks the text message that is coming in; None while that is a binary one."""
        self._fed = 0  # bytes given to the codec less bytes of whole frames it gave back
        self._inbox: list[bytes] = []
        self._wake = Event()
        self._bytes_per_second = bytes_per_second
        self._credit = 2.0 * bytes_per_second
        self._credit_at = monotonic()
        loop = get_hub().loop
        self._read_watcher = loop.io(fd, READ)
        self._write_watcher = loop.io(fd, WRITE)

    # -------------------------------------------------------------- called by the room's tick

    def hand_over(self, data: bytes) -> None:
        """Bytes that the tick has read and that aren't plain inputs; b"" at the stream's end."""
        self._inbox.append(data)
        self.plain = False  # until the owner has been through it
        self._wake.set()

    def wait_in(self, waiting: set[Connection]) -> None:
        """Be in this set from now on whenever something waits to be sent."""
        self._waiting = waiting
        if self.extra or self.tail:
            waiting.add(self)

    def push(self, frame: bytes) -> None:
        """Queue a whole frame; it goes out before the next snapshot or with the owner's next
        flush."""
        self.extra.append(frame)
        self._waiting.add(self)
        if len(self.extra) > 16 and sum(map(len, self.extra)) > EXTRA_BYTES:
            self.close(Close.SLOW, "too slow to take messages")

    def offer(self, frame: bytes) -> bool:
        """The same for what can be done without: False if too much is waiting already."""
        if self.extra and sum(map(len, self.extra)) + len(frame) > OFFERED_BYTES:
            return False
        self.push(frame)
        return True

    def nudge(self) -> None:
        """No snapshot is due: the owner sends what is queued."""
        if self.extra:
            self._wake.set()

    def keep_tail(self, tail: bytes) -> None:
        """A write was partial: the owner sends the rest as soon as the socket takes it."""
        if tail:
            self.tail = tail
            self._waiting.add(self)
            self._wake.set()

    def ping(self) -> None:
        """Nothing was heard for long: ask the other side for a sign of life."""
        if self._protocol.state is OPEN:
            self._protocol.send_ping(b"")
            self._wake.set()

    def drop(self) -> None:
        """The socket failed: nothing more can be sent."""
        self.lost = True
        self._wake.set()

    def close(self, code: Close, reason: str) -> None:
        """Ask the owner to close with this code. The first call counts."""
        if self.closing is None:
            cut = reason.encode()[:REASON_BYTES].decode(errors="ignore")
            self.closing = (code, cut)
            self._wake.set()

    def read_by_tick(self) -> None:
        """From now on the room's tick reads the socket."""
        self._read_watcher.stop()

    # -------------------------------------------------------------- the owner greenlet

    def run(self) -> None:
        """Serve the connection until it is lost or to be closed; then call `finish`."""
        self._read_watcher.start(self._wake.set)
        while not self.lost and self.closing is None:
            self._wake.wait(self._patience())
            self._wake.clear()
            if self.deadline is not None and monotonic() >= self.deadline:
                self.close(*self.deadline_close)
            if self.closing is not None:
                break  # whatever it still said came too late
            try:
                self._read()
                self.flush()
            except ProtocolViolation as violation:
                self.close(violation.code, violation.reason)

    def finish(self) -> None:
        """The closing handshake, as far as the other side plays along. Nobody else may use
        the socket any more; it can be closed when this returns."""
        try:
            self._say_goodbye()
        finally:
            self._read_watcher.close()
            self._write_watcher.close()
            self.lost = True
            self.sock.detach()  # whoever opened it closes it
            # No circle is left, for circles wait for the garbage collector, and it is seldom here.
            self._on_message = self._on_text = _nobody_listens

    def _patience(self) -> float | None:
        if self.deadline is None:
            return None
        return max(0.0, self.deadline - monotonic())

    def _read(self) -> None:
        if self._read_watcher.active:
            try:
                self._inbox.append(self.recv(READ_SIZE))
            except BlockingIOError:
                pass
            except OSError:
                self.lost = True
        inbox, self._inbox = self._inbox, []
        for data in inbox:
            if not data:
                self._protocol.receive_eof()
                self.lost = True
                return
            self._receive(data)
        self.plain = not self._fed and not self._fragments and self._protocol.state is OPEN

    def _receive(self, data: bytes) -> None:
        self._charge(len(data))
        self._fed += len(data)
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            assert isinstance(event, Frame), "the handshake is behind us"
            size = len(event.data)
            self._fed -= 6 + size + (0 if size < 126 else 2 if size < 65536 else 8)
            if size < FRAME_COST:
                self._charge(FRAME_COST - size)
            if event.opcode in (Opcode.BINARY, Opcode.TEXT, Opcode.CONT):
                self._take_frame(event)
        if self._protocol.state is not OPEN:
            # Its parser has answered a close, or found a violation and said so.
            if self._protocol.parser_exc is None:
                self.close(Close.DONE, "the client left")
            else:
                sent = self._protocol.close_sent
                assert sent is not None, "a violation is answered with a close"
                self.close(Close(sent.code), sent.reason)

    def _take_frame(self, event: Frame) -> None:
        if event.opcode is not Opcode.CONT:
            text = event.opcode is Opcode.TEXT
            if text and self._on_text is None:
                raise ProtocolViolation(Close.TEXT, "only binary messages are spoken here")
            self._utf8 = codecs.getincrementaldecoder("utf-8")() if text else None
        if self._utf8 is not None:
            try:
                self._utf8.decode(event.data, event.fin)
            except UnicodeDecodeError:
                raise ProtocolViolation(Close.NOT_UTF8, "text that is not UTF-8") from None
        self._fragments.append(bytes(event.data))
        if event.fin:
            message = b"".join(self._fragments)
            self._fragments.clear()
            listener = self._on_message if self._utf8 is None else self._on_text
            assert listener is not None, "text nobody wants was refused at its first frame"
            listener(message)

    def _charge(self, size: int) -> None:
        """Token bucket over bytes, two seconds deep, before anything is decoded."""
        now = monotonic()
        earned = (now - self._credit_at) * self._bytes_per_second
        self._credit = min(self._credit + earned, 2.0 * self._bytes_per_second) - size
        self._credit_at = now
        if self._credit < 0:
            raise ProtocolViolation(Close.FLOOD, "too many bytes")

    def flush(self) -> None:
        """Send the tail, then what is queued; watch for room if the socket is full."""
        # The codec's part comes last: nothing may follow a close.
        data = self.tail + b"".join(self.extra) + b"".join(self._protocol.data_to_send())
        self.extra.clear()
        if data:
            try:
                sent = self.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self.lost, sent = True, len(data)
            data = data[sent:]
        self.tail = data
        if data:
            self._waiting.add(self)
        else:
            self._waiting.discard(self)
        if len(data) > PENDING_BYTES:
            self.close(Close.SLOW, "too slow to take messages")
        if data and not self._write_watcher.active:
            self._write_watcher.start(self._wake.set)
        elif not data and self._write_watcher.active:
            self._write_watcher.stop()

    def _say_goodbye(self) -> None:
        until, budget = monotonic() + CLOSE_SECONDS, CLOSE_BYTES
        if self.closing is not None and self._protocol.state is OPEN and not self.lost:
            code, reason = self.closing
            if code is Close.FLOOD:  # of what it still sends, nothing is decoded
                self._protocol.fail(int(code), reason)
            else:
                self._protocol.send_close(int(code), reason)
        if not self._read_watcher.active:
            self._read_watcher.start(self._wake.set)
        budget -= self._drain()  # its close may have come with what made us close
        while not self.lost and budget > 0 and monotonic() < until:
            self.flush()
            if not self.tail and not self.lost:
                if self._protocol.close_rcvd is not None:
                    break
                if self._protocol.eof_sent:  # the codec has failed the connection
                    self._half_close()
            self._wake.wait(max(0.0, until - monotonic()))
            self._wake.clear()
            budget -= self._drain()
        if not self.lost:
            self._half_close()

    def _half_close(self) -> None:
        """Nothing more will be sent."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def _drain(self) -> int:
        """Read on only to see the other side's close; returns the number of bytes."""
        inbox, self._inbox = self._inbox, []
        try:
            inbox.append(self.recv(READ_SIZE))
        except BlockingIOError:
            pass
        except OSError:
            self.lost = True
        for data in inbox:
            if not data:
                self.lost = True
            elif self._protocol.state is not CLOSED:
                self._protocol.receive_data(data)
        return sum(map(len, inbox))
