"""What the blocking and the asyncio client have in common: a room as its session knows it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from .places import ConnectError
from .session import SUBPROTOCOL, ClientSession
from .state import Record

MAX_MESSAGE_BYTES = 16 << 20
CONNECT_TIMEOUT_S = 5.0


class Disconnected(ConnectionError):
    """The connection is over. `code` and `reason` are those that the server gave, or 1006."""

    def __init__(self, code: int, reason: str):
        super().__init__(f"closed with {code}" + (f": {reason}" if reason else ""))
        self.code, self.reason = code, reason


class RoomView:
    """A room's state, as it is known now."""

    session: ClientSession
    url: str

    @property
    def state(self) -> Record:
        """The room's own fields, by name."""
        return self._tree.room

    @property
    def entities(self) -> dict[int, Record]:
        """Everything in the room by id; 0 is the room itself."""
        return self._tree.entities

    @property
    def me(self) -> Record | None:
        """One's own player; None for a spectator."""
        return self.session.me

    @property
    def players(self) -> list[Record]:
        """Everybody in the room."""
        return self.each(self._tree.kinds[1].name) if len(self._tree.kinds) > 1 else []

    def each(self, kind: str) -> list[Record]:
        """All entities of a kind, in order of their ids."""
        return sorted(self._tree.each(kind), key=lambda record: record.id)

    @property
    def tick(self) -> int:
        """The tick that `state` shows."""
        return self._tree.tick or 0

    @property
    def id(self) -> str:
        """The room's id, with which others find it."""
        return self._welcome["room"]

    @property
    def settings(self) -> dict[str, Any]:
        """What was chosen when the room was made."""
        return self._welcome.get("settings") or {}

    @property
    def rtt_s(self) -> float | None:
        """The way there and back, as the newest ping found it."""
        return self.session.rtt_s

    @property
    def token(self) -> str | None:
        """With it, `connect(…, token=…)` comes back as the same player."""
        return self.session.token

    @property
    def _tree(self) -> Any:
        return self.session.state

    @property
    def _welcome(self) -> dict[str, Any]:
        return self.session.welcome or {}


def websocket_options(url: str) -> dict[str, Any]:
    """How the `websockets` library is to connect: as every client of ours does."""
    local = urlsplit(url).hostname in ("127.0.0.1", "::1", "localhost")
    return {
        "subprotocols": [SUBPROTOCOL],
        "compression": None,
        "max_size": MAX_MESSAGE_BYTES,
        "open_timeout": CONNECT_TIMEOUT_S,
        "close_timeout": 1.0,
        **({"proxy": None} if local else {}),
    }


def why_not(url: str, error: Exception) -> ConnectError:
    """What to say when no WebSocket came about."""
    response = getattr(error, "response", None)
    if response is not None:
        said = bytes(response.body or b"").decode("utf-8", "replace").strip()
        return ConnectError(f"{url} answers {response.status_code}: {said or 'no reason given'}")
    return ConnectError(f"no server answers at {url}: {error}; is it running?")
