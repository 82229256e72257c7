"""Answers of the pages and interfaces for operators."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from ..lobby.web import SECURITY_HEADERS, StartResponse

STATUS = {
    200: "200 OK",
    202: "202 Accepted",
    304: "304 Not Modified",
    308: "308 Permanent Redirect",
    400: "400 Bad Request",
    401: "401 Unauthorized",
    403: "403 Forbidden",
    404: "404 Not Found",
    405: "405 Method Not Allowed",
    409: "409 Conflict",
    413: "413 Content Too Large",
    415: "415 Unsupported Media Type",
    429: "429 Too Many Requests",
    503: "503 Service Unavailable",
}


def answer(
    start_response: StartResponse,
    status: int,
    body: bytes = b"",
    kind: str = "text/plain; charset=utf-8",
    headers: Iterable[tuple[str, str]] = (),
    security: Iterable[tuple[str, str]] = SECURITY_HEADERS,
) -> list[bytes]:
    """A whole answer. It is never cached: what it says is true now."""
    start_response(
        STATUS[status],
        [
            ("Content-Type", kind),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            *security,
            *headers,
        ],
    )
    return [body]


def as_json(
    start_response: StartResponse,
    value: Any,
    status: int = 200,
    headers: Iterable[tuple[str, str]] = (),
) -> list[bytes]:
    body = json.dumps(value, separators=(",", ":")).encode() + b"\n"
    return answer(start_response, status, body, "application/json", headers)


def token_of(environ: dict) -> str:
    """The bearer token of a request, or "". Nothing here goes by cookies, so no other page can
    have a browser ask in its user's name."""
    scheme, _, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
