"""The doors for clients without a WebSocket: server-sent events or long polling to hear, POST to
speak. PROTOCOL.md draws their bytes.

A *stream* (`transport/stream.py`) stands for a WebSocket: `POST /stream` opens one, on the terms on
which `/ws` is upgraded, and its name, a secret, opens all else under `/stream/NAME`.
"""

from __future__ import annotations

import json
import socket
from base64 import b64encode
from collections import Counter
from collections.abc import Callable
from http import HTTPStatus
from time import monotonic
from urllib.parse import parse_qs

import gevent

from ..config import Config
from ..transport.bridge import Bridge
from ..transport.held import EVENTS, Headers, Held, ended, head, send_all, send_events, woken
from ..transport.stream import Gone, Stream, batch, records

BATCH_BYTES = 1 << 16
"""The largest body of a POST."""

WAIT_S = 25.0
"""The longest that a poll waits."""

LOOK_S = 1.0
NUMBERS = 2**53
TYPE = "application/octet-stream"


class Refusal(Exception):
    """A request that can't be fulfilled: a word for programs, a sentence for people."""

    def __init__(self, status: HTTPStatus, error: str, message: str):
        super().__init__(message)
        self.status, self.error = status, error


class Answer:
    def __init__(self, status: HTTPStatus, body: bytes = b"", kind: str = "application/json"):
        self.status, self.body, self.kind = status, body, kind


class Streams:
    """All streams of a process. `open(environ)` makes the way to a room; it raises Refusal.
    `headers` go with each answer; names begin with `prefix()`, which says whose they are."""

    def __init__(
        self,
        config: Config,
        open: Callable[[dict], tuple[Bridge, str]],
        headers: Headers,
        prefix: Callable[[], str] = str,
    ):
        self.config = config
        self._open = open
        self._headers = headers
        self._prefix = prefix
        self._streams: dict[str, Stream] = {}

    def count(self) -> dict[str, int]:
        """How many listen in which way."""
        return dict(Counter(stream.way or "new" for stream in self._streams.values()))

    def answer(self, method: str, path: str, environ: dict, cors: Headers) -> Answer | Held:
        """What to answer to a request under `/stream`. Raises Refusal."""
        _, _, name, *rest = path.split("/") + [""] * (path == "/stream")
        query = parse_qs(environ.get("QUERY_STRING", ""))
        if not name:
            if method != "POST":
                raise Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "method", "POST only")
            return self._begin(environ)
        stream = self._streams.get(name)
        if stream is None or len(rest) > 1:
            raise Refusal(HTTPStatus.NOT_FOUND, "no_stream", "There is no such stream, or no more.")
        way = (method, *rest)
        if way == ("POST",):
            return self._take(stream, _number(query, "n"), environ)
        if way == ("DELETE",):
            self._end(stream)
            return Answer(HTTPStatus.NO_CONTENT)
        if way == ("GET", "events"):
            after = environ.get("HTTP_LAST_EVENT_ID") or _given(query, "after")
            return self._events(stream, _whole(after, "after"), cors)
        if way == ("GET", "poll"):
            wait_s = min(WAIT_S, _number(query, "wait", int(WAIT_S)))
            return self._poll(stream, _number(query, "after"), wait_s, cors)
        raise Refusal(
            HTTPStatus.METHOD_NOT_ALLOWED,
            "method",
            "POST and DELETE; GET of `events` or `poll` below",
        )

    # ------------------------------------------------------------------ from the client

    def _begin(self, environ: dict) -> Answer:
        messages = _messages(environ)
        bridge, site = self._open(environ)
        stream = Stream(bridge, site, self._prefix())
        self._streams[stream.id] = stream
        gevent.spawn(self._look_after, stream)
        if messages:
            self._say(stream, 1, messages)
        return Answer(HTTPStatus.CREATED, json.dumps({"stream": stream.id}).encode() + b"\n")

    def _take(self, stream: Stream, number: int, environ: dict) -> Answer:
        self._say(stream, number, _messages(environ))
        return Answer(HTTPStatus.NO_CONTENT)

    def _say(self, stream: Stream, number: int, messages: list[bytes]) -> None:
        try:
            taken = stream.take(number, messages)
        except OSError:
            return  # it has ended: whoever listens hears why
        if not taken:
            raise Refusal(HTTPStatus.CONFLICT, "order", f"n={stream.taken + 1} comes next")

    # ------------------------------------------------------------------ to the client

    def _events(self, stream: Stream, number: int, cors: Headers) -> Held:
        first = self._after(stream, number)

        def write(sock: socket.socket) -> None:
            mark, wake = stream.listen("sse")
            messages, written, done = first, number, False

            def more() -> bytes | None:
                nonlocal messages, written, done
                stream.shrink(written)
                if done or not stream.listens(mark):
                    return None
                messages = messages or stream.after(written)
                data = b""
                for message in messages:
                    written += 1
                    data += b"id: %d\ndata: %b\n\n" % (written, b64encode(message))
                if not messages and stream.bridge.ended is not None:
                    done, (code, reason) = True, stream.bridge.ended
                    told = json.dumps({"code": code, "reason": reason})
                    data = f"event: close\ndata: {told}\n\n".encode()
                messages = []
                return data

            try:
                start = head([*EVENTS, *cors, *self._headers]) + b": hello\n\n"
                send_all(sock, start, self.config.slow_seconds)
                send_events(sock, wake, more, self.config.slow_seconds)
            except (OSError, Gone):
                pass  # it went, or takes nothing
            finally:
                stream.stop_listening(mark)

        return Held(write)

    def _poll(self, stream: Stream, number: int, wait_s: float, cors: Headers) -> Held:
        first = self._after(stream, number)

        def write(sock: socket.socket) -> None:
            mark, wake = stream.listen("polling")
            messages, until = first, monotonic() + wait_s
            try:
                with woken(sock, wake):
                    while not messages and stream.bridge.ended is None and stream.listens(mark):
                        if not wake.wait(max(0.0, until - monotonic())):
                            break
                        wake.clear()
                        if ended(sock):
                            return
                        messages = stream.after(number)
                body = batch(messages)
                if not messages and stream.bridge.ended is not None:
                    code, reason = stream.bridge.ended
                    body = bytes(4) + code.to_bytes(2, "big") + reason.encode()
                rows = [("Content-Type", TYPE), ("Content-Length", str(len(body)))]
                start = head([*rows, ("Cache-Control", "no-store"), *cors, *self._headers])
                send_all(sock, start + body, self.config.slow_seconds)
                stream.shrink(number + len(messages))
            except (OSError, Gone):
                pass  # it went, or takes nothing
            finally:
                stream.stop_listening(mark)

        return Held(write)

    def _after(self, stream: Stream, number: int) -> list[bytes]:
        try:
            return stream.after(number)
        except Gone:
            raise Refusal(
                HTTPStatus.GONE, "gone", "What came after that number is not kept any more."
            ) from None

    # ------------------------------------------------------------------ the end

    def _look_after(self, stream: Stream) -> None:
        while stream.id in self._streams and not stream.lost(monotonic()):
            gevent.sleep(LOOK_S)
        self._end(stream)

    def _end(self, stream: Stream) -> None:
        if self._streams.pop(stream.id, None) is not None:
            stream.bridge.close()
            stream.wake.set()


def _messages(environ: dict) -> list[bytes]:
    """The messages of a POST. A form of another site's page can't send this content type."""
    if environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower() != TYPE:
        raise Refusal(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "content_type", f"Send Content-Type: {TYPE}"
        )
    length = environ.get("CONTENT_LENGTH", "")
    if not length.isdecimal():
        raise Refusal(HTTPStatus.LENGTH_REQUIRED, "length", "Send Content-Length.")
    if int(length) > BATCH_BYTES:
        raise Refusal(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large", f"At most {BATCH_BYTES} bytes."
        )
    body = b""
    try:
        if int(length):
            body = environ["wsgi.input"].read(int(length))
    except OSError:
        pass
    if len(body) != int(length):
        raise Refusal(HTTPStatus.BAD_REQUEST, "body", "The body is not whole.")
    try:
        return records(body)
    except ValueError as error:
        raise Refusal(HTTPStatus.BAD_REQUEST, "body", f"Not a batch: {error}.") from None


def _given(query: dict[str, list[str]], key: str) -> str:
    return query.get(key, ["0"])[0]


def _number(query: dict[str, list[str]], key: str, default: int = 0) -> int:
    return _whole(query.get(key, [str(default)])[0], key)


def _whole(text: str, key: str) -> int:
    if not (text.isascii() and text.isdecimal()) or len(text) > 16 or int(text) >= NUMBERS:
        raise Refusal(HTTPStatus.BAD_REQUEST, "bad_request", f"{key}: a whole number")
    return int(text)
