"""A client for scripts and tests: nothing runs behind one's back.

    with tickstorm.connect("http://127.0.0.1:8000", game="tag", name="Ada") as room:
        room.input(dx=1)
        room.update(2.0)                        # two seconds of play
        print(room.me["x"], room.request("roll", 6))

The state stands still between calls; `update`, `wait_for` and `request` let time pass.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.sync.client import connect as open_websocket

from .places import ConnectError, find
from .session import Answer, Changed, ClientSession, Happening, Refused
from .state import Record
from .view import CONNECT_TIMEOUT_S, Disconnected, RoomView, websocket_options, why_not

ANSWER_S = 15.0


def connect(
    url: str = "http://127.0.0.1:8000",
    *,
    game: str | None = None,
    room: str | None = None,
    name: str = "",
    token: str | None = None,
    watch: bool = False,
    bot: bool = False,
    settings: dict[str, Any] | None = None,
    **options: Any,
) -> Client:
    """Join a room and wait for its state.

    `url`: a server's ``http://…`` address or its ``ws://…/ws``; `game`: which of its games;
    `room`: an id or code, else any that has a seat; `settings`: make a new room with these;
    `token`: come back as the player of an earlier connection; `watch`: as a spectator;
    `bot`: say that nobody plays; `options`: for the game's `on_auth`. Raises
    `ConnectError`; `Disconnected` if the room refuses.
    """
    place = find(url, game, room, token, watch, settings)
    hello = {
        "ticket": place.ticket,
        "options": options or None,
        "spectate": watch or None,
        "bot": bot or None,
    }
    return Client(place.url, name, token, hello)


class Client(RoomView):
    """A connection to a room; `connect` makes it. Not for several threads at once."""

    def __init__(self, url: str, name: str, token: str | None, hello: dict[str, Any]):
        self.url = url
        self._hello = hello
        self._kept: list[Happening] = []
        self._open(ClientSession(name, token, **hello))

    def _open(self, session: ClientSession) -> None:
        self.session = session
        try:
            # Closed by `leave`; a context manager, though not used as one.
            self.websocket = open_websocket(self.url, **websocket_options(self.url)).__enter__()
        except (OSError, WebSocketException) as error:
            raise why_not(self.url, error) from None
        try:
            self.websocket.send(session.hello())
            self._until(lambda: session.ready, CONNECT_TIMEOUT_S, "the server sends no state")
        except BaseException:
            self.websocket.close()
            raise

    def reconnect(self) -> None:
        """Come back as the same player after a `Disconnected`, within the time of grace."""
        self.url = self.session.sent_to or self.url
        hello = {key: value for key, value in self._hello.items() if key != "ticket"}
        self._open(ClientSession(self.session.name, self.session.token, **hello))

    def input(self, **values: Any) -> Record | None:
        """What one wants from now on, such as ``dx=1``. Goes out at once and with each `update`.
        Returns `me`."""
        self.session.set_input(time.monotonic(), **values)
        self._flush()
        return self.me

    def send(self, name: str, *args: Any) -> None:
        """A message to the room. An entity is given as its record or its id. Raises ValueError for
        what the message doesn't take."""
        self.session.call(name, *args)
        self._flush()

    def request(self, name: str, *args: Any, timeout: float = ANSWER_S) -> Any:
        """A message to the room, and its answer. Raises `Refused`, TimeoutError."""
        number = self.session.call(name, *args, answer=True)
        answers: list[Answer] = []

        def answered() -> bool:
            for happening in self._kept:
                if isinstance(happening, Answer) and happening.request == number:
                    self._kept.remove(happening)
                    answers.append(happening)
                    return True
            return False

        self._until(answered, timeout, f"no answer to {name}")
        if not answers[0].ok:
            raise Refused(answers[0].value)
        return answers[0].value

    def update(self, seconds: float = 0.0) -> list[Happening]:
        """Let so much time pass; 0 takes in what is there already. Returns what happened, in
        order, since it was last asked for: `Event`, `Changed`, …"""
        until = time.monotonic() + seconds
        while self._step(until):
            pass
        happened, self._kept = self._kept, []
        return happened

    def wait_for(self, what: Callable[[], Any], timeout: float = ANSWER_S) -> Any:
        """Let time pass until ``what()`` is true, and return that. Raises TimeoutError."""
        return self._until(what, timeout, "it did not come about")

    def leave(self) -> None:
        """Go for good."""
        try:
            self.session.leave()
            self._flush()
        except Disconnected:
            pass  # the server was quicker
        self.websocket.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self.leave()

    # ------------------------------------------------------------------ time passes

    def _until(self, what: Callable[[], Any], timeout: float, complaint: str) -> Any:
        until = time.monotonic() + timeout
        while not (found := what()):
            if not self._step(until) and not (found := what()):
                raise TimeoutError(f"{complaint} within {timeout:g} s")
            if found:
                break
        return found

    def _step(self, until: float) -> bool:
        """Send what is due and take in one message; False once it is `until`."""
        self._flush()
        now = time.monotonic()
        wait = min(until, self.session.wake()) - now
        try:
            data = self.websocket.recv(max(0.0, wait), decode=False)
        except TimeoutError:
            return time.monotonic() < until
        except ConnectionClosed:
            raise self._ended() from None
        for happening in self.session.receive(data, time.monotonic()):
            if (
                isinstance(happening, Changed)
                and self._kept
                and isinstance(self._kept[-1], Changed)
            ):
                self._kept.pop()  # of changes in a row, the last one tells all
            self._kept.append(happening)
        return True

    def _flush(self) -> None:
        try:
            for message in self.session.transmit(time.monotonic()):
                self.websocket.send(message)
        except ConnectionClosed:
            raise self._ended() from None

    def _ended(self) -> Disconnected:
        return Disconnected(self.websocket.close_code or 1006, self.websocket.close_reason or "")


__all__ = ["Client", "ConnectError", "Disconnected", "Refused", "connect"]
