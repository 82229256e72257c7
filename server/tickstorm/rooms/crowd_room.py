"""A crowd room: one world, its sessions, and the loop that brings them together.

`CrowdRoom.tick` is the table of contents of this server.

A rule that raises ends at most its own room: the world goes back to its last checkpoint and
through what has happened since, in memory (`past.py`). Who made `on_join` raise stays out, an
`on_leave` that raises is left out, and the loop goes on from there, without the inputs of the tick
that failed. If a tick fails again soon, the room closes with 1011 and its journal is set aside; in
a development run it waits for a cure instead.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterable
from errno import EAGAIN, EINTR
from time import monotonic
from typing import Any

import gevent
import msgpack
import numpy as np

from ..config import Config
from ..games.game import Game
from ..games.kind import names_of
from ..games.messages import declared
from ..games.world import World
from ..protocol import names, objects, wire
from ..protocol.layout import layout_of
from ..protocol.wire import NO_SLOT, Close, ProtocolViolation
from ..records.journal import SILENT, Journal
from ..replication import snapshot
from ..replication.history import RING
from ..replication.interest import CELL_SIZE, grid_of
from ..replication.snapshot import Snapshots
from ..services.announcements import ANNOUNCEMENTS, result
from ..services.scores import Score, Scores
from ..transport.connection import Connection
from ..transport.sockets import Ahead
from . import inputs
from .buckets import Buckets
from .census import YIELD_S, Census
from .deck import Deck
from .meter import Meter
from .past import Past
from .seats import NEVER
from .session import CHAT_BURST, Session
from .ticker import Ticker

log = logging.getLogger("tickstorm.room")

QUEUE_ROWS = 65536
"""Inputs that connections may queue between two ticks; what is beyond is dropped, counted."""

CHAT_LINES_S, CHAT_LINES = 8, 16
"""Lines of chat in a room, per second and at once, whoever says them; what is beyond is shed."""

ADDRESS_LINES_S, ADDRESS_LINES = 2, 8
"""The same for all players of one address."""

PUBLIC_BYTES_S, PUBLIC_BYTES = 16384, 32768
"""Bytes of what everyone is told, per second and at once: chat, feed, board and heat. A burst fits
into any socket's buffer, so that it closes nobody who reads."""

SCORES_S = 5
"""Seconds between offers of the players' scores to the all-time list."""

BREATH_S = 1e-4
"""What the loop sleeps at least, even when late. Sleeping for 0 s would only let other greenlets
run that are ready: gevent looks at sockets and timers after some fifty of such turns."""

STALLED_AFTER_S = 2.0
"""Without a tick for so long, the room is not alive."""

FAILURES = 2
"""A player whose message makes the same rule raise so often is let go."""

AGAIN_S = 10.0
"""A room whose tick fails twice within so many seconds of its own time is given up."""


class CrowdRoom:
    """One world and those in it. Nothing here blocks; all of it runs in the worker's one thread."""

    kind = "crowd"
    cell_size = CELL_SIZE
    remembers = True
    """Does it keep what it needs to go back to before a rule that raised?"""

    def __init__(
        self,
        id: str,
        config: Config,
        game: Game,
        world: World,
        clock: Callable[[], float] = monotonic,
        journal: Journal | None = None,
        sessions: Iterable[list] = (),
        scores: Scores | None = None,
        census: Census | None = None,
        meter: Meter | None = None,
        deck: Deck | None = None,
    ):
        """`sessions`: players that are in `world` already, as in a checkpoint of the journal.
        `census`: whose seats they are, of all rooms of the process; `meter`: what its crowds
        count together; `deck`: what its ticks work on, where it shares that with others."""
        self.id = id
        self.config = config
        self.game = game
        self.settings: dict[str, Any] = {}  # the game's own, for clients to know
        self.layout = layout_of(game)
        self.schema = self.layout.schema
        self.after_tick: Callable[[], None] = lambda: None
        """Called by the loop after each tick: others may have their turn."""
        self.announce: Callable[[], None] = lambda: None
        """Called when what a client knows is void, before the next snapshot: WELCOME comes anew."""
        self.on_end: Callable[[CrowdRoom], None] = lambda room: None
        """Called when the room has come to its end by itself."""
        self.broken = False  # its rules failed for good
        self.over: str | None = None  # why it has ended, if it has by itself
        self.fault = ""  # in a development run: why its time stands still
        self.failures = 0
        self._failed_at: int | None = None  # tick
        self._going_back = False
        self._gone: list[int] = []  # slots of those who left meanwhile
        self._past = Past(game)
        self.world = world
        self.clock = clock
        self.journal = journal
        self._announcements = [
            announce for name, announce in ANNOUNCEMENTS.items() if name in game.services
        ]
        self._results = [result] if "board" in game.services else []
        self._scores = scores if "scores" in game.services else None
        self.sessions: dict[str, Session] = {}
        self._away: dict[str, Session] = {}  # of players, who has been away the longest first
        self._census = census or Census()
        self.players = 0
        self.last_tick_at = clock()
        self._ticker = Ticker(config.tick_hz, clock())
        if deck is None:
            grid = grid_of(getattr(game, "interest", "near"), world.size)
            seats = config.max_players + config.max_spectators
            deck = Deck(config, self.layout, world.view(), grid, seats, meter, id)
        self.metrics, self.shedding = deck.metrics, deck.shedding
        self.seats, self.inputs = deck.seats, deck.inputs
        self.connections, self.sockets = deck.connections, deck.sockets
        self.grid = deck.grid
        self._histories = deck.histories
        self._waiting = deck.waiting
        self._queue: list[tuple[int, bytes]] = []
        self._group: np.ndarray | None = None  # of players, in a world of groups
        self._public: list[bytes] = []
        self._joins, self._joined_at = 0.0, clock()
        self._lines = Buckets(CHAT_LINES_S, CHAT_LINES, clock)
        self._lines_of = Buckets(ADDRESS_LINES_S, ADDRESS_LINES, clock)
        self._public_bytes = Buckets(PUBLIC_BYTES_S, PUBLIC_BYTES, clock)
        self._running = True
        self._late_s = 0.0  # by so much the next tick is late
        self._rest_s = 0.0  # what the other rooms are owed before the next tick
        self.locked = False  # nobody new is let in
        self._held = False
        for row in sessions:
            self._restore(*row)
        if journal is not None:
            journal.dump = self._checkpoint
            journal.begin(world, self._playing())
        elif self.remembers:
            self._checkpoint(world)

    # ------------------------------------------------------------------ the loop

    def run(self) -> None:
        """The game loop greenlet: a tick at each deadline until the room closes."""
        self._ticker = Ticker(self.config.tick_hz, self.clock())
        while self._running:
            gevent.sleep(max(BREATH_S, self._ticker.wait_s(self.clock()), self._rest_s))
            due = self._ticker.due(self.clock())
            for again in range(due):
                if again:
                    # Catching up must not hold up the other rooms, nor be held up by those that
                    # are slow: see `_rest_s`.
                    gevent.sleep(self._rest_s)
                if self._running and not self.held:
                    self._late_s = self._ticker.late_s(self.clock(), due - 1 - again)
                    self.turn()
                    self.after_tick()
        self.sockets.close()

    def turn(self) -> None:
        """A tick; whatever goes wrong in it, the other rooms have theirs."""
        if self.fault:
            self._await_cure()
            return
        try:
            self.tick()
        except Exception as error:
            self._tick_failed(error)

    def tick(self) -> None:
        """One tick, from the sockets' bytes to the sockets' bytes. Raises what the rules raise."""
        tick = self.world.tick + 1
        metrics = self.metrics
        metrics.begin(self._late_s)
        if self.journal is not None:
            self.journal.tick_begins(tick)
        seats, rows = self._read(tick)
        metrics.phase("read")
        commands = self._commands(tick, seats, rows)
        metrics.phase("inputs")
        self.world.step(commands)
        metrics.phase("step")
        self._remember(commands)
        metrics.phase("journal")
        self._record(tick)
        metrics.phase("history")
        self._announce(tick)
        self._deliver()
        self._look_after(tick)
        metrics.phase("upkeep")
        due = self._due(tick)
        snapshots = self.encode(tick, due)
        metrics.phase("encode")
        self._send(tick, due, snapshots)
        metrics.phase("send")
        if self.journal is not None:
            self.journal.tick_ends()
        took_s = metrics.end(self._counts, tick)
        self.shedding.observe(took_s)
        self._rest_s = self.shedding.rest_s(took_s)
        self.last_tick_at = self.clock()

    def _counts(self) -> dict[str, int]:
        """What there was to do in a tick."""
        return {
            "players": self.players,
            "connected": len(self.sockets.readers),
            "away": self.away,
            "slow readers": len(self._waiting),
        }

    def _remember(self, commands: np.ndarray) -> None:
        """The world has stepped: what it came from is kept, in memory and in the journal."""
        events = self._past.stepped(commands)
        if self.journal is not None:
            self.journal.record(self.world, events, commands, self._playing)
        if self._past.full:  # without a journal, or with a gap in it
            self._checkpoint(self.world)

    def _checkpoint(self, world: World) -> dict[str, Any]:
        """The world's state between two steps; from now on the room goes back to here."""
        dump = world.dump()
        self._past.begin(dump)
        return dump

    # ------------------------------------------------------------------ when a rule fails

    def _tick_failed(self, error: Exception) -> None:
        if not self._running:
            return  # it closed in the midst of it
        before, self._failed_at = self._failed_at, self.world.tick
        again = before is not None and self.world.tick - before <= AGAIN_S * self.config.tick_hz
        if not self._failed("a tick", error) or not again:
            return
        if self.config.dev == "on":
            text = "".join(traceback.format_exception(error)).rstrip()
            self.fault = f"a tick failed again; the room waits for a cure\n{text}"
            log.error("room %s waits for a cure", self.id)
        else:
            log.error("room %s closes: a tick failed again", self.id)
            self._break()

    def _failed(self, what: str, error: Exception) -> bool:
        """Tell, and go back to before it. False if the room has come to its end over it."""
        self.failures += 1
        text = "".join(traceback.format_exception(error)).rstrip()
        log.error("room %s (%s), tick %d: %s raised\n%s",
                  self.id, self.game.name, self.world.tick, what, text)  # fmt: skip
        if self.config.dev == "on":
            self._tell_fault(f"{what} raised at tick {self.world.tick}\n{text}")
        return self._go_back()

    def _go_back(self) -> bool:
        """Waits, for the other rooms have their ticks meanwhile; who wants to join waits, too."""
        self._going_back = True
        self._public.clear()
        try:
            world = self._past.world()
            if not self._running:
                return False
            self.world = world
            if self.journal is not None:
                self.journal.checkpoint(world, self._playing(), self._past.events)
            else:
                self._checkpoint(world)
        except Exception:
            log.exception("room %s closes: it can't go back to its last checkpoint", self.id)
            self._break()
            return False
        finally:
            self._going_back = False
        self.seats.baseline_tick[:] = NEVER  # what follows may be another world, after all
        gone, self._gone = self._gone, []
        for slot in gone:
            self._take_out(slot)
        return self._running

    def _break(self) -> None:
        self.broken, self.over = True, "the room failed"
        self.on_end(self)

    def _await_cure(self) -> None:
        """Time stands still until the author has saved other rules; clients are heard."""
        self._read(self.world.tick + 1)
        for connection in self.here():
            connection.nudge()
        self.last_tick_at = self.clock()

    def _tell_fault(self, text: str) -> None:
        """The author sees the traceback in the page, too."""
        for connection in self.here():
            connection.push(objects.fault(text))
            connection.nudge()

    # ------------------------------------------------------------------ in

    def _read(self, tick: int) -> tuple[np.ndarray, np.ndarray]:
        """Everything that clients have sent: ``(seats: intp[m], rows: input_row[m])``.

        What isn't plain input goes to the connection, whose inputs come in through
        the queue by the next tick.
        """
        queued, self._queue = self._queue, []
        received = self.sockets.receive()
        rows, valid = self.layout.unmask_inputs(received.frames)
        seats = received.seats
        for i in np.flatnonzero(~valid).tolist():  # another message of the same size
            self.connections[seats[i]].hand_over(received.frames[i].tobytes())
        for connection, rest in received.others:  # last, for it may end inside a frame
            self.seats.heard[connection.seat] = tick
            connection.hand_over(rest)
        for connection in received.ended:
            connection.hand_over(b"")
            self.sockets.remove(connection)
        seats, rows = seats[valid], rows[valid]
        if queued:
            first = np.array([seat for seat, _ in queued], np.intp)
            data = b"".join([row for _, row in queued])
            seats = np.concatenate([first, seats])
            rows = np.concatenate([np.frombuffer(data, self.layout.input_row), rows])
        return seats, rows

    def queue_input(self, seat: int, row: bytes) -> None:
        """An input that came to its connection: it joins the next tick's batch.

        Raises ProtocolViolation if it is none of this game.
        """
        self.layout.check_input(row)
        if len(self._queue) < QUEUE_ROWS:
            self._queue.append((seat, row))
        else:
            self.metrics.count["queue_full"] += 1

    def count_message(self, seat: int, cost: int = 1) -> None:
        """Charge a client for a message that isn't an input."""
        self.seats.credit[seat] -= cost

    def _commands(self, tick: int, seats: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """STEP_COMMAND[m] for this tick; floods are ended here."""
        table = self.seats
        flooding = table.charge(seats, self.config.message_rate, self.config.tick_hz)
        for seat in flooding.tolist():
            self._close(seat, Close.FLOOD, "too many messages")
        table.heard[seats] = tick
        self.metrics.count["inputs"] += len(rows)
        self.inputs.put(tick, seats, rows, table.epoch[seats])
        seats, rows = self.inputs.take(tick)
        slots = table.slot[seats]
        playing = (slots != NO_SLOT) & ~table.held[seats]
        table.acted[seats] = tick
        table.played[seats] = True
        return inputs.commands(self.game, slots[playing], rows[playing])

    # ------------------------------------------------------------------ out

    def _record(self, tick: int) -> None:
        """Publish the world as of this tick."""
        views = self.world.view()
        self._group = views[0].group
        for history, view in zip(self._histories, views, strict=True):
            history.record(tick, view, self.shedding.level.far_interval)

    def _due(self, tick: int) -> np.ndarray:
        """intp[m]: the seats to send a snapshot to. Who still has bytes pending is
        left out before anything is encoded for them."""
        table = self.seats
        for connection in list(self._waiting):
            if not connection.tail:
                connection.flush()
        table.tailing[:] = False
        table.grant(tick)
        table.tailing[[connection.seat for connection in self._waiting]] = True
        return table.due(tick, self.snapshot_ticks)

    def encode(self, tick: int, due: np.ndarray) -> Snapshots:
        """Each due seat's snapshot: a start of its own, and a body that it may share."""
        table = self.seats
        x, y = self._eyes(due)
        cell = self.grid.viewer_cell(table.cell[due], x, y, self._numbers(due))
        table.cell[due] = cell
        age = tick - table.baseline_tick[due]
        groups, member_of = snapshot.group(cell, age, table.baseline_cell[due])
        bodies = snapshot.encode(tick, self._histories, groups)

        slots = table.slot[due]
        watching = slots == NO_SLOT
        age = groups.age[member_of]
        flags = np.where(age == snapshot.FULL_AGE, wire.FLAG_FULL, 0)
        flags |= np.where(watching, wire.FLAG_SPECTATOR, 0)
        if not self.shedding.level.cosmetics:
            flags |= wire.FLAG_SHED
        own = self.world.self_rows(np.where(watching, 0, slots))
        own[watching] = np.zeros(1, own.dtype)

        starts = self.layout.starts(len(due))
        starts.heads["tick"] = tick - table.epoch[due]
        starts.heads["ack_seq"] = np.maximum(self.inputs.applied[due], 0)
        starts.heads["slack"] = self.inputs.slack[due]
        starts.heads["flags"] = flags
        starts.heads["baseline_age"] = age
        interval = table.interval(self.snapshot_ticks)[due]
        starts.heads["snapshot_ticks"] = np.minimum(interval, 255)
        starts.fill_self(own)
        self.inputs.slack[due] = wire.NO_SLACK

        return Snapshots(starts, bodies, member_of)

    def _send(self, tick: int, due: np.ndarray, snapshots: Snapshots) -> None:
        """Write each snapshot without blocking, after what is for everyone. The baseline
        moves only for those whose socket took the snapshot's first byte."""
        ahead = self._ahead(due)
        taken = self.sockets.send(due, ahead, snapshots)
        for i in np.flatnonzero(taken != snapshots.size + ahead.size).tolist():
            connection = self.connections[due[i]]
            self._cut_short(connection, int(taken[i]), ahead.one(i), snapshots.one(i))
            self.seats.tailing[due[i]] = bool(connection.tail)
        begun = taken > ahead.size
        self.seats.pay(tick, due[begun], snapshots.size[begun], self.config.tick_hz)
        self.metrics.count["snapshots"] += int(np.count_nonzero(begun))
        self.metrics.count["bytes"] += int(taken[taken > 0].sum())
        self.seats.commit(tick, due, begun)

    def _ahead(self, due: np.ndarray) -> Ahead:
        """What is for everyone, to go out before the snapshots of those who are due; the others
        have it told now."""
        public = b"".join(self._public)
        self._public.clear()
        if public:
            others = self.seats.connected.copy()
            others[due] = False
            for seat in np.flatnonzero(others).tolist():
                other = self.connections[seat]
                assert other is not None, "its seat says that it is connected"
                self._tell(other, public)
        return Ahead.alike(public, len(due))

    def _cut_short(self, connection: Connection, taken: int, public: bytes, frame: bytes) -> None:
        """The socket has not taken it all: `taken` bytes, or -errno."""
        if taken > len(public):
            connection.keep_tail((public + frame)[taken:])
        elif taken > 0:  # of a snapshot that hasn't begun, nothing needs to be kept
            connection.keep_tail(public[taken:])
        elif taken in (0, -EAGAIN, -EINTR):
            self._tell(connection, public)
        else:
            connection.drop()

    def _tell(self, connection: Connection, public: bytes) -> None:
        """What everyone is told, to one who takes no snapshot now."""
        if public and not connection.offer(public):
            self.metrics.count["public_untold"] += 1

    def _numbers(self, seats: np.ndarray) -> np.ndarray | None:
        """Whose things the clients in `seats` see, [m], where cells aren't all that counts: in a
        world of groups their group (of one who follows nobody, 0), where rooms share columns the
        room; else None."""
        if self._group is None:
            return None
        looks_at = self.seats.looks_at[seats]
        free = looks_at == NO_SLOT
        return np.where(free, 0, self._group[np.where(free, 0, looks_at)])

    def _eyes(self, seats: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """float32[m] x and y from which the clients in `seats` look."""
        table = self.seats
        looks_at = table.looks_at[seats]
        x, y = self.world.eyes(np.where(looks_at == NO_SLOT, 0, looks_at))
        free = looks_at == NO_SLOT
        return np.where(free, table.look_x[seats], x), np.where(free, table.look_y[seats], y)

    # ------------------------------------------------------------------ public messages

    def _announce(self, tick: int) -> None:
        """What everyone may know, by the services that the game lists."""
        if not self.shedding.level.cosmetics:
            self.metrics.count["cosmetics_shed"] += bool(self.world.feed())
        shown = self._announcements if self.shedding.level.cosmetics else self._results
        for announcement in shown:
            message = announcement(self, tick)
            if message is not None:
                self._broadcast(message)

    def heat(self) -> tuple[int, np.ndarray]:
        """Players' entities per cell, without the grid's margin: the side, int64[side * side]."""
        history = self._histories[0]
        return history.grid.population(history.starts[self.now % RING], self.number)

    def say(self, name: str | None, text: str) -> None:
        """A line of chat for everyone; `name` None is the server itself."""
        self._broadcast(wire.chatted(name, text))

    def _broadcast(self, frame: bytes) -> None:
        """A whole frame for everyone, ahead of the next snapshot; shed if there was too much."""
        if self._public_bytes.take("everyone", len(frame)):
            self.metrics.count["public_shed"] += 1
        else:
            self._public.append(frame)

    # ------------------------------------------------------------------ upkeep

    def _look_after(self, tick: int) -> None:
        """Once a second: who lags, who is frozen, who is silent, who is gone for good."""
        hz = self.config.tick_hz
        if tick % hz != hz // 4:
            return
        table, config = self.seats, self.config
        table.pace(tick, self.inputs.ack, hz)
        for seat in table.stuck(tick, config.slow_seconds * hz).tolist():
            self._close(seat, Close.SLOW, f"took nothing for {config.slow_seconds} s")
        for seat in table.idle(tick, config.idle_seconds * hz).tolist():
            self._close(seat, Close.IDLE, f"no input for {config.idle_seconds} s")
        silent, dead = table.silent(tick, hz)
        for seat in silent.tolist():
            self.connections[seat].ping()
        for seat in dead.tolist():
            self.metrics.count["half_open"] += 1
            self.connections[seat].drop()
        self._look_after_sessions(tick)

    def _look_after_sessions(self, tick: int) -> None:
        """Once a second: whose grace is over, and who has reached what."""
        now = self.clock()
        for session in list(self._away.values()):
            if now - session.away_since < self.config.grace_seconds:
                break  # the others left later
            self.leave(session)
        if tick // self.config.tick_hz % SCORES_S == 0:
            self._offer_scores(self.sessions.values())

    def _offer_scores(self, sessions: Iterable[Session]) -> None:
        """What players have reached, for the all-time list."""
        players = [session for session in sessions if not session.spectator]
        if self._scores is None or not players:
            return
        own = self.world.self_rows(np.array([session.slot for session in players]))
        streaks = own["streak"] if "streak" in names_of(own.dtype) else np.zeros(len(own), int)
        rows = zip(players, own["score"].tolist(), streaks.tolist())
        self._scores.offer([Score(s.name, s.bot, *reached) for s, *reached in rows if reached[0]])

    def _close(self, seat: int, code: Close, reason: str) -> None:
        self.metrics.count[f"closed_{code.name.lower()}"] += 1
        connection = self.connections[seat]
        assert connection is not None, "an open seat has a connection"
        connection.close(code, reason)

    # ------------------------------------------------------------------ who is here

    def busy_with(self) -> str:
        """Why nobody can be let in just now, or nothing."""
        if not self.shedding.level.admits:
            return "the room is too busy; try again later"
        now, rate = self.clock(), self.config.joins_per_second
        self._joins = max(0.0, self._joins - (now - self._joined_at) * rate)
        self._joined_at = now
        return "too many join at once; try again later" if self._joins >= 2 * rate else ""

    @property
    def yielding(self) -> int:
        """Players who have been away for so long that others may have their seats."""
        until = self.clock() - YIELD_S
        return sum(session.away_since <= until for session in self._away.values())

    def longest_away(self) -> Session | None:
        """Who has to go first, should a seat be needed."""
        first = next(iter(self._away.values()), None)
        return first if first and first.away_since <= self.clock() - YIELD_S else None

    def make_room(self, seats: int = 1) -> bool:
        """See to it that so many seats are free, if those who are away the longest can give
        them; otherwise nobody has to go."""
        wanted = self.players + seats - self.config.max_players
        if wanted > 0 and wanted > self.yielding:
            return False
        for _ in range(wanted):
            self.metrics.count["yielded"] += 1
            session = self.longest_away()
            assert session is not None, "so many are `yielding`"
            self.leave(session)
        return True

    def join(
        self,
        name: str,
        bot: bool,
        connection: Connection,
        address: str = "",
        expected: bool = False,
    ) -> Session:
        """A new player; `expected`: of one with a ticket it is known that there is time for it.
        Raises ProtocolViolation if the room is full or too busy."""
        if self.locked:
            raise ProtocolViolation(Close.FULL, "the room is locked")
        if not self.make_room():
            raise ProtocolViolation(Close.FULL, "the room is full; try again later")
        if (why := self.busy_with()) and not expected:
            raise ProtocolViolation(Close.FULL, why)
        if not self._running:
            raise ProtocolViolation(Close.NO_ROOM, "the room has closed")
        self._joins += 1
        try:
            slot = self.world.join(name, bot)
        except Exception as error:
            self._failed("a join", error)
            raise ProtocolViolation(Close.INTERNAL, "the room failed to let you in") from error
        self.players += 1
        session = Session(self, self.take_seat(), slot, name, None, bot)
        self._past.events.append([slot, name, bot, session.id])
        self._sit(session)
        self._census.sit(session, address)
        self._attach(session, connection)
        return session

    def spectate(self, name: str, connection: Connection, address: str = "") -> Session:
        """A client without a player, looking at the middle of the world until it asks otherwise."""
        if self.spectators >= self.config.max_spectators:
            raise ProtocolViolation(Close.FULL, "no more spectators; try again later")
        session = Session(self, self.take_seat(), NO_SLOT, name, None)
        self._sit(session)
        self._census.sit(session, address)
        self._attach(session, connection)
        return session

    def take_seat(self) -> int:
        """A free one."""
        return self.seats.take()

    def _sit(self, session: Session) -> None:
        slot = NO_SLOT if session.spectator else session.slot + self.base
        self.seats.sit(
            session.seat, slot, self.world.size / 2, self.number, self.now - self.world.tick
        )
        self.sessions[session.id] = session

    def _restore(self, session_id: str, slot: int, name: str, bot: bool) -> None:
        """A player of before a restart: away, and expected back within the grace period."""
        session = Session(self, self.take_seat(), slot, name, None, bot, session_id)
        session.away_since = self.clock()
        self.players += 1
        self._sit(session)
        self.seats.played[session.seat] = True
        self._away[session.id] = session

    def _playing(self) -> list[list]:
        """The players' sessions, as a checkpoint of the journal holds them."""
        return [[s.id, s.slot, s.name, s.bot] for s in self.sessions.values() if not s.spectator]

    def resume(self, session_id: str, connection: Connection, address: str = "") -> Session | None:
        """The session that comes back, or None if it is gone. The newest socket wins."""
        session = self.sessions.get(session_id)
        if session is None:
            return None
        if session.connection is not None:
            session.connection.close(Close.TAKEN_OVER, "taken over by a newer connection")
            self._detach(session, session.connection)
        self._census.sit(session, address)
        self._attach(session, connection)
        self.metrics.count["resumed"] += 1
        return session

    def carry_on(self, session_id: str, connection: Connection, address: str) -> Session | None:
        """The same client on the same socket, after its room's process was another: a full
        snapshot is all that it needs. None if the session is gone."""
        return self.resume(session_id, connection, address)

    def _attach(self, session: Session, connection: Connection) -> None:
        seat = session.seat
        session.connection = connection
        self._away.pop(session.id, None)
        connection.seat = seat
        connection.deadline = None
        connection.wait_in(self._waiting)
        self.connections[seat] = connection
        self.inputs.forget(seat, self.now)
        self.seats.attach(seat, self.now, self.config.message_rate)
        self.sockets.add(connection)
        connection.read_by_tick()
        if self.fault:
            connection.push(objects.fault(self.fault))

    def disconnect(self, session: Session, connection: Connection) -> None:
        """The socket is gone. Its place is kept for the grace period, unless it
        never did anything: nothing would be lost, and a mere HELLO is to hold no seat."""
        current = session.connection is connection
        self._detach(session, connection)
        idle = self._running and not self.seats.played[session.seat]
        if current and (session.spectator or idle):
            self.leave(session)

    def _detach(self, session: Session, connection: Connection) -> None:
        self.sockets.remove(connection)
        connection.wait_in(set())
        self._waiting.discard(connection)
        if session.connection is connection:
            session.connection = None
            session.away_since = self.clock()
            if not session.spectator:
                self._away[session.id] = session
            self.connections[session.seat] = None
            self.seats.detach(session.seat)

    def lock(self, locked: bool) -> None:
        """From now on nobody new is let in, or everybody again."""
        self.locked = locked

    def kick(self, session: Session, reason: str) -> None:
        """The session ends, whether its client is here or away."""
        connection = session.connection
        self.leave(session)
        if connection is not None:
            connection.close(Close.KICKED, reason or "kicked")

    def leave(self, session: Session) -> None:
        """The session ends, and its player leaves the world."""
        if self.sessions.pop(session.id, None) is None:
            return
        if session.connection is not None:
            self._detach(session, session.connection)
        self._away.pop(session.id, None)
        self._census.rise(session)
        if not session.spectator:
            self._offer_scores([session])
            self.players -= 1
            self._take_out(session.slot)
        self.seats.free(session.seat)

    def _take_out(self, slot: int) -> None:
        """A player goes; if a rule for it raises, without the rule."""
        if self._going_back:
            self._gone.append(slot)
            return
        event = [slot]
        try:
            self.world.leave(slot)
        except Exception as error:
            if not self._failed("a leave", error):
                return
            try:
                self.world.leave(slot, silent=True)
            except Exception:
                log.exception("room %s closes: nobody can leave it", self.id)
                self._break()
                return
            event.append(SILENT)
        self._past.events.append(event)

    # ------------------------------------------------------------------ requests of clients

    @property
    def ticks(self) -> int:
        """The number of the last tick."""
        return self.world.tick

    def receive(self, session: Session, kind: int, fields: list) -> None:
        """A message for the room. Raises ProtocolViolation."""
        if kind == wire.INPUT:
            self.queue_input(session.seat, *fields)
        elif kind == wire.CHAT:
            self._chat(session, *fields)
        elif kind == wire.SYNC:
            self.resync(session)
        elif kind == wire.LOOK:
            self.look(session, *fields)
        elif kind == wire.CALL:
            self._call(session, *fields)
        elif kind == wire.REPLAY:
            self.control(*fields)
        else:
            raise ProtocolViolation(Close.MALFORMED, f"message {kind} in a room of this kind")

    def welcome(self, session: Session) -> dict[str, Any]:
        """What WELCOME says of the room and of this client's place in it."""
        return {
            "schema": self.schema,
            "declaration": self.game.declaration(),
            "room": self.id,
            "slot": session.slot,
            "name": session.name,
            "tick": self.world.tick,
            "tick_hz": self.tick_hz,
            "snapshot_ticks": self.snapshot_ticks,
            "size": self.world.size,
            "cell": self.cell_size,
            "grace_s": self.config.grace_seconds,
            "messages": declared(self.game.messages),
            "settings": self.settings,
            "rules": self.world.rules(),
        }

    def _call(self, session: Session, name: str, values: list, request: int | None) -> None:
        """A message of the game's own. Waits while the room is handed over, or goes back."""
        found = self.game.messages.get(name)
        if found is None:
            raise ProtocolViolation(Close.MALFORMED, f"there is no message {name[:40]!r}")
        try:
            found.check(values, len(msgpack.packb(values)))
        except ValueError as error:
            raise ProtocolViolation(Close.MALFORMED, str(error)[:100]) from None
        if session.spectator:
            self._answer(session, request, None, "spectators only watch")
            return
        if not found.afford(session.buckets, self.clock()):
            self.metrics.count["messages_dropped"] += 1
            self._answer(session, request, None, "not so fast")
            return
        while self.held and self._running:
            gevent.sleep(BREATH_S)
        if session.id not in self.sessions or not self._running:
            return
        try:
            self._answer(session, request, *self.world.call(session.slot, name, values))
        except Exception as error:
            self._failed(f"message {name}", error)
            self._answer(session, request, None, "the rule failed")
            count = session.failures[name] = session.failures.get(name, 0) + 1
            if count >= FAILURES and session.connection is not None:
                session.connection.close(Close.INTERNAL, f"{name} failed again")
            return
        self._past.events.append([session.slot, name, values])

    def _answer(
        self, session: Session, request: int | None, value: Any, refused: str | None
    ) -> None:
        if request is not None and session.connection is not None:
            session.connection.push(objects.answer(request, msgpack.packb(value), refused))

    def _deliver(self) -> None:
        """What the rules have sent: to everyone beside the snapshots, or to some at once."""
        outbox = self.world.outbox
        for name, packed, to in outbox:
            frame = objects.event(name, packed)
            if to is None:
                self._broadcast(frame)
                continue
            table, rows = self.seats, np.add(to, self.base)
            seats = table.connected & ~table.held & np.isin(table.looks_at, rows)
            for seat in np.flatnonzero(seats).tolist():
                connection = self.connections[seat]
                assert connection is not None, "its seat says that it is connected"
                connection.push(frame)
        outbox.clear()

    def _chat(self, session: Session, text: str) -> None:
        if "chat" not in self.game.services:
            raise ProtocolViolation(Close.MALFORMED, f"CHAT in {self.game.name}, which has none")
        now = self.clock()
        earned = (now - session.chat_at) / self.config.chat_seconds
        session.chat_credit = min(CHAT_BURST, session.chat_credit + earned)
        session.chat_at = now
        text = names.clean(text, wire.CHAT_CHARACTERS)
        if session.chat_credit < 1:
            self.metrics.count["chat_dropped"] += 1
            _tell_one(session, "Not so fast.")
        elif text and (self._lines_of.take(session.address) or self._lines.take("everyone")):
            self.metrics.count["chat_shed"] += 1
            _tell_one(session, "Too many talk at once.")
        elif text:
            session.chat_credit -= 1
            self.say(session.name, text)

    def resync(self, session: Session) -> None:
        """The next snapshot of this client is a full one, as soon as the last one that it asked
        for is paid off (see `Seats.pay`)."""
        self.seats.wants_full[session.seat] = True

    def look(self, session: Session, *where: float) -> None:
        """A spectator follows the player in a slot, or looks at a place."""
        if not session.spectator:
            raise ProtocolViolation(Close.MALFORMED, "LOOK is for spectators")
        table, seat = self.seats, session.seat
        if len(where) == 1:
            if not 0 <= where[0] < self.world.capacity:
                raise ProtocolViolation(Close.MALFORMED, "LOOK at a slot that doesn't exist")
            table.looks_at[seat] = where[0] + self.base
        else:
            # fmin and fmax, so that NaN becomes a place too.
            size = self.world.size - 1
            table.looks_at[seat] = NO_SLOT
            table.look_x[seat] = np.fmax(np.fmin(float(where[0]), size), 0)
            table.look_y[seat] = np.fmax(np.fmin(float(where[1]), size), 0)

    def control(self, speed: float, tick: int | None) -> None:
        """Time can be turned in replays only (see `replay.py`)."""
        raise ProtocolViolation(Close.MALFORMED, "REPLAY in a live room")

    # ------------------------------------------------------------------ from outside

    @property
    def capacity(self) -> int:
        """Players admitted."""
        return self.config.max_players

    @property
    def taken(self) -> int:
        """Seats that nobody new can have: all of them while the room is locked."""
        return self.capacity if self.locked else self.players

    @property
    def spectators(self) -> int:
        return len(self.sessions) - self.players

    @property
    def skipped_ticks(self) -> int:
        """Ticks that were given up because there was no time for them."""
        return self._ticker.skipped

    @property
    def away(self) -> int:
        """Sessions whose client is not connected now."""
        return len(self._away)

    @property
    def humans(self) -> int:
        """Players and spectators that are no bots."""
        return sum(not session.bot for session in self.sessions.values())

    @property
    def held(self) -> bool:
        """No tick begins, and nobody joins: the room is being handed over, or goes back."""
        return self._held or self._going_back

    @held.setter
    def held(self, held: bool) -> None:
        self._held = held

    def dump(self) -> dict:
        """What the room needs to go on elsewhere, as msgpack can carry it. May wait."""
        while self._going_back:
            gevent.sleep(BREATH_S)
        return {"world": self.world.dump(), "sessions": self._playing()}

    @property
    def tick_hz(self) -> float:
        """Ticks that pass for a client in a second."""
        return self.config.tick_hz

    @property
    def snapshot_ticks(self) -> int:
        """Ticks between a client's snapshots; more than one only when overloaded."""
        return self.shedding.level.snapshot_ticks

    @property
    def now(self) -> int:
        """The last tick, as seats count ticks."""
        return self.world.tick

    @property
    def number(self) -> int:
        """Which of the rooms that share its columns it is."""
        return 0

    @property
    def base(self) -> int:
        """The row of slot 0 in its columns."""
        return 0

    def here(self) -> list[Connection]:
        """The connections of those who are in it."""
        return list(self.sockets.readers.values())

    @property
    def weight(self) -> float:
        """What its share of the process goes by: players who are here; a bot is a quarter."""
        here = [s for s in self.sessions.values() if s.connection is not None and not s.spectator]
        return 1.0 + sum(0.25 if session.bot else 1.0 for session in here)

    @property
    def busy(self) -> float:
        """The share of one core that its ticks would take, were each on time."""
        return self.metrics.busy(self.config.tick_hz)

    def alive(self) -> bool:
        """Has it ticked lately?"""
        return self._running and self.clock() - self.last_tick_at < STALLED_AFTER_S

    def summary(self) -> dict:
        """For `/healthz`."""
        return {
            **self.metrics.summary(),
            "overruns": self._ticker.overruns,
            "skipped_ticks": self.skipped_ticks,
            "shedding": self.shedding.level.name,
            "shed_raised": self.shedding.raised,
            "inputs_late": self.inputs.late,
            "inputs_dropped": self.inputs.dropped,
            "sockets": self.sockets.name,
            "connected": len(self.sockets.readers),
            "away": self.away,
            "failures": self.failures,
            "journal": {"state": "off"} if self.journal is None else self.journal.summary(),
        }

    def totals(self) -> dict[str, int]:
        """What it has counted since it was opened; each number only grows."""
        count = self.metrics.count
        return {
            "skipped": self.skipped_ticks,
            "overruns": self._ticker.overruns,
            "messages_sent": count["snapshots"],
            "messages_received": count["inputs"],
            "bytes_sent": count["bytes"],
            "bytes_received": count["inputs"] * self.layout.input_frame.size,
            "inputs_late": self.inputs.late,
            "inputs_dropped": self.inputs.dropped + count["queue_full"],
            "shed_raised": self.shedding.raised,
            "journal_lost": 0 if self.journal is None else self.journal.ticks_lost,
            "rules_failed": self.failures,
        }

    def stop(self) -> None:
        """It has no more ticks, and reads and writes nothing; nobody is told."""
        self._running = False
        for session in self.sessions.values():
            if session.connection is not None:
                self._detach(session, session.connection)

    def close(self, code: Close, reason: str, url: str | None = None) -> None:
        """Tell everyone to go, to `url` if there is one, and end the loop."""
        self._running = False
        for connection in self.here():
            connection.push(wire.notice(code, reason, url))
            connection.close(code, reason)

    def finish(self) -> None:
        """After `close`: nobody can change anything any more, the journal ends."""
        sound = not (self.broken or self._going_back)
        if sound:
            self._offer_scores(self.sessions.values())
        if self.journal is None:
            pass
        elif self.broken:
            self.journal.abandon("a tick failed again and again")
        elif sound:
            self.journal.close(self.world, self._playing(), self._past.events)
        else:  # what has been written brings it back
            self.journal.stop()
        for session in self.sessions.values():
            self._census.rise(session)


def _tell_one(session: Session, text: str) -> None:
    assert session.connection is not None, "who talks is here"
    session.connection.push(wire.notice(0, text))
