"""One websocket, from the upgrade to the close.

A connection has no greenlet while it is silent. Whatever is no plain input or snapshot (the hello,
chat, control frames, violations, the tail of a partial write, the closing handshake) wakes one,
which serves it until nothing is left to do, and ends. So at most one greenlet is at work for a
connection, messages are heard in order, and whoever acts on one may wait.

Once the client is in a room, the room's turn reads the socket (plain inputs go straight into the
room's queue; anything else is handed to the connection) and writes to it while nothing else is
pending.

The codec is the `websockets` library's sans-IO protocol; a connection has one only while it is
needed. This file adds the assembly of fragments and the limits.
"""

from __future__ import annotations

import codecs
import contextlib
import logging
import socket
from collections.abc import Callable
from time import monotonic
from typing import Any

import gevent
from gevent import get_hub
from gevent.event import Event
from websockets.frames import Frame, Opcode
from websockets.protocol import CLOSED, OPEN
from websockets.server import ServerProtocol

from ..protocol.wire import Close, ProtocolViolation

log = logging.getLogger("tickstorm.connection")

READ_SIZE = 4096
READ, WRITE = 1, 2  # libev's event bits
PING = b"\x89\x00"

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


def _nobody_waits(_connection: Connection) -> None:
    """Nobody wants to know of the end."""


class _Nowhere(set["Connection"]):
    """Where connections without a room note that something waits: nobody looks."""

    def add(self, _connection: Connection) -> None:
        pass


_NOWHERE = _Nowhere()
_NO_EDGES = bytearray(1)


class Connection:
    """Socket, codec and what waits to be sent.

    `fd` is ours from now on. `on_message(data: bytes)` is called with each binary message,
    `on_text(data: bytes)` with each text message, valid UTF-8 (without it, text is refused); both
    may wait, and may raise `ProtocolViolation`. `on_end(connection)` is called once when it is
    lost or closing, before the closing handshake, `on_closed(connection)` when the descriptor is
    closed. `deadline` is a `monotonic()` time at which the connection is closed with
    `deadline_close`, or None.
    """

    def __init__(
        self,
        fd: int,
        on_message: Callable[[bytes], None],
        send_buffer: int,
        bytes_per_second: int,
        on_text: Callable[[bytes], None] | None = None,
        most_bytes: int = 4096,
        on_end: Callable[[Connection], None] = _nobody_waits,
        on_closed: Callable[[Connection], None] = _nobody_waits,
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
        self._waiting: set[Connection] = _NOWHERE
        self.lost = False
        self.closing: tuple[Close, str] | None = None
        self.deadline_close = (Close.HELLO_EXPECTED, "no HELLO in time")
        self._deadline: float | None = None
        self._codec: ServerProtocol | None = None  # only while it is needed
        self._most_bytes = most_bytes
        self._on_message = on_message
        self._on_text = on_text
        self._on_end = on_end
        self._on_closed = on_closed
        self._fragments: list[bytes] = []
        self._utf8: codecs.IncrementalDecoder | None = None
        """Checks the text message that is coming in; None while that is a binary one."""
        self._fed = 0  # bytes given to the codec less bytes of whole frames it gave back
        self._raw = b""  # the end of these, no whole frame yet
        self._inbox: list[bytes] = []
        self._edges: Any = _NO_EDGES  # see `watch_edge`
        self._edge = 0
        self.released = False
        self._served = False  # a greenlet is at work
        self._again = False  # and there is more for it
        self._handshake: Event | None = None  # what wakes it while it closes
        self._bytes_per_second = bytes_per_second
        self._credit = 2.0 * bytes_per_second
        self._credit_at = monotonic()
        self._reading: Any = None  # watchers of the hub's, while they are needed
        self._writing: Any = None
        self._timer: Any = None

    def begin(self) -> None:
        """Read what comes, until a room does."""
        self._reading = get_hub().loop.io(self.fd, READ)
        self._reading.start(self._wake)
        self._wake()

    # -------------------------------------------------------------- called by the room's tick

    def hand_over(self, data: bytes) -> None:
        """Bytes that the tick has read and that aren't plain inputs; b"" at the stream's end."""
        self._inbox.append(data)
        self.plain = False  # until it has been gone through
        self._edges[self._edge] = 1
        self._wake()

    def wait_in(self, waiting: set[Connection]) -> None:
        """Be in this set from now on whenever something waits to be sent."""
        self._waiting = waiting
        if self.extra or self.tail:
            waiting.add(self)

    def push(self, frame: bytes) -> None:
        """Queue a whole frame; it goes out before the next snapshot, or with the next `flush`."""
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
        """No snapshot is due: what is queued goes out now."""
        if self.extra:
            self._wake()

    def keep_tail(self, tail: bytes) -> None:
        """A write was partial: the rest goes out as soon as the socket takes it."""
        if tail:
            self.tail = tail
            self._edges[self._edge] = 1
            self._waiting.add(self)
            self._wake()

    def ping(self) -> None:
        """Nothing was heard for long: ask the other side for a sign of life."""
        if self.closing is None and not self.lost:
            self.push(PING)
            self._wake()

    def drop(self) -> None:
        """The socket failed: nothing more can be sent."""
        self.lost = True
        self._wake()

    def close(self, code: Close, reason: str) -> None:
        """Close with this code. The first call counts."""
        if self.closing is None:
            cut = reason.encode()[:REASON_BYTES].decode(errors="ignore")
            self.closing = (code, cut)
            self._wake()

    def read_by_tick(self) -> None:
        """From now on the room's turn reads the socket."""
        _stop(self._reading)
        self._reading = None

    # -------------------------------------------------------------- from process to process

    def watch_edge(self, edges: Any, at: int) -> None:
        """Note at `edges[at]` whether it is in the middle of a frame, read or written: so much
        is known outside, should this process die."""
        self._edges, self._edge = edges, at
        edges[at] = bool(self.tail) or not self.plain

    def release(self) -> list[bytes] | None:
        """Serve it no more, for another process will: with what is returned, see `go_on`. None if
        that can't be, because it is closing or between two fragments. Then comes `part`."""
        if self.closing is not None or self.lost or self.released or len(self._fragments) > 0:
            return None
        self.released = True
        self.deadline = None
        _stop(self._reading, self._writing)
        self._reading = self._writing = None
        tail = self.tail + b"".join(self.extra)
        if self._codec is not None:
            tail += b"".join(self._codec.data_to_send())
        read = self._raw[len(self._raw) - self._fed :] + b"".join(self._inbox)
        return [tail, read]

    def part(self, for_good: bool = False) -> None:
        """After `release`: another process has the socket, so it is not shut down, unless it ends
        `for_good`."""
        if for_good:
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)
        self._edges, self._edge = _NO_EDGES, 0
        self.sock.close()
        self._on_closed(self)
        self._on_message = self._on_text = _nobody_listens
        self._on_end = self._on_closed = _nobody_waits

    def go_on(self, rest: list[bytes]) -> None:
        """Where another process has released it: with bytes that have yet to go out, and bytes
        that it has read and that are no whole frame yet."""
        tail, read = rest
        if read:
            self.hand_over(read)
        self.keep_tail(tail)

    # -------------------------------------------------------------- the greenlet, if there is one

    @property
    def deadline(self) -> float | None:
        return self._deadline

    @deadline.setter
    def deadline(self, at: float | None) -> None:
        self._deadline = at
        _stop(self._timer)
        self._timer = None
        if at is not None:
            self._timer = get_hub().loop.timer(max(0.0, at - monotonic()))
            self._timer.start(self._overdue)

    def _overdue(self) -> None:
        self.close(*self.deadline_close)

    def _wake(self) -> None:
        """Have it served; by a new greenlet, if none is at work."""
        self._again = True
        if self._handshake is not None:
            self._handshake.set()
        elif not self._served:
            self._served = True
            gevent.spawn(self._serve)

    def _serve(self) -> None:
        """Do what is to be done; and all of the end, should that be it."""
        while self._again and not (self.lost or self.closing or self.released):
            self._again = False
            try:
                self._read()
                self.flush()
            except ProtocolViolation as violation:
                self.close(violation.code, violation.reason)
            except Exception:  # one client's trouble is not to become another's
                log.exception("a connection failed", extra={"connection": self.number})
                self.close(Close.INTERNAL, "the server failed")
        if self.released:
            return  # another process serves it
        if self.lost or self.closing is not None:
            self._finish()
        else:
            self._served = False

    def _finish(self) -> None:
        """The closing handshake, as far as the other side plays along, and the descriptor's end."""
        self.deadline = None
        try:
            self._on_end(self)  # from here on nobody else uses the socket
            self._handshake = Event()
            self._say_goodbye()
        except Exception:
            log.exception("a connection failed at its end", extra={"connection": self.number})
        finally:
            _stop(self._reading, self._writing)
            self._reading = self._writing = None
            self.lost = True
            # Others may hold the same socket (see keeper.py): it ends for all of them.
            try:
                self.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it has ended
            self.sock.close()
            self._on_closed(self)
            # No circle is left, for circles wait for the garbage collector, and it is seldom here.
            self._on_message = self._on_text = _nobody_listens
            self._on_end = self._on_closed = _nobody_waits

    @property
    def _protocol(self) -> ServerProtocol:
        if self._codec is None:
            self._codec = ServerProtocol(state=OPEN, max_size=self._most_bytes)
        return self._codec

    def _read(self) -> None:
        if self._reading is not None:
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
        self.plain = not self._fed and not self._fragments and self.closing is None

    def _receive(self, data: bytes) -> None:
        self._charge(len(data))
        self._fed += len(data)
        self._raw += data
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            assert isinstance(event, Frame), "the handshake is behind us"
            size = len(event.data)
            self._fed -= 6 + size + (0 if size < 126 else 2 if size < 65536 else 8)
            if size < FRAME_COST:
                self._charge(FRAME_COST - size)
            if event.opcode in (Opcode.BINARY, Opcode.TEXT, Opcode.CONT):
                self._take_frame(event)
                if self.released:
                    return
        self._raw = self._raw[-self._fed :] if self._fed else b""
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
        data = self.tail + b"".join(self.extra)
        if self._codec is not None:
            data += b"".join(self._codec.data_to_send())
            if self.plain and self.closing is None:
                self._codec = None  # until something is no plain input again
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
        self._edges[self._edge] = bool(data) or not self.plain
        if data:
            self._waiting.add(self)
        else:
            self._waiting.discard(self)
        if len(data) > PENDING_BYTES:
            self.close(Close.SLOW, "too slow to take messages")
        if not data:
            _stop(self._writing)
            self._writing = None
        elif self._writing is None and not self.lost:
            self._writing = get_hub().loop.io(self.fd, WRITE)
            self._writing.start(self._wake)

    def _say_goodbye(self) -> None:
        assert self._handshake is not None, "whoever calls has made it"
        until, budget = monotonic() + CLOSE_SECONDS, CLOSE_BYTES
        if self.closing is not None and self._protocol.state is OPEN and not self.lost:
            code, reason = self.closing
            if code is Close.FLOOD:  # of what it still sends, nothing is decoded
                self._protocol.fail(int(code), reason)
            else:
                self._protocol.send_close(int(code), reason)
        if self._reading is None and not self.lost:
            self._reading = get_hub().loop.io(self.fd, READ)
            self._reading.start(self._wake)
        budget -= self._drain()  # its close may have come with what made us close
        while not self.lost and budget > 0 and monotonic() < until:
            self.flush()
            if not self.tail and not self.lost:
                if self._protocol.close_rcvd is not None:
                    break
                if self._protocol.eof_sent:  # the codec has failed the connection
                    self._half_close()
            self._handshake.wait(max(0.0, until - monotonic()))
            self._handshake.clear()
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


def _stop(*watchers: Any) -> None:
    """End watchers of the hub's, of which there may be none."""
    for watcher in watchers:
        if watcher is not None:
            watcher.stop()
            watcher.close()
