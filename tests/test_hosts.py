"""The same server under uWSGI and under gevent's pywsgi: joining, playing, coming back."""

from __future__ import annotations

import signal
import sys

import pytest

from clients.bots import wire
from tests.live_server import LiveServer
from tests.object_server import ObjectServer, back, closed, wait_for
from tests.raw_client import RawClient, request, upgrade
from tickstorm.client import Refused
from tickstorm.transport.stream import batch

RULES = """
class Walk(Input):
    dx: int = whole(-1, 1)

class Walker(Player):
    x: int = synced(0)

class Walks(Room):
    player, input, grace_s = Walker, Walk, 60

    def step(self, dt):
        for player in self.players:
            player.x += player.input.dx

    @message(per_second=100)
    def roll(self, player, sides: int = whole(2, 100)) -> int:
        if sides == 13:
            raise Refuse("not thirteen")
        return sides
"""

COMMANDS = {
    "uwsgi": LiveServer.command,
    "pywsgi": [sys.executable, "-m", "tickstorm.standalone", "--path", "."],
}


@pytest.fixture(scope="module", params=COMMANDS)
def host(request):
    return request.param


@pytest.fixture(scope="module")
def server(host, tmp_path_factory):
    live = ObjectServer(tmp_path_factory.mktemp("walks"), RULES)
    live.command = COMMANDS[host]
    live.environ["PYTHONPATH"] = "server"
    with live:
        yield live


@pytest.fixture(scope="module")
def arena(host):
    live = LiveServer(GAMES="game")
    live.command = COMMANDS[host]
    live.environ["PYTHONPATH"] = "server"
    with live:
        yield live


def test_a_player_joins_plays_and_resumes(server):
    ada = server.new_room("Ada")
    bob = server.join("Bob", room=ada.id)
    ada.input(dx=1)
    bob.wait_for(lambda: any(p["name"] == "Ada" and p["x"] > 10 for p in bob.players))
    assert ada.request("roll", 6) == 6
    with pytest.raises(Refused, match="not thirteen"):
        ada.request("roll", 13)
    me = ada.me.id
    ada.reconnect()
    assert ada.me.id == me and ada.session.welcome["resumed"]
    ada.leave()
    bob.wait_for(lambda: len(bob.players) == 1)
    bob.leave()


def test_many_messages_in_one_go_all_arrive(server):
    ada = server.new_room("Ada")
    for sides in range(20, 60):
        ada.send("roll", sides)
    assert ada.request("roll", 99) == 99
    ada.leave()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGKILL])
def test_a_room_outlives_its_process(server, host, number):
    ada = server.new_room("Ada")
    ada.input(dx=1)
    ada.wait_for(lambda: ada.me["x"] > 20)
    me, x = ada.me.id, ada.me["x"]
    if host == "uwsgi":  # its keeper holds the connection meanwhile
        server.reload() if number == signal.SIGHUP else server.kill_worker()
        ada.wait_for(lambda: ada.me["x"] > x + 5)
    else:  # nobody holds it, nobody respawns the process: that is what it lacks
        server.signal(number)
        if number == signal.SIGHUP:
            assert closed(ada)[0] == 1012
        assert server.process.wait(10) in (75, -signal.SIGKILL)
        server.start()
    back(ada)
    assert ada.session.welcome["resumed"] and (ada.me.id, ada.me["x"] >= x - 30) == (me, True)
    ada.leave()


def test_the_arena_is_played(arena):
    ada = RawClient(arena.port)
    welcome = ada.join("Ada")
    for _ in range(20):
        ada.input(move=64, buttons=1)
        ada.until(lambda tick=ada.head["tick"]: ada.head["tick"] > tick)
    assert ada.head["ack_seq"] > 0
    ada.sock.close()
    again = RawClient(arena.port)
    resumed = again.join("Ada", token=welcome["token"])
    assert (resumed["slot"], resumed["resumed"]) == (welcome["slot"], True)


def test_a_room_is_played_over_plain_http(arena):
    hello = batch([wire.encode_hello("Ada", None)])
    head = f"Host: 127.0.0.1:{arena.port}\r\nContent-Type: application/octet-stream\r\n"
    data = f"POST /stream HTTP/1.1\r\n{head}Content-Length: {len(hello)}\r\nConnection: close\r\n"
    status, _, body = request(arena.port, data.encode() + b"\r\n" + hello)
    assert status == 201
    name = body.split(b'"')[3].decode()
    poll = f"GET /stream/{name}/poll HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    status, headers, body = request(arena.port, poll)
    assert status == 200 and int(headers["content-length"]) == len(body) > 100
    assert wire.decode(body[4 : 4 + int.from_bytes(body[:4], "big")])[0] == wire.WELCOME


def test_pages_and_bad_requests_are_answered(arena):
    def get(path: str) -> int:
        line = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{arena.port}\r\nConnection: close\r\n\r\n"
        return request(arena.port, line.encode())[0]

    assert [get("/"), get("/tickstorm.js"), get("/nowhere"), get("/../setup.cfg")] == [
        200, 200, 404, 404,
    ]  # fmt: skip
    assert request(arena.port, upgrade(arena.port, Origin="https://evil.example"))[0] == 403
    assert request(arena.port, b"NONSENSE\r\n\r\n")[0] in (0, 400, 405)
    assert get("/healthz") == 200


def test_what_stops_says_so(host, tmp_path):
    live = ObjectServer(tmp_path, RULES)
    live.command = COMMANDS[host]
    live.environ["PYTHONPATH"] = "server"
    with live:
        ada = live.new_room("Ada")
        live.signal(signal.SIGTERM)
        assert closed(ada)[0] == 1001
        wait_for(lambda: live.process.poll() is not None, 15)
        assert live.process.returncode == 0
