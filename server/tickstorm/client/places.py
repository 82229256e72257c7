"""The way to a room: the HTTP API of a server, asked for a place."""

from __future__ import annotations

import json
import secrets
import urllib.error
import urllib.request
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit, urlunsplit

TIMEOUT_S = 5.0


class ConnectError(Exception):
    """No way into the room; the message says why."""


class Place(NamedTuple):
    """Where to open a WebSocket, and what opens the way."""

    url: str
    ticket: str | None


def find(
    url: str,
    game: str | None = None,
    room: str | None = None,
    token: str | None = None,
    watch: bool = False,
    settings: dict[str, Any] | None = None,
) -> Place:
    """A place at the server `url`: its ``http://…`` address, or at once the ``ws://…/ws`` one.

    With `settings`, a room is made; with `room` (an id or code) it is that one; else the fullest
    public room of `game` that has a seat. Blocks. Raises `ConnectError`.
    """
    parts = urlsplit(url if "//" in url else f"http://{url}")
    if parts.scheme in ("ws", "wss"):
        if settings:
            raise ConnectError("settings are for a new room: give the server's http:// address")
        query = "&".join(filter(None, [parts.query, urlencode({"room": room}) if room else ""]))
        path = parts.path if parts.path not in ("", "/") else "/ws"
        return Place(urlunsplit((parts.scheme, parts.netloc, path, query, "")), None)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConnectError(f"{url!r}: allowed is http://HOST:PORT or ws://HOST:PORT/ws")
    base = f"{parts.scheme}://{parts.netloc}"
    chosen = {"game": game} if game else {}
    if settings is not None:
        made = _post(
            base, "/api/rooms", {"key": secrets.token_hex(12), **chosen, "settings": settings}
        )
        room = made["room"]
    wanted: dict[str, Any]
    if token:
        wanted = {"token": token}
    elif room:
        wanted = {"code" if "-" in room else "room": room}
    else:
        wanted = {"quick": True} | chosen
    answer = _post(base, "/api/join", wanted | ({"watch": True} if watch else {}))
    return Place(answer["url"], answer.get("ticket"))


def _post(base: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(
        base + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        try:
            message = json.load(error)["message"]
        except (ValueError, KeyError, TypeError):
            message = error.reason
        raise ConnectError(f"{base} answers {error.code}: {message}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise ConnectError(f"no server answers at {base}: {reason}; is it running?") from None
