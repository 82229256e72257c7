"""All sockets at once: both ways do the same, on real sockets, whatever these take or give."""

from __future__ import annotations

import errno
import os
import random
import socket
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.arena import INPUTS, LAYOUT
from tests.io_uring import WAYS
from tests.raw_client import frame
from tickstorm.replication.snapshot import Bodies, Snapshots
from tickstorm.transport import sockets as module
from tickstorm.transport.sockets import INPUTS_READ, Ahead, open_sockets
from tickstorm.transport.uring import Ring

INPUT = INPUTS.start + bytes(range(INPUTS.size - 2))
SEED = int(os.environ.get("TICKSTORM_SEED", "20261123"))


class Crowd:
    """Connected pairs of TCP sockets: `ours`, non-blocking and by seat, and `theirs`."""

    def __init__(self, way: str, count: int):
        listener = socket.create_server(("127.0.0.1", 0))
        self.connections, self.theirs = [], []
        for seat in range(count):
            theirs = socket.create_connection(listener.getsockname())
            ours, _ = listener.accept()
            ours.setblocking(False)
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
            self.theirs.append(theirs)
            self.connections.append(
                SimpleConnection(
                    fd=ours.fileno(),
                    sock=ours,
                    seat=seat,
                    plain=True,
                    send=ours.send,
                    recv=ours.recv,
                )
            )
        listener.close()
        self.sockets = open_sockets(way, self.connections, INPUTS)
        assert self.sockets.name == way
        for connection in self.connections:
            self.sockets.add(connection)

    def receive(self) -> tuple[dict[int, bytes], dict[int, bytes], set[int]]:
        """What came in by seat: plain inputs, other bytes, and whose streams ended."""
        received = self.sockets.receive()
        inputs: dict[int, bytes] = {}
        for seat, row in zip(received.seats.tolist(), received.frames, strict=True):
            inputs[seat] = inputs.get(seat, b"") + row.tobytes()
        others = {connection.seat: data for connection, data in received.others}
        return inputs, others, {connection.seat for connection in received.ended}

    def close(self) -> None:
        for sock in self.theirs + [c.sock for c in self.connections]:
            sock.close()


class SimpleConnection(SimpleNamespace):
    """As much of a connection as its sockets know."""

    __hash__ = object.__hash__


@pytest.fixture(params=WAYS)
def crowd(request, monkeypatch):
    monkeypatch.setattr(module, "MANY", 0)  # so that a few clients are many
    crowds = []

    def make(count: int) -> Crowd:
        crowds.append(Crowd(request.param, count))
        return crowds[-1]

    yield make
    for each in crowds:
        each.close()


def snapshots(sizes: list[int], rng: random.Random) -> Snapshots:
    """One for each client; two clients share a body."""
    starts = LAYOUT.starts(len(sizes))
    starts.heads["tick"] = np.arange(len(sizes)) + rng.randrange(1 << 20)
    size = np.array(sizes[::2], np.int64)
    data = np.frombuffer(rng.randbytes(int(size.sum())), np.uint8)
    return Snapshots(starts, Bodies(data, np.cumsum(size) - size, size), np.arange(len(sizes)) // 2)


def test_io_uring_is_used_where_the_kernel_has_it():
    """So that nobody takes the slower way for the faster one without noticing."""
    release = os.uname().release.split("-")[0].split(".")
    old = (int(release[0]), int(release[1])) < (5, 18)
    switch = Path("/proc/sys/kernel/io_uring_disabled")
    forbidden = switch.exists() and switch.read_text().strip() != "0"
    container = any(map(os.path.exists, ("/.dockerenv", "/run/.containerenv")))
    filtered = "\nSeccomp:\t0" not in Path("/proc/self/status").read_text()
    assert "io_uring" in WAYS or old or forbidden or container or filtered


def test_plain_inputs_come_in_by_seat_and_in_order(crowd):
    crowd = crowd(5)
    second = INPUTS.start + bytes(INPUTS.size - 2)
    crowd.theirs[1].sendall(INPUT)
    crowd.theirs[3].sendall(INPUT + second + INPUT)
    assert crowd.receive() == ({1: INPUT, 3: INPUT + second + INPUT}, {}, set())
    assert crowd.receive() == ({}, {}, set()), "nothing comes twice"


def test_what_is_not_plain_goes_to_the_owner_and_takes_no_input_with_it(crowd):
    crowd = crowd(6)
    ping = frame(b"\x92\x04\x01")
    crowd.theirs[0].sendall(ping)
    crowd.theirs[1].sendall(INPUT + ping + INPUT)
    crowd.theirs[2].sendall(INPUT + INPUT[:7])
    crowd.theirs[3].sendall(INPUT)
    crowd.theirs[4].sendall(b"\x82\x90" + INPUT[2:])  # another length, but as many bytes
    crowd.theirs[5].close()
    inputs, others, ended = crowd.receive()
    assert inputs == {1: INPUT + INPUT, 2: INPUT, 3: INPUT}
    assert others == {0: ping, 1: ping, 2: INPUT[:7], 4: b"\x82\x90" + INPUT[2:]}
    assert ended == {5}


def test_of_one_that_is_not_at_a_frame_boundary_nothing_is_taken_for_an_input(crowd):
    crowd = crowd(2)
    for connection in crowd.connections:
        connection.plain = False
    crowd.theirs[0].sendall(INPUT)
    assert crowd.receive() == ({}, {0: INPUT}, set())
    crowd.theirs[0].sendall(INPUT)
    assert crowd.receive() == ({}, {0: INPUT}, set()), "as long as its owner has not been through"
    crowd.connections[0].plain = True
    crowd.theirs[0].sendall(INPUT)
    assert crowd.receive() == ({0: INPUT}, {}, set())


def test_a_tick_reads_no_more_than_its_share_and_the_rest_with_the_next(crowd):
    crowd = crowd(2)
    many = 3 * INPUTS_READ
    crowd.theirs[0].sendall(INPUT * many)
    parts = []
    while sum(map(len, parts)) < many * INPUTS.size:
        parts.append(crowd.receive()[0][0])
    assert all(len(part) <= crowd.sockets.read_size for part in parts) and len(parts) == 3
    assert b"".join(parts) == INPUT * many


def test_who_is_removed_is_read_no_more_and_a_new_one_in_its_place_is(crowd):
    crowd = crowd(3)
    gone = crowd.connections[1]
    assert crowd.sockets.remove(gone) and not crowd.sockets.remove(gone)
    crowd.theirs[1].sendall(INPUT)
    crowd.theirs[2].sendall(INPUT)
    assert crowd.receive() == ({2: INPUT}, {}, set())
    crowd.sockets.add(gone)
    assert crowd.receive() == ({1: INPUT}, {}, set())


def test_each_gets_what_is_for_everyone_and_then_its_own_snapshot(crowd):
    rng = random.Random(SEED)
    crowd = crowd(7)
    for ahead in (b"", b"\x82\x05hello"):
        made = snapshots([1, 0, 300, 0, 70, 0, 2000], rng)
        seats = np.array([6, 0, 1, 5, 4, 3, 2])
        taken = crowd.sockets.send(seats, Ahead.alike(ahead, len(seats)), made)
        assert taken.tolist() == (made.size + len(ahead)).tolist()
        for i, seat in enumerate(seats.tolist()):
            assert crowd.theirs[seat].recv(1 << 16) == ahead + made.one(i)


def test_a_dead_socket_is_an_error_of_its_own_only(crowd):
    crowd = crowd(4)
    crowd.connections[1].sock.shutdown(socket.SHUT_WR)
    made = snapshots([100, 0, 100, 0], random.Random(SEED))
    taken = crowd.sockets.send(np.arange(4), Ahead.alike(b"", 4), made)
    assert taken[1] == -errno.EPIPE
    assert taken[[0, 2, 3]].tolist() == made.size[[0, 2, 3]].tolist()


def test_whatever_full_sockets_take_is_reported_to_the_byte(crowd):
    """Clients that read at their own pace; what was taken is what arrives, nothing else."""
    rng = random.Random(SEED)
    crowd = crowd(40)
    sent = [b""] * 40
    read = [b""] * 40
    refused = partial = 0
    for theirs in crowd.theirs:
        theirs.setblocking(False)
    for _ in range(120):
        seats = np.array(sorted(rng.sample(range(40), 30)))
        ahead = rng.randbytes(rng.choice([0, 0, 50]))
        # Some are larger than all that a socket can hold: of those it takes a part.
        made = snapshots([rng.randrange(rng.choice([5000, 5000, 200_000])) for _ in seats], rng)
        for i, (seat, taken) in enumerate(
            zip(
                seats.tolist(),
                crowd.sockets.send(seats, Ahead.alike(ahead, len(seats)), made).tolist(),
                strict=True,
            )
        ):
            whole = ahead + made.one(i)
            assert -errno.EAGAIN == taken or 0 < taken <= len(whole), f"{taken}, seed {SEED}"
            refused += taken < 0
            partial += 0 < taken < len(whole)
            sent[seat] += whole[: max(taken, 0)]
        for seat in rng.sample(range(40), 25):
            read[seat] += _read(crowd.theirs[seat], rng.randrange(1, 6000))
    assert refused and partial, f"the sockets were never full: seed {SEED}"
    for seat in range(40):
        crowd.theirs[seat].setblocking(True)
        crowd.theirs[seat].settimeout(10)
        while len(read[seat]) < len(sent[seat]):
            read[seat] += crowd.theirs[seat].recv(1 << 16)
        assert read[seat] == sent[seat], f"seat {seat}, seed {SEED}"


def _read(sock: socket.socket, most: int) -> bytes:
    try:
        return sock.recv(most)
    except BlockingIOError:
        return b""


def test_more_calls_than_a_ring_has_places_are_made_in_several_turns():
    if "io_uring" not in WAYS:
        pytest.raises(OSError, Ring, 8)
        return
    ring = Ring(8)
    pairs = [socket.socketpair() for _ in range(50)]
    try:
        fds = np.array([ours.fileno() for ours, _ in pairs], np.int32)
        data = np.arange(50, dtype=np.uint8)
        for turn in range(7):  # the ring's ends wrap at another place each time
            pieces = [(data.ctypes.data + np.arange(50, dtype=np.uint64), np.ones(50, int))]
            assert (ring.send(fds, pieces) == 1).all()
            into = np.zeros((50, 4), np.uint8)
            got = ring.receive(np.array([theirs.fileno() for _, theirs in pairs], np.int32), into)
            assert (got == 1).all() and into[:, 0].tolist() == data.tolist(), turn
    finally:
        ring.close()
        for pair in pairs:
            for sock in pair:
                sock.close()


@pytest.mark.parametrize("way", WAYS)
def test_when_few_become_many_who_is_in_the_midst_of_something_is_not_forgotten(way, monkeypatch):
    monkeypatch.setattr(module, "MANY", 3)
    crowd = Crowd(way, 3)
    try:
        late = crowd.connections[2]
        crowd.sockets.remove(late)
        crowd.theirs[0].sendall(INPUT[:7])
        assert crowd.receive() == ({}, {0: INPUT[:7]}, set())
        crowd.connections[0].plain = False  # as its owner's hand_over says
        crowd.sockets.add(late)
        crowd.theirs[0].sendall(INPUT)
        crowd.theirs[2].sendall(INPUT)
        assert crowd.receive() == ({2: INPUT}, {0: INPUT}, set())
    finally:
        crowd.close()


def test_io_uring_that_is_asked_for_and_cannot_be_had_is_a_clear_error(monkeypatch):
    def forbidden():
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(module, "process_ring", forbidden)
    with pytest.raises(OSError, match="SOCKETS=io_uring can't be had here.*`auto` and `epoll`"):
        open_sockets("io_uring", [], INPUTS)
    assert open_sockets("auto", [], INPUTS).name == "epoll"
