"""Several workers behind one port: a client that comes over plain HTTP, or by Socket.IO, is with
one of them, whichever its requests reach, and in a room of any."""

from __future__ import annotations

import json

import pytest

from tests.object_server import ObjectServer
from tests.raw_client import request
from tickstorm.client.state import pack, unpack
from tickstorm.transport.stream import batch, records

RULES = """
class Talk(Room):
    tick_hz = 0

    @message(per_second=1000)
    def say(self, player, words: str = text(200)):
        self.send("said", words)
"""

TIMES = 20
"""So many requests reach both workers: all but one in half a million runs."""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with ObjectServer(tmp_path_factory.mktemp("talk"), RULES, WORKERS=2, SOCKETIO="on") as live:
        yield live


def ask(server, method: str, path: str, body: bytes = b"", kind: str = "text/plain"):
    data = (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    status, _, answer = request(server.port, data)
    return status, answer


def post(server, path: str, *messages: bytes):
    return ask(server, "POST", path, batch(messages), "application/octet-stream")


@pytest.fixture
def rooms(server):
    """A room on each worker, and somebody in each."""
    found: dict[str, object] = {}
    for _ in range(12):
        bob = server.new_room("Bob")
        found.setdefault(bob.id, bob)
        if len(found) == 4:
            break
    yield found
    for bob in found.values():
        bob.leave()


def test_a_stream_is_one_whatever_worker_its_requests_reach(server, rooms):
    for room in rooms:
        hello = pack([1, 1, 0, "Ada", None, {}])
        status, body = post(server, f"/stream?room={room}", hello)
        assert status == 201
        path = f"/stream/{json.loads(body)['stream']}"
        after, heard = 0, []
        for number in range(TIMES):
            call = pack([10, "say", [str(number)], None])
            assert post(server, f"{path}?n={number + 2}", call)[0] == 204
        while len(heard) < TIMES:
            status, body = ask(server, "GET", f"{path}/poll?after={after}&wait=3")
            assert status == 200
            after += len(records(body))
            heard += [m[2][0] for m in map(unpack, records(body)) if m[0] == 27]
        assert heard == [str(number) for number in range(TIMES)]
        assert ask(server, "DELETE", path)[0] == 204


def test_so_is_a_socketio_client_that_polls(server, rooms):
    for room in rooms:
        path = "/socket.io/?EIO=4&transport=polling"
        status, body = ask(server, "GET", path)
        path += f"&sid={json.loads(body[1:])['sid']}"
        assert ask(server, "POST", path, b"40" + json.dumps({"room": room}).encode())[0] == 200
        heard = b""
        while b'42["state"' not in heard:
            heard += ask(server, "GET", path)[1]
        for number in range(TIMES):
            assert ask(server, "POST", path, b'42["say","%d"]' % number)[0] == 200
        while heard.count(b'["said"') < TIMES:
            status, body = ask(server, "GET", path)
            assert status == 200
            heard += body
        assert ask(server, "POST", path, b"41")[0] == 200


def test_a_stream_of_no_worker_is_not_there(server):
    for name in ("7.nobody", "0.nobody", "1.nobody", "x.y", "."):
        assert ask(server, "GET", f"/stream/{name}/poll")[0] == 404
