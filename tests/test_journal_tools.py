"""Looking into a journal: `verify` finds differences, `info` and `export` show what there is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import game
from tests.recorded_match import only_segment, recorded, rewrite
from tickstorm.records import journal
from tickstorm.records.journal import CHECKPOINT, TICK
from tickstorm.records.journal.__main__ import main

ROOT = Path(__file__).parent.parent

GAMES = ("--games", "game")


def test_a_recorded_match_is_the_same_again_to_the_last_checksum(tmp_path):
    recorded(tmp_path)
    report = journal.verify(game, tmp_path)
    assert (report.ticks, report.first, report.last, report.ok) == (130, 1, 130, True)


def test_a_changed_command_is_found_at_its_tick_with_the_columns_that_differ(tmp_path, capsys):
    recorded(tmp_path)

    def tamper(record):
        if record[0] == TICK and record[1] == 77:
            commands = np.frombuffer(record[3], game.STEP_COMMAND).copy()
            commands["buttons"] = 1
            commands["move"] += 64
            record[3] = commands.tobytes()
        return record

    rewrite(only_segment(tmp_path), tamper)
    assert main(["verify", str(tmp_path), *GAMES]) == 1
    out = capsys.readouterr().out
    assert "76 ticks verified" in out
    assert "first difference: tick 77:" in out
    assert "ship.x" in out and "ship.y" in out and "orb.x" not in out


def test_hidden_state_that_differs_is_found_too(tmp_path):
    recorded(tmp_path, checkpoint_s=2.0)

    def tamper(record):
        if record[0] == CHECKPOINT and record[1] == 80:
            record[3]["shots_refused"] += 1
            record[2] += 1
        return record

    rewrite(only_segment(tmp_path), tamper)
    assert "checkpoint of tick 80" in journal.verify(game, tmp_path).difference


def test_another_rule_is_found_at_the_first_tick_where_it_matters(tmp_path, monkeypatch):
    recorded(tmp_path)
    monkeypatch.setattr("game.orbs.ORB_SCORE", 11)
    report = journal.verify(game, tmp_path)
    assert report.difference.startswith(f"tick {report.ticks + 1}: ")
    assert report.ticks < 129


def test_info_names_ticks_joins_and_damage(tmp_path, capsys):
    recorded(tmp_path)
    path = only_segment(tmp_path)
    path.write_bytes(path.read_bytes()[:-3])
    assert main(["info", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "ticks 0 to 129 (6.5 s)" in out and "room arena" in out and "cut off" in out


def test_export_prints_ticks_as_json_lines(tmp_path, capsys):
    recorded(tmp_path)
    assert main(["export", str(tmp_path), *GAMES, "--from", "50", "--to", "60"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["tick"] for line in lines] == list(range(50, 61))
    assert lines[0]["commands"]["fields"][:2] == ["slot", "seq"]


def test_export_cuts_out_a_journal_that_stands_on_its_own(tmp_path, capsys):
    recorded(tmp_path)
    part = tmp_path / "part.journal"
    arguments = [
        "export",
        str(tmp_path),
        *GAMES,
        "--from",
        "50",
        "--to",
        "60",
        "--journal",
        str(part),
    ]
    assert main(arguments) == 0
    report = journal.verify(game, part)
    assert (report.first, report.last, report.ok) == (50, 60, True)


@pytest.mark.parametrize("arguments", [["verify", "none"], ["info", "none"]])
def test_a_path_that_is_not_there_is_said_plainly(tmp_path, capsys, arguments):
    assert main([arguments[0], str(tmp_path / arguments[1])]) == 1
    assert "there is no journal" in capsys.readouterr().err


def test_verify_as_a_command_prints_how_many_ticks_are_the_same_again(tmp_path):
    recorded(tmp_path)
    out = subprocess.run(
        [sys.executable, "-m", "tickstorm.records.journal", "verify", str(tmp_path), *GAMES],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert out.stdout == "130 ticks verified (1 to 130) in 1 segments\n"
