"""A server that `tickstorm run` serves from a project, for tests of the command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.live_server import free_port
from tickstorm.cli import main
from tickstorm.client import Client, ConnectError, Disconnected, connect

SERVER = Path(__file__).parent.parent / "server"


class CommandServer:
    """`with CommandServer("--dev", preset="turns") as server:` serves a new project named dots.

    ``project`` is its folder, ``url`` its address, ``said`` the lines that it has printed.
    """

    def __init__(self, *arguments: str, preset: str = "minimal"):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.said: list[str] = []
        # Started as root, the worker becomes nobody, and pytest's own folders keep nobody out.
        self._folder = tempfile.TemporaryDirectory(prefix="tickstorm-")
        os.chmod(self._folder.name, 0o755)
        self.project = Path(self._folder.name) / "dots"
        assert main(["new", str(self.project), "--preset", preset]) == 0
        self._arguments = arguments

    def __enter__(self) -> CommandServer:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tickstorm", "run", "--port", str(self.port), *self._arguments],
            cwd=self.project,
            env=os.environ | {"PYTHONPATH": str(SERVER)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        return self

    def _listen(self) -> None:
        for line in self.process.stdout:
            self.said.append(line.rstrip("\n"))

    def join(self, name: str, seconds: float = 15.0, **wanted) -> Client:
        """A player, as soon as the server lets it in."""
        until = time.monotonic() + seconds
        while True:
            try:
                return connect(self.url, game="dots", name=name, **wanted)
            except (ConnectError, Disconnected, TimeoutError):
                if time.monotonic() > until or self.process.poll() is not None:
                    raise AssertionError("\n".join(self.said)) from None
                time.sleep(0.1)

    def wait_for(self, text: str, seconds: float = 15.0) -> None:
        """Until a line with this text was printed."""
        until = time.monotonic() + seconds
        while not any(text in line for line in self.said):
            assert time.monotonic() < until, "\n".join(self.said)
            time.sleep(0.05)

    def edit(self, before: str, after: str) -> None:
        """Save other rules."""
        rules = self.project / "dots.py"
        text = rules.read_text()
        assert before in text
        rules.write_text(text.replace(before, after))

    def stop(self) -> int:
        """As Ctrl-C does; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            code = self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        self._listener.join(5)
        return code

    def __exit__(self, *_: object) -> None:
        try:
            self.stop()
        finally:
            self._folder.cleanup()
