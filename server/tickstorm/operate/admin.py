"""`/admin`: the page, and what it asks. Off until a token is set.

Two roles: who has ADMIN_LOOK_TOKEN may look, who has ADMIN_TOKEN may act. The token comes as bearer
with each request, never as a cookie, so no other page can have a browser act in its user's name.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from time import monotonic, thread_time
from typing import Any
from urllib.parse import parse_qs

from gevent import Timeout
from gevent.socket import wait_read

from ..config import Config
from ..lobby.web import SECURITY_HEADERS, StartResponse, Web, site_of
from ..rooms.buckets import Buckets
from ..rooms.meter import SlowTick
from . import view
from .acts import ACTS, ActError, Acts
from .audit import Audit
from .http import answer, as_json, token_of
from .profile import Sampler, folded
from .why import described

LOOK, ACT = "look", "act"

PAGE = Path(__file__).parent.parent / "admin_page"
KINDS = {".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css",
         ".svg": "image/svg+xml"}  # fmt: skip

MOST_VIEWERS = 8
"""Pages that are told what happens, at once."""

MOST_BODY = 16384
"""Bytes of an act."""

EVERY_S = 1.0
"""Between two messages to a page."""

WRONG_PER_SECOND, WRONG_AT_ONCE = 0.1, 5
"""Wrong tokens that one address may send; beyond that, its requests are not looked at."""

SECURITY = [
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    *(header for header in SECURITY_HEADERS if header[0] != "Content-Security-Policy"),
    ("X-Robots-Tag", "noindex"),
    ("Permissions-Policy", "camera=(), microphone=(), geolocation=()"),
]
"""As of all pages, and stricter: no text can ever become markup."""


@cache
def pages() -> dict[str, bytes]:
    """The page's files; read once, before root's rights are given up."""
    return {path.name: path.read_bytes() for path in PAGE.iterdir() if path.is_file()}


class Admin:
    """The WSGI application. `take_socket()`: the descriptor of the request being answered."""

    def __init__(
        self,
        web: Web,
        config: Config,
        sampler: Sampler,
        take_socket: Callable[[], int],
        clock: Callable[[], float] = monotonic,
    ):
        self._web, self._config, self._sampler = web, config, sampler
        self._take_socket, self._clock = take_socket, clock
        self._files = pages()
        self._audit = Audit(Path(config.data_dir) / "audit.log")
        self._acts = Acts(web, sampler, config.dev == "on")
        self._machine = view.Machine(web, sampler)
        self._wrong = Buckets(WRONG_PER_SECOND, WRONG_AT_ONCE, clock)
        self._now: dict[str, Any] = {}
        self._now_at = -EVERY_S
        self._viewers = 0
        self._cost, self._spent, self._spent_at = 0.0, 0.0, clock()
        slowest = web.lobby.meters["crowd"].shared.slowest
        slowest.stacks = sampler.between
        self._slowest = slowest
        self._routes: dict[tuple[str, str], Callable[..., Iterable[bytes]]] = {
            ("GET", "me"): self._me,
            ("GET", "live"): self._live,
            ("GET", "slow"): self._slow,
            ("GET", "stacks"): self._stacks,
            ("GET", "profile"): self._profile,
            ("GET", "audit"): self._audited,
            ("POST", "act"): self._act,
        }

    def __call__(self, environ: dict, start_response: StartResponse) -> Iterable[bytes]:
        path, method = environ.get("PATH_INFO", ""), environ.get("REQUEST_METHOD", "")
        if path == "/admin":
            return answer(start_response, 308, headers=[("Location", "/admin/")])
        name = path.removeprefix("/admin/")
        if name.startswith("api/"):
            return self._ask(method, name.removeprefix("api/"), environ, start_response)
        body = self._files.get(name or "index.html")
        if body is None:
            return answer(start_response, 404, b"no such page\n")
        if method not in ("GET", "HEAD"):
            return answer(
                start_response, 405, b"GET and HEAD only\n", headers=[("Allow", "GET, HEAD")]
            )
        kind = KINDS[Path(name or "index.html").suffix]
        out = answer(start_response, 200, body, kind, security=SECURITY)
        return [] if method == "HEAD" else out

    # ------------------------------------------------------------------ who asks

    def _ask(
        self, method: str, name: str, environ: dict, start_response: StartResponse
    ) -> Iterable[bytes]:
        site = site_of(self._web.address_of(environ))
        if retry_s := self._wrong.take(site, 0.0 if self._role(environ) else 1.0):
            return _refuse(start_response, 429, "Too many wrong tokens; wait a minute.",
                           ("Retry-After", str(int(retry_s) + 1)))  # fmt: skip
        role = self._role(environ)
        if not role:
            return _refuse(start_response, 401, "This is not a token of this server.",
                           ("WWW-Authenticate", "Bearer"))  # fmt: skip
        route = self._routes.get((method, name))
        if route is None:
            known = any(name == other for _, other in self._routes)
            return _refuse(start_response, 405 if known else 404, "There is nothing of this name.")
        began = thread_time()
        try:
            return route(environ, start_response, role, site)
        finally:
            self._spent += thread_time() - began

    def _role(self, environ: dict) -> str:
        token = token_of(environ).encode()
        act = hmac.compare_digest(token, self._config.admin_token.encode())
        look = hmac.compare_digest(token, self._config.admin_look_token.encode())
        if act and self._config.admin_token:
            return ACT
        return LOOK if look and self._config.admin_look_token else ""

    # ------------------------------------------------------------------ what is asked

    def _me(self, _env: dict, start_response: StartResponse, role: str, _: str) -> list[bytes]:
        web = self._web
        games = [{"name": e.name, "title": e.title, "kind": e.kind, "page": e.page is not None}
                 for e in web.lobby.games]  # fmt: skip
        about = {
            "role": role,
            "node": web.node.id,
            "version": web.lobby.version,
            "dev": self._config.dev == "on",
            "shared": web.node.directory.shared,
            "acts": {name: " ".join((act.__doc__ or "").split()) for name, act in ACTS.items()},
            "games": games,
            "alone": len(web.lobby.games.names) == 1,
        }
        return as_json(start_response, about)

    def _slow(self, _env: dict, start_response: StartResponse, _role: str, _: str) -> list[bytes]:
        rows = [{"n": n, **described(tick)} for n, tick in enumerate(self._slowest.worst())]
        return as_json(start_response, {"ticks": rows, "profiling": self._sampler.on,
                                        "samples": len(self._sampler.samples)})  # fmt: skip

    def _stacks(self, env: dict, start_response: StartResponse, _role: str, _: str) -> list[bytes]:
        """A slow tick's stacks, or all of them: as a tree, for the page's flame graph."""
        tick, samples = self._samples(env)
        if samples is None:
            return _refuse(start_response, 404, "No samples were taken then.")
        tree = folded(samples, self._sampler.frames, lambda frame: frame[0])
        return as_json(start_response, {"tree": tree, "every_ms": self._sampler.every_s * 1e3,
                                        "tick": described(tick) if tick else None})  # fmt: skip

    def _profile(self, env: dict, start_response: StartResponse, _role: str, _: str) -> list[bytes]:
        """The same for speedscope.app."""
        tick, samples = self._samples(env)
        if samples is None:
            return _refuse(start_response, 404, "No samples were taken then.")
        name = f"tick {tick.tick} of {tick.room or 'the object rooms'}" if tick else "tickstorm"
        file = f'attachment; filename="{"tick" if tick else "profile"}.speedscope.json"'
        found = self._sampler.speedscope(name, samples)
        return as_json(start_response, found, headers=[("Content-Disposition", file)])

    def _samples(self, environ: dict) -> tuple[SlowTick | None, list | None]:
        at = _query(environ, "at")
        if not at:
            return None, list(self._sampler.samples) or None
        for tick in self._slowest.worst():
            if f"{tick.at:.3f}" == at:
                return tick, tick.stacks or None
        return None, None

    def _audited(
        self, _env: dict, start_response: StartResponse, _role: str, _: str
    ) -> list[bytes]:
        bans = [vars(ban) for ban in self._web.lobby.bans.rows()]
        return as_json(start_response, {"acts": self._audit.rows(), "bans": bans})

    def _act(self, env: dict, start_response: StartResponse, role: str, site: str) -> list[bytes]:
        if role != ACT:
            return _refuse(start_response, 403, "With this token you may look, not act.")
        if env.get("CONTENT_TYPE", "").partition(";")[0].strip() != "application/json":
            return _refuse(start_response, 415, "Send application/json.")
        try:
            size = int(env.get("CONTENT_LENGTH") or 0)
        except ValueError:
            size = 0
        if not 0 < size <= MOST_BODY:
            return _refuse(start_response, 413, f"An act takes 1 to {MOST_BODY} bytes.")
        try:
            asked = json.loads(env["wsgi.input"].read(size))
            name = asked.pop("act")
            if not isinstance(name, str):
                raise ValueError
        except (ValueError, KeyError, AttributeError, TypeError, OSError, RecursionError):
            return _refuse(start_response, 400, 'Not an act: {"act": name, …} is expected.')
        try:
            act = self._acts.check(name, asked)
            self._audit.note(site, role, name, asked)
            said = act()
        except ActError as error:
            return _refuse(start_response, error.status, str(error))
        except OSError as error:
            return _refuse(start_response, 503, f"Not done, for the audit log fails: {error}")
        self._now_at = -EVERY_S  # what the page is told next has it
        return as_json(start_response, {"done": said})

    # ------------------------------------------------------------------ live

    def _live(
        self, environ: dict, start_response: StartResponse, _role: str, _: str
    ) -> Iterable[bytes]:
        """Server-sent events: `machine` each second, and with it `rooms` or one `room`."""
        if self._viewers >= MOST_VIEWERS:
            return _refuse(start_response, 503, "Too many pages look on; close one.")
        start_response("200 OK", [
            ("Content-Type", "text/event-stream"),
            ("Cache-Control", "no-store"),
            ("X-Accel-Buffering", "no"),
            *SECURITY_HEADERS,
        ])  # fmt: skip
        return self._events(_query(environ, "room"), _query(environ, "search"))

    def _events(self, room: str, search: str) -> Iterator[bytes]:
        fd = self._take_socket()
        self._viewers += 1
        self._web.websockets.add(fd)
        try:
            while self._web.lobby.closing is None:
                began = thread_time()
                out = _event("machine", self._told())
                if room:
                    found = view.room(self._web, room, self._config.dev == "on")
                    out += _event("room", found)
                else:
                    out += _event("rooms", self._machine.rooms(search))
                self._spent += thread_time() - began
                yield out
                if _heard(fd, EVERY_S):
                    break  # it has nothing to say but its end
        finally:
            self._viewers -= 1
            self._web.websockets.discard(fd)

    def _told(self) -> dict[str, Any]:
        """What all pages are told, made once for all."""
        now = self._clock()
        if now - self._now_at >= EVERY_S * 0.9:
            passed = now - self._spent_at
            if passed >= EVERY_S * 0.9:
                self._cost += (self._spent / passed - self._cost) * 0.2
                self._spent, self._spent_at = 0.0, now
            self._now, self._now_at = self._machine.now(), now
        return {**self._now, "viewers": self._viewers, "cost": round(self._cost, 5)}


def _heard(fd: int, seconds: float) -> bool:
    """Wait so long; true at once if something comes from the other side."""
    with Timeout(seconds, False):
        wait_read(fd)
        return True
    return False


def _refuse(
    start_response: StartResponse, status: int, message: str, *headers: tuple[str, str]
) -> list[bytes]:
    return as_json(start_response, {"error": message}, status, headers)


def _query(environ: dict, name: str) -> str:
    return parse_qs(environ.get("QUERY_STRING", "")).get(name, [""])[0][:64]


def _event(name: str, data: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()
