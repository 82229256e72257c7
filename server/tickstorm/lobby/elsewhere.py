"""Requests for another worker of this machine. Any worker accepts any request, but a client that
comes over plain HTTP or Socket.IO is with one of them: its requests name it, and go there, socket
and all, the way that WebSockets go to their rooms (`machine.py`).
"""

from __future__ import annotations

import io
import socket
from collections.abc import Callable, Iterable
from typing import Any

from ..transport.held import head, send_all

MOST_BODY = 1 << 16
"""Bytes of a body that goes along; a larger one is refused where it goes, as it would be here."""

Application = Callable[[dict, Callable[..., Any]], Iterable[bytes]]


def packed(environ: dict) -> tuple[dict[str, str], bytes]:
    """A request as another process can have it: what is text of its environment, and its body."""
    request = {key: value for key, value in environ.items() if isinstance(value, str)}
    length = environ.get("CONTENT_LENGTH") or "0"
    body = b""
    if length.isdecimal() and 0 < int(length) <= MOST_BODY:
        try:
            body = environ["wsgi.input"].read(int(length))
        except OSError:
            pass  # it went
    return request, body


def answer(
    sock: socket.socket,
    application: Application,
    request: dict[str, str],
    body: bytes,
    seconds: float,
) -> None:
    """Answer it on its socket. Nothing is written if the application goes on with that itself."""
    told: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]]) -> Callable[[bytes], None]:
        told[:] = [status, headers]
        return lambda data: None

    parts = application({**request, "wsgi.input": io.BytesIO(body)}, start_response)
    if told:
        try:
            send_all(sock, head(told[1], told[0]) + b"".join(parts), seconds)
        except OSError:
            pass  # it went, or takes nothing
