"""What stands in DATA_DIR may be damaged: the real server says so, and goes on or refuses."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest

from clients.bots.kept import Kept
from clients.bots.rooms import Rooms
from tests.live_server import LiveServer
from tickstorm.lobby.lobby import noted_rooms
from tickstorm.records import retention
from tickstorm.records.files import read_json


@contextlib.contextmanager
def with_files(files: dict[str, bytes], **options):
    """A server, not started yet, in whose DATA_DIR these files stand; {port} is its port."""
    live = LiveServer(**options)
    data = Path(live.environ["DATA_DIR"])
    data.mkdir(parents=True)
    data.chmod(0o777)  # started as root, the worker becomes nobody
    try:
        for name, content in files.items():
            path = data / name.format(port=live.port)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            path.chmod(0o666)
        yield live
    finally:
        live.__exit__()


def test_a_key_of_zero_bytes_is_refused_with_what_to_do():
    with with_files({"secret": b""}) as live:
        with pytest.raises(AssertionError, match="did not start"):
            live.start()
        assert "secret is no signing key: it has 0 bytes" in live.log()
        assert "Delete it" in live.log()


NOTES = [
    b"[]", b"null", b"5", b'"x"', b"[1, 2, 3]", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a": 1}',
    b'{"a": [{"capacity": "x"}, false, 0]}', b'{"a": [{"bots": -5}, false, 0]}',
    b'{"a": [{"tick_hz": 999}, false]}', b'{"a": [{"nonsense": 1}, false]}', b'{"a": [[], 1]}',
    b'{"\\ud800": [{}, false, 0]}', b'{"a": [{"game": "\\ud800"}, false, 0]}',
]  # fmt: skip


@pytest.mark.parametrize("notes", NOTES, ids=[note[:24] for note in NOTES])
def test_notes_of_open_rooms_that_are_none_are_set_aside_and_the_server_starts(tmp_path, notes):
    path = tmp_path / "rooms-1.json"
    path.write_bytes(notes)
    assert read_json(path, noted_rooms) is None
    (aside,) = tmp_path.iterdir()
    assert aside.name.startswith("rooms-1.json.damaged-") and aside.read_bytes() == notes


def test_a_server_among_damaged_files_starts_says_so_and_keeps_tidying():
    files = {
        "rooms-{port}.json": b'{"a": [{"capacity": "x"}, false, 0]}',
        "rooms-1.json": b"[1, 2, 3]",
        "bots-{port}.json": b"[1]",
        "rooms/arena/attempts.json": b"null",
        "scores.sqlite": b"not a database at all" * 100,
    }
    with with_files(files, BOTS=2, ROOM_BOTS=2, RUN_AS="root") as live:
        live.start()
        data = Path(live.environ["DATA_DIR"])
        until = time.monotonic() + 30
        while live.health()["players"] < 2 or not list(data.glob("rooms-1.json.damaged-*")):
            assert time.monotonic() < until, live.log()
            time.sleep(0.1)
        assert list(data.glob(f"rooms-{live.port}.json.damaged-*"))
        assert list(data.glob("scores.sqlite.damaged-*"))
        assert "Traceback" not in live.log(), live.log()


@pytest.mark.parametrize("content", ["[]", "null", "5", "[1]", '{"": [1]}', '{"": {"0": 1}}', "["])
def test_tokens_of_bots_that_are_none_are_no_tokens(tmp_path, content):
    path = tmp_path / "bots.json"
    path.write_text(content)
    assert Kept(path).take("", 0) is None


@pytest.mark.parametrize("content", ["[]", "null", "5", "[1]", '{"a": [1]}', '{"a": [{}, 0, []]}'])
def test_notes_of_rooms_that_are_none_want_no_bots(tmp_path, content):
    path = tmp_path / "rooms.json"
    path.write_text(content)
    rooms = Rooms(path, lambda room, bots: pytest.fail("no room wants bots"))
    rooms.match()


def test_notes_that_are_a_list_of_numbers_do_not_end_the_tidying(tmp_path):
    (tmp_path / "rooms-1.json").write_text("[1, 2, 3]")
    assert retention.tidy(tmp_path, "arena", 1 << 20, 3600, time.time()) == 0
    assert not (tmp_path / "rooms-1.json").exists()
