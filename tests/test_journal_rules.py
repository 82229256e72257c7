"""`tickstorm journal debug` stops in a rule of the past, `check` runs edited rules through it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.object_server import write_game
from tests.recorded_match import Match
from tests.recorded_rooms import DUEL, recorded_duel
from tickstorm.cli import main
from tickstorm.games import catalogue


@pytest.fixture(scope="module")
def duel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("duel")
    rules = write_game(folder, DUEL, "duel.py")
    return rules, recorded_duel(catalogue.load(str(rules)).first.game, folder / "1.journal")


@pytest.fixture
def journal(capsys):
    """The command, in this process: its exit code, and what it printed."""

    def run(*arguments: object) -> tuple[int, str]:
        code = main(["journal", *map(str, arguments)])
        said = capsys.readouterr()
        return code, said.out + said.err

    return run


def debugged(*arguments: object, said: str) -> subprocess.CompletedProcess:
    """What somebody sees who types `said` at the prompt."""
    command = [sys.executable, "-m", "tickstorm", "journal", "debug", *map(str, arguments)]
    return subprocess.run(command, input=said, capture_output=True, text=True, timeout=60)


def edited(duel, tmp_path, before: str, after: str):
    source = duel[0].read_text()
    assert before in source
    path = tmp_path / "duel.py"
    path.write_text(source.replace(before, after))
    return path


def test_a_debugger_stops_in_the_rule_at_that_tick(duel, journal):
    rules, file = duel
    said = "p self.tick, player.name, whom, hard\nn\nn\nn\nn\np other.hp\nq\n"
    done = debugged(file, "--tick", 51, "--games", rules, said=said)
    out = done.stdout
    assert done.returncode == 0, done.stderr
    assert "tick 51: hit Bob {'whom': 'Ada', 'hard': 9}" in out
    assert "duel.py(" in out and "(rule) (51, 'Bob', 'Ada', 9)" in out
    assert "(rule) 12" in out  # of 21, after `other.hp -= hard`
    code, out = journal("debug", file, "--tick", 500, "--games", rules)
    assert code == 1 and "tick 500 is not on record; ticks 1 to 100 are" in out


def test_it_stops_in_a_crowds_rules_too(tmp_path, journal):
    match = Match(tmp_path / "arena")
    match.play(30)
    match.end()
    said = "p self.tick\nq\n"
    done = debugged(tmp_path / "arena", "--tick", 20, "--games", "game", said=said)
    assert done.returncode == 0, done.stderr
    assert "game/world.py(" in done.stdout and "(rule) 19" in done.stdout
    code, out = journal("check", tmp_path / "arena", "--games", "game")
    assert code == 0 and "30 ticks verified" in out


def test_the_same_rules_differ_nowhere(duel, journal):
    rules, file = duel
    assert journal("check", file, "--games", rules) == (
        0, "room room: 100 ticks, and nothing differs\n",
    )  # fmt: skip


def test_edited_rules_are_told_by_the_first_tick_and_what_they_write_in_it(duel, tmp_path, journal):
    path = edited(duel, tmp_path, "other.hp -= hard", "other.hp -= hard + (self.tick > 40)")
    code, out = journal("check", duel[1], "--games", path)
    lines = out.splitlines()
    assert code == 1
    assert lines[0] == "room room: 50 ticks were the same; tick 51 is the first that differs"
    assert "  Ada.hp: 21 became 11" in lines


def test_with_the_rules_of_then_the_very_field_is_named(duel, tmp_path, journal):
    path = edited(duel, tmp_path, "player.rage += 0.5", "player.rage += 0.5 + (self.tick == 77)")
    assert journal("check", duel[1], "--games", path)[0] == 0  # the journal never sees `rage`
    code, out = journal("check", duel[1], "--games", path, "--was", duel[0])
    assert code == 1
    assert out.splitlines() == [
        "room room: 76 ticks were the same; tick 77 is the first that differs",
        "  Ada.rage: 38.5 became 39.5",
        "  Bob.rage: 38.5 became 39.5",
    ]


def test_what_only_the_new_rules_have_is_no_difference(duel, tmp_path, journal):
    path = edited(
        duel, tmp_path, "    rage: float = 0.0", "    rage: float = 0.0\n    xp: int = synced(0)"
    )
    code, out = journal("check", duel[1], "--games", path, "--was", duel[0])
    assert (code, out) == (0, "room room: 100 ticks, and nothing differs\n")


def test_a_rule_that_fails_and_another_event_are_differences_too(duel, tmp_path, journal):
    path = edited(duel, tmp_path, "other.hp -= hard", "other.hp -= hard / (self.tick - 52)")
    code, out = journal("check", duel[1], "--games", path, "--was", duel[0])
    assert code == 1 and "tick 30 is the first" in out
    path = edited(duel, tmp_path, '"boom", self.tick', '"bang", self.tick')
    code, out = journal("check", duel[1], "--games", path, "--was", duel[0])
    assert code == 1 and "tick 21 is the first" in out and "  sent boom became bang" in out
    code, out = journal("check", duel[1], "--games", "examples/tag/tag.py")
    assert code == 1 and "no room of 'tag' is in it" in out
