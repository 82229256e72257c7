"""What the admin page asks of a server, asked plainly."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import pytest

from tests.live_server import LiveServer

ACT, LOOK = "act-act-act-act-act", "look-look-look-look"


class Api:
    def __init__(self, server: LiveServer, token: str = ACT):
        self.server, self.token = server, token

    def open(self, path: str, body: dict | None = None, **headers: str):
        request = urllib.request.Request(f"{self.server.page}admin/api/{path}")
        request.add_header("Authorization", f"Bearer {self.token}")
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        for name, value in headers.items():
            request.add_header(name.replace("_", "-"), value)
        return urllib.request.urlopen(request, timeout=10)

    def get(self, path: str) -> dict:
        with self.open(path) as response:
            return json.load(response)

    def act(self, name: str, /, **about: object) -> str:
        with self.open("act", {"act": name, **about}) as response:
            return json.load(response)["done"]

    def refused(self, name: str, /, **about: object) -> tuple[int, str]:
        with pytest.raises(urllib.error.HTTPError) as no:
            self.act(name, **about)
        return no.value.code, json.load(no.value)["error"]

    def look(self, room: str = "") -> dict[str, dict]:
        """The first message of the stream, by event."""
        found = {}
        with self.open(f"live?room={room}") as response:
            assert response.headers["Content-Type"] == "text/event-stream"
            while "rooms" not in found and "room" not in found:
                name = response.readline().decode().removeprefix("event: ").strip()
                found[name] = json.loads(response.readline().decode().removeprefix("data: "))
                response.readline()
        return found
