"""The lobby's API and the game's websocket, plainly, with everything seen."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from typing import Any

from websockets.uri import parse_uri

from clients.bots import wire
from clients.bots.connection import Connection, Dropped


def api(
    page: str, method: str, path: str, body: Any = None, **headers: str
) -> tuple[int, dict[str, Any]]:
    """Status and JSON of a request; `body` goes as JSON."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", **headers}
    request = urllib.request.Request(
        page.rstrip("/") + path, method=method, data=data, headers=headers
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


PATIENCE_S = 30.0
"""A bound, not a promise: on a busy machine even a WELCOME takes a while."""


class Player:
    """A client that joins and listens. `welcome` is None where it was not let in; then, and
    after the end, `code` is the close code. `notices` are all that came."""

    open: list[Player] = []

    def __init__(self, url: str, name: str = "Ada", token: str | None = None, **options: Any):
        self.welcome: dict[str, Any] | None = None
        self.code: int | None = None
        self.notices: list[list] = []
        self.own: dict[str, Any] | None = None
        self._head = None
        self._seq = 0
        self._connection = Connection(parse_uri(url))
        Player.open.append(self)
        self._connection.send(wire.encode_hello(name, token, **options))
        self.listen(lambda: self.welcome is not None, PATIENCE_S)

    def listen(self, until=lambda: False, seconds: float = 5.0) -> bool:
        """Take in what comes until `until()`, the end, or so many seconds; returns until()."""
        deadline = time.monotonic() + seconds
        while not until() and self.code is None and time.monotonic() < deadline:
            try:
                for data in self._connection.receive(min(deadline, time.monotonic() + 0.1)):
                    self._take(wire.decode(data))
            except Dropped as drop:
                self.code = drop.code or 1006
        return until()

    def _take(self, message: list) -> None:
        if message[0] == wire.WELCOME:
            self.welcome = wire.check_welcome(message[1])
            self.world = wire.KnownWorld(self.welcome["declaration"])
        elif message[0] == wire.NOTICE:
            self.notices.append(message[1:])
        elif message[0] == wire.SNAPSHOT:
            self._head = self.world.apply(message[1], message[2])
            self.own = self._head["self"]

    @property
    def tick(self) -> int:
        return self._head["tick"]

    def see(self) -> None:
        """Wait for the next snapshot."""
        before = self._head
        assert self.listen(lambda: self._head is not None and self._head is not before, PATIENCE_S)

    def leave(self) -> None:
        self._connection.close(wire.encode_leave())

    def vanish(self) -> None:
        self._connection.abort()

    @classmethod
    def drop_all(cls) -> None:
        """Gone without a word, so that no server waits for an answer to its close."""
        for player in cls.open:
            player.vanish()
        cls.open.clear()


def joined(page: str, name: str = "Ada", **wanted: Any) -> Player:
    """A player who asked the lobby for a place and took it."""
    status, place = api(page, "POST", "/api/join", wanted)
    assert status == 200, place
    player = Player(place["url"], name, ticket=place["ticket"])
    player.place = place
    return player


def playing(page) -> int:
    """Wait until a page plays; its slot."""
    page.wait_for_function("() => window.tickstorm.client?.status.state === 'playing'")
    return page.evaluate("() => window.tickstorm.client.session.slot")
