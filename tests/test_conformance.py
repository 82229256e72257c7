"""RFC 6455 on the real uWSGI with the real connection code: the ground of Autobahn's
groups 1 to 7, 9 and 10, byte by byte, against the echo of `make echo`."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from websockets.frames import Opcode

from tests.live_server import LiveServer, free_port
from tests.raw_client import ROOT, RawClient, frame, request

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


@pytest.fixture(scope="module")
def echo():
    """Port of the echo."""
    port = free_port()
    process = subprocess.Popen(
        [str(Path(sys.executable).parent / "uwsgi"), "tests/echo.ini"],
        cwd=ROOT,
        env={**os.environ, "PORT": str(port)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        until = time.monotonic() + 15
        while True:
            try:
                assert request(port, b"GET / HTTP/1.0\r\n\r\n")[0] == 200
                break
            except OSError:
                assert time.monotonic() < until and process.poll() is None
                time.sleep(0.05)
        yield port
        process.send_signal(signal.SIGINT)
        log = process.communicate(timeout=10)[0].decode(errors="replace")
        assert "Traceback" not in log, log
        assert "Respawned" not in log, log
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def open_socket(port):
    with RawClient(port) as client:
        assert client.status == 101
        client.decodes = False
        yield client


@pytest.fixture
def client(echo):
    with open_socket(echo) as client:
        yield client


def comes_back(client, payload: bytes, text: bool = False) -> None:
    """One message, whole and alone."""
    heard = client.texts if text else client.messages
    client.until(lambda: heard)
    assert heard.pop(0) == (payload if text else [None, payload])
    assert not client.texts and not client.messages


def close_payload(code: int | None = None, reason: bytes = b"") -> bytes:
    return b"" if code is None else code.to_bytes(2, "big") + reason


LENGTHS = (0, 1, 124, 125, 126, 127, 128, 65535, 65536, 65537)


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("length", LENGTHS)
def test_messages_of_every_length_come_back(client, opcode, length):
    payload = b"*" * length if opcode == TEXT else os.urandom(length)
    client.send(frame(payload, opcode))
    comes_back(client, payload, opcode == TEXT)


@pytest.mark.parametrize("length, width", [(0, 2), (5, 2), (125, 2), (5, 8), (126, 8), (65535, 8)])
def test_lengths_in_longer_fields_than_needed_are_understood(client, length, width):
    payload = b"x" * length
    client.send(frame(payload, width=width))
    comes_back(client, payload)
    client.send(frame(b"and the next"))
    comes_back(client, b"and the next")


@pytest.mark.parametrize("size", [1, 2, 3, 997])
def test_frames_arrive_in_pieces_of_any_size(client, size):
    payload = b"x" * 200
    data = frame(payload, TEXT) + frame(b"", PING) + frame(payload, BINARY)
    for at in range(0, len(data), size):
        client.send(data[at : at + size])
    client.until(lambda: client.texts and client.messages and client.control)
    assert client.texts == [payload] and client.messages == [[None, payload]]


def test_every_masking_key_is_taken_off(client):
    payload = bytes(range(256)) * 3
    for mask in (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x01\x02\x04\x08"):
        masked = bytes(b ^ mask[i % 4] for i, b in enumerate(payload))
        client.send(b"\x82\xfe" + len(payload).to_bytes(2, "big") + mask + masked)
        comes_back(client, payload)


# ------------------------------------------------------------------ pings and pongs


@pytest.mark.parametrize("payload", [b"", b"hello", b"\0\xff\xfe", b"\xfe" * 125])
def test_a_ping_is_answered_with_its_payload(client, payload):
    client.send(frame(payload, PING))
    client.until(lambda: client.control)
    assert client.control == [(Opcode.PONG, payload)]


def test_pings_are_answered_in_order(client):
    client.send(b"".join(frame(b"%d" % i, PING) for i in range(10)))
    client.until(lambda: len(client.control) == 10)
    assert client.control == [(Opcode.PONG, b"%d" % i) for i in range(10)]


def test_pongs_that_nobody_asked_for_are_ignored(client):
    client.send(frame(b"", PONG) + frame(b"x" * 125, PONG) + frame(b"ok"))
    comes_back(client, b"ok")
    assert not client.control


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
def test_control_frames_are_short_and_whole(echo, opcode):
    for data in (
        frame(bytes(126), opcode),
        frame(close_payload(1000), opcode, fin=False),
        frame(close_payload(1000), opcode, width=2, length=126) + bytes(124),
    ):
        with open_socket(echo) as client:
            client.send(data)
            assert client.close_code() == 1002
            assert not client.control or client.control[0][0] is Opcode.CLOSE


# ------------------------------------------------------------------ reserved bits and opcodes


@pytest.mark.parametrize("rsv", range(1, 8))
def test_no_reserved_bit_is_accepted(echo, rsv):
    for opcode in (TEXT, BINARY, PING, PONG, CLOSE):
        with open_socket(echo) as client:
            client.send(frame(b"first") + frame(b"", opcode, rsv=rsv) + frame(b"last"))
            assert client.close_code() == 1002
            assert client.messages == [[None, b"first"]]


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
def test_no_reserved_opcode_is_accepted(echo, opcode):
    for payload in (b"", b"payload"):
        with open_socket(echo) as client:
            client.send(frame(b"first") + frame(payload, opcode) + frame(b"last"))
            assert client.close_code() == 1002
            assert client.messages == [[None, b"first"]]


@pytest.mark.parametrize("opcode", [0, TEXT, BINARY, CLOSE, PING, PONG])
def test_every_frame_of_a_client_is_masked(echo, opcode):
    with open_socket(echo) as client:
        client.send(frame(b"", opcode, masked=False))
        assert client.close_code() == 1002


# ------------------------------------------------------------------ fragments


def fragments(*parts: bytes, opcode: int = TEXT, between: bytes = b"") -> bytes:
    frames = [
        frame(part, opcode if i == 0 else 0, fin=i == len(parts) - 1)
        for i, part in enumerate(parts)
    ]
    return between.join(frames)


@pytest.mark.parametrize("between", [b"", frame(b"ping", PING), frame(b"", PONG)])
@pytest.mark.parametrize("parts", [(b"a", b"b"), (b"", b""), (b"", b"ab", b""), (b"x" * 500,) * 20])
def test_fragments_are_one_message_with_control_frames_between(client, parts, between):
    client.send(fragments(*parts, between=between))
    comes_back(client, b"".join(parts), text=True)
    client.send(fragments(*parts, opcode=BINARY, between=between))
    comes_back(client, b"".join(parts))
    if between.startswith(b"\x89"):
        assert client.control == [(Opcode.PONG, b"ping")] * 2 * (len(parts) - 1)


def test_a_ping_in_a_fragmented_message_is_answered_before_it_ends(client):
    client.send(frame(b"a", TEXT, fin=False) + frame(b"now", PING))
    client.until(lambda: client.control)
    assert not client.texts
    client.send(frame(b"b", 0))
    comes_back(client, b"ab", text=True)


@pytest.mark.parametrize(
    "data",
    [
        frame(b"x", 0),
        frame(b"x", 0, fin=False),
        frame(b"a", TEXT) + frame(b"b", 0),
        frame(b"a", TEXT, fin=False) + frame(b"b", TEXT),
        frame(b"a", BINARY, fin=False) + frame(b"b", BINARY, fin=False),
        fragments(b"a", b"b") + frame(b"c", 0, fin=False) + frame(b"d", TEXT),
        frame(b"a", TEXT, fin=False) + frame(close_payload(1000), CLOSE, fin=False),
    ],
)
def test_fragments_out_of_order_are_a_violation(echo, data):
    with open_socket(echo) as client:
        client.send(data)
        assert client.close_code() == 1002


def test_one_clients_fragments_never_surface_in_anothers_message(echo):
    clients = [RawClient(echo) for _ in range(8)]
    for i, client in enumerate(clients):
        client.decodes = False
        client.send(frame(b"%d" % i * 10, BINARY, fin=False))
    for i, client in enumerate(clients):
        client.send(frame(b"%d" % i * 5, 0))
    for i, client in enumerate(clients):
        comes_back(client, b"%d" % i * 15)
        client.drop()


def test_a_message_in_a_thousand_fragments_comes_back_whole(client):
    payload = os.urandom(65536)
    client.send(fragments(*(payload[i : i + 64] for i in range(0, 65536, 64)), opcode=BINARY))
    comes_back(client, payload)


# ------------------------------------------------------------------ UTF-8

VALID = [
    "Hello-µ@ßöäüàá-UTF-8!!",
    "κόσμε",
    "\x00",
    "\x7f\x80\u07ff\u0800\uffff\U00010000\U0010ffff",
    "\ud7ff\ue000\ufffd",
    "\ufdd0\ufffe\U0001fffe\U0010fffe",  # noncharacters are characters on the wire
]
INVALID = [
    b"\x80", b"\xbf", b"\xc0\xaf", b"\xc1\xbf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf",
    b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80", b"\xfe", b"\xff",
    b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xed\xa0\x80\xed\xb0\x80", b"\xf4\x90\x80\x80",
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80edited", b"\xe2\x28\xa1",
    b"Hello\xc3", b"\xf0\x9f\x98",
]  # fmt: skip


@pytest.mark.parametrize("text", VALID)
def test_text_comes_back_however_it_is_cut(client, text):
    data = text.encode()
    client.send(frame(data, TEXT))
    comes_back(client, data, text=True)
    client.send(fragments(*(data[i : i + 1] for i in range(len(data)))))
    comes_back(client, data, text=True)


@pytest.mark.parametrize("data", INVALID)
def test_what_is_not_utf8_ends_the_connection(echo, data):
    for sent in (
        frame(data, TEXT),
        fragments(*(data[i : i + 1] for i in range(len(data))), b""),
        frame(close_payload(1000, data), CLOSE),
    ):
        with open_socket(echo) as client:
            client.send(sent)
            assert client.close_code() == 1007
            assert not client.texts
    with open_socket(echo) as client:
        client.send(frame(data, BINARY))
        comes_back(client, data)


def test_wrong_text_is_noticed_at_the_fragment_that_makes_it_wrong(echo):
    with open_socket(echo) as client:
        client.send(frame("κόσμε".encode() + b"\xf4", TEXT, fin=False))
        client.read(0.3)
        assert client.close is None, "so far it could still become text"
        client.send(frame(b"\x90", 0, fin=False))
        assert client.close_code(seconds=3) == 1007


# ------------------------------------------------------------------ closing


@pytest.mark.parametrize(
    "code", [None, 1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999]
)
def test_a_close_is_answered_with_its_own_code(echo, code):
    reasons = (b"",) if code is None else (b"", b"bye", "☄".encode(), b"x" * 123)
    for reason in reasons:
        with open_socket(echo) as client:
            client.send(frame(close_payload(code, reason), CLOSE))
            assert client.close_code() == (1005 if code is None else code)
            assert client.close.reason == reason.decode()
            until = time.monotonic() + 1.5
            while not client.ended and time.monotonic() < until:
                client.read(0.1)
            assert client.ended, "the server ends the stream"


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65535])
def test_a_close_code_that_may_not_be_sent_is_a_violation(echo, code):
    for reason in (b"", b"reason"):
        with open_socket(echo) as client:
            client.send(frame(close_payload(code, reason), CLOSE))
            assert client.close_code() == 1002


def test_a_close_of_one_byte_is_a_violation(client):
    client.send(frame(b"\x03", CLOSE))
    assert client.close_code() == 1002


@pytest.mark.parametrize(
    "after", [frame(b"late"), frame(b"late", PING), frame(close_payload(1001), CLOSE), b"\xff" * 50]
)
def test_nothing_is_answered_after_a_close(client, after):
    client.send(frame(b"before") + frame(close_payload(1000), CLOSE) + after)
    assert client.close_code() == 1000
    assert client.messages == [[None, b"before"]] and not client.texts
    assert [opcode for opcode, _ in client.control] == [Opcode.CLOSE]


def test_a_close_inside_a_fragmented_message_ends_it(client):
    client.send(frame(b"a", TEXT, fin=False) + frame(close_payload(1000), CLOSE) + frame(b"b", 0))
    # RFC 6455 lets a close come between fragments; the codec calls the torn message by its name.
    assert client.close_code() in (1000, 1002)
    assert not client.texts


def test_a_half_closed_socket_still_gets_its_answer(client):
    client.send(frame(close_payload(1000), CLOSE))
    client.sock.shutdown(socket.SHUT_WR)
    assert client.close_code() == 1000


@pytest.mark.parametrize("sent", [b"", frame(b"x" * 50)[:20], b"\x82"])
def test_a_stream_that_ends_without_a_close_ends_the_connection(client, sent):
    client.send(sent)
    client.sock.shutdown(socket.SHUT_WR)
    until = time.monotonic() + 5
    while not client.ended and time.monotonic() < until:
        client.read(0.2)
    assert client.ended


def test_a_client_that_never_answers_a_close_is_left_alone_soon(echo):
    with open_socket(echo) as client:
        client.answers = False
        client.send(b"\xff\xff")
        began = time.monotonic()
        assert client.close_code() == 1002
        while not client.ended and time.monotonic() - began < 6:
            client.read(0.5)
        assert client.ended


@pytest.mark.parametrize("rsv", [1, 4])
def test_no_extension_is_negotiated(echo, rsv):
    headers = {"Sec_WebSocket_Extensions": "permessage-deflate; server_no_context_takeover"}
    with RawClient(echo, **headers) as client:
        assert client.status == 101
        assert "sec-websocket-extensions" not in client.headers
        client.send(frame(b"\xf2\x48\xcd\xc9\xc9\x07\x00", TEXT, rsv=rsv))
        assert client.close_code() == 1002


def test_the_game_server_has_no_echo():
    with LiveServer(MAX_PLAYERS=5) as live:
        for path in ("/echo", "/ws/echo", "/ws?echo=1", "/tests/echo.py", "/"):
            with RawClient(live.port, path) as client:
                if client.status == 101:
                    client.decodes = False
                    client.send(frame(b"hello", TEXT))
                    assert client.close_code() == 1003
                    assert not client.texts and not client.messages


# ------------------------------------------------------------------ large messages

MEGABYTE = 1 << 20


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("size", [64 << 10, 256 << 10, MEGABYTE])
@pytest.mark.parametrize("part", [1300, 64 << 10, None])
def test_large_messages_come_back_whole_and_in_parts_of_any_size(client, opcode, size, part):
    payload = b"*" * size if opcode == TEXT else os.urandom(size)
    if part is None:
        client.send(frame(payload, opcode))
    else:
        parts = [payload[i : i + part] for i in range(0, size, part)]
        for i, piece in enumerate(parts):
            client.send(frame(piece, opcode if i == 0 else 0, fin=i == len(parts) - 1))
    comes_back(client, payload, opcode == TEXT)


def test_one_byte_more_than_the_limit_is_refused_in_parts_too(echo):
    half = bytes(MEGABYTE // 2)
    for sent in (
        frame(b"", length=MEGABYTE + 1, width=8),
        frame(half, fin=False) + frame(half, 0, fin=False) + frame(b"x", 0),
    ):
        with open_socket(echo) as client:
            client.send(sent)
            assert client.close_code() == 1009


def test_a_thousand_messages_at_once_come_back_in_order(client):
    sent = [b"%d" % i for i in range(1000)]
    client.send(b"".join(map(frame, sent)))
    client.until(lambda: len(client.messages) == len(sent))
    assert [data for _, data in client.messages] == sent
