"""Several nodes on one Redis: how long joins, moves and restarts take.

One run of its own processes on this machine: redis-server and `--nodes` servers. It
measures, one after the other:

* **joins**: a burst of `--joins` quick-play joins over all nodes; each asks the API of a
  node for a place. How long each takes, how long all; whether any was refused or any room
  promised to more than it holds.
* **restart**: `--players` bots play; the nodes are restarted one by one. How long each
  player's picture stood still, whether anybody or any score was lost.
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

from clients.bots.connection import Dropped
from clients.bots.lobby import Lobby

from .server_process import BenchError, free_port, machine

ROOT = Path(__file__).resolve().parent.parent
SETTLE_S = 3.0
ROOM_PLAYERS = 50
AT_ONCE = 64  # joins under way


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
            HOST="127.0.0.1", PORT=self.port, BOTS=0, SECRET="bench", DIRECTORY=redis, NODE=name,
            NODE_URL=f"ws://127.0.0.1:{self.port}/ws", DATA_DIR=folder / f"{name}-data",
            MAX_PLAYERS=seats, ROOM_PLAYERS=ROOM_PLAYERS, MAX_ROOMS=seats // ROOM_PLAYERS + 8,
            MAX_CONNECTIONS_PER_ADDRESS=0,
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
        return health is not None and health["tick"] > 0 and health["directory"] == "ok"


def main(nodes: int, joins: int, players: int, path: str | None) -> int:
    if nodes < 2:
        raise BenchError("a cluster has at least two nodes")
    if shutil.which("redis-server") is None:
        raise BenchError("no redis-server here (Debian: apt install redis-server)")
    result = {"machine": machine(), "nodes": nodes}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tickstorm-bench-")))
        seats = -(-max(joins // nodes, 2 * players) // ROOM_PLAYERS) * ROOM_PLAYERS
        cluster = _start(stack, folder, nodes, seats)
        result["joins"] = _joins(cluster, joins)
        _say("joins", result["joins"])
        time.sleep(16)  # until the seats of those who never came are free again
        result["restart"] = _restart(cluster, players, folder)
        _say("rolling restart", result["restart"])
        result["kill"] = _kill(cluster, players, folder)
        _say("a node killed", result["kill"])
    if path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(json.dumps(result, indent=1) + "\n")
    joined, moved, killed = result["joins"], result["restart"], result["kill"]
    well = not joined["refused"] and not joined["overfull"] and not moved["lost"]
    return 0 if well and not moved["scores_lost"] and not killed["lost"] else 1


def _say(title: str, figures: dict) -> None:
    print(f"\n{title}")
    for key, value in figures.items():
        print(f"  {key:22} {value}", flush=True)


def _start(stack: ExitStack, folder: Path, nodes: int, seats: int) -> list[Node]:
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    stack.enter_context(Process("redis", folder, [*command, "--dir", str(folder)]))
    redis = f"redis://127.0.0.1:{port}/0"
    cluster = [stack.enter_context(Node(f"n{i + 1}", folder, redis, seats)) for i in range(nodes)]
    for node in cluster:
        _wait(node.up, f"node {node.name}")
    return cluster


def _wait(condition, what: str, seconds: float = 30.0) -> float:
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            raise BenchError(f"{what}: nothing within {seconds:.0f} s")
        time.sleep(0.05)
    return time.monotonic() - began


def _joins(cluster: list[Node], count: int) -> dict:
    lobbies = [Lobby(node.page) for node in cluster]
    took, refused, rooms = [], [], {}

    def join(i: int) -> None:
        began = time.monotonic()
        try:
            place = lobbies[i % len(lobbies)].join(quick=True)
        except Dropped as drop:
            refused.append(str(drop))
        else:
            took.append(time.monotonic() - began)
            room = place.url.rpartition("=")[2]
            rooms[room] = rooms.get(room, 0) + 1

    began = time.monotonic()
    pool = Pool(AT_ONCE)
    for i in range(count):
        pool.spawn(join, i)
    pool.join()
    return {
        "joins": count,
        "refused": len(refused),
        "overfull": sum(seats > ROOM_PLAYERS for seats in rooms.values()),
        "rooms": len(rooms),
        "all_s": round(time.monotonic() - began, 2),
        "join_ms_p50": round(float(np.percentile(took, 50)) * 1e3, 1) if took else None,
        "join_ms_p99": round(float(np.percentile(took, 99)) * 1e3, 1) if took else None,
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
        took = []
        for node in reversed(cluster):
            took.append(node.restart())
            time.sleep(2.0)
        bots.process.wait(seconds)
    tally = json.loads(out.read_text())
    return {
        "players": players,
        "lost": players - tally["connected"] + tally["reconnects"] - tally["resumed"],
        "moves": tally["reconnects"],
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
