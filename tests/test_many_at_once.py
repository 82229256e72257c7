"""Hundreds at once who cost the server what they can: it goes on for everybody else."""

from __future__ import annotations

import resource
import socket
import struct
from contextlib import ExitStack

import pytest

from clients.bots import wire
from tests.cluster import wait_for
from tests.live_server import LiveServer
from tests.raw_client import RawClient, connect, frame, upgrade

MANY = 300


@pytest.fixture(autouse=True)
def enough_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def live():
    options = {
        "SETTINGS": "size=2048",
        "SEND_BUFFER": 8192,
        "MAX_PLAYERS": 400,
        "MAX_SPECTATORS": 400,
        "MAX_CONNECTIONS_PER_ADDRESS": 0,
    }
    with LiveServer(SLOW_SECONDS=2, GRACE_SECONDS=1, **options) as server:
        yield server


def said_hello(server, name: str, window: int = 1 << 16, **options: bool) -> socket.socket:
    """Upgraded, HELLO said, and nothing more read. `window`: its receive buffer, bytes."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)  # counts before it connects
    sock.connect(("127.0.0.1", server.port))
    sock.sendall(upgrade(server.port))
    assert sock.recv(1024).startswith(b"HTTP/1.1 101")
    sock.sendall(frame(wire.encode_hello(name, **options)))
    return sock


def spectators(server) -> int:
    return server.health()["room_loads"]["arena"]["spectators"]


def memory_mb(server) -> float:
    """What the worker, the largest child of the master, holds."""
    master = server.process.pid
    with open(f"/proc/{master}/task/{master}/children") as file:
        children = file.read().split()
    pages = [int(open(f"/proc/{pid}/statm").read().split()[1]) for pid in children]
    return max(pages) * resource.getpagesize() / (1 << 20)


def test_hundreds_of_readers_with_a_closed_window_are_let_go_and_nobody_else_notices(live):
    before = memory_mb(live)
    with ExitStack() as stack, RawClient(live.port) as honest:
        honest.join("honest")
        for n in range(MANY):
            stack.enter_context(said_hello(live, f"mute {n}", window=2048))
            honest.read()
        wait_for(lambda: live.health()["closed"].get("SLOW", 0) >= MANY, 60)
        tick = honest.head["tick"]
        honest.until(lambda: honest.head["tick"] > tick + 20, 30)
        assert memory_mb(live) - before < MANY * 0.3, "a bounded part for each of them"
        # Their seats are free again.
        wait_for(lambda: live.health()["players"] == 1, 30)
    assert "Traceback" not in live.log()


def test_hundreds_of_spectators_who_turn_their_view_all_the_time_cost_no_player_a_tick(live):
    looks = [wire.encode_look(x * 500.0, y * 500.0) for x in range(16) for y in range(16)]
    with ExitStack() as stack, RawClient(live.port) as honest:
        honest.join("honest")
        crowd = []
        for _ in range(MANY):
            crowd.append(stack.enter_context(said_hello(live, "eve", spectate=True)))
            honest.read()
        wait_for(lambda: spectators(live) == MANY, 60)
        for turn in range(10):
            for n, one in enumerate(crowd):
                one.setblocking(False)
                try:
                    while one.recv(1 << 18):
                        pass
                except BlockingIOError:
                    pass
                one.setblocking(True)
                one.sendall(frame(looks[(n * 7 + turn * 31) % len(looks)]))
            tick = honest.head["tick"]
            honest.until(lambda tick=tick: honest.head["tick"] > tick, 30)
        assert spectators(live) == MANY, "all of them may look"
        assert honest.close is None
    assert "Traceback" not in live.log()


def test_hundreds_who_reset_in_the_midst_of_their_hello_leave_nothing_behind(live):
    half = frame(wire.encode_hello("half"))[:-2]
    for _ in range(MANY):
        with connect(live.port) as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            one.sendall(upgrade(live.port))
            one.recv(4096)
            one.sendall(half)
    wait_for(lambda: live.health()["players"] == 0)
    wait_for(lambda: live.health()["stats"]["connected"] == 0)
    with RawClient(live.port) as late:
        assert late.join("late")["name"] == "late"
