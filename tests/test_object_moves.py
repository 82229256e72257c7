"""A room of objects moves to another node, with all that is under way in it."""

from __future__ import annotations

import signal

import pytest

from tests.cluster import Cluster, wait_for
from tests.object_server import back, closed, write_game
from tickstorm.client import connect

PARTY = """
class Party(Room):
    tick_hz, grace_s = HZ, 30
    said: list[int] = synced([])
    rang: int = synced(0)
    drops: int = synced(0)
    secrets: dict = {}

    @message(per_second=200)
    def say_it(self, player, n: int):
        self.said.append(n)
        self.secrets[n, player.name] = player

    @message
    def ring_in(self, player, seconds: float):
        self.after(seconds, "ring")

    def ring(self):
        self.rang += 1

    @message
    def knows(self, player, n: int) -> bool:
        return self.secrets.get((n, player.name)) is player
"""


@pytest.mark.parametrize("hz", [20, 0])
def test_a_room_moves_at_a_drain_with_its_players_timers_and_what_they_said_last(tmp_path, hz):
    rules = write_game(tmp_path, PARTY.replace("HZ", str(hz)))
    with Cluster(2, GAMES=rules, ROOMS_PER_MINUTE=0) as cluster:
        ada = connect(cluster.page, name="Ada", settings={})
        bob = connect(cluster.page, name="Bob", room=ada.id)
        ada.send("say_it", 0)
        ada.send("ring_in", 4.0)
        ada.wait_for(lambda: list(ada.state["said"]) == [0])
        old, tick, token = cluster.node_of(ada.id), ada.tick, ada.token
        for n in range(1, 30):
            ada.send("say_it", n)
        old.signal(signal.SIGHUP)
        assert closed(ada)[0] == 1012 and closed(bob)[0] == 1012
        assert ada.session.sent_to and str(old.port) not in ada.session.sent_to
        back(ada), back(bob)
        assert ada.session.welcome["resumed"] and bob.session.welcome["resumed"]
        assert cluster.other(old).loads() and ada.tick >= tick and token
        # In order, each once; what came after the room was sealed is not lost half.
        said = list(ada.wait_for(lambda: ada.state["said"]))
        assert said == list(range(len(said))) and len(said) >= 1
        assert ada.request("knows", 0) is True
        assert len(ada.players) == 2
        ada.wait_for(lambda: ada.state["rang"] == 1, 8)
        ada.leave(), bob.leave()


def test_rooms_move_again_and_again_and_lose_nothing(tmp_path):
    rules = write_game(tmp_path, PARTY.replace("HZ", "20"))
    with Cluster(2, GAMES=rules, ROOMS_PER_MINUTE=0) as cluster:
        ada = connect(cluster.page, name="Ada", settings={})
        for n in range(2):
            ada.send("say_it", n)
            ada.wait_for(lambda n=n: len(ada.state["said"]) == n + 1)
            old = cluster.node_of(ada.id)
            starts = old.starts()
            old.signal(signal.SIGHUP)
            assert closed(ada)[0] == 1012
            back(ada)
            wait_for(lambda old=old, starts=starts: old.starts() > starts, 20)
            old.wait_until_up()
            cluster.page = cluster.other(old).page
        assert list(ada.state["said"]) == [0, 1] and ada.request("knows", 0)
        ada.leave()
