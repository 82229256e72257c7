"""A real redis-server on a free port, that can be stopped, halted and started again."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
import redis

from tests.live_server import free_port


class RedisServer:
    """`with RedisServer() as redis:` — ``redis.url`` is where it listens."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = tempfile.TemporaryDirectory(prefix="tickstorm-redis-")
        self._process: subprocess.Popen | None = None

    def start(self) -> None:
        """Start it, empty, and wait until it listens."""
        with (Path(self._folder.name) / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
                 "--appendonly", "no", "--dir", self._folder.name],
                stdout=log,
                stderr=subprocess.STDOUT,
            )  # fmt: skip
        until = time.monotonic() + 10
        while time.monotonic() < until:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise AssertionError("redis-server did not start")

    def client(self) -> redis.Redis:
        """For a look, or a hand, inside."""
        return redis.Redis.from_url(self.url)

    def stop(self) -> None:
        """End it; what it knew is gone."""
        self._process.send_signal(signal.SIGCONT)
        self._process.kill()
        self._process.wait()

    def halt(self) -> None:
        """It hangs: connections stay open, nothing is answered."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> RedisServer:
        if shutil.which("redis-server") is None:
            pytest.skip("no redis-server found (Debian: apt install redis-server)")
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._folder.cleanup()
