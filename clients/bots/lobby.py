"""Asking the lobby for a place: ``POST /api/join`` over gevent's sockets."""

from __future__ import annotations

import json
import time
from http.client import HTTPConnection, HTTPException
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import gevent
from gevent import socket

from .connection import Dropped

TIMEOUT_S = 5.0
PATIENCE_S, AGAIN_S = 15.0, 0.5


class Place(NamedTuple):
    """Where to play. `ticket` is None where a token opens the way."""

    url: str
    ticket: str | None
    node: str


class Lobby:
    """The lobby at an address such as ``http://127.0.0.1:8000``."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"{url!r}: allowed is http://HOST:PORT")
        self._host, self._port = parts.hostname, parts.port or 80

    def join(self, **wanted: Any) -> Place:
        """Ask for ``quick=True``, ``room=…`` or ``token=…``; again for a while, where the lobby
        says that this helps. Raises `Dropped` with the status."""
        until = time.monotonic() + PATIENCE_S
        status, answer = self._post("/api/join", wanted)
        while status in (429, 503) and time.monotonic() < until:
            gevent.sleep(AGAIN_S)
            status, answer = self._post("/api/join", wanted)
        if status != 200:
            message = answer.get("message", "no reason given")
            raise Dropped(f"the lobby answers {status}: {message}", status=status)
        return Place(answer["url"], answer["ticket"], answer["node"])

    def _post(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        connection = HTTPConnection(self._host, self._port)
        try:
            # With a socket given, the client library opens none that would block everyone.
            connection.sock = socket.create_connection((self._host, self._port), TIMEOUT_S)
            headers = {"Content-Type": "application/json", "Connection": "close"}
            connection.request("POST", path, json.dumps(body), headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        except (OSError, HTTPException) as error:
            raise Dropped(f"cannot ask the lobby: {error}") from error
        except ValueError:
            return response.status, {}  # a proxy's page
        finally:
            connection.close()
