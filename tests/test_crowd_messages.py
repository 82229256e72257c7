"""Messages of a crowd's own: checked, in order, journalled, answered; on the real server."""

from __future__ import annotations

import msgpack
import numpy as np
import pytest

import game
from clients.bots import wire
from tests.object_server import ObjectServer
from tests.raw_client import RawClient
from tickstorm import Column, Kind, World, message, whole
from tickstorm.games import catalogue
from tickstorm.games.crowd import CrowdGame
from tickstorm.games.world import WorldSettings
from tickstorm.records import journal

CALL, EVENT, ANSWER = 10, 27, 28

CHOIR = """
from tickstorm import Column, Kind, World


class Choir(World):
    size, capacity, tick_hz = 2048, 20, 20
    own = ("sung",)
    services = ()
    kinds = (Kind("singer", (
        Column("x", "u2", "delta"),
        Column("y", "u2", "delta"),
        Column("sung", "u4", "kept"),
        Column("name", "S12", "static"),
    )),)

    def on_create(self):
        self.lines = []

    @message(per_second=50)
    def sing(self, slot, line: str = text(20)) -> int:
        if line == "quiet":
            raise Refuse("not today")
        self.singer.sung[slot] += 1
        self.lines.append(line)
        if line == "crack":
            raise ValueError("a cracked voice")
        self.send("sung", self.name(slot), line)
        return len(self.lines)

    @message
    def whisper(self, slot, to: int = whole(0, 19), words: str = text(20)):
        self.send("whispered", slot, words, to=to)

    @message(per_second=1)
    def bow(self, slot): ...

    def step(self, commands):
        if self.tick % 20 == 0:
            self.send("beat", self.tick, to=self.present("singer"))
"""


class Singer(RawClient):
    def __init__(self, server: ObjectServer, name: str = "Ada", **options: bool):
        super().__init__(server.port, "/ws?room=choir")
        self.asked = 0
        self.join(name, **options)

    def call(self, name: str, *values: object, request: int | None = None) -> None:
        self.say(msgpack.packb([CALL, name, list(values), request]))

    def ask(self, name: str, *values: object) -> list:
        """The rest of the answer."""
        self.asked += 1
        number = self.asked
        self.call(name, *values, request=number)
        mine = lambda: [m[2:] for m in self.of(ANSWER) if m[1] == number]  # noqa: E731
        return self.until(mine)[0]

    def heard(self, name: str) -> list[list]:
        return [m[2] for m in self.of(EVENT) if m[1] == name]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with ObjectServer(tmp_path_factory.mktemp("choir"), CHOIR) as server:
        yield server


@pytest.fixture
def two(server):
    with Singer(server) as ada, Singer(server, "Bob") as bob:
        yield ada, bob


def test_what_is_sent_to_all_comes_to_all_and_to_one_to_that_one_alone(two):
    ada, bob = two
    ada.call("sing", "la")
    ada.call("whisper", bob.welcome["slot"], "psst")
    bob.until(lambda: bob.heard("whispered"))
    assert bob.heard("whispered") == [[ada.welcome["slot"], "psst"]]
    for one in two:
        one.until(lambda one=one: one.heard("sung") == [["Ada", "la"]])
        one.until(lambda one=one: one.heard("beat"))
    ada.ask("sing", "fa")
    assert not ada.heard("whispered")


def test_a_request_is_answered_with_what_the_rule_returns_or_why_it_refuses(two):
    ada, bob = two
    good, before = ada.ask("sing", "do")
    assert good and bob.ask("sing", "re") == [True, before + 1]
    assert ada.ask("sing", "quiet") == [False, "not today"]
    assert ada.ask("bow")[0] and ada.ask("bow")[0]
    assert ada.ask("bow") == [False, "not so fast"]


def test_messages_of_one_player_come_in_their_order(two):
    ada, bob = two
    for number in range(40):
        ada.call("sing", f"{number}")
    bob.until(lambda: len(bob.heard("sung")) == 40)
    assert [line for _, line in bob.heard("sung")] == [str(n) for n in range(40)]
    ada.until(lambda: ada.head["self"]["sung"] >= 40)


@pytest.mark.parametrize(
    "call, says",
    [
        (["shout", []], "there is no message 'shout'"),
        (["sing", ["x" * 21]], "sing: line"),
        (["sing", [3]], "sing: line"),
        (["whisper", [20, "you"]], "whisper: to"),
        (["bow", [1]], "bow"),
    ],
)
def test_what_does_not_fit_ends_that_session_and_names_the_field(server, two, call, says):
    with Singer(server, "Eve") as eve:
        eve.call(*call[:1], *call[1])
        assert eve.close_code() == 4000
        assert says in eve.close.reason
    assert two[0].ask("sing", "on")[0]


def test_who_watches_says_nothing(server, two):
    with Singer(server, "Watcher", spectate=True) as watcher:
        assert watcher.ask("sing", "me too") == [False, "spectators only watch"]


def test_a_message_that_raises_is_undone_and_its_second_time_costs_the_player_the_place(
    server, two
):
    ada, bob = two
    _, lines = bob.ask("sing", "before")
    assert ada.ask("sing", "crack") == [False, "the rule failed"]
    assert bob.ask("sing", "after") == [True, lines + 1]
    assert ada.ask("sing", "crack") == [False, "the rule failed"]
    assert ada.close_code() == 1011 and ada.close.reason == "sing failed again"
    assert bob.ask("sing", "at last") == [True, lines + 2]


def test_messages_are_in_the_journal_and_a_worker_that_dies_forgets_none(tmp_path):
    with ObjectServer(tmp_path, CHOIR) as server:
        with Singer(server) as ada:
            assert [ada.ask("sing", line)[1] for line in "abc"] == [1, 2, 3]
            tick = ada.head["tick"]
            ada.until(lambda: ada.head["tick"] > tick + 3)
            server.kill_worker()
        with Singer(server, "Bob") as bob:
            assert bob.ask("sing", "d") == [True, 4]
        server.stop()
        rules = catalogue.load(str(server.rules)).first.game
        report = journal.verify(rules, server.data / "rooms" / "choir")
        assert report.ok and not report.missing


def test_a_replay_tells_the_events_again(tmp_path):
    with ObjectServer(tmp_path, CHOIR) as server:
        with Singer(server) as ada:
            tick = ada.head["tick"]
            ada.until(lambda: ada.head["tick"] > tick + 20)
            ada.ask("sing", "once more")
            tick = ada.head["tick"]
            ada.until(lambda: ada.head["tick"] > tick + 20)
        with RawClient(server.port, "/ws?replay=choir") as viewer:
            viewer.decodes = False
            viewer.say(wire.encode_hello("Viewer", spectate=True))
            told = lambda: [m[1] for m in viewer.messages if m[1][:2] == bytes([0x93, EVENT])]  # noqa: E731
            sung = lambda: [m for m in map(msgpack.unpackb, told()) if m[1] == "sung"]  # noqa: E731
            assert viewer.until(sung) == [[EVENT, "sung", ["Ada", "once more"]]]


def test_the_arena_shows_a_mark_to_those_who_are_near():
    world = game.create_world(WorldSettings(20, 4, {"size": 8192, "orbs": 0}), 1)
    ada, bob, cleo = (world.join(name, False) for name in ("Ada", "Bob", "Cleo"))
    for slot, x in ((ada, 500), (bob, 900), (cleo, 7000)):
        world.place(slot, x, 500)
    assert world.call(ada, "emote", [3]) == (None, None)
    ((name, packed, to),) = world.outbox
    assert (name, msgpack.unpackb(packed), to.tolist()) == ("emote", [ada, 3], [ada, bob])


def test_what_players_say_is_declared_to_clients_and_kept_out_of_the_world():
    class Hall(World):
        kinds = (Kind("guest", (Column("x", "u2", "delta"), Column("y", "u2", "delta"))),)

        @message
        def nod(self, slot: int, often: int = whole(1, 3)) -> None:
            self.send("nodded", slot, often)

    made = CrowdGame(Hall)
    assert list(made.messages) == ["nod"]
    one = made.create_world(WorldSettings(20, 4), 1)
    two = made.create_world(WorldSettings(20, 4), 1)
    one.join("Ada", False), two.join("Ada", False)
    one.call(0, "nod", [2])
    assert one.outbox and one.checksum() == two.checksum()
    for world in (one, two):
        world.step(np.zeros(0, made.STEP_COMMAND))
    assert one.dump() == two.dump()
