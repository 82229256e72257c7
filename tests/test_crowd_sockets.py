"""The inner loop of the crowd's clients: what it notes by itself, and what it hands on."""

from __future__ import annotations

import socket
import time

import numpy as np
import pytest

from bench.crowd_client.dialects import Tickstorm
from bench.crowd_client.frames import HEAD, INPUT
from bench.crowd_client.snapshots import Snapshots
from bench.crowd_client.sockets import Batched, Sockets
from tests.io_uring import WAYS


class Owner:
    """Notes what it is told, and closes what is lost."""

    def __init__(self):
        self.told: list[tuple] = []

    def connected(self, client):
        self.told.append(("connected", client))

    def received(self, client, data):
        self.told.append(("received", client, data))

    def lose(self, client, reason):
        self.told.append(("lose", client, reason))
        self.sockets.close(client)


class Crowd:
    """Two clients of `sockets`, and the server's end of each."""

    def __init__(self, kind: type[Sockets]):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.owner, self.snapshots = Owner(), Snapshots(2)
        address = self.listener.getsockname()
        self.sockets = kind(2, address, Tickstorm(), self.snapshots, self.owner)
        self.owner.sockets = self.sockets
        self.servers = []
        for client in range(2):
            self.sockets.open(client)
            self.servers.append(self.listener.accept()[0])
            assert self.next() == ("connected", client)

    def read(self, ready) -> None:
        """Sweep until `ready()`."""
        until = time.monotonic() + 5.0
        while not ready():
            assert time.monotonic() < until
            self.sockets.read()

    def next(self) -> tuple:
        self.read(lambda: self.owner.told)
        return self.owner.told.pop(0)


@pytest.fixture(params=WAYS)
def crowd(request):
    crowd = Crowd({"epoll": Sockets, "io_uring": Batched}[request.param])
    yield crowd
    crowd.sockets.close_all()
    for one in (*crowd.servers, crowd.listener):
        one.close()


def snapshot(tick: int, x: float, body: int = 300) -> bytes:
    head = np.zeros(1, HEAD)
    head["tick"], head["x"] = tick, x
    payload = b"\x93\x11\xc4" + bytes([HEAD.itemsize]) + head.tobytes() + bytes(body)
    return b"\x82\x7e" + len(payload).to_bytes(2, "big") + payload


def test_a_plain_clients_whole_snapshot_is_noted_and_nobody_told(crowd):
    crowd.sockets.plain[1] = 1
    crowd.snapshots.connection[1] = 7
    data = snapshot(tick=900, x=12.5)
    before = time.perf_counter()
    crowd.servers[1].sendall(data)
    crowd.read(lambda: crowd.snapshots.read_by)
    assert crowd.snapshots.read_by.tolist() == [7]
    assert before < crowd.snapshots.read_at[0] < time.perf_counter()
    assert crowd.snapshots.heads["tick"].tolist() == [0, 900]
    assert crowd.snapshots.heads["x"][1] == 12.5
    assert crowd.owner.told == [] and crowd.sockets.bytes_in == len(data)


def test_everything_else_is_handed_to_the_owner(crowd):
    whole = snapshot(1, 1.0)
    crowd.servers[0].sendall(whole)  # not said to be plain
    assert crowd.next() == ("received", 0, whole)
    crowd.sockets.plain[0] = 1
    for data in (whole[:50], whole + whole, b"\x82\x02\x91\x15", b"\x89\x00"):
        crowd.servers[0].sendall(data)
        assert crowd.next() == ("received", 0, data)
    assert not crowd.snapshots.read_by


def test_the_end_is_handed_on_as_no_bytes_and_a_refusal_as_a_loss(crowd):
    crowd.servers[0].close()
    assert crowd.next() == ("received", 0, b"")
    crowd.sockets.close(0)
    crowd.listener.close()
    crowd.sockets.open(0)
    assert crowd.next() == ("lose", 0, "Connection refused")


def test_only_the_steered_send_their_inputs(crowd):
    crowd.sockets.steered[1] = 1
    rows = np.zeros(2, INPUT)
    rows["seq"] = 5, 6
    crowd.sockets.send_inputs(range(2), rows.tobytes())
    assert crowd.servers[1].recv(100) == rows[1:].tobytes()
    crowd.servers[0].setblocking(False)
    with pytest.raises(BlockingIOError):
        crowd.servers[0].recv(100)
    assert (crowd.sockets.inputs_out, crowd.sockets.inputs_withheld) == (1, 0)


def test_an_input_waits_for_what_is_unsent_and_never_cuts_in(crowd):
    crowd.sockets.steered[0] = 1
    big = bytes(range(256)) * 40_000
    crowd.sockets.send(0, big)
    row = np.zeros(1, INPUT).tobytes()
    got = b""
    crowd.servers[0].settimeout(5.0)
    while len(got) < len(big):
        crowd.sockets.send_inputs(range(1), row)
        got += crowd.servers[0].recv(1 << 20)
    assert got[: len(big)] == big
    assert crowd.sockets.inputs_withheld > 0
    assert got[len(big) :] == row * ((len(got) - len(big)) // len(row))


def test_a_paused_client_is_not_read_until_it_goes_on(crowd):
    crowd.sockets.pause(0)
    crowd.servers[0].sendall(b"late")
    crowd.servers[1].sendall(b"now")
    assert crowd.next() == ("received", 1, b"now")
    crowd.sockets.read()
    assert crowd.owner.told == [] and crowd.sockets.paused == {0}
    crowd.sockets.resume(0)
    assert crowd.next() == ("received", 0, b"late")
