"""A real redis-server and real nodes on it, each a uWSGI of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack

from tests.live_server import LiveServer
from tests.lobby_client import Player, api
from tests.redis_server import RedisServer


class NodeServer(LiveServer):
    """A node that clients reach directly."""

    def __init__(self, name: str, redis_url: str, **options: object):
        super().__init__(DIRECTORY=redis_url, NODE=name, SECRET="shared by all nodes", **options)
        self.name = name
        self.environ["NODE_URL"] = self.url

    def processes(self) -> list[int]:
        """The master and all below it."""
        found, left = [], [self.process.pid]
        while left:
            pid = left.pop()
            found.append(pid)
            try:
                with open(f"/proc/{pid}/task/{pid}/children") as file:
                    left += [int(child) for child in file.read().split()]
            except FileNotFoundError:
                pass
        return found

    def starts(self) -> int:
        """How often its worker has started."""
        return self.log().count("serves http://")

    def loads(self) -> dict[str, dict]:
        """Its rooms as `/healthz` shows them; none while it restarts."""
        try:
            return self.health()["room_loads"]
        except OSError:
            return {}

    def signal_all(self, number: int) -> None:
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):  # one may end with another's signal
                os.kill(pid, number)

    def kill(self) -> None:
        """The machine is gone."""
        self.signal_all(signal.SIGKILL)
        self.process.wait()


class Cluster:
    """`with Cluster(2) as cluster:` — ``redis``, ``nodes``; ``page`` is the first node's."""

    def __init__(self, nodes: int, redis_url: str | None = None, **options: object):
        self._stack = ExitStack()
        self._count, self._options = nodes, options
        self._redis_url = redis_url
        self.nodes: list[NodeServer] = []

    def __enter__(self) -> Cluster:
        with ExitStack() as stack:
            self.redis = stack.enter_context(RedisServer())
            url = self._redis_url or self.redis.url
            for name in "abcdefgh"[: self._count]:
                node = NodeServer(name, url, **self._options)
                self.nodes.append(stack.enter_context(node))
            self.page = self.nodes[0].page
            wait_for(lambda: len(self.rooms()) == self._count)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        Player.drop_all()
        self._stack.close()

    def rooms(self) -> dict[str, dict]:
        """The public rooms, by id."""
        _, answer = api(self.page, "GET", "/api/rooms")
        return {room["room"]: room for room in answer.get("rooms", [])}

    def node_of(self, room: str) -> NodeServer:
        """Where a room runs now."""
        _, place = api(self.page, "POST", "/api/join", {"room": room, "watch": True})
        return next(node for node in self.nodes if node.name == place["node"])

    def other(self, node: NodeServer) -> NodeServer:
        return next(one for one in self.nodes if one is not node)


def wait_for(condition: Callable[[], object], seconds: float = 30.0) -> float:
    """Wait until it holds; returns how long that took, seconds."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, "it did not happen"
        time.sleep(0.02)
    return time.monotonic() - began
