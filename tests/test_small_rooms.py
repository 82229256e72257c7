"""Small rooms share their columns, and nothing else: on the real server."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

import game
from clients.bots import wire
from tests.live_server import LiveServer
from tests.lobby_client import api
from tests.raw_client import RawClient
from tests.watched import ODD_RULES, kill_worker
from tests.watched import worker as worker_of
from tickstorm.records import journal
from tickstorm.records.journal import shared


class Ship(RawClient):
    """A player of the arena who turns, flies and fires."""

    def __init__(self, server: LiveServer, room: dict, name: str, **hello):
        super().__init__(server.port, f"/ws?room={room['room']}")
        if "token" not in hello:
            status, place = api(server.page, "POST", "/api/join", {"room": room["room"]})
            assert status == 200, place
            hello["ticket"] = place["ticket"]
        self.join(name, **hello)

    @property
    def own(self) -> dict:
        return self.head["self"]

    def fly(self, ticks: int = 10) -> None:
        until = self.head["tick"] + ticks
        while self.head["tick"] < until:
            self.sequence += 1
            seen, aim = self.head["tick"], self.sequence * 8 & 1023
            self.say(wire.encode_input(seen + 2, seen, self.sequence, aim, 64, 5, view_delay=0))
            self.until(lambda seen=seen: self.head["tick"] > seen)


def ships_of(player: RawClient) -> dict:
    """The ships that a player knows of."""
    return player.world.kinds["ship"].rows


@pytest.fixture(scope="module")
def server():
    with LiveServer(ROOMS_PER_MINUTE=0, MAX_ROOMS=60, MAX_PLAYERS=400) as live:
        yield live


def create(server, size: int = 2048) -> dict:
    body = {"key": os.urandom(16).hex(), "capacity": 4, "settings": {"size": size}}
    status, room = api(server.page, "POST", "/api/rooms", body)
    assert status == 201, room
    return room


def test_what_is_said_in_one_room_is_not_heard_in_another(server):
    rooms = [create(server) for _ in range(3)]
    here, beside, far = (Ship(server, room, "Ada") for room in rooms)
    mate = Ship(server, rooms[0], "Bob")
    here.say(wire.encode_chat("hello"))
    mate.until(lambda: any(m[0] == wire.CHATTED for m in mate.messages))
    for other in (beside, far):
        other.fly(5)
        assert not any(m[0] == wire.CHATTED for m in other.messages)
        assert len(ships_of(other)) == 1
    assert len(ships_of(mate)) == 2


def test_rooms_beside_each_other_have_clocks_of_their_own_and_each_their_settings(server):
    early = Ship(server, create(server), "Early")
    early.fly(25)
    late = Ship(server, create(server, size=3072), "Late")
    assert late.welcome["tick"] < 5 + late.welcome["tick_hz"] and early.head["tick"] > 20
    assert (early.welcome["size"], late.welcome["size"]) == (2048, 3072)
    assert (early.welcome["slot"], late.welcome["slot"]) == (0, 0)
    late.fly(10)
    assert late.own["x"] != 0


def test_a_room_that_closes_takes_nobody_with_it(server):
    gone, stays = create(server), create(server)
    leaver, player = Ship(server, gone, "Leaver"), Ship(server, stays, "Stayer")
    close(server, gone)
    leaver.until(lambda: leaver.ended)
    seen = player.head["tick"]
    player.fly(20)
    assert player.head["tick"] >= seen + 20
    # Its place in the columns is another's now, who sees nothing of it.
    after = Ship(server, create(server), "After")
    after.fly(5)
    assert len(ships_of(after)) == 1


def test_after_sigkill_all_rooms_go_on_where_they_were_and_their_journals_are_true():
    with LiveServer(
        ROOMS_PER_MINUTE=0, MAX_ROOMS=60, GRACE_SECONDS=20, CHECKPOINT_SECONDS=1
    ) as live:
        rooms = [create(live, size=size) for size in (2048, 4096, 3072)]
        ships = [Ship(live, room, f"P{i}") for room in rooms for i in range(2)]
        for ship in ships:
            ship.fly(15)
        before = [(ship.own["score"], ship.head["tick"], ship.welcome["slot"]) for ship in ships]
        kill_worker(live)
        for i, ship in enumerate(ships):
            score, tick, slot = before[i]
            ship.sock.close()
            wait_for(lambda i=i, ship=ship: comes_back(live, rooms[i // 2], ship), 30)
            back = ship.back
            assert back.welcome["slot"] == slot
            assert back.head["tick"] >= tick - 1 and back.own["score"] >= score
            back.fly(5)
        live.stop()
        folder = Path(live.environ["DATA_DIR"]) / shared.FOLDER
        assert sorted(shared.rooms_of(folder)) == sorted(room["room"] for room in rooms)
        for room in rooms:
            path = folder / "one.journal"
            assert shared.extract(folder, room["room"], path) > 15
            report = journal.verify(game, path)
            assert report.ok and report.ticks > 15 and not report.missing, report
        assert len(list(folder.glob("*.journal"))) <= 4, "one file for all of them, and its next"
        assert not list((folder.parent / "rooms").glob(f"{rooms[0]['room']}*/*.journal"))


def test_rooms_come_and_go_by_the_dozen_and_leave_nothing(server):
    worker = worker_of(server)
    descriptors = Path(f"/proc/{worker}/fd")

    def churn() -> int:
        rooms = [create(server) for _ in range(8)]
        ships = [Ship(server, room, "Ada") for room in rooms[:3]]
        for room in rooms:
            close(server, room)
        for ship in ships:
            ship.until(lambda ship=ship: ship.ended)
            ship.sock.close()
        return len(list(descriptors.iterdir()))

    after_one = churn()
    assert max(churn() for _ in range(3)) <= after_one + 2
    assert worker_of(server) == worker


def close(server, room: dict) -> None:
    owner = {"Authorization": f"Bearer {room['owner']}"}
    status, _ = api(server.page, "DELETE", f"/api/rooms/{room['room']}", None, **owner)
    assert status in (200, 204)


def test_a_rule_that_raises_ends_its_room_and_no_other():
    options = {"PYTHONPATH": f"{ODD_RULES}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    with LiveServer(ROOMS_PER_MINUTE=0, RAISE_WITH="Bomb", **options) as live:
        rooms = [create(live) for _ in range(4)]
        others = [Ship(live, room, f"P{i}") for i, room in enumerate(rooms)]
        for ship in others:
            ship.fly(5)
        scores = [ship.own["score"] for ship in others]
        worker = worker_of(live)
        with pytest.raises(AssertionError, match="1011"):
            Ship(live, rooms[1], "Bomb")
        others[1].until(lambda: others[1].ended, 20)
        assert others[1].close.code == 1011
        for i in (0, 2, 3):
            seen = others[i].head["tick"]
            others[i].fly(10)
            assert others[i].head["tick"] >= seen + 10 and others[i].own["score"] >= scores[i]
        assert worker_of(live) == worker
        assert "a tick raised" in live.log() and "Traceback" in live.log()


def test_a_room_that_ends_the_process_again_and_again_is_set_aside_and_others_play_on():
    options = {"PYTHONPATH": f"{ODD_RULES}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    with LiveServer(ROOMS_PER_MINUTE=0, GRACE_SECONDS=60, DIE_WITH="Mine", **options) as live:
        rooms = [create(live) for _ in range(3)]
        others = [Ship(live, room, f"P{i}") for i, room in enumerate(rooms)]
        for ship in others:
            ship.fly(10)
        before = [(ship.own["score"], ship.head["tick"]) for ship in others]
        Ship(live, rooms[1], "Mine").fly(10)
        (Path(live.environ["DATA_DIR"]) / "now").touch()
        wait_for(lambda: f"the journal of {rooms[1]['room']} is set aside" in live.log(), 120)
        for i in (0, 2):
            wait_for(lambda i=i: comes_back(live, rooms[i], others[i]), 30)
            back = others[i].back
            assert back.own["score"] >= before[i][0] and back.head["tick"] >= before[i][1] - 1


def comes_back(server, room: dict, ship: Ship) -> bool:
    """Can it go on? The server may be starting."""
    try:
        ship.back = Ship(server, room, "", token=ship.welcome["token"])
    except (OSError, AssertionError):
        return False
    return ship.back.welcome["resumed"]


def wait_for(condition, seconds: float) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.1)
