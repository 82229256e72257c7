"""`tickstorm journal` for rooms of objects."""

from __future__ import annotations

import json

import pytest

from tests.object_server import ObjectServer, wait_for
from tickstorm.records import ledger
from tickstorm.records.journal.__main__ import main

DICE = """
from pathlib import Path

class Dice(Room):
    tick_hz = 20
    rolled: list = synced([])

    @message
    def roll(self, player, path: str):
        self.rolled.append(self.random.randint(1, 6))
        self.fetch(count, path, then="counted")

    def counted(self, result, error):
        self.rolled.append([result, error])

def count(path):
    calls = Path(path).read_text() + "x"
    Path(path).write_text(calls)
    return len(calls)
"""


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """A server, and a room in which dice were rolled and something was fetched."""
    folder = tmp_path_factory.mktemp("dice")
    with ObjectServer(folder, DICE, CHECKPOINT_SECONDS=1) as server:
        calls = server.data / "calls"
        calls.write_text("")
        calls.chmod(0o666)
        ada = server.new_room()
        for n in range(3):
            ada.send("roll", str(calls))
            ada.wait_for(lambda n=n: len(ada.state["rolled"]) == 2 * n + 2)
        ada.update(1.5)
        ada.leave()
        wait_for(lambda: server.verify(ada.id) > 20)
        yield server, ada.id, list(ada.state["rolled"])


def look(server, capsys, command: str, *more: str) -> tuple[int, str, str]:
    games = [] if command == "list" else ["--games", str(server.rules)]
    code = main([command, str(server.data / "objects"), *games, *more])
    return code, *capsys.readouterr()


def test_list_shows_every_room(played, capsys):
    server, room, _ = played
    code, out, _ = look(server, capsys, "list")
    assert code == 0 and f"room {room} of dice: ticks 0 to " in out and "1 joins" in out


def test_verify_runs_a_room_again_and_calls_no_function_again(played, capsys):
    server, room, rolled = played
    assert [row[0] for row in rolled[1::2]] == [1, 2, 3]
    code, out, _ = look(server, capsys, "verify", "--room", room)
    assert code == 0 and f"room {room}: " in out and "ticks verified" in out
    assert "have changed" not in out
    assert (server.data / "calls").read_text() == "xxx"


def test_export_prints_what_came_in(played, capsys):
    server, room, _ = played
    code, out, _ = look(server, capsys, "export", "--room", room, "--from", "1", "--to", "9999")
    events = [event for line in out.splitlines() for event in json.loads(line)["events"]]
    assert code == 0 and events[0][0] == "join"
    assert [event[2] for event in events if event[0] == "result"] == [1, 2, 3]


def test_an_exported_journal_verifies_by_itself(played, capsys, tmp_path):
    server, room, _ = played
    file = tmp_path / "000001.journal"
    code, _, _ = look(server, capsys, "export", "--room", room, "--from", "10", "--to", "25",
                      "--journal", str(file))  # fmt: skip
    assert code == 0
    assert main(["verify", str(file), "--games", str(server.rules)]) == 0
    assert "16 ticks verified (10 to 25)" in capsys.readouterr().out


def test_a_changed_byte_of_chance_is_found(played, capsys):
    server, room, _ = played
    changed = server.rules.read_text().replace("randint(1, 6)", "randint(7, 9)")
    server.rules.write_text(changed)
    try:
        same, difference = ledger.verify(server.game(), server.data / "objects", room)
        assert "another patch" in difference
        code, out, _ = look(server, capsys, "verify", "--room", room)
        assert code == 1 and "rules have changed since: see `tickstorm journal check`" in out
    finally:
        server.rules.write_text(changed.replace("randint(7, 9)", "randint(1, 6)"))


def test_what_is_missing_is_named(played, capsys):
    server, room, _ = played
    code, _, err = look(server, capsys, "verify", "--room", "nowhere")
    assert code == 1 and room in err
    code, _, err = look(server, capsys, "export", "--from", "1", "--to", "2")
    assert code == 1 and "--room" in err
