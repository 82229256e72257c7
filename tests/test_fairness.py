"""Rooms in one worker share it: a slow one is slow for itself. A real server with a slow rule."""

from __future__ import annotations

import time

import pytest

from tests.cluster import wait_for
from tests.live_server import LiveServer
from tests.lobby_client import api, joined
from tests.marks import STRICT, mark
from tests.watched import ODD_RULES

SLOW_MS = 100  # twice as long as there is time between two ticks
WATCHED_S = 4.0 if STRICT else 1.5


@pytest.fixture
def server():
    rule = {"PYTHONPATH": ODD_RULES, "SLOW_SIZE": 2048, "SLOW_MS": SLOW_MS, "RUN_AS": "root"}
    with LiveServer(ROOMS_PER_MINUTE=0, **rule) as live:
        yield live


def open_room(server, number, **settings):
    """A public room of its own, with a player in it."""
    key = f"room number {number}"
    status, room = api(server.page, "POST", "/api/rooms", {"key": key, "public": True, **settings})
    assert status == 201, room
    joined(server.page, room=room["room"])
    return room["room"]


def pace(server):
    """Ticks per second of each room, and of which ticks had to be given up, over a while."""
    before, began = server.health()["room_loads"], time.monotonic()
    time.sleep(WATCHED_S)
    after, took = server.health()["room_loads"], time.monotonic() - began
    return {
        room: (
            (load["tick"] - before[room]["tick"]) / took,
            load["skipped_ticks"] - before[room]["skipped_ticks"],
        )
        for room, load in after.items()
    }


def test_a_slow_room_takes_no_ticks_from_another_and_its_load_is_to_be_seen(server):
    fine = open_room(server, 1)
    alone, _ = pace(server)[fine]
    slow = open_room(server, 2, settings={"size": 2048})
    wait_for(lambda: server.health()["room_loads"][slow]["share"] < 1)
    paces = pace(server)
    with_slow, given_up = paces[fine]
    # Each of its ticks may be late by one of the other's; there are as many.
    mark("pace beside a slow room", with_slow / alone, low=0.95)
    assert with_slow > 1.2 * paces[slow][0], "only the slow one is slow"
    mark("ticks given up beside a slow room", given_up, high=0.05 * alone * WATCHED_S)
    loads = server.health()["room_loads"]
    assert loads[slow]["share"] < 1 and loads[slow]["skipped_ticks"] > 0
    wait_for(lambda: server.health()["room_loads"][slow]["shedding"] != "none", 30)


def test_two_slow_rooms_get_equal_parts_of_what_a_third_leaves_them(server):
    fine = open_room(server, 1)
    slow = [open_room(server, i, settings={"size": 2048}) for i in (2, 3)]
    wait_for(lambda: all(server.health()["room_loads"][room]["share"] <= 0.5 for room in slow))
    paces = pace(server)
    first, second = (paces[room][0] for room in slow)
    mark("pace of two slow rooms, one to the other", first / second, 0.75, 1.34)
    assert 0.25 < first / second < 4
    # Together they have nearly the whole process: fairness wastes no time.
    mark("share of the process that slow rooms use", (first + second) * SLOW_MS / 1e3, low=0.7)
    mark("pace beside two slow rooms, ticks/s", paces[fine][0], low=0.6 * 20)
    assert paces[fine][0] > first and paces[fine][0] > second
