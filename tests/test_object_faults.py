"""A rule that raises is its room's trouble, and nobody else's: on the real server."""

from __future__ import annotations

import pytest

from tests.object_server import ObjectServer, closed, wait_for
from tickstorm.client import ConnectError, Disconnected, Refused
from tickstorm.records.object_reel import ObjectReel
from tickstorm.records.timeline import Timeline

FRAGILE = """
class Fragile(Room):
    tick_hz, grace_s, capacity = 20, 0.5, 8
    count: int = synced(0)
    steps: int = synced(0)
    shown: object = synced(None)
    left: list[str] = synced([])
    secret: int = synced(0, to=lambda room, player: 1 / (player.name != "Nosy"))
    bad: str = ""
    kept: list = []

    def on_join(self, player):
        if player.name == "Bad":
            self.count += 100
            raise ValueError("on_join")

    def on_drop(self, player):
        self.count += 1
        if "drop" in self.bad:
            raise ValueError("on_drop")

    def on_leave(self, player):
        if "leave" in self.bad:
            raise ValueError("on_leave")
        self.left.append(player.name)

    def on_close(self):
        raise ValueError("on_close")

    def step(self, dt):
        self.steps += 1
        if self.bad == "step":
            raise ValueError("step")

    @message
    def break_with(self, player, what: str):
        self.bad = what

    @message
    def add(self, player, n: int) -> int:
        self.count += n
        if n == 13:
            raise ValueError("add")
        return self.count

    @message
    def ticks(self, player) -> int:
        return self.tick

    @message
    def show(self, player, how: str):
        self.count += 1
        if how == "set":
            self.shown = {1, 2}
        elif how == "huge":
            self.shown = 1 << 70
        elif how == "send":
            self.send("said", object())
        elif how == "keep":
            self.kept.append(object())

    @message
    def later(self, player):
        self.after(0.1, "bang")

    @message
    def finish(self, player):
        self.close("done")

    def bang(self):
        raise ValueError("timer")
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with ObjectServer(tmp_path_factory.mktemp("fragile"), FRAGILE) as server:
        yield server


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    """Nothing ever happens there."""
    with ObjectServer(tmp_path_factory.mktemp("twin"), FRAGILE) as server:
        yield server


@pytest.fixture
def neighbours(server, twin):
    """The room beside it plays on as that of a server on which nothing happens, and its player
    is never bothered. What the test itself waits between two answers counts for it."""
    here, there = server.new_room("Neighbour"), twin.new_room("Twin")
    before = here.request("ticks") - there.request("ticks")
    yield
    after = -there.request("ticks") + here.request("ticks")  # in this order: see above
    assert after >= before - 2
    here.leave(), there.leave()


pytestmark = pytest.mark.usefixtures("neighbours")


def aside(server, room: str) -> list:
    return list((server.data / "aside").glob(f"{room}-*.journal"))


def test_who_makes_on_join_raise_stays_out_and_the_room_is_as_before(server):
    ada = server.new_room()
    with pytest.raises(Disconnected) as refused:
        server.join("Bad", room=ada.id)
    assert refused.value.code == 1011
    ada.update(0.3)
    assert ada.state["count"] == 0 and [p["name"] for p in ada.players] == ["Ada"]
    assert ada.request("add", 1) == 1
    ada.leave()


def test_a_message_that_raises_leaves_the_state_as_before_and_is_refused(server):
    ada, bob = (ada := server.new_room()), server.join("Bob", room=ada.id)
    assert ada.request("add", 5) == 5
    with pytest.raises(Refused, match="the rule failed"):
        ada.request("add", 13)
    assert bob.request("add", 1) == 6
    ada.update(0.2)
    assert ada.state["count"] == 6
    steps = ada.state["steps"]
    ada.update(0.3)
    assert ada.state["steps"] > steps
    ada.leave(), bob.leave()


def test_the_second_failure_of_a_message_by_one_player_closes_that_player_only(server):
    ada, bob = (ada := server.new_room()), server.join("Bob", room=ada.id)
    ada.send("add", 13)
    ada.update(0.2)
    with pytest.raises(Refused):
        bob.request("add", 13)
    ada.send("add", 13)
    assert closed(ada) == (1011, "add failed again")
    assert bob.request("add", 2) == 3  # Ada's drop counts one
    bob.leave()


@pytest.mark.parametrize("how", ["set", "huge", "send"])
def test_a_message_that_leaves_behind_what_cannot_travel_is_undone(server, how):
    ada = server.new_room()
    with pytest.raises(Refused, match="the rule failed"):
        ada.request("show", how)
    assert ada.request("add", 1) == 1
    ada.leave()


def test_a_predicate_that_raises_keeps_out_whom_it_raises_for(server):
    ada = server.new_room()
    with pytest.raises(Disconnected) as refused:
        server.join("Nosy", room=ada.id)
    assert refused.value.code == 1011
    assert ada.request("add", 1) == 1
    ada.leave()


def test_a_room_that_holds_what_cannot_be_kept_closes_and_names_it(server):
    ada = server.new_room()
    ada.send("show", "keep")
    code, reason = closed(ada, 8)
    assert code == 1011 and "Fragile.kept can't be kept" in reason


def test_on_drop_and_on_leave_that_raise_are_left_out(server):
    ada, bob = (ada := server.new_room()), server.join("Bob", room=ada.id)
    ada.request("break_with", "drop leave")
    bob.websocket.socket.close()
    ada.wait_for(lambda: len(ada.players) == 1)
    assert ada.state["left"] == [] and ada.request("add", 0) == 0
    ada.leave()


@pytest.mark.parametrize("how", ["step", "timer"])
def test_a_step_or_timer_that_raises_again_closes_its_room_and_sets_the_journal_aside(server, how):
    ada = server.new_room()
    room = ada.id
    if how == "step":
        ada.send("break_with", "step")
    else:
        ada.send("later")
    assert closed(ada) == (1011, "the room failed")
    (file,) = wait_for(lambda: aside(server, room))
    with pytest.raises((ConnectError, Disconnected)):
        server.join(room=room)
    timeline = Timeline(server.game(), ObjectReel(file, room))
    failed = timeline.moment(timeline.last)
    assert failed["error"].startswith("step raised" if how == "step" else "timer ")
    assert not timeline.moment(timeline.last - 1)["error"]


def test_on_close_that_raises_keeps_no_room_open(server):
    ada = server.new_room()
    ada.send("finish")
    assert closed(ada) == (1000, "done")


def test_a_failure_is_logged_once_with_room_tick_and_what_was_handled(server):
    ada = server.new_room()
    with pytest.raises(Refused):
        ada.request("add", 13)
    said = [line for line in server.log().splitlines() if f"room {ada.id} " in line]
    assert len([line for line in said if "message add raised" in line]) == 1
    assert "tick" in said[-1] and "'add', [13]" in said[-1]
    ada.leave()


BROKEN = """
class Broken(Room):
    tick_hz = 0

    def on_create(self):
        raise ValueError("on_create")
"""


def test_on_create_that_raises_fills_neither_the_disk_nor_the_time(tmp_path):
    with ObjectServer(tmp_path, BROKEN) as server:
        with pytest.raises((Disconnected, ConnectError, TimeoutError)):
            server.new_room()
        wait_for(lambda: "on_create raised" in server.log())
        assert server.health()["status"] == "ok"
