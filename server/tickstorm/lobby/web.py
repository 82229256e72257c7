"""The HTTP side: the page and its files, `/healthz`, and the upgrade at `/ws`.

Plain WSGI. What only uWSGI can do, handing out the socket of an upgraded request,
is passed in as `take_socket`.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import os
import re
import socket
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from time import monotonic
from typing import Any
from urllib.parse import parse_qs, urlencode

import gevent
import msgpack
from gevent import get_hub
from gevent.local import local
from websockets.datastructures import Headers
from websockets.exceptions import InvalidHeader, NegotiationError
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.typing import Origin, Subprotocol

from ..config import Config
from ..games.catalogue import CROWD, OBJECTS, Entry
from ..protocol.layout import layout_of
from ..protocol.wire import SUBPROTOCOL, Close
from ..records import replay
from ..transport.bridge import Bridge
from ..transport.connection import Connection
from ..transport.door import Door
from ..transport.held import Held
from . import api, elsewhere, live
from .conversation import Conversation
from .health import together
from .holding import Holding
from .lobby import Lobby
from .node import Node
from .pages import Page, Pages, pages_of
from .streams import Refusal, Streams

log = logging.getLogger("tickstorm.web")

SECURITY_HEADERS = [
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self' ws: wss:; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
]

PREFLIGHT = [
    ("Access-Control-Allow-Methods", "GET, POST, DELETE"),
    ("Access-Control-Allow-Headers", "Content-Type, Authorization"),
    ("Access-Control-Max-Age", "600"),
]
"""What pages of other origins may ask for, those that ALLOWED_ORIGINS names."""

INPUT_BYTES = 64
"""What an input takes on the average in games that say no size."""

_WATCHED = re.compile(r"/api/live|/rooms/([^/]+)/events")

LOG_AGAIN_S = 60.0
"""An address whose connections misbehave is logged so often at most."""

StartResponse = Callable[..., Callable[[bytes], None]]
Application = Callable[[dict, StartResponse], Iterable[bytes]]


class Web:
    """The WSGI application."""

    def __init__(
        self,
        config: Config,
        lobby: Lobby,
        node: Node,
        take_socket: Callable[[], int],
        pages: dict[str, Page] | None = None,
    ):
        """`pages`: as from `pages_of`, by whoever may read them all."""
        self.config = config
        self.lobby = lobby
        self.node = node
        self.refused: Counter[str] = Counter()
        """Upgrades not granted, by reason."""
        self.closed: Counter[str] = Counter()
        """Connections ended, by the name of the close code, or LOST."""
        self.websockets: set[int] = set()
        """Descriptors of the open connections, and of requests that are answered bit by bit."""
        self.connections: dict[Connection, Conversation] = {}
        self.holding = Holding(None)
        self.api = api.Api(config, lobby, node)
        self.streams = Streams(
            config, self._open_bridge, SECURITY_HEADERS, lambda: f"{self.worker}."
        )
        self.live = live.Lobby(self._asked)
        self.watched = live.Rooms(lambda room: self.bridge(urlencode({"room": room}), ""))
        self.door: Door | None = None
        self.mounted: dict[str, Application] = {}
        """What else answers, by the first word of the path; see operate/."""
        self._take_socket = take_socket
        self._given = local()
        self._files = Pages(pages_of(lobby.games) if pages is None else pages)
        frames = [layout_of(e.game).input_frame for e in lobby.games if e.kind == CROWD]
        self._input_size = max((frame.size for frame in frames), default=INPUT_BYTES)
        self._origins = _listed(config.allowed_origins)
        self._proxies = _listed(config.trusted_proxies)
        self._open: Counter[str] = Counter()  # sockets by address
        self._served = 0  # connections so far
        self._logged: dict[str, float] = {}  # when, by address

    def __call__(self, environ: dict, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "/")
        if path == "/ws":
            return self._upgrade(environ, start_response)
        if (application := self.mounted.get(path[1:].partition("/")[0])) is not None:
            return application(environ, start_response)
        method = environ.get("REQUEST_METHOD", "")  # a malformed request has none
        if path == "/stream" or path.startswith("/stream/"):
            return self._stream(method, path, environ, start_response)
        if (watched := _WATCHED.fullmatch(path)) is not None:
            return self._listen(method, watched[1] or "", environ, start_response)
        if path.startswith("/api/"):
            return self._api(method, path, environ, start_response)
        if path == "/drain":
            return self._drain(method, environ, start_response)
        if method not in ("GET", "HEAD"):
            return _answer(start_response, "405 Method Not Allowed", b"GET and HEAD only\n",
                           headers=[("Allow", "GET, HEAD")])  # fmt: skip
        if path == "/healthz":
            answer = self._health(start_response)
        elif path == "/readyz":
            answer = self._ready(start_response)
        elif path == "/games.json":
            answer = _json(start_response, {"games": [_described(e) for e in self.lobby.games]})
        elif path == "/scores.json":
            answer = _json(start_response, {"scores": self.lobby.scores.top})
        elif path == "/replays.json":
            rows = get_hub().threadpool.apply(
                replay.listing, (self.config.data_dir, self.lobby.games)
            )
            rows = rows + get_hub().threadpool.apply(self.lobby.replays.rows)
            rows = [row for row in rows if self.lobby.listed(row["room"])]
            answer = _json(start_response, {"replays": rows})
        else:
            answer = self._file(path, environ, start_response)
        return [] if method == "HEAD" else answer

    def _api(
        self, method: str, path: str, environ: dict, start_response: StartResponse
    ) -> list[bytes]:
        if (answer := self.across(method, environ, start_response)) is not None:
            return answer
        cors = cors_for(environ.get("HTTP_ORIGIN"))
        if why := self.lobby.bans.why("address", site_of(self.address_of(environ))):
            body = json.dumps({"error": "banned", "message": f"You are {why}."}).encode()
            return _answer(start_response, "403 Forbidden", body, "application/json", cors)
        secure = self._forwarded(environ, "HTTP_X_FORWARDED_PROTO", environ["wsgi.url_scheme"])
        request = api.Request(
            method,
            path,
            site_of(self.address_of(environ)),
            f"{'wss' if secure == 'https' else 'ws'}://{environ.get('HTTP_HOST', '')}",
            environ.get("CONTENT_TYPE", ""),
            environ.get("HTTP_AUTHORIZATION", ""),
            environ["wsgi.input"].read,
        )
        try:
            status, data, headers = self.api.answer(request)
        except api.Aborted:
            self.refused["aborted"] += 1
            self._complain(site_of(self.address_of(environ)), "did not send its whole body")
            return _answer(start_response, "400 Bad Request", b"the body is not whole\n")
        body = json.dumps(data).encode() + b"\n"
        return _answer(
            start_response,
            f"{status.value} {status.phrase}",
            body,
            "application/json",
            [*headers, *cors],
        )

    def _asked(self, path: str) -> dict[str, Any]:
        """What the API answers to a GET."""
        return self.api.answer(api.Request("GET", path, "", "", "", "", lambda size: b"")).data

    def _stream(
        self, method: str, path: str, environ: dict, start_response: StartResponse
    ) -> list[bytes]:
        """What comes by plain HTTP in place of a WebSocket."""
        if (answer := self.across(method, environ, start_response)) is not None:
            return answer
        if self.elsewhere(path.split("/")[2] if path.count("/") > 1 else "", environ):
            return []
        cors = cors_for(environ.get("HTTP_ORIGIN"))
        try:
            said = self.streams.answer(method, path, environ, cors)
        except Refusal as refusal:
            status, kind = refusal.status, "application/json"
            text = {"error": refusal.error, "message": str(refusal)}
            body = json.dumps(text).encode() + b"\n"
        else:
            if isinstance(said, Held):
                return self.hold(said)
            status, body, kind = said.status, said.body, said.kind
        return _answer(start_response, f"{status.value} {status.phrase}", body, kind, cors)

    def _listen(
        self, method: str, room: str, environ: dict, start_response: StartResponse
    ) -> list[bytes]:
        """Server-sent events for pages that only look at a room, or without one at the lobby (see
        `live.py`)."""
        if (answer := self.across(method, environ, start_response)) is not None:
            return answer
        cors, address = cors_for(environ.get("HTTP_ORIGIN")), self.address_of(environ)

        def refuse(status: HTTPStatus, error: str, message: str) -> list[bytes]:
            body = json.dumps({"error": error, "message": message}).encode() + b"\n"
            line = f"{status.value} {status.phrase}"
            return _answer(start_response, line, body, "application/json", cors)

        if method != "GET":
            return refuse(HTTPStatus.METHOD_NOT_ALLOWED, "method", "GET only")
        if (full := self.full(address)) is not None:
            reason, status, text = full
            self.refused[reason] += 1
            return refuse(status, reason, text)
        feed = self.watched.feed(room) if room else self.live.feed()
        if feed is None:
            return refuse(HTTPStatus.SERVICE_UNAVAILABLE, "full", "too many rooms are watched")
        if feed.over is not None:
            return refuse(HTTPStatus.NOT_FOUND, "no_room", "There is no such room here.")
        last, headers = environ.get("HTTP_LAST_EVENT_ID", ""), [*cors, *SECURITY_HEADERS]
        site = site_of(address)
        self._open[site] += 1
        held = feed.held(last, not room, headers, self.config.slow_seconds)
        return self.hold(held, lambda: self._leave(site))

    def _leave(self, site: str) -> None:
        self._open[site] -= 1
        if not self._open[site]:
            del self._open[site]

    def take_socket(self) -> int:
        """The descriptor of the request that this greenlet answers."""
        given: int | None = getattr(self._given, "fd", None)
        return self._take_socket() if given is None else given

    @property
    def worker(self) -> int:
        """Our number among the workers of this machine."""
        return 0 if self.holding.machine is None else self.holding.machine.worker

    def elsewhere(self, name: str, environ: dict) -> bool:
        """Is what bears this name with another worker? Then the request goes there."""
        number, dot, _ = name.partition(".")
        machine = self.holding.machine
        if machine is None or not dot or number not in map(str, range(self.config.worker_count)):
            return False
        if int(number) == machine.worker:
            return False
        if environ.get("tickstorm.given"):  # it has come here, so that worker is no more
            return False
        request, body = elsewhere.packed({**environ, "tickstorm.given": "yes"})
        about = {"room": "", "session": "", "request": request}
        return machine.give(int(number), about, [body], self.take_socket())

    def _answer_given(self, fd: int, request: dict[str, str], body: bytes) -> None:
        self._given.fd = fd
        with socket.socket(fileno=fd) as sock:
            sock.setblocking(False)
            elsewhere.answer(sock, self, request, body, self.config.slow_seconds)

    def hold(self, held: Held, closed: Callable[[], None] = lambda: None) -> list[bytes]:
        """Answer bit by bit, on a duplicate of the request's own socket; the request itself ends
        now, as that of a WebSocket does. `closed` is called at the end."""
        sock = socket.socket(fileno=os.dup(self.take_socket()))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.config.send_buffer)
        fd = sock.fileno()
        self.websockets.add(fd)

        def write() -> None:
            try:
                held.write(sock)
            finally:
                self.websockets.discard(fd)
                sock.close()
                closed()

        gevent.spawn(write)
        return []

    def across(
        self, method: str, environ: dict, start_response: StartResponse
    ) -> list[bytes] | None:
        """The answer to a page of another site: to its preflight, or that it may not ask at all."""
        origins, origin = self._allowed_origins(environ), environ.get("HTTP_ORIGIN")
        if origins is not None and origin not in origins:
            return _answer(start_response, "403 Forbidden", b'{"error": "origin"}\n',
                           "application/json")  # fmt: skip
        if method == "OPTIONS":
            return _answer(
                start_response, "204 No Content", headers=[*cors_for(origin), *PREFLIGHT]
            )
        return None

    def _forwarded(self, environ: dict, header: str, default: str) -> str:
        """What a trusted proxy says of the client's side."""
        trusted = environ.get("REMOTE_ADDR", "") in self._proxies
        return environ.get(header, default) if trusted else default

    # ------------------------------------------------------------------ pages

    def _health(self, start_response: StartResponse) -> list[bytes]:
        health, status = self._state()
        return _json(start_response, health, status)

    def _state(self) -> tuple[dict, str]:
        """What `/healthz` says, and with which status."""
        health = self.lobby.health()
        health["refused"] = self.turned_away()
        health["closed"] = dict(self.closed)
        health["streams"] = self.streams.count()
        machine = self.holding.machine
        if machine is not None and machine.others:
            others = {worker: said["health"] for worker, said in machine.others}
            health = together({machine.worker: health, **others})
        return health, "503 Service Unavailable" if health["status"] == "stalled" else "200 OK"

    def status(self) -> dict[str, Any]:
        """What the other workers should know of this one."""
        health = {**self.lobby.health(), "refused": self.turned_away(), "closed": dict(self.closed)}
        return {**self.lobby.status(), "health": health}

    def turned_away(self) -> dict[str, int]:
        """Connections not let in, by reason."""
        turned_away = self.door.turned_away if self.door is not None else 0
        return {**self.refused, "turned_away": turned_away}

    def health_answer(self) -> bytes:
        """The whole answer to `GET /healthz`, for the door's thread: the loop may change beneath
        it what it counts, so it is tried again."""
        for _ in range(5):
            try:
                health, status = self._state()
                break
            except RuntimeError:  # a dictionary changed while it was copied
                continue
        else:
            health, status = {"status": "ok" if self.lobby.alive() else "stalled"}, "200 OK"
        body = json.dumps(health, indent=1).encode() + b"\n"
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n"
        return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body

    def _ready(self, start_response: StartResponse) -> list[bytes]:
        why = self.lobby.unready()
        status = "503 Service Unavailable" if why else "200 OK"
        return _json(start_response, {"ready": not why, "why": why}, status)

    def _drain(self, method: str, environ: dict, start_response: StartResponse) -> list[bytes]:
        """GET and POST /drain, for whoever runs the node: API.md."""

        def refuse(status: str, error: str, message: str, *headers: tuple) -> list[bytes]:
            body = json.dumps({"error": error, "message": message}).encode() + b"\n"
            return _answer(start_response, status, body, "application/json", headers)

        node = self.node
        if method not in ("GET", "POST"):
            return refuse("405 Method Not Allowed", "method", "GET, POST only",
                          ("Allow", "GET, POST"))  # fmt: skip
        scheme, _, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != "bearer":
            return refuse("401 Unauthorized", "token", "Send `Authorization: Bearer <token>`; "
                          "`tickstorm drain --token` prints it.",
                          ("WWW-Authenticate", "Bearer"))  # fmt: skip
        if not node.may_drain(token.strip()):
            return refuse("403 Forbidden", "token", "This is not this node's drain token.")
        if method == "POST":
            if not node.directory.shared:
                return refuse("409 Conflict", "alone", "DIRECTORY=memory: no other node could "
                              "take the rooms; a stop keeps them in their journals.")  # fmt: skip
            node.drain()
        return _json(start_response, node.progress(), "202 Accepted" if method == "POST" else
                     "200 OK")  # fmt: skip

    def _file(self, path: str, environ: dict, start_response: StartResponse) -> list[bytes]:
        file = self._files.find(path, environ.get("QUERY_STRING", ""))
        if file is None and self._files.is_folder(path):
            return _answer(start_response, "308 Permanent Redirect", b"",
                           headers=[("Location", path + "/")])  # fmt: skip
        if file is None:
            return _answer(start_response, "404 Not Found", b"no such page\n")
        body, headers = file.body, [("ETag", file.tag)]
        security = _with_own_scripts(*file.allowed) if any(file.allowed) else SECURITY_HEADERS
        if file.tag in environ.get("HTTP_IF_NONE_MATCH", ""):
            # With the same policy: browsers take the headers of this answer for the kept page.
            return _answer(start_response, "304 Not Modified", headers=headers, security=security)
        if file.compressed is not None:
            headers.append(("Vary", "Accept-Encoding"))
            if "gzip" in environ.get("HTTP_ACCEPT_ENCODING", ""):
                body = file.compressed
                headers.append(("Content-Encoding", "gzip"))
        return _answer(start_response, "200 OK", body, file.kind, headers, security)

    # ------------------------------------------------------------------ the upgrade

    def _upgrade(self, environ: dict, start_response: StartResponse) -> list[bytes]:
        def refuse(reason: str, status: str, text: bytes) -> list[bytes]:
            self.refused[reason] += 1
            return _answer(start_response, status, text)

        if environ.get("REQUEST_METHOD") != "GET":
            return refuse("method", "405 Method Not Allowed", b"GET only\n")
        if environ.get("CONTENT_LENGTH") or "HTTP_TRANSFER_ENCODING" in environ:
            # Its bytes would be taken for frames by us, and not by a proxy between.
            return refuse("body", "400 Bad Request", b"an upgrade has no body\n")
        address = self.address_of(environ)
        if (full := self.full(address)) is not None:
            reason, code, text = full
            return refuse(reason, f"{code.value} {code.phrase}", f"{text}\n".encode())
        handshake = ServerProtocol(
            origins=self._allowed_origins(environ),
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            select_subprotocol=_require_subprotocol,
        )
        try:
            response = handshake.accept(websocket_request(environ))
        except InvalidHeader:
            return refuse("handshake", "400 Bad Request", b"a header is malformed\n")
        headers = list(response.headers.raw_items())
        status = f"{response.status_code} {response.reason_phrase}"
        if response.status_code != 101:
            self.refused["handshake"] += 1
            headers = [h for h in headers if h[0].lower() != "connection"]
            start_response(status, headers)
            return [bytes(response.body or b"")]

        start_response(status, headers)(b"")
        # A duplicate: this request ends now, and with it uWSGI's own descriptor, not the socket.
        self.serve(os.dup(self._take_socket()), environ.get("QUERY_STRING", ""), address)
        return []

    def full(self, address: str) -> tuple[str, HTTPStatus, str] | None:
        """Why nobody else can come in from this address, if so: a word for our counters, the
        status, and a sentence."""
        limit = self.config.max_connections_per_address
        if limit and self._open[site_of(address)] >= limit:
            return "address", HTTPStatus.TOO_MANY_REQUESTS, "too many connections"
        if len(self.websockets) >= self.config.max_websockets:
            return "full", HTTPStatus.SERVICE_UNAVAILABLE, "full; try again later"
        return None

    def _open_bridge(self, environ: dict) -> tuple[Bridge, str]:
        """The way to a room for a client that has no WebSocket, on a WebSocket's terms. Raises
        Refusal."""
        address = self.address_of(environ)
        if (full := self.full(address)) is not None:
            reason, status, text = full
            self.refused[reason] += 1
            raise Refusal(status, reason, text)
        return self.bridge(environ.get("QUERY_STRING", ""), address), site_of(address)

    def bridge(self, query_string: str, address: str) -> Bridge:
        bridge = Bridge(address)
        self.serve(bridge.fd, query_string, address)
        return bridge

    def serve(
        self,
        fd: int,
        query_string: str,
        address: str,
        about: dict[str, Any] | None = None,
        rest: list[bytes] | None = None,
    ) -> None:
        """A connection from its first message on; returns at once. `about` and `rest`: what
        another process has said of it (`machine.py`)."""
        query, config, site = parse_qs(query_string), self.config, site_of(address)
        room, watched = (query.get(key, [None])[0] for key in ("room", "replay"))

        def end(connection: Connection) -> None:
            conversation.end()
            self._count(connection, address)

        def closed(connection: Connection) -> None:
            self.connections.pop(connection).forget()
            self.websockets.discard(fd)
            self.holding.let(connection)
            self._leave(site)

        connection = Connection(
            fd,
            lambda data: conversation.receive(data),
            config.send_buffer,
            config.message_rate * self._input_size + config.max_message_bytes,
            most_bytes=config.max_message_bytes,
            on_end=end,
            on_closed=closed,
        )
        counted = site if config.max_connections_per_address else ""
        conversation = Conversation(self.lobby, room, connection, watched, counted)
        self._open[site] += 1
        self.websockets.add(fd)
        self.connections[connection] = conversation
        conversation.seated = lambda: self.holding.hold(conversation)
        conversation.pass_on = lambda worker: self.holding.give(worker, conversation)
        conversation.origin = {"query": query_string, "address": address}
        conversation.hops = about.get("hops", 0) if about is not None else 0
        connection.number = self._served = self._served + 1
        connection.deadline = monotonic() + config.hello_seconds
        if why := self.lobby.bans.why("address", site):
            connection.close(Close.KICKED, why)
        connection.begin()
        if about is not None:
            self.holding.take(conversation, about, rest)

    def take(self, fd: int, about: dict[str, Any], rest: list[bytes] | None) -> None:
        """A connection that another process had, or a request for what is here."""
        if "request" in about:
            body = rest[0] if rest else b""
            gevent.spawn(self._answer_given, fd, about["request"], body)
            return
        self.serve(fd, about["query"], about["address"], about, rest)

    def park(self) -> None:
        """This process ends, and another one goes on with all connections."""
        for conversation in self.connections.values():
            if conversation.session is None:
                self.holding.hold(conversation)
        if self.holding.machine is not None:
            self.holding.machine.park(self.holding.rests(list(self.connections.values())))

    def move(self, room: str, worker: int, state: bytes) -> bool:
        """Have another worker go on with a room, which stands still, and its connections. False
        if that can't be now."""
        machine = self.holding.machine
        if machine is None or not machine.reached:
            return False
        here = [
            conversation
            for conversation in self.connections.values()
            if conversation.session is not None and conversation.session.room.id == room
        ]
        self.lobby.rooms[room].stop()
        rests = self.holding.rests(here)
        gone = machine.move(room, worker, state, rests)
        info = self.lobby.infos[room]
        self.lobby.release(room)
        for conversation in here:
            if conversation.connection.released:
                conversation.connection.part(for_good=not gone)
        if not gone:  # the keeper ended meanwhile: the room stays, and its players reconnect
            self.lobby.open(room, info, msgpack.unpackb(state))
        return gone

    @property
    def parted(self) -> bool:
        """After `park`: have all others closed?"""
        return all(connection.released for connection in self.connections)

    def _count(self, connection: Connection, address: str) -> None:
        """A connection has ended: count why, and log each troublemaker now and then."""
        if connection.closing is None:
            self.closed["LOST"] += 1
            return
        code, reason = connection.closing
        self.closed[code.name] += 1
        if code in (Close.DONE, Close.GOING_AWAY, Close.RESTART):
            return
        self._complain(address, f"closed {code}: {reason}", connection.number)

    def _complain(self, address: str, what: str, connection: int = 0) -> None:
        """Log what an address did, now and then."""
        now = monotonic()
        if now - self._logged.get(address, -LOG_AGAIN_S) >= LOG_AGAIN_S:
            if len(self._logged) >= 1000:
                self._logged.clear()
            self._logged[address] = now
            log.info("%s %s", address, what,
                     extra={"address": address, "connection": connection})  # fmt: skip

    def _allowed_origins(self, environ: dict) -> list[Origin | None] | None:
        """The server's own host, whatever is configured, and clients that are no browsers."""
        if "*" in self._origins:
            return None
        host = environ.get("HTTP_HOST", "")
        return [*map(Origin, (f"http://{host}", f"https://{host}", *self._origins)), None]

    def address_of(self, environ: dict) -> str:
        """The client's address; behind a trusted proxy, the last one that it has added."""
        address = environ.get("REMOTE_ADDR", "")
        if address in self._proxies:
            forwarded = _listed(environ.get("HTTP_X_FORWARDED_FOR", ""))
            for hop in reversed(forwarded):
                if hop not in self._proxies:
                    return hop
        return address


def _with_own_scripts(scripts: str, styles: str) -> list[tuple[str, str]]:
    """The security headers of a page that has scripts or styles in it, by their hashes."""
    (name, policy), *others = SECURITY_HEADERS
    policy = policy.replace("script-src 'self'", f"script-src 'self' {scripts}".rstrip())
    policy = policy.replace("style-src 'self'", f"style-src 'self' {styles}".rstrip())
    return [(name, policy), *others]


def site_of(address: str) -> str:
    """What counts as one address: IPv6 users have 2**64 of them.

    >>> site_of("192.0.2.7"), site_of("2001:db8:1:2:3::4")
    ('192.0.2.7', '2001:db8:1:2::')
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), 64), strict=False).network_address)


def cors_for(origin: str | None) -> list[tuple[str, str]]:
    """What lets a page of an allowed origin read an answer. Nothing here goes by cookies."""
    if origin is None:
        return []
    return [
        ("Access-Control-Allow-Origin", origin),
        ("Access-Control-Expose-Headers", "Retry-After"),
        ("Vary", "Origin"),
    ]


def _require_subprotocol(protocol: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol:
    if SUBPROTOCOL not in offered:
        raise NegotiationError(f"this server speaks the subprotocol {SUBPROTOCOL}")
    return Subprotocol(SUBPROTOCOL)


def websocket_request(environ: dict) -> Request:
    """The request as the codec wants to check it."""
    headers = Headers()
    for key, value in environ.items():
        if key.startswith("HTTP_"):
            headers[key[5:].replace("_", "-").title()] = value
    path = environ.get("PATH_INFO", "/")
    return Request(path, headers, method="GET", protocol=environ.get("SERVER_PROTOCOL", "HTTP/1.0"))


def _described(entry: Entry) -> dict[str, Any]:
    """A game, for the start page."""
    room = entry.game.room if entry.kind == OBJECTS else None
    return {
        "name": entry.name,
        "title": entry.title,
        "kind": entry.kind,
        "capacity": room.capacity if room is not None else 0,
        "page": f"/{entry.name}/" if entry.page is not None else None,
    }


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _json(start_response: StartResponse, value: dict, status: str = "200 OK") -> list[bytes]:
    body = json.dumps(value, indent=1).encode() + b"\n"
    return _answer(start_response, status, body, "application/json")


def _answer(
    start_response: StartResponse,
    status: str,
    body: bytes = b"",
    kind: str = "text/plain; charset=utf-8",
    headers: Iterable[tuple[str, str]] = (),
    security: Iterable[tuple[str, str]] = SECURITY_HEADERS,
) -> list[bytes]:
    start_response(
        status,
        [
            ("Content-Type", kind),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-cache"),
            *security,
            *headers,
        ],
    )
    return [body]
