"""The way in: which room, which seat, new or come back."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from time import monotonic, time
from typing import IO, Any, Protocol

import gevent

from .. import __version__
from ..config import MOST_WORKERS, Config
from ..games.catalogue import CROWD, OBJECTS, Catalogue, Entry, GameError
from ..games.messages import Refuse
from ..games.room import Identity, identify
from ..games.settings import choose
from ..games.simulation import RuleError, Simulation
from ..games.watched import Watched
from ..games.world import WorldSettings
from ..protocol import names
from ..protocol.wire import NAME_BYTES, Close, ProtocolViolation
from ..records import journal, ledger, object_replay, replay, retention
from ..records.files import read_json
from ..rooms import object_intake
from ..rooms.archipelago import IslandRoom
from ..rooms.buckets import Buckets
from ..rooms.census import Census
from ..rooms.crowd_room import CrowdRoom
from ..rooms.loop import Loop
from ..rooms.meter import Meter, Shared
from ..rooms.object_room import ObjectRoom
from ..rooms.object_session import ObjectSession
from ..rooms.session import Session
from ..services.bans import Bans
from ..services.scores import Scores
from ..transport.connection import Connection
from ..transport.pool import Pool
from ..transport.sockets import shared_ring
from . import settings, tokens
from .directory import RoomInfo
from .settings import encodable, of_node
from .small_rooms import SmallRooms

log = logging.getLogger("tickstorm.lobby")

REPLAYS_PER_SECOND, REPLAYS_AT_ONCE = 0.5, 20
"""Replays that one address may open: each reads whole segments."""
AnyRoom = CrowdRoom | ObjectRoom
AnySession = Session | ObjectSession


class Gate(Protocol):
    """This process among others, as the lobby knows it (`node.py`)."""

    id: str
    draining: bool
    known: bool  # to the directory
    trouble: str  # why the directory can't be reached, or nothing

    def admit(self, signed: str, room_id: str | None) -> tuple[AnyRoom, bool, str]:
        """Use a ticket: its room, whether to watch, its id. Raises ProtocolViolation."""

    def arrived(self, room: str, ticket: str) -> None:
        """The player of a used ticket has a seat now."""

    def reserved(self, room: str) -> int:
        """Seats of a room that are held for others."""

    def bring(self, id: str) -> AnyRoom | None:
        """A room that isn't open here; None if there is none. Raises ProtocolViolation."""

    def seek(self, id: str) -> None:
        """Raises Elsewhere if another worker of this server has the room."""

    def room_of(self, ticket: str) -> str | None:
        """Which room a signed ticket is for."""


class Elsewhere(Exception):
    """Another worker has the room, and should have the connection."""

    def __init__(self, worker: int):
        super().__init__(worker)
        self.worker = worker


class Lobby:
    """The rooms of this process, by id. `games`: what is played; `clock()`: seconds, monotonic.

    `run_room(room)` starts the loop of a room that is opened later on; the rooms that were
    opened by the constructor are up to whoever made the lobby.
    """

    version = __version__

    def __init__(
        self,
        config: Config,
        key: bytes,
        games: Catalogue,
        clock: Callable[[], float] = monotonic,
        worker: int = 0,
        rooms: list[tuple[str, RoomInfo]] | None = None,
    ):
        """`worker`: its number among several of one server, `rooms`: what it opens, by default
        what it had open before."""
        self.worker = worker
        settings.check_option(config, games)
        self.config = config
        self.games = games
        self.clock = clock
        self.rooms: dict[str, AnyRoom] = {}
        self.infos: dict[str, RoomInfo] = {}
        self.started = time()
        self.node: Gate | None = None
        self.run_room: Callable[[CrowdRoom], None] = lambda room: None
        self._key = key
        self.closing: tuple[Close, str] | None = None
        self.census = Census()
        together = Shared()
        self.meters = {kind: Meter(kind, together) for kind in (CROWD, OBJECTS)}
        # Rooms can be looked into while one writes their rules; else nothing is spent on it.
        self._simulation = Watched if config.dev == "on" else Simulation
        self._coming_back = False
        self._joins = Buckets(*config.joins_per_address, clock)
        self._opening = 0  # replays
        self._opened = Buckets(REPLAYS_PER_SECOND, REPLAYS_AT_ONCE, clock)
        self.watched: dict[replay.ReplayRoom | object_replay.ObjectReplay, str] = {}  # by whom
        self.replays = object_replay.Listing(config.data_dir, games)
        self._writer = journal.Writer() if config.journal == "on" else None
        self.bans = Bans(Path(config.data_dir) / "bans.json")
        self.scores = Scores(Path(config.data_dir) / "scores.sqlite")
        self._ledger, self._stories = self._open_ledger()
        pool = Pool(clock, shared_ring(config.sockets), object_intake.hear)
        self.loop = Loop(
            pool, self._ledger, clock, config.message_rate, config.checkpoint_seconds,
            config.dev == "on", self.meters[OBJECTS],
        )  # fmt: skip
        # It knows rooms by a protocol; all that it has were given to it here.
        self.loop.on_end = self._ended  # type: ignore[assignment]
        self.elsewhere: Callable[..., int] = lambda what, of=None: 0
        """What the other workers count: of `status`."""
        self.listed_elsewhere: Callable[[str], bool] = lambda room_id: False
        self.on_over: Callable[[str, Close, str], None] = self.shut
        self.small = SmallRooms(config, self._writer, clock, self.meters[CROWD], worker)
        self.small.run = lambda archipelago: self.run_room(archipelago)
        if rooms is None:
            self._open_before()
        else:
            self.adopt(rooms)

    def adopt(self, rooms: list[tuple[str, RoomInfo]], worker: int | None = None) -> None:
        """Open rooms as their journals say, those of another `worker` that died. One that can't
        be opened is no trouble for the others."""
        if worker is not None:
            self._stories |= ledger.open_stories(ledger.folder_of(self.config.data_dir, worker))
            self.small.read(worker)
        self.small.restore(
            {
                id: (self.games[info.settings.game].game, self._world_settings(info))
                for id, info in rooms
                if info.settings.game in self.games
                and not info.keep
                and self.games[info.settings.game].kind != OBJECTS
            }
        )
        for id, info in rooms:
            if id in self.rooms:
                continue
            try:
                self.open(id, info)
            except GameError as error:
                log.error("room %s is not opened again: %s", id, error)
            except Exception:  # the others must not suffer from it
                log.exception("room %s is not opened again", id)

    def open(
        self, room_id: str, info: RoomInfo | None = None, state: dict | None = None
    ) -> AnyRoom:
        """A room with a world of its own: from `state` (see `dump`), the one in its journal, or
        a new one. Without `info` it is one of the server's own, which never close. Raises
        GameError if its game isn't here."""
        info = info or RoomInfo(of_node(self.config, self.games.first), keep=True)
        entry = self.games[info.settings.game]
        room: AnyRoom
        if entry.kind == OBJECTS:
            room = self._open_objects(entry, room_id, info, state)
        else:
            room = self._open_crowd(entry, room_id, info, state)
        self.rooms[room_id] = room
        self.infos[room_id] = info
        self._remember()
        if isinstance(room, ObjectRoom):
            self.loop.add(room)
        elif isinstance(room, IslandRoom):
            self.small.start(room.archipelago)
        else:
            self.run_room(room)
        return room

    # ------------------------------------------------------------------ rooms of objects

    def _open_ledger(self) -> tuple[ledger.Ledger | None, dict[str, ledger.Story]]:
        """The journal of all rooms of objects, and what it says of those of before."""
        if self._writer is None or not any(entry.kind == OBJECTS for entry in self.games):
            return None, {}
        config, folder = self.config, ledger.folder_of(self.config.data_dir, self.worker)
        folder.mkdir(parents=True, exist_ok=True)
        lock = journal.lock(folder)
        if lock is None:
            log.warning("rooms of objects keep no journal: another process has the one in %s",
                        folder)  # fmt: skip
            return None, {}
        found = ledger.open_stories(folder)
        kept = ledger.Ledger(
            self._writer, folder, config.journal_megabytes << 20, config.journal_hours * 3600, lock
        )
        return kept, found

    def _open_objects(
        self, entry: Entry, room_id: str, info: RoomInfo, state: dict | None
    ) -> ObjectRoom:
        game, chosen = entry.game, info.settings
        sessions: list[list] = []
        events: list[list] = []
        simulation: Simulation | None = None
        story = self._stories.pop(room_id, None)
        if state is not None:
            simulation = self._simulation.load(game, state["simulation"])
            sessions, events = state["sessions"], state["events"]
        elif story is not None:
            simulation, sessions = self._restored(game, room_id, story)
        if simulation is None:
            seed = self.config.seed or int.from_bytes(os.urandom(6), "little")
            simulation = self._simulation(game, game.choose(chosen.settings), seed)
        room = ObjectRoom(
            room_id, game, simulation, self.loop, min(chosen.capacity, game.room.capacity), sessions
        )
        room.take_events(events)
        room.census = self.census
        room.token_for = self.token_for
        room.version = self.version
        return room

    def _restored(
        self, game: Any, room_id: str, story: ledger.Story
    ) -> tuple[Simulation | None, list[list]]:
        """A room as its journal says; ``(None, [])`` if that can't be."""
        if story.head.get("checksum") != game.checksum:
            story.ticks = []  # other rules: what fits of the checkpoint is kept
            log.warning("room %s: %s has changed; what fits of it is kept", room_id, game.name)
        try:
            simulation, sessions = ledger.restore(game, story, self._simulation)
        except (RuleError, ValueError, KeyError, TypeError) as error:
            log.error("room %s can't come back: %s; its journal is set aside", room_id, error)
            ledger.set_aside(Path(self.config.data_dir) / "aside", story)
            return None, []
        log.info("room %s is back at tick %d with %d players", room_id, simulation.tick,
                 len(sessions))  # fmt: skip
        return simulation, sessions

    def renew(self, entry: Entry) -> list[ObjectRoom]:
        """Rules of a game of objects were saved: its rooms go on with them, and new ones begin
        with them. Returns those rooms; one that can't go on keeps its rules, and says so."""
        self.games.renew(entry)
        renewed = []
        for id, room in self.rooms.items():
            if not isinstance(room, ObjectRoom) or room.game.name != entry.name:
                continue
            capacity = min(self.infos[id].settings.capacity, entry.game.room.capacity)
            try:
                room.renew(entry.game, capacity)
                renewed.append(room)
            except Exception as error:  # the author's: whatever rules leave in a room
                log.error("room %s keeps the rules of before: %r", id, error)
                self.loop.tell_fault(room.live, f"the room keeps the rules of before: {error!r}")
        return renewed

    def ledger_folder(self) -> Path | None:
        """Where rooms of objects are journalled, with all that they did until now on its way
        there; None if they are not."""
        if self._ledger is None:
            return None
        self._ledger.flush()
        return Path(self.config.data_dir) / "objects"

    def _ended(self, room: AnyRoom) -> None:
        """A room has ended by itself, or its rule failed for good."""
        if room.broken and isinstance(room, ObjectRoom):
            ledger.set_aside(Path(self.config.data_dir) / "aside", ledger.story_of(room))
        if room.id in self.rooms:
            code = Close.INTERNAL if room.broken else Close.DONE
            self.on_over(room.id, code, room.over or "the room is over")

    def _open_crowd(
        self, entry: Entry, room_id: str, info: RoomInfo, state: dict | None
    ) -> CrowdRoom:
        game, config = entry.game, info.settings.config(self.config)
        settings = self._world_settings(info)
        header = journal.header_of(game, room_id, settings, self.config.seed)
        folder = journal.folder_of(self.config.data_dir, room_id)
        small = self.small.fit(room_id, game, settings) and not info.keep
        alone = not small or bool(journal.segments(folder))  # has it a journal of its own?
        lock = journal.lock(folder) if alone and self._writer is not None else None
        back = journal.recover(game, folder, header) if lock is not None and state is None else None
        if small:
            if back is not None:  # of a time when it was no small one
                state = {"world": back.world.dump(), "sessions": back.sessions}
            if lock is not None:
                lock.close()
            island = self.small.open(
                room_id, config, game, settings, state, scores=self.scores, census=self.census
            )
            island.settings = settings.chosen
            island.on_end = self._ended
            return island
        if state is not None:
            world, sessions = game.load_world(state["world"]), state["sessions"]
            log.info("room %s goes on at tick %d with %d players", room_id, world.tick,
                     len(sessions))  # fmt: skip
        elif back is not None:
            world, sessions, header["seed"] = back
        else:
            header["seed"] = self.config.seed or int.from_bytes(os.urandom(6), "little")
            world, sessions = game.create_world(settings, header["seed"]), []
            log.info("room %s opens with seed %d", room_id, header["seed"])
        kept = self._journal(folder, header, lock)
        room = CrowdRoom(
            room_id, config, game, world, self.clock, kept, sessions, self.scores, self.census,
            self.meters[CROWD],
        )  # fmt: skip
        room.settings = settings.chosen
        room.on_end = self._ended
        return room

    def _world_settings(self, info: RoomInfo) -> WorldSettings:
        game, config = self.games[info.settings.game].game, info.settings.config(self.config)
        chosen = choose(game.settings, info.settings.settings)
        return WorldSettings(config.tick_hz, config.max_players, chosen)

    def shut(self, room_id: str, code: Close, reason: str, url: str | None = None) -> None:
        """Close a room; its players are told, and where to go instead if that is known."""
        room = self.rooms.pop(room_id)
        del self.infos[room_id]
        self._remember()
        room.close(code, reason, url)
        room.finish()
        self.meters[room.kind].gone.update(room.totals())
        if isinstance(room, ObjectRoom):
            if self._ledger is not None:
                self._ledger.closed(room_id)
        elif room.journal is not None:
            room.journal.unlock()

    def dump(self, room_id: str) -> dict:
        """A room's state, for `open` elsewhere."""
        return self.rooms[room_id].dump()

    @property
    def default_id(self) -> str:
        """The room that is always there: it is named after the first game."""
        return self.games.first.name

    @property
    def default(self) -> AnyRoom | None:
        """Where players go who named no room: the server's own, or any public one."""
        kept = [id for id, info in self.infos.items() if info.keep]
        public = [id for id, info in self.infos.items() if info.settings.public]
        return self.rooms[(kept or public)[0]] if kept or public else None

    # Which rooms are open is noted in a file, so that a crash closes none, and for the bots.

    @property
    def _notes(self) -> Path:
        return notes_of(self.config, self.worker)

    def _remember(self) -> None:
        """Note the rooms that are open, but for the one that is always there, each with the
        bots it gets: those that it wants, as long as the node has any left. While those of before
        come back, the note is that of before: a crash in the midst of it loses none."""
        if self._coming_back:
            return
        rooms, left = {}, self.config.room_bots
        for id, info in self.infos.items():
            bots = 0 if info.keep else min(info.settings.bots, left)
            left -= bots
            if id != self.default_id:
                rooms[id] = [asdict(info.settings), info.keep, bots]
        if not rooms and not self._notes.exists():
            return
        try:
            self._notes.parent.mkdir(parents=True, exist_ok=True)
            fresh = self._notes.with_suffix(".new")
            fresh.write_text(json.dumps(rooms))
            fresh.replace(self._notes)
        except OSError as error:
            log.error("which rooms are open can't be noted: %s", error)

    def _open_before(self) -> None:
        """Open the rooms that were open before a crash, and the server's own."""
        infos = read_json(self._notes, noted_rooms) or {}
        self._coming_back = bool(infos)
        if self.config.directory == "memory" and self.worker == 0:
            self.open(self.default_id)
        self.adopt(list(infos.items()))
        self._coming_back = False
        self._remember()
        if self.worker == 0:
            for worker in range(self.config.worker_count, MOST_WORKERS):  # of a larger run before
                notes = notes_of(self.config, worker)
                if notes.exists():
                    self.adopt(list((read_json(notes, noted_rooms) or {}).items()), worker)
                    notes.unlink()
            self.open_default()

    def open_default(self) -> None:
        """Open a room of the server's own, should there be none."""
        if not any(info.keep for info in self.infos.values()):
            # Of the same name on no two nodes, nor twice on one: the last may live elsewhere.
            self.open(f"{self.default_id}-{os.urandom(4).hex()}")

    def _journal(self, folder: Path, header: dict, lock: IO | None) -> journal.Journal | None:
        if self._writer is None:
            return None
        if lock is None:
            log.warning(
                "room %s keeps no journal: another process has the one in DATA_DIR=%s",
                header["room"], self.config.data_dir,
            )  # fmt: skip
            return None
        config = self.config
        return journal.Journal(
            self._writer,
            folder,
            header,
            limit_bytes=config.journal_megabytes << 20,
            limit_s=config.journal_hours * 3600,
            checkpoint_s=config.checkpoint_seconds,
            lock=lock,
        )

    def enter(
        self,
        room_id: str | None,
        connection: Connection,
        name: str,
        token: str | None,
        bot: bool,
        spectate: bool,
        ticket: str | None = None,
        schema: int = 0,
        address: str = "",
        options: dict | None = None,
    ) -> tuple[AnySession, bool]:
        """The session of whoever connected, and whether it is an old one.

        `address` is whose seat it will be, `schema` the checksum of the game that the client
        knows, 0 for none; `options` are for the game's `on_auth`. Raises ProtocolViolation if
        there is no such room, no seat, or the token, the ticket or the schema is not good.
        """
        if self.closing is not None:
            raise ProtocolViolation(*self.closing)
        if self.node is not None:
            room_id = self._seek(self.node, room_id, token, ticket)
        if token:
            session = self._resume(token, connection, schema, address)
            if session is not None:
                return session, True
        self._check_address(address, spectate)
        if ticket is not None and self.node is not None:
            room: AnyRoom | None
            room, spectate, ticket_id = self.node.admit(ticket, room_id)
            _check_schema(schema, room)
            room, who = self._identify(room, name, options or {})
            session = self._sit(room, connection, who, bot, spectate, address, True)
            if not spectate:
                self.node.arrived(room.id, ticket_id)
            return session, False
        if room_id is None:
            room_id = self.default.id if self.default is not None else None
        room = self.settled(room_id)
        if room is None:
            if self.node is not None and room_id is not None:
                self.node.seek(room_id)  # it may have gone while it was waited for
            raise ProtocolViolation(Close.NO_ROOM, "there is no such room")
        _check_schema(schema, room)
        room, who = self._identify(room, name, options or {})
        reserved = self.node.reserved(room.id) if self.node is not None else 0
        here = isinstance(room, ObjectRoom) and who.id in room.by_player
        if not spectate and not here and not room.make_room(reserved + 1):
            raise ProtocolViolation(Close.FULL, "the room is full; try again later")
        return self._sit(room, connection, who, bot, spectate, address), False

    def _seek(
        self, node: Gate, room_id: str | None, token: str | None, ticket: str | None
    ) -> str | None:
        """The room that is meant, as far as it is named. Raises Elsewhere if another worker has
        it."""
        claim = self.read_token(token) if token else None
        wanted = claim.room if claim is not None else node.room_of(ticket) if ticket else room_id
        if wanted is None and self.default is None:
            room_id = wanted = self.default_id
        if wanted is not None and wanted not in self.rooms:
            node.seek(wanted)
        return room_id

    def _identify(self, room: AnyRoom, name: str, options: dict) -> tuple[AnyRoom, Identity]:
        """Who this is, as the game says, and the room, which may be another object by then.
        Waits. Raises ProtocolViolation if the game lets nobody of this name in."""
        if not isinstance(room, ObjectRoom) or not hasattr(room.game.room, "on_auth"):
            return room, Identity("", name)

        def ask() -> Identity | Exception:  # the pool would print what it raises
            try:
                return identify(room.game.room, name, options)
            except Exception as error:
                return error

        who = gevent.get_hub().threadpool.apply(ask)
        if isinstance(who, Refuse):
            raise ProtocolViolation(Close.REFUSED, str(who) or "the game refused") from None
        if isinstance(who, Exception):
            log.error("%s: on_auth raised for %r", room.game.name, name, exc_info=who)
            raise ProtocolViolation(Close.INTERNAL, "the game failed to say who you are")
        if self.closing is not None:
            raise ProtocolViolation(*self.closing)
        now = self.settled(room.id)
        if now is None:
            raise ProtocolViolation(Close.NO_ROOM, "there is no such room")
        self._check_banned(who.id)
        called = names.clean(who.name, NAME_BYTES, NAME_BYTES) or names.DEFAULT_NAME
        return now, Identity(who.id, called)

    def _check_banned(self, player: str) -> None:
        """Raises ProtocolViolation if this player, or session of a crowd, may not come in."""
        if player and (why := self.bans.why("player", player)):
            raise ProtocolViolation(Close.KICKED, why)

    def _check_address(self, address: str, spectate: bool) -> None:
        """Raises ProtocolViolation if this address has its share of the seats, or of joins."""
        config = self.config
        if spectate:
            most, taken = config.spectators_per_address, self.census.spectators[address]
            taken += self.elsewhere("spectators_of", address)
        else:
            most, taken = config.max_connections_per_address, self.census.players[address]
            taken += self.elsewhere("players_of", address)
        if address and most and taken >= most:
            raise ProtocolViolation(Close.FULL, "too many seats of one address; try again later")
        if self._joins.take(address):
            raise ProtocolViolation(Close.FULL, "too many join from one address; try again later")

    def _sit(
        self,
        room: AnyRoom,
        connection: Connection,
        who: Identity,
        bot: bool,
        spectate: bool,
        address: str,
        expected: bool = False,
    ) -> AnySession:
        if spectate:
            watching = self.spectators + self.elsewhere("spectators")
            if watching >= self.config.max_spectators:
                raise ProtocolViolation(Close.FULL, "no more spectators; try again later")
            return room.spectate(who.name, connection, address)
        here = isinstance(room, ObjectRoom) and who.id in room.by_player
        players = self.players + self.elsewhere("players")
        if not here and players >= self.config.max_players and not self._make_room():
            raise ProtocolViolation(Close.FULL, "the server is full; try again later")
        if isinstance(room, ObjectRoom):
            return room.join(who.name, bot, connection, who.id, address, expected)
        return room.join(who.name, bot, connection, address=address, expected=expected)

    def _make_room(self) -> bool:
        """The server is full: who has been away the longest, in whatever room, has to go."""
        rooms = self.rooms.values()
        away = [(s, room) for room in rooms if (s := room.longest_away()) is not None]
        if not away:
            return False
        first, room = min(away, key=lambda pair: pair[0].away_since)
        room.leave(first)  # type: ignore[arg-type]  # its own room takes it
        return True

    def watch(
        self, name: str, connection: Connection, viewer: str, schema: int = 0, address: str = ""
    ) -> AnySession:
        """A replay of its own for whoever connected.

        Raises ProtocolViolation if there is nothing of this name, or too many are watched.
        """
        if self.closing is not None:
            raise ProtocolViolation(*self.closing)
        if self._opening + len(self.watched) >= self.config.max_replays:
            raise ProtocolViolation(Close.FULL, "too many replays at once; try again later")
        most, own = self.config.replays_per_address, list(self.watched.values()).count(address)
        if address and most and own >= most or self._opened.take(address):
            raise ProtocolViolation(Close.FULL, "too many replays of one address; try again later")
        self._opening += 1
        try:
            room = gevent.get_hub().threadpool.apply(self._replay, (name,))
        except (journal.JournalError, OSError, KeyError, ValueError) as error:
            log.info("no replay of %r: %s", name, error)
            raise ProtocolViolation(Close.NO_ROOM, "there is no such replay") from error
        finally:
            self._opening -= 1
        _check_schema(schema, room)
        session = room.spectate(viewer, connection)
        self.watched[room] = address
        gevent.spawn(self._play, room)
        return session

    def _play(self, room: replay.ReplayRoom | object_replay.ObjectReplay) -> None:
        try:
            room.run(lambda: replay.BUSY_SHARE / len(self.watched))
        finally:
            del self.watched[room]

    def _replay(self, name: str) -> replay.ReplayRoom | object_replay.ObjectReplay:
        """In a thread. Raises as Reel and `paths_of` do."""
        objects = ledger.folder_of(self.config.data_dir)
        if not journal.folder_of(self.config.data_dir, name.partition("/")[0]).is_dir():
            return object_replay.replay_of(self.games, objects, name, self.clock, self.version)
        paths = replay.paths_of(name, self.config.data_dir)
        crowd = replay.Reel(replay.game_of(paths, self.games), paths)
        return replay.ReplayRoom(f"replay {name}", self.config, crowd, self.clock)

    def settled(self, room_id: str | None) -> AnyRoom | None:
        """The open room of this id; one that is just being handed over is waited for, for who
        joins it now would be left behind."""
        while (room := self.rooms.get(room_id or "")) is not None and room.held:
            gevent.sleep(0.01)
        return room

    def token_for(self, session: AnySession) -> str:
        """The token with which this session can be resumed."""
        claim = tokens.Claim(session.room.id, session.id, time() + tokens.LIFETIME_S)
        return tokens.sign(claim, self._key)

    def listed(self, room_id: str) -> bool:
        """May everyone know of this room, open or closed? Ids of private ones open them."""
        info = self.infos.get(room_id)
        if info is None:
            return room_id.startswith(self.default_id) or self.listed_elsewhere(room_id)
        return info.settings.public

    def read_token(self, token: str) -> tokens.Claim | None:
        """What a token of ours says."""
        try:
            return tokens.read(token, self._key)
        except tokens.BadToken:
            return None

    def _resume(
        self, token: str, connection: Connection, schema: int, address: str
    ) -> AnySession | None:
        claim = self.read_token(token)
        if claim is None:
            raise ProtocolViolation(Close.TOKEN, "not a token of this server")
        if claim.expires < time():
            return None
        room = self.settled(claim.room)
        if room is None and self.node is not None:
            room = self.node.bring(claim.room)
        if room is None:
            return None
        _check_schema(schema, room)
        session = room.sessions.get(claim.session)
        self._check_banned(claim.session)
        if isinstance(session, ObjectSession):
            self._check_banned(session.player)
        return room.resume(claim.session, connection, address)

    @property
    def replaying(self) -> int:
        """Replays that are watched."""
        return len(self.watched)

    @property
    def journal_waiting(self) -> int:
        """Bytes that wait to be written."""
        return 0 if self._writer is None else self._writer.waiting

    def ledger_summary(self) -> dict[str, Any]:
        """Of the journal of all object rooms; empty if there is none."""
        return {} if self._ledger is None else self._ledger.summary()

    @property
    def players(self) -> int:
        return sum(room.players for room in self.rooms.values())

    @property
    def busy(self) -> float:
        """The share of a core that all rooms take."""
        return sum(room.busy for room in self.rooms.values())

    @property
    def spectators(self) -> int:
        return sum(room.spectators for room in self.rooms.values())

    def status(self) -> dict[str, Any]:
        """What the other workers should know."""
        return {
            "players": self.players,
            "spectators": self.spectators,
            "busy": self.busy,
            "public": [id for id, info in self.infos.items() if info.settings.public],
            "players_of": dict(self.census.players),
            "spectators_of": dict(self.census.spectators),
        }

    def suspend(self) -> None:
        """Everything stands still, with what has come taken in: a fresh process goes on with it.
        Nobody is told. `finish` comes next."""
        self.closing = Close.RESTART, "the server restarts"
        self.loop.settle()
        if self._ledger is not None:
            self._ledger.keep(self.loop.rooms.values())  # type: ignore[arg-type]  # see `on_end`
        for room in self.rooms.values():
            room.stop()
        for replayed in self.watched:
            replayed.close(*self.closing)

    def release(self, room_id: str) -> None:
        """Forget a room that another process has by now; nobody is told."""
        room = self.rooms.pop(room_id)
        del self.infos[room_id]
        self._remember()
        room.stop()
        room.finish()
        self.meters[room.kind].gone.update(room.totals())
        if isinstance(room, ObjectRoom):
            if self._ledger is not None:
                self._ledger.moved(room_id)
        elif room.journal is not None:
            room.journal.unlock()

    def health(self) -> dict:
        """What `/healthz` says. `status` is "stalled" unless every room's ticks advance."""
        first, node = self.default, self.node
        draining = node is not None and node.draining
        return {
            "status": "stalled" if not self.alive() else "draining" if draining else "ok",
            "tick": first.ticks if first else 0,
            "tick_hz": self.config.tick_hz,
            "players": self.players,
            "rooms": len(self.rooms),
            "busy": round(self.busy, 4),
            "pid": os.getpid(),
            "version": __version__,
            "stats": first.summary() if first else {},
            "started": self.started,
            "node": node.id if node else "",
            "directory": ("does not answer" if node.trouble else "ok") if node else "none",
            "room_loads": {
                id if self.infos[id].settings.public else f"private {n}": {
                    "tick": room.ticks,
                    "players": room.players,
                    "away": room.away,
                    "spectators": room.spectators,
                    "busy": round(room.busy, 4),
                    "share": round(room.shedding.share, 4),
                    "skipped_ticks": room.skipped_ticks,
                    "shedding": room.shedding.level.name,
                }
                for n, (id, room) in enumerate(self.rooms.items())
            },
        }

    def unready(self) -> str:
        """Why nobody new should be sent here, or nothing."""
        node = self.node
        if not self.alive():
            return "its ticks stand still"
        if node is not None and node.draining:
            return "it is draining"
        if node is not None and not node.known:
            return "it is not in the directory yet"
        return ""

    def balance(self) -> None:
        """Each room may use what the others leave of the process's time, and a share by its
        players at least; one that wants more sheds its own load, and the others' ticks stay on
        time. So rooms that strangers open and leave empty take nothing from a full one."""
        together: dict[Any, list[AnyRoom]] = {}  # those that shed their load together
        for room in self.rooms.values():
            together.setdefault(room.shedding, []).append(room)
        fair = shares(
            [sum(room.busy for room in rooms) for rooms in together.values()],
            [sum(room.weight for room in rooms) for rooms in together.values()],
        )
        for shedding, share in zip(together, fair, strict=True):
            shedding.allow(share)

    def tidy(self) -> None:
        """Give the journals of closed rooms their end."""
        if self._writer is None:
            return
        config = self.config
        retention.tidy(
            Path(config.data_dir),
            self.default_id,
            config.journal_megabytes << 20,
            config.journal_hours * 3600,
            time(),
            gevent.get_hub().threadpool.apply,
        )

    def close(self, code: Close, reason: str) -> None:
        """Tell everyone to go, and stop the loops."""
        self.closing = code, reason
        self.loop.settle()
        if self._ledger is not None:
            self._ledger.keep(self.loop.rooms.values())  # type: ignore[arg-type]  # see `on_end`
        for room in [*self.rooms.values(), *self.watched]:
            room.close(code, reason)

    def finish(self) -> None:
        """After `close`, when all have gone: end journals and scores. `finished`: all on disk."""
        self.loop.stop()
        if self._ledger is not None:
            self._ledger.close()
        for room in self.rooms.values():
            room.finish()
        self.small.close()
        if self._writer is not None:
            self._writer.stop()
        self.scores.stop()

    @property
    def finished(self) -> bool:
        return self.scores.stopped and (self._writer is None or self._writer.stopped)

    def alive(self) -> bool:
        """Do the ticks of all rooms advance?"""
        return all(room.alive() for room in self.rooms.values())


def notes_of(config: Config, worker: int) -> Path:
    """Where a worker notes which rooms it has."""
    number = f".{worker}" if worker else ""
    return Path(config.data_dir) / f"rooms-{config.port}{number}.json"


def noted_rooms(noted: object) -> dict[str, RoomInfo]:
    """The rooms in a server's notes. Raises ValueError for anything else."""
    if not isinstance(noted, dict):
        raise ValueError("no map of rooms")
    rooms = {}
    for id, row in noted.items():
        if not isinstance(row, list) or len(row) < 2 or not isinstance(row[1], bool):
            raise ValueError(f"room {id[:40]!r} without settings")
        if not 0 < len(id) <= 64 or not encodable(id):
            raise ValueError("a room without a proper id")
        rooms[id] = RoomInfo(settings.load(row[0]), row[1])
    return rooms


def _check_schema(schema: int, room: AnyRoom) -> None:
    """Raises ProtocolViolation if a client knows another game, or another version of it."""
    if schema not in (0, room.schema):
        raise ProtocolViolation(Close.SCHEMA, "the game has changed; reload")


def shares(busy: list[float], weights: list[float] | None = None) -> list[float]:
    """Of a process's time, what each room may use that wants `busy` of it: who wants little gets
    it, the others share what is left by their weights; and nobody is denied what nobody wants.

    >>> shares([0.1, 0.2]), shares([0.1, 2.0]), shares([0.2, 2.0, 3.0])
    ([0.8, 0.9], [0.5, 0.9], [0.333333, 0.4, 0.4])
    >>> shares([0.6, 2.0, 2.0], [8.0, 1.0, 1.0])
    [0.8, 0.2, 0.2]
    """
    weights = weights or [1.0] * len(busy)
    left, rest, level = 1.0, sum(weights), 1.0
    for wanted, weight in sorted(zip(busy, weights), key=lambda room: room[0] / room[1]):
        level = left / rest
        if wanted > level * weight:
            break
        left, rest = left - wanted, max(rest - weight, 1e-9)
    free = 1.0 - sum(min(wanted, level * weight) for wanted, weight in zip(busy, weights))
    fair = [weight / sum(weights) for weight in weights]
    return [
        round(level * weight if wanted > level * weight else max(least, free + wanted), 6)
        for wanted, weight, least in zip(busy, weights, fair)
    ]
