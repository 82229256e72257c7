"""What each door costs the server: ``python -m bench.doors`` prints the table of docs/doors.md.

One room in which one player moves at 20 Hz, so that each tick has a patch; and LISTENERS clients
that come by a door, each with requests of its own. The server's CPU time with them, less that with
the mover alone, by the messages that went through. Raw clients, so bytes are the least that a
client can send; browsers send some 400 more with each request.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path

import gevent
from gevent import socket

from tickstorm.client.state import pack
from tickstorm.transport.stream import batch

LISTENERS, SECONDS, CALLS_HZ = 20, 6.0, 10
RULES = """
from tickstorm import *

class Walker(Player):
    x: int = synced(0)

class Walks(Room):
    player, capacity = Walker, 64

    def step(self, dt):
        for player in self.players[:1]:
            player.x = (player.x + 1) % 1000

    @message(per_second=1000)
    def note(self, player, words: str = text(40)):
        pass
"""
HELLO = pack([1, 1, 0, "listener", None, {}])
CALL = pack([10, "note", ["twenty characters ok"], None])


class Client:
    """Counts bytes of the wire and messages, both ways."""

    def __init__(self, port: int):
        self.port = port
        self.down = self.up = self.heard = 0
        self.said = 0

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port))

    def ask(self, method: str, path: str, body: bytes = b"", kind: str = "") -> bytes:
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n"
        if method == "POST":
            head += f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        data = head.encode() + b"\r\n" + body
        with self.connect() as sock:
            sock.sendall(data)
            answer = b""
            while part := sock.recv(65536):
                answer += part
        self.up += len(data)
        self.down += len(answer)
        return answer.partition(b"\r\n\r\n")[2]


class WebSocket(Client):
    name = "WebSocket"

    def run(self) -> None:
        self.sock = self.connect()
        self.sock.sendall(
            f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nConnection: Upgrade\r\n"
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            "Sec-WebSocket-Protocol: tickstorm.1\r\n\r\n".encode()
        )
        self.sock.recv(4096)
        self.frame(HELLO)
        while part := self.sock.recv(65536):
            self.down += len(part)
            self.heard += 1  # a patch is a read, or nearly so

    def frame(self, message: bytes) -> None:
        data = bytes([0x82, 0x80 | len(message), 0, 0, 0, 0]) + message
        self.up += len(data)
        self.sock.sendall(data)

    def say(self) -> None:
        self.frame(CALL)


class Stream(Client):
    def open(self) -> None:
        body = self.ask("POST", "/stream", batch([HELLO]), "application/octet-stream")
        self.path = f"/stream/{json.loads(body)['stream']}"
        self.number = 1

    def say(self) -> None:
        self.number += 1
        path = f"{self.path}?n={self.number}"
        self.ask("POST", path, batch([CALL]), "application/octet-stream")


class Events(Stream):
    name = "events and POST"

    def run(self) -> None:
        self.open()
        sock = self.connect()
        sock.sendall(f"GET {self.path}/events HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        while part := sock.recv(65536):
            self.down += len(part)
            self.heard += part.count(b"\ndata:")


class Polling(Stream):
    name = "polling and POST"

    def run(self) -> None:
        self.open()
        after = 0
        while True:
            body = self.ask("GET", f"{self.path}/poll?after={after}")
            while body:
                size = int.from_bytes(body[:4], "big")
                body = body[4 + size :]
                after += 1
                self.heard += 1


class SocketIo(Client):
    name = "Socket.IO, polling"

    def run(self) -> None:
        path = "/socket.io/?EIO=4&transport=polling"
        self.path = f"{path}&sid={json.loads(self.ask('GET', path)[1:])['sid']}"
        self.ask("POST", self.path, b'40{"name":"listener"}', "text/plain")
        while True:
            body = self.ask("GET", self.path)
            if body == b"2":
                self.ask("POST", self.path, b"3", "text/plain")
            self.heard += body.count(b'42["patch"')

    def say(self) -> None:
        self.ask("POST", self.path, b'42["note","twenty characters ok"]', "text/plain")


def cpu(pid: int) -> float:
    """Seconds that all threads of a process have had."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


def measured(worker: int, clients: list[Client], calls: bool) -> tuple[float, list[int]]:
    """The server's CPU time, s, and what went through: messages down, bytes down, bytes up."""

    def talk(client: Client) -> None:
        while time.monotonic() < until:
            client.say()  # type: ignore[attr-defined]
            client.said += 1
            gevent.sleep(1 / CALLS_HZ)

    for client in clients:
        client.down = client.up = client.heard = client.said = 0
    before, until = cpu(worker), time.monotonic() + SECONDS
    if calls:
        gevent.joinall([gevent.spawn(talk, client) for client in clients])
    else:
        gevent.sleep(SECONDS)
    took = cpu(worker) - before
    return took, [sum(getattr(c, key) for c in clients) for key in ("heard", "down", "up", "said")]


def main() -> int:
    sys.path.insert(0, str(Path(__file__).parent.parent))
    from tests.live_server import LiveServer

    print("| door | a patch down | its bytes | a message up | its bytes |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        rules = Path(folder) / "walks.py"
        rules.write_text(RULES)
        for door in (WebSocket, Events, Polling, SocketIo):
            options = {"GAMES": rules, "SOCKETIO": "on", "MESSAGES_PER_SECOND": 1000}
            with LiveServer(**options) as server:
                worker = int(Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
                             .read_text().split()[0])  # fmt: skip
                gevent.spawn(WebSocket(server.port).run)
                gevent.sleep(1)
                alone, _ = measured(worker, [], False)
                clients = [door(server.port) for _ in range(LISTENERS)]
                running = [gevent.spawn(client.run) for client in clients]
                gevent.sleep(1.5)
                heard_s, (heard, down, up, _) = measured(worker, clients, False)
                said_s, (_, all_down, all_up, said) = measured(worker, clients, True)
                print(
                    f"| {door.name} | {1e6 * (heard_s - alone) / heard:.0f} µs "
                    f"| {(down + up) / heard:.0f} "
                    f"| {1e6 * max(0.0, said_s - heard_s) / said:.0f} µs "
                    f"| {max(0, all_down + all_up - down - up) / said:.0f} |",
                    flush=True,
                )
                gevent.killall(running)
    return 0


if __name__ == "__main__":
    sys.exit(main())
