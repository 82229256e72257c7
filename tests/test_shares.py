"""No address takes what is everybody's: seats, tickets, joins. Attacks on the real server."""

from __future__ import annotations

import time

import msgpack
import pytest

from clients.bots import wire
from tests.live_server import LiveServer
from tests.lobby_client import Player, api
from tests.marks import mark
from tests.raw_client import ROOT, RawClient, connect, frame, upgrade

NEAR, FAR = {"X-Forwarded-For": "192.0.2.1"}, {"X-Forwarded-For": "198.51.100.7"}
PROXIED = {"TRUSTED_PROXIES": "127.0.0.1", "MAX_PLAYERS": 40}


def wait_for(condition, seconds=10.0):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.1)


def join(live, address, **wanted) -> tuple[int, dict]:
    return api(live.page, "POST", "/api/join", wanted, **address)


@pytest.fixture(scope="module")
def live():
    with LiveServer(**PROXIED, MAX_CONNECTIONS_PER_ADDRESS=100) as server:
        yield server


def test_tickets_of_one_address_leave_half_of_the_seats_to_others(live):
    answers = [join(live, NEAR, room="arena") for _ in range(60)]
    assert [status for status, _ in answers].count(200) == 20
    assert {status for status, _ in answers} == {200, 429}
    assert answers[-1][1]["error"] == "too_many"
    status, place = join(live, FAR, room="arena")
    assert status == 200
    assert Player(place["url"], ticket=place["ticket"]).welcome


def test_hello_and_close_again_and_again_holds_no_seat(live):
    for _ in range(60):
        with connect(live.port) as sock:
            sock.sendall(upgrade(live.port, **NEAR) + frame(wire.encode_hello("ghost")))
            sock.recv(4096)
    with RawClient(live.port, **FAR) as honest:
        honest.join("honest")
        wait_for(lambda: live.health()["players"] == 1)
    assert live.health()["room_loads"]["arena"]["away"] == 0


def test_sessions_that_are_away_count_against_their_address():
    with LiveServer(**PROXIED, MAX_CONNECTIONS_PER_ADDRESS=8, GRACE_SECONDS=60) as live:
        for i in range(8):
            with RawClient(live.port, **NEAR) as client:
                client.join(f"away {i}")
                client.input()
                tick = client.head["tick"]
                client.until(lambda c=client, t=tick: c.head["tick"] > t + 2)
        with RawClient(live.port, **NEAR) as ninth:
            ninth.say(wire.encode_hello("ninth"))
            assert ninth.close_code() == 1013
        wait_for(lambda: live.health()["room_loads"]["arena"]["away"] == 8)
        with RawClient(live.port, **FAR) as other:
            other.join("other")


def test_one_address_watches_from_half_of_the_spectators_seats():
    with LiveServer(**PROXIED, MAX_SPECTATORS=8) as live:
        near = [RawClient(live.port, **NEAR) for _ in range(5)]
        for client in near[:4]:
            client.join("watcher", spectate=True)
        near[4].say(wire.encode_hello("fifth", spectate=True))
        assert near[4].close_code() == 1013
        with RawClient(live.port, **FAR) as other:
            other.join("other", spectate=True)
        for client in near:
            client.drop()


def test_a_room_full_of_the_away_lets_newcomers_in_with_and_without_tickets():
    with LiveServer(MAX_PLAYERS=4, GRACE_SECONDS=600) as live:
        for i in range(4):
            with RawClient(live.port) as client:
                client.join(f"away {i}")
                client.input()
                tick = client.head["tick"]
                client.until(lambda c=client, t=tick: c.head["tick"] > t + 2)

        def comes_in():
            status, place = api(live.page, "POST", "/api/join", {"room": "arena"})
            return status == 200 and Player(place["url"], ticket=place["ticket"]).welcome

        wait_for(comes_in, 20)
        with RawClient(live.port) as client:
            client.join("without")


def test_one_surrogate_is_refused_at_the_door(live):
    for body in ('{"room": "\\ud800"}', '{"key": "12345678", "name": "\\udfff"}', '{"\\ud800": 1}'):
        path = "/api/rooms" if "key" in body else "/api/join"
        answer = raw_post(live, path, body.encode())
        assert answer.startswith(b"HTTP/1.1 400"), answer
    assert join(live, FAR, room="arena")[0] == 200


def raw_post(live, path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    with connect(live.port) as sock:
        sock.sendall(head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        return sock.recv(65536)


def test_an_aborted_body_is_one_line_in_the_log_however_often(live):
    head = b"POST /api/join HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    for _ in range(20):
        with connect(live.port) as sock:
            sock.sendall(head + b"Content-Length: 1000\r\n\r\n{")
    until = time.monotonic() + 10
    while live.health()["refused"].get("aborted", 0) < 20:
        assert time.monotonic() < until, live.health()["refused"]
        time.sleep(0.05)
    assert "Traceback" not in live.log(), live.log()
    assert live.log().count("did not send its whole body") == 1


@pytest.fixture(autouse=True)
def free_of_players():
    Player.drop_all()
    yield
    Player.drop_all()


def test_one_address_has_only_so_many_rooms_open_and_large_ones_cost_more():
    with LiveServer(**PROXIED, MAX_ROOMS=24, ROOMS_PER_MINUTE=12) as live:

        def create(address, **settings):
            body = {"key": f"key-{time.monotonic_ns()}", **settings}
            return api(live.page, "POST", "/api/rooms", body, **address)[0]

        assert [create(NEAR) for _ in range(4)] == [201, 201, 201, 429]
        # 60 Hz and four times the area are a whole minute's worth of rooms.
        assert [create(FAR, tick_hz=60, settings={"size": 8192}), create(FAR)] == [201, 429]


def test_text_that_is_not_utf_8_in_a_message_is_malformed(live):
    with RawClient(live.port, **FAR) as client:
        client.say(msgpack.packb([1, 1, 0, "x"])[:-1] + b"\xed\xa0\x80\xc0\x80")
        assert client.close_code() == 4000


def test_hundreds_who_chat_at_once_from_one_address_disconnect_nobody_and_silence_nobody():
    with LiveServer(**{**PROXIED, "MAX_PLAYERS": 300}, MAX_CONNECTIONS_PER_ADDRESS=400) as live:
        honest = [RawClient(live.port, **FAR) for _ in range(3)]
        for client in honest:
            client.join("honest")
        crowd = [RawClient(live.port, **NEAR) for _ in range(150)]
        for client in crowd:
            client.decodes = False
            client.say(wire.encode_hello("loud"))
        wait_for(lambda: live.health()["players"] == 153)
        lines = b"".join(frame(wire.encode_chat("x" * 100 + str(i))) for i in range(4))
        for client in crowd:
            client.send(lines)
        for client in honest:
            tick = client.head["tick"]
            client.until(lambda c=client, t=tick: c.head["tick"] > t + 20)
        honest[0].say(wire.encode_chat("can you hear me?"))
        heard = [wire.CHATTED, "honest", "can you hear me?"]
        honest[1].until(lambda: heard in honest[1].of(wire.CHATTED))
        assert [client.close for client in honest] == [None] * 3
        count = live.health()["stats"]["count"]
        assert count["chat_shed"] > 500
        assert 0 < len(honest[1].of(wire.CHATTED)) < 60
        for client in honest + crowd:
            client.drop()


def test_rooms_of_strangers_take_nothing_from_a_full_one():
    # Each step of each of these rooms takes 15 ms: at 60 Hz one of them wants nearly a core.
    slow = {"PYTHONPATH": ROOT / "tests" / "odd_rules", "SLOW_MS": 15, "SLOW_SIZE": 2048}
    options = {"TRUSTED_PROXIES": "127.0.0.1", "SETTINGS": "size=2048", "ROOMS_PER_MINUTE": 100}
    with LiveServer(**slow, **options, RUN_AS="root") as live:
        players = [RawClient(live.port, **FAR) for _ in range(12)]
        for client in players:
            client.join("honest")
        alone = ticks_of(live, "arena")
        strangers, greedy = [], []
        for i in range(5):
            address = {"X-Forwarded-For": f"192.0.2.{i}"}
            body = {
                "key": f"stranger {i}",
                "settings": {"size": 2048},
                "tick_hz": 60,
                "public": True,
            }
            status, room = api(live.page, "POST", "/api/rooms", body, **address)
            assert status == 201, room
            _, place = join(live, address, room=room["room"])
            greedy.append(room["room"])
            strangers.append(Player(place["url"], ticket=place["ticket"]))
        time.sleep(3)  # shares are made anew with each beat
        besieged = ticks_of(live, "arena")
        mark("ticks of a full room beside five greedy ones, share", besieged / alone, low=0.85)
        paces = [ticks_of(live, room, 1.0) for room in greedy]
        assert besieged > 2 * max(paces), (besieged, paces)
        for client in players:
            client.drop()


def ticks_of(live, room: str, seconds: float = 3.0) -> float:
    """Ticks per second of a room."""
    began, first = time.monotonic(), live.health()["room_loads"][room]["tick"]
    time.sleep(seconds)
    last = live.health()["room_loads"][room]["tick"]
    return (last - first) / (time.monotonic() - began)
