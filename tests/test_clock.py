"""The clock jumps under a real server: by libfaketime, for the server's processes alone."""

from __future__ import annotations

from pathlib import Path

import pytest

import game
from tests.cluster import wait_for
from tests.live_server import LiveServer
from tests.lobby_client import Player, joined
from tickstorm.records import journal

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)

pytestmark = pytest.mark.skipif(
    LIBRARY is None, reason="no libfaketime here (Debian: apt install faketime)"
)


def go_on(server: LiveServer, player: Player) -> None:
    """Ticks come, the player is still in, and others can join."""
    tick = server.health()["tick"]
    wait_for(lambda: server.health()["tick"] > tick + 20)
    player.see()
    assert player.code is None
    newcomer = joined(server.page, "Bob", room="arena")
    newcomer.see()
    newcomer.leave()


def test_hours_that_pass_at_once_end_nothing(tmp_path):
    """A machine sleeps: its clock and the time of day are hours further, and sessions go on."""
    jump = tmp_path / "jump"
    jump.write_text("+0")
    for folder in (jump, *list(jump.parents)[:-2]):
        folder.chmod(folder.stat().st_mode | 0o055)  # nobody reads it, too
    faked = {"LD_PRELOAD": LIBRARY, "FAKETIME_TIMESTAMP_FILE": jump, "FAKETIME_NO_CACHE": 1,
             "FAKETIME_DISABLE_SHM": 1, "WATCHDOG_SECONDS": 0}  # fmt: skip
    with LiveServer(**faked) as server:
        ada = joined(server.page, "Ada", room="arena")
        go_on(server, ada)
        for far in ("+1h", "+30h"):
            jump.write_text(far)
            go_on(server, ada)
        Player.drop_all()
        assert "Traceback" not in server.log()
        assert server.stop() == 0
        assert journal.verify(game, journal.folder_of(server.environ["DATA_DIR"], "arena")).ok
