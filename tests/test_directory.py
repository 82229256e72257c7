"""Both directories answer alike; and what only a shared one has to do: leases, moves, outages."""

from __future__ import annotations

import time
from dataclasses import replace

import gevent
import pytest

from tests.marks import mark
from tests.redis_server import RedisServer
from tickstorm.lobby import directory as module
from tickstorm.lobby.directory import (
    MemoryDirectory,
    NodeReport,
    RedisDirectory,
    Refused,
    RoomInfo,
    RoomReport,
    Unavailable,
)
from tickstorm.lobby.settings import RoomSettings


@pytest.fixture(scope="module")
def redis():
    with RedisServer() as server:
        yield server


@pytest.fixture(params=["memory", "redis"])
def directory(request):
    if request.param == "memory":
        return MemoryDirectory()
    return request.getfixturevalue("shared")


@pytest.fixture
def shared(redis):
    redis.client().flushall()
    return RedisDirectory(redis.url)


def room(capacity=2, public=True, game=""):
    return RoomInfo(RoomSettings(capacity=capacity, public=public, game=game))


def node(name="a", *rooms, seats=10, room_limit=5, **more):
    return NodeReport(name, f"/{name}/ws", seats, room_limit, rooms=list(rooms), **more)


def refusal(call, *arguments, **more):
    with pytest.raises(Refused) as caught:
        call(*arguments, **more)
    return caught.value.code


# ------------------------------------------------------------------ what both do


def test_a_room_is_where_its_node_says(directory):
    directory.beat(node("a", RoomReport("arena", room(), players=1)))
    place = directory.find("arena")
    assert (place.node, place.url, place.players) == ("a", "/a/ws", 1)
    assert [place.room for place in directory.rooms()] == ["arena"]


def test_private_rooms_are_not_listed_but_found(directory):
    directory.beat(node("a", RoomReport("secret", room(public=False))))
    assert directory.rooms() == []
    assert directory.find("secret").room == "secret"


def test_a_held_seat_counts_at_once(directory):
    directory.beat(node("a", RoomReport("arena", room(capacity=2), players=1)))
    directory.reserve("arena", "t1", False)
    assert refusal(directory.reserve, "arena", "t2", False) == "full"
    directory.reserve("arena", "t3", True)  # to watch takes no seat


def test_a_used_ticket_keeps_its_seat_until_the_player_is_counted(directory):
    directory.beat(node("a", RoomReport("arena", room(capacity=1))))
    directory.reserve("arena", "t1", False)
    directory.redeem("a", "arena", "t1")
    assert directory.find("arena").players == 1
    report = RoomReport("arena", room(capacity=1), players=1, arrived=["t1"])
    orders = directory.beat(node("a", report))
    assert orders.reserved == {"arena": 0}
    assert directory.find("arena").players == 1


def test_a_ticket_can_be_used_once(directory):
    directory.beat(node("a", RoomReport("arena", room())))
    directory.reserve("arena", "t1", False)
    info, watch = directory.redeem("a", "arena", "t1")
    assert info.settings == room().settings and not watch
    assert refusal(directory.redeem, "a", "arena", "t1") == "ticket"


def test_a_ticket_is_for_one_room(directory):
    rooms = [RoomReport("one", room()), RoomReport("two", room())]
    directory.beat(node("a", *rooms))
    directory.reserve("one", "t1", False)
    assert refusal(directory.redeem, "a", "two", "t1") == "ticket"


def test_a_ticket_expires_and_its_seat_is_free_again(directory, monkeypatch):
    monkeypatch.setattr(module, "TICKET_S", 0.05)
    directory.beat(node("a", RoomReport("arena", room(capacity=1))))
    directory.reserve("arena", "t1", False)
    time.sleep(0.1)
    assert refusal(directory.redeem, "a", "arena", "t1") == "ticket"
    directory.reserve("arena", "t2", False)


def test_quick_play_fills_the_fullest_public_room_that_has_space(directory):
    rooms = [
        RoomReport("full", room(capacity=3), players=3),
        RoomReport("fuller", room(capacity=3), players=2),
        RoomReport("empty", room(capacity=3), players=0),
        RoomReport("hidden", room(capacity=9, public=False), players=2),
    ]
    directory.beat(node("a", *rooms, seats=100))
    chosen = [directory.quick(f"t{i}", False, f"new{i}", room(3)).room for i in range(5)]
    assert chosen == ["fuller", "empty", "empty", "empty", "new4"]


def test_quick_play_stays_in_rooms_of_the_game_that_is_wanted(directory):
    rooms = [
        RoomReport("one", room(capacity=9, game="chess"), players=1),
        RoomReport("other", room(capacity=9, game="tag"), players=2),
    ]
    directory.beat(node("a", *rooms, seats=100))
    chosen = [
        directory.quick(f"t{game}", False, f"new {game}", room(game=game)).room
        for game in ("chess", "tag", "go")
    ]
    assert chosen == ["one", "other", "new go"]
    assert directory.find("new go").info.settings.game == "go"


def test_quick_play_ends_where_the_node_has_no_more_seats(directory):
    directory.beat(node("a", RoomReport("arena", room(capacity=9), players=2), seats=3))
    directory.quick("t1", False, "new", room())
    assert refusal(directory.quick, "t2", False, "new", room()) == "full"


def test_two_creates_with_one_key_make_one_room(directory):
    directory.beat(node("a"))
    first = directory.create("key", "one", room())
    second = directory.create("key", "two", room())
    assert (first.room, first.created) == ("one", True)
    assert (second.room, second.created) == ("one", False)
    assert refusal(directory.find, "two") == "no_room"


def test_no_room_is_created_beyond_the_nodes_limit(directory):
    directory.beat(node("a", room_limit=1))
    directory.create("key 1", "one", room())
    assert refusal(directory.create, "key 2", "two", room()) == "no_node"


def test_a_room_that_nobody_came_to_is_forgotten(directory, monkeypatch):
    monkeypatch.setattr(module, "PENDING_S", 0.05)
    directory.beat(node("a"))
    directory.create("key", "one", room())
    time.sleep(0.1)
    assert refusal(directory.reserve, "one", "t1", False) == "no_room"


def test_a_closed_room_admits_nobody_and_its_node_is_told(directory):
    directory.beat(node("a", RoomReport("arena", room())))
    directory.close("arena")
    assert refusal(directory.reserve, "arena", "t1", False) == "no_room"
    assert directory.beat(node("a", RoomReport("arena", room()))).close == ["arena"]
    directory.beat(node("a", closed=["arena"]))
    assert refusal(directory.find, "arena") == "no_room"
    assert refusal(directory.close, "arena") == "no_room"


def test_a_room_that_nobody_came_to_can_be_closed(directory):
    directory.beat(node("a"))
    directory.create("key", "one", room())
    directory.close("one")
    assert refusal(directory.reserve, "one", "t1", False) == "no_room"
    assert refusal(directory.find, "one") == "no_room"


# ------------------------------------------------------------------ what only a shared one does


def test_new_rooms_go_to_the_least_loaded_node(shared):
    shared.beat(node("a", RoomReport("arena", room(capacity=9), players=5)))
    shared.beat(node("b", RoomReport("other", room(capacity=9), players=1)))
    assert shared.create("key", "one", room()).node == "b"


def test_a_draining_node_gets_no_new_rooms_and_no_quick_players(shared):
    shared.beat(node("a", RoomReport("arena", room(capacity=9), players=5), draining=True))
    shared.beat(node("b"))
    place = shared.quick("t1", False, "new", room())
    assert (place.room, place.node) == ("new", "b")


def test_whoever_did_not_reach_a_node_is_sent_elsewhere(shared):
    shared.beat(node("a", RoomReport("arena", room(capacity=9), players=5)))
    shared.beat(node("b"))
    assert shared.quick("t1", False, "new", room()).node == "a"
    assert shared.quick("t2", False, "new", room(), avoid=["a"]).node == "b"
    assert refusal(shared.reserve, "arena", "t3", False, avoid=["a"]) == "away"


def test_a_silent_node_and_its_rooms_vanish(shared, monkeypatch):
    monkeypatch.setattr(module, "LEASE_S", 0.3)
    shared.beat(node("a", RoomReport("arena", room())))
    deadline = time.monotonic() + 1.0
    while time.monotonic() < deadline:  # longer than the directory's patience at its start
        shared.beat(node("b"))
        time.sleep(0.05)
    assert refusal(shared.find, "arena") == "no_room"


def test_a_shared_room_of_a_silent_node_goes_to_another(shared, monkeypatch):
    monkeypatch.setattr(module, "LEASE_S", 0.3)
    shared.beat(node("a", RoomReport("arena", room(), players=1)))
    shared.save("a", "arena", b"state")
    opened = []
    deadline = time.monotonic() + 3.0
    while not opened and time.monotonic() < deadline:
        opened = shared.beat(node("b")).open
        time.sleep(0.05)
    assert opened == ["arena"]
    info, state = shared.fetch("b", "arena")
    assert info.settings == room().settings and state == b"state"
    # The old node was only halted: it learns that the room is no longer its own.
    assert shared.beat(node("a", RoomReport("arena", room(), players=1))).lost == ["arena"]
    assert refusal(shared.save, "a", "arena", b"old") == "elsewhere"
    assert refusal(shared.redeem, "a", "arena", "t") == "elsewhere"


def test_nobody_is_dead_when_it_was_redis_that_was_away(shared, monkeypatch):
    monkeypatch.setattr(module, "LEASE_S", 0.4)
    shared.beat(node("a", RoomReport("arena", room())))
    shared.beat(node("b"))
    time.sleep(0.8)  # no beat of anybody came through
    shared.beat(node("b"))
    assert shared.find("arena").node == "a"
    assert shared.beat(node("a", RoomReport("arena", room()))).lost == []


def test_a_room_is_handed_over_with_its_state(shared):
    shared.beat(node("a", RoomReport("arena", room(capacity=9), players=3)))
    assert refusal(shared.hand_over, "a", "arena", b"state") == "no_node"
    shared.beat(node("b"))
    place = shared.hand_over("a", "arena", b"state")
    assert (place.node, place.url) == ("b", "/b/ws")
    assert shared.fetch("b", "arena")[1] == b"state"
    assert shared.beat(node("b")).open == ["arena"]
    assert refusal(shared.hand_over, "a", "arena", b"again") == "elsewhere"


def test_what_a_leaving_node_has_shared_goes_to_others(shared):
    shared.beat(node("a", RoomReport("kept", room()), RoomReport("lost", room())))
    shared.beat(node("b"))
    shared.save("a", "kept", b"state")
    shared.leave("a")
    assert shared.find("kept").node == "b"
    assert refusal(shared.find, "lost") == "no_room"


def test_the_best_of_all_time(shared):
    shared.score({"Ada": 5, "Bob": 7})
    shared.score({"Ada": 9, "Bob": 1})
    assert shared.top(10) == [("Ada", 9), ("Bob", 7)]


def test_many_racing_for_few_seats_get_exactly_those(shared):
    shared.beat(node("a", RoomReport("arena", room(capacity=7)), seats=100))
    outcomes = []

    def race(i):
        try:
            outcomes.append(shared.reserve("arena", f"t{i}", False).room)
        except Refused as refused:
            outcomes.append(refused.code)

    gevent.joinall([gevent.spawn(race, i) for i in range(40)], raise_error=True)
    assert outcomes.count("arena") == 7 and outcomes.count("full") == 33


def test_two_thousand_quick_joins_over_four_nodes_fill_every_seat_once(shared):
    nodes = [node(name, seats=500, room_limit=10) for name in "abcd"]
    for report in nodes:
        shared.beat(report)
    placed = []

    def join(i):
        placed.append(shared.quick(f"t{i}", False, f"new{i}", room(capacity=50)))

    began = time.monotonic()
    gevent.joinall([gevent.spawn(join, i) for i in range(2000)], raise_error=True)
    mark("a directory call without Redis, s", time.monotonic() - began, high=20)
    by_room = {}
    for place in placed:
        by_room[place.room] = by_room.get(place.room, 0) + 1
    assert sorted(by_room.values()) == [50] * 40
    assert refusal(shared.quick, "one more", False, "new", room()) == "full"


def test_an_outage_is_said_and_over_when_redis_is_back(monkeypatch):
    monkeypatch.setattr(module, "REST_S", 0.1)
    with RedisServer() as server:
        shared = RedisDirectory(server.url)
        report = node("a", RoomReport("arena", room(), players=1))
        shared.beat(report)
        server.stop()
        with pytest.raises(Unavailable):
            shared.find("arena")
        with pytest.raises(Unavailable):
            shared.beat(report)
        server.start()  # empty
        shared.beat(replace(report, closed=[]))
        assert shared.find("arena").players == 1


def test_a_hanging_redis_does_not_hold_up_other_greenlets():
    with RedisServer() as server:
        shared = RedisDirectory(server.url)
        shared.beat(node("a"))
        server.halt()
        call = gevent.spawn(shared.find, "arena")
        began = time.monotonic()
        for _ in range(10):
            gevent.sleep(0.02)
        mark("a directory call that is refused, s", time.monotonic() - began, high=0.5)
        server.go_on()
        with pytest.raises(Refused):
            call.get(timeout=5)


# ------------------------------------------------------------------ what one address may hold


def test_one_address_holds_half_of_a_rooms_seats_by_tickets_and_others_get_the_rest(directory):
    directory.beat(node("a", RoomReport("arena", room(capacity=8)), seats=1000))
    for i in range(4):
        directory.reserve("arena", f"aaaa.{i}", False)
    assert refusal(directory.reserve, "arena", "aaaa.4", False) == "many"
    assert refusal(directory.reserve, "arena", "aaaa.4", True) == "many"
    for i in range(4):
        directory.reserve("arena", f"bbbb.{i}", False)


def test_quick_play_goes_on_to_another_room_where_one_address_has_its_share(directory):
    rooms = [RoomReport(name, room(capacity=4)) for name in ("one", "two")]
    directory.beat(node("a", *rooms, seats=1000))
    places = [directory.quick(f"aaaa.{i}", False, "spare", room()).room for i in range(4)]
    assert places == ["one", "one", "two", "two"]


def test_one_address_holds_only_so_many_tickets_in_all_rooms_to_watch_too(directory):
    directory.beat(node("a", RoomReport("arena", room(capacity=900)), seats=1000))
    for i in range(module.TICKETS_PER_ADDRESS):
        directory.reserve("arena", f"aaaa.{i}", i % 2 == 0)
    assert refusal(directory.reserve, "arena", "aaaa.x", True) == "many"
    assert refusal(directory.quick, "aaaa.x", False, "spare", room(900)) == "many"
    directory.redeem("a", "arena", "aaaa.0")
    directory.reserve("arena", "aaaa.x", True)  # a used ticket is not held any more


def test_tickets_that_run_out_are_given_back_to_their_address(directory, monkeypatch):
    monkeypatch.setattr(module, "TICKET_S", 0.2)
    directory.beat(node("a", RoomReport("arena", room(capacity=4))))
    for _ in range(3):
        for i in range(2):
            directory.reserve("arena", f"aaaa.{time.monotonic_ns()}{i}", False)
        assert refusal(directory.reserve, "arena", "aaaa.x", False) == "many"
        time.sleep(0.25)
    assert directory.find("arena").players in (0, 2)  # swept with the next request
    directory.beat(node("a", RoomReport("arena", room(capacity=4))))
    assert directory.find("arena").players == 0


def test_sweeping_costs_nothing_while_nothing_runs_out():
    directory = MemoryDirectory()
    directory.beat(node("a", RoomReport("arena", room(capacity=100_000)), seats=100_000))

    def seconds(count):
        began = time.perf_counter()
        for i in range(count):
            directory.reserve("arena", f"{time.perf_counter_ns()}{i}", i % 2 == 0)
        return time.perf_counter() - began

    seconds(2000)
    few = min(seconds(2000) for _ in range(3))
    seconds(40_000)
    many = min(seconds(2000) for _ in range(3))
    assert many < 4 * few  # with sweeping of all it was 20 times


# ------------------------------------------------------------------ what is an outage


def test_a_command_that_fails_is_no_outage_and_stops_nobody_else(shared, redis):
    shared.beat(node("a", RoomReport("arena", room())))
    kept = redis.client().dump("{tickstorm}:info")
    redis.client().set("{tickstorm}:info", "no table")
    with pytest.raises(module.Failed):
        shared.find("arena")
    redis.client().restore("{tickstorm}:info", 0, kept, replace=True)
    assert shared.find("arena").room == "arena"


def test_a_damaged_room_in_the_directory_is_left_out_and_the_others_are_listed(shared, redis):
    shared.beat(node("a", RoomReport("arena", room()), RoomReport("other", room())))
    redis.client().hset("{tickstorm}:info", "other", '{"settings": {"capacity": "x"}}')
    assert [place.room for place in shared.rooms()] == ["arena"]
    with pytest.raises(module.Failed):
        shared.find("other")
