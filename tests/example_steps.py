"""What the tests of the examples do, again and again."""

from __future__ import annotations

import json
import os
import urllib.request


def create(server, game: str, **settings: object) -> str:
    """A new room by the HTTP API; the link to its page."""
    body = {"key": os.urandom(8).hex(), "game": game, "settings": settings}
    request = urllib.request.Request(
        f"{server.page}api/rooms", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=5) as response:
        return f"{server.page}{game}/#{json.load(response)['room']}"


def reads(page, selector: str, words: str) -> None:
    """Wait until an element that can be seen says these words, among others."""
    page.locator(selector).filter(has_text=words).first.wait_for()
