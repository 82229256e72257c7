"""One client's stay in an object room."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from ..protocol import objects

if TYPE_CHECKING:
    from ..transport.connection import Connection


class Home(Protocol):
    """Where a session is: a running room, or a replay of one."""

    id: str

    def take(self, session: ObjectSession, payload: bytes) -> None: ...
    def disconnect(self, session: ObjectSession, connection: Connection) -> None: ...


class ObjectSession:
    """`player` is its id in the simulation, "" for a spectator."""

    __slots__ = (
        "room", "id", "name", "player", "bot", "spectator", "connection", "away_since", "told",
        "fresh", "greet", "ahead", "newest", "last", "raw", "values", "slack", "budget", "buckets",
        "failures", "heard_at", "pinged", "seated", "address",
    )  # fmt: skip

    def __init__(self, room: Home, id: str, name: str, player: str, bot: bool):
        self.room = room
        self.id = id
        self.name = name
        self.player = player
        self.spectator = not player
        self.address = ""  # whose seat it is; empty for nobody's (see `census.py`)
        self.bot = bot
        self.connection: Connection | None = None
        self.away_since = 0.0
        self.told: dict[Any, dict[int, bytes]] = {}
        self.fresh = True  # the next thing it gets is a STATE
        self.greet: bool | None = None  # WELCOME is due, resumed or not
        self.seated = self.spectator  # its JOIN has been taken
        self.ahead: dict[int, list[Any]] = {}  # inputs by tick
        self.newest = 0
        self.last: list[Any] | None = None
        self.raw = objects.NO_VALUES  # the newest input as it came, and its values, checked
        self.values: list[Any] = []
        self.slack: int | None = None
        self.budget = 0
        self.buckets: dict[str, list[float]] = {}  # of messages: [credit, when]
        self.failures: dict[str, int] = {}
        self.heard_at = 0.0
        self.pinged = False

    def take(self, payload: bytes) -> None:
        """One message from the client; what is wrong with it ends the connection."""
        self.room.take(self, payload)
