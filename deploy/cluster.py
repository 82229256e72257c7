"""A cluster on this machine: ``python deploy/cluster.py --nodes 2 --port 8000``.

Redis, that many nodes under uWSGI's Emperor, and nginx in front with one public address.
Ctrl-C ends it all. ``--restart`` in another terminal restarts the nodes one after the
other: each hands its rooms to the others first, and their players follow.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
READY_S = 30.0
END_S = 10.0


class Node(NamedTuple):
    name: str
    port: int


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody uses now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports


def program(name: str) -> str:
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if found is None:
        sys.exit(f"tickstorm: {name} is missing here (Debian: apt install {name})")
    return found


class Cluster:
    """The processes of a cluster, and the folder with their files."""

    def __init__(self, options: argparse.Namespace):
        self.options = options
        self.folder = Path(options.folder).resolve()
        self.nodes: list[Node] = []
        self._processes: list[tuple[str, subprocess.Popen]] = []

    def start(self) -> None:
        options, folder = self.options, self.folder
        programs = {name: program(name) for name in ("redis-server", "nginx")}
        vassals = folder / "vassals"
        vassals.mkdir(parents=True, exist_ok=True)
        for old in vassals.glob("*.ini"):
            old.unlink()
        redis_port, *ports = free_ports(1 + options.nodes)
        self.nodes = [Node(f"n{i + 1}", port) for i, port in enumerate(ports)]
        redis = ["--port", str(redis_port), "--bind", "127.0.0.1", "--dir", str(folder)]
        self._run("redis", programs["redis-server"], *redis, "--save", "", "--appendonly", "no")
        self._wait("Redis", lambda: _answers(redis_port))
        for node in self.nodes:
            self._write_vassal(vassals, node, f"redis://127.0.0.1:{redis_port}/0")
        uwsgi = Path(os.environ.get("VIRTUAL_ENV") or ROOT / ".venv") / "bin" / "uwsgi"
        self._run("emperor", str(uwsgi), "--set", f"vassals={vassals}", "deploy/emperor.ini")
        self._write_nginx()
        for node in self.nodes:
            self._wait(f"node {node.name}", lambda node=node: _ready(node.port))
        self._run("nginx", programs["nginx"], "-c", str(folder / "nginx.conf"), "-p", str(folder))
        self._wait("nginx", lambda: _ready(options.port))
        (folder / "nodes.json").write_text(json.dumps(self.nodes))

    def _write_vassal(self, vassals: Path, node: Node, redis: str) -> None:
        data = self.folder / node.name
        data.mkdir(exist_ok=True)
        environment = {
            "HOST": "127.0.0.1",
            "PORT": node.port,
            "NODE": node.name,
            "NODE_URL": f"/n/{node.name}/ws",
            "DIRECTORY": redis,
            "SECRET": self._secret(),
            "DATA_DIR": data,
            "TRUSTED_PROXIES": "127.0.0.1",
            "BOTS": self._bots(node),
        }
        lines = ["[uwsgi]", *(f"env = {key}={value}" for key, value in environment.items())]
        lines.append(f"ini = {ROOT / 'uwsgi.ini'}")
        path = vassals / f"{node.name}.ini"
        path.touch(0o600)  # the secret is in it
        path.write_text("\n".join(lines) + "\n")

    def _bots(self, node: Node) -> int:
        """This node's part of them."""
        each, more = divmod(self.options.bots, self.options.nodes)
        return each + (self.nodes.index(node) < more)

    def _secret(self) -> str:
        """What all nodes sign with; kept, so that tokens outlive the cluster."""
        path = self.folder / "secret"
        if not path.exists():
            path.touch(0o600)
            path.write_text(secrets.token_hex(32))
        return path.read_text()

    def _write_nginx(self) -> None:
        values = {
            "folder": str(self.folder),
            "listen": f"{self.options.host}:{self.options.port}",
            "servers": "\n".join(
                f"        server 127.0.0.1:{node.port} max_fails=1 fail_timeout=2s;"
                for node in self.nodes
            ),
            "addresses": "\n".join(
                f"        {node.name} 127.0.0.1:{node.port};" for node in self.nodes
            ),
        }
        text = (ROOT / "deploy" / "nginx.conf.template").read_text()
        for key, value in values.items():
            text = text.replace(f"@{key}@", value)
        (self.folder / "nginx.conf").write_text(text)

    def _run(self, name: str, *command: str) -> None:
        # In sessions of their own, so that Ctrl-C is ours to pass on, in the right order.
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT, start_new_session=True
            )
        self._processes.append((name, process))

    def _wait(self, what: str, ready) -> None:
        until = time.monotonic() + READY_S
        while not ready():
            self.check()
            if time.monotonic() > until:
                raise SystemExit(f"tickstorm: {what} did not start; see {self.folder}/*.log")
            time.sleep(0.1)

    def check(self) -> None:
        """Raises SystemExit when a process has ended."""
        for name, process in self._processes:
            if process.poll() is not None:
                raise SystemExit(f"tickstorm: {name} ended; see {self.folder / name}.log")

    def stop(self) -> None:
        """End everything, what others need last."""
        for name, process in sorted(self._processes, key=lambda item: item[0] == "redis"):
            if process.poll() is None:
                process.send_signal(signal.SIGINT if name == "emperor" else signal.SIGTERM)
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def _health(port: int) -> dict | None:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2) as response:
            return json.load(response)
    except (OSError, ValueError):
        return None


def _ready(port: int) -> bool:
    """Does it take players, and other nodes' rooms?"""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2):
            return True
    except OSError:
        return False


def restart(folder: Path) -> None:
    """One node after the other: drained, restarted, back in the directory."""
    try:
        nodes = json.loads((folder / "nodes.json").read_text())
    except FileNotFoundError:
        raise SystemExit(
            f"tickstorm: no cluster runs from {folder}: start `make cluster`"
        ) from None
    for name, port in nodes:
        before = (_health(port) or {}).get("started")
        (folder / "vassals" / f"{name}.ini").touch()
        began = time.monotonic()
        while True:
            time.sleep(0.2)
            health = _health(port)
            if health and health["started"] != before and _ready(port):
                break
            if time.monotonic() - began > READY_S:
                raise SystemExit(f"tickstorm: node {name} did not come back")
        print(f"tickstorm: node {name} restarted in {time.monotonic() - began:.1f} s", flush=True)


def _number(low: int, high: int):
    """The type of an option that is a whole number in this range."""

    def parse(text: str) -> int:
        if not text.isdecimal() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(
                f"{text!r} is not allowed: a whole number from {low} to {high}"
            )
        return int(text)

    return parse


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--nodes", type=_number(1, 32), default=2, metavar="N")
    parser.add_argument("--host", default=os.environ.get("HOST", "127.0.0.1"))
    parser.add_argument("--port", type=_number(1, 65535), default=8000)
    parser.add_argument("--bots", type=_number(0, 1000), default=24, help="spread over the nodes")
    parser.add_argument("--folder", default=str(ROOT / "var" / "cluster"))
    parser.add_argument("--restart", action="store_true", help="restart the nodes one by one")
    options = parser.parse_args()
    if options.restart:
        restart(Path(options.folder).resolve())
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # Started in the background by a shell, it would ignore this one.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    cluster = Cluster(options)
    try:
        cluster.start()
        names = ", ".join(f"{node.name} on port {node.port}" for node in cluster.nodes)
        print(
            f"tickstorm: http://{options.host}:{options.port} ({names}; Ctrl-C ends it)", flush=True
        )
        while True:
            cluster.check()
            time.sleep(0.5)
    except KeyboardInterrupt:
        return 0
    finally:
        cluster.stop()


if __name__ == "__main__":
    sys.exit(main())
