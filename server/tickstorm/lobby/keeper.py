"""The keeper of a machine: a small process that outlives its workers, and lets no player fall.

It has a duplicate of each client's connection, knows whose it is, and keeps the directory of the
machine's workers. When a worker's line ends without a word, its rooms go to another worker at
once, or wait for the one that takes its place, and their connections follow: no client sees its
socket end. uWSGI's master starts it (``smart-attach-daemon``), leaves it alone when it reloads,
and starts another should it die; it ends by itself with its master.

What is said on a line (`link.py`), from a worker:

    HELLO   worker, rooms          rooms: null of one that has just started
    CALL    number, name, values   of the directory; the answer is ANSWER
    HOLD    key, about             and the connection. about: see `machine.py`
    LET     [key, …]               the connections have ended
    GIVE    worker, about, key     and a connection that another worker should serve; `key` if
                                   it is held under one
    MOVE    room, worker, state, rests   the room goes there, with the connections held for it
    PARK    rests                  the worker ends and comes back: a reload
    QUIT                           the worker ends for good; its connections have been closed

and to one:

    WELCOME rooms                  what it has to open; null if nobody knows
    ANSWER  number, good, value
    ADOPT   rooms, worker          of a worker that died: to be opened from their journals
    COME    room, info, state      a room that was moved here
    TAKE    about, rest            and a connection to serve; those of a room come before the
                                   message that says to open it, so that it opens with them

A *rest* is ``[tail, read]``: bytes that have yet to go out, and bytes that came and are no whole
frame yet. Without it, a connection that a dead worker was in the middle of is of no use to
anybody, so it is shut down; which those are stands in memory shared with the worker.
"""

from __future__ import annotations

import logging
import mmap
import os
import select
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

from ..config import Config, ConfigError, load
from ..process import privileges
from ..process.link import Ended, Link, address, peer_uid
from .directory import MemoryDirectory, Place, Refused
from .machine import (
    ADOPT,
    ANSWER,
    CALL,
    COME,
    GIVE,
    HELLO,
    HOLD,
    LET,
    MOVE,
    PARK,
    QUIT,
    TAKE,
    WELCOME,
    dump_info,
    dump_place,
    load_info,
    load_report,
)  # fmt: skip

log = logging.getLogger("tickstorm.keeper")

PARKED_S = 120.0
"""Connections of a worker that doesn't come back are closed after so long."""

MOST_HELD = 100_000


class Member:
    """One worker's line. `edges`: a byte for each of its connections, not 0 while it is in the
    middle of a frame."""

    def __init__(self, link: Link):
        self.link = link
        self.worker = -1
        self.edges: mmap.mmap | None = None
        self.parked = False  # it has said that it comes back
        self.status: dict[str, Any] = {}

    @property
    def node(self) -> str:
        return str(self.worker)


class Held:
    """A connection: our duplicate of it, and what is needed to go on with it."""

    __slots__ = ("about", "fd", "rest", "since", "worker")

    def __init__(self, fd: int, worker: int, about: dict[str, Any]):
        self.fd = fd
        self.worker = worker
        self.about = about
        self.rest: list[bytes] | None = None
        self.since = 0.0  # when its worker went

    def end(self) -> None:
        """For good: the client sees its end."""
        with socket.socket(fileno=self.fd) as sock:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Keeper:
    """All that it knows; `take_in` a new line, then `hear` whenever it has something to say."""

    def __init__(self, clock: Callable[[], float] = monotonic):
        self.clock = clock
        self.directory = MemoryDirectory(clock)
        self.workers: dict[int, Member] = {}
        self.held: dict[str, Held] = {}
        self._told = False  # some worker has said which rooms there are

    # ------------------------------------------------------------------ workers

    def hear(self, member: Member) -> None:
        """Take in what a worker has said. Raises Ended."""
        for message, fds in member.link.get():
            self._act(member, message[0], message[1:], fds)

    def _act(self, member: Member, kind: int, values: list[Any], fds: list[int]) -> None:
        if kind == CALL:
            self._call(member, *values)
        elif kind == HOLD:
            self._hold(member, fds[0], *values)
        elif kind == LET:
            for key in values[0]:
                self._let(key)
        elif kind == GIVE:
            self._give(fds[0], *values)
        elif kind == MOVE:
            self._move(*values)
        elif kind == HELLO:
            self._hello(member, fds[0], *values)
        elif kind == PARK:
            self._park(member, *values)
        elif kind == QUIT:
            self._quit(member)

    def _hello(self, member: Member, edges: int, worker: int, rooms: list[Any] | None) -> None:
        before = self.workers.get(worker)
        if before is not None and before is not member:
            self.lost(before)
        member.worker = worker
        member.edges = mmap.mmap(edges, 0)
        os.close(edges)
        self.workers[worker] = member
        node = member.node
        if rooms is not None:
            self._told = True
            for report in rooms:
                self.directory.beat(load_report(report))
            member.link.put([WELCOME, None])
            return
        if not self._told:
            member.link.put([WELCOME, None])
            self._told = True
            return
        for held in self.held.values():
            if held.worker == worker:
                self._hand(held, member)
        mine = self.directory.rooms_of(node)
        member.link.put([WELCOME, [[id, dump_info(info)] for id, info in mine.items()]])

    def lost(self, member: Member) -> None:
        """A worker's line has ended: without a word, it has died."""
        member.link.close()
        worker = member.worker
        if self.workers.get(worker) is not member:
            return
        del self.workers[worker]
        self.directory.lose(member.node)
        now, edges = self.clock(), member.edges
        mine = {key: held for key, held in self.held.items() if held.worker == worker}
        for key, held in mine.items():
            held.since = now
            if edges is not None and held.rest is None and edges[held.about["edge"]]:
                self._let(key)  # in the middle of a frame: it has to connect anew
        log.warning("worker %d is gone; %d connections of its %d are kept", worker,
                    sum(key in self.held for key in mine), len(mine))  # fmt: skip
        if not member.parked:
            self._share_out(worker, member.node)

    def _share_out(self, worker: int, node: str) -> None:
        """Give the rooms of a dead worker to the others, if there are any."""
        adopted: dict[int, list[Any]] = {}
        for id, info in self.directory.rooms_of(node).items():
            target = self.directory.least_busy()
            if not target:
                return  # the one that takes its place will have them
            self.directory.assign(id, target)
            adopted.setdefault(int(target), []).append([id, dump_info(info)])
        for target_worker, rooms in adopted.items():
            member = self.workers[target_worker]
            ids = {id for id, _ in rooms}
            for held in list(self.held.values()):
                if held.worker == worker and held.about["room"] in ids:
                    self._hand(held, member)
            self._send(member, [ADOPT, rooms, worker])

    def _park(self, member: Member, rests: dict[str, list[bytes]]) -> None:
        member.parked = True
        for key, rest in rests.items():
            if key in self.held:
                self.held[key].rest = rest

    def _quit(self, member: Member) -> None:
        for key in [key for key, held in self.held.items() if held.worker == member.worker]:
            self._let(key)
        self.directory.leave(member.node)
        self.workers.pop(member.worker, None)

    # ------------------------------------------------------------------ connections

    def _hold(self, member: Member, fd: int, key: str, about: dict[str, Any]) -> None:
        known = self.held.get(key)
        if known is not None:  # another worker goes on with it
            known.about, known.worker = about, member.worker
        if known is not None or len(self.held) >= MOST_HELD:
            os.close(fd)
            return
        self.held[key] = Held(fd, member.worker, about)

    def _let(self, key: str) -> None:
        held = self.held.pop(key, None)
        if held is not None:
            held.end()

    def _hand(self, held: Held, member: Member) -> None:
        """Have a worker serve a connection that we hold."""
        held.worker, held.since = member.worker, 0.0
        rest, held.rest = held.rest, None
        self._send(member, [TAKE, held.about, rest], [held.fd])

    def _give(self, fd: int, worker: int, about: dict[str, Any], rest: list[bytes]) -> None:
        member = self.workers.get(worker)
        if member is None:  # it died meanwhile
            Held(fd, worker, about).end()
            return
        self._send(member, [TAKE, about, rest], [fd])
        os.close(fd)

    def _move(self, room: str, worker: int, state: bytes, rests: dict[str, list[bytes]]) -> None:
        place = self.directory.find(room)
        member = self.workers.get(worker)
        if member is None:  # it died meanwhile, so the room goes back to where it was
            member = self.workers[int(place.node)]
        self.directory.assign(room, member.node)
        for key, rest in rests.items():
            if key in self.held:
                self.held[key].rest = rest
                self._hand(self.held[key], member)
        self._send(member, [COME, room, dump_info(place.info), state])

    def _send(self, member: Member, message: list[Any], fds: list[int] | None = None) -> None:
        try:
            member.link.put(message, fds or [])
        except Ended:
            pass  # the loop finds it, too

    def sweep(self) -> None:
        """Connections that nobody came for."""
        until = self.clock() - PARKED_S
        for key in [k for k, held in self.held.items() if held.since and held.since < until]:
            self._let(key)

    # ------------------------------------------------------------------ the directory

    def _call(self, member: Member, number: int, name: str, values: list[Any]) -> None:
        try:
            answer, good = CALLS[name](self, member, *values), True
        except Refused as refused:
            answer, good = refused.code, False
        self._send(member, [ANSWER, number, good, answer])

    def _beat(self, member: Member, report: list[Any], status: dict[str, Any]) -> list[Any]:
        member.status = status
        orders = self.directory.beat(load_report(report))
        others = [
            [w, m.status] for w, m in sorted(self.workers.items()) if m is not member and m.status
        ]
        return [list(orders), others]


def _places(places: list[Place]) -> list[Any]:
    return [dump_place(place) for place in places]


def _create(k: Keeper, _: Member, key: str, room: str, info: list[Any]) -> Any:
    return dump_place(k.directory.create(key, room, load_info(info)))


def _reserve(k: Keeper, _: Member, room: str, ticket: str, watch: bool, avoid: list[str]) -> Any:
    return dump_place(k.directory.reserve(room, ticket, watch, avoid))


def _quick(
    k: Keeper, _: Member, ticket: str, watch: bool, spare: str, info: list[Any], avoid: list[str]
) -> Any:
    return dump_place(k.directory.quick(ticket, watch, spare, load_info(info), avoid))


def _redeem(k: Keeper, m: Member, room: str, ticket: str) -> Any:
    info, watch = k.directory.redeem(m.node, room, ticket)
    return [dump_info(info), watch]


def _fetch(k: Keeper, m: Member, room: str) -> Any:
    return dump_info(k.directory.fetch(m.node, room)[0])


CALLS: dict[str, Callable[..., Any]] = {
    "beat": Keeper._beat,
    "create": _create,
    "reserve": _reserve,
    "quick": _quick,
    "redeem": _redeem,
    "fetch": _fetch,
    "find": lambda k, m, room: dump_place(k.directory.find(room)),
    "rooms": lambda k, m: _places(k.directory.rooms()),
    "close": lambda k, m, room: k.directory.close(room),
    "leave": lambda k, m: k.directory.leave(m.node),
}
"""What workers may ask of the directory."""


# ------------------------------------------------------------------ the process


def serve(config: Config, master: int) -> None:
    """Keep, until the master is gone."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(address(config.data_dir, config.port))
    listener.listen(64)
    listener.setblocking(False)
    keeper = Keeper()
    members: dict[int, Member] = {}
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    ended = os.pidfd_open(master)
    poll.register(ended, select.EPOLLIN)
    swept = monotonic()
    while True:
        for fd, _event in poll.poll(1.0):
            if fd == ended:
                return
            if fd == listener.fileno():
                sock, _ = listener.accept()
                if peer_uid(sock) not in (0, os.geteuid()):
                    sock.close()
                    continue
                members[sock.fileno()] = Member(Link(sock))
                poll.register(sock, select.EPOLLIN)
                continue
            member = members[fd]
            try:
                keeper.hear(member)
            except Ended:
                poll.unregister(fd)
                del members[fd]
                keeper.lost(member)
            except Exception:  # what one worker says is not to become the others' end
                log.exception("worker %d is not understood", member.worker)
        for fd, member in list(members.items()):
            try:
                whole = member.link.flush()
                poll.modify(fd, select.EPOLLIN if whole else select.EPOLLIN | select.EPOLLOUT)
            except Ended:
                pass  # its end is heard, too
        if monotonic() - swept > 1.0:
            swept = monotonic()
            keeper.sweep()


def main() -> int:
    pidfile = Path(sys.argv[1])
    master = os.getppid()
    logging.basicConfig(format="%(asctime)s %(levelname).1s %(name)s: %(message)s")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the master
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        config = load()
    except ConfigError:
        return 1  # the worker says it
    pidfile.parent.mkdir(parents=True, exist_ok=True)
    pidfile.write_text(f"{os.getpid()}\n")
    privileges.drop(config.run_as, config.data_dir)
    try:
        serve(config, master)
    finally:
        try:
            pidfile.unlink()
        except OSError:
            pass  # it may be root's
    return 0


if __name__ == "__main__":
    sys.exit(main())
