"""A full arena under fire: kills, reloads, stalls, slow readers and hostile clients.

Players keep their sockets through all of it, so what is measured is for how long each saw
nothing, and who had to reconnect after all.

Bots of this process play against a server of its own. At seeded random times its worker
is killed, told to reload, or halted, while other clients misbehave all the time. In the end
the journal is repeated tick by tick, and everything that a player was shown before and
after each restart is looked up in it.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import struct
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import gevent
import numpy as np
from gevent import socket
from gevent.event import Event
from gevent.pool import Pool
from websockets.uri import parse_uri

from clients.bots.bot import Bot
from clients.bots.brain import BUTTON_FIRE, BUTTON_THRUST
from clients.bots.session import Session
from clients.bots.tally import Tally
from clients.bots.wire import (
    SNAPSHOT,
    SUBPROTOCOL,
    KnownWorld,
    encode_hello,
    encode_input,
    encode_ping,
)
from tickstorm.records import journal

from .arena import GAME
from .crowd import uwsgi
from .server_process import BenchError, ServerProcess, free_port, machine, versions

JOIN_S = 20.0  # for everybody to play, at the start
CALM_S = 2.0  # before the first restart
RESTART_EVERY_S = 7.5
RETURN_S = 15.0  # for everybody to be back, at the end
STALL_S = (0.3, 1.5)
MOST_HOSTILES = 32  # at once
KEPT = 4  # snapshots kept around each pause
PAUSE_S = 0.12  # without a snapshot is a pause
RELOAD_S = 3.0  # from SIGHUP until the worker stands still, at most

RECONNECTS_SHARE = 0.01
FLAT_SHARE, FLAT_MB = 1.2, 15.0  # memory may grow by so much; caches fill in the first seconds


@dataclass(frozen=True)
class Shown:
    """What a player was shown of the own ship."""

    tick: int
    slot: int
    score: int
    x: float
    y: float


class OwnShip(KnownWorld):
    """Reads of a snapshot only what is private to the player."""

    def apply(self, head: bytes, body: bytes) -> dict:
        fields = self._read_head(head)
        self.tick = fields["tick"]
        return fields


class Pilot(Session):
    """A session that flies about and fires, looking at nothing: hundreds fit one process."""

    def _take_welcome(self, welcome: dict) -> None:
        super()._take_welcome(welcome)
        self.world = OwnShip(welcome["declaration"])
        self._dice = random.Random(self._seed)
        self._course = self._dice.randrange(256)

    def _input(self, view_tick: int) -> bytes:
        if self._dice.random() < 0.05:
            self._course = self._dice.randrange(256)
        self._sequence = (self._sequence + 1) & 0xFFFF
        self.tally.inputs += 1
        target = view_tick + self.clock.lead
        buttons = BUTTON_THRUST | (BUTTON_FIRE if self._course & 1 else 0)
        return encode_input(
            target, self.world.tick, self._sequence, self._course * 4, self._course, buttons, 0
        )


class Player(Bot):
    """A bot that keeps what it was shown around each pause."""

    session_type = Pilot

    def __init__(self, *args):
        super().__init__(*args)
        self.slot: int | None = None
        self.recent: deque[Shown] = deque(maxlen=KEPT)
        self.pauses: list[tuple[float, float, list[Shown]]] = []  # (from, to, the last before it)
        self.after: list[Shown] = []
        self.drops: list[float] = []  # when its connection ended
        self.strayed = 0  # times that it came back as somebody else
        self._seen_at = 0.0
        self._watching = 0

    def _play(self, stopping: Event) -> None:
        try:
            super()._play(stopping)
        finally:
            self.drops.append(time.monotonic())

    def _welcomed(self, session: Session) -> None:
        super()._welcomed(session)
        slot = session.welcome["slot"]
        self.strayed += self.slot is not None and not (
            session.welcome["resumed"] and slot == self.slot
        )
        self.slot = slot
        receive = session.receive

        def watched(data: bytes, now: float) -> None:
            receive(data, now)
            if data[1] == SNAPSHOT:
                self._saw(session, now)

        session.receive = watched
        if session.own:
            self._saw(session, time.monotonic())

    def _saw(self, session: Session, now: float) -> None:
        own = session.own
        shown = Shown(session.world.tick, self.slot, own["score"], own["x"], own["y"])
        if self._seen_at and now - self._seen_at >= PAUSE_S:
            self.pauses.append((self._seen_at, now, list(self.recent)))
            self._watching = KEPT
        self._seen_at = now
        self.recent.append(shown)
        if self._watching:
            self._watching -= 1
            self.after.append(shown)


class Crowd:
    """All players, each in a greenlet of its own."""

    def __init__(self, url: str, players: int, seed: int):
        self.tally = Tally()
        self.stopping = Event()
        uri = parse_uri(url)
        self.players = [Player(uri, number, seed, self.tally) for number in range(players)]
        self._greenlets = [
            gevent.spawn_later(number * 0.01, player.run, self.stopping)
            for number, player in enumerate(self.players)
        ]

    @property
    def connected(self) -> int:
        return sum(player.connected for player in self.players)

    def wait(self, seconds: float) -> bool:
        """Until all are connected, at most so long."""
        until = time.monotonic() + seconds
        while self.connected < len(self.players) and time.monotonic() < until:
            gevent.sleep(0.05)
        return self.connected == len(self.players)

    def pauses(self, at: float, until: float) -> list[tuple[float, list[Shown]]]:
        """(seconds, what was seen last before) of each player's longest pause that began about
        `at`, of those who had one."""
        found = []
        for player in self.players:
            mine = [p for p in player.pauses if at - PAUSE_S <= p[0] <= until and p[1] >= at]
            if mine:
                begin, end, before = max(mine, key=lambda p: p[1] - p[0])
                found.append((end - begin, before))
        return found

    def stop(self) -> None:
        self.stopping.set()
        gevent.joinall(self._greenlets, timeout=5.0)
        gevent.killall(self._greenlets, timeout=1.0)


# ------------------------------------------------------------------ misbehaviour


UPGRADE = (
    "GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n"
).encode()


def frame(payload: bytes, opcode: int = 2) -> bytes:
    """A client's frame, masked with zeros."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + struct.pack(">H", size)
    return bytes([0x80 | opcode]) + length + bytes(4) + payload


class Hostiles:
    """Clients that break every rule, one after the other; and some that read nothing."""

    def __init__(self, port: int, slow: int, seed: int):
        self.count = 0
        self._port = port
        self._random = random.Random(f"hostile {seed}")
        self._pool = Pool(MOST_HOSTILES)
        self._greenlets = [gevent.spawn(self._run)]
        self._greenlets += [gevent.spawn(self._read_nothing, number) for number in range(slow)]

    def stop(self) -> None:
        gevent.killall(self._greenlets, timeout=2.0)
        self._pool.kill(timeout=2.0)

    def _run(self) -> None:
        attacks = [
            self._drop_at_once,
            self._crash_frame,
            self._noise,
            self._ping_flood,
            self._no_msgpack,
            self._half_a_request,
        ]
        while True:
            gevent.sleep(self._random.uniform(0.1, 0.5))
            attack = self._random.choice(attacks)
            for _ in range(self._random.randint(1, 8)):
                self._pool.spawn(self._attack, attack)

    def _attack(self, attack: Callable[[], None]) -> None:
        self.count += 1
        try:
            attack()
        except OSError:
            pass  # it was shown the door, or there is no server just now

    def _connect(self, upgrade: bool = True) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self._port), timeout=2.0)
        if upgrade:
            sock.sendall(UPGRADE)
            sock.recv(4096)
        return sock

    def _drop_at_once(self) -> None:
        self._connect(upgrade=self._random.random() < 0.5).close()

    def _crash_frame(self) -> None:
        """A continuation of nothing, which ends a worker that uses uWSGI's own WebSockets."""
        self._send(b"\x80\x84\x00\x00\x00\x00abcd")

    def _noise(self) -> None:
        self._send(self._random.randbytes(self._random.randint(1, 3000)))

    def _ping_flood(self) -> None:
        hello = frame(encode_hello("Flood", None, 0, bot=True))
        self._send(hello + frame(encode_ping(1.0)) * 2000)

    def _no_msgpack(self) -> None:
        self._send(frame(b"\xdd\xff\xff\xff\xff" + b"\x91" * 60))

    def _half_a_request(self) -> None:
        sock = self._connect(upgrade=False)
        sock.sendall(UPGRADE[: self._random.randrange(len(UPGRADE))])
        gevent.sleep(0.2)
        sock.close()

    def _send(self, data: bytes) -> None:
        sock = self._connect()
        try:
            sock.sendall(data)
            while sock.recv(65536):
                pass
        finally:
            sock.close()

    def _read_nothing(self, number: int) -> None:
        while True:
            try:
                sock = socket.create_connection(("127.0.0.1", self._port), timeout=5.0)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                sock.sendall(UPGRADE)
                sock.recv(4096)
                sock.sendall(frame(encode_hello(f"Slow {number}", None, 0, bot=True)))
                gevent.sleep(15.0)
                sock.close()
            except OSError:
                pass
            gevent.sleep(0.5)


# ------------------------------------------------------------------ the plan


@dataclass(frozen=True)
class Strike:
    """Something that happens to the server, `at` seconds after the start."""

    at: float
    kind: str  # kill, reload or stall


def plan(seconds: float, seed: int) -> list[Strike]:
    """Kills and reloads in turn of luck, about `RESTART_EVERY_S` apart, and stalls between.

    >>> [strike.kind for strike in plan(15, 1)]
    ['kill', 'stall', 'reload']
    """
    dice = random.Random(f"plan {seed}")
    count = max(2, int(seconds / RESTART_EVERY_S))
    kinds = ["kill", "reload"] * count
    kinds = kinds[:count]
    dice.shuffle(kinds)
    share = (seconds - CALM_S) / count
    strikes = []
    for number, kind in enumerate(kinds):
        begin = CALM_S + number * share
        strikes.append(Strike(begin + dice.uniform(0, 0.25) * share, kind))
        if number + 1 < count:
            strikes.append(Strike(begin + dice.uniform(0.75, 0.9) * share, "stall"))
    return strikes


def worker_of(server: ServerProcess) -> int:
    """The process that has the players."""
    health = gevent.get_hub().threadpool.apply(server.health)
    workers = health.get("workers") or {"0": health}
    return int(max(workers.values(), key=lambda worker: worker["players"])["pid"])


def strike(server: ServerProcess, kind: str, dice: random.Random) -> None:
    if kind == "reload":
        os.kill(server.process.pid, signal.SIGHUP)
        return
    worker = worker_of(server)
    if kind == "kill":
        os.kill(worker, signal.SIGKILL)
        return
    os.kill(worker, signal.SIGSTOP)
    try:
        gevent.sleep(dice.uniform(*STALL_S))
    finally:
        os.kill(worker, signal.SIGCONT)


# ------------------------------------------------------------------ the account


@dataclass
class Account:
    """What the journal says about what players were shown."""

    ticks_lost: list[int] = field(default_factory=list)  # of each restart
    compared: int = 0
    scores_lost: int = 0  # snapshots around restarts with another score than the journal's
    states_lost: int = 0  # with another position


def settle(
    folder: Path, players: list[Player], befores: list[list[list[Shown]]], returns: list[int]
) -> Account:
    """Compare. For each restart, in order: `befores`, what each player saw last before it, and
    `returns`, the tick at which the room came back."""
    account = Account()
    wanted: dict[int, list[Shown]] = {}
    for shown, back in zip(befores, returns):
        newest = max((rows[-1].tick for rows in shown if rows), default=back)
        account.ticks_lost.append(max(0, newest - back))
        for one in (one for rows in shown for one in rows):
            if one.tick <= back:  # a tick that was lost has been played anew
                wanted.setdefault(one.tick, []).append(one)
    for player in players:
        for one in player.after:
            wanted.setdefault(one.tick, []).append(one)
    world = None
    for path in journal.segments(folder):
        for record in journal.read(path):
            if isinstance(record, journal.Damage) or record[0] == journal.HEADER:
                continue
            if record[0] == journal.CHECKPOINT:
                if world is None or world.tick != record[1]:
                    world = GAME.load_world(record[3])
                continue
            journal.step(GAME, world, record)
            for one in wanted.pop(world.tick, ()):
                own = world.self_rows(np.array([one.slot]))[0]
                account.compared += 1
                account.scores_lost += int(own["score"]) != one.score
                account.states_lost += (own["x"], own["y"]) != (one.x, one.y)
    account.scores_lost += sum(map(len, wanted.values()))
    return account


def run(players: int, seconds: float, seed: int, quiet: bool = False, workers: int = 1) -> dict:
    """The whole of it; returns the result."""
    port = free_port()
    dice = random.Random(f"chaos {seed}")
    slow = max(2, players // 20)
    with tempfile.TemporaryDirectory(prefix="tickstorm-chaos-") as data:
        env = {
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "BOTS": "0",
            "ROOM_BOTS": "0",
            "SEED": str(seed),
            "WORKERS": str(workers),
            "MAX_PLAYERS": str(players + slow * 4 + 100),
            "MAX_CONNECTIONS_PER_ADDRESS": "0",
            "DATA_DIR": data,
        }
        threads = gevent.get_hub().threadpool
        with ServerProcess([uwsgi(), "uwsgi.ini"], port, env, health=True) as server:
            crowd = Crowd(f"ws://127.0.0.1:{port}/ws", players, seed)
            hostiles = None
            try:
                if not crowd.wait(JOIN_S):
                    raise BenchError(f"only {crowd.connected} of {players} players could join")
                hostiles = Hostiles(port, slow, seed)
                gevent.sleep(CALM_S)
                memory_start = server.usage()[1]
                began = time.monotonic()
                counts = {"kill": 0, "reload": 0, "stall": 0}
                restarts: list[tuple[str, float]] = []
                for one in plan(seconds, seed):
                    gevent.sleep(max(0.0, began + one.at - time.monotonic()))
                    if not quiet:
                        print(f"{one.at:6.1f} s  {one.kind:6}  {crowd.connected} connected",
                              file=sys.stderr, flush=True)  # fmt: skip
                    if one.kind != "stall":
                        restarts.append((one.kind, time.monotonic()))
                    strike(server, one.kind, dice)
                    counts[one.kind] += 1
                gevent.sleep(max(0.0, began + seconds - time.monotonic()))
                all_back = crowd.wait(RETURN_S)
                if not all_back:
                    print(server.output(20), file=sys.stderr)
                gevent.sleep(1.0)  # some snapshots after the last return
                memory_end = server.usage()[1]
                health = threads.apply(server.health)
            finally:
                if hostiles is not None:
                    hostiles.stop()
                back = [player for player in crowd.players if player.connected]
                crowd.stop()
            returns = [int(t) for t in re.findall(r"is back at tick (\d+)", server.output(10**6))]
        folder = journal.folder_of(data, "arena")
        report = journal.verify(GAME, folder)
        found = [crowd.pauses(at, at + RELOAD_S * (kind == "reload")) for kind, at in restarts]
        befores = [[before for _, before in each] for each in found]
        account = settle(folder, crowd.players, befores, returns)

    lost = dict(zip(range(len(restarts)), account.ticks_lost))
    kills = {number for number, (kind, _) in enumerate(restarts) if kind == "kill"}
    ends = sorted(at for player in crowd.players for at in player.drops)

    def pause(kind: str, percentile: float) -> float:
        ms = [s * 1e3 for each, (k, _) in zip(found, restarts) if k == kind for s, _ in each]
        return round(float(np.percentile(ms, percentile)), 1) if ms else 0.0

    def reconnects(kind: str) -> int:
        """Connections that ended in the seconds after such a restart."""
        begins = [at for _, at in restarts] + [began + seconds]
        return sum(
            begins[i] <= at < begins[i + 1]
            for i, (k, _) in enumerate(restarts)
            for at in ends
            if k == kind
        )

    return {
        "players": players,
        "seconds": seconds,
        "seed": seed,
        "kills": counts["kill"],
        "reloads": counts["reload"],
        "stalls": counts["stall"],
        "slow_readers": slow,
        "hostile_connections": hostiles.count,
        "players_resumed": sum(not player.strayed for player in back) if all_back else len(back),
        "workers": workers,
        "reconnects_on_kill": reconnects("kill"),
        "reconnects_on_reload": reconnects("reload"),
        "ticks_lost_max": max(lost.values(), default=0),
        "ticks_lost_on_kill": max((lost.get(i, 0) for i in kills), default=0),
        "ticks_lost_on_reload": max((n for i, n in lost.items() if i not in kills), default=0),
        "pause_ms_kill_p50": pause("kill", 50),
        "pause_ms_kill_p99": pause("kill", 99),
        "pause_ms_reload_p50": pause("reload", 50),
        "pause_ms_reload_p99": pause("reload", 99),
        "snapshots_compared": account.compared,
        "scores_lost": account.scores_lost,
        "states_lost": account.states_lost,
        "gap_ms_p50": crowd.tally.gap_ms(50),
        "gap_ms_p99": crowd.tally.gap_ms(99),
        "rss_mb_start": round(memory_start, 1),
        "rss_mb_end": round(memory_end, 1),
        "journal_verified": report.ok and not report.missing,
        "journal_ticks": report.ticks,
        "journal_error": report.difference or "; ".join(map(str, report.damage)),
        "errors": dict(crowd.tally.errors.most_common(10)),
        "closed": health.get("closed", {}),
        "machine": machine(),
        "versions": versions("pyuwsgi", "uwsgi", "gevent", "numpy", "msgpack", "websockets"),
    }


def failures(result: dict) -> list[str]:
    """The marks that were missed."""
    marks = {
        "not every player resumed": result["players_resumed"] == result["players"],
        "ticks lost on SIGHUP": result["ticks_lost_on_reload"] == 0,
        "more than one tick lost on SIGKILL": result["ticks_lost_on_kill"] <= 1,
        "scores lost": result["scores_lost"] == 0 and result["snapshots_compared"] > 0,
        "states lost": result["states_lost"] == 0,
        "players had to reconnect after SIGKILL": result["reconnects_on_kill"]
        <= RECONNECTS_SHARE * result["players"] * result["kills"],
        "players had to reconnect after SIGHUP": result["reconnects_on_reload"] == 0,
        "memory grew": result["rss_mb_end"] <= result["rss_mb_start"] * FLAT_SHARE + FLAT_MB,
        "the journal does not verify": result["journal_verified"],
    }
    return [text for text, reached in marks.items() if not reached]


def main(players: int, seconds: float, seed: int, path: str | None, workers: int = 1) -> int:
    """Run, print and write the result; exit code 1 if a mark was missed."""
    result = run(players, seconds, seed, workers=workers)
    missed = result["failures"] = failures(result)
    width = max(map(len, result))
    for key, value in result.items():
        if key not in ("machine", "versions"):
            print(f"{key:{width}}  {value}")
    if path:
        Path(path).write_text(json.dumps(result, indent=1) + "\n")
    for text in missed:
        print(f"chaos: {text}", file=sys.stderr)
    return 1 if missed else 0
