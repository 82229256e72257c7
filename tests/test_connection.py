"""A connection over a socket pair: what is sent when the socket takes nothing, one byte, or all."""

from __future__ import annotations

import socket
import time
from contextlib import contextmanager

import gevent
import pytest
from gevent.event import Event
from websockets.client import ClientProtocol
from websockets.frames import Close as CloseFrame
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from clients.bots import wire as bots
from tests.arena import INPUTS
from tests.faked_socket import Socket
from tickstorm.protocol.wire import Close, ProtocolViolation
from tickstorm.transport import connection as module
from tickstorm.transport.connection import Connection


class Client:
    """The other end: the codec of a client, and everything it was sent."""

    def __init__(self, sock):
        self.sock = sock
        self.codec = ClientProtocol(parse_uri("ws://s/"), state=State.OPEN, max_size=None)
        self.frames: list[Frame] = []
        self.ended = False

    def read(self):
        """Take in what has arrived; returns all frames so far."""
        gevent.sleep(0.02)
        self.sock.setblocking(False)
        while not self.ended:
            try:
                data = self.sock.recv(1 << 20)
            except BlockingIOError:
                break
            except ConnectionError:
                data = b""
            if data:
                self.codec.receive_data(data)
            else:
                self.codec.receive_eof()
                self.ended = True
        self.frames += self.codec.events_received()
        assert self.codec.parser_exc is None or isinstance(self.codec.parser_exc, EOFError), (
            f"bytes that are no frames: {self.codec.parser_exc}"
        )
        return self.frames

    def payloads(self, opcode=Opcode.BINARY):
        return [bytes(f.data) for f in self.read() if f.opcode is opcode]

    def write(self, data):
        self.sock.setblocking(False)
        for _ in range(1000):
            try:
                data = data[self.sock.send(data) :]
            except BlockingIOError:
                pass
            if not data:
                break
            gevent.sleep(0.002)
        gevent.sleep(0.02)

    def say(self, message):
        self.codec.send_binary(message)
        self.write(b"".join(self.codec.data_to_send()))

    @property
    def close_code(self):
        self.read()
        return self.codec.close_rcvd.code if self.codec.close_rcvd else None


@contextmanager
def talking(
    bytes_per_second=1 << 30, on_text=None, heard=None, send_buffer=1 << 16, on_message=None
):
    """A running connection, its client end, and the list of messages that it has heard."""
    ours, theirs = socket.socketpair()
    heard = [] if heard is None else heard
    gone = Event()
    connection = Connection(
        ours.detach(),
        on_message or heard.append,
        send_buffer,
        bytes_per_second,
        on_text,
        on_closed=lambda _: gone.set(),
    )
    connection.begin()
    gevent.sleep(0)
    try:
        yield connection, Client(theirs), heard, gone
    finally:
        theirs.close()
        connection.drop()
        assert gone.wait(5), "the connection must end"


def frame(payload, opcode=2):
    """A server's frame of less than 126 bytes."""
    return bytes([0x80 | opcode, len(payload)]) + payload


def test_messages_are_heard_whole_and_in_order():
    with talking() as (_, client, heard, _):
        for i in range(50):
            client.codec.send_binary(b"%d" % i)
        client.write(b"".join(client.codec.data_to_send()))
        assert heard == [b"%d" % i for i in range(50)]


def test_a_message_cut_into_fragments_and_bytes_is_heard_whole_with_pings_between():
    with talking() as (_, client, heard, _):
        client.codec.send_binary(b"one ", fin=False)
        client.codec.send_ping(b"p1")
        client.codec.send_continuation(b"two ", fin=False)
        client.codec.send_ping(b"p2")
        client.codec.send_continuation(b"three", fin=True)
        for byte in b"".join(client.codec.data_to_send()):
            client.sock.sendall(bytes([byte]))
            gevent.sleep(0)
        gevent.sleep(0.02)
        assert heard == [b"one two three"]
        assert client.payloads(Opcode.PONG) == [b"p1", b"p2"]


def test_a_partial_write_of_one_byte_keeps_the_rest_and_nothing_comes_between():
    with talking() as (connection, client, _, _):
        sock = Socket(connection)
        snapshot = frame(b"snapshot" * 10)
        sock.takes = 1
        sent = connection.send(snapshot)  # as the tick does it
        assert sent == 1
        connection.keep_tail(snapshot[1:])
        client.codec.send_ping(b"now")
        client.write(b"".join(client.codec.data_to_send()))
        connection.push(frame(b"later"))
        gevent.sleep(0.02)
        assert connection.tail, "the socket takes nothing more for the time being"
        sock.takes = None
        gevent.sleep(0.02)
        frames = [(f.opcode, bytes(f.data)) for f in client.read()]
        assert frames[0] == (Opcode.BINARY, b"snapshot" * 10)
        assert sorted(frames[1:]) == sorted([(Opcode.PONG, b"now"), (Opcode.BINARY, b"later")])
        assert connection.tail == b""


def test_a_tail_goes_out_byte_by_byte_if_it_must():
    with talking() as (connection, client, _, _):
        sock = Socket(connection)
        sock.takes = 0
        connection.keep_tail(frame(b"x" * 100))
        for _ in range(110):
            sock.takes = 1
            gevent.sleep(0)
            gevent.sleep(0)
        sock.takes = None
        assert client.payloads() == [b"x" * 100]


def test_a_socket_that_takes_nothing_keeps_whole_frames_in_order():
    with talking() as (connection, client, _, _):
        sock = Socket(connection)
        sock.takes = 0
        for i in range(5):
            connection.push(frame(b"%d" % i))
        client.say(b"wake up")
        assert client.read() == []
        sock.takes = None
        assert client.payloads() == [b"%d" % i for i in range(5)]


def test_the_close_comes_after_the_tail_and_last_of_all():
    with talking() as (connection, client, _, gone):
        sock = Socket(connection)
        sock.takes = 1
        snapshot = frame(b"s" * 100)
        connection.send(snapshot)
        connection.keep_tail(snapshot[1:])
        connection.push(frame(b"the last words"))
        connection.close(Close.RESTART, "the server restarts")
        gevent.sleep(0.02)
        sock.takes = None
        frames = [(f.opcode, bytes(f.data)) for f in client.read()]
        assert frames[0] == (Opcode.BINARY, b"s" * 100)
        assert frames[1] == (Opcode.BINARY, b"the last words")
        assert frames[2][0] is Opcode.CLOSE and len(frames) == 3
        assert client.codec.close_rcvd == CloseFrame(1012, "the server restarts")
        client.write(b"".join(client.codec.data_to_send()))
        gone.wait(1)
        assert gone.is_set()


def test_a_client_that_never_takes_its_tail_is_let_go_after_the_closing_time():
    with talking() as (connection, client, _, gone):
        Socket(connection).takes = 0
        connection.keep_tail(frame(b"x"))
        connection.close(Close.SLOW, "took nothing")
        began = time.monotonic()
        gone.wait(module.CLOSE_SECONDS + 2)
        assert gone.is_set()
        assert time.monotonic() - began >= module.CLOSE_SECONDS * 0.9


def test_too_many_messages_for_a_slow_client_close_it_as_slow():
    with talking() as (connection, client, _, _):
        Socket(connection).takes = 0
        for _ in range(module.EXTRA_BYTES // 100):
            connection.push(frame(b"x" * 100))
            if connection.closing:
                break
        assert connection.closing and connection.closing[0] is Close.SLOW
        assert sum(map(len, connection.extra)) <= module.EXTRA_BYTES + 102


def test_answers_for_a_client_that_reads_none_are_bounded():
    with talking() as (connection, client, _, gone):
        sock = Socket(connection)
        sock.takes = 0
        ping = b"".join(masked_ping(b"x" * 125) for _ in range(1000))
        try:
            for _ in range(20):
                client.write(ping)
                if connection.closing:
                    break
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert connection.closing[0] is Close.SLOW
        assert len(connection.tail) <= module.PENDING_BYTES + module.CLOSE_BYTES + 10_000


def masked_ping(payload):
    return bytes([0x89, 0x80 | len(payload), 0, 0, 0, 0]) + payload


def test_bytes_beyond_the_limit_are_a_flood_before_they_are_decoded():
    heard = []
    with talking(bytes_per_second=1000, heard=heard) as (connection, client, _, _):
        client.say(b"x" * 1500)
        assert len(heard) == 1
        client.say(b"x" * 1500)
        assert len(heard) == 1
        assert client.close_code == Close.FLOOD


def test_many_tiny_frames_are_a_flood_too():
    with talking(bytes_per_second=1000) as (connection, client, heard, _):
        client.write(masked_ping(b"") * 200)  # 1,200 bytes only
        assert client.close_code == Close.FLOOD
        assert len(client.payloads(Opcode.PONG)) <= 200


def test_a_steady_client_within_the_limit_is_never_a_flood():
    with talking(bytes_per_second=20_000) as (connection, client, heard, _):
        for _ in range(30):
            client.say(b"x" * 100)
        assert len(heard) == 30 and connection.closing is None


def test_text_is_refused_unless_it_is_wanted():
    with talking() as (_, client, heard, _):
        client.codec.send_text(b"hello")
        client.write(b"".join(client.codec.data_to_send()))
        assert (client.close_code, heard) == (Close.TEXT, [])
    texts = []
    with talking(on_text=texts.append) as (_, client, heard, _):
        client.codec.send_text("hé".encode()[:2], fin=False)
        client.codec.send_continuation("hé".encode()[2:], fin=True)
        client.write(b"".join(client.codec.data_to_send()))
        assert (texts, heard) == (["hé".encode()], [])


def test_text_that_is_not_utf8_is_noticed_in_its_first_wrong_fragment():
    texts = []
    with talking(on_text=texts.append) as (_, client, _, _):
        client.codec.send_text("κόσ".encode() + b"\xf4\x90", fin=False)  # beyond U+10FFFF
        client.write(b"".join(client.codec.data_to_send()))
        assert (client.close_code, texts) == (Close.NOT_UTF8, [])


@pytest.mark.parametrize(
    "data, code",
    [
        (b"\x80\x84\0\0\0\0abcd", 1002),  # a continuation of nothing
        (b"\x82\x04abcd", 1002),  # unmasked
        (b"\xc2\x80\0\0\0\0", 1002),  # compressed, which nobody has agreed upon
        (b"\x83\x80\0\0\0\0", 1002),  # an opcode that does not exist
        (b"\x82\xff" + (1 << 63).to_bytes(8, "big") + b"\0\0\0\0", 1009),
        (b"\x82\xfe\x10\x01\0\0\0\0", 1009),  # 4,097 bytes, one more than allowed
    ],
)
def test_a_violation_of_websocket_itself_is_answered_by_the_codec(data, code):
    with talking() as (connection, client, heard, _):
        client.write(data)
        assert client.close_code == code
        assert connection.closing[0] == code and heard == []


def test_a_violation_of_the_protocol_ends_the_connection_with_its_code_and_reason():
    def refuse(_):
        raise ProtocolViolation(Close.MALFORMED, "not msgpack")

    with talking(on_message=refuse) as (_, client, _, _):
        client.say(b"?")
        client.read()
        assert client.codec.close_rcvd == CloseFrame(4000, "not msgpack")


def test_a_client_that_says_goodbye_gets_its_own_code_back():
    with talking() as (connection, client, _, gone):
        client.codec.send_close(3000, "bye")
        client.write(b"".join(client.codec.data_to_send()))
        client.read()
        assert client.codec.close_rcvd == CloseFrame(3000, "bye")
        gone.wait(1)
        assert gone.is_set() and connection.closing[0] is Close.DONE


def test_a_half_closed_socket_is_the_end():
    with talking() as (connection, client, _, gone):
        client.sock.shutdown(socket.SHUT_WR)
        gone.wait(1)
        assert gone.is_set() and connection.lost


def test_a_deadline_closes_with_its_code():
    with talking() as (connection, client, _, _):
        connection.deadline = time.monotonic() + 0.05
        client.say(b"wakes it")
        gevent.sleep(0.15)
        assert client.close_code == Close.HELLO_EXPECTED


def test_what_a_connection_says_after_it_was_told_to_go_is_not_heard():
    with talking() as (connection, client, heard, _):
        client.codec.send_binary(b"too late")
        client.sock.sendall(b"".join(client.codec.data_to_send()))
        connection.close(Close.TAKEN_OVER, "taken over")
        assert client.close_code == Close.TAKEN_OVER
        assert heard == []


def test_a_flooder_is_not_read_for_ever_while_its_connection_closes():
    with talking() as (connection, client, _, gone):
        connection.close(Close.FLOOD, "too many bytes")
        gevent.sleep(0)
        client.sock.setblocking(False)
        sent = 0
        while sent < 50 * module.CLOSE_BYTES and not gone.is_set():
            try:
                sent += client.sock.send(bytes(65536))
            except BlockingIOError:
                pass
            except OSError:
                break
            gevent.sleep(0)
        gone.wait(1)
        assert gone.is_set()
        assert sent < 20 * module.CLOSE_BYTES  # what the kernel's buffers take, not more


# ------------------------------------------------------------------ what bypasses the codec


def masked(message, mask=b"\x01\x02\x03\x04"):
    body = bytes(b ^ mask[i % 4] for i, b in enumerate(message))
    return bytes([0x82, 0x80 | len(message)]) + mask + body


INPUT = masked(bots.encode_input(0, 0, 1, 2, 3, 4, 5))
PING = masked(bots.encode_ping(1.0))


def test_only_whole_input_frames_are_plain():
    assert len(INPUT) == INPUTS.size
    assert INPUTS.is_plain(INPUT) and INPUTS.is_plain(INPUT * 3)
    for data in (INPUT[:-1], INPUT + b"\x82", PING, PING + INPUT, INPUT + PING, INPUT * 2 + PING):
        assert not INPUTS.is_plain(data)


@pytest.mark.parametrize(
    "data, inputs, rest",
    [
        (PING + INPUT, INPUT, PING),
        (INPUT + PING + INPUT, INPUT * 2, PING),
        (PING + INPUT[:20], b"", PING + INPUT[:20]),
        (INPUT + INPUT[:1], INPUT, INPUT[:1]),
        (b"\x02" + INPUT[1:] + INPUT, b"", b"\x02" + INPUT[1:] + INPUT),  # a fragment first
        (b"\x89\x80\0\0\0\0" + INPUT, b"", b"\x89\x80\0\0\0\0" + INPUT),  # a control frame first
        (b"\x82\x14" + bytes(20) + INPUT, b"", b"\x82\x14" + bytes(20) + INPUT),  # unmasked
        (b"\x82\xfe\0\x14" + bytes(24) + INPUT, b"", b"\x82\xfe\0\x14" + bytes(24) + INPUT),
    ],
)
def test_inputs_are_found_among_other_messages_and_never_behind_what_is_unclear(data, inputs, rest):
    assert INPUTS.split(data) == (inputs, rest)
