"""A crowd's rule that raises is its room's trouble, and nobody else's: on the real server."""

from __future__ import annotations

import struct
from uuid import uuid4

import pytest

from clients.bots import wire
from tests.lobby_client import api
from tests.marks import mark
from tests.object_server import ObjectServer, wait_for
from tests.raw_client import RawClient

FRAGILE = """
from tickstorm import Column, Kind, World


class Do(Input):
    what: int = whole(0, 9)


class Fragile(World):
    size, capacity, tick_hz = 2048, 20, 20
    input = Do
    own = ("x", "steps", "joined")
    services = ()
    kinds = (Kind("mover", (
        Column("x", "u2", "delta"),
        Column("y", "u2", "delta"),
        Column("steps", "u4", "kept"),
        Column("joined", "u4", "kept"),
        Column("name", "S12", "static"),
    )),)

    def on_create(self):
        self.joined = 0

    def on_join(self, slot):
        self.joined += 1
        if self.name(slot) == "Bad":
            raise ValueError("on_join")

    def on_leave(self, slot):
        if self.name(slot) == "Clingy":
            self.joined += 100
            raise ValueError("on_leave")

    def step(self, commands):
        self.mover.steps += 1
        self.mover.joined[:] = self.joined
        if (self.mover.what == 1).any():
            raise ValueError("step")
        if (self.mover.name == b"Bomb").any():
            raise ValueError("bomb")
        if (self.mover.name == b"Hoarder").any():
            self.treasure = object()
"""


class Dot(RawClient):
    """A player of the game above."""

    def __init__(self, server: ObjectServer, room: str, name: str = "Ada"):
        super().__init__(server.port, f"/ws?room={room}")
        self.join(name)

    def do(self, what: int) -> None:
        self.sequence += 1
        row = struct.pack("<IIHB", 0, self.head["tick"], self.sequence, what)
        self.say(bytes([0x92, 2, 0xC4, len(row)]) + row)

    @property
    def own(self) -> dict:
        return self.head["self"]

    def later(self, ticks: int = 5) -> int:
        """Wait for so many ticks; the number of the last one."""
        tick = self.head["tick"]
        self.until(lambda: self.head["tick"] >= tick + ticks)
        return self.head["tick"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with ObjectServer(tmp_path_factory.mktemp("fragile"), FRAGILE, MAX_ROOMS=50) as server:
        yield server


@pytest.fixture
def room(server):
    """A room of its own for each test; it opens with the first that takes a place in it."""
    status, room = api(server.page, "POST", "/api/rooms", {"key": f"key-{uuid4().hex}"})
    assert status == 201, room
    _, place = api(server.page, "POST", "/api/join", {"room": room["room"]})
    with RawClient(server.port, f"/ws?room={room['room']}") as first:
        first.say(wire.encode_hello("First", ticket=place["ticket"]))
        first.until(lambda: first.head)
    return room["room"]


@pytest.fixture(autouse=True)
def neighbour(server):
    """Beside it somebody plays in the server's own room, whose time goes on, and never back."""
    with Dot(server, "fragile", "Neighbour") as dot:
        behind = dot.own["steps"] - dot.head["tick"]
        seen = len(dot.of(17))
        yield dot
        dot.later(3)
        assert dot.own["steps"] - dot.head["tick"] == behind
        assert len(dot.of(17)) > seen and not dot.ended
    assert server.starts() == 1


def aside(server: ObjectServer, room: str) -> list:
    return list((server.data / "rooms").glob(f"{room}.aside-*"))


def traces(server: ObjectServer, what: str) -> int:
    return server.log().count(f"ValueError: {what}")


def test_whose_join_raises_stays_out_and_the_world_is_as_before(server, room):
    with Dot(server, room) as ada:
        ada.later()
        joined, steps, tick = ada.own["joined"], ada.own["steps"], ada.head["tick"]
        with RawClient(server.port, f"/ws?room={room}") as bad:
            bad.say(wire.encode_hello("Bad"))
            assert bad.close_code() == 1011
        assert ada.later() > tick
        assert ada.own["joined"] == joined
        assert ada.own["steps"] - steps == ada.head["tick"] - tick
        with Dot(server, room, "Bob") as bob:
            assert bob.own["joined"] == joined + 1
    assert traces(server, "on_join") == 1


def test_a_leave_that_raises_is_left_out_and_the_player_is_gone(server, room):
    with Dot(server, room) as ada, Dot(server, room, "Clingy") as clingy:
        joined = ada.own["joined"]
        there = lambda: len(ada.world.kinds["mover"].ids)  # noqa: E731
        ada.until(lambda: there() == 2)
        clingy.say(wire.encode_leave())
        assert clingy.close_code() == 1000
        ada.until(lambda: there() == 1)
        ada.later()
        assert ada.own["joined"] == joined + 1  # Clingy's join, and nothing of the leave


def test_an_input_that_makes_the_step_raise_is_left_out_and_all_play_on(server, room):
    with Dot(server, room) as ada, Dot(server, room, "Bob") as bob:
        ada.later(), bob.later()
        before = ada.own["steps"] - ada.head["tick"]
        bob.do(1)
        wait_for(lambda: traces(server, "step") == 1)
        ada.later(10), bob.later(10)
        assert ada.own["steps"] - ada.head["tick"] == before
        assert not ada.ended and not bob.ended


@pytest.mark.parametrize("name, why", [("Bomb", "bomb"), ("Hoarder", "treasure")])
def test_a_tick_that_raises_again_closes_its_room_alone_and_sets_its_journal_aside(
    server, room, name, why
):
    with Dot(server, room) as ada:
        ada.later()
        with RawClient(server.port, f"/ws?room={room}") as bomb:
            bomb.say(wire.encode_hello(name))
            assert bomb.close_code() == 1011
        assert ada.close_code() == 1011 and ada.close.reason == "the room failed"
    wait_for(lambda: aside(server, room))
    assert f"room {room} (fragile), tick" in server.log() and why in server.log()
    with RawClient(server.port, f"/ws?room={room}") as late:
        late.say(wire.encode_hello("Late"))
        assert late.close_code() == 4009


def test_after_a_failure_a_worker_that_dies_brings_the_room_back_as_it_was(tmp_path):
    with ObjectServer(tmp_path, FRAGILE) as server:
        room = "fragile"
        with Dot(server, room) as ada:
            ada.later()
            ada.do(1)
            wait_for(lambda: traces(server, "step") == 1)
            tick, offset = ada.later(), ada.own["steps"] - ada.head["tick"]
            token = ada.welcome["token"]
            server.kill_worker()
        with RawClient(server.port, f"/ws?room={room}") as again:
            again.join("Ada", token)
            assert again.welcome["resumed"]
            mark("ticks lost by a kill after a failure", tick - again.welcome["tick"], high=1)
            assert again.head["self"]["steps"] - again.head["tick"] == offset


def test_a_development_run_waits_for_a_cure_and_shows_the_traceback_on_the_page(tmp_path):
    with ObjectServer(tmp_path, FRAGILE, DEV="on") as server:
        with Dot(server, "fragile") as ada:
            ada.later()
            joined, token = ada.own["joined"], ada.welcome["token"]
            ada.decodes = False
            with RawClient(server.port, "/ws?room=fragile") as bomb:
                bomb.decodes = False
                bomb.say(wire.encode_hello("Bomb"))
                ada.until(lambda: "waits for a cure" in server.log())
                heard = lambda: b"".join(m[1] for m in ada.messages if m[0] is None)  # noqa: E731
                ada.until(lambda: b"ValueError: bomb" in heard())
                assert server.health()["status"] == "ok"
            source = server.rules.read_text()
            server.rules.write_text(source.replace('raise ValueError("bomb")', "pass"))
            server.reload()
        with RawClient(server.port, "/ws?room=fragile") as again:
            again.join("Ada", token)
            assert again.welcome["resumed"]
            tick = again.head["tick"]
            again.until(lambda: again.head["tick"] > tick + 5)
            assert again.head["self"]["joined"] == joined + 1
