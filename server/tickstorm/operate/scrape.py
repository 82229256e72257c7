"""`GET /metrics`: made at most once a second, however many ask."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from time import monotonic

from ..lobby.web import StartResponse, Web
from . import metrics
from .http import answer, token_of

KEPT_S = 1.0


class Scrape:
    """The WSGI application. `gather()` returns the samples of each process of the machine, by
    default those of this one; `token`, unless empty, must come as bearer."""

    def __init__(
        self,
        web: Web,
        token: str = "",
        gather: Callable[[], list[list[metrics.Sample]]] | None = None,
        clock: Callable[[], float] = monotonic,
    ):
        self._gather = gather or (lambda: [metrics.collect(web)])
        self._token = token
        self._clock = clock
        self._text, self._made_at = b"", -KEPT_S

    def __call__(self, environ: dict, start_response: StartResponse) -> list[bytes]:
        method = environ.get("REQUEST_METHOD", "")
        if environ.get("PATH_INFO") != "/metrics":
            return answer(start_response, 404, b"no such page\n")
        if method not in ("GET", "HEAD"):
            return answer(
                start_response, 405, b"GET and HEAD only\n", headers=[("Allow", "GET, HEAD")]
            )
        if self._token and not hmac.compare_digest(
            token_of(environ).encode(), self._token.encode()
        ):
            return answer(start_response, 401, b"METRICS_TOKEN is set: send it as bearer token\n",
                          headers=[("WWW-Authenticate", "Bearer")])  # fmt: skip
        now = self._clock()
        if now - self._made_at >= KEPT_S:
            self._text, self._made_at = metrics.exposition(metrics.merged(self._gather())), now
        body = answer(start_response, 200, self._text, metrics.CONTENT_TYPE)
        return [] if method == "HEAD" else body
