"""`python -m bench rooms`: how many small rooms one core holds, ours and, beside it, Colyseus'.

The same game on both sides (`small_game.py`, `peers/colyseus/rooms.cjs`), the same load client,
the same cores, one after the other in one run.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import crowd
from .compare import SCRATCH, Missing, _colyseus_versions
from .server_process import (
    ROOT,
    BenchError,
    ServerProcess,
    child_setup,
    core_use,
    cores,
    free_port,
    require_descriptors,
)

HZ = 20
RATE_TOLERANCE = 0.01
GAP_LIMIT_MS = 100.0
FIRST_ROOMS = 50
COMMON_ROOMS = 100
"""Rooms at which both sides' CPU, bytes and memory are given."""

RESOLUTION = 0.08
SIDE_S = 240.0
"""Seconds after which no further step is begun for one side."""

MOST_PLAYERS = 18_000
CORE_FULL_PERCENT = 90.0
"""What was not held although the server's core was not that full is tried once more."""

SETTLE_S = 2.0


@dataclass(frozen=True)
class Side:
    """A server to be measured. `server(rooms, players, idle)` is not yet started."""

    name: str
    dialect: str
    game: str
    server: Callable[[int, int], ServerProcess]


def tickstorm(rooms: int, players: int) -> ServerProcess:
    """This project's server as anyone would start it, journal on, with room for the load."""
    port = free_port()
    here = ROOT / "bench" / "small_game.py"
    env = {
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "GAMES": f"{here}:Small,{here}:Quiet,game",
        "BOTS": "0",
        "ROOM_BOTS": "0",
        "MAX_PLAYERS": str(min(20000, rooms * players + 100)),
        "MAX_ROOMS": str(rooms + 10),
        "ROOMS_PER_MINUTE": "0",
        "MAX_CONNECTIONS_PER_ADDRESS": "0",
        "TICK_HZ": str(HZ),
        "SEED": "1",
    }
    return ServerProcess([crowd.uwsgi(), "uwsgi.ini"], port, env, health=True)


def colyseus(rooms: int, players: int) -> ServerProcess:
    port = free_port()
    script = ROOT / "bench" / "peers" / "colyseus" / "rooms.cjs"
    return ServerProcess(["node", script, SCRATCH / "colyseus", port, HZ], port)


SMALL = Side("tickstorm", "tickstorm", "small", tickstorm)
ARENA = Side("tickstorm", "arena", "arena", tickstorm)
PEER = Side("colyseus", "colyseus", "small", colyseus)


def trial(
    side: Side, rooms: int, players: int, seconds: float, quiet: bool = False
) -> dict[str, Any]:
    """So many rooms on a fresh server."""
    require_descriptors(rooms * players)
    config = {
        "port": 0,
        "dialect": side.dialect,
        "game": "quiet" if quiet else side.game,
        "rooms": rooms,
        "players": players,
        "hz": HZ,
        "quiet": quiet,
        "settle_s": SETTLE_S,
        "seconds": seconds,
        "limit_s": seconds + SETTLE_S + 60 + rooms * players / 15,
    }
    with side.server(rooms, players) as server:
        looks: dict[str, dict[str, Any]] = {}
        result = None
        for message in _client({**config, "port": server.port}):
            if "result" in message:
                result = message["result"]
            elif "mark" in message:
                cpu_s, memory_mb = server.usage()
                now = time.monotonic()
                looks[message["mark"]] = {"at": now, "cpu": cpu_s, "mb": memory_mb, **core_use()}
            if not server.alive():
                raise BenchError(f"the server ended in the middle of it:\n{server.output()}")
        output = server.output()
    if result is None:
        raise BenchError(f"the client process ended without a result\n{output}")
    return _judge(result, looks, output)


def _client(config: dict[str, Any]):
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.rooms_client"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=child_setup(cores()[1]),  # noqa: PLW1509 (no threads here)
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        json.dump(config, process.stdin)
        process.stdin.close()
        for line in process.stdout:
            yield json.loads(line)
        process.wait(10.0)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()


def _judge(result: dict[str, Any], looks: dict[str, Any], output: str) -> dict[str, Any]:
    start, begin, end = looks["start"], looks["begin"], looks["end"]
    elapsed, cpu_s = end["at"] - begin["at"], end["cpu"] - begin["cpu"]
    rooms, players = result["rooms"], result["players"]
    quiet = result["patch_hz"] == 0
    grown_kb = (begin["mb"] - start["mb"]) * 1024
    failures = []
    if result["lost"]:
        failures.append(f"{result['lost']} lost: {result['lost_reasons']}")
    if not quiet and abs(result["patch_hz"] - HZ) > HZ * RATE_TOLERANCE:
        failures.append(f"{result['patch_hz']:.2f} patches a second, not {HZ}")
    if result["gap_ms_p99"] >= GAP_LIMIT_MS:
        failures.append(f"p99 gap {result['gap_ms_p99']} ms")
    ticks = elapsed * HZ * rooms
    return {
        **result,
        "held": not failures,
        "failures": failures,
        "server_cpu_percent": round(cpu_s / elapsed * 100, 1),
        "us_per_room_tick": None if quiet else round(cpu_s * 1e6 / ticks, 1),
        "memory_kb_per_room": round(grown_kb / rooms, 1),
        "memory_kb_per_player": round(grown_kb / players, 1),
        "other_load_percent": round(
            max(0.0, end["busy"] - begin["busy"] - cpu_s) / elapsed * 100, 1
        ),
        "steal_percent": round((end["stolen"] - begin["stolen"]) / elapsed * 100, 1),
        "server_output": "" if not failures else output,
    }


class Search:
    """The most rooms that one side holds: doubled until not held, then bisected."""

    def __init__(self, side: Side, players: int, seconds: float, limit: int):
        self.side, self.players, self.seconds, self.limit = side, players, seconds, limit
        self.trials: list[dict[str, Any]] = []

    def held(self, rooms: int) -> bool:
        for attempt in range(2):
            result = trial(self.side, rooms, self.players, self.seconds)
            self.trials.append(result)
            print(f"{self.side.name:>10} {_line(result)}", flush=True)
            if result["held"] or attempt or result["server_cpu_percent"] > CORE_FULL_PERCENT:
                return result["held"]
        return False

    def run(self) -> dict[str, Any]:
        began = time.monotonic()
        best, beyond, rooms = 0, 0, min(FIRST_ROOMS, self.limit)
        while time.monotonic() - began < SIDE_S:
            if self.held(rooms):
                best = rooms
                if rooms >= self.limit:
                    break
            else:
                beyond = rooms
            if not beyond:
                rooms = min(rooms * 2, self.limit)
            elif beyond - best <= max(1, RESOLUTION * beyond):
                break
            else:
                rooms = (best + beyond) // 2
        return {
            "rooms_held": best,
            "rooms_not_held": beyond or None,
            "clients_full": any(t["client_cpu_percent"] >= 92 for t in self.trials),
            "trials": self.trials,
        }


def _line(result: dict[str, Any]) -> str:
    verdict = "held" if result["held"] else "not held (" + "; ".join(result["failures"]) + ")"
    cost = "" if result["us_per_room_tick"] is None else f"{result['us_per_room_tick']:6.1f} µs, "
    return (
        f"{result['rooms']:>5} rooms: {cost}{result['bytes_per_player_s']:6.0f} B/s, p99 gap "
        f"{result['gap_ms_p99']:5.1f} ms, server {result['server_cpu_percent']:5.1f} %, clients "
        f"{result['client_cpu_percent']:3.0f} %, others {result['other_load_percent']:3.0f} %, "
        f"{result['joins_per_s']:.0f} joins/s, {result['memory_kb_per_room']:.0f} kB/room"
        f": {verdict}"
    )


def measure(
    sides: list[Side], players: int, seconds: float, most: int | None, fixed: int, idle: int
) -> dict[str, Any]:
    """All of it. The fixed number of rooms is measured on each side in turn, twice, so that a
    machine that has other things to do falls on both alike."""
    limit = min(most or MOST_PLAYERS // players, MOST_PLAYERS // players)
    found: dict[str, dict[str, Any]] = {side.name: {"common": [], "idle": None} for side in sides}
    for _ in range(2 if len(sides) > 1 else 1):
        for side in sides:
            result = trial(side, min(fixed, limit), players, seconds)
            found[side.name]["common"].append(result)
            print(f"{side.name:>10} {_line(result)}", flush=True)
    for side in sides:
        if idle:
            result = trial(side, idle, 2, seconds, quiet=True)
            found[side.name]["idle"] = result
            print(f"{side.name:>10} idle {_line(result)}", flush=True)
    for side in sides:
        if most != 0 and limit > fixed:
            found[side.name].update(Search(side, players, seconds, limit).run())
    return found


def ratios(found: dict[str, Any]) -> dict[str, float]:
    """Ours to theirs; for CPU, bytes and memory smaller is better."""
    if "colyseus" not in found:
        return {}
    ours, theirs = found["tickstorm"], found["colyseus"]
    rows = {}
    if theirs.get("rooms_held") and ours.get("rooms_held"):
        rows["rooms_held"] = ours["rooms_held"] / theirs["rooms_held"]
    for name in ("us_per_room_tick", "bytes_per_player_s", "memory_kb_per_room", "joins_per_s"):
        mine, other = (sum(t[name] for t in side["common"]) for side in (ours, theirs))
        if other > 0:
            rows[name] = mine / other
    return {name: round(value, 2) for name, value in rows.items()}


def main(
    players: int, game: str, compare: bool, seconds: float, path: str | None,
    most: int | None = None, fixed: int = COMMON_ROOMS, idle: int = 250,
) -> int:  # fmt: skip
    sides = [ARENA if game == "arena" else SMALL]
    installed: dict[str, str] = {}
    if compare:
        try:
            installed = _colyseus_versions()
            sides.append(PEER)
        except Missing as missing:
            print(f"skipped colyseus: {missing}")
    began = time.monotonic()
    found = measure(sides, players, seconds, most, fixed, idle)
    result = {
        "kind": "rooms",
        "game": game,
        "players_per_room": players,
        "hz": HZ,
        "seconds": seconds,
        "gap_limit_ms": GAP_LIMIT_MS,
        "sides": found,
        "ratios": ratios(found),
        "peer_versions": installed,
        "took_s": round(time.monotonic() - began),
        **crowd.context(),
    }
    out = Path(path) if path else ROOT / "results" / f"rooms-{game}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    for name, side in found.items():
        if "rooms_held" in side:
            print(f"  {name}: {side['rooms_held']} rooms of {players} held")
    for name, ratio in result["ratios"].items():
        print(f"  {name.replace('_', ' ')} to colyseus: {ratio}")
    print(f"written to {out}")
    return 0
