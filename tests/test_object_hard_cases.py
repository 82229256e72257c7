"""What is said while one goes, state that grows, rooms that come and go: on the real server."""

from __future__ import annotations

import os

import msgspec
import pytest

from tests.lobby_client import api
from tests.object_server import ObjectServer, back, wait_for
from tests.raw_client import frame
from tickstorm.client import connect
from tickstorm.client.places import ConnectError
from tickstorm.client.session import CALL
from tickstorm.client.view import Disconnected

BOARD = """
class Board(Room):
    tick_hz, grace_s, capacity = HZ, 0.2, 8
    n: int = synced(0)
    strokes: list = []
    size: int = setting(0, low=0, high=200_000)

    def on_create(self):
        self.strokes = [[i, i + 1, i + 2, "#123456"] for i in range(self.size)]

    def on_leave(self, player):
        self.send("left", player.name, self.n)

    @message
    def add(self, player, n: int) -> int:
        self.n += n
        self.strokes.append([n])
        return self.n

    @message
    def ticks(self, player) -> int:
        return self.tick

    @message
    def slow(self, player) -> int:
        self.fetch(pause, then="paused")
        return self.n

    def paused(self, result, error):
        self.n += 1000

def pause():
    import time
    time.sleep(0.3)
"""


def say(client, *message) -> None:
    """Bytes at once, and then nothing more: the connection is cut in the same moment."""
    client.websocket.socket.sendall(b"".join(frame(msgspec.msgpack.encode(m)) for m in message))


@pytest.mark.parametrize("hz", [20, 0])
def test_what_was_said_in_the_tick_of_a_drop_counts_and_its_answer_bothers_nobody(tmp_path, hz):
    with ObjectServer(tmp_path, BOARD.replace("HZ", str(hz))) as server:
        ada = server.new_room()
        for n in range(1, 6):
            bob = server.join("Bob", room=ada.id)
            say(bob, [CALL, "add", [1], 7], [CALL, "slow", [], 8])
            bob.websocket.socket.close()
            ada.wait_for(lambda n=n: ada.state["n"] == n + 1000 * n)
            ada.wait_for(lambda: len(ada.players) == 1)
        assert ada.request("add", 0) == 5005
        assert server.health()["status"] == "ok" and "Traceback" not in server.log()
        ada.leave()
        wait_for(lambda: server.verify(ada.id) > 5)


PAIR = """
class Pair(Room):
    capacity, grace_s = 2, 60
    there: int = synced(2)

    def on_drop(self, player):
        self.there = 1

    def on_return(self, player):
        self.there = 2

    @message
    def here(self, player) -> int:
        return len(self.players)
"""


def test_nobody_takes_the_seat_of_who_dropped_while_the_game_keeps_it(tmp_path):
    with ObjectServer(tmp_path, PAIR) as server:
        ada = server.new_room()
        bob = server.join("Bob", room=ada.id)
        assert bob.request("here") == 2
        bob.websocket.socket.close()
        ada.wait_for(lambda: ada.state["there"] == 1)
        for _ in range(3):
            with pytest.raises((ConnectError, Disconnected)):
                server.join("Eve", room=ada.id)
        wait_for(lambda: api(server.page, "GET", f"/api/rooms/{ada.id}")[1]["players"] == 2)
        back(bob)
        assert bob.request("here") == 2 and ada.request("here") == 2


def test_a_board_of_a_hundred_thousand_strokes_is_kept_rarely_and_neighbours_play_on(tmp_path):
    with ObjectServer(tmp_path, BOARD.replace("HZ", "20"), CHECKPOINT_SECONDS=1) as server:
        near = server.new_room("Near")
        big = connect(server.page, name="Ada", settings={"size": 100_000})
        skipped = server.health()["stats"].get("skipped", 0)
        first = near.request("ticks")
        big.update(2.0)
        for _ in range(10):
            big.request("add", 1)
            big.update(0.2)
        other = server.join("Bob", room=big.id)
        other.leave()
        loads = server.health()["room_loads"]
        assert near.request("ticks") > first
        # One late turn each for making the room and keeping it, and then for long none.
        assert max(load["skipped_ticks"] for load in loads.values()) - skipped <= 20
        near.leave(), big.leave()


def test_rooms_that_came_and_went_leave_nothing_behind(tmp_path):
    def held(server) -> tuple[int, int]:
        pid = server.worker
        with open(f"/proc/{pid}/statm") as file:
            pages = int(file.read().split()[1])
        return len(os.listdir(f"/proc/{pid}/fd")), pages * 4

    def rooms(server, count: int) -> None:
        for _ in range(count // 10):
            clients = [server.new_room(f"P{i}") for i in range(10)]
            for client in clients:
                client.request("add", 1)
            for client in clients:
                client.leave()
        wait_for(lambda: server.health()["rooms"] == 1, 60)

    options = {"EMPTY_SECONDS": 1, "MAX_CONNECTIONS_PER_ADDRESS": 0}
    with ObjectServer(tmp_path, BOARD.replace("HZ", "0"), **options) as server:
        rooms(server, 100)
        descriptors, kilobytes = held(server)
        rooms(server, 200)
        more, now = held(server)
        assert more <= descriptors + 2
        assert now - kilobytes < 6000, f"{now - kilobytes} kB for 200 rooms"
