"""Where the rooms are: nodes, rooms, and the seats that tickets hold.

A *node* is one server process with an address of its own. Each tells the directory
once a second (`beat`) that it lives, which rooms it has and who is in them; the answer
says what it should open or close. Joins are decided here, each as a whole: the seat is
held from the moment the ticket is given until the node counts its player, so that no
room is ever promised to more players than it has seats.

`MemoryDirectory` serves a single node and needs nothing. `RedisDirectory` serves many;
its decisions are in `directory.lua`, and both answer alike (`tests/test_directory.py`).
"""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple, Protocol

from .settings import RoomSettings, load

BEAT_S = 1.0
LEASE_S = 3.0
"""A node that has not been heard of for so long is dead: its rooms go to others."""

TICKET_S = 15.0
TICKETS_PER_ADDRESS = 128
"""Tickets of one address that hold seats at once; of one room's seats, half. So only who is there
fills a room for long."""

ARRIVE_S = 10.0
"""Time for a node to count the player of a used ticket, before the seat is free again."""

PENDING_S = 60.0
"""A room that was created and nobody came to is forgotten after this time."""

KEY_S = 600.0
STATE_S = 3600.0


class Refused(Exception):
    """The directory's no. `code`: ``full``, ``many`` (tickets are held for this address),
    ``no_room``, ``no_node`` (none lives, or none has space), ``away`` (the room's node doesn't
    answer), ``elsewhere`` (another node has the room), ``ticket`` (unknown, used or expired)."""

    def __init__(self, code: str):
        super().__init__(code)
        self.code = code


class Unavailable(Exception):
    """The directory does not answer."""


class Failed(Unavailable):
    """The directory answered that it can't do this: that is no outage, and stops nobody else."""


class RoomInfo(NamedTuple):
    """What the directory keeps about a room. `keep`: the node's own, open even when empty."""

    settings: RoomSettings
    keep: bool = False

    def dump(self) -> str:
        return json.dumps({"settings": asdict(self.settings)})

    @classmethod
    def load(cls, text: str) -> RoomInfo:
        """Raises ValueError if it is not what `dump` gives."""
        said = json.loads(text)
        return cls(load(said.get("settings") if isinstance(said, dict) else said))

    @classmethod
    def shared(cls, text: str) -> RoomInfo:
        """The same, of a directory that others write to. Raises Failed."""
        try:
            return cls.load(text)
        except (ValueError, TypeError) as error:
            raise Failed(f"the directory has a damaged room: {error}") from error


class Place(NamedTuple):
    """A room and where it is. `url` is None while its node doesn't answer."""

    room: str
    node: str
    url: str | None
    info: RoomInfo
    players: int = 0  # seats taken, those held by tickets included
    watching: int = 0
    created: bool = False


@dataclass
class RoomReport:
    """What a node says about one of its rooms. `arrived`: tickets whose players are counted."""

    id: str
    info: RoomInfo
    players: int = 0
    watching: int = 0
    arrived: list[str] = field(default_factory=list)


@dataclass
class NodeReport:
    """What a node says about itself. `closed`: rooms that it has closed since the last beat."""

    node: str
    url: str
    seats: int
    room_limit: int
    draining: bool = False
    rooms: list[RoomReport] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    busy: float = 0.0  # share of its core that its rooms take


class Orders(NamedTuple):
    """What a node should do: rooms to open, to close (their owner's wish), rooms that another
    node has by now, and the seats that tickets hold in each of its rooms."""

    open: list[str]
    close: list[str]
    lost: list[str]
    reserved: dict[str, int]


class Directory(Protocol):
    """Any call may raise `Refused` or `Unavailable`. `ticket` is an id, not yet signed; what is
    before a "." in it stands for the address that it is counted under."""

    shared: bool  # do other nodes see it?
    saves: bool  # does it keep rooms' checkpoints, for whoever opens them next?

    def beat(self, report: NodeReport) -> Orders:
        """Renew the node's lease, or register it."""

    def leave(self, node: str) -> None:
        """The node ends. What it has shared of its rooms goes to others."""

    def create(self, key: str, room: str, info: RoomInfo) -> Place:
        """A room under a client's key: the one that was created under it before, or this one."""

    def reserve(self, room: str, ticket: str, watch: bool, avoid: Iterable[str] = ()) -> Place:
        """Hold a seat in a room. `avoid`: nodes that did not answer the client."""

    def quick(
        self, ticket: str, watch: bool, spare: str, info: RoomInfo, avoid: Iterable[str] = ()
    ) -> Place:
        """Hold a seat in the fullest public room of the same game that has one, or in a new room
        `spare`."""

    def redeem(self, node: str, room: str, ticket: str) -> tuple[RoomInfo, bool]:
        """Use a ticket on the node that has its room. Returns the room and whether to watch."""

    def find(self, room: str) -> Place:
        """Where a room is."""

    def rooms(self) -> list[Place]:
        """The public rooms."""

    def close(self, room: str) -> None:
        """Have a room closed by its node."""

    def save(self, node: str, room: str, state: bytes) -> None:
        """Share a checkpoint of a room that this node has."""

    def hand_over(self, node: str, room: str, state: bytes) -> Place:
        """Give a room to another node. Returns where it is now."""

    def fetch(self, node: str, room: str) -> tuple[RoomInfo, bytes | None]:
        """A room that this node should have, and its last checkpoint."""

    def score(self, scores: dict[str, int]) -> None:
        """Take note of what players have reached; the best of each name counts."""

    def top(self, count: int) -> list[tuple[str, int]]:
        """The best of all nodes and all time."""
        ...


# ------------------------------------------------------------------ in this process


@dataclass
class _Room:
    info: RoomInfo
    node: str = ""
    players: int = 0
    watching: int = 0
    held: dict[str, tuple[float, bool]] = field(default_factory=dict)  # until when, to watch?
    arrived: dict[str, tuple[float, bool]] = field(default_factory=dict)
    pending_until: float | None = None
    closing: bool = False
    reserved: int = 0  # seats, not to watch, that are held or arrived

    @property
    def taken(self) -> int:
        return self.players + self.reserved


class MemoryDirectory:
    """The directory of one node, or of a machine's workers (see `keeper.py`), in memory. The
    nodes stand for one server: seats and rooms are limited over all of them."""

    shared = False
    saves = False

    def __init__(self, clock: Callable[[], float] = monotonic):
        self.clock = clock
        self._rooms: dict[str, _Room] = {}
        self._keys: dict[str, tuple[str, float]] = {}
        self._nodes: dict[str, NodeReport] = {}
        self._holding: Counter[tuple[str, str]] = Counter()  # by address and room, and by address
        # What runs out, in order: of each kind all take as long. Sweeping looks at what is due.
        self._tickets: deque[tuple[float, str, str]] = deque()
        self._arrivals: deque[tuple[float, str, str]] = deque()
        self._pending: deque[tuple[float, str]] = deque()
        self._key_ends: deque[tuple[float, str]] = deque()

    def beat(self, report: NodeReport) -> Orders:
        self._nodes[report.node] = report
        for id in report.closed:
            if id in self._rooms and self._rooms[id].node == report.node:
                self._drop(id)
        orders = Orders([], [], [], {})
        for said in report.rooms:
            room = self._rooms.setdefault(said.id, _Room(said.info, report.node))
            if room.node != report.node and room.node in self._nodes:
                orders.lost.append(said.id)
                continue
            room.node = report.node
            room.players, room.watching, room.pending_until = said.players, said.watching, None
            for ticket in said.arrived:
                self._release(room, room.arrived, ticket)
            if room.closing:
                orders.close.append(said.id)
        self._sweep()
        for said in report.rooms:
            if said.id in self._rooms and said.id not in orders.lost:
                orders.reserved[said.id] = self._rooms[said.id].reserved
        return orders

    def leave(self, node: str) -> None:
        self._nodes.pop(node, None)
        for id in self.rooms_of(node):
            self._drop(id)

    def rooms_of(self, node: str) -> dict[str, RoomInfo]:
        """The rooms that a node has, or should have."""
        return {id: room.info for id, room in self._rooms.items() if room.node == node}

    def lose(self, node: str) -> None:
        """The node is gone, and may come back; its rooms wait for it, or for `assign`."""
        self._nodes.pop(node, None)

    def assign(self, room: str, node: str) -> None:
        """Another node has this room from now on."""
        if room in self._rooms:
            self._rooms[room].node = node

    def create(self, key: str, room: str, info: RoomInfo) -> Place:
        self._sweep()
        before, _ = self._keys.get(key, ("", 0))
        if before in self._rooms:
            return self._place(before)
        self._open(room, info)
        self._keys[key] = room, (until := self.clock() + KEY_S)
        self._key_ends.append((until, key))
        return self._place(room)._replace(created=True)

    def reserve(self, room: str, ticket: str, watch: bool, avoid: Iterable[str] = ()) -> Place:
        self._sweep()
        known = self._rooms.get(room)
        if known is None or known.closing:
            raise Refused("no_room")
        if known.node not in self._nodes or known.node in avoid:
            raise Refused("away")
        if not watch and (known.taken >= known.info.settings.capacity or not self._seats_left()):
            raise Refused("full")
        if self._many(ticket) or self._many(ticket, room):
            raise Refused("many")
        known.held[ticket] = (until := self.clock() + TICKET_S), watch
        self._tickets.append((until, room, ticket))
        known.reserved += not watch
        self._count(room, ticket, 1)
        return self._place(room)

    def quick(
        self, ticket: str, watch: bool, spare: str, info: RoomInfo, avoid: Iterable[str] = ()
    ) -> Place:
        self._sweep()
        if not set(self._nodes) - set(avoid):
            raise Refused("no_node")
        if self._many(ticket):
            raise Refused("many")
        fits = [
            (-room.taken, id)
            for id, room in self._rooms.items()
            if room.info.settings.public and not room.closing and self._seats_left()
            if room.node in self._nodes and room.node not in avoid
            if room.taken < room.info.settings.capacity
            if room.info.settings.game == info.settings.game and not self._many(ticket, id)
        ]
        if not fits:
            try:
                self._open(spare, info)
            except Refused:
                raise Refused("full") from None
        best = min(fits)[1] if fits else spare
        return self.reserve(best, ticket, watch)

    def redeem(self, node: str, room: str, ticket: str) -> tuple[RoomInfo, bool]:
        self._sweep()
        known = self._rooms.get(room)
        if known is None:
            raise Refused("no_room")
        if known.node != node:
            raise Refused("elsewhere")
        if ticket not in known.held:
            raise Refused("ticket")
        _, watch = known.held.pop(ticket)
        self._count(room, ticket, -1)
        known.arrived[ticket] = (until := self.clock() + ARRIVE_S), watch
        self._arrivals.append((until, room, ticket))
        return known.info, watch

    def find(self, room: str) -> Place:
        if room not in self._rooms or self._rooms[room].closing:
            raise Refused("no_room")
        return self._place(room)

    def rooms(self) -> list[Place]:
        self._sweep()
        return [
            self._place(id)
            for id, room in self._rooms.items()
            if room.info.settings.public and not room.closing
        ]

    def close(self, room: str) -> None:
        known = self._rooms.get(room)
        if known is None:
            raise Refused("no_room")
        known.closing = True

    def save(self, node: str, room: str, state: bytes) -> None:
        pass  # nobody else could use it

    def hand_over(self, node: str, room: str, state: bytes) -> Place:
        raise Refused("no_node")

    def fetch(self, node: str, room: str) -> tuple[RoomInfo, bytes | None]:
        place = self.find(room)
        if place.node != node:
            raise Refused("elsewhere")
        return place.info, None

    def score(self, scores: dict[str, int]) -> None:
        pass  # the node has its own

    def top(self, count: int) -> list[tuple[str, int]]:
        return []

    def _seats_left(self) -> bool:
        seats = max((report.seats for report in self._nodes.values()), default=0)
        return sum(room.taken for room in self._rooms.values()) < seats

    def least_busy(self, but: str = "") -> str:
        """The node that should have the next room; "" if none takes any."""
        free = [
            (round(report.busy, 1), len(self.rooms_of(node)), node)
            for node, report in self._nodes.items()
            if node != but and not report.draining
        ]
        return min(free)[2] if free else ""

    def _open(self, room: str, info: RoomInfo) -> None:
        node = self.least_busy()
        if not node or len(self._rooms) >= self._nodes[node].room_limit:
            raise Refused("no_node")
        if not self._seats_left():
            raise Refused("no_node")
        until = self.clock() + PENDING_S
        self._rooms[room] = _Room(info, node, pending_until=until)
        self._pending.append((until, room))

    def _place(self, id: str) -> Place:
        room = self._rooms[id]
        node = self._nodes.get(room.node)
        url = node.url if node else None
        return Place(id, room.node, url, room.info, room.taken, room.watching)

    def _sweep(self) -> None:
        now = self.clock()
        for id, ticket in _due(self._tickets, now):
            room = self._rooms.get(id)
            if room is not None and ticket in room.held:
                self._count(id, ticket, -1)
                self._release(room, room.held, ticket)
        for id, ticket in _due(self._arrivals, now):
            if id in self._rooms:
                self._release(self._rooms[id], self._rooms[id].arrived, ticket)
        for (id,) in _due(self._pending, now):
            until = self._rooms[id].pending_until if id in self._rooms else None
            if until is not None and until <= now:
                self._drop(id)
        for (key,) in _due(self._key_ends, now):
            if key in self._keys and self._keys[key][1] <= now:
                del self._keys[key]

    def _release(self, room: _Room, queue: dict[str, tuple[float, bool]], ticket: str) -> None:
        """A ticket holds its seat no longer."""
        _, watch = queue.pop(ticket, (0.0, True))
        room.reserved -= not watch

    def _count(self, room: str, ticket: str, by: int) -> None:
        """A ticket is held, or not any more: by whose address, and of which room."""
        owner = owner_of(ticket)
        for key in ((owner, ""), (owner, room)) if owner else ():
            self._holding[key] += by
            if self._holding[key] <= 0:
                del self._holding[key]

    def _many(self, ticket: str, room: str = "") -> bool:
        """Do tickets of the same address hold their share already, of a room or of all?"""
        limit = TICKETS_PER_ADDRESS
        if room:
            limit = max(2, self._rooms[room].info.settings.capacity // 2)
        owner = owner_of(ticket)
        return bool(owner) and self._holding[owner, room] >= limit

    def _drop(self, id: str) -> None:
        room = self._rooms.pop(id, None)
        for ticket in room.held if room is not None else ():
            self._count(id, ticket, -1)


def _due(queue: deque, now: float) -> Iterator[tuple]:
    """What has run out by `now`, taken from the queue's front."""
    while queue and queue[0][0] <= now:
        yield queue.popleft()[1:]


def owner_of(ticket: str) -> str:
    """What stands for the address that a ticket was given to; empty if it isn't counted.

    >>> owner_of("5e884898.0f"), owner_of("0f")
    ('5e884898', '')
    """
    return ticket.partition(".")[0] if "." in ticket else ""


# ------------------------------------------------------------------ in Redis


def _times() -> list[int]:
    """How long things are kept, in milliseconds, as the script in Redis wants them."""
    return [int(s * 1000) for s in (LEASE_S, TICKET_S, ARRIVE_S, PENDING_S, KEY_S, STATE_S)]


TIMEOUT_S = 2.0
THREADS = 8
REST_S = 0.5
"""After a failure, calls fail at once for so long, instead of all waiting for the same timeout."""


class RedisDirectory:
    """The directory of many nodes. Calls run in threads, never in the hub: a slow Redis makes
    joins slow, not ticks."""

    shared = True
    saves = True

    def __init__(self, url: str):
        from gevent.threadpool import ThreadPool
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.exceptions import RedisError
        from redis.retry import Retry

        self._redis = Redis.from_url(
            url,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            max_connections=2 * THREADS,
            retry=Retry(NoBackoff(), 1),
        )
        # Relative, so that it can be read where its parents can't.
        source = Path(os.path.relpath(Path(__file__).with_name("directory.lua"))).read_text()
        self._script = self._redis.register_script(source)
        with contextlib.suppress(RedisError):
            self._redis.ping()  # imports what it needs while that can still be read
        self._threads = ThreadPool(THREADS)
        self._resting_until = 0.0

    def _call(self, command: str, state: bytes = b"", **arguments: Any) -> tuple[Any, bytes | None]:
        """Run a command of `directory.lua`; its answer, and the state if it has one."""
        from redis.exceptions import ConnectionError, RedisError, TimeoutError

        if command != "beat" and monotonic() < self._resting_until:
            raise Unavailable("the directory does not answer")
        text = json.dumps({**arguments, "times": _times(), "tickets": TICKETS_PER_ADDRESS})
        try:
            reply = self._threads.apply(self._script, ([], [command, text, state]))
        except (ConnectionError, TimeoutError, OSError) as error:
            self._resting_until = monotonic() + REST_S
            raise Unavailable(f"the directory does not answer: {error}") from error
        except (RedisError, ValueError) as error:
            raise Failed(f"the directory can't {command}: {error}") from error
        self._resting_until = 0.0
        try:
            answer = json.loads(reply[0])
        except ValueError as error:
            raise Failed(f"the directory's answer is damaged: {error}") from error
        if "refused" in answer:
            raise Refused(answer["refused"])
        return answer, reply[1] if len(reply) > 1 else None

    def beat(self, report: NodeReport) -> Orders:
        about = {"url": report.url, "seats": report.seats, "rooms": report.room_limit}
        rooms = [
            {
                **_described(said.id, said.info),
                "players": said.players,
                "watching": said.watching,
                "arrived": said.arrived,
            }
            for said in report.rooms
        ]
        answer, _ = self._call(
            "beat",
            node=report.node,
            about=json.dumps({**about, "draining": report.draining}),
            rooms=rooms,
            closed=report.closed,
        )
        # An empty table of Lua is neither list nor map.
        opened, closed, lost = (list(answer[key]) for key in ("open", "close", "lost"))
        return Orders(opened, closed, lost, dict(answer["reserved"]))

    def leave(self, node: str) -> None:
        self._call("leave", node=node)

    def create(self, key: str, room: str, info: RoomInfo) -> Place:
        answer, _ = self._call("create", key=key, room=_described(room, info))
        return _place(answer)

    def reserve(self, room: str, ticket: str, watch: bool, avoid: Iterable[str] = ()) -> Place:
        answer, _ = self._call("reserve", room=room, ticket=ticket, watch=watch, avoid=list(avoid))
        return _place(answer)

    def quick(
        self, ticket: str, watch: bool, spare: str, info: RoomInfo, avoid: Iterable[str] = ()
    ) -> Place:
        answer, _ = self._call(
            "quick", ticket=ticket, watch=watch, spare=_described(spare, info), avoid=list(avoid)
        )
        return _place(answer)

    def redeem(self, node: str, room: str, ticket: str) -> tuple[RoomInfo, bool]:
        answer, _ = self._call("redeem", node=node, room=room, ticket=ticket)
        return RoomInfo.shared(answer["info"]), answer["watch"]

    def find(self, room: str) -> Place:
        return _place(self._call("find", room=room)[0])

    def rooms(self) -> list[Place]:
        places = []
        for answer in self._call("rooms")[0]:
            with contextlib.suppress(Failed):  # the others are as good as before
                places.append(_place(answer))
        return places

    def close(self, room: str) -> None:
        self._call("close", room=room)

    def save(self, node: str, room: str, state: bytes) -> None:
        self._call("save", state, node=node, room=room)

    def hand_over(self, node: str, room: str, state: bytes) -> Place:
        return _place(self._call("hand_over", state, node=node, room=room)[0])

    def fetch(self, node: str, room: str) -> tuple[RoomInfo, bytes | None]:
        answer, state = self._call("fetch", node=node, room=room)
        return RoomInfo.shared(answer["info"]), state

    def score(self, scores: dict[str, int]) -> None:
        """Take note of what players have reached; the best of each name counts."""
        self._call("score", scores=scores)

    def top(self, count: int) -> list[tuple[str, int]]:
        """The best of all nodes and all time."""
        return [(name, points) for name, points in self._call("top", count=count)[0]]


def _described(room: str, info: RoomInfo) -> dict[str, Any]:
    described: dict[str, Any] = {"id": room, "info": info.dump()}
    if info.settings.public:
        described["capacity"] = info.settings.capacity
    return described


def _place(answer: dict[str, Any]) -> Place:
    return Place(
        answer["room"],
        answer["node"],
        answer["url"],
        RoomInfo.shared(answer["info"]),
        answer["players"],
        answer["watching"],
        answer.get("created", False),
    )


def connect(url: str) -> Directory:
    """The directory that an option names: ``memory`` or ``redis://…``."""
    return MemoryDirectory() if url == "memory" else RedisDirectory(url)
