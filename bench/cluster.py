"""Several nodes on one Redis: how long joins, moves and restarts take.

One run of its own processes on this machine: redis-server and `--nodes` servers. It
measures, one after the other:

* **joins**: a burst of `--joins` quick-play joins over all nodes; each asks the API of a
  node for a place, and every fourth one goes there with its ticket. How long each takes (to
  the place, and to WELCOME), how long all; whether any was refused, any room promised to more
  than it holds, any player counted twice or not at all.
* **restart**: `--players` bots play; the nodes are restarted one by one. How many rooms and
  players moved, how long each player's picture stood still, whether anybody or any score was
  lost.
* **kill**: a node with players is killed outright. How long until its rooms play on
  elsewhere, and how many seconds of play are lost.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from gevent.pool import Pool
from websockets.uri import parse_uri

from clients.bots import wire
from clients.bots.connection import Connection, Dropped
from clients.bots.lobby import Lobby, Place

from .server_process import BenchError, free_port, machine

ROOT = Path(__file__).resolve().parent.parent
SETTLE_S = 3.0
ROOM_PLAYERS = 50
AT_ONCE = 64  # joins under way
MOST_PAUSE_MS = 1000  # while a room moves
ENTER = 4  # one join in so many goes on to the room


class Process:
    """A child in a session of its own, with its output in a file."""

    def __init__(self, name: str, folder: Path, command: list[str], **environ: object):
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **{key: str(value) for key, value in environ.items()}},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(8)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


class Node(Process):
    def __init__(self, name: str, folder: Path, redis: str, seats: int):
        self.name, self.port = name, free_port()
        self.page = f"http://127.0.0.1:{self.port}"
        super().__init__(
            name,
            folder,
            [str(Path(sys.executable).parent / "uwsgi"), "uwsgi.ini"],
            HOST="127.0.0.1", PORT=self.port, BOTS=0, ROOM_BOTS=0,
            SECRET="bench", DIRECTORY=redis, NODE=name,
            NODE_URL=f"ws://127.0.0.1:{self.port}/ws", DATA_DIR=folder / f"{name}-data",
            MAX_PLAYERS=seats, ROOM_PLAYERS=ROOM_PLAYERS, MAX_ROOMS=seats // ROOM_PLAYERS + 8,
            MAX_CONNECTIONS_PER_ADDRESS=0, EMPTY_SECONDS=3600,
        )  # fmt: skip

    def health(self) -> dict | None:
        try:
            with urllib.request.urlopen(f"{self.page}/healthz", timeout=3) as response:
                return json.load(response)
        except (OSError, ValueError):
            return None

    def restart(self) -> float:
        """A graceful one; returns how long it took, seconds."""
        started = self.health()["started"]
        self.process.send_signal(signal.SIGHUP)
        again = _wait(lambda: (self.health() or {"started": started})["started"] != started,
                      f"a restart of node {self.name}")  # fmt: skip
        return again + _wait(self.up, f"a restart of node {self.name}")

    def up(self) -> bool:
        health = self.health()
        return health is not None and health["tick"] > 0 and self.ready()

    def ready(self) -> bool:
        """Is it in the directory, and may take others' rooms?"""
        try:
            with urllib.request.urlopen(f"{self.page}/readyz", timeout=3):
                return True
        except OSError:
            return False

    def moves(self) -> list[int]:
        """The players of each room that it has opened for another node."""
        return [int(line.split()[-2]) for line in self.log.read_text().splitlines()
                if " goes on at tick " in line]  # fmt: skip


def main(nodes: int, joins: int, players: int, path: str | None) -> int:
    if nodes < 2:
        raise BenchError("a cluster has at least two nodes")
    if shutil.which("redis-server") is None:
        raise BenchError("no redis-server here (Debian: apt install redis-server)")
    result = {"machine": machine(), "nodes": nodes}
    with ExitStack() as stack:
        cluster, _ = _start(stack, nodes, -(-joins // nodes))
        result["joins"] = _joins(cluster, joins)
        _say("joins", result["joins"])
    with ExitStack() as stack:  # anew: the rooms of the burst would go on, empty
        cluster, folder = _start(stack, nodes, 2 * players)
        result["restart"] = _restart(cluster, players, folder)
        _say("rolling restart", result["restart"])
        result["kill"] = _kill(cluster, players, folder)
        _say("a node killed", result["kill"])
    if path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(json.dumps(result, indent=1) + "\n")
    joined, moved, killed = result["joins"], result["restart"], result["kill"]
    wrong = [joined[word] for word in ("refused", "overfull", "miscounted")]
    wrong += [moved["lost"], moved["scores_lost"], killed["lost"]]
    return 1 if any(wrong) or moved["pause_ms_max"] >= MOST_PAUSE_MS else 0


def _say(title: str, figures: dict) -> None:
    print(f"\n{title}")
    for key, value in figures.items():
        print(f"  {key:22} {value}", flush=True)


def _start(stack: ExitStack, nodes: int, seats: int) -> tuple[list[Node], Path]:
    """A cluster with so many seats per node at least, and the folder with its files."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tickstorm-bench-")))
    seats = -(-seats // ROOM_PLAYERS) * ROOM_PLAYERS
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    stack.enter_context(Process("redis", folder, [*command, "--dir", str(folder)]))
    redis = f"redis://127.0.0.1:{port}/0"
    cluster = [stack.enter_context(Node(f"n{i + 1}", folder, redis, seats)) for i in range(nodes)]
    for node in cluster:
        _wait(node.up, f"node {node.name}")
    return cluster, folder


def _wait(condition, what: str, seconds: float = 30.0) -> float:
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            raise BenchError(f"{what}: nothing within {seconds:.0f} s")
        time.sleep(0.05)
    return time.monotonic() - began


def _joins(cluster: list[Node], count: int) -> dict:
    lobbies = [Lobby(node.page) for node in cluster]
    took, entered, refused, rooms = [], [], [], {}
    inside: list[Connection] = []

    def join(i: int) -> None:
        began = time.monotonic()
        try:
            place = lobbies[i % len(lobbies)].join(quick=True)
            took.append(time.monotonic() - began)
            room = place.url.rpartition("=")[2]
            rooms[room] = rooms.get(room, 0) + 1
            if i % ENTER == 0:
                inside.append(_enter(place))
                entered.append(time.monotonic() - began)
        except Dropped as drop:
            refused.append(str(drop))

    began = time.monotonic()
    pool = Pool(AT_ONCE)
    for i in range(count):
        pool.spawn(join, i)
    pool.join()
    all_s = time.monotonic() - began
    # Each has one seat, whether it has come or its ticket holds it.
    with urllib.request.urlopen(f"{cluster[0].page}/api/rooms", timeout=5) as response:
        listed = json.load(response)["rooms"]
    seats = sum(room["players"] for room in listed)
    playing = _playing(cluster)
    for connection in inside:
        connection.close(wire.encode_leave(), wait_s=0)
    return {
        "joins": count,
        "refused": len(refused),
        "overfull": sum(seats > ROOM_PLAYERS for seats in rooms.values())
        + sum(room["players"] > room["capacity"] for room in listed),
        "miscounted": abs(seats + len(refused) - count) + abs(playing - len(inside)),
        "rooms": len(rooms),
        "all_s": round(all_s, 2),
        **_times("join", took),
        "entered": len(inside),
        **_times("enter", entered),
    }


def _enter(place: Place) -> Connection:
    """Into the room with the ticket, up to WELCOME. Raises Dropped."""
    connection = Connection(parse_uri(place.url))
    connection.send(wire.encode_hello("Guest", None, ticket=place.ticket))
    until = time.monotonic() + 10
    while time.monotonic() < until:
        if any(wire.decode(data)[0] == wire.WELCOME for data in connection.receive(until)):
            return connection
    raise Dropped("no WELCOME")


def _times(name: str, took: list[float]) -> dict:
    return {
        f"{name}_ms_p{percent}": round(float(np.percentile(took, percent)) * 1e3, 1)
        for percent in (50, 99)
        if took
    }


def _bots(node: Node, players: int, seconds: float, folder: Path) -> tuple[Process, Path]:
    out = folder / f"bots-{time.monotonic_ns()}.json"
    command = [sys.executable, "-m", "bench.pilots", "--lobby", node.page, "--players"]
    command += [str(players), "--seconds", str(seconds), "--seed", "1", "--json", str(out)]
    return Process("bots", folder, command), out


def _playing(cluster: list[Node]) -> int:
    return sum((node.health() or {"players": 0})["players"] for node in cluster)


def _restart(cluster: list[Node], players: int, folder: Path) -> dict:
    seconds = 20 + 8 * len(cluster)
    # The node that the bots ask for places is the last to go, for nothing stands before it here.
    bots, out = _bots(cluster[0], players, seconds, folder)
    with bots:
        _wait(lambda: _playing(cluster) >= players, "the bots", 60)
        time.sleep(SETTLE_S)
        took, before = [], sum(len(node.moves()) for node in cluster)
        for node in reversed(cluster):
            took.append(node.restart())
        bots.process.wait(seconds)
    tally = json.loads(out.read_text())
    moves = [moved for node in cluster for moved in node.moves() if moved]
    return {
        "players": players,
        "rooms_moved": len(moves) - before,
        "lost": players - tally["connected"] + tally["reconnects"] - tally["resumed"],
        "players_moved": tally["reconnects"],
        "pause_ms_p50": tally["pause_ms_p50"],
        "pause_ms_p99": tally["pause_ms_p99"],
        "pause_ms_max": tally["pause_ms_max"],
        "scores_lost": tally["scores_lost"],
        "node_s": [round(s, 1) for s in took],
    }


def _kill(cluster: list[Node], players: int, folder: Path) -> dict:
    """Bots ask the first node; another one with players is killed."""
    bots, out = _bots(cluster[0], players, 25, folder)
    with bots:
        _wait(lambda: _playing(cluster) >= players, "the bots", 60)
        time.sleep(2 * SETTLE_S)
        victim = max(cluster[1:], key=lambda node: (node.health() or {"players": 0})["players"])
        loads = victim.health()["room_loads"]
        rooms = {room: load for room, load in loads.items() if load["players"]}
        if not rooms:
            raise BenchError("all players are on the first node; ask for more of them")
        victim.kill()
        died = time.monotonic()
        others = [node for node in cluster if node is not victim]
        back: dict[str, tuple[float, int]] = {}

        def look() -> bool:
            for node in others:
                for room, load in (node.health() or {"room_loads": {}})["room_loads"].items():
                    if room in rooms and room not in back:
                        back[room] = time.monotonic() - died, load["tick"]
            return len(back) == len(rooms)

        _wait(look, "the rooms of the killed node", 30)
        bots.process.wait(40)
    tally = json.loads(out.read_text())
    lost_ticks = [rooms[room]["tick"] - tick for room, (_, tick) in back.items()]
    return {
        "players": sum(load["players"] for load in rooms.values()),
        "rooms": len(rooms),
        "back_s_max": round(max(seconds for seconds, _ in back.values()), 1),
        "play_lost_s_max": round(max(lost_ticks) / 20, 1),
        "away_s_max": round(tally["pause_ms_max"] / 1e3, 1),
        "lost": players - tally["connected"] + tally["reconnects"] - tally["resumed"],
    }
