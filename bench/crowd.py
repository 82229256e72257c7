"""`python -m bench crowd`: one server on one core, a crowd on another, and what came of it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import sysconfig
import time
from dataclasses import dataclass, field
from pathlib import Path

from .scenarios import CELL, SCENARIOS, world_cells
from .server_process import (
    ROOT,
    BenchError,
    ServerProcess,
    child_setup,
    core_use,
    cores,
    free_port,
    machine,
    require_descriptors,
    revision,
    versions,
)

TICK_HZ = 20
RATE_TOLERANCE = 0.01
"""Share by which the rate may fall short and still counts as kept."""

CLIENT_SATURATED_PERCENT = 92.0
"""From here on the gaps that the clients see may be the clients' own."""


@dataclass(frozen=True)
class Load:
    """What a crowd does to a server."""

    players: int
    seconds: float = 20.0
    visible: float = 50.0
    scenario: str = "spread"
    seed: int = 1
    sample: int = 8  # clients that decode and check everything
    dialect: str = "tickstorm"
    join_per_s: float = 500.0

    @property
    def cells(self) -> int:
        return world_cells(self.players, self.visible)

    @property
    def world(self) -> int:
        """Side of the world, units."""
        return self.cells * CELL

    @property
    def limit_s(self) -> float:
        """When to give up on the client process."""
        plan = SCENARIOS[self.scenario]
        return self.seconds + plan.settle_s + 2 * self.players / self.join_per_s + 70.0


@dataclass
class Measured:
    """A crowd's result, and whether the server lived up to it."""

    result: dict
    failures: list[str] = field(default_factory=list)


def tickstorm(load: Load) -> ServerProcess:
    """This project's server, as anyone would start it, sized for `load`."""
    port = free_port()
    env = {
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "BOTS": "0",
        "ROOM_BOTS": "0",
        "SETTINGS": f"orbs={SCENARIOS[load.scenario].orbs},size={load.world}",
        # Room for those who have left but whose connection is still being closed.
        "MAX_PLAYERS": str(load.players + max(50, load.players // 4)),
        # All come from one address, and in a storm all at once.
        "MAX_CONNECTIONS_PER_ADDRESS": "0",
        "JOINS_PER_SECOND": str(max(500, load.players)),
        "TICK_HZ": str(TICK_HZ),
        "SEED": str(load.seed),
    }
    return ServerProcess([uwsgi(), "uwsgi.ini"], port, env, health=True)


def uwsgi() -> str:
    """The uWSGI of this Python's environment, else the one on the path."""
    own = Path(sysconfig.get_path("scripts")) / "uwsgi"
    return str(own) if own.exists() else "uwsgi"


def measure(load: Load, server: ServerProcess, progress=None) -> Measured:
    """Drive `server`, which is running, with `load`; `progress` gets a dict about once a second."""
    require_descriptors(load.players)
    config = {
        "port": server.port,
        "players": load.players,
        "seconds": load.seconds,
        "world": load.world,
        "tick_hz": TICK_HZ,
        "scenario": load.scenario,
        "dialect": load.dialect,
        "seed": load.seed,
        "sample": load.sample,
        "join_per_s": load.join_per_s,
        "limit_s": load.limit_s,
    }
    before = after = None
    result = None
    seen = (time.monotonic(), server.usage()[0])
    with _client(config) as lines:
        for line in lines:
            message = json.loads(line)
            if "result" in message:
                result = message["result"]
            elif message.get("mark") == "begin":
                before = _look(server)
            elif message.get("mark") == "end":
                after = _look(server)
            elif progress:
                now, cpu_s = time.monotonic(), server.usage()[0]
                message["server_cpu_percent"] = round(
                    100 * (cpu_s - seen[1]) / max(now - seen[0], 1e-9), 1
                )
                seen = now, cpu_s
                progress({"players": load.players, **message})
            if not server.alive():
                raise BenchError(f"the server ended in the middle of it:\n{server.output()}")
    if result is None or before is None or after is None:
        raise BenchError("the client process ended without a result")
    return _combine(load, server, result, before, after)


@contextlib.contextmanager
def _client(config: dict):
    """The client process on the other cores; yields its lines, ends it in any case."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.crowd_client"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=child_setup(cores()[1]),  # noqa: PLW1509 (no threads here)
    )
    try:
        json.dump(config, process.stdin)
        process.stdin.close()
        yield process.stdout
        if process.wait(10.0):
            raise BenchError(f"the client process ended with status {process.returncode}")
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()


def _look(server: ServerProcess) -> dict:
    """What the server has used and counted until now."""
    cpu_s, memory_mb = server.usage()
    return {
        "at": time.monotonic(),
        "cpu_s": cpu_s,
        "memory_mb": memory_mb,
        **core_use(),
        "stats": server.health().get("stats", {}),
    }


def _combine(load: Load, server: ServerProcess, result: dict, before: dict, after: dict):
    elapsed = after["at"] - before["at"]
    cpu_s = after["cpu_s"] - before["cpu_s"]
    stats, earlier = after["stats"], before["stats"]
    used_cores = 1 + len(cores()[1])
    player_ticks = load.players * elapsed * result["rate_hz"]
    per_player_tick = cpu_s * 1e6 / player_ticks if player_ticks else None
    result = {
        "scenario": load.scenario,
        **result,
        "tick_hz": TICK_HZ,
        "visible_wanted": load.visible,
        "world_size": load.world,
        "server_cpu_percent": _percent(cpu_s, elapsed),
        "us_per_player_tick": None if per_player_tick is None else round(per_player_tick, 2),
        "cpu_ms_per_tick": round(cpu_s * 1e3 / max(elapsed * result["rate_hz"], 1e-9), 2),
        "server_memory_mb": round(after["memory_mb"], 1),
        "server_memory_grown_mb": round(after["memory_mb"] - before["memory_mb"], 1),
        "steal_percent": _percent((after["stolen"] - before["stolen"]) / used_cores, elapsed),
        "other_load_percent": _percent(after["busy"] - before["busy"] - cpu_s, elapsed),
        "overruns": stats.get("overruns", 0) - earlier.get("overruns", 0) if stats else None,
        "tick_ms_p50": stats.get("tick_ms_p50"),
        "tick_ms_p99": stats.get("tick_ms_p99"),
        "server_stats": stats,
        "shedding": stats.get("shedding"),
        "shed_raised": stats.get("shed_raised", 0) - earlier.get("shed_raised", 0),
        "server_counts": _grown(earlier.get("count", {}), stats.get("count", {})),
        "server_output": server.output(),
    }
    return Measured(result, failures(result))


def _percent(seconds: float, elapsed: float) -> float:
    return round(max(seconds, 0.0) / elapsed * 100, 1)


def _grown(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    """By how much each counter grew."""
    return {name: value - before.get(name, 0) for name, value in after.items()}


def failures(result: dict) -> list[str]:
    """Why a result does not count as the server having kept up; empty if it has."""
    found = []
    if result["lost"]:
        reasons = ", ".join(f"{n} × {reason}" for reason, n in result["lost_reasons"].items())
        found.append(f"{result['lost']} clients were lost: {reasons}")
    if result["wire_errors"]:
        found.append(f"snapshots contradict the protocol: {result['wire_errors']}")
    least = TICK_HZ * (1 - RATE_TOLERANCE)
    if result["rate_hz"] < least:
        found.append(f"the server ticked {result['rate_hz']:.2f} times a second, not {TICK_HZ}")
    elif result["snapshot_hz"] < least:
        found.append(f"players got {result['snapshot_hz']:.2f} snapshots a second, not {TICK_HZ}")
    return found


def notes(result: dict) -> list[str]:
    """What to know before trusting the figures."""
    found = []
    if result["client_cpu_percent"] >= CLIENT_SATURATED_PERCENT:
        found.append(
            f"the clients used {result['client_cpu_percent']:.0f} % of their core: "
            "gaps may be theirs, not the server's"
        )
    if result["client_skipped_ticks"]:
        found.append(f"the clients fell behind by a tick {result['client_skipped_ticks']} times")
    if cores()[0] and result["other_load_percent"] >= 5:
        found.append(
            f"other processes took {result['other_load_percent']:.0f} % of the server's core: "
            "ticks and gaps are theirs as well"
        )
    if result["steal_percent"] >= 2:
        found.append(f"the hypervisor took {result['steal_percent']} % of the cores' time away")
    if result["shedding"] not in (None, "none") or result["shed_raised"]:
        found.append(
            f"the server shed load: level {result['shedding']!r} at the end, "
            f"raised {result['shed_raised']} times"
        )
    if not cores()[0]:
        found.append("server and clients could not be pinned to cores of their own")
    return found


TABLE = (
    ("players", "players", ""),
    ("playing", "playing at the end", ""),
    ("visible_mean", "ships in a client's interest", ""),
    ("rate_hz", "ticks", "/s"),
    ("snapshot_hz", "snapshots per player", "/s"),
    ("overruns", "overruns", ""),
    ("tick_ms_p50", "tick, median", "ms"),
    ("tick_ms_p99", "tick, 99th percentile", "ms"),
    ("snapshot_gap_ms_p50", "gap between snapshots, median", "ms"),
    ("snapshot_gap_ms_p99", "gap between snapshots, 99th percentile", "ms"),
    ("existing_gap_ms_p99", "the same, those already there", "ms"),
    ("newcomer_gap_ms_p99", "the same, newcomers", "ms"),
    ("join_ms_p50", "connect to first snapshot, median", "ms"),
    ("join_ms_p99", "connect to first snapshot, 99th percentile", "ms"),
    ("visible_pile_mean", "ships in interest within the pile", ""),
    ("players_gathered", "players in the pile's 3 × 3 cells", ""),
    ("left_per_s", "players leaving and joining", "/s"),
    ("slow_players", "slow clients", ""),
    ("bytes_per_player_s", "bytes to each player", "/s"),
    ("inputs_per_s", "inputs", "/s"),
    ("server_cpu_percent", "server CPU, of one core", "%"),
    ("us_per_player_tick", "server CPU per player and tick", "µs"),
    ("server_memory_mb", "server memory", "MB"),
    ("server_memory_grown_mb", "grown by, during the measurement", "MB"),
    ("client_cpu_percent", "client CPU, of one core", "%"),
    ("lost", "clients lost", ""),
)


def table(result: dict) -> str:
    """The figures that are there, for people."""
    rows = [
        (label, f"{result[key]:,}".replace(",", " "), unit)
        for key, label, unit in TABLE
        if result.get(key) is not None
    ]
    width = max(len(label) for label, _, _ in rows)
    lines = [f"  {label:<{width}}  {value:>10} {unit}".rstrip() for label, value, unit in rows]
    phases = result["server_stats"].get("phase_us")
    if phases:
        parts = ", ".join(
            f"{name} {value / result['players']:.2f}" for name, value in phases.items()
        )
        lines.append(f"  µs per player and tick: {parts}")
    counts = [
        f"{name} {count}"
        for name, count in result["server_counts"].items()
        if count and name not in ("bytes", "snapshots")
    ]
    if counts:
        lines.append("  counted by the server: " + ", ".join(counts))
    return "\n".join(lines)


def live(message: dict) -> None:
    """One line on a terminal, rewritten."""
    text = (
        f"{message['phase']:<9} {message['playing']:>6} of {message['players']} playing, "
        f"{message['lost']} lost, server {message['server_cpu_percent']:.0f} %"
    )
    print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def context() -> dict:
    """What every result file says about where it comes from."""
    return {
        "machine": machine(),
        "versions": {
            "tickstorm": revision(),
            **versions("pyuwsgi", "uwsgi", "gevent", "numpy", "msgpack", "websockets"),
        },
        "command": "python -m bench " + " ".join(sys.argv[1:]),
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def main(load: Load, path: str | None) -> int:
    on_terminal = sys.stderr.isatty()
    with tickstorm(load) as server:
        measured = measure(load, server, live if on_terminal else None)
    if on_terminal:
        print("\r\033[K", end="", file=sys.stderr)
    result = {"kind": "crowd", **measured.result, **context()}
    result["failures"], result["notes"] = measured.failures, notes(result)
    print(f"{load.scenario}: {SCENARIOS[load.scenario].summary}")
    print(table(result))
    for note in result["notes"]:
        print(f"note: {note}")
    for failure in result["failures"]:
        print(f"FAILED: {failure}")
    if result["failures"]:
        print(f"the server's last words:\n{result['server_output']}")
    if path:
        Path(path).write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    return 1 if result["failures"] else 0
