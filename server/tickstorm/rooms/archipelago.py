"""Many small rooms in one set of columns: one read, one step, one encode and one send for all.

A tick of a crowd is hundreds of calls into numpy, whether four rows are in it or four thousand. So
rooms of a few players share a `Sea` of the game's, and the `Archipelago` runs its ticks as a
`CrowdRoom` runs those of its one world. An `IslandRoom` is a room like any other: it has its
sessions, chat, journal and past of its own, and leaves the sea with all that is in it, when it is
closed, handed over, or its rules fail.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any, Protocol, cast

import gevent
import numpy as np

from ..config import Config
from ..games.game import Game
from ..games.world import KindView, World, WorldSettings
from ..protocol.layout import layout_of
from ..protocol.wire import NO_SLOT, Close
from ..records.journal import apply, follow
from ..records.journal.shared import SharedJournal
from ..replication.history import KindHistory
from ..replication.interest import Grid
from ..transport.connection import Connection
from ..transport.sockets import Ahead
from .crowd_room import AGAIN_S, BREATH_S, CrowdRoom
from .deck import Deck
from .meter import Meter
from .past import Story
from .seats import NEVER
from .session import Session

log = logging.getLogger("tickstorm.room")

MOST_ROOMS = 640
FIRST_SEATS = 64


class Sea(Protocol):
    """Columns of many rooms, as a game has them; slots in its methods are rows of the columns."""

    tick: int  # its own, which is ahead of every room's
    size: int  # side of the largest world it takes

    def step(self, commands: np.ndarray) -> None: ...

    def view(self) -> list[KindView]: ...

    def eyes(self, slots: np.ndarray) -> tuple[np.ndarray, np.ndarray]: ...

    def self_rows(self, slots: np.ndarray) -> np.ndarray: ...


class Island(World, Protocol):
    """A world in a sea."""

    room: int  # its number there
    base: int  # the row of its slot 0

    def close(self) -> None:
        """Leave the sea."""


class SeaGame(Protocol):
    """A crowd's game whose worlds may share a sea, beside all that `Game` says."""

    def shares_sea(self, wanted: WorldSettings) -> bool:
        """May a room of these settings be one of many in a sea?"""

    def create_sea(self, tick_hz: int) -> Sea:
        """Columns for many small rooms of this tick rate."""

    def create_world(self, settings: WorldSettings, seed: int, sea: Sea) -> Island:
        """A new world in it."""

    def load_world(self, data: dict[str, Any], sea: Sea) -> Island:
        """The world that `World.dump` gave."""


Found = list[tuple[Island, list[list]]]
"""Worlds in a sea, each with its players' sessions as a checkpoint holds them."""


def replay_together(game: Game, sea: Sea, stories: list[Story]) -> Iterator[Found]:
    """Bring rooms to where their stories end, all in one sea: nearly as fast as one alone.

    Yields after each tick, for others to have a turn; at last, all of them. Raises what the rules
    raise.
    """
    worlds: list[Any] = [None] * len(stories)
    playing = [{row[1]: row for row in story.sessions} for story in stories]
    for left in range(max((len(story.steps) for story in stories), default=0), -1, -1):
        rows = [np.zeros(0, game.STEP_COMMAND)]
        for i, story in enumerate(stories):
            if len(story.steps) == left:
                worlds[i] = cast(SeaGame, game).load_world(story.dump, sea)
            if not left or len(story.steps) < left:
                continue
            events, commands = story.steps[-left]
            apply(worlds[i], events)
            follow(playing[i], events)
            part = commands.copy()
            part["slot"] += worlds[i].base
            rows.append(part)
        if left:
            sea.step(np.concatenate(rows))
            for world in worlds:
                if world is not None:
                    world.outbox.clear()  # it was for those who were there
            yield []
    yield [(world, list(rows.values())) for world, rows in zip(worlds, playing)]


class Archipelago(CrowdRoom):
    """The rooms of one game and tick rate. It has no players of its own."""

    remembers = False

    def __init__(
        self,
        config: Config,
        game: Game,
        journal: SharedJournal | None = None,
        clock: Callable[[], float] = monotonic,
        meter: Meter | None = None,
    ):
        """`config`: of the node, with the rooms' tick rate; `journal`: of all its rooms."""
        self.sea = cast(SeaGame, game).create_sea(config.tick_hz)
        self.rooms: dict[int, IslandRoom] = {}
        self._given: dict[str, np.ndarray] = {}  # each room's commands for this tick
        self.expected = 0
        """Rooms that are in the sea, and will be opened."""
        self.shared = journal
        name = f"{game.name} x {config.tick_hz}"
        grid = Grid(self.sea.size, MOST_ROOMS)
        self.deck = Deck(config, layout_of(game), self.sea.view(), grid, FIRST_SEATS, meter, name)
        super().__init__(name, config, game, self.sea, clock, meter=meter, deck=self.deck)  # type: ignore[arg-type]
        self.started = False

    @property
    def free(self) -> int:
        """How many rooms it has a place for."""
        return MOST_ROOMS - len(self.rooms) - self.expected

    @property
    def full(self) -> bool:
        return self.free <= 0

    # ------------------------------------------------------------------ rooms come and go

    def land(self, room: IslandRoom) -> None:
        """A room's world is in the sea."""
        self.rooms[room.number] = room
        self.grid.place(room.number, room.world.size)

    def lift(self, room: IslandRoom) -> None:
        """It is not any more."""
        if self.rooms.get(room.number) is room:
            del self.rooms[room.number]

    # ------------------------------------------------------------------ a tick

    def turn(self) -> None:
        if self.rooms or self.sockets.readers:
            super().turn()
        else:  # nobody is there, and nothing passes
            self.last_tick_at = self.clock()

    def _commands(self, tick: int, seats: np.ndarray, rows: np.ndarray) -> np.ndarray:
        commands = super()._commands(tick, seats, rows)
        self._given = {room.id: part for room, part in self._parts(commands)}
        return commands

    def tick(self) -> None:
        super().tick()
        if self.shared is not None:
            self.shared.flush()

    def _remember(self, commands: np.ndarray) -> None:
        for room in list(self.rooms.values()):
            part = self._given.get(room.id)
            if part is not None:
                room.remember(part)

    def _parts(self, commands: np.ndarray) -> Iterator[tuple[IslandRoom, np.ndarray]]:
        """Each room's part of the commands, in its own slots."""
        slots = commands["slot"]
        order = np.argsort(slots, kind="stable")
        commands = commands[order]
        slots = commands["slot"].astype(np.int64)
        bases = np.array([room.base for room in self.rooms.values()], np.int64)
        ends = bases + np.array([room.world.capacity for room in self.rooms.values()], np.int64)
        begin = np.searchsorted(slots, bases).tolist()
        end = np.searchsorted(slots, ends).tolist()
        owner = np.searchsorted(np.sort(bases), slots, "right") - 1
        commands["slot"] = slots - np.sort(bases)[owner] if len(bases) else slots
        for room, first, last in zip(list(self.rooms.values()), begin, end):
            yield room, commands[first:last]

    def _numbers(self, seats: np.ndarray) -> np.ndarray | None:
        return self.seats.room[seats]

    def _announce(self, tick: int) -> None:
        for room in self.rooms.values():
            room.announce_all()

    def _deliver(self) -> None:
        for room in self.rooms.values():
            if room.world.outbox:
                room.deliver()

    def _look_after_sessions(self, tick: int) -> None:
        for room in list(self.rooms.values()):
            room.look_after_sessions()

    def _ahead(self, due: np.ndarray) -> Ahead:
        """What is for everyone in a room, by seat."""
        begin = np.zeros(MOST_ROOMS, np.int64)
        size = np.zeros(MOST_ROOMS, np.int64)
        data: list[bytes] = []
        at = 0
        for number, room in self.rooms.items():
            public = room.take_public()
            if public:
                begin[number], size[number] = at, len(public)
                at += len(public)
                data.append(public)
        if not data:
            return Ahead.alike(b"", len(due))
        table = self.seats
        ahead = Ahead(b"".join(data), begin[table.room[due]], size[table.room[due]])
        others = table.connected & ~table.held & (size[table.room] > 0)
        others[due] = False
        for seat in np.flatnonzero(others).tolist():
            connection, number = self.connections[seat], table.room[seat]
            if connection is not None:
                self._tell(connection, ahead.data[begin[number] :][: size[number]])
        return ahead

    # ------------------------------------------------------------------ when a rule fails

    def _tick_failed(self, error: Exception) -> None:
        """Whose rule it was can't be seen, and nothing in the sea can be relied on: all rooms go
        back to their pasts, in another one. Then each takes the step that failed apart from the
        others, to see in whom it fails. Waits; nobody is told anything new meanwhile."""
        log.error("%s, tick %d: a tick raised; all %d rooms go back\n%s", self.id, self.sea.tick,
                  len(self.rooms), "".join(traceback.format_exception(error)).rstrip())  # fmt: skip
        rooms, parts = list(self.rooms.values()), self._given
        for room in rooms:
            room.goes_back()
        sea = cast(SeaGame, self.game).create_sea(self.config.tick_hz)
        found: Found = []
        try:
            for step in replay_together(self.game, sea, [room.story() for room in rooms]):
                found = step
                gevent.sleep(BREATH_S)
        except Exception:
            log.exception("%s: the rooms can't go back", self.id)
            for room in rooms:
                room.give_up()
            return
        self.sea = self.world = sea  # type: ignore[assignment]
        self.rooms.clear()
        self._histories[:] = [
            KindHistory(kind, len(view.present), self.grid)
            for kind, view in zip(self.game.KINDS, sea.view(), strict=True)
        ]
        for room, (world, _) in zip(rooms, found, strict=True):
            room.is_back(world)
        guilty = []
        for room in rooms:
            if room.number in self.rooms and (why := self._fails_alone(room, parts.get(room.id))):
                guilty.append((room, why))
            gevent.sleep(BREATH_S)
        for room, why in guilty or [(room, error) for room in self.rooms.values()]:
            room.tick_raised(why)

    def _fails_alone(self, room: IslandRoom, commands: np.ndarray | None) -> Exception | None:
        """What a step with these commands raises in a room that has its columns to itself."""
        if commands is None:
            return None
        world = self.game.load_world(room.world.dump())
        try:
            world.step(commands)
        except Exception as error:
            return error
        return None

    # ------------------------------------------------------------------ from outside

    def totals(self) -> dict[str, int]:
        lost = 0 if self.shared is None else self.shared.ticks_lost
        return super().totals() | {"journal_lost": lost}

    @property
    def weight(self) -> float:
        return sum(room.weight for room in self.rooms.values())


class IslandRoom(CrowdRoom):
    """A small room. Its seats are the archipelago's, and so are its ticks."""

    world: Island

    def __init__(
        self, id: str, config: Config, game: Game, world: Island, archipelago: Archipelago,
        **others: Any,
    ):  # fmt: skip
        self.archipelago = archipelago
        self._lifted: dict[str, Any] | None = None
        super().__init__(
            id, config, game, world, archipelago.clock, deck=archipelago.deck, **others
        )
        archipelago.land(self)

    # ------------------------------------------------------------------ its place in the sea

    @property
    def now(self) -> int:
        return self.archipelago.sea.tick

    @property
    def number(self) -> int:
        return self.world.room

    @property
    def base(self) -> int:
        return self.world.base

    def here(self) -> list[Connection]:
        return [s.connection for s in self.sessions.values() if s.connection is not None]

    def take_seat(self) -> int:
        if self.seats.full:
            self.archipelago.deck.grow()
        return self.seats.take()

    def queue_input(self, seat: int, row: bytes) -> None:
        self.archipelago.queue_input(seat, row)

    # ------------------------------------------------------------------ its part of a tick

    def run(self) -> None:
        """The archipelago's loop is its."""

    def remember(self, commands: np.ndarray) -> None:
        self._remember(commands)

    def announce_all(self) -> None:
        self._announce(self.world.tick)

    def deliver(self) -> None:
        self._deliver()

    def look_after_sessions(self) -> None:
        self._look_after_sessions(self.world.tick)

    def take_public(self) -> bytes:
        """What everyone in it is to be told, once."""
        if not self._public:
            return b""
        public = b"".join(self._public)
        self._public.clear()
        return public

    # ------------------------------------------------------------------ it leaves the sea

    @property
    def held(self) -> bool:
        return self._lifted is not None or self._going_back

    @held.setter
    def held(self, held: bool) -> None:
        if held and self._lifted is None and self._running:
            self._lifted = self.world.dump()
            self._lift()
        elif not held and self._lifted is not None:
            dump, self._lifted = self._lifted, None
            self._land(cast(SeaGame, self.game).load_world(dump, self.archipelago.sea))

    def _lift(self) -> None:
        self.archipelago.lift(self)
        self.world.close()
        self.seats.held[self._own_seats()] = True

    def _land(self, world: Island) -> None:
        """It is in another place of the sea, perhaps: all that tells where it is follows."""
        self.world = world
        self.archipelago.land(self)
        table = self.seats
        for session in self.sessions.values():
            seat = session.seat
            table.room[seat], table.epoch[seat] = self.number, self.now - self.world.tick
            slot = NO_SLOT if session.spectator else session.slot + self.base
            table.slot[seat] = table.looks_at[seat] = slot
            table.cell[seat], table.baseline_tick[seat] = 0, NEVER
            table.held[seat] = False
        gone, self._gone = self._gone, []
        for slot in gone:
            self._take_out(slot)

    def _sit(self, session: Session) -> None:
        super()._sit(session)
        self.seats.held[session.seat] = self._lifted is not None

    def _take_out(self, slot: int) -> None:
        if self._lifted is not None:
            self._gone.append(slot)
        else:
            super()._take_out(slot)

    def _own_seats(self) -> list[int]:
        return [session.seat for session in self.sessions.values()]

    # ------------------------------------------------------------------ when a rule fails

    def goes_back(self) -> None:
        """All rooms of the sea go back to before a tick."""
        self._going_back = True
        self._public.clear()

    def story(self) -> Story:
        return self._past.so_far(self._playing())

    def is_back(self, world: Island) -> None:
        """It has gone back, to this world in another sea; or has closed meanwhile."""
        self._going_back = False
        if not self._running:
            world.close()
            return
        apply(world, self._past.events)
        world.outbox.clear()  # it was sent
        self._land(world)
        if self.journal is not None:
            self.journal.checkpoint(world, self._playing(), self._past.events)
        else:
            self._checkpoint(world)

    def give_up(self) -> None:
        self._going_back = False
        self._break()

    def tick_raised(self, error: Exception) -> None:
        """A step fails in this room; it has gone back to before it already. At the second time
        soon, it is given up, or waits for its author in a development run."""
        before, self._failed_at = self._failed_at, self.world.tick
        self.failures += 1
        text = "".join(traceback.format_exception(error)).rstrip()
        log.error("room %s (%s), tick %d: a tick raised\n%s", self.id, self.game.name,
                  self.world.tick, text)  # fmt: skip
        dev = self.config.dev == "on"
        if dev:
            self._tell_fault(f"a tick raised at tick {self.world.tick}\n{text}")
        if before is None or self.world.tick - before > AGAIN_S * self.config.tick_hz:
            return
        if dev:
            self.fault = f"a tick failed again; the room waits for a cure\n{text}"
            self.held = True
        else:
            log.error("room %s closes: a tick failed again", self.id)
            self._break()

    def _go_back(self) -> bool:
        """After a join or a leave that raised: only this room's rows can have been touched. It
        leaves the sea, and comes back as it was before."""
        self._going_back = True
        self._public.clear()
        self._lift()
        try:
            dump = self._past.world().dump()
        except Exception:
            log.exception("room %s closes: it can't go back to its last checkpoint", self.id)
            self._going_back = False
            self._lifted = {}
            self._break()
            return False
        self._going_back = False
        if not self._running:
            self._lifted = {}
            return False
        self._land(cast(SeaGame, self.game).load_world(dump, self.archipelago.sea))
        if self.journal is not None:
            self.journal.checkpoint(self.world, self._playing(), self._past.events)
        else:
            self._checkpoint(self.world)
        return self._running

    def dump(self) -> dict:
        while self._going_back:
            gevent.sleep(BREATH_S)
        world = self.world.dump() if self._lifted is None else self._lifted
        return {"world": world, "sessions": self._playing()}

    def close(self, code: Close, reason: str, url: str | None = None) -> None:
        super().close(code, reason, url)
        self.seats.held[self._own_seats()] = True

    def finish(self) -> None:
        if self._lifted is None:
            super().finish()
            if not self._going_back:
                self._lift()
        else:  # it goes on elsewhere, or could not go back
            for session in self.sessions.values():
                self._census.rise(session)
        self._lifted = {}
        for session in self.sessions.values():
            if session.connection is None:
                self.seats.free(session.seat)

    def disconnect(self, session: Session, connection: Connection) -> None:
        super().disconnect(session, connection)
        if not self._running and self.sessions.get(session.id) is session:
            self.seats.free(session.seat)

    # ------------------------------------------------------------------ from outside

    @property
    def skipped_ticks(self) -> int:
        return self.archipelago.skipped_ticks

    @property
    def busy(self) -> float:
        """Its part of what the archipelago takes."""
        return self.archipelago.busy / max(1, len(self.archipelago.rooms))

    def alive(self) -> bool:
        return self.archipelago.alive()

    def totals(self) -> dict[str, int]:
        """What it has counted alone; the rest is the archipelago's."""
        return {"rules_failed": self.failures}
