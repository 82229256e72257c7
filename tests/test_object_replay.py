"""A room of objects watched again: on the real server."""

from __future__ import annotations

import json
import urllib.request
from urllib.parse import quote

import pytest

from tests.object_server import ObjectServer, wait_for
from tickstorm.client import Client, Disconnected
from tickstorm.client.state import pack

COUNT = """
class Count(Room):
    tick_hz = 20
    n: int = synced(0)
    secret: int = synced(0, to=lambda room, player: True)
    said: list[str] = synced([])

    def step(self, dt):
        self.n += 1
        self.secret += 1
        if self.n % 10 == 0:
            self.send("tenth", self.n)

    @message
    def say(self, player, words: str):
        self.said.append(words)
"""


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    with ObjectServer(tmp_path_factory.mktemp("count"), COUNT, CHECKPOINT_SECONDS=1) as server:
        ada = server.join()
        for words in ("one", "two", "three"):
            ada.send("say", words)
            ada.update(1.0)
        ada.leave()
        wait_for(lambda: server.verify(ada.id) > 50)
        yield server, ada.id


def watch(server, room: str) -> Client:
    return Client(f"{server.url}?replay={quote(room)}", "Eve", None, {})


def seek(viewer: Client, speed: float, tick: int | None) -> None:
    viewer.websocket.send(pack([8, speed, tick]))


def test_a_replay_shows_every_tick_as_a_spectator_sees_it(played):
    server, room = played
    eve = watch(server, room)
    assert eve.me is None and eve.session.welcome["spectator"]
    eve.wait_for(lambda: list(eve.state["said"]) == ["one"])
    assert eve.state["n"] == eve.tick and "secret" not in eve.state
    tenths = []
    while len(tenths) < 2:
        tenths += [e.args[0] for e in eve.update(0.2) if getattr(e, "name", "") == "tenth"]
    assert tenths[1] == tenths[0] + 10
    eve.leave()


def test_a_viewer_halts_seeks_both_ways_and_goes_on_faster(played):
    server, room = played
    eve = watch(server, room)
    seek(eve, 0, 50)
    eve.wait_for(lambda: eve.tick == 50)
    assert eve.state["n"] == 50 and list(eve.state["said"])[0] == "one"
    eve.update(0.5)
    assert eve.tick == 50
    seek(eve, 0, 5)
    eve.wait_for(lambda: eve.tick == 5)
    assert eve.state["n"] == 5
    seek(eve, 8, None)
    eve.wait_for(lambda: list(eve.state["said"]) == ["one", "two", "three"], 3)
    eve.leave()


def test_replays_are_listed_and_what_is_none_is_refused(played):
    server, room = played
    rows = json.load(urllib.request.urlopen(f"{server.page}replays.json"))["replays"]
    assert [row["game"] for row in rows if row["room"] == room] == ["count"]
    with pytest.raises(Disconnected) as refused:
        watch(server, "nothing")
    assert refused.value.code == 4009
