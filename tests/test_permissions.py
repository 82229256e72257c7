"""Files in DATA_DIR that the worker may not read: it says which, and goes on or refuses."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import wait_for
from tests.live_server import LiveServer
from tests.lobby_client import Player, api, joined

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can take files from others")


@pytest.fixture(scope="module")
def played():
    """A stopped server in whose DATA_DIR all that can be there is."""
    live = LiveServer(GAMES="game,examples/tag/tag.py", BOTS=2, CHECKPOINT_SECONDS=1)
    live.start()
    try:
        api(live.page, "POST", "/api/rooms", {"key": "some room", "game": "tag"})
        ada = joined(live.page, "Ada", room="arena")
        wait_for(lambda: live.health()["players"] >= 3)
        ada.see()
        Player.drop_all()
        live.stop()
        yield live
    finally:
        Player.drop_all()
        live.__exit__()


def files(live: LiveServer) -> list[Path]:
    return sorted(path for path in Path(live.environ["DATA_DIR"]).rglob("*") if path.is_file())


@contextlib.contextmanager
def taken(*paths: Path) -> Iterator[None]:
    """Root's alone for a while, and not even its."""
    before = [path.stat() for path in paths]
    for path in paths:
        os.chown(path, 0, 0)
        path.chmod(0)
    yield
    for path, stat in zip(paths, before):
        if path.exists():
            os.chown(path, stat.st_uid, stat.st_gid)
            path.chmod(stat.st_mode)


SHARED = ("objects", "small")
"""Journals of many rooms."""


@pytest.mark.parametrize("name", ["secret", "objects/000001.journal", "small/000001.journal"])
def test_what_must_not_be_lost_is_refused_by_name(played, name):
    path = Path(played.environ["DATA_DIR"]) / name
    before = len(played.log())
    with taken(path), pytest.raises(AssertionError, match="did not start"):
        played.start()
    said = played.log()[before:]
    assert "Permission denied" in said and str(path) in said and "Traceback" not in said


def test_without_what_else_it_kept_a_server_starts_and_says_so(played):
    lost = [path for path in files(played) if path.suffix != ".lock"]
    lost = [path for path in lost if path.name != "secret" and path.parent.name not in SHARED]
    assert {path.parent.name for path in lost} >= {"arena", "data"}
    before = len(played.log())
    with taken(*lost):
        played.start()
        joined(played.page, "Ada", room="arena").see()
        status, _ = api(played.page, "POST", "/api/rooms", {"key": "another room", "game": "tag"})
        said = played.log()[before:]
    assert status == 201 and "Traceback" not in said, said
    for name in ("scores", "arena", f"bots-{played.port}.json"):
        assert name in said, f"{name} is not named in {said}"
