"""`python -m bench compare`: this server beside others, on the same cores, with the same load."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from . import crowd
from .crowd import TICK_HZ, Load, Measured, measure
from .server_process import (
    ROOT,
    BenchError,
    ServerProcess,
    child_setup,
    cores,
    free_port,
    versions,
)

SCRATCH = ROOT / "results" / "peers"
"""Where other servers are installed and compiled."""

COMMON_PLAYERS = (400, 2000)
"""Player counts at which all that can hold them are measured."""

GAP_LIMIT_MS = 100.0
RESOLUTION = 0.06
"""The largest crowd held and the smallest not held are closer together than this."""

LIMIT_PLAYERS = 8000
CONTENDER_S = 200.0
"""Seconds after which no further step is begun for one contender."""

CORE_FULL_PERCENT = 95.0
"""A crowd not held although the server's core was not that full is tried once more: the
machine has bad moments."""

HEAD_BYTES = 50
"""Size of a snapshot's private head in the floor's frames."""


NOTHING_SHED = (None, "none", "cosmetics")
"""Levels of shedding at which players still get all that the other servers send them."""


class Missing(Exception):
    """A contender can't be run here; the text says what is lacking."""


# ---------------------------------------------------------------- contenders


@dataclass(frozen=True)
class Contender:
    """A server to be measured. `prepare` returns its versions or raises Missing."""

    name: str
    label: str
    prepare: Callable[[], dict[str, str]]
    server: Callable[[Load], ServerProcess]
    dialect: str = "tickstorm"
    sample: int = 4
    join_per_s: float = 800.0


def _peer_env(load: Load, port: int) -> dict[str, str]:
    return {
        "PORT": str(port),
        "TICK_HZ": str(TICK_HZ),
        "WORLD_SIZE": str(load.world),
        "MAX_PLAYERS": str(load.players + 50),
        "SEED": str(load.seed),
    }


def _require(*modules: str) -> None:
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise Missing(f"{' and '.join(missing)} not installed (pip install -e '.[bench]')")


def _tickstorm_versions() -> dict[str, str]:
    return versions("pyuwsgi", "uwsgi", "gevent", "numpy")


def _picows_versions() -> dict[str, str]:
    _require("picows", "uvloop")
    return versions("picows", "uvloop", "numpy")


def _picows_server(load: Load) -> ServerProcess:
    port = free_port()
    command = [sys.executable, "-m", "bench.peers.picows_server"]
    return ServerProcess(command, port, _peer_env(load, port))


def _uwsgi_server(load: Load) -> ServerProcess:
    port = free_port()
    backlog = min(1024, int(Path("/proc/sys/net/core/somaxconn").read_text()))
    options = {
        "gevent": load.players * 6 // 5 + 64,
        "http-socket": f"127.0.0.1:{port}",
        "module": "bench.peers.uwsgi_websockets",
        "listen": backlog,
        "socket-timeout": 30,
    }
    flags = ["--master", "--lazy-apps", "--need-app", "--die-on-term", "--disable-logging"]
    settings = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    command = [crowd.uwsgi(), *flags, *settings]
    return ServerProcess(command, port, _peer_env(load, port), health=True)


def _colyseus_versions() -> dict[str, str]:
    """Install the newest release into the scratch folder, or use what is there already."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        raise Missing("node and npm are not installed")
    folder = SCRATCH / "colyseus"
    folder.mkdir(parents=True, exist_ok=True)
    names = ["core", "ws-transport", "schema", "sdk"]
    packages = [f"@colyseus/{name}@latest" for name in names] + ["express@latest"]
    flags = ["--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder)]
    try:
        done = subprocess.run(
            [npm, "install", *flags, *packages],
            check=False,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=180,
        )
        trouble = done.stderr.strip() if done.returncode else ""
    except subprocess.TimeoutExpired:
        trouble = "npm took longer than 180 s"
    found = {"node": subprocess.check_output([node, "--version"], text=True).strip()}
    for name in names:
        manifest = folder / "node_modules" / "@colyseus" / name / "package.json"
        if not manifest.exists():
            raise Missing(f"npm could not install it: {trouble[-300:]}")
        found[f"@colyseus/{name}"] = json.loads(manifest.read_text())["version"]
    return found


def _colyseus_server(load: Load) -> ServerProcess:
    port = free_port()
    script = ROOT / "bench" / "peers" / "colyseus" / "server.cjs"
    folder = SCRATCH / "colyseus"
    return ServerProcess(["node", script, folder, port, load.world, TICK_HZ, load.seed], port)


def _compile_floor() -> dict[str, str]:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not compiler:
        raise Missing("no C compiler is installed")
    SCRATCH.mkdir(parents=True, exist_ok=True)
    source = ROOT / "bench" / "peers" / "floor.c"
    done = subprocess.run(
        [compiler, "-O2", "-o", SCRATCH / "floor", source],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    if done.returncode:
        raise Missing(f"the C compiler failed: {done.stderr[-300:]}")
    version = subprocess.check_output([compiler, "--version"], text=True)
    return {"cc": version.splitlines()[0]}


def floor_server(frame_bytes: int) -> Callable[[Load], ServerProcess]:
    """The floor with frames of this size."""

    def server(load: Load) -> ServerProcess:
        port = free_port()
        return ServerProcess([SCRATCH / "floor", port, frame_bytes, HEAD_BYTES, TICK_HZ], port)

    return server


CONTENDERS = {
    contender.name: contender
    for contender in (
        Contender("tickstorm", "Tickstorm", _tickstorm_versions, crowd.tickstorm),
        Contender(
            "colyseus",
            "Colyseus, a view per client",
            _colyseus_versions,
            _colyseus_server,
            dialect="colyseus",
            sample=0,
            join_per_s=250.0,
        ),
        Contender(
            "uwsgi", "uWSGI's own WebSockets", lambda: versions("pyuwsgi", "gevent"), _uwsgi_server
        ),
        Contender("picows", "picows + uvloop", _picows_versions, _picows_server),
        Contender("floor", "C, sockets only", _compile_floor, floor_server(400), sample=0),
    )
}


# ---------------------------------------------------------------- the search


@dataclass
class Search:
    """The largest crowd held: `held` is, `failed` (0: none was seen) is not."""

    held: int = 0
    failed: int = 0


def largest(
    holds: Callable[[int], bool],
    first: int,
    limit: int,
    may_go_on: Callable[[], bool] = lambda: True,
    factor: float = 1.3,
    resolution: float = RESOLUTION,
) -> Search:
    """Step up (or down) from `first` by `factor` until the answer changes, then bisect.

    >>> largest(lambda n: n <= 1000, first=600, limit=5000)
    Search(held=980, failed=1010)
    >>> largest(lambda n: True, first=100, limit=150)
    Search(held=150, failed=0)
    """
    search = Search()
    count = min(first, limit)
    while count and may_go_on():
        if holds(count):
            search.held = count
        else:
            search.failed = count
        if not search.failed:
            count = 0 if count == limit else min(max(_round(count * factor), count + 10), limit)
        elif not search.held:
            count = 0 if count <= 10 else min(_round(count / factor), count - 10)
        elif search.failed / search.held > 1 + resolution:
            count = _round((search.held * search.failed) ** 0.5)
            if not search.held < count < search.failed:
                break
        else:
            break
    return search


def _round(count: float) -> int:
    """To tens: nobody needs to know it better."""
    return max(10, round(count / 10) * 10)


# ---------------------------------------------------------------- the course of it


@dataclass
class Trial:
    """All that is found out about one contender."""

    contender: Contender
    versions: dict[str, str] = field(default_factory=dict)
    skipped: str | None = None
    steps: list[dict] = field(default_factory=list)
    common: dict[int, dict] = field(default_factory=dict)
    search: Search = field(default_factory=Search)
    clients_were_the_limit: bool = False

    def as_json(self) -> dict:
        held = [step for step in self.steps if step["held"]]
        best = max(held, key=lambda step: step["players"], default=None)
        return {
            "label": self.contender.label,
            "versions": self.versions,
            "skipped": self.skipped,
            "largest": self.search.held,
            "not_held": self.search.failed or None,
            "clients_were_the_limit": self.clients_were_the_limit,
            "at_largest": best,
            "common": {str(players): result for players, result in self.common.items()},
            "steps": self.steps,
        }


class Comparison:
    def __init__(self, seconds: float, visible: float, say: Callable[[str], None]):
        self.seconds = seconds
        self.visible = visible
        self.say = say

    def load(self, contender: Contender, players: int) -> Load:
        return Load(
            players=players,
            seconds=self.seconds,
            visible=self.visible,
            dialect=contender.dialect,
            sample=contender.sample,
            join_per_s=contender.join_per_s,
        )

    def step(self, trial: Trial, players: int, with_sample: bool = False) -> dict:
        """Measure one contender with so many players; once more if only chance was against it."""
        for attempt in (1, 2):
            result = self._attempt(trial.contender, players, with_sample)
            trial.steps.append({"attempt": attempt, **result})
            self.say(f"  {trial.contender.name:<10} {_line(result)}")
            if result["held"] or result.get("server_cpu_percent", 0.0) >= CORE_FULL_PERCENT:
                break
        if result["held"] and players in COMMON_PLAYERS:
            trial.common[players] = result
        return result

    def _attempt(self, contender: Contender, players: int, with_sample: bool) -> dict:
        load = self.load(contender, players)
        try:
            with contender.server(load) as server:
                sample = _colyseus_sample(server, load) if with_sample else None
                try:
                    measured = measure(load, server)
                    if sample:
                        output, _ = sample.communicate(timeout=15)
                        measured.result["visible_mean"] = json.loads(output)["visible_mean"]
                finally:
                    if sample and sample.poll() is None:
                        sample.kill()
                        sample.wait()
        except (BenchError, subprocess.TimeoutExpired, ValueError, KeyError) as error:
            return {"players": players, "held": False, "failures": [str(error)[:500]]}
        return {**measured.result, **verdict(measured)}

    def run(self, contender: Contender) -> Trial:
        """Everything about one contender, within its time."""
        trial = Trial(contender)
        try:
            trial.versions = contender.prepare()
        except Missing as error:
            trial.skipped = str(error)
            self.say(f"  {contender.name:<10} skipped: {error}")
            return trial
        deadline = time.monotonic() + CONTENDER_S

        few = COMMON_PLAYERS[0]
        result = self.step(trial, few, with_sample=contender.dialect == "colyseus")
        first = _guess(result)
        if first in COMMON_PLAYERS:
            first = _guess(self.step(trial, first))
        trial.search = largest(
            lambda players: self.step(trial, players)["held"],
            first=first,
            limit=LIMIT_PLAYERS,
            may_go_on=lambda: time.monotonic() < deadline,
        )
        trial.search.held = max([trial.search.held, *trial.common])
        trial.clients_were_the_limit = any(
            step.get("client_cpu_percent", 0) >= crowd.CLIENT_SATURATED_PERCENT
            for step in trial.steps
            if step["players"] == trial.search.failed
        )
        for players in COMMON_PLAYERS:
            if trial.search.held >= players and players not in trial.common:
                self.step(trial, players)
        return trial


def _colyseus_sample(server: ServerProcess, load: Load) -> subprocess.Popen:
    """Two clients on Colyseus' own SDK; they say how many ships they saw."""
    script = ROOT / "bench" / "peers" / "colyseus" / "sample.cjs"
    lasts = load.seconds + 2.0 + load.players / load.join_per_s
    command = ["node", script, SCRATCH / "colyseus", server.port, 2, lasts]
    return subprocess.Popen(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        preexec_fn=child_setup(cores()[1]),  # noqa: PLW1509 (no threads here)
    )


def verdict(measured: Measured) -> dict:
    """Was this crowd held: rate kept, nobody lost, nothing given up, no gaps to be felt?"""
    failures = list(measured.failures)
    gap = measured.result["snapshot_gap_ms_p99"]
    if gap is None or gap >= GAP_LIMIT_MS:
        failures.append(f"p99 gap {gap} ms")
    if measured.result["shedding"] not in NOTHING_SHED:
        failures.append(f"shed load: {measured.result['shedding']}")
    return {"held": not failures, "failures": failures}


def _guess(result: dict) -> int:
    """How many to try after this result: what its cost per player promises, or a larger common
    count up to there, which has to be measured anyway."""
    players, cost = result["players"], result.get("us_per_player_tick")
    if not result["held"] or not cost:
        return _round(players / 1.5)
    promise = min(0.9 * 1e6 / TICK_HZ / cost, LIMIT_PLAYERS)
    common = [count for count in COMMON_PLAYERS if players < count < 1.3 * promise]
    return common[0] if common else _round(max(promise, 1.2 * players))


def _line(result: dict) -> str:
    if "us_per_player_tick" not in result:
        return f"{result['players']:>5} players: {'; '.join(result['failures'])}"
    verdict = "held" if result["held"] else "not held (" + "; ".join(result["failures"]) + ")"
    return (
        f"{result['players']:>5} players: {result['us_per_player_tick'] or 0:6.1f} µs, "
        f"{result['bytes_per_player_s']:>6} B/s, p99 gap {result['snapshot_gap_ms_p99'] or 0:5.1f} "
        f"ms, server {result['server_cpu_percent']:3.0f} %, clients "
        f"{result['client_cpu_percent']:3.0f} %, others {result['other_load_percent']:3.0f} %: "
        f"{verdict}"
    )


def table(trials: dict[str, dict]) -> str:
    """The comparison, for people."""
    few, many = (str(count) for count in COMMON_PLAYERS)

    def at(trial: dict, players: str, key: str) -> str:
        value = trial["common"].get(players, {}).get(key)
        return "–" if value is None else f"{value:,}".replace(",", " ")

    header = ("", "players held", f"µs at {few}", f"µs at {many}", f"B/s at {few}", "visible")
    rows = [header]
    for trial in trials.values():
        if trial["skipped"]:
            rows.append((trial["label"], "skipped", "", "", "", ""))
            continue
        held = f"{trial['largest']:,}".replace(",", " ")
        if trial["clients_were_the_limit"] or not trial["not_held"]:
            held = f"at least {held}"
        rows.append(
            (
                trial["label"],
                held,
                at(trial, few, "us_per_player_tick"),
                at(trial, many, "us_per_player_tick"),
                at(trial, few, "bytes_per_player_s"),
                at(trial, few, "visible_mean"),
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    return "\n".join(
        f"  {row[0]:<{widths[0]}}"
        + "".join(f"  {cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))
        for row in rows
    )


def ratios(trials: dict[str, dict]) -> dict[str, float]:
    """How this server relates to the others."""
    ours = trials.get("tickstorm")
    found = {}
    for name, trial in trials.items():
        if not ours or name == "tickstorm" or trial["skipped"]:
            continue
        if trial["largest"]:
            found[f"players_to_{name}"] = round(ours["largest"] / trial["largest"], 2)
        for players in map(str, COMMON_PLAYERS):
            mine, theirs = (
                side["common"].get(players, {}).get("us_per_player_tick") for side in (ours, trial)
            )
            if mine and theirs:
                found[f"cpu_to_{name}_at_{players}"] = round(mine / theirs, 2)
    return found


def main(seconds: float, visible: float, only: str | None, path: str | None) -> int:
    wanted = only.split(",") if only else list(CONTENDERS)
    unknown = [name for name in wanted if name not in CONTENDERS]
    if unknown:
        raise BenchError(f"unknown: {', '.join(unknown)}; there are {', '.join(CONTENDERS)}")
    began = time.monotonic()
    comparison = Comparison(seconds, visible, lambda line: print(line, flush=True))
    frame_bytes = 400
    trials: dict[str, dict] = {}
    for name in (name for name in CONTENDERS if name in wanted):
        contender = CONTENDERS[name]
        if name == "floor":
            contender = replace(contender, server=floor_server(frame_bytes))
        trial = comparison.run(contender)
        trials[name] = trial.as_json()
        if name == "tickstorm" and trial.common:
            newest = trial.common[max(trial.common)]
            frame_bytes = max(130, round(newest["bytes_per_player_s"] / TICK_HZ))

    result = {
        "kind": "compare",
        "contenders": trials,
        "ratios": ratios(trials),
        "common_players": COMMON_PLAYERS,
        "visible_wanted": visible,
        "tick_hz": TICK_HZ,
        "seconds": seconds,
        "gap_limit_ms": GAP_LIMIT_MS,
        "floor_frame_bytes": frame_bytes,
        "took_s": round(time.monotonic() - began),
        **crowd.context(),
    }
    out = Path(path) if path else ROOT / "results" / "compare.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    print(table(trials))
    for name, trial in trials.items():
        if trial["skipped"]:
            print(f"skipped {name}: {trial['skipped']}")
    for name, ratio in result["ratios"].items():
        print(f"  {name.replace('_', ' ')}: {ratio}")
    print(f"written to {out}")
    return 0
