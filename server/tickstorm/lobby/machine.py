"""This worker's line to the keeper of the machine (`keeper.py`): connections are held there, and
those that another worker should serve go through it; with several workers, it has the directory.

While there is no keeper, play goes on: connections are not held, and as soon as there is one again
it is told anew.
"""

from __future__ import annotations

import contextlib
import logging
import mmap
import os
import select
import socket
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any, Protocol

import gevent
from gevent import get_hub
from gevent.event import AsyncResult

from ..config import Config
from ..process.link import Ended, Link, address, peer_uid
from .directory import NodeReport, Orders, Place, Refused, RoomInfo, RoomReport, Unavailable

log = logging.getLogger("tickstorm.machine")

(
    HELLO, CALL, HOLD, LET, GIVE, MOVE, PARK, QUIT,
    WELCOME, ANSWER, ADOPT, COME, TAKE,
) = range(1, 14)  # fmt: skip

START_S = 5.0
"""Time for the keeper to be there when a worker starts."""

AGAIN_S = 0.1
"""Between attempts to reach a keeper that is gone."""

CALL_S = 3.0
READ, WRITE = 1, 2

Rest = list[bytes]


class Connection(Protocol):
    """A connection, as far as it is held for."""

    fd: int

    def watch_edge(self, edges: Any, at: int) -> None:
        """Note there whether it is in the middle of a frame."""


class Machine:
    """`worker`: its number, from 0. `on_adopt(rooms)`, `on_come(room, info, state)` and
    `on_take(fd, about, rest)` are called in a greenlet, in the order of what came."""

    def __init__(self, config: Config, worker: int):
        self.worker = worker
        self.config = config
        self.rooms: list[tuple[str, RoomInfo]] | None = None
        """What to open at the start, if the keeper knows."""
        self.others: list[tuple[int, dict[str, Any]]] = []
        """What the other workers have said of themselves lately."""
        self.status: Callable[[], dict[str, Any]] = dict
        self.on_adopt: Callable[[list[tuple[str, RoomInfo]], int], None] = lambda rooms, of: None
        self.on_come: Callable[[str, RoomInfo, bytes], None] = lambda room, info, state: None
        self.on_take: Callable[[int, dict[str, Any], Rest | None], None] = lambda *_: None
        self.report: Callable[[], NodeReport | None] = lambda: None
        self._link: Link | None = None
        self._edges = mmap.mmap(-1, 1)
        self._edge_fd = -1
        self._free: list[int] = []
        self._held: dict[str, tuple[Connection, dict[str, Any]]] = {}
        self._calls: dict[int, AsyncResult] = {}
        self._number = self._key = 0
        self._early: list[tuple[Any, list[int]]] = []
        self._reading: Any = None
        self._writing: Any = None
        self._inbox: list[tuple[Any, list[int]]] = []
        self._acting = False
        self.has: Callable[[str], bool] = lambda room: True
        """Is this room open here?"""
        self._coming: dict[str, list[Any]] = {}
        self._quiet = False  # we end: nothing is taken in any more
        self._make_edges(config.max_websockets + config.max_requests)

    def _make_edges(self, count: int) -> None:
        self._edge_fd = os.memfd_create("tickstorm-edges")
        os.ftruncate(self._edge_fd, count + 1)
        self._edges = mmap.mmap(self._edge_fd, count + 1)
        self._free = list(range(count, 0, -1))

    # ------------------------------------------------------------------ the line

    @property
    def reached(self) -> bool:
        """Is there a keeper?"""
        return self._link is not None

    def count(self, what: str, of: str | None = None) -> int:
        """A number of all other workers' status; of one key, if it is a map."""
        said = [status.get(what, 0) for _, status in self.others]
        return sum(each if of is None else each.get(of, 0) for each in said)

    def lists(self, room: str) -> bool:
        """Has another worker a public room of this id?"""
        return any(room in status.get("public", ()) for _, status in self.others)

    def start(self) -> None:
        """Reach the keeper, before anything else runs here. Without one, go on alone."""
        until = monotonic() + START_S
        while not self._connect(None) and monotonic() < until:
            gevent.sleep(0.02)
        if self._link is None:
            log.error("there is no keeper: if this worker dies, its players have to reconnect")

    def run(self) -> None:
        """From now on, in greenlets: what comes is acted on, and a new keeper is told anew."""
        early, self._early = self._early, []
        for (_, *values), fds in early:
            self.on_take(fds[0], *values)
        self._watch()
        gevent.spawn(self._stay)

    def _connect(self, rooms: list[Any] | None) -> bool:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.connect(address(self.config.data_dir, self.config.port))
        except OSError:
            sock.close()
            return False
        if peer_uid(sock) not in (0, os.geteuid()):
            sock.close()
            log.error("whoever listens for us is not our keeper")
            return False
        link = Link(sock)
        try:
            link.put([HELLO, self.worker, rooms], [self._edge_fd])
            until, welcome = monotonic() + CALL_S, False
            while not welcome and monotonic() < until:
                select.select([sock], [], [], 0.5)
                for message, fds in link.get():
                    if message[0] == WELCOME:
                        welcome = True
                        if rooms is None and message[1] is not None:
                            self.rooms = [(id, load_info(info)) for id, info in message[1]]
                    else:
                        self._early.append((message, fds))
        except Ended:
            welcome = False
        if not welcome:
            link.close()
            return False
        self._link = link
        return True

    def _watch(self) -> None:
        if self._link is not None:
            loop, fd = get_hub().loop, self._link.sock.fileno()
            self._reading, self._writing = loop.io(fd, READ), loop.io(fd, WRITE)
            self._reading.start(self._readable)

    def _stay(self) -> None:
        while not self._quiet:
            gevent.sleep(AGAIN_S)
            if self._link is None:
                report = self.report()
                if self._connect([] if report is None else [dump_report(report)]):
                    log.warning("the keeper is back: it is told of %d connections",
                                len(self._held))  # fmt: skip
                    self._watch()
                    for key, (connection, about) in list(self._held.items()):
                        self._put([HOLD, key, about], [connection.fd])

    def _gone(self) -> None:
        if self._link is None:
            return
        for watcher in (self._reading, self._writing):
            watcher.stop()
            watcher.close()
        self._link.close()
        self._link = None
        if not self._quiet:
            log.error("the keeper is gone; play goes on")
        for result in self._calls.values():
            result.set_exception(Unavailable("the keeper is gone"))
        self._calls.clear()

    def _readable(self) -> None:
        try:
            assert self._link is not None, "who is gone is not watched"
            self._take_in(self._link.get())
        except Ended:
            self._gone()

    def _take_in(self, messages: list[tuple[Any, list[int]]]) -> None:
        for message, fds in messages:
            if message[0] == ANSWER:
                _, number, good, value = message
                result = self._calls.pop(number, None)
                if result is not None:
                    result.set(value) if good else result.set_exception(Refused(value))
            else:
                self._inbox.append((message, fds))
        if self._inbox and not self._acting:
            self._acting = True
            gevent.spawn(self._act)

    def _act(self) -> None:
        while self._inbox:
            (kind, *values), fds = self._inbox.pop(0)
            try:
                if kind == TAKE and values[0]["room"] and not self.has(values[0]["room"]):
                    self._coming.setdefault(values[0]["room"], []).append((fds[0], *values))
                elif kind == TAKE:
                    self.on_take(fds[0], *values)
                elif kind == ADOPT:
                    self.on_adopt([(id, load_info(info)) for id, info in values[0]], values[1])
                    self._arrive(id for id, _ in values[0])
                elif kind == COME:
                    self.on_come(values[0], load_info(values[1]), values[2])
                    self._arrive([values[0]])
            except Exception:
                log.exception("what the keeper says can't be done")
        self._acting = False

    def _arrive(self, rooms: Iterable[str]) -> None:
        """The connections that came ahead of their rooms."""
        for room in rooms:
            for each in self._coming.pop(room, ()):
                self.on_take(*each)

    def _put(self, message: Any, fds: Iterable[int] = ()) -> bool:
        if self._link is None:
            return False
        try:
            self._link.put(message, list(fds))
            if not self._link.flush() and not self._writing.active:
                self._writing.start(self._writable)
        except Ended:
            self._gone()
            return False
        return True

    def _writable(self) -> None:
        try:
            assert self._link is not None, "who is gone is not watched"
            if self._link.flush():
                self._writing.stop()
        except Ended:
            self._gone()

    def call(self, name: str, *values: Any) -> Any:
        """Ask the directory. Raises Refused or Unavailable."""
        self._number += 1
        result = self._calls[self._number] = AsyncResult()
        number = self._number
        if not self._put([CALL, number, name, list(values)]):
            self._calls.pop(number, None)
            raise Unavailable("there is no keeper just now")
        try:
            return result.get(timeout=CALL_S)
        except gevent.Timeout:
            raise Unavailable("the keeper does not answer") from None
        finally:
            self._calls.pop(number, None)

    # ------------------------------------------------------------------ connections

    def hold(self, connection: Connection, about: dict[str, Any], key: str = "") -> str:
        """Have a connection held from now on; its key."""
        if not key:
            self._key += 1
            key = f"{self.worker}-{os.getpid()}-{self._key}"
        if key in self._held:
            edge = self._held[key][1]["edge"]
        elif self._free:
            edge = self._free.pop()
        else:
            return ""
        connection.watch_edge(self._edges, edge)
        about = {**about, "edge": edge, "key": key}
        self._held[key] = connection, about
        self._put([HOLD, key, about], [connection.fd])
        return key

    def let(self, key: str) -> None:
        """It has ended."""
        if self._forget(key):
            self._put([LET, [key]])

    def _forget(self, key: str) -> bool:
        held = self._held.pop(key, None)
        if held is not None:
            edge = held[1]["edge"]
            self._edges[edge] = 0
            self._free.append(edge)
        return held is not None

    def give(self, worker: int, about: dict[str, Any], rest: Rest, fd: int) -> bool:
        """Have another worker serve a connection; `fd` is not needed any more."""
        return self._put([GIVE, worker, about, rest], [fd])

    def move(self, room: str, worker: int, state: bytes, rests: dict[str, Rest]) -> bool:
        """Have another worker go on with a room, with the connections held for it."""
        if not self._put([MOVE, room, worker, state, rests]):
            return False
        for key in rests:
            self._forget(key)
        return True

    def park(self, rests: dict[str, Rest]) -> None:
        """This worker ends, and another one takes its place."""
        self._quiet = True
        self._put([PARK, rests])
        self._drain()

    def quit(self) -> None:
        """This worker ends for good, and all its connections have."""
        self._quiet = True
        self._put([QUIT])
        self._drain()

    def _drain(self) -> None:
        until = monotonic() + 1.0
        with contextlib.suppress(Ended):
            while self._link is not None and not self._link.flush() and monotonic() < until:
                gevent.sleep(0.001)


class MachineDirectory:
    """The directory that the keeper has, for several workers. Each is a node, named by its
    number."""

    shared = True
    saves = False

    def __init__(self, machine: Machine):
        self._machine = machine

    def beat(self, report: NodeReport) -> Orders:
        machine = self._machine
        orders, others = machine.call("beat", dump_report(report), machine.status())
        machine.others = [(worker, status) for worker, status in others]
        return Orders(*orders)

    def leave(self, node: str) -> None:
        self._machine.call("leave")

    def create(self, key: str, room: str, info: RoomInfo) -> Place:
        return load_place(self._machine.call("create", key, room, dump_info(info)))

    def reserve(self, room: str, ticket: str, watch: bool, avoid: Iterable[str] = ()) -> Place:
        return load_place(self._machine.call("reserve", room, ticket, watch, []))

    def quick(
        self, ticket: str, watch: bool, spare: str, info: RoomInfo, avoid: Iterable[str] = ()
    ) -> Place:
        # Whoever does not reach one worker reaches none: they share a port.
        return load_place(self._machine.call("quick", ticket, watch, spare, dump_info(info), []))

    def redeem(self, node: str, room: str, ticket: str) -> tuple[RoomInfo, bool]:
        info, watch = self._machine.call("redeem", room, ticket)
        return load_info(info), watch

    def find(self, room: str) -> Place:
        return load_place(self._machine.call("find", room))

    def rooms(self) -> list[Place]:
        return [load_place(row) for row in self._machine.call("rooms")]

    def close(self, room: str) -> None:
        self._machine.call("close", room)

    def save(self, node: str, room: str, state: bytes) -> None:
        pass  # its journal is here

    def hand_over(self, node: str, room: str, state: bytes) -> Place:
        raise Refused("no_node")

    def fetch(self, node: str, room: str) -> tuple[RoomInfo, bytes | None]:
        return load_info(self._machine.call("fetch", room)), None

    def score(self, scores: dict[str, int]) -> None:
        pass  # all workers write into one database

    def top(self, count: int) -> list[tuple[str, int]]:
        return []


# ------------------------------------------------------------------ as it travels


def dump_info(info: RoomInfo) -> list[Any]:
    return [info.dump(), info.keep]


def load_info(row: list[Any]) -> RoomInfo:
    return RoomInfo.load(row[0])._replace(keep=row[1])


def dump_place(place: Place) -> list[Any]:
    room, node, url, info, *counts = place
    return [room, node, url, dump_info(info), *counts]


def load_place(row: list[Any]) -> Place:
    room, node, url, info, *counts = row
    return Place(room, node, url, load_info(info), *counts)


def dump_report(report: NodeReport) -> list[Any]:
    rooms = [
        [said.id, dump_info(said.info), said.players, said.watching, said.arrived]
        for said in report.rooms
    ]
    return [report.node, report.url, report.seats, report.room_limit, report.draining, rooms,
            report.closed, report.busy]  # fmt: skip


def load_report(row: list[Any]) -> NodeReport:
    node, url, seats, room_limit, draining, rooms, closed, busy = row
    reports = [RoomReport(id, load_info(info), *rest) for id, info, *rest in rooms]
    return NodeReport(node, url, seats, room_limit, draining, reports, closed, busy)
