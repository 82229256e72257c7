"""The door for Socket.IO clients (extra `socketio`, option `SOCKETIO`): a socket is one stay in an
object room. docs/doors.md says what a page writes.

`python-socketio` and `python-engineio` do the protocol, polling and upgrade included, on this
project's own sockets: a GET is answered on a duplicate of its descriptor, and a WebSocket is a
`Connection`. Their own servers' ways, uWSGI's among them, are never used. The room sees a bridge;
`ClientSession` keeps the state that Socket.IO's clients can't, and what they get of it are plain
names and values.
"""

from __future__ import annotations

import logging
import os
import re
import socket
from base64 import b64encode
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any
from urllib.parse import parse_qs, urlencode

import engineio
import gevent
import socketio
from gevent.event import AsyncResult, Event
from gevent.queue import Queue
from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol

from ..client.session import Answer, Changed, ClientSession, Fault, Happening, Notice, Welcomed
from ..client.session import Event as Told
from ..client.state import Record, Ref, WireError
from ..protocol.wire import Close
from ..transport.bridge import Bridge
from ..transport.connection import Connection
from ..transport.held import Held, head, send_all
from .web import SECURITY_HEADERS, StartResponse, Web, cors_for, websocket_request

log = logging.getLogger("tickstorm.socketio")

PING_S, SILENT_S = 5.0, 10.0
"""Engine.IO's pings, and time for their answers. A poll ends with each ping, so it is short."""

ENTERING = 128
"""Engine.IO connections that have not joined a room yet."""

BYTES = 1 << 16
"""The largest request or message; and what one client may send in a second, on the average."""

ATTACHMENTS = 16
PENDING = 64
"""Messages of one client whose answers have yet to come."""

QUEUED = 16
"""Packets that wait for a client; as long as there are more, it gets no new state."""

ANSWER_S = 15.0
DRAIN_S = 0.02
OWN = {"connect", "disconnect", "connect_error", "welcome", "state", "patch", "notice", "close"}
"""Names of events that are ours: a game's of these names come as ``game:name``."""

_ATTACHMENTS = re.compile(r"\d(\d+)-")


class WebSocket:
    """What Engine.IO wants of one, on a `Connection`."""

    def __init__(self, handler: Callable[[WebSocket], Iterable[bytes]], server: Any):
        self._handler = handler
        self._heard: Queue[Any] = Queue(maxsize=16)
        self._connection: Connection | None = None
        self._web: Web | None = None

    def __call__(self, environ: dict, start_response: StartResponse) -> Iterable[bytes]:
        web: Web = environ["tickstorm.web"]
        sock: socket.socket = environ["tickstorm.socket"]
        protocol = ServerProtocol()
        response = protocol.accept(websocket_request(environ))
        send_all(sock, response.serialize(), web.config.slow_seconds)
        environ["tickstorm.answered"] = True
        if response.status_code != 101:
            return []
        fd = os.dup(sock.fileno())
        web.websockets.add(fd)
        self._connection = Connection(
            fd,
            self._heard.put,
            web.config.send_buffer,
            BYTES,
            on_text=lambda data: self._heard.put(data.decode()),
            most_bytes=BYTES,
            on_end=lambda _: gevent.spawn(self._heard.put, None) and None,
            on_closed=lambda _: web.websockets.discard(fd),
        )
        self._connection.begin()
        return self._handler(self)

    def wait(self) -> str | bytes | None:
        return self._heard.get()

    def send(self, message: str | bytes) -> None:
        connection = self._connection
        assert connection is not None, "called by the handler"
        data = message.encode() if isinstance(message, str) else message
        opcode = Opcode.TEXT if isinstance(message, str) else Opcode.BINARY
        while connection.tail and connection.closing is None and not connection.lost:
            gevent.sleep(DRAIN_S)  # it reads slowly; what comes meanwhile waits in its queue
        if connection.closing is not None or connection.lost:
            raise OSError("the connection has ended")
        connection.push(Frame(opcode, data).serialize(mask=False))
        connection.nudge()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close(Close.DONE, "")


class Engine(engineio.Server):  # type: ignore[misc]
    """Engine.IO on our own sockets. Names say which worker's they are: `worker()`."""

    worker: Callable[[], int] = int

    def __init__(self, **options: Any):
        super().__init__(**options)
        self._async: dict[str, Any] = {**self._async, "websocket": WebSocket}

    def generate_id(self) -> str:
        return f"{self.worker()}.{super().generate_id()}"

    def disconnect(self, sid: str | None = None) -> None:
        """At once: who is let go may never ask for what still waits for it."""
        found = self.sockets.pop(sid, None)
        if found is not None:
            found.close(wait=False, reason=self.reason.SERVER_DISCONNECT)


class Server(socketio.Server):  # type: ignore[misc]
    """Socket.IO, with limits on what comes."""

    def __init__(self, door: SocketIo, **options: Any):
        self._door = door
        super().__init__(**options)

    def _engineio_server_class(self) -> type[Engine]:
        return Engine

    def _handle_eio_connect(self, eio_sid: str, environ: dict) -> None:
        super()._handle_eio_connect(eio_sid, environ)
        self._door.entering[eio_sid] = [2.0 * BYTES, monotonic()]
        gevent.spawn_later(self._door.web.config.hello_seconds, self._door.hurry, self, eio_sid)

    def _handle_eio_message(self, eio_sid: str, data: Any) -> None:
        many = _ATTACHMENTS.match(data) if isinstance(data, str) else None
        try:
            if many and int(many[1][:9]) > ATTACHMENTS or not self._door.pay(eio_sid, len(data)):
                raise ValueError("too much")
            super()._handle_eio_message(eio_sid, data)
        except Exception as error:  # whatever it was, it was this client's
            log.info("a Socket.IO client is let go: %.100s", error)
            self.eio.disconnect(eio_sid)

    def _handle_eio_disconnect(self, eio_sid: str, reason: str) -> None:
        super()._handle_eio_disconnect(eio_sid, reason)
        self._door.entering.pop(eio_sid, None)
        self._door.credit.pop(eio_sid, None)


class SocketIo:
    """The WSGI application under `/socket.io`; its parser is msgpack under `/socket.io/msgpack`."""

    def __init__(self, web: Web):
        self.web = web
        self.entering: dict[str, list[float]] = {}
        self.credit: dict[str, list[float]] = {}
        """Of each connection: bytes that it may send now, and when that was so."""
        self._stays: dict[str, Stay] = {}
        self._servers = {name: self._server(name) for name in ("default", "msgpack")}

    def _server(self, serializer: str) -> Server:
        server = Server(
            self,
            serializer=serializer,
            async_mode="gevent",
            namespaces=["/"],
            cors_allowed_origins=[],  # see `__call__`
            ping_interval=PING_S,
            ping_timeout=SILENT_S,
            max_http_buffer_size=BYTES,
            http_compression=False,
        )
        server.eio.worker = lambda: self.web.worker
        server.on("connect", lambda sid, environ, auth=None: self._join(server, sid, environ, auth))
        server.on("disconnect", lambda sid, reason=None: self._leave(server, sid))
        server.on("*", self._said)
        return server

    def __call__(self, environ: dict, start_response: StartResponse) -> Iterable[bytes]:
        method = environ.get("REQUEST_METHOD", "")
        if (answer := self.web.across(method, environ, start_response)) is not None:
            return answer
        query, address = environ.get("QUERY_STRING", ""), self.web.address_of(environ)
        if self.web.elsewhere(parse_qs(query).get("sid", [""])[0], environ):
            return []
        full = self.web.full(address) if "sid=" not in query else None
        if full is not None or "sid=" not in query and len(self.entering) >= ENTERING:
            start_response("503 Service Unavailable", [("Content-Length", "0")])
            return []
        msgpack = environ.get("PATH_INFO", "").startswith("/socket.io/msgpack")
        handle = self._servers["msgpack" if msgpack else "default"].handle_request
        more = [*cors_for(environ.get("HTTP_ORIGIN")), *SECURITY_HEADERS]
        if method != "GET":
            length = environ.get("CONTENT_LENGTH") or "0"
            if not length.isdecimal() or int(length) > BYTES:
                start_response("413 Request Entity Too Large", [("Content-Length", "0"), *more])
                return []
            body: list[bytes] = handle(environ, lambda status, headers: start_response(
                status, [*_sized(headers, None), *more]))  # fmt: skip
            return body

        def write(sock: socket.socket) -> None:
            told: list[Any] = []
            inside = {**environ, "tickstorm.web": self.web, "tickstorm.socket": sock}
            data = b"".join(handle(inside, lambda *line: told.extend(line)))
            if told and "tickstorm.answered" not in inside:
                rows = [*_sized(told[1], len(data)), *more]
                send_all(sock, head(rows, told[0]) + data, self.web.config.slow_seconds)

        return self.web.hold(Held(write))

    # ------------------------------------------------------------------ limits

    def pay(self, eio_sid: str, size: int) -> bool:
        """May this client send so many bytes now?"""
        account = self.credit.get(eio_sid) or self.entering.get(eio_sid)
        if account is None:
            return False
        now = monotonic()
        account[0] = min(2.0 * BYTES, account[0] + (now - account[1]) * BYTES) - size
        account[1] = now
        return account[0] >= 0

    def hurry(self, server: Server, eio_sid: str) -> None:
        """It has had its time to join."""
        if eio_sid in self.entering:
            server.eio.disconnect(eio_sid)

    # ------------------------------------------------------------------ coming and going

    def _join(self, server: Server, sid: str, environ: dict, auth: Any) -> None:
        auth = auth if isinstance(auth, dict) else {}
        eio_sid = server.manager.eio_sid_from_sid(sid, "/")
        account = self.entering.pop(eio_sid, None)
        address = self.web.address_of(environ)
        if (full := self.web.full(address)) is not None:
            raise socketio.exceptions.ConnectionRefusedError(full[2])
        if account is not None:
            self.credit[eio_sid] = account
        room = auth.get("room")
        bridge = self.web.bridge(
            urlencode({"room": room}) if isinstance(room, str) else "", address
        )
        stay = self._stays[sid] = Stay(
            bridge,
            ClientSession(
                _text(auth.get("name")) or "",
                token=_text(auth.get("token")),
                ticket=_text(auth.get("ticket")),
                spectate=auth.get("watch") is True or None,
                options=auth["options"] if isinstance(auth.get("options"), dict) else None,
            ),
            lambda event, *data: server.emit(event, data, to=sid),
            lambda: _queued(server, eio_sid),
        )
        stay.eio_sid = eio_sid

        def run() -> None:
            stay.run()
            if sid in self._stays:
                server.disconnect(sid)

        gevent.spawn(run)

    def _said(self, event: str, sid: str, *args: Any) -> dict[str, Any]:
        stay = self._stays.get(sid)
        return {"error": "the stay is over"} if stay is None else stay.said(event, args)

    def _leave(self, server: Server, sid: str) -> None:
        """The stay is over; its connection may begin another, and has as much time as a new one."""
        stay = self._stays.pop(sid, None)
        if stay is None:
            return
        stay.end()
        account = self.credit.pop(stay.eio_sid, None)
        if account is not None:
            self.entering[stay.eio_sid] = account
            gevent.spawn_later(self.web.config.hello_seconds, self.hurry, server, stay.eio_sid)


class Stay:
    """A client's stay in a room: what it says becomes messages, and what the room says events.

    `emit(event, *data)` tells the client; `queued()` packets wait for it, None once it is gone.
    """

    def __init__(
        self,
        bridge: Bridge,
        session: ClientSession,
        emit: Callable[..., None],
        queued: Callable[[], int | None],
    ):
        self.bridge = bridge
        self.session = session
        self.eio_sid = ""  # of the Engine.IO connection
        self._emit = emit
        self._queued = queued
        self._wake = Event()
        self._answers: dict[int, AsyncResult] = {}
        self._known: dict[int, dict[str, Any]] | None = None  # what the client knows
        self._tick = -1

    def run(self) -> None:
        """Until the room, or the client, has ended it."""
        self.bridge.watch(self._wake.set)
        try:
            self.bridge.say([self.session.hello()])
            while True:
                now = monotonic()
                for message in self.bridge.hear():
                    for happening in self.session.receive(message, now):
                        self._tell(happening)
                self._show()
                if self.bridge.ended is not None:
                    break
                self.bridge.say(self.session.transmit(monotonic()))
                behind = self.session.ready and self._tick != self.session.state.tick  # type: ignore[union-attr]
                patience = DRAIN_S if behind else max(0.0, self.session.wake() - monotonic())
                self._wake.wait(min(patience, ANSWER_S))
                self._wake.clear()
            code, reason = self.bridge.ended
            self._emit("close", {"code": code, "reason": reason})
        except WireError as error:
            self._emit("close", {"code": int(Close.REFUSED), "reason": str(error)})
        except OSError:
            pass  # the client has gone
        finally:
            self.end()

    def end(self) -> None:
        self.bridge.close()
        self._wake.set()
        for answer in self._answers.values():
            answer.set({"error": "the connection has ended"})

    # ------------------------------------------------------------------ from the client

    def said(self, event: str, args: tuple[Any, ...]) -> dict[str, Any]:
        """What is acknowledged: ``{"value": …}`` or ``{"error": …}``."""
        session = self.session
        try:
            if event == "input":
                values = args[0] if args and isinstance(args[0], dict) else {}
                session.set_input(monotonic(), **values)
            elif event == "leave":
                session.leave()
            elif event == "sync":
                session.sync()
                self._known = None
            elif len(self._answers) >= PENDING:
                return {"error": "not so fast"}
            else:
                return self._call(event, args)
            self._wake.set()
        except (ValueError, TypeError) as error:
            return {"error": str(error)}
        return {"value": None}

    def _call(self, event: str, args: tuple[Any, ...]) -> dict[str, Any]:
        request = self.session.call(event, *map(_wired, args), answer=True)
        assert request is not None, "one with an answer has a number"
        answer = self._answers[request] = AsyncResult()
        self._wake.set()
        try:
            return answer.get(timeout=ANSWER_S)
        except gevent.Timeout:
            return {"error": "no answer"}
        finally:
            del self._answers[request]

    # ------------------------------------------------------------------ to the client

    def _tell(self, happening: Happening) -> None:
        session = self.session
        if isinstance(happening, Welcomed):
            welcome = session.welcome or {}
            names = ("room", "game", "id", "name", "tick_hz", "grace_s", "settings", "spectator")
            about = {name: welcome.get(name) for name in names}
            me, token = welcome.get("player"), session.token
            self._emit("welcome", {**about, "me": me, "token": token, "resumed": happening.resumed})
        elif isinstance(happening, Changed):
            if happening.full:
                self._known = None
        elif isinstance(happening, Told):
            self._show()
            name = f"game:{happening.name}" if happening.name in OWN else happening.name
            self._emit(name, *map(_plain, happening.args))
        elif isinstance(happening, Answer):
            answer = self._answers.get(happening.request)
            if answer is not None:
                told = "value" if happening.ok else "error"
                answer.set({told: _plain(happening.value)})
        elif isinstance(happening, Notice):
            url, text = happening.url, happening.text
            self._emit("notice", {"code": happening.code, "text": text, "url": url})
        elif isinstance(happening, Fault):
            self._emit("notice", {"code": 0, "text": happening.text, "url": None})

    def _show(self) -> None:
        """The state, or what is new of it; not while the client has yet to take what it was told:
        then the next time tells more."""
        session = self.session
        if not session.ready or session.state is None or session.state.tick == self._tick:
            return
        queued = self._queued()
        if queued is None or queued > QUEUED:
            return
        new = {id: dict(record) for id, record in session.state.entities.items()}
        kinds = {id: record.kind for id, record in session.state.entities.items()}
        self._tick = session.state.tick or 0
        if self._known is None:
            rows = [_row(id, kinds[id], fields) for id, fields in new.items() if id]
            room = _plain(new.get(0, {}))
            self._emit("state", {"tick": self._tick, "room": room, "entities": rows})
        elif self._known != new:
            self._emit("patch", {"tick": self._tick, **changes(self._known, new, kinds)})
        self._known = new


def changes(
    old: dict[int, dict[str, Any]], new: dict[int, dict[str, Any]], kinds: dict[int, str]
) -> dict[str, Any]:
    """What a patch tells; what is empty is left out.

    >>> changes({0: {}, 1: {"x": 1, "y": 2}, 2: {}}, {0: {"a": 1}, 1: {"x": 3, "y": 2}}, {})
    {'room': {'a': 1}, 'changes': [{'id': 1, 'x': 3}], 'leaves': [2]}
    """
    enters, changed, room = [], [], {}
    for id, fields in new.items():
        known = old.get(id)
        if known is None:
            enters.append(_row(id, kinds[id], fields))
        elif known != fields:
            rows = {key: _plain(v) for key, v in fields.items() if known.get(key, _plain) != v}
            rows |= dict.fromkeys(known.keys() - fields.keys())  # may no longer be seen
            if id:
                changed.append({"id": id, **rows})
            else:
                room = rows
    leaves = [id for id in old if id not in new]
    parts = {"room": room, "enters": enters, "changes": changed, "leaves": leaves}
    return {name: part for name, part in parts.items() if part}


def _row(id: int, kind: str, fields: dict[str, Any]) -> dict[str, Any]:
    return {"id": id, "kind": kind, **_plain(fields)}


def _plain(value: Any) -> Any:
    """As Socket.IO's clients can read it."""
    if isinstance(value, Ref):
        return {"entity": value.id}
    if isinstance(value, Record | dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return {"bytes": b64encode(value).decode()}
    return value


def _wired(value: Any) -> Any:
    """The other way round: an entity among a message's arguments."""
    if isinstance(value, dict):
        if value.keys() == {"entity"} and isinstance(value["entity"], int) and value["entity"] >= 0:
            return Ref(value["entity"])
        return {key: _wired(item) for key, item in value.items()}
    return [_wired(item) for item in value] if isinstance(value, list | tuple) else value


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _sized(headers: Iterable[tuple[str, str]], size: int | None) -> list[tuple[str, str]]:
    rows = [row for row in headers if row[0].lower() != "content-length"]
    return rows if size is None else [*rows, ("Content-Length", str(size))]


def _queued(server: Server, eio_sid: str) -> int | None:
    found = server.eio.sockets.get(eio_sid)
    return None if found is None or found.closed else found.queue.qsize()
