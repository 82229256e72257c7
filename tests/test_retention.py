"""Journals of closed rooms: kept for a while, within limits, and never those still needed."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from tests.cluster import wait_for
from tests.live_server import LiveServer
from tests.lobby_client import api, joined
from tickstorm.records import journal, retention
from tickstorm.records.journal.folder import SUFFIX

HOUR = 3600


@pytest.fixture
def rooms(tmp_path):
    """Makes journals: `rooms(name, megabytes, hours)`, last written so many hours ago."""

    def make(name, megabytes=1.0, hours=1.0):
        folder = tmp_path / "rooms" / name
        folder.mkdir(parents=True)
        segment = folder / f"000001{SUFFIX}"
        segment.write_bytes(bytes(int(megabytes * (1 << 20))))
        for path in (segment, folder):
            os.utime(path, (time.time() - hours * HOUR,) * 2)
        return folder

    return make


def tidy(path, megabytes=10, hours=24):
    """What is left of the rooms."""
    retention.tidy(path, "arena", megabytes << 20, hours * HOUR, time.time())
    assert not (path / retention.DELETED).exists()
    return {folder.name for folder in (path / "rooms").glob("*/")}


def test_old_ones_are_deleted_with_their_locks_and_young_ones_stay(rooms, tmp_path):
    rooms("OLD", hours=25), rooms("YOUNG", hours=23)
    assert tidy(tmp_path) == {"YOUNG"}
    assert [path.name for path in (tmp_path / "rooms").glob("OLD*")] == []


def test_beyond_the_limit_the_oldest_go_first(rooms, tmp_path):
    for i in range(5):
        rooms(f"ROOM{i}", megabytes=3, hours=i + 1)
    assert tidy(tmp_path) == {"ROOM0", "ROOM1", "ROOM2"}


def test_what_is_open_stays_whatever_its_age(rooms, tmp_path):
    folder = rooms("OPEN", megabytes=20, hours=100)
    lock = journal.lock(folder)
    assert tidy(tmp_path) == {"OPEN"}
    lock.close()
    assert tidy(tmp_path) == set()


def test_what_a_stopped_server_would_open_again_stays(rooms, tmp_path):
    rooms("arena", hours=100), rooms("NOTED", hours=100), rooms("ALSO%2EONE", hours=100)
    rooms("FORGOTTEN", hours=100)
    (tmp_path / "rooms-8000.json").write_text(json.dumps({"NOTED": [{}, False, 0]}))
    (tmp_path / "rooms-8001.json").write_text(json.dumps({"ALSO.ONE": [{}, False, 0]}))
    (tmp_path / "rooms-8002.json").write_text("damaged")
    assert tidy(tmp_path) == {"arena", "NOTED", "ALSO%2EONE"}


def test_evidence_of_crashes_does_not_age_but_counts(rooms, tmp_path):
    rooms("ROOM.aside-20260101T000000-abcd", megabytes=4, hours=1000)
    rooms("YOUNG", megabytes=4, hours=1)
    assert len(tidy(tmp_path)) == 2
    assert not list(tmp_path.glob("rooms/*aside*.lock"))
    rooms("NEXT", megabytes=4, hours=0.5)
    assert tidy(tmp_path) == {"YOUNG", "NEXT"}


def test_a_lock_that_was_deleted_under_ones_hands_is_taken_anew(rooms, tmp_path):
    folder = rooms("ROOM", hours=100)
    tidy(tmp_path)
    first = journal.lock(folder)
    assert first is not None and journal.lock(folder) is None
    first.close()


def test_nothing_to_delete_is_no_error(tmp_path):
    assert retention.tidy(tmp_path, "arena", 1, 1.0, time.time()) == 0


def test_the_server_keeps_the_journal_of_a_closed_room_and_deletes_it_when_it_is_old():
    with LiveServer(EMPTY_SECONDS=1) as server:
        room = api(server.page, "POST", "/api/rooms", {"key": "to be closed"})[1]["room"]
        joined(server.page, room=room).leave()
        folders = Path(server.environ["DATA_DIR"]) / "rooms"
        wait_for(lambda: server.health()["rooms"] == 1)
        server.stop()
        assert {folder.name for folder in folders.glob("*/")} == {"arena", room}
        for path in (*(folders / room).iterdir(), folders / room):
            os.utime(path, (time.time() - 25 * HOUR,) * 2)
        server.start()
        wait_for(lambda: not list(folders.glob(f"{room}*")))
        assert (folders / "arena").exists()
