"""Players of many small rooms in one process: the load of `python -m bench rooms`.

Run as `python -m bench.rooms_client`, the configuration as JSON on standard input; marks and
the result go out as JSON lines. One loop sweeps all sockets sixteen times a tick, through
io_uring where it can be had, and sends the inputs of a sixteenth of the players after each
sweep. It looks at no more of a message than its kind and, on our side, its tick.
"""

from __future__ import annotations

import errno
import gc
import json
import os
import select
import signal
import socket
import sys
import time
from collections import Counter, deque
from collections.abc import Generator
from typing import Any

import msgpack
import numpy as np

from tickstorm.transport.uring import Ring

BINARY, PING, PONG = 0x82, 0x89, 0x8A
COHORTS = 16
BATCH, ROW = 512, 2048
IN_FLIGHT = 24
"""Joins under way at once."""

JOIN_LIMIT_S = 20.0
TURNS = 1 / 16
"""How likely a player is to change direction with an input."""

Steps = Generator[bytes, bytes, bytes]
"""Requests of a client on its way in, each on a connection of its own; the answer's body comes
back. The last one, returned, is the upgrade."""


def frame(opcode: int, payload: bytes) -> bytes:
    mask = os.urandom(4)
    n = len(payload)
    size = bytes([0x80 | n]) if n < 126 else b"\xfe" + n.to_bytes(2, "big")
    masked = bytes(byte ^ mask[i & 3] for i, byte in enumerate(payload))
    return bytes([opcode]) + size + mask + masked


def post(path: str, body: dict[str, Any]) -> bytes:
    data = json.dumps(body).encode()
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(data)}\r\nConnection: close\r\n\r\n"
    ).encode() + data


def upgrade(path: str, subprotocol: str = "") -> bytes:
    extra = f"Sec-WebSocket-Protocol: {subprotocol}\r\n" if subprotocol else ""
    return (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"
        f"Sec-WebSocket-Version: 13\r\n{extra}\r\n"
    ).encode()


class Tickstorm:
    """A room by POST /api/rooms, a ticket by POST /api/join, HELLO with it. Inputs say for which
    tick they are meant, as the SDK's do."""

    patch_at, patch = 1, 26
    state_at, state = 1, 25
    has_tick = True
    input = bytes([0x93, 9, 0xCE, 0, 0, 0, 0, 0x92, 0, 0])
    dx_at, dx_shift = 8, 0

    def __init__(self, game: str):
        self.game = game
        self.tickets: dict[int, str] = {}

    def make(self, players: int) -> Steps:
        body = {"key": os.urandom(16).hex(), "game": self.game, "capacity": players}
        made = json.loads((yield post("/api/rooms", body)))
        return made["room"].encode()

    def enter(self, client: int, room: str) -> Steps:
        place = json.loads((yield post("/api/join", {"room": room})))
        self.tickets[client] = place["ticket"]
        return upgrade(f"/ws?room={room}", "tickstorm.1")

    def opened(self, client: int) -> bytes:
        hello = [1, 1, 0, f"player {client}", None, {"ticket": self.tickets.pop(client)}]
        return frame(BINARY, msgpack.packb(hello))

    def message(self, payload: bytes) -> bytes:
        return b""


class Arena(Tickstorm):
    """The whole arena: snapshots instead of patches, inputs as its layout says."""

    patch_at, patch = 1, 17
    state_at, state = 1, 17

    def __init__(self, game: str):
        from clients.bots import wire

        super().__init__(game)
        self.patch = self.state = wire.SNAPSHOT
        self.input = wire.encode_input(0, 0, 1, aim=0, move=0, buttons=1, view_delay=32)


class Colyseus:
    """Colyseus 0.17 and newer: a seat by HTTP, then a WebSocket to the room."""

    patch_at, patch = 0, 15
    state_at, state = 0, 14
    has_tick = False
    input = bytes([17, 1, 0, 0])
    dx_at, dx_shift = 2, 1

    def __init__(self, game: str):
        self.game = game
        self.seats: dict[int, dict[str, Any]] = {}

    def make(self, players: int) -> Steps:
        seat = json.loads((yield post(f"/matchmake/create/{self.game}", {})))
        self.made = seat
        return seat["roomId"].encode()

    def enter(self, client: int, room: str) -> Steps:
        seat, self.made = getattr(self, "made", None), None
        if seat is None or seat["roomId"] != room:
            seat = json.loads((yield post(f"/matchmake/joinById/{room}", {})))
        return upgrade(f"/{seat['processId']}/{seat['roomId']}?sessionId={seat['sessionId']}")

    def opened(self, client: int) -> bytes:
        return b""

    def message(self, payload: bytes) -> bytes:
        return frame(BINARY, bytes([10])) if payload[0] == 10 else b""


DIALECTS = {"tickstorm": Tickstorm, "arena": Arena, "colyseus": Colyseus}

ABSENT, ASKING, OPENING, ENTERING, PLAYING, LOST = range(6)


class Crowd:
    """All players. `quiet`: they send nothing, and play once the socket is open."""

    def __init__(self, config: dict[str, Any]):
        self.rooms, self.each = config["rooms"], config["players"]
        self.count = n = self.rooms * self.each
        self.quiet = config["quiet"]
        self.address = ("127.0.0.1", config["port"])
        self.dialect = DIALECTS[config["dialect"]](config["game"])
        self.interval = 1.0 / config["hz"]
        self.poll = select.epoll()
        self.state = [ABSENT] * n
        self.socks: list[socket.socket | None] = [None] * n
        self.by_fd: dict[int, int] = {}
        self.steps: list[Any] = [None] * n
        self.out: list[bytes] = [b""] * n
        self.got = [b""] * n
        self.begun_at = [0.0] * n
        self.connecting: set[int] = set()
        self.room_of: list[str] = [""] * self.rooms
        self.lost: Counter[str] = Counter()
        self.join_ms: list[float] = []
        self.playing = self.under_way = 0
        self.bytes_in = 0
        self.fd = np.full(n, -1, np.int32)
        self.plays = np.zeros(n, bool)
        self.tick = np.zeros(n, np.int64)
        self.last_at = np.zeros(n)
        self.counting = False
        self.patches = 0
        self.gaps: list[np.ndarray] = []
        self.buffer = np.zeros((BATCH, ROW), np.uint8)
        self.random = np.random.default_rng(1)
        self.way = self.random.integers(0, 8, n)
        try:
            self.ring: Ring | None = Ring()
        except OSError:
            self.ring = None

    # ------------------------------------------------------------ the way in

    def begin(self, client: int) -> None:
        self.state[client] = ASKING
        self.under_way += 1
        self.begun_at[client] = time.perf_counter()
        self.steps[client] = self._way(client)
        self._ask(client, None)

    def _way(self, client: int) -> Steps:
        room = client // self.each
        if not self.room_of[room]:
            self.room_of[room] = (yield from self.dialect.make(self.each)).decode()
        return (yield from self.dialect.enter(client, self.room_of[room]))

    def _ask(self, client: int, answer: bytes | None) -> None:
        try:
            request = self.steps[client].send(answer)
        except StopIteration as last:
            request, self.state[client] = last.value, OPENING
        except (ValueError, KeyError):
            self.lose(client, f"answered {(answer or b'')[:80]!r}")
            return
        self._connect(client, request)

    def _connect(self, client: int, request: bytes) -> None:
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socks[client], self.out[client], self.got[client] = sock, request, b""
        self.fd[client] = sock.fileno()
        self.by_fd[sock.fileno()] = client
        self.connecting.add(client)
        error = sock.connect_ex(self.address)
        if error not in (0, errno.EINPROGRESS):
            self.lose(client, os.strerror(error))
            return
        self.poll.register(sock.fileno(), select.EPOLLOUT)

    def _hang_up(self, client: int) -> None:
        sock, self.socks[client] = self.socks[client], None
        if sock is not None:
            del self.by_fd[sock.fileno()]
            sock.close()
        self.fd[client] = -1
        self.plays[client] = False
        self.connecting.discard(client)

    def lose(self, client: int, reason: str) -> None:
        self._hang_up(client)
        if self.state[client] == PLAYING:
            self.playing -= 1
        elif self.state[client] != LOST:
            self.under_way -= 1
        self.state[client] = LOST
        self.lost[reason] += 1

    def _arrive(self, client: int) -> None:
        self.state[client] = PLAYING
        self.plays[client] = True
        self.under_way -= 1
        self.playing += 1
        now = time.perf_counter()
        self.last_at[client] = now
        self.join_ms.append((now - self.begun_at[client]) * 1e3)

    def send(self, client: int, data: bytes) -> None:
        sock = self.socks[client]
        if sock is not None and data:
            try:
                if sock.send(data) != len(data):
                    self.lose(client, "a message was cut short")
            except OSError as error:
                self.lose(client, error.strerror or "socket error")

    # ------------------------------------------------------------ what comes

    def sweep(self) -> None:
        ready = []
        for fd, _ in self.poll.poll(0, self.count + 1):
            client = self.by_fd.get(fd, -1)
            if client in self.connecting:
                self.connecting.discard(client)
                self.poll.modify(fd, select.EPOLLIN)
                self.send(client, self.out[client])
            elif client >= 0:
                ready.append(client)
        for begin in range(0, len(ready), BATCH):
            self._read(np.array(ready[begin : begin + BATCH], np.intp))

    def _receive(self, clients: np.ndarray, rows: np.ndarray) -> np.ndarray:
        if self.ring is not None:
            return self.ring.receive(self.fd[clients], rows)
        got = np.zeros(len(clients), np.int64)
        for i, client in enumerate(clients.tolist()):
            try:
                got[i] = self.socks[client].recv_into(rows[i])  # type: ignore[union-attr]
            except BlockingIOError:
                got[i] = -errno.EAGAIN
            except OSError as error:
                got[i] = -(error.errno or errno.EIO)
        return got

    def _read(self, clients: np.ndarray) -> None:
        rows, n, d = self.buffer[: len(clients)], np.arange(len(clients)), self.dialect
        got = self._receive(clients, rows)
        now = time.perf_counter()
        self.bytes_in += int(got[got > 0].sum())
        short = rows[:, 1].astype(np.int64)
        start = np.where(short < 126, 2, 4)
        long = rows[:, 2].astype(np.int64) << 8 | rows[:, 3]
        end = start + np.where(short < 126, short, long)
        whole = (end == got) & (rows[:, 0] == BINARY) & self.plays[clients]
        whole &= rows[n, start + d.patch_at] == d.patch
        chosen = clients[whole]
        self._note(chosen, now)
        if d.has_tick and len(chosen):
            at, some = start[whole] + 2, rows[whole]
            i = np.arange(len(some))
            first = some[i, at].astype(np.int64)
            two = some[i, at + 1].astype(np.int64) << 8 | some[i, at + 2]
            self.tick[chosen] = np.where(
                first < 0x80, first, np.where(first == 0xCC, some[i, at + 1], two)
            )
        rest = np.flatnonzero(~whole & (got != -errno.EAGAIN)).tolist()
        data = [(int(clients[i]), int(got[i]), rows[i, : max(got[i], 0)].tobytes()) for i in rest]
        for client, size, taken in data:
            if self.socks[client] is None:
                continue
            if size < 0:
                self.lose(client, os.strerror(-size))
            else:
                self._other(client, taken, now)

    def _note(self, clients: np.ndarray, now: float) -> None:
        """A patch for each of them."""
        if self.counting:
            self.patches += len(clients)
            self.gaps.append(now - self.last_at[clients])
        self.last_at[clients] = now

    def _other(self, client: int, data: bytes, now: float) -> None:
        """Anything but one whole patch."""
        state = self.state[client]
        if state == ASKING:
            if data:
                self.got[client] += data
            if not data or _complete(self.got[client]):
                answer = self.got[client]
                self._hang_up(client)
                head, _, body = answer.partition(b"\r\n\r\n")
                if b" 20" not in head[:14]:
                    self.lose(client, head.split(b"\r\n", 1)[0].decode(errors="replace"))
                else:
                    self._ask(client, body)
            return
        if not data:
            self.lose(client, "end of stream")
            return
        data = self.got[client] + data
        if state == OPENING:
            head, found, data = data.partition(b"\r\n\r\n")
            if not found:
                self.got[client] = head
                return
            if b" 101 " not in head[:16]:
                self.lose(client, head.split(b"\r\n", 1)[0].decode(errors="replace"))
                return
            self.state[client] = ENTERING
            self.send(client, self.dialect.opened(client))
        self.got[client] = self._frames(client, data, now)
        self.plays[client] = self.state[client] == PLAYING and not self.got[client]

    def _frames(self, client: int, data: bytes, now: float) -> bytes:
        """Take whole frames; returns what is left."""
        d = self.dialect
        while len(data) >= 2:
            size, start = data[1] & 0x7F, 2
            if size == 126:
                size, start = int.from_bytes(data[2:4], "big"), 4
            elif size == 127:
                size, start = int.from_bytes(data[2:10], "big"), 10
            if len(data) < start + size:
                break
            payload, opcode = data[start : start + size], data[0]
            data = data[start + size :]
            if opcode == PING:
                self.send(client, frame(PONG, payload))
            elif opcode == 0x88:
                self.lose(client, f"closed: {payload[2:].decode(errors='replace')}")
                return b""
            elif opcode == BINARY and len(payload) > max(d.patch_at, d.state_at):
                if self.state[client] == PLAYING and payload[d.patch_at] == d.patch:
                    self._note(np.array([client]), now)
                elif self.state[client] == ENTERING and payload[d.state_at] == d.state:
                    self._arrive(client)
                else:
                    self.send(client, d.message(payload))
        return data

    # ------------------------------------------------------------ what goes

    def send_inputs(self, cohort: int) -> None:
        clients = np.arange(cohort, self.count, COHORTS)
        clients = clients[self.plays[clients]]
        if not len(clients) or self.quiet:
            return
        d = self.dialect
        turning = self.random.random(len(clients)) < TURNS
        self.way[clients[turning]] = self.random.integers(0, 8, int(turning.sum()))
        way = self.way[clients]
        payload = np.tile(np.frombuffer(d.input, np.uint8), (len(clients), 1))
        if isinstance(d, Arena):
            payload[:, -4] = way * 32
        else:
            payload[:, d.dx_at] = (_DX[way] + d.dx_shift).astype(np.int8).view(np.uint8)
            payload[:, d.dx_at + 1] = (_DY[way] + d.dx_shift).astype(np.int8).view(np.uint8)
        if type(d) is Tickstorm:
            target = (self.tick[clients] + 2).astype(">u4")
            payload[:, 3:7] = target.view(np.uint8).reshape(-1, 4)
        elif isinstance(d, Arena):
            payload[:, 8:12] = self.tick[clients].astype("<u4").view(np.uint8).reshape(-1, 4)
        n = payload.shape[1]
        rows = np.empty((len(clients), 6 + n), np.uint8)
        rows[:, 0], rows[:, 1] = BINARY, 0x80 | n
        keys = rows[:, 2:6] = self.random.integers(0, 256, (len(clients), 4), np.uint8)
        rows[:, 6:] = payload ^ keys[:, np.arange(n) % 4]
        if self.ring is None:
            for client, row in zip(clients.tolist(), rows, strict=True):
                self.send(client, row.tobytes())
            return
        address = rows.ctypes.data + np.arange(len(rows), dtype=np.uint64) * (6 + n)
        sent = self.ring.send(self.fd[clients], [(address, np.full(len(rows), 6 + n))])
        for i in np.flatnonzero(sent != 6 + n).tolist():
            if sent[i] != -errno.EAGAIN:
                self.lose(int(clients[i]), "an input could not be sent")


_DX = np.array([1, 1, 0, -1, -1, -1, 0, 1])
_DY = np.array([0, 1, 1, 1, 0, -1, -1, -1])


def _complete(answer: bytes) -> bool:
    head, found, body = answer.partition(b"\r\n\r\n")
    if not found:
        return False
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            return len(body) >= int(line.split(b":")[1])
    return False


class Run:
    """The course of a run: join, settle, measure."""

    def __init__(self, config: dict[str, Any]):
        self.config = config
        self.crowd = Crowd(config)
        self.sweeps = 0
        self.skipped = 0
        self.origin = time.perf_counter()

    def step(self) -> None:
        """A sweep and a cohort's inputs, then sleep until the next is due."""
        crowd = self.crowd
        crowd.sweep()
        crowd.send_inputs(self.sweeps % COHORTS)
        self.sweeps += 1
        due = self.origin + self.sweeps * crowd.interval / COHORTS
        now = time.perf_counter()
        if now < due:
            time.sleep(due - now)
        elif now - due > crowd.interval:
            self.origin += now - due
            self.skipped += 1

    def join(self) -> float:
        """Everyone comes in; returns how long it took, seconds."""
        crowd, each = self.crowd, self.crowd.each
        makers = deque(range(0, crowd.count, each))
        waiting: deque[int] = deque()
        began = heard = time.perf_counter()
        opened = [False] * crowd.rooms
        done = 0
        while makers or waiting or crowd.under_way:
            while crowd.under_way < IN_FLIGHT and (waiting or makers):
                crowd.begin(waiting.popleft() if waiting else makers.popleft())
            crowd.sweep()
            for room, id in enumerate(crowd.room_of):
                if id and not opened[room]:
                    opened[room] = True
                    waiting.extend(range(room * each + 1, (room + 1) * each))
            now = time.perf_counter()
            if now - self.origin > crowd.interval / COHORTS:
                self.origin = now
                crowd.send_inputs(self.sweeps % COHORTS)
                self.sweeps += 1
            if crowd.playing + crowd.lost.total() > done:
                done, heard = crowd.playing + crowd.lost.total(), now
            elif now - heard > JOIN_LIMIT_S:
                break
            time.sleep(0.0005)
        for client, state in enumerate(crowd.state):
            if state not in (PLAYING, LOST):
                crowd.under_way += state == ABSENT
                crowd.lose(client, "not in the room in time")
        return heard - began

    def go(self) -> dict[str, Any]:
        crowd, config = self.crowd, self.config
        _say(mark="start")
        joined_s = self.join()
        self.origin, self.sweeps = time.perf_counter(), 0
        self._for(config["settle_s"])
        gc.collect()
        gc.freeze()
        joins = len(crowd.join_ms)
        crowd.counting, crowd.bytes_in, self.skipped = not crowd.quiet, 0, 0
        began, cpu_s = time.perf_counter(), time.process_time()
        crowd.last_at = np.where(crowd.plays, np.maximum(crowd.last_at, began - 1), began)
        _say(mark="begin")
        self._for(config["seconds"])
        _say(mark="end")
        ended = time.perf_counter()
        crowd.counting = False
        elapsed = ended - began
        if not crowd.quiet:  # silences that still last
            crowd.gaps.append(ended - crowd.last_at[crowd.plays])
        gaps = np.concatenate(crowd.gaps) * 1e3 if crowd.gaps else np.zeros(0)
        levels = np.percentile(gaps, (50, 99, 100)) if len(gaps) else np.zeros(3)
        p50, p99, most = levels.round(1).tolist()
        return {
            "rooms": crowd.rooms,
            "players": crowd.count,
            "playing": crowd.playing,
            "seconds": round(elapsed, 3),
            "patch_hz": round(crowd.patches / elapsed / max(crowd.playing, 1), 3),
            "gap_ms_p50": p50,
            "gap_ms_p99": p99,
            "gap_ms_max": most,
            "bytes_per_player_s": round(crowd.bytes_in / elapsed / max(crowd.playing, 1), 1),
            "joins_per_s": round(joins / max(joined_s, 1e-6), 1),
            "join_ms_p50": round(float(np.median(crowd.join_ms)), 1) if joins else None,
            "lost": crowd.lost.total(),
            "lost_reasons": dict(crowd.lost.most_common(5)),
            "client_cpu_percent": round((time.process_time() - cpu_s) / elapsed * 100, 1),
            "client_sockets": "io_uring" if crowd.ring else "epoll",
            "client_skipped_ticks": self.skipped,
        }

    def _for(self, seconds: float) -> None:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            self.step()


def _say(**fields: Any) -> None:
    print(json.dumps(fields), flush=True)


def main() -> None:
    config = json.load(sys.stdin)
    signal.alarm(int(config["limit_s"]))  # nobody waits for a client that hangs
    _say(result=Run(config).go())


if __name__ == "__main__":
    main()
