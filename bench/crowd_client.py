"""Thousands of players in one process, as cheap as Python allows.

Run by `bench.crowd` as a process of its own: the configuration comes as JSON on
standard input, progress and the result go out as JSON lines. One epoll loop
sweeps all sockets several times a tick and sends the inputs of one cohort of
clients after each sweep, so that neither side sees bursts. Frames are parsed no
further than their header, except for a sample of clients that decode everything
with the reference decoder and so check every byte they get.
"""

from __future__ import annotations

import base64
import errno
import gc
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from array import array
from collections import Counter

import numpy as np

from clients.bots import wire

from .scenarios import CELL, SCENARIOS, STALL_EVERY_S, STALL_S

COHORTS = 16
"""Sweeps per tick; each is followed by the inputs of one in so many clients."""

BUFFER_BYTES = 1 << 18
JOIN_LIMIT_S = 20.0
"""A player who isn't playing this long after connecting is lost."""

BINARY, CLOSE, PING, PONG = 0x82, 0x88, 0x89, 0x8A

# States of a client.
ABSENT, CONNECTING, OPENING, JOINING, PLAYING = range(5)

# Whose gaps a connection's snapshots count towards.
REGULAR, SLOW, NEWCOMER = range(3)

HEAD = np.dtype(
    [
        ("tick", "<u4"),
        ("ack_seq", "<u2"),
        ("slack", "i1"),
        ("flags", "u1"),
        ("baseline_age", "u1"),
        ("snapshot_ticks", "u1"),
        ("x", "<f4"),
        ("y", "<f4"),
    ]
)
"""The beginning of a snapshot's head: all that this client looks at."""

INPUT = np.dtype(
    [
        ("frame", "V2"),
        ("mask", "u1", 4),
        ("prefix", "V4"),
        ("target", "<u4"),
        ("ack", "<u4"),
        ("seq", "<u2"),
        ("aim", "<u2"),
        ("move", "u1"),
        ("buttons", "u1"),
        ("view_delay", "u1"),
        ("spare", "u1"),
    ]
)
"""An input as it travels: a masked WebSocket frame of 26 bytes."""

_KEY_OF_BYTE = np.arange(20) % 4

VIEW_DELAY = 2 * 16
"""What a client that draws two ticks behind would say, sixteenths of a tick."""


# ---------------------------------------------------------------- frames


def frame(opcode: int, payload: bytes) -> bytes:
    """A masked client frame of at most 125 bytes; the mask is random.

    >>> len(frame(0x82, b"12345"))
    11
    """
    mask = os.urandom(4)
    masked = bytes(byte ^ mask[i & 3] for i, byte in enumerate(payload))
    return bytes([opcode, 0x80 | len(payload)]) + mask + masked


def frame_span(data: bytes | memoryview) -> tuple[int, int] | None:
    """Where the payload of the first frame in `data` begins and ends; None if it isn't all there.

    >>> frame_span(bytes([0x82, 2, 65, 66, 0x82])), frame_span(bytes([0x82, 2, 65]))
    ((2, 4), None)
    >>> frame_span(bytes([0x82, 126, 1, 0]) + bytes(256))
    (4, 260)
    """
    if len(data) < 2:
        return None
    start, length = 2, data[1]
    if length == 126:
        start, length = 4, int.from_bytes(data[2:4], "big")
    elif length == 127:
        start, length = 10, int.from_bytes(data[2:10], "big")
    end = start + length
    return (start, end) if len(data) >= end and len(data) >= start else None


def upgrade_request(path: str, subprotocol: str | None = None) -> bytes:
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: " + base64.b64encode(os.urandom(16)).decode(),
        "Sec-WebSocket-Version: 13",
    ]
    if subprotocol:
        lines.append(f"Sec-WebSocket-Protocol: {subprotocol}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


# ---------------------------------------------------------------- dialects
#
# `snapshot_byte` of a payload has `snapshot_value` if it is a snapshot, and at
# `head_at` its head begins.


class Tickstorm:
    """PROTOCOL.md, as this project's server and all peers that share its wire speak it."""

    input_prefix = bytes([0x92, wire.INPUT, 0xC4, 16])
    snapshot_byte, snapshot_value = 1, wire.SNAPSHOT
    head_at = 4

    def open(self, client: int) -> bytes:
        return upgrade_request("/ws", wire.SUBPROTOCOL)

    def opened(self, client: int, header: bytes, body: bytes) -> bytes | str:
        """What to send after the upgrade; a str says why there will be none."""
        if b" 101 " not in header[:16]:
            return header.split(b"\r\n", 1)[0].decode(errors="replace")
        hello = wire.encode_hello(f"crowd {client}", bot=True)
        return frame(BINARY, hello)

    def message(self, payload: bytes) -> bytes | None:
        return None

    def leave(self) -> bytes:
        return frame(BINARY, wire.encode_leave()) + frame(CLOSE, struct.pack(">H", 1000))


class Colyseus:
    """Colyseus 0.18: a seat by HTTP, then a WebSocket to the room."""

    join_room, room_data_bytes, room_state, room_state_patch = 10, 17, 14, 15
    input_prefix = bytes([room_data_bytes, 1, 0, 0])
    snapshot_byte, snapshot_value = 0, room_state_patch
    head_at = None  # own position is somewhere inside the patch

    def __init__(self):
        self.seats: dict[int, str] = {}

    def open(self, client: int) -> bytes:
        if client in self.seats:
            return upgrade_request(self.seats.pop(client))
        return (
            b"POST /matchmake/joinOrCreate/arena HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            b"Content-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
        )

    def opened(self, client: int, header: bytes, body: bytes) -> bytes | str | None:
        """None: the seat is reserved, connect once more."""
        if b" 101 " in header[:16]:
            return b""
        if b" 200 " not in header[:16]:
            return header.split(b"\r\n", 1)[0].decode(errors="replace")
        seat = json.loads(body)
        self.seats[client] = f"/{seat['processId']}/{seat['roomId']}?sessionId={seat['sessionId']}"
        return None

    def message(self, payload: bytes) -> bytes | None:
        return frame(BINARY, bytes([self.join_room])) if payload[0] == self.join_room else None

    def leave(self) -> bytes:
        return frame(BINARY, bytes([12]))


DIALECTS = {"tickstorm": Tickstorm, "colyseus": Colyseus}


# ---------------------------------------------------------------- the crowd


class Crowd:
    """All clients: columns by client number, and the loop that keeps them going."""

    def __init__(self, config: dict):
        self.address = ("127.0.0.1", config["port"])
        self.count = n = config["players"]
        self.world = config["world"]
        self.interval = 1.0 / config["tick_hz"]
        self.scenario = SCENARIOS[config["scenario"]]
        self.dialect = DIALECTS[config["dialect"]]()
        self.random = np.random.default_rng(config["seed"])

        # A sample decodes everything: those at the ends, so that a pile has some of each.
        wanted = min(config["sample"], n)
        self.sampled = {*range((wanted + 1) // 2), *range(n - wanted // 2, n)}
        self.known: dict[int, wire.KnownWorld] = {}
        self.visible: dict[int, int] = {}
        self.visible_seen: list[tuple[int, int]] = []  # (client, ships known) during measurement

        self.poll = select.epoll()
        self.by_fd: dict[int, int] = {}
        self.sockets: list[socket.socket | None] = [None] * n
        self.sends: list = [None] * n
        self.state = [ABSENT] * n
        self.since = [0.0] * n  # when the client began to connect
        self.pending: dict[int, bytes] = {}  # the beginning of a frame or of an HTTP response
        self.unsent: dict[int, bytes] = {}  # the rest of what the socket did not take
        self.buffer = bytearray(BUFFER_BYTES)

        # One row per client; cohort k is every COHORTS-th from k on.
        self.inputs = np.zeros(n, INPUT)
        self.inputs["frame"] = np.void(bytes([BINARY, 0x80 | 20]))
        self.inputs["prefix"] = np.void(self.dialect.input_prefix)
        self.inputs["view_delay"] = VIEW_DELAY
        self.heads = np.zeros(n, HEAD)
        self.heads_bytes = memoryview(self.heads.view(np.uint8))
        self.heading = self.random.uniform(0, 256, n)
        self.turn = self._new_turns(n)
        self.firing = np.zeros(n, bool)
        self.firing[: round(self.scenario.firing * n)] = True
        self.gathering = np.zeros(n, bool)

        # One entry per snapshot: which connection read it, and when.
        self.read_by, self.read_at = array("i"), array("d")
        self.connection = [0] * n  # the client's present connection
        self.group_of: list[int] = []  # by connection

        self.slow = set(range(n - round(self.scenario.slow * n), n))
        self.stalled: set[int] = set()
        self.newcomers_from = n  # clients from here on join as newcomers

        self.bytes_in = self.inputs_out = self.inputs_withheld = 0
        self.playing = 0
        self.lost: Counter[str] = Counter()
        self.slow_closed: Counter[str] = Counter()
        self.left = 0
        self.join_ms: list[float] = []
        self.decoded = 0
        self.wire_errors: Counter[str] = Counter()
        self.skipped_ticks = 0
        self.measuring = False

    # ------------------------------------------------------------ joining and leaving

    def join(self, client: int) -> None:
        """Begin to connect; the rest follows in the sweeps."""
        self.since[client] = time.monotonic()
        self.connection[client] = len(self.group_of)
        self.group_of.append(
            SLOW if client in self.slow else NEWCOMER if client >= self.newcomers_from else REGULAR
        )
        self._connect(client)

    def _connect(self, client: int) -> None:
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if client in self.slow:  # else its kernel would read on for it for a long while
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.sockets[client], self.sends[client] = sock, sock.send
        self.by_fd[sock.fileno()] = client
        self.state[client] = CONNECTING
        error = sock.connect_ex(self.address)
        if error not in (0, errno.EINPROGRESS):
            self._lose(client, os.strerror(error))
            return
        self.poll.register(sock.fileno(), select.EPOLLOUT)

    def _connected(self, client: int) -> None:
        error = self.sockets[client].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self._lose(client, os.strerror(error))
            return
        self.poll.modify(self.sockets[client].fileno(), select.EPOLLIN)
        self.state[client] = OPENING
        self._send(client, self.dialect.open(client))

    def leave(self, client: int) -> None:
        """Leave as the protocol wishes, and be gone."""
        self._send(client, self.dialect.leave())
        self._forget(client)
        self.left += 1

    def _lose(self, client: int, reason: str) -> None:
        (self.slow_closed if client in self.slow else self.lost)[reason] += 1
        self._forget(client)

    def _forget(self, client: int) -> None:
        sock = self.sockets[client]
        if sock is None:
            return
        if self.state[client] == PLAYING:
            self.playing -= 1
        self.by_fd.pop(sock.fileno(), None)
        self.stalled.discard(client)
        sock.close()
        self.sockets[client] = None
        self.state[client] = ABSENT
        self.pending.pop(client, None)
        self.unsent.pop(client, None)
        self.known.pop(client, None)
        self.heads[client] = np.zeros((), HEAD)

    def lose_the_late(self) -> None:
        """Give up those that have been joining for too long."""
        limit = time.monotonic() - JOIN_LIMIT_S
        for client, state in enumerate(self.state):
            if ABSENT < state < PLAYING and self.since[client] < limit:
                self._lose(client, "did not get to play in time")

    # ------------------------------------------------------------ reading

    def sweep(self) -> None:
        """Read every socket that has something, once."""
        recv_into, view, buffer = socket.socket.recv_into, memoryview(self.buffer), self.buffer
        by_fd, sockets, state, pending = self.by_fd, self.sockets, self.state, self.pending
        sampled, connection, heads = self.sampled, self.connection, self.heads_bytes
        read_by, read_at, clock = self.read_by.append, self.read_at.append, time.perf_counter
        mark, value = self.dialect.snapshot_byte, self.dialect.snapshot_value
        head_at, head_size = self.dialect.head_at, HEAD.itemsize
        bytes_in = 0

        for fd, _event in self.poll.poll(0, self.count + 1):
            client = by_fd.get(fd)
            if client is None:
                continue
            if state[client] == CONNECTING:
                self._connected(client)
                continue
            try:
                got = recv_into(sockets[client], buffer)
            except BlockingIOError:
                continue
            except OSError as error:
                self._lose(client, error.strerror or "socket error")
                continue
            if not got:
                if state[client] != OPENING or client not in pending:
                    self._lose(client, "closed without a close frame")
                else:
                    self._opened(client, pending.pop(client), True)
                continue
            bytes_in += got

            # Nearly always this is exactly one snapshot of a player who is playing.
            length = buffer[1]
            if length < 126:
                start, end = 2, 2 + length
            elif length == 126:
                start, end = 4, 4 + (buffer[2] << 8 | buffer[3])
            else:
                start, end = 0, 0
            if (
                end == got
                and buffer[0] == BINARY
                and buffer[start + mark] == value
                and state[client] == PLAYING
                and client not in pending
                and client not in sampled
            ):
                read_by(connection[client])
                read_at(clock())
                if head_at:
                    at = start + head_at
                    to = client * head_size
                    heads[to : to + head_size] = view[at : at + head_size]
            else:
                self._read(client, bytes(view[:got]))
        self.bytes_in += bytes_in

    def _read(self, client: int, data: bytes) -> None:
        """Anything else: openings, several frames, parts of frames, samples."""
        data = self.pending.pop(client, b"") + data
        if self.state[client] == OPENING:
            data = self._opened(client, data, False)
        while data and self.state[client] in (JOINING, PLAYING):
            span = frame_span(data)
            if span is None:
                self.pending[client] = data
                return
            opcode, payload, data = data[0], data[span[0] : span[1]], data[span[1] :]
            self._frame(client, opcode, payload)

    def _opened(self, client: int, data: bytes, ended: bool) -> bytes:
        """Take the HTTP response off `data`; returns what follows it."""
        header, blank, rest = data.partition(b"\r\n\r\n")
        upgraded = b" 101 " in header[:16]
        if not blank or (not upgraded and not ended and not _body_complete(header, rest)):
            if ended:
                self._lose(client, "closed while joining")
            else:
                self.pending[client] = data
            return b""
        answer = self.dialect.opened(client, header, rest)
        if answer is None:
            self._forget(client)
            self._connect(client)
            return b""
        if isinstance(answer, str):
            self._lose(client, answer)
            return b""
        self.state[client] = JOINING
        if answer:
            self._send(client, answer)
        return rest

    def _frame(self, client: int, opcode: int, payload: bytes) -> None:
        if opcode == BINARY:
            mark = self.dialect.snapshot_byte
            if len(payload) > mark and payload[mark] == self.dialect.snapshot_value:
                self._snapshot(client, payload)
            elif answer := self.dialect.message(payload):
                self._send(client, answer)
            if client in self.sampled:
                self._decode(client, payload)
        elif opcode == PING:
            self._send(client, frame(PONG, payload))
        elif opcode == CLOSE:
            code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1005
            text = payload[2:].decode(errors="replace")
            self._lose(client, f"closed with {code} {text}".rstrip())
        elif opcode != PONG:
            self._lose(client, f"a frame of opcode {opcode:#x}")

    def _snapshot(self, client: int, payload: bytes) -> None:
        if self.state[client] == JOINING:
            self.state[client] = PLAYING
            self.playing += 1
            self.join_ms.append((time.monotonic() - self.since[client]) * 1e3)
        self.read_by.append(self.connection[client])
        self.read_at.append(time.perf_counter())
        if self.dialect.head_at:
            at = self.dialect.head_at
            self.heads[client] = np.frombuffer(payload, HEAD, 1, at)[0]

    def _decode(self, client: int, payload: bytes) -> None:
        """Check a sampled client's message against all that it was told before."""
        if not isinstance(self.dialect, Tickstorm):
            return
        try:
            message = wire.decode(payload)
            if message[0] == wire.WELCOME:
                welcome = wire.check_welcome(message[1])
                self.known[client] = wire.KnownWorld(welcome["declaration"])
            elif message[0] == wire.SNAPSHOT and client in self.known:
                self.known[client].apply(message[1], message[2])
                self.decoded += 1
                if self.measuring:
                    first = next(iter(self.known[client].kinds.values()))
                    self.visible_seen.append((client, len(first)))
        except wire.WireError as error:
            self.wire_errors[str(error)] += 1
            self._lose(client, f"wire error: {error}")

    # ------------------------------------------------------------ sending

    def send_inputs(self, cohort: int) -> None:
        """One input from each playing client of a cohort."""
        if not cohort:
            self._steer()
        chosen = slice(cohort, None, COHORTS)
        rows = self.inputs[chosen]
        rows["seq"] += 1
        rows["ack"] = self.heads["tick"][chosen]
        data = np.frombuffer(masked(rows, self.random), np.uint8).data
        state, sends, unsent = self.state, self.sends, self.unsent
        sent, size = 0, INPUT.itemsize
        at = 0
        for client in range(cohort, self.count, COHORTS):
            if state[client] == PLAYING:
                try:
                    if unsent and client in unsent:
                        self._send(client, b"")
                        self.inputs_withheld += 1
                    elif sends[client](data[at : at + size]) == size:
                        sent += 1
                    else:
                        self._lose(client, "an input was cut short")
                except BlockingIOError:
                    self.inputs_withheld += 1
                except OSError as error:
                    self._lose(client, error.strerror or "socket error")
            at += size
        self.inputs_out += sent

    def _steer(self) -> None:
        """Wander in curves; turn away from the edges; gather in the middle if that is the plan."""
        heading, turn, rows = self.heading, self.turn, self.inputs
        changes = np.flatnonzero(self.random.random(self.count) < 1 / 40)
        turn[changes] = self._new_turns(len(changes))
        heading += turn

        if self.dialect.head_at:
            x, y = self.heads["x"], self.heads["y"]
            middle, margin = self.world / 2, 64.0
            back = (
                (x < margin) | (y < margin) | (x > self.world - margin) | (y > self.world - margin)
            )
            if self.scenario.gather:
                back |= self.gathering & (np.hypot(x - middle, y - middle) > CELL / 3)
            back = np.flatnonzero(back & (self.heads["tick"] > 0))
            inward = np.arctan2(middle - y[back], middle - x[back]) * (128 / np.pi)
            heading[back] = inward + self.random.uniform(-32, 32, len(back))
        rows["move"] = heading.astype(np.int64) & 0xFF
        rows["aim"] = (heading * 4).astype(np.int64) & 0x3FF
        rows["buttons"] = 1 | self.firing * np.uint8(4)

    def _new_turns(self, n: int) -> np.ndarray:
        """float64[n]: how much a ship turns per tick, 256ths of a circle."""
        return self.random.uniform(1.0, 4.0, n) * self.random.choice([-1.0, 1.0], n)

    def _send(self, client: int, data: bytes) -> None:
        """Send after whatever is still unsent."""
        data = self.unsent.pop(client, b"") + data
        try:
            sent = self.sends[client](data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            if self.state[client] != ABSENT:
                self._lose(client, error.strerror or "socket error")
            return
        if sent < len(data):
            self.unsent[client] = data[sent:]

    # ------------------------------------------------------------ what a scenario asks for

    def gather(self) -> None:
        """Choose those nearest to the middle: they fly there."""
        middle = self.world / 2
        distance = np.hypot(self.heads["x"] - middle, self.heads["y"] - middle)
        self.gathering[np.argsort(distance)[: self.scenario.gather]] = True

    def stall(self, now: float) -> None:
        """Slow clients read nothing for long stretches, each at its own time."""
        for client in self.slow:
            if self.state[client] == PLAYING:
                stalls = (now + client * 0.37) % STALL_EVERY_S < STALL_S
                if stalls != (client in self.stalled):
                    fd = self.sockets[client].fileno()
                    if stalls:
                        self.poll.unregister(fd)
                        self.stalled.add(client)
                    else:
                        self.poll.register(fd, select.EPOLLIN)
                        self.stalled.discard(client)

    def close(self) -> None:
        for client in range(self.count):
            self._forget(client)
        self.poll.close()


def _body_complete(header: bytes, body: bytes) -> bool:
    """Whether an HTTP response has all the bytes that its Content-Length announces."""
    for line in header.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return len(body) >= int(line.partition(b":")[2])
    return False


def masked(rows: np.ndarray, rng: np.random.Generator) -> bytes:
    """The frames in `rows`, INPUT[n], each masked with a key of its own.

    >>> rows = np.zeros(1, INPUT)
    >>> rows["seq"] = 7
    >>> data = masked(rows, np.random.default_rng(1))
    >>> len(data), data[18] ^ data[2]
    (26, 7)
    """
    keys = np.frombuffer(rng.bytes(4 * len(rows)), np.uint8).reshape(-1, 4)
    data = rows.copy().view(np.uint8).reshape(len(rows), INPUT.itemsize)
    data[:, 2:6] = keys
    data[:, 6:] ^= keys[:, _KEY_OF_BYTE]
    return data.tobytes()


# ---------------------------------------------------------------- figures


def percentiles(values: np.ndarray, *wanted: float) -> list[float | None]:
    """Rounded percentiles; None for each when there is nothing to rank."""
    if not len(values):
        return [None for _ in wanted]
    return [round(float(value), 2) for value in np.percentile(values, wanted)]


def snapshot_gaps(
    read_by: np.ndarray,
    read_at: np.ndarray,
    begin: float,
    end: float,
    still_open: np.ndarray,
    tick_s: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Milliseconds between consecutive snapshots of each connection.

    Args: `read_by`: int[m], connection that read a snapshot, in the order of reading;
    `read_at`: float64[m], when, seconds; `still_open`: bool[connections], there at the
    end. Counted are gaps that end between `begin` and `end`, and those of connections
    still open that by then have lasted longer than two ticks: silence shows.
    Returns: ``(connection: int[k], gap_ms: float64[k])``.
    """
    before = read_at <= end
    read_by, read_at = read_by[before], read_at[before]
    order = np.argsort(read_by, kind="stable")
    by, at = read_by[order], read_at[order]
    same = by[1:] == by[:-1]
    counted = same & (at[1:] >= begin)
    gap, owner = (at[1:] - at[:-1])[counted], by[1:][counted]

    last = np.append(by[1:] != by[:-1], len(by) > 0) if len(by) else np.zeros(0, bool)
    open_for = end - at[last]
    silent = (open_for > 2 * tick_s) & still_open[by[last]]
    return (
        np.concatenate([owner, by[last][silent]]),
        np.concatenate([gap, open_for[silent]]) * 1e3,
    )


# ---------------------------------------------------------------- the course of a run


def say(**fields) -> None:
    print(json.dumps(fields), flush=True)


class Run:
    """Joins the crowd, lets it settle, measures, and reports."""

    def __init__(self, config: dict):
        self.config = config
        self.crowd = Crowd(config)
        self.scenario = self.crowd.scenario
        self.seconds = config["seconds"]
        self.sweeps = 0
        self.next_report = 0.0
        self.churn_debt = 0.0
        self.churn_next = 0

    def go(self) -> dict:
        crowd, scenario = self.crowd, self.scenario
        first = min(scenario.storm_from or crowd.count, crowd.count)
        crowd.newcomers_from = first
        self._join(range(first), self.config["join_per_s"])
        crowd.lose_the_late()
        if scenario.gather:
            crowd.gather()
        self._during(scenario.settle_s, "settling")

        gc.collect()
        gc.freeze()
        first_tick = self._next_tick("settling")
        counts = (crowd.bytes_in, crowd.inputs_out, crowd.left, len(crowd.join_ms))
        begin, cpu = time.perf_counter(), time.process_time()
        crowd.measuring = True
        say(mark="begin")
        if first < crowd.count:
            self._join(range(first, crowd.count), (crowd.count - first) / scenario.storm_s)
        self._during(begin + self.seconds - time.perf_counter(), "measuring", scenario.churn)
        last_tick = self._next_tick("measuring")
        say(mark="end")
        end, cpu = time.perf_counter(), time.process_time() - cpu
        crowd.measuring = False
        return self._result(begin, end, cpu, counts, first_tick, last_tick)

    def _join(self, clients: range, per_s: float) -> None:
        """Let `clients` join at a rate, and wait until they play or are lost."""
        crowd, started = self.crowd, time.perf_counter()
        waiting = list(reversed(clients))

        def arrivals() -> bool:
            due = min(round((time.perf_counter() - started) * per_s) + 1, len(clients))
            while waiting and len(clients) - len(waiting) < due:
                crowd.join(waiting.pop())
            if waiting:
                return True
            late = time.perf_counter() - started > len(clients) / per_s + JOIN_LIMIT_S
            return not late and any(ABSENT < crowd.state[c] < PLAYING for c in clients)

        while arrivals():
            self._step("joining")

    def _during(self, seconds: float, phase: str, churn: float = 0.0) -> None:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            if churn:
                self._churn(churn)
            self._step(phase)

    def _churn(self, share: float) -> None:
        """Let the players whose turn it is leave, and join anew."""
        crowd = self.crowd
        self.churn_debt += share * crowd.count * crowd.interval / COHORTS
        while self.churn_debt >= 1.0:
            self.churn_debt -= 1.0
            client = self.churn_next = (self.churn_next + 1) % crowd.count
            if crowd.state[client] == PLAYING:
                crowd.leave(client)
                crowd.join(client)

    def _step(self, phase: str) -> None:
        """One sweep and one cohort's inputs, then sleep until the next is due."""
        crowd = self.crowd
        if not self.sweeps:
            self.origin = time.perf_counter()
        crowd.sweep()
        crowd.send_inputs(self.sweeps % COHORTS)
        if self.scenario.slow:
            crowd.stall(time.perf_counter())
        self.sweeps += 1

        spacing = crowd.interval / COHORTS
        now = time.perf_counter()
        due = self.origin + self.sweeps * spacing
        if now < due:
            time.sleep(due - now)
        elif now - due > crowd.interval:  # more than a tick behind: let those inputs go
            self.origin += now - due
            crowd.skipped_ticks += crowd.measuring
        if now >= self.next_report:
            self.next_report = now + 1.0
            crowd.lose_the_late()
            say(phase=phase, playing=crowd.playing, lost=crowd.lost.total())

    def _next_tick(self, phase: str) -> tuple[int, float]:
        """Wait for a tick that nobody has seen yet; returns it and when it came."""
        if not self.crowd.dialect.head_at:
            return 0, time.perf_counter()
        ticks, limit = self.crowd.heads["tick"], time.perf_counter() + 10 * self.crowd.interval
        before = newest = int(ticks.max())
        while newest == before and time.perf_counter() < limit:
            self._step(phase)
            newest = int(ticks.max())
        return newest, time.perf_counter()

    def _result(
        self,
        begin: float,
        end: float,
        cpu_s: float,
        counts: tuple,
        first_tick: tuple[int, float],
        last_tick: tuple[int, float],
    ) -> dict:
        crowd, elapsed = self.crowd, end - begin
        bytes_in, inputs_out, left, joins = counts
        by, at = np.array(crowd.read_by), np.array(crowd.read_at)
        group_of = np.array(crowd.group_of)
        still_open = np.zeros(len(group_of), bool)
        still_open[[c for c, s in zip(crowd.connection, crowd.state) if s == PLAYING]] = True
        owner, gap_ms = snapshot_gaps(by, at, begin, end, still_open, crowd.interval)
        group = group_of[owner]
        regular = gap_ms[group == REGULAR]
        read = by[(at >= begin) & (at <= end)]
        snapshot_hz = 1e3 / regular.mean() if len(regular) else 0.0
        if crowd.dialect.head_at:
            ticks = last_tick[0] - first_tick[0]
            rate_hz = ticks / (last_tick[1] - first_tick[1])
        else:  # a snapshot does not say its tick: take each for one
            ticks, rate_hz = round(snapshot_hz * elapsed), snapshot_hz

        gap = dict(zip(("p50", "p99", "max"), percentiles(regular, 50, 99, 100)))
        result = {
            "players": crowd.count,
            "playing": crowd.playing,
            "seconds": round(elapsed, 3),
            "ticks": ticks,
            "rate_hz": round(rate_hz, 3),
            "snapshot_hz": round(snapshot_hz, 3),
            "snapshots": len(read),
            "snapshot_gap_ms_p50": gap["p50"],
            "snapshot_gap_ms_p99": gap["p99"],
            "snapshot_gap_ms_max": gap["max"],
            "bytes_per_player_s": round(
                (crowd.bytes_in - bytes_in) / elapsed / max(crowd.playing, 1)
            ),
            "inputs_per_s": round((crowd.inputs_out - inputs_out) / elapsed, 1),
            "inputs_withheld": crowd.inputs_withheld,
            "visible_mean": _mean(count for _, count in crowd.visible_seen),
            "snapshots_decoded": crowd.decoded,
            "wire_errors": dict(crowd.wire_errors),
            "lost": crowd.lost.total(),
            "lost_reasons": dict(crowd.lost.most_common(8)),
            "client_cpu_percent": round(cpu_s / elapsed * 100, 1),
            "client_skipped_ticks": crowd.skipped_ticks,
        }
        if self.scenario.gather:
            inside = np.flatnonzero(crowd.gathering)
            result["visible_pile_mean"] = _mean(n for c, n in crowd.visible_seen if c in inside)
            result["players_gathered"] = self._gathered()
        if self.scenario.churn:
            result["left_per_s"] = round((crowd.left - left) / elapsed, 1)
        if self.scenario.churn or self.scenario.storm_from:
            ms = np.array(crowd.join_ms[joins:])
            result["join_ms_p50"], result["join_ms_p99"] = percentiles(ms, 50, 99)
        if self.scenario.storm_from:
            result["existing_players"] = min(self.scenario.storm_from, crowd.count)
            result["existing_gap_ms_p99"], result["existing_gap_ms_max"] = gap["p99"], gap["max"]
            newcomer = percentiles(gap_ms[group == NEWCOMER], 99)
            result["newcomer_gap_ms_p99"] = newcomer[0]
        if self.scenario.slow:
            result["slow_players"] = len(crowd.slow)
            result["slow_gap_ms_p50"] = percentiles(gap_ms[group == SLOW], 50)[0]
            result["slow_closed"] = dict(crowd.slow_closed)
        return result

    def _gathered(self) -> int:
        """How many are in the block of cells around the middle now."""
        heads, middle = self.crowd.heads, int(self.crowd.world / 2 // CELL)
        near = [np.abs(heads[axis] // CELL - middle) <= 1 for axis in ("x", "y")]
        return int((near[0] & near[1]).sum())


def _mean(values) -> float | None:
    values = list(values)
    return round(sum(values) / len(values), 1) if values else None


def main() -> None:
    config = json.load(sys.stdin)
    signal.alarm(int(config["limit_s"]))  # nobody waits for a client that hangs
    run = Run(config)
    try:
        say(result=run.go())
    finally:
        run.crowd.close()


if __name__ == "__main__":
    main()
