"""A real server with a tiny game of the test's own, written into a file."""

from __future__ import annotations

import os
import signal
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

from tests.live_server import LiveServer
from tickstorm.client import Client, Disconnected, connect
from tickstorm.games import catalogue
from tickstorm.games.room import Game
from tickstorm.records import ledger

HEAD = (
    "from __future__ import annotations\n"
    "from tickstorm import *\n"
    "from tickstorm import Entity, Input, Player, Refuse, Room, message, setting, synced\n"
    "from tickstorm import choice, flag, number, text, whole\n"
)


def write_game(folder: Path, source: str, name: str = "rules.py") -> Path:
    """A file of rules; the imports are there already."""
    path = folder / name
    path.write_text(HEAD + textwrap.dedent(source))
    return path


class ObjectServer(LiveServer):
    """`with ObjectServer(tmp_path, SOURCE) as server:` — the game is the file's one room."""

    def __init__(self, folder: Path, source: str, **options: object):
        self.rules = write_game(folder, source)
        super().__init__(GAMES=self.rules, ROOMS_PER_MINUTE=0, **options)
        self.environ["VIRTUAL_ENV"] = sys.prefix
        # SIGHUP executes the python3 that the path leads to.
        self.environ["PATH"] = f"{Path(sys.executable).parent}:{self.environ['PATH']}"
        self.data = Path(self.environ["DATA_DIR"])

    def join(self, name: str = "Ada", **how: Any) -> Client:
        return connect(self.page, name=name, **how)

    def new_room(self, name: str = "Ada", **how: Any) -> Client:
        return connect(self.page, name=name, settings={}, **how)

    @property
    def worker(self) -> int:
        """The process that plays."""
        return self.workers[0]

    def starts(self) -> int:
        return self.log().count("serves http://")

    def kill_worker(self) -> None:
        """The worker dies at once, and another one takes its place."""
        before = self.starts()
        os.kill(self.worker, signal.SIGKILL)
        self.wait_for_start(before)

    def reload(self) -> None:
        before = self.starts()
        self.signal(signal.SIGHUP)
        self.wait_for_start(before)

    def wait_for_start(self, before: int) -> None:
        wait_for(lambda: self.starts() > before, 20)
        self.wait_until_up()

    def game(self) -> Game:
        return catalogue.load(str(self.rules)).first.game

    def verify(self, room: str) -> int:
        """How many ticks of a room come out the same again; there must be no difference."""
        same, difference = ledger.verify(self.game(), self.data / "objects", room)
        assert not difference, difference
        return same


def wait_for(condition, seconds: float = 10.0) -> Any:
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.02)
    return found


def back(client: Client) -> Client:
    """The same player again, over a new connection."""
    until = time.monotonic() + 10
    while True:
        try:
            client.reconnect()
            return client
        except (OSError, Disconnected):
            assert time.monotonic() < until, "nobody lets it in again"
            time.sleep(0.05)


def closed(client: Client, seconds: float = 5.0) -> tuple[int, str]:
    """With which code, and why, the server closed the connection."""
    try:
        client.update(seconds)
    except Disconnected as end:
        return end.code, end.reason
    raise AssertionError("the connection is open")
