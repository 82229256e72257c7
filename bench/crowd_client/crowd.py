"""The clients of a crowd, from connecting to being lost."""

from __future__ import annotations

import time
from collections import Counter

import numpy as np

from clients.bots import wire

from ..scenarios import SCENARIOS, STALL_EVERY_S, STALL_S
from .dialects import DIALECTS, Tickstorm
from .frames import BINARY, CLOSE, HEAD, PING, PONG, frame, frame_span
from .pilots import Pilots
from .sample import Sample
from .snapshots import Snapshots
from .sockets import open_sockets

COHORTS = 16
"""Sweeps per tick; each is followed by the inputs of one in so many clients."""

JOIN_LIMIT_S = 20.0
"""A player who isn't playing this long after connecting is lost."""

# States of a client.
ABSENT, CONNECTING, OPENING, JOINING, PLAYING = range(5)

# Whose gaps a connection's snapshots count towards.
REGULAR, SLOW, NEWCOMER = range(3)


class Crowd:
    """All clients: columns by client number, and what happens to them outside the inner loop."""

    def __init__(self, config: dict):
        self.count = n = config["players"]
        self.world = config["world"]
        self.interval = 1.0 / config["tick_hz"]
        self.scenario = SCENARIOS[config["scenario"]]
        self.dialect = DIALECTS[config["dialect"]]()
        self.snapshots = Snapshots(n)
        address = ("127.0.0.1", config["port"])
        self.sockets = open_sockets(n, address, self.dialect, self.snapshots, self)
        self.pilots = Pilots(
            n,
            COHORTS,
            self.world,
            self.scenario,
            self.dialect.input_prefix,
            np.random.default_rng(config["seed"]),
        )
        # There is a reference decoder for our own wire only.
        self.sample = Sample(config["sample"] if isinstance(self.dialect, Tickstorm) else 0, n)

        self.state = [ABSENT] * n
        self.since = [0.0] * n  # when the client began to connect
        self.pending: dict[int, bytes] = {}  # the beginning of a frame or of an HTTP response
        self.group_of: list[int] = []  # by connection
        self.slow = set(range(n - round(self.scenario.slow * n), n))
        self.newcomers_from = n  # clients from here on join as newcomers

        self.playing = 0
        self.left = 0
        self.lost: Counter[str] = Counter()
        self.slow_closed: Counter[str] = Counter()
        self.join_ms: list[float] = []

    def sweep(self) -> None:
        """Read every socket that has something, once."""
        self.sockets.read()

    def send_inputs(self, cohort: int) -> None:
        """One input from each playing client of a cohort."""
        self.sockets.send_inputs(*self.pilots.inputs(cohort, self.snapshots.heads))

    # ------------------------------------------------------------ joining and leaving

    def join(self, client: int) -> None:
        """Begin to connect; the rest follows in the sweeps."""
        self.since[client] = time.monotonic()
        self.snapshots.connection[client] = len(self.group_of)
        self.group_of.append(
            SLOW if client in self.slow else NEWCOMER if client >= self.newcomers_from else REGULAR
        )
        self._connect(client)

    def _connect(self, client: int) -> None:
        self.state[client] = CONNECTING
        self.sockets.open(client, slow=client in self.slow)

    def leave(self, client: int) -> None:
        """Leave as the protocol wishes, and be gone."""
        self.sockets.send(client, self.dialect.leave())
        self._forget(client)
        self.left += 1

    def lose(self, client: int, reason: str) -> None:
        """Its connection has ended, or is of no use any more."""
        (self.slow_closed if client in self.slow else self.lost)[reason] += 1
        self._forget(client)

    def _forget(self, client: int) -> None:
        if self.state[client] == PLAYING:
            self.playing -= 1
        self.state[client] = ABSENT
        self.sockets.close(client)
        self.pending.pop(client, None)
        self.sample.forget(client)
        self.snapshots.heads[client] = np.zeros((), HEAD)

    def lose_the_late(self) -> None:
        """Give up those that have been joining for too long."""
        limit = time.monotonic() - JOIN_LIMIT_S
        for client, state in enumerate(self.state):
            if ABSENT < state < PLAYING and self.since[client] < limit:
                self.lose(client, "did not get to play in time")

    def close(self) -> None:
        """Close all sockets, without a word."""
        self.sockets.close_all()

    # ------------------------------------------------------------ what the inner loop hands on

    def connected(self, client: int) -> None:
        """Ask for what the dialect begins with."""
        self.state[client] = OPENING
        self.sockets.send(client, self.dialect.open(client))

    def received(self, client: int, data: bytes) -> None:
        """Openings, several frames, parts of frames, samples; nothing at all is the end."""
        if not data:
            self._ended(client)
            return
        self._read(client, self.pending.pop(client, b"") + data)
        playing = self.sockets.steered[client] = self.state[client] == PLAYING
        self.sockets.plain[client] = (
            playing and client not in self.pending and client not in self.sample.clients
        )

    def _ended(self, client: int) -> None:
        if self.state[client] == OPENING and client in self.pending:
            self._opened(client, self.pending.pop(client), True)
        else:
            self.lose(client, "closed without a close frame")

    def _read(self, client: int, data: bytes) -> None:
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
                self.lose(client, "closed while joining")
            else:
                self.pending[client] = data
            return b""
        answer = self.dialect.opened(client, header, rest)
        if answer is None:
            self._forget(client)
            self._connect(client)
            return b""
        if isinstance(answer, str):
            self.lose(client, answer)
            return b""
        self.state[client] = JOINING
        if answer:
            self.sockets.send(client, answer)
        return rest

    def _frame(self, client: int, opcode: int, payload: bytes) -> None:
        if opcode == BINARY:
            mark = self.dialect.snapshot_byte
            if len(payload) > mark and payload[mark] == self.dialect.snapshot_value:
                self._snapshot(client, payload)
            elif answer := self.dialect.message(payload):
                self.sockets.send(client, answer)
            if client in self.sample.clients:
                self._decode(client, payload)
        elif opcode == PING:
            self.sockets.send(client, frame(PONG, payload))
        elif opcode == CLOSE:
            code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1005
            text = payload[2:].decode(errors="replace")
            self.lose(client, f"closed with {code} {text}".rstrip())
        elif opcode != PONG:
            self.lose(client, f"a frame of opcode {opcode:#x}")

    def _snapshot(self, client: int, payload: bytes) -> None:
        if self.state[client] == JOINING:
            self.state[client] = PLAYING
            self.playing += 1
            self.join_ms.append((time.monotonic() - self.since[client]) * 1e3)
        at = self.dialect.head_at
        self.snapshots.note(client, payload[at : at + HEAD.itemsize] if at else None)

    def _decode(self, client: int, payload: bytes) -> None:
        """Check a sampled client's message against all that it was told before."""
        try:
            self.sample.decode(client, payload)
        except wire.WireError as error:
            self.lose(client, f"wire error: {error}")

    # ------------------------------------------------------------ what a scenario asks for

    def gather(self) -> None:
        """Those nearest to the middle fly there."""
        self.pilots.gather(self.snapshots.heads)

    def stall(self, now: float) -> None:
        """Slow clients read nothing for long stretches, each at its own time."""
        for client in self.slow:
            if self.state[client] == PLAYING:
                stalls = (now + client * 0.37) % STALL_EVERY_S < STALL_S
                if stalls != (client in self.sockets.paused):
                    (self.sockets.pause if stalls else self.sockets.resume)(client)


def _body_complete(header: bytes, body: bytes) -> bool:
    """Whether an HTTP response has all the bytes that its Content-Length announces."""
    for line in header.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return len(body) >= int(line.partition(b":")[2])
    return False
