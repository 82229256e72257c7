"""Several nodes on a real redis-server: moves, crashes, outages. Real uWSGIs throughout."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time

import gevent
import pytest
from websockets.uri import parse_uri

from clients.bots import wire
from clients.bots.conditioner import Conditioner, Conditions
from clients.bots.connection import Connection
from clients.bots.lobby import Lobby
from tests.cluster import Cluster, NodeServer, wait_for
from tests.live_server import ROOT
from tests.lobby_client import Player, api, joined
from tests.marks import STRICT, mark

LEASE_S = 3.0
PILOTS = 200 if STRICT else 60


@pytest.fixture(scope="module")
def cluster():
    with Cluster(2, ROOMS_PER_MINUTE=0) as both:
        yield both


def create(page, **settings):
    body = {"key": f"test-{time.monotonic_ns()}", "public": True, **settings}
    status, room = api(page, "POST", "/api/rooms", body)
    assert status == 201, room
    return room


def follow(player, **more):
    """Where the server said that the room goes on, with the player's token."""
    return Player(player.notices[-1][2], token=player.welcome["token"], **more)


def find(page, player, avoid=()):
    """Ask the lobby where a session is now."""
    return api(page, "POST", "/api/join", {"token": player.welcome["token"], "avoid": list(avoid)})


# ------------------------------------------------------------------ joining


def at_once(call, cluster: Cluster, times: int) -> None:
    """`call(page)` of each node, so many times, in as many threads."""
    threads = [
        threading.Thread(target=call, args=[node.page])
        for node in cluster.nodes
        for _ in range(times)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_any_node_answers_for_all_rooms(cluster):
    room = create(cluster.nodes[0].page, name="Anywhere")
    for node in cluster.nodes:
        player = joined(node.page, room=room["room"])
        assert player.welcome["room"] == room["room"]
        player.leave()


def test_simultaneous_creates_with_one_key_make_one_room(cluster):
    answers = []

    def make(page):
        answers.append(api(page, "POST", "/api/rooms", {"key": "the same key"}))

    at_once(make, cluster, 4)
    assert len({answer["room"] for _, answer in answers}) == 1
    assert sorted(status for status, _ in answers) == [200] * 7 + [201]


def test_of_many_racing_for_the_last_seat_one_gets_it(cluster):
    room = create(cluster.page, capacity=2)
    first = joined(cluster.page, room=room["room"])
    answers = []

    def race(page):
        answers.append(api(page, "POST", "/api/join", {"room": room["room"]})[0])

    at_once(race, cluster, 5)
    assert sorted(answers) == [200] + [409] * 9
    first.leave()


def test_a_burst_over_four_nodes_gives_every_seat_once_and_then_says_that_all_is_full():
    nodes, room_seats, seats = 4, 15, 120
    with Cluster(nodes, ROOM_PLAYERS=room_seats, MAX_PLAYERS=seats // nodes) as cluster:
        lobbies = [Lobby(node.page) for node in cluster.nodes]
        places, inside = [], []

        def join(i):
            place = lobbies[i % nodes].join(quick=True)
            places.append(place)
            connection = Connection(parse_uri(place.url))
            connection.send(wire.encode_hello(f"Guest {i}", None, ticket=place.ticket))
            wait_for(lambda: wire.WELCOME in kinds(connection), 60)
            inside.append(connection)

        def kinds(connection):
            return [wire.decode(data)[0] for data in connection.receive(time.monotonic() + 1)]

        gevent.joinall([gevent.spawn(join, i) for i in range(seats)], raise_error=True)
        assert len({place.ticket for place in places}) == len(inside) == seats
        wait_for(lambda: sum(node.health()["players"] for node in cluster.nodes) == seats)
        # One address may hold but half of a room's seats by tickets, so there are more rooms.
        wait_for(lambda: sum(room["players"] for room in cluster.rooms().values()) == seats)
        assert max(room["players"] for room in cluster.rooms().values()) <= room_seats
        for node in cluster.nodes:
            status, answer = api(node.page, "POST", "/api/join", {"quick": True})
            assert (status, answer["error"]) == (409, "full")
        for connection in inside:
            connection.close(wire.encode_leave(), wait_s=0)


def test_a_ticket_at_the_wrong_node_is_sent_on_and_still_good(cluster):
    room = create(cluster.page)
    _, place = api(cluster.page, "POST", "/api/join", {"room": room["room"]})
    other = next(node for node in cluster.nodes if node.name != place["node"])
    refused = Player(other.url, ticket=place["ticket"])
    assert refused.welcome is None and refused.code == 1012
    assert refused.notices[-1][2] == place["url"]
    admitted = Player(place["url"], ticket=place["ticket"])
    assert admitted.welcome is not None
    admitted.leave()


# ------------------------------------------------------------------ moving


def test_players_follow_a_drained_nodes_rooms_in_the_same_ships():
    with Cluster(2) as cluster:
        players = [joined(cluster.page, f"Player {i}", quick=True) for i in range(3)]
        watcher = joined(cluster.page, room=players[0].welcome["room"], watch=True)
        room = players[0].welcome["room"]
        for player in players:
            player.see()
        old = cluster.node_of(room)
        old.signal(signal.SIGHUP)
        for player in players:
            player.listen(seconds=5)
            began = time.monotonic()
            assert player.code == 1012 and player.notices[-1][:2] == [1012, "the room moves"]
            back = follow(player)
            back.see()
            mark("following a drained room, s", time.monotonic() - began, high=1.0)
            assert back.welcome["resumed"] and back.welcome["slot"] == player.welcome["slot"]
            assert back.welcome["room"] == room
            assert back.tick > player.tick
            assert back.own["score"] == player.own["score"]
        watcher.listen(seconds=2)
        assert follow(watcher, spectate=True).welcome["slot"] == 65535
        # The old node comes back with a fresh room of its own.
        old.wait_until_up()
        wait_for(lambda: len(cluster.rooms()) == 3 if old is not cluster.nodes[0] else True)
        assert cluster.other(old).health()["room_loads"][room]["tick"] > players[0].tick


def test_a_rolling_restart_under_playing_bots_loses_nobody(tmp_path):
    # Pilots steer and fire as other bots do, and look at nothing: so many that look would
    # need more of a core than there is beside two nodes, and what they measure is themselves.
    with Cluster(2, ROOM_PLAYERS=50, MAX_PLAYERS=400, EMPTY_SECONDS=600) as cluster:
        result = tmp_path / "bots.json"

        def playing():
            loads = [load for node in cluster.nodes for load in node.loads().values()]
            return sum(load["players"] - load["away"] for load in loads)

        bots = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "bench.pilots",
                "--lobby",
                cluster.page,
                "--players",
                str(PILOTS),
            ]
            + ["--seed", "1", "--json", str(result)],
            stdout=subprocess.DEVNULL,
            cwd=ROOT,
        )
        try:
            wait_for(lambda: playing() == PILOTS, 60)
            for node in reversed(cluster.nodes):  # the lobby that the bots ask is the last
                node.signal(signal.SIGHUP)
                wait_for(lambda node=node: node.starts() == 2, 30)
                node.wait_until_up()
                wait_for(lambda: playing() == PILOTS, 30)
            bots.send_signal(signal.SIGTERM)
            bots.wait(30)
        finally:
            bots.kill()
            bots.wait()
        tally = json.loads(result.read_text())
        assert tally["errors"] == 0, tally["error_messages"]
        assert tally["connected"] == PILOTS
        # The node that goes last has everyone; the first one had its share.
        assert tally["reconnects"] > PILOTS and tally["resumed"] == tally["reconnects"]
        assert tally["scores_lost"] == 0
        # It takes 250 ms on a quiet machine with two cores.
        mark("pause of a rolling restart, ms", tally["pause_ms_max"], high=1000)


# ------------------------------------------------------------------ what dies


def test_a_killed_nodes_rooms_come_back_elsewhere_from_their_last_shared_checkpoint():
    with Cluster(2) as cluster:
        room = create(cluster.page, name="Survivor")
        player = joined(cluster.page, room=room["room"])
        player.see()
        first = player.tick
        node = next(one for one in cluster.nodes if one.name == player.place["node"])
        cluster.page = cluster.other(node).page
        player.listen(seconds=4)  # a checkpoint is shared every three seconds
        node.kill()
        # The first join may still be sent to the dead node; never the second.
        _, place = api(cluster.page, "POST", "/api/join", {"quick": True})
        status, place = api(
            cluster.page, "POST", "/api/join", {"quick": True, "avoid": [node.name]}
        )
        assert status == 200 and place["node"] != node.name
        status, answer = find(cluster.page, player, avoid=[node.name])
        assert (status, answer["error"]) == (503, "away")
        wait_for(lambda: find(cluster.page, player, avoid=[node.name])[0] == 200)
        _, place = find(cluster.page, player)
        back = Player(place["url"], token=player.welcome["token"])
        back.see()
        assert back.welcome["resumed"] and back.welcome["slot"] == player.welcome["slot"]
        # No more than the time between two shared checkpoints was played in vain.
        mark("ticks lost with a node", player.tick - back.tick, high=20 * (3.0 + 1.5))
        assert back.tick > first
        wait_for(lambda: all(r["room"] != node.name for r in cluster.rooms().values()))


def test_a_node_that_was_halted_gives_up_what_others_have_by_now():
    # Its own watchdog would end a worker that was halted for longer.
    with Cluster(2, WATCHDOG_SECONDS=0) as cluster:
        room = create(cluster.page)
        player = joined(cluster.page, room=room["room"])
        node = next(one for one in cluster.nodes if one.name == player.place["node"])
        cluster.page = cluster.other(node).page
        player.listen(seconds=4)
        node.signal_all(signal.SIGSTOP)
        try:
            wait_for(
                lambda: (
                    api(cluster.page, "POST", "/api/join", {"room": room["room"]})[1].get("node")
                    == cluster.other(node).name
                )
            )
        finally:
            node.signal_all(signal.SIGCONT)
        player.listen(seconds=5)
        assert player.code == 1012
        back = follow(player)
        assert back.welcome["resumed"]
        wait_for(lambda: room["room"] not in node.health()["room_loads"])


def test_a_node_that_halts_for_less_than_its_lease_keeps_its_rooms(cluster):
    player = joined(cluster.page, quick=True)
    node = next(one for one in cluster.nodes if one.name == player.place["node"])
    node.signal_all(signal.SIGSTOP)
    time.sleep(1.0)
    node.signal_all(signal.SIGCONT)
    time.sleep(LEASE_S)
    player.see()
    assert player.code is None and player.welcome["room"] in node.health()["room_loads"]
    player.leave()


def test_without_redis_games_go_on_and_joins_say_why_they_wait():
    with Cluster(2) as cluster:
        player = joined(cluster.page, quick=True)
        cluster.redis.stop()
        status, answer = api(cluster.page, "POST", "/api/join", {"quick": True})
        assert (status, answer["error"]) == (503, "directory")
        assert "directory does not answer" in answer["message"]
        assert api(cluster.page, "POST", "/api/rooms", {"key": "some key"})[0] == 503
        wait_for(lambda: cluster.nodes[0].health()["directory"] == "does not answer")
        player.see()
        before = player.tick
        # 80 ticks take four seconds at least: longer than a lease.
        assert player.listen(lambda: player.tick - before > 80, seconds=60)
        cluster.redis.start()
        wait_for(lambda: len(cluster.rooms()) == 2)
        assert cluster.rooms()[player.welcome["room"]]["players"] == 1
        other = joined(cluster.page, quick=True)
        assert other.welcome["room"] == player.welcome["room"]
        assert player.code is None


def test_a_hanging_redis_holds_up_joins_and_no_tick(cluster):
    player = joined(cluster.page, quick=True)
    node = next(one for one in cluster.nodes if one.name == player.place["node"])
    before = node.health()
    cluster.redis.halt()
    try:
        status, answer = api(cluster.page, "POST", "/api/join", {"quick": True})
        assert (status, answer["error"]) == (503, "directory")
        player.see()
        begun = player.tick
        assert player.listen(lambda: player.tick - begun > 30, seconds=60)
    finally:
        cluster.redis.go_on()
    skipped = node.health()["stats"]["skipped_ticks"] - before["stats"]["skipped_ticks"]
    mark("ticks skipped while Redis hangs", skipped, high=0)
    assert player.code is None
    wait_for(lambda: api(cluster.page, "POST", "/api/join", {"quick": True})[0] == 200)
    player.leave()


def test_over_a_slow_way_to_redis_joins_are_slow_and_right(cluster):
    slow = Conditions(latency_ms=100)
    with Conditioner(("127.0.0.1", cluster.redis.port), slow, seed=1) as way:
        with NodeServer("far", f"redis://{way.host}:{way.port}/0") as node:
            wait_for(lambda: len(cluster.rooms()) >= 3)
            began = time.monotonic()
            player = joined(node.page, quick=True)
            assert time.monotonic() - began > 0.2, "two ways of 100 ms, there and back"
            player.see()
            player.leave()
