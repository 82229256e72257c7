"""Rooms of objects watched again: a simulation driven by the ledger, for one viewer.

An `ObjectReplay` steps a simulation of its own with what an `ObjectReel` holds, which is made off
the loop, and shows it as a spectator sees a live room: pages need no second way to draw. It takes
a fifth of the time at most.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from time import monotonic, thread_time, time
from typing import Any

import gevent
from gevent.event import Event

from ..games.catalogue import OBJECTS, Catalogue
from ..games.room import Game
from ..games.simulation import CLOSE, TIME, RuleError
from ..protocol import objects, wire
from ..protocol.wire import Close, ProtocolViolation
from ..replication.patches import pack
from ..rooms.object_session import ObjectSession
from ..transport.connection import Connection
from . import ledger
from .journal import JournalError
from .object_reel import Head, ObjectReel
from .replay import BUSY_SHARE, FASTEST, SLOWEST, TELL_S, rest_s

log = logging.getLogger("tickstorm.replay")

TURN_S = 0.05
LONGEST_GAP_S = 2.0
"""Where nothing happened for longer in a room without a tick, the viewer waits no longer."""

LIST_AGAIN_S = 20.0


def replay_of(
    games: Catalogue, folder: Path, room: str, clock: Callable[[], float], version: str
) -> ObjectReplay:
    """A room's replay, with the rules of `games`; of other rules nothing is played. Reads all of
    it: call it in a thread. Raises JournalError."""

    def fits(head: Head) -> bool:
        name = head.get("game", "")
        entry = games[name] if name in games else None
        return (
            entry is not None
            and entry.kind == OBJECTS
            and entry.game.checksum == head.get("checksum")
        )

    reel = ObjectReel(folder, room, fits)
    return ObjectReplay(games[reel.head["game"]].game, reel, clock, version)


class ObjectReplay:
    """A room for one viewer. `run` is its greenlet."""

    kind = "objects"
    spectators = 1

    def __init__(
        self,
        game: Game,
        reel: ObjectReel,
        clock: Callable[[], float] = monotonic,
        version: str = "",
    ):
        self.id = f"replay {reel.room}"
        self.reel = reel
        self.game = game
        self.schema = game.checksum
        self.speed = 1.0
        self.simulation = reel.at(game, reel.first)
        self.version = version
        self._clock = clock
        self._wanted: int | None = None
        self._running = True
        self._wake = Event()
        self._session: ObjectSession | None = None
        self._greet = self._fresh = True
        self._position = self.simulation.time
        self._tell_at = 0.0

    # ------------------------------------------------------------------ the viewer

    def spectate(self, name: str, connection: Connection) -> ObjectSession:
        session = ObjectSession(self, os.urandom(8).hex(), name, "", False)
        session.connection = connection
        connection.deadline = None
        self._session = session
        return session

    def disconnect(self, session: ObjectSession, connection: Connection) -> None:
        self._running = False
        self._wake.set()

    def close(self, code: Close, reason: str, url: str | None = None) -> None:
        self._running = False
        if self._session is not None and self._session.connection is not None:
            self._session.connection.close(code, reason)
        self._wake.set()

    def take(self, session: ObjectSession, payload: bytes) -> None:
        """Control, and what any client may say; the rest was said by the players of then."""
        kind = payload[1] if len(payload) > 1 and 0x90 <= payload[0] <= 0x9F else -1
        if kind in (objects.MOVE, objects.CALL):
            return
        kind, *fields = wire.decode(payload)
        if kind == wire.REPLAY:
            self.control(*fields)
        elif kind == wire.PING:
            session.connection.push(wire.pong(fields[0], self.simulation.tick))  # type: ignore[union-attr]
        elif kind == wire.SYNC:
            self._fresh = True
        elif kind == wire.LEAVE:
            raise ProtocolViolation(Close.DONE, "left")
        else:
            raise ProtocolViolation(Close.MALFORMED, "no message of a replay")

    def control(self, speed: float, tick: int | None) -> None:
        """Go on at `speed` (0 stops), from `tick` if there is one."""
        if not 0 <= speed <= FASTEST:
            raise ProtocolViolation(Close.MALFORMED, f"a speed that is not 0 to {FASTEST:g}")
        speed = max(speed, SLOWEST) if speed else 0.0
        self._greet |= speed not in (0, self.speed)
        self.speed = speed
        if tick is not None:
            self._wanted = min(max(tick, self.reel.first), self.reel.last)
        self._tell_at = 0.0
        self._wake.set()

    # ------------------------------------------------------------------ the loop

    def run(self, share: Callable[[], float] = lambda: BUSY_SHARE) -> None:
        """Until the viewer has gone. `share`: of the time, for it."""
        try:
            before = self._clock()
            while self._running:
                began = thread_time()
                now = self._clock()
                elapsed, before = min(now - before, 4 * TURN_S), now
                if self._wanted is not None:
                    self._seek(self._wanted)
                elif self.speed:
                    self._play(elapsed * self.speed)
                self._show()
                self._tell()
                rest = rest_s(thread_time() - began, share())
                self._wake.wait(max(TURN_S, rest))
                self._wake.clear()
        except (RuleError, JournalError, KeyError, ValueError) as error:
            log.warning("%s ends: %s", self.id, error)
            self.close(Close.NO_ROOM, "the replay ends here")

    def _play(self, seconds: float) -> None:
        """So much of the room's time passes."""
        self._position += seconds
        began = thread_time()
        while self._running and (due := self._next_due()) is not None:
            if self._position < due - LONGEST_GAP_S:
                self._position = due - LONGEST_GAP_S
            if due > self._position:
                return
            self._step()
            if thread_time() - began > TURN_S / 2:
                self._position = self.simulation.time
                return

    def _next_due(self) -> float | None:
        """Room time of the next tick; None at the end."""
        events = self.reel.ticks.get(self.simulation.tick + 1)
        if events is None:
            following = self.reel.after(self.simulation.tick)
            if following is None:
                self.reel.last = self.simulation.tick
                return None
            self._load(following)
            return self._next_due()
        if self.simulation.hz:
            return (self.simulation.tick + 1) / self.simulation.hz
        return next((event[1] for event in events if event[0] == TIME), self.simulation.time)

    def _step(self) -> None:
        events = self.reel.ticks[self.simulation.tick + 1]
        self.simulation.advance(events, stepping=events != [[CLOSE]])
        for waiting in (self.simulation.answers, self.simulation.kicked, self.simulation.wanted):
            waiting.clear()
        self.simulation.refused.clear()

    def _load(self, tick: int) -> None:
        self.simulation = self.reel.at(self.game, tick)
        self._position = self.simulation.time
        self._fresh = self._greet = True

    def _seek(self, tick: int) -> None:
        """To the checkpoint before `tick`, and on from there."""
        self._wanted = None
        self._load(tick)
        began = thread_time()
        while self.simulation.tick < tick and self._running and self._wanted is None:
            if self.simulation.tick + 1 not in self.reel.ticks:
                break
            self._step()
            self.simulation.outbox.clear()
            if thread_time() - began > TURN_S / 5:
                gevent.sleep(TURN_S)  # others have their turns
                began = thread_time()
        self._position = self.simulation.time
        self._tell_at = 0.0

    # ------------------------------------------------------------------ what is shown

    def _show(self) -> None:
        session = self._session
        connection = session.connection if session is not None else None
        if session is None or connection is None or connection.closing is not None:
            return
        simulation = self.simulation
        parts, body = simulation.replica.patch()
        sent, simulation.outbox = simulation.outbox, []
        if connection.tail or connection.extra:
            self._fresh = True  # it reads slowly: all of it later
            return
        if self._greet:
            self._greet, self._fresh = False, True
            connection.push(wire.welcome(self._welcome(session)))
        if self._fresh:
            self._fresh = False
            connection.push(objects.state(simulation.tick, None, simulation.replica.full(), b""))
        elif parts or simulation.hz:
            connection.push(objects.patch(pack(simulation.tick), None, parts, body, b""))
        for row in sent:
            if row.to is None:
                connection.push(objects.event(row.name, row.packed))
        connection.nudge()

    def _welcome(self, session: ObjectSession) -> dict[str, Any]:
        return {
            "version": wire.PROTOCOL_VERSION,
            "schema": self.schema,
            "kind": self.kind,
            "game": self.game.name,
            "declaration": self.game.declaration(),
            "room": self.id,
            "player": None,
            "id": "",
            "name": session.name,
            "tick": self.simulation.tick,
            "tick_hz": self.simulation.hz * (self.speed or 1),
            "token": "",
            "resumed": False,
            "grace_s": 0,
            "spectator": True,
            "settings": self.simulation.settings,
            "server": self.version,
        }

    def _tell(self) -> None:
        session = self._session
        if session is None or session.connection is None or self._clock() < self._tell_at:
            return
        self._tell_at = self._clock() + TELL_S
        reel = self.reel
        session.connection.push(
            wire.replaying(self.simulation.tick, reel.first, reel.last, self.speed)
        )
        session.connection.nudge()


class Listing:
    """What can be watched; read again now and then only, for it reads the whole ledger."""

    def __init__(self, data_dir: str, games: Catalogue):
        self._folder, self._games = Path(data_dir) / "objects", games
        self._rows: list[dict[str, Any]] = []
        self._until = 0.0

    def rows(self) -> list[dict[str, Any]]:
        """Blocks: call it in a thread."""
        if monotonic() >= self._until:
            self._rows = self._read() if self._folder.is_dir() else []
            self._until = monotonic() + LIST_AGAIN_S
        return self._rows

    def _read(self) -> list[dict[str, Any]]:
        rows = []
        for id, row in ledger.rooms_of(self._folder).items():
            if row.game not in self._games or row.first is None or not row.ticks:
                continue
            hz = self._games[row.game].game.room.tick_hz
            seconds = (row.last - row.first) / hz if hz else time() - row.created
            rows.append({"replay": id, "room": id, "game": row.game, "created": row.created,
                         "seconds": round(seconds, 1), "ticks": row.ticks})  # fmt: skip
        return sorted(rows, key=lambda row: row["created"], reverse=True)
