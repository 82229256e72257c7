"""A room with real connections over socket pairs, ticked by hand: who gets what, and who goes."""

from __future__ import annotations

import ctypes
import errno
import resource
import socket
from contextlib import contextmanager

import gevent
import numpy as np
import pytest
from gevent.event import Event
from websockets.client import ClientProtocol
from websockets.frames import Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

import game
from clients.bots import wire
from game.schema import BUTTON_FIRE, BUTTON_THRUST
from tests.arena import GAMES
from tests.faked_socket import Socket
from tests.io_uring import WAYS
from tests.raw_client import frame
from tickstorm.config import load
from tickstorm.lobby.conversation import Conversation
from tickstorm.lobby.lobby import Lobby
from tickstorm.protocol.wire import Close
from tickstorm.replication.interest import CELL_SIZE
from tickstorm.rooms.seats import DEAD_S, FROZEN_S, SILENT_S, SLOWEST
from tickstorm.rooms.shedding import LEVELS, Shedding
from tickstorm.transport import sockets as sockets_module
from tickstorm.transport.connection import Connection

HZ = 20


class Peer:
    """A client over a socket pair, and the connection that the room has of it."""

    def __init__(self, lobby: Lobby):
        self.ours, self.sock = socket.socketpair()
        self.sock.setblocking(False)
        config = lobby.config
        self.connection = Connection(
            self.ours.detach(),
            lambda data: self.conversation.receive(data),
            send_buffer=1 << 18,
            bytes_per_second=1 << 20,
            most_bytes=config.max_message_bytes,
            on_end=lambda _: self.conversation.end(),
            on_closed=lambda _: self.gone.set(),
        )
        self.conversation = Conversation(lobby, None, self.connection)
        self.codec = ClientProtocol(parse_uri("ws://s/"), state=State.OPEN, max_size=None)
        self.world: wire.KnownWorld | None = None
        self.head: dict = {}
        self.messages: list[list] = []
        self.raw: list[bytes] = []
        self.reads = True
        self.sequence = 0
        self.gone = Event()
        self.connection.begin()

    def say(self, message: bytes) -> None:
        self.sock.send(frame(message))

    def input(self, ack: int | None = None, **intent: int) -> None:
        self.sequence = (self.sequence + 1) & 0xFFFF
        fields = {"aim": 0, "move": 0, "buttons": 0, "view_delay": 0, **intent}
        ack = self.head.get("tick", 0) if ack is None else ack
        self.say(wire.encode_input(0, ack, self.sequence, **fields))

    def read(self) -> None:
        while True:
            try:
                data = self.sock.recv(1 << 20)
            except BlockingIOError:
                break
            if not data:
                self.codec.receive_eof()
                break
            self.codec.receive_data(data)
        for event in self.codec.events_received():
            if event.opcode is Opcode.BINARY:
                self._hear(bytes(event.data))
        reply = b"".join(self.codec.data_to_send())
        if reply:
            try:
                self.sock.send(reply)
            except OSError:
                pass

    def _hear(self, data: bytes) -> None:
        message = wire.decode(data)
        self.messages.append(message)
        self.raw.append(data)
        if message[0] == wire.WELCOME:
            self.welcome = wire.check_welcome(message[1])
            self.world = wire.KnownWorld(self.welcome["declaration"])
        elif message[0] == wire.SNAPSHOT:
            self.head = self.world.apply(*message[1:])

    def answered(self) -> bool:
        """Has its HELLO been granted, or refused?"""
        self.read()
        return self.world is not None or self.close_code is not None

    def of(self, kind: int) -> list[list]:
        return [message for message in self.messages if message[0] == kind]

    @property
    def tick(self) -> int:
        return self.head.get("tick", -1)

    @property
    def close_code(self) -> int | None:
        return self.codec.close_rcvd.code if self.codec.close_rcvd else None


class FewBytes:
    """The room's ring, except that a faked `Socket` takes only what the test allows."""

    def __init__(self, ring, connections: list):
        self.receive, self._ring, self._connections = ring.receive, ring, connections

    def send(self, fds: np.ndarray, pieces: list) -> np.ndarray:
        taken = np.zeros(len(fds), np.int32)
        faked = np.zeros(len(fds), bool)
        send_by_fd = {c.fd: c.send for c in self._connections if c is not None}
        for i, fd in enumerate(fds.tolist()):
            send = send_by_fd[fd]
            faked[i] = isinstance(send.__self__, Socket)
            if faked[i]:
                data = [ctypes.string_at(int(at[i]), int(size[i])) for at, size in pieces]
                try:
                    taken[i] = send(b"".join(data))
                except BlockingIOError:
                    taken[i] = -errno.EAGAIN
        real = ~faked
        taken[real] = self._ring.send(fds[real], [(at[real], size[real]) for at, size in pieces])
        return taken


class Arena:
    """A lobby with one room whose clock is moved by its ticks."""

    sockets = "auto"

    def __init__(self, tmp_path, **options):
        environ = {"DATA_DIR": str(tmp_path), "JOURNAL": "off", "SEED": "1", "SETTINGS": "orbs=0"}
        environ |= {"MAX_PLAYERS": "50", "LOG_LEVEL": "error", "SOCKETS": self.sockets}
        environ |= {name: str(value) for name, value in options.items()}
        self.now = 1000.0
        self.lobby = Lobby(load(environ), b"k" * 32, GAMES, clock=lambda: self.now)
        (self.room,) = self.lobby.rooms.values()
        sockets = self.room.sockets
        if sockets.name == "io_uring":
            sockets.ring = FewBytes(sockets.ring, self.room.connections)
        self.peers: list[Peer] = []

    def peer(self) -> Peer:
        peer = Peer(self.lobby)
        self.peers.append(peer)
        settle()
        return peer

    def join(self, name: str = "Ada", **options) -> Peer:
        peer = self.peer()
        peer.say(wire.encode_hello(name, **options))
        wait(peer.answered)
        assert peer.world is not None, peer.close_code
        return peer

    def tick(self, ticks: int = 1, each=None) -> None:
        for _ in range(ticks):
            self.now += 1 / HZ
            self.room.tick()
            settle()
            for peer in self.peers:
                if peer.reads:
                    peer.read()
            settle()
            if each is not None:
                each()


def settle() -> None:
    """Let the connections do what there is to do."""
    for _ in range(2):
        gevent.sleep(0.0005)  # long enough for the hub to look at the sockets


def wait(condition) -> None:
    """Without a tick, until what the connections are to do has been done."""
    for _ in range(2000):
        settle()
        if condition():
            return
    raise AssertionError("did not come to pass")


@pytest.fixture(autouse=True, params=WAYS)
def sockets(request, monkeypatch):
    """Whichever way the sockets are used, the room does the same."""
    monkeypatch.setattr(Arena, "sockets", request.param)
    monkeypatch.setattr(sockets_module, "MANY", 0)  # a few peers are many


@pytest.fixture
def arena(tmp_path):
    with opened(tmp_path) as arena:
        yield arena


@contextmanager
def opened(tmp_path, **options):
    arena = Arena(tmp_path, **options)
    try:
        yield arena
    finally:
        for peer in arena.peers:
            peer.sock.close()
            peer.connection.drop()
        assert all(peer.gone.wait(5) for peer in arena.peers)
        assert not arena.room.sockets.readers, "no connection is left behind"


# ------------------------------------------------------------------ who is sent what


def test_everyone_gets_every_tick_exactly_what_is_in_its_block_and_no_more(arena):
    """Brute force over positions; the names of others' stand in the raw bytes, or don't."""
    peers = [arena.join(f"N{i:02}-{'x' * 8}") for i in range(12)]
    rng = np.random.default_rng(1)
    world, room = arena.room.world, arena.room
    grid = room.grid
    seen_shots = 0

    def check():
        nonlocal seen_shots
        for peer in peers:
            seat = peer.connection.seat
            row, column = divmod(int(room.seats.cell[seat]), grid.width)
            for kind, view in zip(game.KINDS, world.view(), strict=True):
                cells_x = np.minimum(view.x // CELL_SIZE, grid.side - 1) + 1
                cells_y = np.minimum(view.y // CELL_SIZE, grid.side - 1) + 1
                near = (abs(cells_x - column) <= 1) & (abs(cells_y - row) <= 1) & view.present
                assert peer.world.kinds[kind.name].ids.tolist() == np.flatnonzero(near).tolist()
                if kind.name == "ship":
                    strangers = [f"N{slot:02}-".encode() for slot in np.flatnonzero(~near)]
                seen_shots += kind.name == "shot" and bool(near.any())
            told = peer.raw[-1]
            assert told[1] == wire.SNAPSHOT
            assert not any(name in told for name in strangers)
            peer.raw.clear()
            peer.input(
                aim=int(rng.integers(1024)),
                move=int(rng.integers(256)),
                buttons=BUTTON_THRUST | BUTTON_FIRE,
            )

    arena.tick(120, check)
    assert seen_shots > 100


def test_what_everyone_is_told_says_nothing_of_places(arena):
    """FEED, BOARD, CHAT and HEAT are public: names, scores, counts per cell, and no more."""
    peers = [arena.join(f"P{i}") for i in range(3)]
    arena.tick(50)
    public = [m for p in peers for m in p.messages if m[0] not in (wire.WELCOME, wire.SNAPSHOT)]
    assert {m[0] for m in public} == {wire.BOARD, wire.HEAT}
    for message in public:
        if message[0] == wire.BOARD:
            assert all([type(v) for v in row] == [str, int, int] for row in message[1])
        else:
            assert sum(message[2]) == 3


def test_a_slow_reader_is_skipped_before_encoding_and_then_gets_the_newest_state(arena):
    slow, other = arena.join("slow"), arena.join("other")
    encoded = []
    encode = arena.room.encode
    arena.room.encode = lambda tick, due: encoded.append(due.tolist()) or encode(tick, due)
    arena.tick(5, other.input)
    sock = Socket(slow.connection)
    sock.takes = 10  # bytes of the next snapshot
    arena.tick(1, other.input)
    begun = arena.room.world.tick
    pending = len(slow.connection.tail)
    encoded.clear()
    arena.tick(25, other.input)
    assert all(slow.connection.seat not in due for due in encoded)
    assert all(other.connection.seat in due for due in encoded)
    waiting = len(slow.connection.tail) + sum(map(len, slow.connection.extra))
    assert waiting < pending + 500, "but for what is public, nothing waits beside the tail"
    assert other.tick == arena.room.world.tick
    sock.takes = None
    settle()
    slow.read()
    assert slow.tick == begun
    for _ in range(SLOWEST + 1):  # it has lagged, so it may get fewer of them for a while
        arena.tick(1, other.input)
        if slow.tick == other.tick:
            break
    assert slow.tick == other.tick == arena.room.world.tick
    ships = [peer.world.kinds["ship"].rows.tolist() for peer in (slow, other)]
    assert ships[0] == ships[1]


def test_the_baseline_moves_only_when_the_first_byte_was_taken(arena):
    peer = arena.join()
    arena.tick(3)
    seats, seat = arena.room.seats, peer.connection.seat
    taken = seats.baseline_tick[seat]
    assert taken == arena.room.world.tick
    sock = Socket(peer.connection)
    sock.takes = 0  # EAGAIN: nothing was begun
    arena.tick(2)
    assert seats.baseline_tick[seat] == taken and not peer.connection.tail
    sock.takes = 1  # one byte: it was begun, the rest has to follow
    arena.tick()
    began = arena.room.world.tick
    assert seats.baseline_tick[seat] == began and seats.tailing[seat]
    arena.tick(3)
    assert seats.baseline_tick[seat] == began, "while there is a tail nothing is begun"
    sock.takes = None
    settle()
    peer.read()
    assert peer.tick == began
    arena.tick(2)  # the decoder checks that the baseline is what it has
    assert peer.tick == arena.room.world.tick
    assert peer.head["baseline_age"] == 1


def test_of_waiting_messages_a_part_is_sent_and_the_snapshot_not_begun(arena):
    peer = arena.join()
    arena.tick(3)
    seats, seat = arena.room.seats, peer.connection.seat
    baseline = seats.baseline_tick[seat]
    sock = Socket(peer.connection)
    arena.room.say(None, "hello")
    sock.takes = 3
    arena.tick()
    assert seats.baseline_tick[seat] == baseline
    sock.takes = None
    arena.tick(2)
    assert [20, None, "hello"] in peer.messages
    assert peer.tick == arena.room.world.tick


def test_what_the_owner_could_not_send_is_never_interleaved_with_a_snapshot(arena):
    peer = arena.join()
    arena.tick(3)
    sock = Socket(peer.connection)
    sock.takes = 0
    arena.tick()
    peer.say(wire.encode_ping(1.0))  # answered by the owner, into a full socket
    sock.takes = 2
    arena.tick(2)
    assert peer.connection.tail
    sock.takes = None
    arena.room.tick()  # before the owner has had a chance
    settle()
    arena.tick(3)
    assert peer.of(wire.PONG) and peer.tick == arena.room.world.tick


def test_a_full_snapshot_that_was_asked_for_while_a_tail_is_pending_comes_after_it(arena):
    peer = arena.join()
    arena.tick(3)
    sock = Socket(peer.connection)
    sock.takes = 1
    arena.tick()
    peer.say(wire.encode_sync())
    arena.tick(2)
    sock.takes = None
    arena.tick(3)
    fulls = [m for m in peer.of(wire.SNAPSHOT) if m[1][7] & wire.FULL]
    assert len(fulls) == 2 and peer.tick == arena.room.world.tick


def test_a_client_that_missed_more_than_the_ring_gets_a_full_snapshot(arena):
    peer = arena.join()
    arena.tick(3)
    sock = Socket(peer.connection)
    for missed in (30, 31, 32, 40):
        sock.takes = 0
        arena.room.seats.pace_ticks[:] = 1
        for _ in range(missed):
            arena.room.seats.strikes[:] = 0
            arena.tick()
            arena.room.seats.pace_ticks[:] = arena.room.seats.frozen_ticks[:] = 1
        sock.takes = None
        settle()  # what is public was waiting, and its owner sends it
        arena.tick()
        assert peer.tick == arena.room.world.tick
        assert bool(peer.head["flags"] & wire.FULL) == (missed + 1 > 31)


# ------------------------------------------------------------------ who goes


def test_who_takes_nothing_is_closed_as_slow_on_time(tmp_path):
    with opened(tmp_path, SLOW_SECONDS=2) as arena:
        peer, other = arena.join("slow"), arena.join("other")
        arena.tick(3)
        Socket(peer.connection).takes = 0
        ticks = 0
        while peer.connection.closing is None:
            arena.tick(1, other.input)
            ticks += 1
            assert ticks <= 4 * HZ
        assert peer.connection.closing[0] is Close.SLOW
        assert ticks >= 2 * HZ
        assert other.tick == arena.room.world.tick


def test_a_frozen_tab_gets_one_snapshot_a_second_until_it_acknowledges_again(arena):
    frozen, awake = arena.join("frozen"), arena.join("awake")

    def play():
        awake.input()
        frozen.input(ack=5)

    arena.tick((FROZEN_S + 2) * HZ, play)
    before = len(frozen.of(wire.SNAPSHOT)), len(awake.of(wire.SNAPSHOT))
    arena.tick(5 * HZ, play)
    assert 4 <= len(frozen.of(wire.SNAPSHOT)) - before[0] <= 6
    assert len(awake.of(wire.SNAPSHOT)) - before[1] == 5 * HZ
    assert frozen.head["snapshot_ticks"] == HZ
    arena.tick(3 * HZ, lambda: (awake.input(), frozen.input()))
    assert frozen.head["snapshot_ticks"] == 1 and frozen.tick == arena.room.world.tick


def test_who_gives_no_input_is_let_go_and_who_does_stays(tmp_path):
    with opened(tmp_path, IDLE_SECONDS=5) as arena:
        idle, busy = arena.join("idle"), arena.join("busy")
        watcher = arena.join("watcher", spectate=True)
        arena.tick(5 * HZ - 2, busy.input)
        assert idle.close_code is None
        arena.tick(2 * HZ, busy.input)
        assert idle.close_code == Close.IDLE
        assert busy.close_code is None and watcher.close_code is None


def test_a_silent_socket_is_asked_and_then_given_up(tmp_path):
    with opened(tmp_path, IDLE_SECONDS=86400) as arena:
        dead, alive = arena.join("dead"), arena.join("alive")
        dead.codec.data_to_send = list  # hears everything, answers nothing
        arena.tick((SILENT_S + 2) * HZ)
        assert not dead.gone.is_set()
        arena.tick((DEAD_S - SILENT_S) * HZ)
        assert dead.gone.is_set() and dead.close_code is None
        assert not alive.gone.is_set(), "it has answered the pings"
        assert arena.room.metrics.count["half_open"] == 1


def test_a_flood_of_inputs_is_ended_and_nobody_elses_inputs_are(arena):
    flooder, other = arena.join("flooder"), arena.join("other")
    for _ in range(60):
        for _ in range(20):
            if flooder.codec.state is State.OPEN:
                flooder.input()
        other.input()
        arena.tick()
        if flooder.close_code:
            break
    assert flooder.close_code == Close.FLOOD
    assert other.close_code is None and other.head["ack_seq"] == other.sequence


# ------------------------------------------------------------------ coming and going


def test_joining_and_leaving_within_one_tick_leaves_nothing_behind(tmp_path):
    with opened(tmp_path, MAX_PLAYERS=3) as arena:
        arena.tick()
        for _ in range(10):
            hasty = [arena.join(f"hasty {i}") for i in range(3)]
            for peer in hasty:
                peer.say(wire.encode_leave())
                # Read by the tick, acted on by the owner.
            arena.tick()
            settle()
            assert arena.room.players == 0 and not arena.room.sessions
        assert not arena.room.world.view()[0].present.any()
        late = arena.join("late")
        arena.tick(2)
        assert late.world.kinds["ship"].ids.tolist() == [0]


def test_a_hello_and_a_goodbye_in_one_packet_are_both_heard(arena):
    witness = arena.join("witness")
    peer = arena.peer()
    peer.sock.send(frame(wire.encode_hello("comet")) + frame(wire.encode_leave()))
    arena.tick(3)
    assert peer.close_code == Close.DONE
    assert arena.room.players == 1
    assert witness.world.kinds["ship"].ids.tolist() == [witness.welcome["slot"]]


def test_a_dropped_player_is_kept_for_the_grace_period_and_not_longer(tmp_path):
    with opened(tmp_path, GRACE_SECONDS=3) as arena:
        peer, witness = arena.join("gone"), arena.join("witness")
        peer.input()
        arena.tick(2)
        peer.sock.close()
        arena.peers.remove(peer)
        arena.tick(2 * HZ, witness.input)
        assert arena.room.players == 2
        arena.tick(2 * HZ, witness.input)
        assert arena.room.players == 1


def test_who_never_did_anything_has_no_grace_period(tmp_path):
    with opened(tmp_path, GRACE_SECONDS=3) as arena:
        peer, witness = arena.join("ghost"), arena.join("witness")
        arena.tick(2)
        peer.sock.close()
        arena.peers.remove(peer)
        arena.tick(2, witness.input)
        assert (arena.room.players, arena.room.away) == (1, 0)


def test_who_is_away_the_longest_goes_first_when_the_room_is_full(tmp_path):
    with opened(tmp_path, GRACE_SECONDS=60, MAX_PLAYERS=3) as arena:
        peers = [arena.join(name) for name in ("first", "second", "third")]
        for peer in peers[:2]:
            peer.input()
            arena.tick(2)
            peer.sock.close()
            arena.peers.remove(peer)
            arena.tick(2)
        assert arena.room.away == 2
        early = arena.peer()
        early.say(wire.encode_hello("too early"))
        wait(early.answered)
        assert early.close_code == 1013  # they may be on their way back
        arena.tick(4 * HZ, peers[2].input)
        arena.join("newcomer")
        arena.tick(1)
        assert sorted(s.name for s in arena.room.sessions.values()) == [
            "newcomer", "second", "third",
        ]  # fmt: skip


def test_a_spectator_alone_in_an_empty_room_and_looking_at_nobody_is_harmless(arena):
    watcher = arena.join("watcher", spectate=True)
    arena.tick(3)
    for where in ((0,), (49,), (2**63, -1.5), (float("nan"), float("inf"))):
        watcher.say(wire.encode_look(*where))
        arena.tick(3)
    assert watcher.close_code is None and watcher.tick == arena.room.world.tick


def test_a_spectator_who_resumes_keeps_its_seat(arena):
    old = arena.join("watcher", spectate=True)
    new = arena.join("watcher", token=old.welcome["token"])
    assert new.welcome["resumed"]
    others = [arena.join(f"other {i}", spectate=True) for i in range(3)]
    seats = {peer.connection.seat for peer in [new, *others]}
    assert len(seats) == 4
    arena.tick(3)
    assert old.close_code == Close.TAKEN_OVER
    assert all(peer.tick == arena.room.world.tick for peer in [new, *others])


def test_too_many_joins_at_once_are_told_to_come_later(tmp_path):
    with opened(tmp_path, JOINS_PER_SECOND=2) as arena:
        for i in range(4):
            arena.join(f"P{i}")
        fifth = arena.peer()
        fifth.say(wire.encode_hello("fifth"))
        wait(fifth.answered)
        assert fifth.close_code == Close.FULL
        arena.tick(HZ)
        arena.join("sixth")


def test_more_than_1024_descriptors_are_served(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2700
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.fail(f"the hard limit on open files is {hard}; this test needs {wanted}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    try:
        with opened(tmp_path, MAX_PLAYERS=1100, JOINS_PER_SECOND=100000) as arena:
            peers = [Peer(arena.lobby) for _ in range(1100)]
            arena.peers += peers
            for peer in peers:
                peer.say(wire.encode_hello("P"))
            wait(lambda: arena.room.players == 1100)
            arena.tick(2)
            for peer in peers:
                peer.input()
            arena.tick(2)
            assert max(peer.connection.fd for peer in peers) > 1024
            assert all(peer.tick == arena.room.world.tick for peer in peers)
            assert all(peer.head["ack_seq"] == 1 for peer in peers)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# ------------------------------------------------------------------ overload


class Held(Shedding):
    """Stays at its level, however long ticks take."""

    def observe(self, took_s):
        pass


def test_overload_is_shed_in_the_declared_order_and_inputs_never(arena):
    players = [arena.join(f"P{i}") for i in range(8)]

    def play():
        for player in players:
            player.input()

    def snapshots():
        return sum(len(player.of(wire.SNAPSHOT)) for player in players)

    for level in LEVELS:
        arena.room.shedding = Held(HZ)
        arena.room.shedding.level = level
        arena.tick(4, play)
        for player in players:
            player.messages.clear()
        applied = arena.room.inputs.applied.copy()
        for _ in range(2 * HZ):
            arena.tick(1, play)
        assert snapshots() == len(players) * 2 * HZ / level.snapshot_ticks
        shown = {m[0] for player in players for m in player.messages} - {wire.SNAPSHOT}
        assert shown == ({wire.BOARD, wire.HEAT} if level.cosmetics else set())
        for player in players:
            assert bool(player.head["flags"] & wire.SHED) == (not level.cosmetics)
            assert player.head["snapshot_ticks"] == level.snapshot_ticks
        used = (arena.room.inputs.applied - applied)[: len(players)]
        assert (used == 2 * HZ).all(), "every input is used at every level"
        newcomer = arena.peer()
        newcomer.say(wire.encode_hello("newcomer"))
        wait(newcomer.answered)
        if level.admits:
            assert newcomer.world is not None
            newcomer.say(wire.encode_leave())
            arena.tick(1, play)
        else:
            assert newcomer.close_code == Close.FULL


def test_a_result_is_never_shed(arena):
    player = arena.join("Ada")
    arena.room.shedding = Held(HZ)
    arena.room.shedding.level = next(level for level in LEVELS if not level.cosmetics)
    type(arena.room.world).final, before = True, type(arena.room.world).final
    try:
        arena.tick(2 * HZ, player.input)
    finally:
        type(arena.room.world).final = before
    assert len(player.of(wire.BOARD)) == 2 and not player.of(wire.HEAT)


def test_a_room_that_is_slow_for_long_gives_up_one_thing_after_another(arena):
    seen = []
    for _ in range(10 * HZ):
        arena.room.shedding.observe(0.06)
        if not seen or seen[-1] != arena.room.shedding.level.name:
            seen.append(arena.room.shedding.level.name)
    assert seen == [level.name for level in LEVELS]
    assert arena.room.summary()["shedding"] == "admission"
