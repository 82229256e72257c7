"""This process in the directory: says what is here, opens and closes what it is told, and
lets ticket holders in.

A room that the directory gives to this node is opened when the first player comes with a
ticket or a token, or with the next beat if it has been played before. A shared room's state
goes to the directory every `SHARE_S` seconds and when it is handed over; wherever it is
opened next, it goes on from there, with the same players, as they were.
"""

from __future__ import annotations

import hmac
import logging
import os
from collections.abc import Callable, Iterable
from time import monotonic, time
from typing import Any, NamedTuple

import gevent
import msgpack
from gevent.lock import BoundedSemaphore

from ..config import Config
from ..games.catalogue import GameError
from ..protocol.wire import Close, ProtocolViolation
from . import tokens
from .balance import Balancer
from .directory import (
    BEAT_S,
    LEASE_S,
    TICKET_S,
    Directory,
    NodeReport,
    Place,
    Refused,
    RoomInfo,
    RoomReport,
    Unavailable,
)
from .lobby import AnyRoom, Elsewhere, Lobby

log = logging.getLogger("tickstorm.node")

SHARE_ANYWAY_S = 60.0
"""Rooms in which nothing happens are shared so often: the directory may have lost them."""

SHARE_S = 3.0
"""Time between two shared checkpoints of a room: what is lost with a node, at most."""

ARRIVAL_S = 0.003
"""Time per player for a room that was handed over to be reached, before the next one follows:
so a player waits for those in the own room only. Coming back costs a third of it or less."""

AGAIN_S = 1.0
"""Between attempts to hand over what nobody took."""

CODE_LETTERS = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"
CODE_LENGTH = 8
"""Room ids are invite codes: 8.5e11 of them, without letters that look alike."""


class Admission(NamedTuple):
    """What a ticket opens. `ticket` is its id."""

    room: AnyRoom
    watch: bool
    ticket: str


class Node:
    """Calls that reach a shared directory wait, so they belong into greenlets, never a tick."""

    def __init__(
        self,
        config: Config,
        key: bytes,
        lobby: Lobby,
        directory: Directory,
        worker: int | None = None,
    ):
        """`worker`: its number, if the directory is that of one server's workers."""
        self.id = config.node or f"{config.host}:{config.port}"
        if worker is not None:
            self.id = str(worker)
        self.worker = worker
        self.config = config
        self.lobby = lobby
        self.directory = directory
        self.draining = False  # takes no more rooms
        self.leaving = False  # and ends
        self.known = False  # to the directory, since the start
        self.moved = 0  # rooms handed to others
        self.trouble = ""  # why the directory can't be reached, or nothing
        self._ticket_key = tokens.derived_key(key, "ticket")
        self._owner_key = tokens.derived_key(key, "owner")
        self._drain_token = tokens.drain_token(key)
        self._arrived: dict[str, list[str]] = {}  # by room: tickets whose players came
        self._reserved: dict[str, int] = {}  # by room: seats that tickets hold
        self._empty_since: dict[str, float] = {}
        self._closed: list[str] = []
        self._opening = BoundedSemaphore()
        self._beating = BoundedSemaphore()
        self._moving = BoundedSemaphore()
        self.mover: Callable[[str, int, bytes], bool] | None = None
        """Takes a room, its state and all its connections to another worker of this server."""
        self.others: Callable[[], dict[int, float]] = dict
        """The other workers, and how busy they are."""
        self._balancer = Balancer()
        self._shared: dict[str, tuple[tuple[int, int], float]] = {}  # ticks, and until when
        self._told: dict[str, int] = {}  # scores that the directory has
        lobby.node = self

    # ------------------------------------------------------------------ the beat

    def run(self) -> None:
        """Greenlet: beat, share checkpoints, close what is empty."""
        shared_at = monotonic()
        while True:
            began = monotonic()
            try:
                self.close_empty()
                self.beat()
                self.lobby.balance()
                self._even_out()
                if self.directory.saves and began - shared_at >= SHARE_S:
                    shared_at = began
                    self.share()
            except Exception:  # the rooms play on, and the next beat is a second away
                log.exception("a beat failed")
            gevent.sleep(max(0.0, BEAT_S - (monotonic() - began)))

    def beat(self) -> None:
        """Tell the directory what is here, and do what it says."""
        with self._beating:  # what is said must not be said twice
            self._beat()

    def report(self) -> NodeReport:
        """What there is to say of this process."""
        config = self.config
        rooms = [
            RoomReport(
                id,
                self.lobby.infos[id],
                room.taken - room.yielding,  # seats that newcomers can have
                room.spectators,
                list(self._arrived.get(id, [])),
            )
            for id, room in self.lobby.rooms.items()
        ]
        return NodeReport(
            self.id,
            config.node_url,
            config.max_players,
            config.max_rooms,
            self.draining,
            rooms,
            list(self._closed),
            sum(room.busy for room in self.lobby.rooms.values()),
        )

    def _beat(self) -> None:
        report = self.report()
        rooms, closed = report.rooms, report.closed
        try:
            orders = self.directory.beat(report)
        except Unavailable as error:
            if not self.trouble:
                log.error("%s; the rooms here play on, nobody new can join", error)
            self.trouble = str(error)
            self._told = {}
            self._shared.clear()
            return
        if self.trouble:
            log.info("the directory is back; this node is registered again")
            self.trouble = ""
        self.known = True
        self._closed = self._closed[len(closed) :]
        for said in rooms:
            waiting = self._arrived.get(said.id)
            if waiting:
                self._arrived[said.id] = waiting[len(said.arrived) :]
        self._reserved = orders.reserved
        # Some may have gone while the directory was asked, or are on their way.
        here = {id for id, room in self.lobby.rooms.items() if not room.held}
        self._each("close", here.intersection(orders.close), self._close)
        self._each("give up", here.intersection(orders.lost), self._give_up)
        if not self.draining:
            self._each("open", orders.open, self._open)
            self._each("open", [self.lobby.default_id], self._open_default)

    def _each(self, what: str, ids: Iterable[str], act: Callable[[str], object]) -> None:
        """Do it with each room. Where that fails, it is tried again with the next beat, for the
        directory will say so again; the others don't suffer."""
        for id in ids:
            try:
                act(id)
            except (Refused, Unavailable, GameError) as error:
                log.warning("can't %s room %s now: %s", what, id, error)
            except Exception:
                log.exception("can't %s room %s now", what, id)

    def _open_default(self, id: str) -> None:
        """There is always a room of the server's own: on each node, or on one of its workers."""
        if self.worker is None:
            self.lobby.open_default()
        elif self.worker == 0 and id not in self.lobby.rooms:
            try:
                self.directory.find(id)
            except Refused:
                self.lobby.open(id)

    def _close(self, id: str) -> None:
        self.shut(id, Close.NO_ROOM, "the room was closed by its owner")

    def _give_up(self, id: str) -> None:
        """Another node has this room by now: whoever is still here goes there."""
        log.warning("room %s went to another node while this one was not heard of", id)
        try:
            url = self.address(self.directory.find(id))
        except (Refused, Unavailable):
            url = None
        if id in self.lobby.rooms:
            self.lobby.shut(id, Close.RESTART, "the room moved", url)
        self._forget(id)

    def shut(self, id: str, code: Close, reason: str) -> None:
        """Close a room for good."""
        self.lobby.shut(id, code, reason)
        self._closed.append(id)
        self._forget(id)

    def _forget(self, id: str) -> None:
        for kept in (self._arrived, self._reserved, self._empty_since, self._shared):
            kept.pop(id, None)

    def close_empty(self) -> None:
        """Rooms in which there was nobody but bots for a while close; the node's own never do."""
        now = monotonic()
        empty = []
        for id, room in self.lobby.rooms.items():
            if self.lobby.infos[id].keep or room.held or room.humans or self._reserved.get(id):
                self._empty_since.pop(id, None)
            elif now - self._empty_since.setdefault(id, now) >= self.config.empty_seconds:
                log.info("room %s closes: it was empty for %d s", id, self.config.empty_seconds)
                empty.append(id)
        self._each("close", empty, lambda id: self.shut(id, Close.NO_ROOM, "the room was empty"))

    def share(self) -> None:
        """Give the directory a checkpoint of each room, one after the other, and the scores."""
        self._each("share", list(self.lobby.rooms), self._share)
        best = {row["name"]: row["score"] for row in self.lobby.scores.top}
        if best != self._told:
            try:
                self.directory.score(best)
                self._told = best
            except Unavailable as error:
                log.warning("scores are not shared: %s", error)

    def _share(self, id: str) -> None:
        """Save a room, unless nothing has happened in it since the last time."""
        room = self.lobby.rooms.get(id)
        if room is None:
            return
        now = (room.ticks, room.schema)
        told, until = self._shared.get(id, (None, 0.0))
        if now != told or monotonic() >= until:
            self._shared.pop(id, None)
            self.directory.save(self.id, id, msgpack.packb(self.lobby.dump(id)))
            self._shared[id] = (now, monotonic() + SHARE_ANYWAY_S)
            gevent.sleep(0)

    # ------------------------------------------------------------------ rooms that come and go

    def _open(self, id: str) -> AnyRoom:
        """Open a room that the directory says is ours, as it was last shared."""
        with self._opening:  # all its players come at once, and it needs to be fetched once
            if id not in self.lobby.rooms:
                info, state = self.directory.fetch(self.id, id)
                self.lobby.open(id, info, msgpack.unpackb(state) if state else None)
            return self.lobby.rooms[id]

    # ------------------------------------------------------------------ moving

    def drain(self) -> None:
        """Take no more rooms, and hand each one to another node; its players follow. What nobody
        takes plays on here and is offered again. Returns at once; a second call changes nothing."""
        if not self.draining:
            self.draining = True
            gevent.spawn(self._drain)

    def _drain(self) -> None:
        while not self.leaving:
            self._move_all(ARRIVAL_S)
            gevent.sleep(AGAIN_S)

    def leave(self, seconds: float) -> None:
        """The process ends: hand over what others take, within `seconds`. What nobody takes is
        shared as it is now, and stays here in its journal."""
        self.draining = self.leaving = True
        players = max(1, self.lobby.players)
        with gevent.Timeout(seconds, False):
            self._move_all(min(ARRIVAL_S, seconds / 2 / players))
            if self.directory.shared:
                self.lobby.loop.settle()  # held rooms take nothing in any more
                for room in self.lobby.rooms.values():
                    room.held = True  # or whoever restores it would be behind its journal
                self.share()
            self.directory.leave(self.id)

    def _move_all(self, arrival_s: float) -> None:
        """Offer each room to the others, the largest first."""
        with self._moving:
            self.beat()  # from now on nobody new is sent here
            rooms = self.lobby.rooms
            for id in sorted(rooms, key=lambda id: -rooms[id].players):
                if id in rooms and not self.trouble:
                    players = rooms[id].players
                    if self._move(id):
                        gevent.sleep(players * arrival_s)
            self.beat()

    def move(self, id: str) -> bool:
        """Hand one room to another node; its players follow. False if nobody takes it."""
        with self._moving:
            return id in self.lobby.rooms and self._move(id)

    def _move(self, id: str) -> bool:
        """Hand a room over. False if nobody takes it: then it plays on."""
        room = self.lobby.rooms[id]
        if not room.sessions and self.lobby.infos[id].keep:
            # Nobody would miss it, and there will be another when we start again.
            self.shut(id, Close.RESTART, "the server restarts")
            return True
        room.held = True
        try:
            state = msgpack.packb(self.lobby.dump(id))
            place = self.directory.hand_over(self.id, id, state)
        except (Refused, Unavailable) as error:
            room.held = False
            log.warning("room %s stays here: %s", id, error)
            return False
        log.info("room %s goes to node %s at tick %d", id, place.node, room.ticks)
        self.lobby.shut(id, Close.RESTART, "the room moves", self.address(place))
        self._forget(id)
        self.moved += 1
        return True

    def _even_out(self) -> None:
        """Is a room better off with another worker?"""
        rooms = {id: room.busy for id, room in self.lobby.rooms.items() if not room.held}
        found = self._balancer.look(rooms, self.others()) if self.mover is not None else None
        if found is not None:
            self.move_to(*found)

    def move_to(self, id: str, worker: int) -> None:
        """Have another worker of this server go on with a room."""
        assert self.mover is not None, "there are other workers"
        room = self.lobby.rooms[id]
        room.held = True
        if not self.mover(id, worker, msgpack.packb(self.lobby.dump(id))):
            room.held = False
            return
        log.info("room %s goes on in worker %d, at tick %d", id, worker, room.ticks)
        self._forget(id)
        self.moved += 1

    def come(self, id: str, info: RoomInfo, state: bytes) -> None:
        """A room that another worker of this server has moved here."""
        self.lobby.open(id, info, msgpack.unpackb(state))
        self._balancer.rest()

    def progress(self) -> dict[str, Any]:
        """How far `drain` has come."""
        rooms, players = len(self.lobby.rooms), self.lobby.players
        return {
            "node": self.id,
            "draining": self.draining,
            "done": self.draining and not rooms,
            "moved": self.moved,
            "rooms": rooms,
            "players": players,
        }

    def may_drain(self, token: str) -> bool:
        """Is this the token of whoever runs the node?"""
        return hmac.compare_digest(token.encode(), self._drain_token.encode())

    # ------------------------------------------------------------------ tickets and owners

    def address(self, place: Place) -> str | None:
        """Where a place's websocket is; relative to the page unless NODE_URL is a whole URL."""
        return place.url and f"{place.url}?room={place.room}"

    def ticket_id(self, address: str) -> str:
        """A new ticket's id, counted under the address unless there is no limit for any."""
        id = os.urandom(8).hex()
        if not self.config.max_connections_per_address:
            return id
        return f"{tokens.derived_key(self._ticket_key, address).hex()[:8]}.{id}"

    def sign(self, room: str, ticket: str) -> str:
        """The signed ticket of a seat that is held under the id `ticket`."""
        claim = tokens.Claim(room, ticket, time() + TICKET_S)
        return tokens.sign(claim, self._ticket_key)

    def owner_token(self, room: str) -> str:
        """What proves that somebody created this room."""
        return tokens.sign(tokens.Claim(room, "owner", 0), self._owner_key)

    def owns(self, token: str, room: str) -> bool:
        try:
            return tokens.read(token, self._owner_key).room == room
        except tokens.BadToken:
            return False

    def admit(self, signed: str, room_id: str | None) -> Admission:
        """Use a ticket. Raises ProtocolViolation, with what is wrong with it."""
        try:
            claim = tokens.read(signed, self._ticket_key)
        except tokens.BadToken:
            raise ProtocolViolation(Close.TOKEN, "not a ticket of this server") from None
        if room_id is not None and room_id != claim.room:
            raise ProtocolViolation(Close.TOKEN, "the ticket is for another room")
        if claim.expires < time():
            raise ProtocolViolation(Close.TOKEN, "the ticket has expired")
        room = self.lobby.settled(claim.room)  # or the seat would stay behind
        if room is not None and (why := room.busy_with()):
            raise ProtocolViolation(Close.FULL, why)  # the ticket is good for another attempt
        try:
            info, watch = self.directory.redeem(self.id, claim.room, claim.session)
            room = self.lobby.settled(claim.room) or self._bring(claim.room, info)
        except Refused as refused:
            if refused.code == "ticket":
                raise ProtocolViolation(
                    Close.TOKEN, "the ticket was used before, or has expired"
                ) from None
            if refused.code == "elsewhere":
                self._send_on(claim.room)
            raise ProtocolViolation(Close.NO_ROOM, "the room is not here any more") from None
        except Unavailable as error:
            raise ProtocolViolation(Close.FULL, f"{error}; try again") from None
        return Admission(room, watch, claim.session)

    def _bring(self, id: str, info: RoomInfo) -> AnyRoom:
        if id in self._closed:  # the directory doesn't know it yet
            raise Refused("no_room")
        if self.directory.shared:
            return self._open(id)
        return self.lobby.open(id, info)

    def arrived(self, room: str, ticket: str) -> None:
        """The player of a used ticket has a seat now."""
        self._arrived.setdefault(room, []).append(ticket)
        self._reserved[room] = max(0, self._reserved.get(room, 0) - 1)

    def reserved(self, room: str) -> int:
        """Seats of a room that are held for others."""
        return self._reserved.get(room, 0)

    def bring(self, id: str) -> AnyRoom | None:
        """A room that isn't open here, for somebody with a token from it; None if there is none.

        Raises ProtocolViolation that sends them on, if another node has it.
        """
        if not self.directory.shared:
            return None
        try:
            return self._open(id)
        except Unavailable as error:
            raise ProtocolViolation(Close.FULL, f"{error}; try again") from None
        except Refused:
            self._send_on(id)
        return None

    def room_of(self, ticket: str) -> str | None:
        """Which room a signed ticket is for; None if it is none of ours."""
        try:
            return tokens.read(ticket, self._ticket_key).room
        except tokens.BadToken:
            return None

    def seek(self, id: str) -> None:
        """Raises Elsewhere if another worker of this server has the room."""
        if self.worker is None:
            return
        try:
            place = self.directory.find(id)
        except Refused:
            return
        except Unavailable as error:
            raise ProtocolViolation(Close.FULL, f"{error}; try again") from None
        if place.node != self.id:
            if place.url is None:
                raise ProtocolViolation(Close.RESTART, "the room comes back in a moment")
            raise Elsewhere(int(place.node))

    def _send_on(self, id: str) -> None:
        """Raises ProtocolViolation with where a room is, if any other node has it; Elsewhere if
        that is a worker of this server."""
        if self.worker is not None:
            self.seek(id)
            return
        try:
            place = self.directory.find(id)
        except (Refused, Unavailable):
            return
        raise ProtocolViolation(Close.RESTART, "the room moved", self.address(place))


def new_code() -> str:
    """A room's id, which is its invite code.

    >>> len(new_code()), set(new_code()) <= set(CODE_LETTERS)
    (8, True)
    """
    letters = len(CODE_LETTERS)
    limit = 256 - 256 % letters  # bytes above it would make some letters likelier
    chosen = ""
    while len(chosen) < CODE_LENGTH:
        chosen += "".join(CODE_LETTERS[b % letters] for b in os.urandom(16) if b < limit)
    return chosen[:CODE_LENGTH]


assert SHARE_S <= LEASE_S + BEAT_S
