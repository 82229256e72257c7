"""``python -m tests.soak --minutes 60``: a server that is never left in peace must stay as it was.

A real server with the arena and games of objects. Around it, all the time: bots that come and go,
rooms that are made and left, chat, replays that are watched, lookers at pages and health, tickets
that nobody uses, and hostile clients. In the first quarter its worker is killed or reloaded again
and again; from then on it lives. What it holds (memory, descriptors, threads, files, and what
`/healthz` counts) is noted every few seconds, and at the end compared: the first part of its calm
life with the last. What must be flat and isn't, fails the run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from clients.bots import wire
from tests.fuzz import corpus
from tests.live_server import ROOT, LiveServer
from tests.lobby_client import api
from tests.raw_client import RawClient, connect, frame, request, upgrade
from tickstorm.client import ConnectError, Disconnected, Refused
from tickstorm.client import connect as join

GAMES = "game,examples/tag/tag.py,examples/chat/chat.py,examples/board/board.py"
SAMPLE_S = 2.0
RESTARTS = 0.25  # share of the time in which the worker is killed and reloaded
SETTLING = 0.15  # share of the time after that, until its calm life counts

EXPECTED = (OSError, AssertionError, ConnectError, Disconnected, Refused, TimeoutError, ValueError)
"""What those around the server may meet while it is full, besieged, or restarts."""


class Sample(NamedTuple):
    """What the server holds at a moment."""

    at: float  # seconds since the start
    worker: int  # its process id
    memory_mb: float
    descriptors: int
    threads: int
    master_mb: float
    master_descriptors: int
    files: int  # in DATA_DIR
    data_mb: float
    rooms: int
    players: int


BOUNDS: dict[str, Callable[[float], float]] = {
    "memory_mb": lambda before: before * 1.1 + 8,
    "descriptors": lambda before: before * 1.1 + 30,
    "threads": lambda before: before + 2,
    "master_mb": lambda before: before + 2,
    "master_descriptors": lambda before: before + 2,
    "files": lambda before: before * 1.1 + 60,
    "data_mb": lambda before: before * 1.1 + 30,
    "rooms": lambda before: before * 1.2 + 12,
    "players": lambda before: before * 1.2 + 30,
}
"""How much of each there may be at the end of the calm life, by what there was at its beginning."""


# ------------------------------------------------------------------ what goes on around it


class Around:
    """Those around the server, each in a thread that does its part again and again."""

    def __init__(self, server: LiveServer, seed: int):
        self.server, self.seed = server, seed
        self.done: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.broken: list[str] = []
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._again, args=(part, pause), name=part.__name__)
            for part, pause in (
                (self.bots_come_and_go, 1.0),
                (self.rooms_are_made_and_left, 0.2),
                (self.people_chat, 0.5),
                (self.replays_are_watched, 2.0),
                (self.pages_are_looked_at, 0.3),
                (self.tickets_are_thrown_away, 1.0),
                (self.bytes_make_no_sense, 0.1),
                (self.requests_never_end, 2.0),
                (self.readers_never_read, 5.0),
            )
        ]

    def __enter__(self) -> Around:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)

    def _again(self, part: Callable[[random.Random], None], pause: float) -> None:
        chance = random.Random(f"{self.seed} {part.__name__}")
        while not self._over.wait(pause * chance.uniform(0.5, 1.5)):
            try:
                part(chance)
                self.done[part.__name__] += 1
            except EXPECTED as error:
                self.refused[f"{part.__name__}: {type(error).__name__}"] += 1
            except Exception as error:  # a mistake of ours, or an answer that nobody foresaw
                self.broken.append(f"{part.__name__}: {error!r}")

    # -- honest ones

    def bots_come_and_go(self, chance: random.Random) -> None:
        command = [sys.executable, "-m", "clients.bots", "--url", self.server.url, "--players",
                   str(chance.randint(5, 25)), "--seconds", str(chance.randint(4, 20)),
                   "--seed", str(chance.randrange(1 << 30))]  # fmt: skip
        subprocess.run(command, cwd=ROOT, capture_output=True, timeout=120)

    def rooms_are_made_and_left(self, chance: random.Random) -> None:
        game = chance.choice(["tag", "chat", "board"])
        with join(self.server.page, game=game, name="Ada", settings={}) as ada:
            if chance.random() < 0.5:
                with join(self.server.page, game=game, name="Bob", room=ada.id) as bob:
                    bob.update(chance.uniform(0.05, 0.5))
            ada.update(chance.uniform(0.05, 0.5))

    def people_chat(self, chance: random.Random) -> None:
        with RawClient(self.server.port) as one:
            one.join("Chatter")
            for _ in range(chance.randint(1, 5)):
                one.say(wire.encode_chat("soaked " * chance.randint(1, 10)))
                one.read(0.3)
            one.say(wire.encode_leave())
            one.close_code(2)

    def replays_are_watched(self, chance: random.Random) -> None:
        with urllib.request.urlopen(f"{self.server.page}replays.json", timeout=5) as answer:
            rows = json.load(answer)["replays"]
        if rows:
            name = chance.choice(rows)["replay"]
            with RawClient(self.server.port, f"/ws?replay={name}") as viewer:
                viewer.decodes = False
                viewer.say(wire.encode_hello("Eve"))
                until = time.monotonic() + chance.uniform(0.5, 4)
                while time.monotonic() < until and not viewer.ended:
                    viewer.read(0.2)

    def pages_are_looked_at(self, chance: random.Random) -> None:
        path = chance.choice(["", "healthz", "metrics", "games.json", "api/rooms", "tickstorm.js",
                              "replays.json", "not/there", "arena/", "tag/"])  # fmt: skip
        with contextlib.suppress(urllib.error.HTTPError):
            urllib.request.urlopen(self.server.page + path, timeout=5).read()

    # -- and the others

    def tickets_are_thrown_away(self, chance: random.Random) -> None:
        for _ in range(chance.randint(1, 10)):
            api(self.server.page, "POST", "/api/join", {"quick": True})
        key = f"soak {chance.randrange(1 << 40)}"
        api(self.server.page, "POST", "/api/rooms", {"key": key, "game": "chat"})

    def bytes_make_no_sense(self, chance: random.Random) -> None:
        message = chance.choice(corpus(chance.choice(["messages", "moves", "states"])))
        with connect(self.server.port, 1) as sock:
            if chance.random() < 0.2:
                sock.sendall(chance.randbytes(chance.randint(1, 3000)))
                return
            sock.sendall(upgrade(self.server.port))
            sock.recv(4096)
            if chance.random() < 0.7:
                sock.sendall(frame(wire.encode_hello("fuzz")))
            sock.sendall(frame(message, opcode=chance.choice([1, 2, 2, 2, 8, 9, 11])))
            sock.settimeout(0.2)
            sock.recv(4096)

    def requests_never_end(self, chance: random.Random) -> None:
        with contextlib.ExitStack() as stack:
            for _ in range(chance.randint(1, 20)):
                sock = stack.enter_context(connect(self.server.port, 1))
                sock.sendall(b"POST /api/join HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{")
            time.sleep(chance.uniform(0.1, 3))
        request(self.server.port, b"GET /../../etc/passwd HTTP/1.1\r\n\r\n", 1)

    def readers_never_read(self, chance: random.Random) -> None:
        with contextlib.ExitStack() as stack:
            for _ in range(chance.randint(1, 10)):
                mute = stack.enter_context(RawClient(self.server.port))
                mute.say(wire.encode_hello("mute"))
            time.sleep(chance.uniform(1, 10))


# ------------------------------------------------------------------ what it holds


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def worker_of(server: LiveServer) -> int:
    """The process that plays: of the master's children the one with the most memory."""
    return max(children(server.process.pid), key=memory_mb)


def memory_mb(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / (1 << 20)
    except OSError:
        return 0.0


def count(pid: int, what: str) -> int:
    return len(os.listdir(f"/proc/{pid}/{what}"))


def sample(server: LiveServer, began: float) -> Sample | None:
    """None while it restarts."""
    master = server.process.pid
    try:
        worker, health = worker_of(server), server.health()
        files = [path for path in Path(server.environ["DATA_DIR"]).rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files)
        return Sample(
            time.monotonic() - began, worker, memory_mb(worker), count(worker, "fd"),
            count(worker, "task"), memory_mb(master), count(master, "fd"), len(files),
            size / (1 << 20), health["rooms"], health["players"],
        )  # fmt: skip
    except (OSError, ValueError, KeyError):
        return None


def table(samples: list[Sample]) -> tuple[list[str], list[str]]:
    """Rows that compare the first with the last part of the calm life, and what has grown."""
    part = max(1, len(samples) // 4)
    rows = [f"{'':<20}{'first':>10}{'last':>10}{'most':>10}{'allowed':>10}"]
    grown = []
    for name, bound in BOUNDS.items():
        values = [getattr(one, name) for one in samples]
        first, last = statistics.median(values[:part]), statistics.median(values[-part:])
        mark = ""
        if last > bound(first):
            grown.append(name)
            mark = "  <- has grown"
        rows.append(
            f"{name:<20}{first:>10.1f}{last:>10.1f}{max(values):>10.1f}{bound(first):>10.1f}{mark}"
        )
    return rows, grown


# ------------------------------------------------------------------ a run


def run(minutes: float, seed: int, log: Path) -> int:
    """Exit code: 0 if all that must be flat was."""
    options = {"GAMES": GAMES, "MAX_PLAYERS": 200, "BOTS": 8, "JOURNAL_MEGABYTES": 64,
               "ROOMS_PER_MINUTE": 600, "GRACE_SECONDS": 3, "EMPTY_SECONDS": 5, "HELLO_SECONDS": 3,
               "REQUEST_SECONDS": 3, "SLOW_SECONDS": 3, "CHECKPOINT_SECONDS": 2}  # fmt: skip
    seconds, chance = 60 * minutes, random.Random(seed)
    samples: list[Sample] = []
    strikes: Counter[str] = Counter()
    print(f"soak: {minutes:g} minutes, seed {seed}", flush=True)
    with LiveServer(**options) as server:
        began = time.monotonic()
        every = max(15.0, RESTARTS * seconds / 8)
        next_strike = began + every
        with Around(server, seed) as around:
            while (now := time.monotonic() - began) < seconds:
                time.sleep(SAMPLE_S)
                seen = sample(server, began)
                samples += [seen] if seen else []
                if now < RESTARTS * seconds and time.monotonic() > next_strike:
                    kind = chance.choice(["kill", "reload"])
                    if kind == "kill":
                        os.kill(worker_of(server), signal.SIGKILL)
                    else:
                        server.signal(signal.SIGHUP)
                    strikes[kind] += 1
                    next_strike = time.monotonic() + every
        health = server.health()
        log.write_text(server.log())
        lasting = worker_of(server)
    calm = [
        one for one in samples
        if one.at > (RESTARTS + SETTLING) * seconds and one.worker == lasting
    ]  # fmt: skip
    print("\n".join(f"{what:<40}{n:>8}" for what, n in sorted(around.done.items())))
    print("\n".join(f"  refused, {what:<40}{n:>8}" for what, n in around.refused.most_common(20)))
    print(f"restarts: {dict(strikes)}; closed: {health['closed']}; refused: {health['refused']}")
    log.with_suffix(".samples.json").write_text(json.dumps([one._asdict() for one in samples]))
    rows, grown = table(calm)
    print(f"calm life of {calm[-1].at - calm[0].at:.0f} s, {len(calm)} samples")
    print("\n".join(rows))
    text = log.read_text()
    failures = [f"{name} has grown" for name in grown] + around.broken[:10]
    respawned = text.count("DAMN ! worker") - strikes["kill"]
    if respawned > 0:
        failures.append(f"the worker died {respawned} times that nobody killed it")
    if text.count("Traceback"):
        failures.append(f"{text.count('Traceback')} tracebacks in the log, {log}")
    for failure in failures:
        print("FAILED:", failure)
    return bool(failures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--log",
        type=Path,
        default=ROOT / "results" / "soak.log",
        help="where the server's log is kept, and beside it what was sampled",
    )
    chosen = parser.parse_args()
    chosen.log.parent.mkdir(exist_ok=True)
    sys.exit(run(chosen.minutes, chosen.seed, chosen.log))


if __name__ == "__main__":
    main()
