"""A room comes back: to the last tick, across damage, other builds and crash loops."""

from __future__ import annotations

import numpy as np
import pytest

import game
from tests.recorded_match import SETTINGS, Match, expected, only_segment, recorded, rewrite
from tickstorm.games.world import WorldSettings
from tickstorm.records import journal
from tickstorm.records.journal import HEADER, TICK, recovery
from tickstorm.records.journal.format import MAGIC


def test_recovery_brings_back_world_and_sessions_as_of_the_last_tick(tmp_path):
    match = recorded(tmp_path)
    back = journal.recover(game, tmp_path, expected())
    assert back.world.tick == 130
    assert back.world.checksum() == match.world.checksum()
    assert sorted(back.sessions) == sorted(match.listed())
    assert back.seed == 3


def test_a_recovered_match_goes_on_as_the_original_would_have(tmp_path):
    match = recorded(tmp_path)
    back = journal.recover(game, tmp_path, expected())
    for _ in range(50):
        for world in (match.world, back.world):
            world.step(np.zeros(0, game.STEP_COMMAND))
    assert back.world.checksum() == match.world.checksum()


def test_a_journal_that_goes_on_after_recovery_verifies_across_the_seam(tmp_path):
    recorded(tmp_path)
    back = journal.recover(game, tmp_path, expected())
    again = Match(tmp_path, world=back.world, sessions=back.sessions)
    again.play(40)
    again.end()
    report = journal.verify(game, tmp_path)
    assert (report.ticks, report.segments, report.missing) == (170, 2, 0)
    assert report.ok


def test_what_happened_after_the_last_tick_is_in_the_last_checkpoint_of_a_closed_journal(tmp_path):
    match = Match(tmp_path)
    match.play(30)
    match.leave(next(iter(match.sessions)))
    match.join("late")
    match.close()
    match.end()
    back = journal.recover(game, tmp_path, expected())
    assert back.world.checksum() == match.world.checksum()
    assert sorted(back.sessions) == sorted(match.listed())
    assert journal.verify(game, tmp_path).ok


def test_nothing_to_recover_is_no_error(tmp_path):
    assert journal.recover(game, tmp_path / "none", expected()) is None


def test_a_last_segment_without_a_whole_checkpoint_leaves_the_one_before_to_be_used(tmp_path):
    match = recorded(tmp_path)
    (tmp_path / "000002.journal").write_bytes(MAGIC + b"\x10\x00")
    assert journal.recover(game, tmp_path, expected()).world.checksum() == match.world.checksum()


@pytest.mark.parametrize("content", [b"", b"TICK", b"not a journal at all", bytes(5000)])
def test_what_is_no_journal_is_set_aside_and_a_fresh_room_may_open(tmp_path, content):
    folder = tmp_path / "arena"
    folder.mkdir()
    (folder / "000001.journal").write_bytes(content)
    assert journal.recover(game, folder, expected()) is None
    assert not folder.exists()
    (aside,) = tmp_path.glob("arena.aside-*")
    assert (aside / "000001.journal").read_bytes() == content
    assert "checkpoint" in (aside / "reason.txt").read_text()


@pytest.mark.parametrize("key", ["schema", "format"])
def test_a_journal_of_another_build_is_set_aside_with_the_reason(tmp_path, key):
    folder = tmp_path / "arena"
    recorded(folder)
    rewrite(
        only_segment(folder),
        lambda r: [HEADER, {**r[1], key: r[1][key] + 1}] if r[0] == HEADER else r,
    )
    with pytest.raises(journal.JournalError, match=key):
        journal.verify(game, folder)
    assert journal.recover(game, folder, expected()) is None
    (aside,) = tmp_path.glob("arena.aside-*")
    assert key in (aside / "reason.txt").read_text()


def test_a_journal_of_another_world_size_or_seed_is_set_aside(tmp_path):
    for number, (changed, seed) in enumerate(
        [(WorldSettings(20, 30, {"size": 3072, "orbs": 60}), 0), (SETTINGS, 99)]
    ):
        folder = tmp_path / f"room{number}"
        recorded(folder)
        assert (
            journal.recover(game, folder, journal.header_of(game, "arena", changed, seed)) is None
        )
        assert list(tmp_path.glob(f"room{number}.aside-*"))


def test_recovery_stops_before_a_tick_that_cannot_be_repeated(tmp_path):
    recorded(tmp_path)

    def tamper(record):
        if record[0] == TICK and record[1] == 120:
            record[2] = [[29, "nobody", False, "x"]]  # not the lowest free slot
        return record

    rewrite(only_segment(tmp_path), tamper)
    assert journal.recover(game, tmp_path, expected()).world.tick == 119


def first_tick(folder, back) -> Match:
    """A room that is back begins its first tick."""
    match = Match(folder, world=back.world, sessions=back.sessions)
    match.journal.tick_begins(back.world.tick + 1)
    return match


def test_a_journal_that_crashes_again_in_the_same_tick_is_set_aside(tmp_path):
    folder = tmp_path / "arena"
    recorded(folder)
    for _ in range(2):
        first_tick(folder, journal.recover(game, folder, expected())).end()  # and the worker dies
    assert journal.recover(game, folder, expected()) is None
    (aside,) = tmp_path.glob("arena.aside-*")
    assert "tick 130" in (aside / "reason.txt").read_text()


def test_a_room_that_crashes_after_the_record_of_each_first_tick_is_set_aside_too(tmp_path):
    folder = tmp_path / "arena"
    recorded(folder)
    for _ in range(2):
        match = first_tick(folder, journal.recover(game, folder, expected()))
        match.play(1)
        match.end()
    assert journal.recover(game, folder, expected()) is None


def test_kills_within_ticks_of_each_recovery_do_not_cost_the_match(tmp_path):
    recorded(tmp_path)
    for tick in (130, 132, 134, 136):
        back = journal.recover(game, tmp_path, expected())
        assert back.world.tick == tick
        match = first_tick(tmp_path, back)
        match.play(1)
        match.journal.tick_ends()
        match.play(1)
        match.end()  # without a word, as a kill does


def test_a_room_that_waits_for_its_turn_while_another_crashes_is_innocent(tmp_path):
    recorded(tmp_path)
    for _ in range(6):  # it is brought back, and the worker dies of the other before it ticks
        assert journal.recover(game, tmp_path, expected()).world.tick == 130


@pytest.mark.parametrize("content", ["[]", "null", "5", "{}", '["a", 1]', "[1, 2, 3]", "[" * 9999])
def test_a_note_of_attempts_that_is_none_does_not_cost_a_good_journal(tmp_path, content):
    folder = tmp_path / "arena"
    recorded(folder)
    (folder / "attempts.json").write_text(content)
    assert journal.recover(game, folder, expected()).world.tick == 130
    assert list(folder.glob("attempts.json.damaged-*"))


def test_a_crash_somewhere_else_is_recovered_from_again(tmp_path):
    recorded(tmp_path)
    for tick in (130, 160, 190):
        back = journal.recover(game, tmp_path, expected())
        assert back.world.tick == tick
        match = Match(tmp_path, world=back.world, sessions=back.sessions)
        match.play(30)
        match.end()


def test_a_worker_killed_while_it_recovers_does_not_cost_the_match(tmp_path, monkeypatch):
    recorded(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(recovery, "repeat", lambda *_: (_ for _ in ()).throw(SystemExit))
        with pytest.raises(SystemExit):
            journal.recover(game, tmp_path, expected())
    assert journal.recover(game, tmp_path, expected()).world.tick == 130


def test_a_clean_end_on_the_same_tick_is_no_crash(tmp_path):
    recorded(tmp_path)
    for _ in range(4):
        back = journal.recover(game, tmp_path, expected())
        assert back.world.tick == 130
        match = Match(tmp_path, world=back.world, sessions=back.sessions)
        match.close()
        match.end()
