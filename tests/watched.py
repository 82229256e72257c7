"""Bots that keep what they were shown, and a worker that dies beside them."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import gevent
from websockets.uri import parse_uri

from clients.bots.__main__ import Crowd
from tests.live_server import LiveServer
from tickstorm.records import journal

ODD_RULES = Path(__file__).parent / "odd_rules"


class Watched(Crowd):
    """Bots in this process; what each of them was shown of its own ship is kept."""

    def __init__(self, server: LiveServer, players: int, seed: int = 5):
        super().__init__(parse_uri(server.url), players, seed)
        self.server = server
        self.seen: dict[tuple[int, int], dict] = {}
        """Own state by (tick, slot)."""
        self._starts = self._started()

    def __enter__(self) -> Watched:
        self.start()
        self._watcher = gevent.spawn(self._watch)
        self.wait(lambda: self.connected == len(self.bots), "all to connect")
        return self

    def __exit__(self, *_) -> None:
        self._watcher.kill()
        self.stop()

    def wait(self, condition, what: str, seconds: float = 30) -> None:
        until = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < until, f"in vain waited for {what}:\n{self.server.log()}"
            gevent.sleep(0.02)

    def wait_until_all_are_back(self) -> None:
        """After a restart, or while there is one: until all get snapshots of the new process."""
        starts, self._starts = self._starts, -1
        self.wait(lambda: self._started() > starts, "the restart")
        self._starts = self._started()
        before = self.ticks()
        self.wait(lambda: all(t > b + 2 for t, b in zip(self.ticks(), before)), "snapshots")
        self.wait(lambda: all(bot.session and bot.session.own for bot in self.bots), "ships")

    def _started(self) -> int:
        return self.server.log().count("serves http://")

    def ticks(self) -> list[int]:
        """Of the last snapshot of each, 0 while it has none."""
        worlds = [bot.session and bot.session.world for bot in self.bots]
        return [(world.tick or 0) if world else 0 for world in worlds]

    def slots(self) -> list[int]:
        return [bot.session.welcome["slot"] for bot in self.bots]

    @property
    def newest_tick(self) -> int:
        return max(tick for tick, _ in self.seen)

    def _watch(self) -> None:
        while True:
            for bot in self.bots:
                session = bot.session
                if session is not None and session.own:
                    self.seen[session.world.tick, session.welcome["slot"]] = dict(session.own)
            gevent.sleep(0.02)


def folder(server: LiveServer) -> Path:
    return journal.folder_of(server.environ["DATA_DIR"], "arena")


def worker(server: LiveServer) -> int:
    """Process id of the newest worker."""
    return int(re.findall(r"worker 1 \((?:new )?pid: (\d+)", server.log())[-1])


def kill_worker(server: LiveServer) -> None:
    pid = worker(server)
    os.kill(pid, signal.SIGKILL)
    until = time.monotonic() + 20
    while worker(server) == pid:
        assert time.monotonic() < until, server.log()
        gevent.sleep(0.02)
