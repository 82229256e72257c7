"""The client for asyncio programs: the room goes on while one awaits anything.

async with tickstorm.aio.connect("http://127.0.0.1:8000", game="tag") as room:
    room.input(dx=1)
    async for event in room.events():       # what the rules send, in order
        print(event.name, event.args, room.me["x"])
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Generator
from typing import Any

from websockets.asyncio.client import connect as open_websocket
from websockets.exceptions import ConnectionClosed, WebSocketException

from .client.places import ConnectError, find
from .client.session import Answer, ClientSession, Event, Happening, Refused
from .client.state import WireError
from .client.view import (
    CONNECT_TIMEOUT_S,
    Disconnected,
    RoomView,
    websocket_options,
    why_not,
)

ANSWER_S = 15.0


class connect:
    """``await`` it, or use it with ``async with``; arguments as of `tickstorm.connect`."""

    def __init__(
        self,
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
    ):
        self._wanted = (url, game, room, token, watch, settings)
        self._session = (name, token)
        self._hello: dict[str, Any] = {
            "options": options or None,
            "spectate": watch or None,
            "bot": bot or None,
        }
        self._client: Client | None = None

    def __await__(self) -> Generator[Any, None, Client]:
        return self._connect().__await__()

    async def _connect(self) -> Client:
        place = await asyncio.to_thread(find, *self._wanted)
        session = ClientSession(*self._session, ticket=place.ticket, **self._hello)
        client = Client(place.url, session)
        await client._open()
        return client

    async def __aenter__(self) -> Client:
        self._client = await self._connect()
        return self._client

    async def __aexit__(self, *error: object) -> None:
        if self._client is not None:
            await self._client.leave()


class Client(RoomView):
    """A connection to a room; a task of its own keeps the state current."""

    def __init__(self, url: str, session: ClientSession):
        self.url, self.session = url, session
        self.on_happening: Callable[[Happening], None] | None = None
        """Called with everything that happens, `Changed` included."""
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()
        self._changed = asyncio.Event()
        self._wake = asyncio.Event()
        self._ended: Disconnected | WireError | None = None

    async def _open(self) -> None:
        try:
            self._socket = await open_websocket(self.url, **websocket_options(self.url))
        except (OSError, WebSocketException) as error:
            raise why_not(self.url, error) from None
        await self._socket.send(self.session.hello())
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._write())]
        try:
            await self.wait_for(lambda: self.session.ready, CONNECT_TIMEOUT_S)
        except BaseException:
            await self._close()
            raise

    def input(self, **values: Any) -> None:
        """What one wants from now on, such as ``dx=1``."""
        self.session.set_input(_now(), **values)
        self._wake.set()

    def send(self, name: str, *args: Any) -> None:
        """A message to the room."""
        self._check_open()
        self.session.call(name, *args)
        self._wake.set()

    async def request(self, name: str, *args: Any, timeout: float = ANSWER_S) -> Any:
        """A message to the room, and its answer. Raises `Refused`, TimeoutError."""
        self._check_open()
        number = self.session.call(name, *args, answer=True)
        future = self._answers[number or 0] = asyncio.get_running_loop().create_future()
        self._wake.set()
        try:
            return await asyncio.wait_for(future, timeout)
        finally:
            self._answers.pop(number or 0, None)

    async def events(self) -> AsyncIterator[Event]:
        """What the rules send, in order, until the connection ends."""
        while (event := await self._events.get()) is not None:
            yield event

    async def wait_for(self, what: Callable[[], Any], timeout: float = ANSWER_S) -> Any:
        """Return ``what()`` as soon as it is true; asked after each change. Raises
        TimeoutError."""

        async def changes() -> Any:
            while not (found := what()):
                self._check_open()
                self._changed.clear()
                await self._changed.wait()
            return found

        return await asyncio.wait_for(changes(), timeout)

    async def leave(self) -> None:
        """Go for good."""
        if self._ended is None:
            self.session.leave()
            with contextlib.suppress(ConnectionClosed):
                for message in self.session.transmit(_now()):
                    await self._socket.send(message)
        await self._close()

    # ------------------------------------------------------------------ the two tasks

    async def _read(self) -> None:
        try:
            while True:
                data = await self._socket.recv(decode=False)
                for happening in self.session.receive(data, _now()):
                    self._take(happening)
                self._changed.set()
                self._wake.set()
        except ConnectionClosed:
            code, reason = self._socket.close_code, self._socket.close_reason
            self._end(Disconnected(code or 1006, reason or ""))
        except WireError as error:
            self._end(error)

    def _take(self, happening: Happening) -> None:
        if isinstance(happening, Event):
            self._events.put_nowait(happening)
        elif isinstance(happening, Answer):
            future = self._answers.get(happening.request)
            if future is not None and not future.done():
                if happening.ok:
                    future.set_result(happening.value)
                else:
                    future.set_exception(Refused(happening.value))
        if self.on_happening is not None:
            self.on_happening(happening)

    async def _write(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            while self._ended is None:
                self._wake.clear()  # first, so that nothing queued from here on is missed
                for message in self.session.transmit(_now()):
                    await self._socket.send(message)
                wait = min(60.0, max(0.0, self.session.wake() - _now()))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), wait)

    def _end(self, error: Disconnected | WireError) -> None:
        self._ended = error
        self._events.put_nowait(None)
        for future in self._answers.values():
            if not future.done():
                future.set_exception(error)
        self._changed.set()
        self._wake.set()

    async def _close(self) -> None:
        self._ended = self._ended or Disconnected(1000, "left")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._socket.close()
        self._events.put_nowait(None)

    def _check_open(self) -> None:
        if self._ended is not None:
            raise self._ended


def _now() -> float:
    return asyncio.get_running_loop().time()


__all__ = ["Client", "ConnectError", "Disconnected", "Refused", "connect"]
