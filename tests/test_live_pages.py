"""Server-sent events for pages that only look: the lobby's, and those of a room."""

from __future__ import annotations

import json
import socket

import pytest

from tests.object_server import ObjectServer, wait_for
from tests.raw_client import connect, request

RULES = """
class Talk(Room):
    tick_hz, spectators = 0, 4
    secret: str = synced("")

    @message
    def say(self, player, words: str = text(200)):
        self.send("said", player, words)

    @message
    def whisper(self, player, words: str = text(200)):
        self.send("whispered", words, to=player)

    @message
    def end(self, player):
        self.close("good night")
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with ObjectServer(tmp_path_factory.mktemp("talk"), RULES) as live:
        yield live


class Listener:
    """An EventSource: `events` are (id, event, data)."""

    def __init__(self, port: int, path: str, last: str = ""):
        self.sock = connect(port)
        last = f"Last-Event-ID: {last}\r\n" if last else ""
        self.sock.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{last}\r\n".encode())
        self._data = b""
        while b"\r\n\r\n" not in self._data:
            self._data += self.sock.recv(4096)
        self.head, _, self._data = self._data.partition(b"\r\n\r\n")
        self.status = int(self.head.split()[1])

    def next(self) -> tuple[str, str, object]:
        while True:
            event, end, rest = self._data.partition(b"\n\n")
            if not end:
                part = self.sock.recv(65536)
                assert part, "the stream has ended"
                self._data += part
                continue
            self._data = rest
            fields = dict(row.split(": ", 1) for row in event.decode().split("\n") if row[0] != ":")
            if "data" in fields:
                return fields.get("id", ""), fields.get("event", ""), json.loads(fields["data"])

    def until(self, condition) -> object:
        while not condition(found := self.next()):
            pass
        return found


def test_a_room_tells_lookers_what_is_for_everyone(server):
    ada = server.new_room("Ada")
    page = Listener(server.port, f"/rooms/{ada.id}/events")
    assert page.status == 200 and b"X-Accel-Buffering: no" in page.head
    ada.send("whisper", "between us")
    ada.send("say", "for all")
    number, _, said = page.next()
    assert said == {"name": "said", "args": [{"entity": ada.me.id}, "for all"]}
    page.sock.close()
    ada.send("say", "while it was away")
    ada.send("say", "and more")
    again = Listener(server.port, f"/rooms/{ada.id}/events", last=number)
    assert [again.next()[2]["args"][1] for _ in range(2)] == ["while it was away", "and more"]
    other = Listener(server.port, f"/rooms/{ada.id}/events", last="of.another-feed")
    ada.send("say", "now")
    assert again.next()[2]["args"][1] == other.next()[2]["args"][1] == "now"
    ada.send("end")
    assert again.next()[1:] == ("close", {"code": 1000, "reason": "good night"})


def test_what_is_not_there_is_404_so_that_pages_stop_asking(server):
    for path in ("/rooms/nowhere/events", "/rooms//events"):
        assert Listener(server.port, path).status == 404
    post = f"POST /api/live HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Length: 0\r\n\r\n"
    assert request(server.port, post.encode())[0] == 405
    evil = f"GET /api/live HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nOrigin: https://e\r\n\r\n"
    assert request(server.port, evil.encode())[0] == 403


def test_the_lobby_tells_who_plays_where(server):
    page = Listener(server.port, "/api/live")
    assert page.until(lambda e: e[1] == "leaders")[2] == {"leaders": []}
    ada = server.join("Ada")
    room = page.until(
        lambda e: e[1] == "rooms" and any(r["room"] == ada.id for r in e[2]["rooms"])
    )[2]
    assert [r["players"] for r in room["rooms"] if r["room"] == ada.id] == [1]
    ada.leave()
    page.until(lambda e: e[1] == "rooms" and all(r["players"] == 0 for r in e[2]["rooms"]))


def test_a_listener_that_does_not_read_holds_up_nobody(server):
    ada = server.new_room("Ada")
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    deaf.connect(("127.0.0.1", server.port))
    deaf.sendall(f"GET /rooms/{ada.id}/events HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    page = Listener(server.port, f"/rooms/{ada.id}/events")
    for number in range(40):
        ada.send("say", str(number) * 60)
        assert page.next()[2]["args"][1] == str(number) * 60
    deaf.close()
    page.sock.close()
    wait_for(lambda: server.health()["status"] == "ok")
