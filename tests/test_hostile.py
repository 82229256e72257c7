"""Attacks on the real server, each with 50 honest bots beside it that must hardly notice.

One server and one crowd for all. Whatever an attack does, no bot loses its connection or sees
an error, each goes on getting snapshots, and the worker stays alive and logs no traceback.
`make marks` measures too: the bots' p99 snapshot gap against an undisturbed stretch just before.
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import socket
import subprocess
import sys
import threading
import time

import msgpack
import numpy as np
import pytest

from clients.bots import wire
from tests.live_server import LiveServer
from tests.marks import STRICT, mark
from tests.raw_client import ROOT, RawClient, connect, frame, request, upgrade
from tests.wrong_bytes import BYTES, FRAMES
from tickstorm.lobby import tokens

BOTS = 50
ATTACK_S = 2.0 if STRICT else 1.0
QUIET_S = 2.0
SECRET = "a secret of the tests"


class Crowd:
    """Honest bots in a process of their own, which says how long they waited for snapshots."""

    def __init__(self, port: int):
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.honest_crowd", str(port), str(BOTS)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._line() == ["ready"]

    def _line(self) -> list[str]:
        line = self._process.stdout.readline().split()
        assert line, "the crowd has ended"
        return line

    def gap_ms(self, seconds: float, meanwhile=None) -> float:
        """p99 over all bots of the gaps between snapshots, while `meanwhile()` runs."""
        self._process.stdin.write("begin\n")
        self._process.stdin.flush()
        began = time.monotonic()
        if meanwhile is not None:
            meanwhile()
        time.sleep(max(0.0, began + seconds - time.monotonic()))
        self._process.stdin.write("end\n")
        self._process.stdin.flush()
        connected, reconnects, errors, p99 = self._line()  # or a bot gets no snapshots any more
        assert (int(connected), int(reconnects), int(errors)) == (BOTS, 0, 0)
        return float(p99)

    def stop(self) -> None:
        self._process.stdin.close()
        self._process.wait(10)


class Siege:
    def __init__(self, live: LiveServer, crowd: Crowd):
        self.live, self.crowd, self.port = live, crowd, live.port
        self.worker = live.log().count("spawned uWSGI worker")

    def endures(self, name: str, attack) -> None:
        """`attack(until)` runs in a thread until then (monotonic s)."""

        def run():
            errors = []

            def attacker():
                try:
                    attack(time.monotonic() + ATTACK_S)
                except TimeoutError:
                    pass  # on a busy machine; that honest bots play on is seen below
                except Exception as error:
                    errors.append(error)

            thread = threading.Thread(target=attacker)
            thread.start()
            thread.join(ATTACK_S + 15)
            assert not thread.is_alive() and not errors, errors

        quiet = self.crowd.gap_ms(QUIET_S) if STRICT else 1.0
        before = len(self.live.log())
        besieged = self.crowd.gap_ms(ATTACK_S, run)
        mark(f"p99 gap beside {name}, to the undisturbed one", besieged / quiet, high=1.5)
        assert self.live.health()["status"] == "ok"
        lines = self.live.log()[before:].splitlines()
        wrong = ("Respawned", "Traceback", "Error")
        assert not [line for line in lines if any(word in line for word in wrong)]


@pytest.fixture(scope="module")
def siege():
    with LiveServer(SECRET=SECRET, REQUEST_SECONDS=2, SLOW_SECONDS=2, HELLO_SECONDS=2) as live:
        crowd = Crowd(live.port)
        yield Siege(live, crowd)
        crowd.gap_ms(0.5)
        crowd.stop()


@contextlib.contextmanager
def sockets():
    """A list whose sockets are closed at the end."""
    opened: list[socket.socket] = []
    try:
        yield opened
    finally:
        for sock in opened:
            sock.close()


def attempt(function, *arguments):
    """Attackers don't mind being refused."""
    try:
        return function(*arguments)
    except (OSError, AssertionError):
        return None


def paced(until: float, per_second: float):
    """Count from 0 at so many per second until then."""
    began = time.monotonic()
    i = 0
    while (now := time.monotonic()) < until:
        if i <= (now - began) * per_second:
            yield i
            i += 1
        else:
            time.sleep(0.002)


def dead_end(port: int, data: bytes) -> None:
    """A WebSocket that says something and doesn't wait for an answer."""
    with connect(port, 1) as sock:
        sock.sendall(upgrade(port))
        sock.recv(4096)
        sock.sendall(data)


# ------------------------------------------------------------------ bytes


def test_the_frames_that_crash_other_servers(siege):
    kinds = [data for data, _ in FRAMES.values()]

    def attack(until):
        for i in paced(until, 60):
            attempt(dead_end, siege.port, kinds[i % len(kinds)])

    siege.endures("the frames that crash other servers", attack)


def test_random_bytes_and_fuzzed_messages_by_the_ten_thousand(siege):
    rng = random.Random(1)
    good = [
        wire.encode_hello("fuzz"),
        wire.encode_input(0, 0, 1, 2, 3, 4, 5),
        wire.encode_chat("fuzz"),
        wire.encode_ping(1.0),
        wire.encode_look(1.0, 2.0),
        msgpack.packb([1, 1, 0, "x", None, {"bot": True, "spectate": True}]),
    ]
    sent = 0

    def fuzzed() -> bytes:
        message = bytearray(rng.choice(good))
        for _ in range(rng.randrange(3)):
            message[rng.randrange(len(message))] = rng.randrange(256)
        data = bytearray(frame(bytes(message[: rng.randrange(1, len(message) + 1)])))
        if rng.random() < 0.3:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        return bytes(data)

    batches = [b"".join(fuzzed() for _ in range(200)) for _ in range(50)]
    batches += [rng.randbytes(2000) for _ in range(10)]

    def attack(until):
        nonlocal sent
        i = 0
        while sent < 10_000 or time.monotonic() < until:
            i += 1
            hello = frame(wire.encode_hello("fuzz")) if i % 2 else b""
            attempt(dead_end, siege.port, hello + batches[i % len(batches)])
            sent += 200

    siege.endures("random bytes and fuzzed messages by the ten thousand", attack)


def test_huge_and_deeply_nested_messages(siege):
    bombs = [frame(data) for data in BYTES.values()]
    bombs += [frame(msgpack.packb([1, 1, 0, "x", None, {"a": [0] * 3900}]))]
    bombs += [frame(b"", length=1 << 62, width=8) + bytes(100_000)]

    def attack(until):
        for i in paced(until, 60):
            attempt(dead_end, siege.port, bombs[i % len(bombs)])

    siege.endures("huge and deeply nested messages", attack)


def test_frames_marked_as_compressed(siege):
    data = frame(b"\xca\x49\xc9\xc8\x07\x00" * 50, rsv=4)

    def attack(until):
        for _ in paced(until, 60):
            attempt(dead_end, siege.port, data)

    siege.endures("frames marked as compressed", attack)


# ------------------------------------------------------------------ floods


FLOODS = {
    "inputs": frame(wire.encode_input(0, 0, 1, 0, 0, 0, 0)),
    "pings": frame(b"x" * 125, opcode=9),
    "empty pings": frame(b"", opcode=9),
    "syncs": frame(wire.encode_sync()),
}


@pytest.mark.parametrize("what", FLOODS)
def test_floods_at_line_rate(siege, what):
    message = FLOODS[what]
    block = message * (60_000 // len(message))

    def attack(until):
        with sockets() as flooders:
            while time.monotonic() < until:
                while len(flooders) < 5:
                    client = attempt(RawClient, siege.port)
                    if client is None or client.status != 101:
                        break
                    client.sock.sendall(frame(wire.encode_hello("flood")))
                    client.sock.setblocking(False)
                    flooders.append(client.sock)
                _, writable, _ = select.select([], flooders, [], 0.05)
                for sock in writable:
                    try:
                        sock.send(block)
                    except OSError:
                        flooders.remove(sock)
                        sock.close()
                time.sleep(0.005)  # the attacker shares this machine with the server

    siege.endures(f"floods at line rate, {what}", attack)


# ------------------------------------------------------------------ sockets


def test_slow_headers_on_hundreds_of_sockets(siege):
    def attack(until):
        with sockets() as slow:
            while time.monotonic() < until:
                while len(slow) < 500:  # more than the server has greenlets
                    sock = attempt(connect, siege.port, 1)
                    if sock is None:
                        break
                    sock.sendall(b"GET /ws HTTP/1.1\r\nHost: x\r\nX-Slow: ")
                    slow.append(sock)
                for sock in slow[:]:
                    try:
                        sock.sendall(b"x")
                    except OSError:
                        slow.remove(sock)
                        sock.close()
                time.sleep(0.25)
            # In the midst of it others get in.
            began = time.monotonic()
            with RawClient(siege.port) as honest:
                honest.join("late")
                honest.say(wire.encode_leave())
                honest.close_code()
            mark("joining beside slow requests, s", time.monotonic() - began, high=3)

    siege.endures("slow headers on hundreds of sockets", attack)
    assert siege.live.health()["refused"]["overdue"] > 0


def test_slow_handshakes_that_never_say_hello(siege):
    def attack(until):
        with sockets() as silent:
            for _ in paced(until, 80):
                sock = attempt(connect, siege.port, 1)
                if sock is not None:
                    sock.sendall(upgrade(siege.port))
                    silent.append(sock)

    siege.endures("slow handshakes that never say hello", attack)


def test_a_storm_of_connecting_and_dropping(siege):
    requests = [b"", b"GET", b"GET / HTTP/1.1\r\n\r\n", upgrade(siege.port)]
    requests += [upgrade(siege.port) + frame(wire.encode_hello("storm"))]

    def attack(until):
        for i in paced(until, 150):
            sock = attempt(connect, siege.port, 1)
            if sock is not None:
                if i % 3 == 0:  # with a reset, not with a farewell
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                attempt(sock.sendall, requests[i % len(requests)])
                sock.close()

    siege.endures("a storm of connecting and dropping", attack)


def test_readers_that_never_read(siege):
    def attack(until):
        with sockets() as mute:
            for _ in range(20):
                client = attempt(RawClient, siege.port)
                if client is None or client.status != 101:
                    continue
                client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                client.sock.sendall(frame(wire.encode_hello("mute")))
                mute.append(client.sock)
            sync = frame(wire.encode_sync())
            for i in paced(until, 100):
                sock = mute[i % len(mute)]
                attempt(sock.send, sync)

    siege.endures("readers that never read", attack)


# ------------------------------------------------------------------ lies


def test_stolen_expired_forged_and_replayed_tokens(siege):
    key = tokens.load_key(SECRET, "")
    with RawClient(siege.port) as owner:
        mine = owner.join("owner")["token"]
        claim = tokens.read(mine, key)
        lies = [
            mine[:-4] + "AAAA",
            tokens.sign(claim, b"k" * 32),
            tokens.sign(claim._replace(session="0" * 16), b"k" * 32),
            tokens.sign(claim._replace(expires=time.time() - 1), key),
            tokens.sign(claim._replace(session="f" * 16), key),
            "A" * 2000,
            os.urandom(40).hex(),
        ]

        def attack(until):
            for i in paced(until, 40):
                data = frame(wire.encode_hello("thief", lies[i % len(lies)]))
                attempt(dead_end, siege.port, data)

        siege.endures("stolen expired forged and replayed tokens", attack)
        owner.read(0.5)
        assert owner.close is None, "none of these was the owner's session"
        # A stolen token is a key: the newest socket wins, and the other is told so.
        with RawClient(siege.port) as thief:
            assert thief.join("thief", mine)["resumed"]
            assert owner.close_code() == 4006
            # Replaying one's own old token wins the ship back.
            with RawClient(siege.port) as again:
                assert again.join("owner", mine)["resumed"]
                assert thief.close_code() == 4006
                again.say(wire.encode_leave())
                again.close_code()


def test_foreign_pages_odd_methods_and_paths_that_climb(siege):
    def http(line: str, *headers: str) -> bytes:
        return "\r\n".join([line, "Host: x", *headers, "", ""]).encode()

    wicked = [
        upgrade(siege.port, Origin="https://evil.example"),
        upgrade(siege.port, Origin="null"),
        http("GET /../../etc/passwd HTTP/1.1"),
        http("GET /%2e%2e/%2e%2e/uwsgi.ini HTTP/1.1"),
        http("DELETE / HTTP/1.1"),
        http("TRACE / HTTP/1.1"),
        http("CONNECT 127.0.0.1:22 HTTP/1.1"),
        http("POST /ws HTTP/1.1", "Content-Length: 5", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
        upgrade(siege.port, Content_Length="30") + b"GET /healthz HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 2000 + b"\r\n",
        b"\x00" * 5000,
    ]
    answers = set()

    def attack(until):
        for i in paced(until, 60):
            answer = attempt(request, siege.port, wicked[i % len(wicked)], 1)
            if answer is not None:
                answers.add(answer[0])
                assert b"root:" not in answer[2] and b"tick_hz" not in answer[2]

    siege.endures("foreign pages odd methods and paths that climb", attack)
    assert 101 not in answers and 200 not in answers, answers


def test_memory_is_given_back_after_all_that(siege):
    """The worker's memory must not grow with the number of attackers."""

    def rss_mb() -> float:
        pids = subprocess.run(
            ["ps", "-o", "rss=", "--ppid", str(siege.live.process.pid)],
            capture_output=True,
            text=True,
        )
        return max(map(int, pids.stdout.split())) / 1024

    def storm():
        for _ in range(150):
            attempt(dead_end, siege.port, frame(wire.encode_hello("x")) + frame(bytes(4000)))

    storm()
    before = rss_mb()
    for _ in range(3):
        storm()
    assert rss_mb() - before < 10
    assert np.isfinite(before)
