"""Starts the real uWSGI with the real uwsgi.ini, and ends it."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parent.parent


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def _end_with_parent() -> None:
    """Should the test run be killed, Linux tells the server to stop."""
    PR_SET_PDEATHSIG = 1
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT)


class LiveServer:
    """`with LiveServer(BOTS=3) as server:` — options are environment variables.

    ``url`` is the websocket's, ``page`` the page's; ``log()`` is all that was printed so far.
    `command` starts another host in uWSGI's place.
    """

    command = [str(Path(sys.executable).parent / "uwsgi"), "uwsgi.ini"]

    def __init__(self, **options: object):
        self.port = free_port()
        self.url = f"ws://127.0.0.1:{self.port}/ws"
        self.page = f"http://127.0.0.1:{self.port}/"
        self._folder = tempfile.TemporaryDirectory(prefix="tickstorm-")
        os.chmod(self._folder.name, 0o755)  # started as root, the worker becomes nobody
        data_dir = f"{self._folder.name}/data"
        defaults = {"BOTS": 0, "ROOM_BOTS": 0, "SEED": 1, "MAX_PLAYERS": 200, "DATA_DIR": data_dir}
        chosen = {**defaults, **options, "HOST": "127.0.0.1", "PORT": self.port}
        self.environ = {**os.environ, **{k: str(v) for k, v in chosen.items()}}
        self.process: subprocess.Popen | None = None
        self._log = Path(self._folder.name) / "log"

    def start(self) -> None:
        """Start it and wait until it ticks."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=ROOT,
                env=self.environ,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )
        self.wait_until_up()

    def wait_until_up(self, seconds: float = 60) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                health = self.health()
                # A room of objects waits for its first player.
                if health["tick"] > 0 or "entities" in health["stats"]:
                    return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                pass
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise AssertionError(f"the server did not start:\n{self.log()}")

    @property
    def workers(self) -> list[int]:
        """The processes that play; the keeper and what else the master has started are none."""
        return [pid for pid, command in self.children().items() if "uwsgi" in command]

    @property
    def keeper(self) -> int:
        return next(pid for pid, command in self.children().items() if "keeper" in command)

    def children(self) -> dict[int, str]:
        """The command of each process under uWSGI's master."""
        found, master = {}, self.process.pid
        for pid in Path(f"/proc/{master}/task/{master}/children").read_text().split():
            with contextlib.suppress(OSError):  # it has just ended
                found[int(pid)] = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
        return found

    def health(self) -> dict:
        with urllib.request.urlopen(f"{self.page}healthz", timeout=5) as response:
            return json.load(response)

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def stop(self) -> int:
        """End it as Ctrl-C would; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            raise AssertionError(f"the server did not stop:\n{self.log()}") from None

    def __enter__(self) -> LiveServer:
        try:
            self.start()
        except BaseException:  # an interrupt too must not leave a server behind
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.stop()
        finally:
            self._folder.cleanup()
