"""A client that says exactly what a test wants, byte by byte, and hears everything."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from websockets.client import ClientProtocol
from websockets.frames import Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from clients.bots import wire

ROOT = Path(__file__).parent.parent
MASK = b"\x1f\x2e\x3d\x4c"


def frame(payload: bytes, opcode: int = 2, fin: bool = True, masked: bool = True, rsv: int = 0,
          length: int | None = None, width: int | None = None) -> bytes:  # fmt: skip
    """A client's frame. `length` may lie; `width` is the size of its length field (0, 2 or 8)."""
    length = len(payload) if length is None else length
    if width is None:
        width = 0 if length < 126 else 2 if length < 65536 else 8
    head = bytes([fin << 7 | rsv << 4 | opcode])
    mark = 0x80 if masked else 0
    if width:
        head += bytes([mark | (126 if width == 2 else 127)]) + length.to_bytes(width, "big")
    else:
        head += bytes([mark | length])
    if not masked:
        return head + payload
    mask = (MASK * (len(payload) // 4 + 1))[: len(payload)]
    xored = int.from_bytes(payload, "big") ^ int.from_bytes(mask, "big")
    return head + MASK + xored.to_bytes(len(payload), "big")


def upgrade(port: int, path: str = "/ws", **headers: str | None) -> bytes:
    """The request of an upgrade; `headers` (with _ for -) replace or, as None, remove some."""
    fields: dict[str, str | None] = {
        "Host": f"127.0.0.1:{port}",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        "Sec-WebSocket-Protocol": wire.SUBPROTOCOL,
    }
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"GET {path} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in fields.items() if value is not None]
    return "\r\n".join([*lines, "", ""]).encode()


def connect(port: int, seconds: float = 5.0) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), seconds)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def request(port: int, data: bytes, seconds: float = 5.0) -> tuple[int, dict[str, str], bytes]:
    """Send raw bytes; the status, headers (lower case) and body of the answer. Status 0: none."""
    with connect(port, seconds) as sock:
        answer = b""
        try:
            sock.sendall(data)
            while part := sock.recv(65536):
                answer += part
        except OSError:
            pass
    return parse(answer)


def read_all(sock: socket.socket) -> bytes:
    """What comes until the other side ends, or the socket fails or times out."""
    answer = b""
    try:
        while part := sock.recv(65536):
            answer += part
    except OSError:
        pass
    return answer


def parse(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    if not answer.startswith(b"HTTP/1."):
        return 0, {}, answer
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    return int(status.split()[1]), headers, body


class RawClient:
    """A WebSocket whose bytes are the test's own.

    ``messages`` are the decoded messages so far, ``world`` what the snapshots told,
    ``head`` the newest snapshot's head, ``close`` the received close frame or None.
    """

    def __init__(
        self,
        port: int,
        path: str = "/ws",
        tls: ssl.SSLContext | None = None,
        **headers: str | None,
    ):
        self.sock = connect(port)
        if tls is not None:
            self.sock = tls.wrap_socket(self.sock, server_hostname="localhost")
        self.sock.sendall(upgrade(port, path, **headers))
        answer = b""
        while b"\r\n\r\n" not in answer:
            part = self.sock.recv(4096)
            if not part:
                break
            answer += part
        self.status, self.headers, rest = parse(answer)
        self.codec = ClientProtocol(parse_uri("ws://s/"), state=State.OPEN, max_size=None)
        self.messages: list[list] = []
        self.texts: list[bytes] = []
        self.control: list[tuple[Opcode, bytes]] = []
        self.world: wire.KnownWorld | None = None
        self.head: dict = {}
        self.welcome: dict = {}
        self.ended = False
        self.sequence = 0
        self.decodes = True
        self.answers = True  # to pings and to a close
        self.ended = self.status != 101
        if rest and not self.ended:
            self._take(rest)

    # -- out

    def send(self, data: bytes) -> None:
        """Raw bytes; that the server has already gone is no error."""
        try:
            self.sock.sendall(data)
        except OSError:
            self.ended = True

    def say(self, message: bytes) -> None:
        self.send(frame(message))

    def join(self, name: str = "raw", token: str | None = None, **options: bool) -> dict:
        """HELLO; returns WELCOME once the first snapshot has come too."""
        self.say(wire.encode_hello(name, token, **options))
        self.until(lambda: self.head)
        return self.welcome

    def input(self, aim: int = 0, move: int = 0, buttons: int = 0, target: int = 0) -> None:
        self.sequence = (self.sequence + 1) & 0xFFFF
        ack = self.head.get("tick", 0)
        self.say(wire.encode_input(target, ack, self.sequence, aim, move, buttons, 0))

    # -- in

    def until(self, condition, seconds: float = 10.0):
        """Read until the condition is true; returns what it returned."""
        until = time.monotonic() + seconds
        while not (result := condition()):
            left = until - time.monotonic()
            if left <= 0 or self.ended:
                raise AssertionError(f"did not come to pass; closed: {self.close}")
            self.read(left)
        return result

    def read(self, seconds: float = 0.0) -> None:
        """Take in what arrives within `seconds`, at least once."""
        self.sock.settimeout(max(0.001, seconds))
        try:
            data = self.sock.recv(1 << 18)
        except TimeoutError:
            return
        except OSError:
            data = b""
        if data:
            self._take(data)
        else:
            self.ended = True

    def _take(self, data: bytes) -> None:
        self.codec.receive_data(data)
        for event in self.codec.events_received():
            if event.opcode is Opcode.BINARY:
                self._hear(bytes(event.data))
            elif event.opcode is Opcode.TEXT:
                self.texts.append(bytes(event.data))
            else:
                self.control.append((event.opcode, bytes(event.data)))
        assert self.codec.parser_exc is None, self.codec.parser_exc
        if self.answers and (reply := b"".join(self.codec.data_to_send())):
            self.send(reply)

    def _hear(self, data: bytes) -> None:
        if not self.decodes:
            self.messages.append([None, data])
            return
        message = wire.decode(data)
        self.messages.append(message)
        if message[0] == wire.WELCOME:
            self.welcome = wire.check_welcome(message[1])
            self.world = wire.KnownWorld(self.welcome["declaration"])
        elif message[0] == wire.SNAPSHOT:
            self.head = self.world.apply(*message[1:])

    def of(self, kind: int) -> list[list]:
        return [message for message in self.messages if message[0] == kind]

    @property
    def close(self):
        return self.codec.close_rcvd

    def close_code(self, seconds: float = 8.0) -> int | None:
        """The code with which the server closes, after waiting for the end of the stream."""
        until = time.monotonic() + seconds
        while not self.ended and self.close is None and time.monotonic() < until:
            self.read(until - time.monotonic())
        return self.close.code if self.close else None

    def drop(self) -> None:
        self.sock.close()

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.drop()


class Neighbours:
    """Bots that play beside a test and must notice nothing of it."""

    def __init__(self, url: str, players: int, seed: int = 1):
        self.players = players
        self._folder = tempfile.TemporaryDirectory(prefix="tickstorm-bots-")
        self._json = Path(self._folder.name) / "result.json"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "clients.bots", "--url", url, "--players", str(players)]
            + ["--seconds", "0", "--seed", str(seed), "--json", str(self._json)],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def result(self) -> dict:
        """End the bots; what they saw."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            _, errors = self._process.communicate(timeout=15)
            assert self._json.exists(), errors.decode()
            return json.loads(self._json.read_text())
        finally:
            self._process.kill()
            self._process.wait()
            self._folder.cleanup()

    def noticed_nothing(self) -> dict:
        """End the bots; none may have lost its connection or seen an error."""
        result = self.result()
        assert result["connected"] == self.players, result
        assert result["reconnects"] == 0 and result["errors"] == 0, result
        assert result["snapshots"] > 0, result
        return result
