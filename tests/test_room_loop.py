"""The loop greenlet beside everything else in the worker."""

from __future__ import annotations

import time

import gevent

import game
from tickstorm.config import Config
from tickstorm.games.world import WorldSettings
from tickstorm.rooms.crowd_room import CrowdRoom


def test_a_room_that_is_always_late_leaves_time_for_sockets_and_timers():
    settings = WorldSettings(20, 4, {"size": 2048, "orbs": 0})
    config = Config(max_players=4)
    room = CrowdRoom("late", config, game, game.create_world(settings, 1))
    ticks, turns = [], []

    def burn() -> None:  # longer than a tick's period
        ticks.append(time.perf_counter())
        while time.perf_counter() < ticks[-1] + 0.06:
            pass

    room.tick = burn
    loop = gevent.spawn(room.run)
    while len(ticks) < 30:
        gevent.sleep(0.01)
        turns.append(len(ticks))
    loop.kill()
    # Catching up runs three ticks without a break; a starved timer would wait for dozens.
    assert max(b - a for a, b in zip(turns, turns[1:])) <= 6
