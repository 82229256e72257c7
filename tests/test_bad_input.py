"""Whatever a client sends wrong ends its own connection with the right code, and nothing else."""

from __future__ import annotations

import json
import time

import msgpack
import pytest

import game
from clients.bots import wire
from tests.live_server import LiveServer
from tests.marks import mark
from tests.raw_client import Neighbours, RawClient, connect, frame, read_all, request, upgrade
from tests.wrong_bytes import BYTES, FRAMES, WRONG
from tickstorm.lobby import tokens

SECRET = "a secret of the tests"


@pytest.fixture(scope="module")
def arena():
    """A server with bots that play on through everything that happens in this file."""
    with LiveServer(SECRET=SECRET, GRACE_SECONDS=2, MAX_CONNECTIONS_PER_ADDRESS=8000) as live:
        neighbours = Neighbours(live.url, 8)
        until = time.monotonic() + 20
        while live.health()["players"] < 8 and time.monotonic() < until:
            time.sleep(0.1)
        yield live
        neighbours.noticed_nothing()
        health = live.health()
        assert health["stats"]["skipped_ticks"] < 20
        assert "Traceback" not in live.log(), live.log()
        assert "respawn" not in live.log(), "the worker must have lived through it all"


@pytest.fixture
def client(arena):
    with RawClient(arena.port) as raw:
        yield raw


@pytest.fixture
def player(arena):
    with RawClient(arena.port) as raw:
        raw.join("raw")
        yield raw


def closed(arena, name):
    return arena.health()["closed"].get(name, 0)


# ------------------------------------------------------------------ frames


@pytest.mark.parametrize("joined", [False, True], ids=["before HELLO", "in the game"])
@pytest.mark.parametrize("name", FRAMES)
def test_a_wrong_frame_is_answered_by_its_close_code(arena, name, joined):
    data, code = FRAMES[name]
    with RawClient(arena.port) as client:
        if joined:
            client.join()
        client.send(data)
        assert client.close_code() == code


def test_a_frame_that_never_ends_is_let_go_with_its_sender(arena, player):
    tick = player.head["tick"]
    player.send(frame(bytes(3000))[:-1])
    player.until(lambda: player.head["tick"] > tick + 10)
    player.drop()
    until = time.monotonic() + 5
    while arena.health()["players"] > 8:
        assert time.monotonic() < until
        time.sleep(0.05)


# ------------------------------------------------------------------ messages


@pytest.mark.parametrize("name", BYTES)
def test_bytes_that_are_no_message_are_malformed(arena, player, name):
    player.say(BYTES[name])
    assert player.close_code() == 4000
    assert len(player.close.reason) > 3


def test_every_message_of_a_wrong_shape_is_malformed_before_and_after_hello(arena):
    for message in WRONG:
        with RawClient(arena.port) as client:
            client.say(msgpack.packb(message))
            assert client.close_code() == 4000, message
    # In the game, a sample of them: each needs a join.
    for message in WRONG[::4]:
        with RawClient(arena.port) as client:
            client.join()
            client.say(msgpack.packb(message))
            assert client.close_code() == 4000, message


@pytest.mark.parametrize(
    "message, code",
    [
        (wire.encode_chat("hi"), 4003),
        (wire.encode_input(0, 0, 1, 0, 0, 0, 0), 4003),
        (wire.encode_leave(), 4003),
        (wire.encode_look(0), 4003),
        (msgpack.packb([1, 0, 0, "Ada", None, {}]), 4001),
        (msgpack.packb([1, 2**63, 0, "Ada", None, {}]), 4001),
        (msgpack.packb([1, 1, 12345, "Ada", None, {}]), 4002),
        (msgpack.packb([1, 1, -1, "Ada", None, {}]), 4002),
        (wire.encode_hello("Ada", "not a token"), 4007),
        (wire.encode_hello("Ada", "A" * 3000), 4007),
        (wire.encode_hello("Ada", "\0☄"), 4007),
    ],
)
def test_a_wrong_beginning_has_its_own_code(client, message, code):
    client.say(message)
    assert client.close_code() == code


def test_a_second_hello_is_malformed(player):
    player.say(wire.encode_hello("Ada"))
    assert player.close_code() == 4000


def test_silence_instead_of_hello_is_ended(arena):
    with RawClient(arena.port) as client, RawClient(arena.port) as pings:
        pings.send(frame(b"", opcode=9))  # a ping is no HELLO
        began = time.monotonic()
        assert client.close_code(seconds=8) == 4003
        assert pings.close_code(seconds=2) == 4003
        mark("a slow HELLO is ended, s", time.monotonic() - began, 3, 7)


def test_only_spectators_look(arena, player):
    player.say(wire.encode_look(0))
    assert player.close_code() == 4000
    with RawClient(arena.port) as watcher:
        watcher.join(spectate=True)
        watcher.say(wire.encode_look(200))
        assert watcher.close_code() == 4000


def test_hello_with_strange_options_and_an_empty_name_is_a_player(arena):
    options = {"bot": 1, "spectate": "yes", b"\xff": [[]], "x" * 500: {"y": []}}
    with RawClient(arena.port) as client:
        client.say(msgpack.packb([1, 1, game.checksum(), "\u202e\0", None, options]))
        client.until(lambda: client.head)
        assert client.welcome["name"] == "Player" and client.welcome["slot"] != wire.NO_SLOT


# ------------------------------------------------------------------ tokens


def token(session="0123456789abcdef", room="arena", expires=None, key=None):
    key = tokens.load_key(SECRET, "") if key is None else key
    expires = time.time() + 60 if expires is None else expires
    return tokens.sign(tokens.Claim(room, session, expires), key)


def test_a_token_of_another_key_is_refused(client):
    client.say(wire.encode_hello("Ada", token(key=b"k" * 32)))
    assert client.close_code() == 4007


def test_an_expired_token_and_one_of_a_stranger_open_a_new_ship(arena, player):
    claim = tokens.read(player.welcome["token"], tokens.load_key(SECRET, ""))
    for old in (
        token(claim.session, expires=time.time() - 1),
        token("f" * 16),
        token(claim.session, room="elsewhere"),
    ):
        with RawClient(arena.port) as client:
            welcome = client.join("Ada", old)
            assert not welcome["resumed"] and welcome["slot"] != player.welcome["slot"]
    tick = player.head["tick"]
    player.until(lambda: player.head["tick"] > tick + 2)


# ------------------------------------------------------------------ inputs


def inputs_dropped(arena):
    return arena.health()["stats"]["inputs_dropped"]


def test_forged_inputs_are_taken_for_what_they_can_be(arena, player):
    for fields in (
        (2**32 - 1, 2**32 - 1, 1, 65535, 255, 255, 255),
        (1, 0, 2, 65535, 255, 255, 255),
        (0, 0, 3, 0, 0, 0, 0),
    ):
        player.say(wire.encode_input(*fields))
        player.until(lambda seq=fields[2]: player.head["ack_seq"] == seq)
    own = player.head["self"]
    assert 0 <= own["x"] <= 6144 and own["vx"] == own["vx"]


def test_old_and_double_inputs_are_counted_drops(arena, player):
    for seq in (100, 100, 99, 100):
        player.say(wire.encode_input(0, 0, seq, 0, 0, 0, 0))
    player.until(lambda: player.head["ack_seq"] == 100)
    assert inputs_dropped(arena) >= 3
    assert player.close is None


def test_inputs_in_fragments_or_with_long_lengths_count_like_any_other(player):
    message = wire.encode_input(0, 0, 7, 0, 0, 0, 0)
    player.send(frame(message[:5], fin=False) + frame(message[5:], opcode=0))
    player.until(lambda: player.head["ack_seq"] == 7)
    for width, seq in ((2, 8), (8, 9)):
        player.send(frame(wire.encode_input(0, 0, seq, 0, 0, 0, 0), width=width))
        player.until(lambda seq=seq: player.head["ack_seq"] == seq)


def test_inputs_cut_anywhere_arrive_whole(player):
    data = b"".join(frame(wire.encode_input(0, 0, seq, 0, 0, 0, 0)) for seq in range(1, 11))
    for cut in (1, 5, 25, 26, 27, 40, 52, 60, 61, 130):
        player.send(data[:cut])
        data = data[cut:]
        time.sleep(0.06)
    player.send(data)
    player.until(lambda: player.head["ack_seq"] == 10)


def test_a_message_of_an_inputs_size_before_a_cut_frame_changes_nothing(player):
    chat = frame(wire.encode_chat("x" * 17))  # 20 bytes, like an input
    ping = frame(wire.encode_ping(5.0))
    for cut in range(1, len(ping)):
        player.send(chat + ping[:cut])
        time.sleep(0.12)
        player.send(ping[cut:])
        player.until(lambda n=cut: len(player.of(wire.PONG)) == n)


# ------------------------------------------------------------------ floods


@pytest.mark.parametrize(
    "data",
    [
        frame(wire.encode_input(0, 0, 1, 0, 0, 0, 0)),
        frame(wire.encode_ping(1.0)),
        frame(wire.encode_sync()),
        frame(wire.encode_chat("spam")),
        frame(b"", opcode=9),
        frame(bytes(125), opcode=10),
        frame(wire.encode_chat("x" * 3000)),
    ],
    ids=["inputs", "pings", "syncs", "chats", "websocket pings", "pongs", "large messages"],
)
def test_a_flood_is_ended_with_its_code(arena, player, data):
    until = time.monotonic() + 8
    while not player.ended and player.close is None and time.monotonic() < until:
        player.send(data * (1 + 2000 // len(data)))
        player.read(0.01)
    assert player.close_code() == 4004
    assert closed(arena, "FLOOD") > 0


def test_empty_fragments_for_ever_are_a_flood(player):
    player.send(frame(b"\x91", fin=False))
    until = time.monotonic() + 8
    while not player.ended and player.close is None and time.monotonic() < until:
        player.send(frame(b"", opcode=0, fin=False) * 100)
        player.read(0.01)
    assert player.close_code() == 4004


def test_a_client_at_the_allowed_rate_is_left_alone(player):
    for _ in range(50):  # 60 messages a second
        for _ in range(2):
            player.input()
        player.say(wire.encode_ping(1.0))
        time.sleep(0.05)
        player.read()
    assert player.close is None and not player.ended


# ------------------------------------------------------------------ the HTTP side


REQUESTS = {
    "garbage": b"\x00\x01\x02\x03\r\n\r\n",
    "no method": b" / HTTP/1.1\r\n\r\n",
    "no protocol": b"GET /\r\n\r\n",
    "no end": b"GET / HTTP/1.1\r\nHost: x\r\n",
    "a TLS hello": bytes.fromhex("1603010200010001fc0303") + bytes(500),
    "headers of 20 kB": b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 20_000 + b"\r\n\r\n",
    "a thousand headers": b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
    "a header without a colon": b"GET /ws HTTP/1.1\r\nHost\r\n\r\n",
    "a NUL in a header": b"GET /ws HTTP/1.1\r\nHost: a\0b\r\n\r\n",
    "two lengths": b"POST /ws HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "a negative length": b"GET / HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
    "an endless length": b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
    "smuggling, length first": (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    ),
    "smuggling, chunks first": (
        b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n"
        b"24\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n\r\n0\r\n\r\n"
    ),
    "a second request behind the first": (
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    ),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_wrong_request_gets_one_answer_or_none(arena, name):
    with connect(arena.port, 1) as sock:
        sock.sendall(REQUESTS[name])
        answer = read_all(sock)
    assert answer.count(b"HTTP/1.") <= 1, "one connection is one request"
    assert b'"tick_hz"' not in answer, "what was smuggled must not be answered"
    if name == "smuggling, chunks first":
        assert arena.health()["status"] == "ok"


def test_a_name_with_an_underscore_is_no_other_headers_name(arena):
    data = upgrade(arena.port).replace(b"Upgrade: websocket", b"Up_grade: websocket")
    assert request(arena.port, data)[0] == 426


def test_violations_are_counted_by_kind_and_logged_once_per_client(arena):
    before = arena.health()["closed"]
    lines = arena.log().count(" closed ")
    for _ in range(20):
        with RawClient(arena.port) as client:
            client.say(b"\xc1")
            client.close_code()
            client.sock.close()
    until = time.monotonic() + 5
    while closed(arena, "MALFORMED") < before.get("MALFORMED", 0) + 20:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert arena.log().count(" closed ") - lines <= 1
    assert SECRET not in arena.log()
    health = json.dumps(arena.health())
    assert SECRET not in health
