"""A node that is told to drain, by request or by signal: its rooms and players go elsewhere."""

from __future__ import annotations

import signal
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from tests.cluster import Cluster, wait_for
from tests.live_server import ROOT, LiveServer
from tests.lobby_client import Player, api, joined
from tickstorm.lobby import tokens

TOKEN = tokens.drain_token(tokens.load_key("shared by all nodes", ""))


def create(page, **settings):
    body = {"key": f"drain {settings}", **settings}
    status, room = api(page, "POST", "/api/rooms", body)
    assert status == 201, room
    return room


def drain(node, method="POST", token=TOKEN):
    return api(node.page, method, "/drain", Authorization=f"Bearer {token}")


def drained(node):
    return drain(node, "GET")[1]["done"]


def ready(node):
    """Status of /readyz."""
    try:
        with urllib.request.urlopen(node.page + "readyz", timeout=5) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code


def command(node, *arguments, **more):
    """`python -m tickstorm.lobby.drain` in a node's environment: exit code and what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "tickstorm.lobby.drain", *arguments],
        cwd=ROOT,
        env={**node.environ, **more},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


def node_of(cluster, player):
    return next(node for node in cluster.nodes if node.name == player.place["node"])


def test_a_drained_node_has_no_room_left_and_all_players_are_in_their_ships_elsewhere():
    with Cluster(2) as cluster:
        room = create(cluster.page, public=True)["room"]
        players = [joined(cluster.page, f"Player {i}", room=room) for i in range(3)]
        for player in players:
            player.see()
        old = node_of(cluster, players[0])
        cluster.page = cluster.other(old).page
        assert ready(old) == 200
        status, progress = drain(old)
        assert status == 202 and progress["draining"] and progress["node"] == old.name
        assert ready(old) == 503, "from the first moment on"
        assert drain(old)[0] == 202, "to ask again changes nothing"
        wait_for(lambda: drained(old))
        for player in players:
            player.listen(seconds=5)
            back = Player(player.notices[-1][2], token=player.welcome["token"])
            assert back.welcome["resumed"] and back.welcome["slot"] == player.welcome["slot"]
        _, progress = drain(old, "GET")
        assert progress["moved"] >= 1 and (progress["rooms"], progress["players"]) == (0, 0)
        assert old.health()["status"] == "draining", "it lives on until it is stopped"
        for _ in range(3):
            assert joined(cluster.page, quick=True).place["node"] != old.name
        old.signal(signal.SIGHUP)
        wait_for(lambda: old.starts() == 2, 20)
        old.wait_until_up()
        wait_for(lambda: ready(old) == 200)


def test_a_room_that_nobody_takes_plays_on_until_somebody_does():
    with Cluster(2, MAX_PLAYERS=4, ROOM_PLAYERS=4) as cluster:
        first, second = cluster.nodes
        player = joined(cluster.page, quick=True)
        old = node_of(cluster, player)
        other = cluster.other(old)
        other.signal_all(signal.SIGSTOP)  # nobody is there to take it
        try:
            wait_for(lambda: len(api(old.page, "GET", "/api/rooms")[1]["rooms"]) == 1)
            code, said = command(old, "--seconds", "1")
            assert code == 1 and "1 rooms with 1 players are left" in said
            player.see()
            assert player.code is None
        finally:
            other.signal_all(signal.SIGCONT)
        code, said = command(old)
        assert code == 0 and "1 rooms moved, 0 left" in said, said
        player.listen(seconds=5)
        back = Player(player.notices[-1][2], token=player.welcome["token"])
        assert back.welcome["resumed"]


def test_only_who_runs_the_node_may_drain_it():
    with LiveServer() as server:
        status, answer = api(server.page, "POST", "/drain")
        assert (status, answer["error"]) == (401, "token")
        status, answer = drain(server, token="A" * 64)
        assert (status, answer["error"]) == (403, "token")
        assert drain(server, token="\xe4")[0] == 403
        status, answer = drain(server, "DELETE")
        assert (status, answer["error"]) == (405, "method")
        assert server.health()["status"] == "ok" and ready(server) == 200
        # The token is made from the key in DATA_DIR.
        code, token = command(server, "--token")
        assert code == 0 and drain(server, "GET", token.strip())[0] == 200
        status, answer = drain(server, "POST", token.strip())
        assert (status, answer["error"]) == (409, "alone")
        code, said = command(server)
        assert code == 1 and "DIRECTORY=memory: no other node" in said


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (["--seconds", "-1"], {}, "'-1': allowed is a number above 0, up to 3600"),
        ([], {"DATA_DIR": "/nonexistent"}, "no key in DATA_DIR=/nonexistent"),
        ([], {"SECRET": "some", "PORT": "1"}, "the node at 127.0.0.1:1 does not answer"),
        ([], {"PORT": "none"}, "PORT=none is not allowed: a whole number from 1 to 65535"),
    ],
)
def test_a_wrong_call_is_told_what_is_wrong(arguments, environment, message):
    code, said = command(LiveServer(), *arguments, **environment)
    assert code in (1, 2) and message in said, said


def test_a_ticket_from_before_a_move_opens_the_room_where_it_is_now():
    with Cluster(2) as cluster:
        room = create(cluster.page, capacity=2)["room"]
        first = joined(cluster.page, room=room)
        _, place = api(cluster.page, "POST", "/api/join", {"room": room})
        old = node_of(cluster, first)
        drain(old)
        wait_for(lambda: drained(old))
        sent_on = Player(place["url"], ticket=place["ticket"])
        assert sent_on.welcome is None and sent_on.code == 1012
        came = Player(sent_on.notices[-1][2], ticket=place["ticket"])
        assert came.welcome["room"] == room and not came.welcome["resumed"]


def test_a_room_that_nobody_came_to_yet_outlives_its_node():
    with Cluster(2) as cluster:
        rooms = [create(cluster.page, name=f"Invitation {i}") for i in range(2)]
        places = [api(cluster.page, "GET", f"/api/rooms/{room['room']}") for room in rooms]
        assert all(status == 200 for status, _ in places)
        cluster.page = cluster.nodes[1].page
        cluster.nodes[0].stop()
        for room in rooms:
            player = joined(cluster.page, code=room["code"])
            assert player.welcome["room"] == room["room"]
            assert player.place["node"] == cluster.nodes[1].name
