"""Nobody loses a ship or a score: SIGKILL, SIGHUP, hung loops, stops; on the real uWSGI."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import gevent
import numpy as np
import pytest

import game
from tests.live_server import LiveServer
from tests.lobby_client import Player, api, joined
from tests.marks import mark
from tests.watched import ODD_RULES, Watched, folder, kill_worker, worker
from tickstorm.records import journal


def ticks_of_return(server: LiveServer) -> list[int]:
    return [int(tick) for tick in re.findall(r"is back at tick (\d+)", server.log())]


def differences(seen: dict[tuple[int, int], dict], folder: Path) -> tuple[list, int]:
    """What clients were shown that isn't in the journal; and how much of it is."""
    wrong, same = [], 0
    by_tick: dict[int, list[tuple[int, dict]]] = {}
    for (tick, slot), own in seen.items():
        by_tick.setdefault(tick, []).append((slot, own))
    world = None
    for path in journal.segments(folder):
        for record in journal.read(path):
            assert not isinstance(record, journal.Damage), record
            if record[0] == journal.CHECKPOINT and (world is None or world.tick != record[1]):
                world = game.load_world(record[3])
            elif record[0] == journal.CHECKPOINT:
                journal.apply(world, record[5])  # who came after the last tick before a stop
            if record[0] != journal.TICK:
                continue
            journal.step(game, world, record)
            for slot, own in by_tick.get(world.tick, []):
                row = world.self_rows(np.array([slot]))[0]
                if any(row[name] != own[name] for name in own):
                    wrong.append((world.tick, slot))
                else:
                    same += 1
    return wrong, same


def test_after_sigkill_everyone_is_back_in_the_same_ship_with_the_same_score():
    with LiveServer(SETTINGS="orbs=400,size=2048") as server, Watched(server, 12) as crowd:
        gevent.sleep(4)
        slots = crowd.slots()
        seen_before = crowd.newest_tick
        kill_worker(server)
        seen_before = max(seen_before, crowd.newest_tick)
        crowd.wait_until_all_are_back()
        gevent.sleep(1)
        assert crowd.slots() == slots
        mark("players of 12 who had to reconnect after a kill", crowd.tally.reconnects, high=0)
        (back,) = ticks_of_return(server)
        assert seen_before - back <= 1
        assert server.health()["players"] == 12
        assert not crowd.tally.errors
        crowd.__exit__()
        server.stop()
        report = journal.verify(game, folder(server))
        assert report.ok and report.missing == 0
        wrong, same = differences(crowd.seen, folder(server))
        assert wrong == []
        assert same > 12 * 60
        assert any(own["score"] > 0 for own in crowd.seen.values())


def test_after_sighup_not_one_tick_is_lost_and_no_client_has_to_reconnect():
    with LiveServer(SETTINGS="orbs=400,size=2048") as server, Watched(server, 12) as crowd:
        gevent.sleep(2)
        slots = crowd.slots()
        server.signal(signal.SIGHUP)
        crowd.wait_until_all_are_back()
        assert crowd.slots() == slots and crowd.tally.reconnects == 0
        assert "and 0 ticks" in server.log()  # the last checkpoint is all that was needed
        crowd.__exit__()
        server.stop()
        report = journal.verify(game, folder(server))
        assert report.ok and report.missing == 0
        assert differences(crowd.seen, folder(server))[0] == []


def test_after_a_reload_the_servers_own_bots_are_back_in_their_ships_and_nobody_beside_them():
    with LiveServer(BOTS=6, SETTINGS="orbs=400,size=2048", GRACE_SECONDS=60) as server:

        def connected():
            stats = server.health()
            return stats["players"], stats["stats"]["connected"], stats["stats"]["count"]

        _wait(lambda: connected()[:2] == (6, 6), server)
        before = server.log().count("serves http://")
        server.signal(signal.SIGHUP)
        _wait(lambda: server.log().count("serves http://") > before, server)
        _wait(lambda: connected()[:2] == (6, 6), server)
        assert connected()[:2] == (6, 6)
        kept = Path(server.environ["DATA_DIR"]) / f"bots-{server.port}.json"
        assert not kept.exists(), "a token is used once"


def _wait(condition, server, seconds=30):
    until = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except (OSError, ValueError, KeyError):
            pass  # it is restarting
        assert time.monotonic() < until, server.log()
        time.sleep(0.1)


def test_a_score_survives_a_stop_and_a_start():
    with LiveServer(SETTINGS="orbs=600,size=2048", GRACE_SECONDS=60) as server:
        with Watched(server, 4) as crowd:
            crowd.wait(lambda: any(o["score"] for o in crowd.seen.values()), "somebody to score")
            assert server.stop() == 0
            server.start()
            crowd.wait_until_all_are_back()
            crowd.__exit__()
        server.stop()
        assert differences(crowd.seen, folder(server))[0] == []


def test_who_does_not_come_back_leaves_when_the_grace_period_since_the_restart_is_over():
    with LiveServer(GRACE_SECONDS=2) as server:
        with Watched(server, 3) as crowd:
            gevent.sleep(0.5)
            for greenlet in crowd.greenlets:
                greenlet.kill(block=False)
            kill_worker(server)
        server.wait_until_up()
        assert server.health()["players"] == 3
        until = time.monotonic() + 10
        while server.health()["players"]:
            assert time.monotonic() < until
            time.sleep(0.1)
        server.stop()
        assert journal.verify(game, folder(server)).ok


def hanging(**options) -> dict:
    """Options of a server whose world hangs from tick 60 on while Magpie, the first bot, is in."""
    # The rule leaves a mark in the test's own folder, and its code may stand below /root.
    hang = {"PYTHONPATH": ODD_RULES, "HANG_AT": 60, "HANG_WITH": "Magpie", "RUN_AS": "root"}
    return {"WATCHDOG_SECONDS": 2, **hang, **options}


def test_a_hung_loop_is_a_crash_and_the_match_goes_on(tmp_path):
    once = tmp_path / "hung"
    with LiveServer(**hanging(HANG_ONCE=once)) as server, Watched(server, 3) as crowd:
        slots, first = crowd.slots(), worker(server)
        crowd.wait(once.exists, "the rule to hang")
        crowd.wait(lambda: worker(server) != first, "the watchdog")
        crowd.wait_until_all_are_back()
        assert crowd.slots() == slots
        assert "hanging_rule" in server.log(), "where it hung is to be seen"
        (back,) = ticks_of_return(server)
        assert back >= 60
        tick = server.health()["tick"]
        gevent.sleep(0.5)
        assert server.health()["tick"] > tick


def test_a_room_that_crashes_again_on_the_same_tick_is_set_aside_and_a_fresh_one_opens():
    with LiveServer(**hanging()) as server, Watched(server, 2) as crowd:
        crowd.wait(lambda: ticks_of_return(server), "the first recovery")
        (back,) = ticks_of_return(server)
        crowd.greenlets[0].kill(block=False)  # Magpie stays away, but its ship is still there
        crowd.wait(lambda: "set aside" in server.log(), "the journal to be set aside")
        crowd.wait(lambda: crowd.bots[1].connected, "the other to join the fresh room")
        crowd.wait(lambda: server.health()["tick"] > 70, "the fresh room to get further")
        assert server.health()["players"] == 1
        (aside,) = folder(server).parent.glob("arena.aside-*")
        assert f"crashes again and again at tick {back}" in (aside / "reason.txt").read_text()
        report = journal.verify(game, aside)
        assert (report.ok, report.last) == (True, back)


def test_nothing_hangs_when_all_is_well():
    with LiveServer(WATCHDOG_SECONDS=1) as server:
        first = worker(server)
        time.sleep(4)
        assert worker(server) == first


def test_a_second_server_on_the_same_data_serves_but_keeps_no_journal():
    with LiveServer() as first, LiveServer(DATA_DIR=first.environ["DATA_DIR"]) as second:
        assert first.health()["stats"]["journal"]["state"] == "ok"
        assert second.health()["stats"]["journal"]["state"] == "off"
        assert "another process" in second.log()


def test_without_a_journal_nothing_is_written():
    with LiveServer(JOURNAL="off") as server:
        assert server.health()["stats"]["journal"] == {"state": "off"}
        assert not folder(server).exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_with_players_takes_less_than_five_seconds(number):
    with LiveServer() as server, Watched(server, 10):
        gevent.sleep(0.5)
        began = time.monotonic()
        server.signal(number)
        while server.process.poll() is None and time.monotonic() < began + 30:
            gevent.sleep(0.02)
        mark("a stop with players, s", time.monotonic() - began, high=5)
        assert server.process.poll() == 0
        assert "Traceback" not in server.log()
        assert journal.verify(game, folder(server)).ok


def test_a_second_kill_within_ticks_of_the_recovery_loses_no_match():
    with LiveServer(SETTINGS="orbs=400,size=2048", GRACE_SECONDS=60) as server:
        with Watched(server, 3) as crowd:
            gevent.sleep(1)
            for times in range(1, 4):
                kill_worker(server)
                crowd.wait(lambda n=times: len(ticks_of_return(server)) == n, "the room")
            server.wait_until_up()
            assert server.health()["players"] == 3
        assert "set aside" not in server.log()
        first, *later = ticks_of_return(server)
        assert first > 0 and all(tick >= first for tick in later)


def test_an_innocent_room_is_not_set_aside_with_one_that_crashes_again_and_again():
    with LiveServer(**hanging(GRACE_SECONDS=60)) as server:
        innocent = joined(server.page, "Ada", room=created(server.page))
        with Watched(server, 2) as crowd:
            crowd.wait(lambda: "set aside" in server.log(), "the journal to be set aside")
        crowd.wait(lambda: server.health()["rooms"] == 2, "both rooms")
        rooms = folder(server).parent
        assert [path.name.partition(".")[0] for path in rooms.glob("*.aside-*")] == ["arena"]
        back = Player(innocent.place["url"], token=innocent.welcome["token"])
        assert back.welcome["resumed"]


def created(page: str, **settings) -> str:
    """The id of a new room."""
    status, place = api(page, "POST", "/api/rooms", {"key": os.urandom(8).hex(), **settings})
    assert status == 201, place
    return place["room"]
