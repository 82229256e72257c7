"""The doors over plain HTTP, byte by byte: what a client may do, and what becomes of who does
something else."""

from __future__ import annotations

import base64
import json
import socket

import pytest

from clients.bots import wire
from tests.live_server import LiveServer
from tests.object_server import wait_for
from tests.raw_client import RawClient, connect, parse, read_all, request
from tickstorm.lobby.web import SECURITY_HEADERS
from tickstorm.transport.stream import batch, records

BINARY = "application/octet-stream"


@pytest.fixture(scope="module")
def server():
    with LiveServer(
        MAX_CONNECTIONS_PER_ADDRESS=32, SLOW_SECONDS=2, HELLO_SECONDS=2, SEND_BUFFER=8192
    ) as live:
        yield live


@pytest.fixture
def honest(server):
    """A player beside, on a WebSocket, who must not notice anything."""
    client = RawClient(server.port)
    client.join("honest")
    yield client
    before = client.head["tick"]
    client.until(lambda: client.head["tick"] >= before + 5)
    assert client.close is None
    client.sock.close()


class Http:
    """A client of one stream; each request is a connection of its own, as through most proxies."""

    def __init__(self, port: int, query: str = "", messages: list[bytes] | None = None):
        self.port = port
        self.said = 1 if messages else 0
        status, self.headers, body = self.ask("POST", f"/stream{query}", batch(messages or []))
        assert status == 201, body
        self.name = json.loads(body)["stream"]
        self.path = f"/stream/{self.name}"

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str):
        return request(self.port, self.bytes_of(method, path, body, **headers))

    def bytes_of(self, method: str, path: str, body: bytes | None = None, **headers: str) -> bytes:
        fields = {"Host": f"127.0.0.1:{self.port}"}
        if body is not None:
            fields |= {"Content-Type": BINARY, "Content-Length": str(len(body))}
        fields |= {name.replace("_", "-"): value for name, value in headers.items()}
        lines = [f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in fields.items()), "", ""]
        return "\r\n".join(lines).encode() + (body or b"")

    def say(self, *messages: bytes, number: int | None = None):
        self.said += number is None
        number = self.said if number is None else number
        return self.ask("POST", f"{self.path}?n={number}", batch(messages))[0]

    def poll(self, after: int = 0, wait: int = 3) -> tuple[list[list], tuple[int, str] | None]:
        """Messages that came after that number; and how it ended, if it has."""
        status, _, body = self.ask("GET", f"{self.path}/poll?after={after}&wait={wait}")
        assert status == 200, body
        if body.startswith(bytes(4)):
            return [], (int.from_bytes(body[4:6], "big"), body[6:].decode())
        return records(body), None

    def all(self, count: int) -> int:
        """Poll until so many messages came; returns how many it were."""
        after = 0
        while after < count:
            after += len(self.poll(after)[0])
        return after

    def events(self, after: int = 0, **headers: str) -> socket.socket:
        sock = connect(self.port)
        sock.sendall(self.bytes_of("GET", f"{self.path}/events?after={after}", **headers))
        return sock

    def closed(self) -> tuple[int, str]:
        after = 0
        while True:
            messages, end = self.poll(after)
            if end is not None:
                return end
            after += len(messages)


def joined(server, name: str = "ada") -> Http:
    return Http(server.port, "", [wire.encode_hello(name, None)])


def heard(sock: socket.socket, count: int) -> list[tuple[int, bytes]]:
    """So many messages of an event stream, with their numbers."""
    data = b""
    while data.count(b"\ndata: ") < count + 1:
        part = sock.recv(65536)
        assert part, data
        data += part
    found = []
    for event in data.partition(b"\r\n\r\n")[2].split(b"\n\n")[:-1]:
        fields = dict(line.split(b": ", 1) for line in event.split(b"\n") if line[:1] != b":")
        if b"id" in fields:
            found.append((int(fields[b"id"]), base64.b64decode(fields[b"data"])))
    return found[:count]


def test_what_was_sent_is_the_same_by_events_and_by_polls(server, honest):
    ada = joined(server)
    messages = heard(ada.events(), 5)
    assert [number for number, _ in messages] == [1, 2, 3, 4, 5]
    assert wire.decode(messages[0][1])[0] == wire.WELCOME
    assert ada.poll(0)[0][:5] == [message for _, message in messages]
    assert ada.poll(3)[0][:2] == [message for _, message in messages[3:]]


def test_a_listener_that_lost_something_gets_it_again(server, honest):
    ada = joined(server)
    first = heard(ada.events(), 4)
    again = heard(ada.events(Last_Event_ID="2"), 3)
    assert again[:2] == first[2:]
    assert again[2][0] == 5


def test_the_newest_listener_wins(server, honest):
    ada = joined(server)
    old = ada.events()
    heard(old, 1)
    new = ada.events()
    heard(new, 1)
    old.settimeout(5)
    read_all(old)  # its stream ends
    heard(new, 5)


def test_a_batch_that_comes_twice_is_taken_once(server, honest):
    ada = joined(server)
    ping = wire.encode_ping(41)
    assert [ada.say(ping, number=2), ada.say(ping, number=2)] == [204, 204]
    assert ada.say(wire.encode_ping(42), number=4) == 409
    assert ada.say(wire.encode_ping(43), number=3) == 204
    after, pongs = 0, []
    while 43 not in pongs:
        messages, _ = ada.poll(after)
        after += len(messages)
        pongs += [m[1] for m in map(wire.decode, messages) if m[0] == wire.PONG]
    assert pongs == [41, 43]


def test_close_codes_are_those_of_a_websocket(server, honest):
    assert Http(server.port, "", [b"\xc1"]).closed()[0] == 4000
    assert Http(server.port, "?room=nowhere", [wire.encode_hello("ada", None)]).closed()[0] == 4009
    assert Http(server.port, "", [wire.encode_hello("a", None), bytes(5000)]).closed()[0] == 1009
    flood = joined(server, "flood")
    for _ in range(8):
        flood.say(*[wire.encode_ping(1)] * 60)
    assert flood.closed()[0] == 4004


def test_silence_after_the_opening_is_ended_like_a_websockets(server, honest):
    assert Http(server.port).closed() == (4003, "no HELLO in time")


def test_who_stops_asking_is_gone_and_may_come_back(server, honest):
    ada = joined(server)
    welcome = wire.decode(ada.poll()[0][0])[1]
    ada.say(wire.encode_input(0, welcome["tick"], 1, 0, 0, 0, 0))  # else its place is not kept
    ada.poll(ada.all(10))
    wait_for(lambda: not server.health()["streams"], 15)
    assert ada.ask("GET", f"{ada.path}/poll")[0] == 404
    back = Http(server.port, "", [wire.encode_hello("ada", welcome["token"])])
    again = wire.decode(back.poll()[0][0])[1]
    assert (again["slot"], again["resumed"]) == (welcome["slot"], True)
    assert back.ask("DELETE", back.path)[0] == 204


def test_who_does_not_read_is_let_go_as_slow(server, honest):
    ada = joined(server)
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", server.port))
        sock.sendall(ada.bytes_of("GET", f"{ada.path}/events"))
        wait_for(lambda: server.health()["closed"].get("SLOW"), 30)


@pytest.mark.parametrize(
    "path, method, headers, body, status",
    [
        ("/stream", "GET", {}, None, 405),
        ("/stream", "POST", {"Content_Type": "text/plain"}, b"", 415),
        ("/stream", "POST", {"Content_Type": "application/x-www-form-urlencoded"}, b"", 415),
        ("/stream", "POST", {"Origin": "https://evil.example"}, b"", 403),
        ("/stream", "OPTIONS", {"Origin": "https://evil.example"}, None, 403),
        ("/stream", "POST", {"Content_Length": "65537"}, b"", 413),
        ("/stream", "POST", {"Content_Length": "-1"}, b"", 411),
        ("/stream", "POST", {}, b"\x00\x00\x00\x09short", 400),
        ("/stream", "POST", {}, b"\x00\x00", 400),
        ("/stream", "POST", {}, bytes(4), 400),
        ("/stream/nobody/events", "GET", {}, None, 404),
        ("/stream/NAME", "POST", {}, b"", 409),
        ("/stream/NAME?n=x", "POST", {}, b"", 400),
        ("/stream/NAME?n=%31%30", "POST", {}, b"", 409),
        ("/stream/NAME?n=99999999999999999999", "POST", {}, b"", 400),
        ("/stream/NAME", "PUT", {}, b"", 405),
        ("/stream/NAME/else", "GET", {}, None, 405),
        ("/stream/NAME/poll/more", "GET", {}, None, 404),
        ("/stream/NAME/poll?after=-1", "GET", {}, None, 400),
        ("/stream/NAME/poll?after=77", "GET", {}, None, 410),
        ("/stream/NAME/events", "GET", {"Last_Event_ID": "\u00b2"}, None, 400),
        ("/stream/NAME/events", "GET", {"Origin": "https://evil.example"}, None, 403),
        ("/stream/NAME", "DELETE", {"Origin": "https://evil.example"}, None, 403),
    ],
)
def test_what_a_request_may_not_be(server, path, method, headers, body, status):
    ada = Http(server.port)
    data = ada.bytes_of(method, path.replace("NAME", ada.name), body, **headers)
    found, told, _ = request(server.port, data)
    assert found == status
    for name, value in SECURITY_HEADERS:
        assert told[name.lower()] == value
    assert ada.ask("DELETE", ada.path)[0] == 204  # it is still there


def test_answers_bit_by_bit_have_the_security_headers_too(server):
    ada = joined(server)
    _, polled, _ = ada.ask("GET", f"{ada.path}/poll")
    sock = ada.events()
    _, streamed, _ = parse(sock.recv(65536))
    for told in (polled, streamed):
        for name, value in SECURITY_HEADERS:
            assert told[name.lower()] == value
        assert told["cache-control"] == "no-store"


def test_an_address_has_no_more_streams_than_websockets(server, honest):
    first = Http(server.port)
    names, status = [first.name], 201
    while status == 201:
        assert len(names) < 32
        status, _, body = first.ask("POST", "/stream", b"")
        names.append(json.loads(body).get("stream"))
    assert status == 429
    for name in names[:-1]:
        assert first.ask("DELETE", f"/stream/{name}")[0] == 204


def test_half_a_request_and_random_bytes_end_alone(server, honest):
    ada = joined(server)
    for data in (
        ada.bytes_of("POST", ada.path + "?n=2", b"", Content_Length="50") + b"half",
        ada.bytes_of("GET", ada.path + "/events") + bytes(range(256)) * 40,
        b"POST " + ada.path.encode() + b"?n=2 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ):
        sock = connect(server.port)
        sock.sendall(data)
        sock.close()
    assert ada.say(wire.encode_ping(7), number=2) == 204


def test_pages_hear_the_chat_of_a_crowd(server, honest):
    with connect(server.port) as page:
        page.sendall(b"GET /rooms/arena/events HTTP/1.1\r\nHost: x\r\n\r\n")
        data = page.recv(65536)
        assert data.startswith(b"HTTP/1.1 200")
        honest.say(wire.encode_chat("hello, pages"))
        while b"hello, pages" not in data:
            part = page.recv(65536)
            assert part, data
            data += part
    assert b'data: {"name":"chat","args":["honest","hello, pages"]}' in data
