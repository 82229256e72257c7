"""Starting a server on its own core, watching what it uses, and ending it whatever happens."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.metadata
import json
import os
import platform
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Self

ROOT = Path(__file__).resolve().parent.parent
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20


class BenchError(Exception):
    """The benchmark could not be carried out; the text says why."""


def cores() -> tuple[set[int], set[int]]:
    """Cores for the server (one) and for the clients; both empty where pinning can't be done."""
    if not hasattr(os, "sched_getaffinity"):
        return set(), set()
    available = sorted(os.sched_getaffinity(0))
    if len(available) < 2:
        return set(), set()
    return {available[0]}, set(available[1:])


def child_setup(cpus: set[int]):
    """What a child does before it runs: takes its cores, all file descriptors allowed,
    and its leave when the benchmark itself is killed."""
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None

    def setup() -> None:
        if cpus:
            os.sched_setaffinity(0, cpus)
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        if prctl:
            pr_set_pdeathsig = 1
            prctl(pr_set_pdeathsig, signal.SIGTERM)

    return setup


def require_descriptors(players: int) -> None:
    """Refuse a crowd that the limit on open files cannot hold."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and players + 100 > hard:
        raise BenchError(
            f"{players} players need {players + 100} open files per process, allowed are {hard}; "
            "raise the hard limit (ulimit -Hn)"
        )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class ServerProcess:
    """A server as a child process in a group of its own; use it with `with`.

    It is ready when its port accepts or, if it has one, its `/healthz` says "ok"; and gone,
    children included, when the block ends.
    """

    def __init__(
        self,
        command: list[str],
        port: int,
        env: dict[str, str] | None = None,
        health: bool = False,  # whether it answers GET /healthz
    ):
        self.command = [str(part) for part in command]
        self.port = port
        self.env = env or {}
        self.has_health = health

    def __enter__(self) -> Self:
        self.log = tempfile.TemporaryFile()
        # A folder of its own, so that it finds nothing that an earlier one has left.
        self.data = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        try:
            self.process = subprocess.Popen(
                self.command,
                cwd=ROOT,
                env={**os.environ, "DATA_DIR": self.data.name, **self.env},
                stdin=subprocess.DEVNULL,
                stdout=self.log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=child_setup(cores()[0]),  # noqa: PLW1509 (no threads here)
            )
        except OSError as error:
            self.log.close()
            self.data.cleanup()
            raise BenchError(f"cannot start {self.command[0]}: {error}") from error
        try:
            self._wait_until_ready(20.0)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_) -> None:
        self.stop()

    def _wait_until_ready(self, limit_s: float) -> None:
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise BenchError(f"the server ended at once:\n{self.output()}")
            if self._ready():
                return
            time.sleep(0.05)
        raise BenchError(f"the server was not ready within {limit_s:g} s:\n{self.output()}")

    def _ready(self) -> bool:
        if self.has_health:
            return self.health().get("status") == "ok"
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 1.0).close()
            return True
        return False

    def output(self, lines: int = 15) -> str:
        """The last lines of what the server printed."""
        fd = self.log.fileno()
        data = os.pread(fd, os.fstat(fd).st_size, 0)  # the server writes on at its own place
        return "\n".join(data.decode(errors="replace").splitlines()[-lines:])

    def alive(self) -> bool:
        return self.process.poll() is None

    def stop(self) -> None:
        """SIGTERM, five seconds of grace, then SIGKILL to the whole group."""
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5.0)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.log.close()
        self.data.cleanup()

    def health(self) -> dict:
        """What GET /healthz says; empty where there is none."""
        if not self.has_health:
            return {}
        url = f"http://127.0.0.1:{self.port}/healthz"
        try:
            with urllib.request.urlopen(url, timeout=3.0) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            with contextlib.suppress(ValueError):
                return json.load(error)
            return {}
        except (OSError, ValueError):
            return {}

    def usage(self) -> tuple[float, float]:
        """CPU seconds used so far, and resident megabytes, of the server and its children."""
        cpu_s = memory_mb = 0.0
        for stat in _group_stats(self.process.pid):
            cpu_s += (int(stat[11]) + int(stat[12])) / CLOCK_TICKS
            memory_mb += int(stat[21]) * PAGE_MB
        return cpu_s, memory_mb


def _group_stats(group: int) -> list[list[str]]:
    """The fields of /proc/<pid>/stat from `state` on, for each process of a group."""
    found = []
    for entry in Path("/proc").iterdir() if sys.platform == "linux" else ():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[2]) == group:
                    found.append(fields)
    return found


def core_use() -> dict[str, float]:
    """Seconds so far: `busy` on the server's core, whoever it was; `stolen` by the hypervisor
    from the cores in use here."""
    server, clients = cores()
    use = {"busy": 0.0, "stolen": 0.0}
    with contextlib.suppress(OSError):
        for line in Path("/proc/stat").read_text().splitlines():
            name, *fields = line.split()
            if name.startswith("cpu") and name[3:].isdigit() and int(name[3:]) in server | clients:
                user, nice, system, _, _, irq, softirq, steal = map(int, fields[:8])
                use["stolen"] += steal / CLOCK_TICKS
                if int(name[3:]) in server:
                    use["busy"] += (user + nice + system + irq + softirq) / CLOCK_TICKS
    return use


def machine() -> dict:
    """Enough to know what a figure was measured on."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    server, clients = cores()
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "server_core": min(server, default=None),
        "client_cores": sorted(clients),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def versions(*packages: str) -> dict[str, str]:
    """Installed versions of Python packages; one that is absent is left out."""
    found = {}
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def revision() -> str:
    """The commit that is checked out, with a + when files differ from it."""
    try:
        git = ["git", "-C", str(ROOT)]
        commit = subprocess.check_output([*git, "rev-parse", "--short", "HEAD"], text=True).strip()
        changes = subprocess.check_output([*git, "status", "--porcelain", "-uno"], text=True)
        return commit + ("+" if changes.strip() else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
