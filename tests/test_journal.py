"""The journal: written, read back, verified; torn, damaged, foreign; a disk that fails."""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
import time
from pathlib import Path

import msgpack
import numpy as np
import pytest

import game
from server import journal
from server.game_interface import WorldSettings
from server.journal import CHECKPOINT, HEADER, TICK, Damage, Journal, Writer

SETTINGS = WorldSettings(tick_hz=20, size=2048, players=30, orbs=60)
ROOT = Path(__file__).parent.parent


class Match:
    """A world among scripted players, with its journal, as a room drives it."""

    def __init__(self, folder: Path, seed: int = 3, world=None, sessions=(), **limits):
        self.world = world or game.create_world(SETTINGS, seed)
        self.sessions = {slot: [session, slot, name, bot] for session, slot, name, bot in sessions}
        self.random = random.Random(seed)
        self.writer = Writer()
        self.folder = folder
        header = journal.header_of("arena", SETTINGS, seed)
        self.journal = Journal(self.writer, folder, header, **limits)
        self.journal.begin(self.world, self.listed())

    def listed(self) -> list[list]:
        return list(self.sessions.values())

    def join(self, name: str) -> int:
        slot = self.world.join(name, False)
        self.sessions[slot] = [f"session-{name}", slot, name, False]
        self.journal.join(slot, name, False, f"session-{name}")
        return slot

    def leave(self, slot: int) -> None:
        self.world.leave(slot)
        del self.sessions[slot]
        self.journal.leave(slot)

    def play(self, ticks: int) -> None:
        """Players come and go, thrust, turn and fire."""
        for _ in range(ticks):
            dice = self.random.random()
            if dice < 0.2 and len(self.sessions) < 20:
                self.join(f"p{self.random.randrange(1000)}")
            elif dice < 0.25 and self.sessions:
                self.leave(self.random.choice(list(self.sessions)))
            commands = np.zeros(len(self.sessions), game.STEP_COMMAND)
            for row, slot in zip(commands, self.sessions):
                row["slot"], row["seq"] = slot, self.world.tick & 0xFFFF
                row["aim"] = self.random.randrange(1024)
                row["move"], row["buttons"] = self.random.randrange(256), self.random.randrange(8)
            self.world.step(commands)
            self.journal.record(self.world, commands, self.listed)

    def end(self) -> None:
        """As after a crash, but that everything is on disk."""
        self.writer.stop()
        self.writer.join(10)

    def flush(self) -> None:
        """Wait until the writer has nothing left to do."""
        until = time.monotonic() + 10
        while self.writer.waiting and time.monotonic() < until:
            time.sleep(0.005)
        assert not self.writer.waiting


def recorded(folder: Path, **options) -> Match:
    match = Match(folder, **options)
    match.play(130)
    match.end()
    return match


def only_segment(folder: Path) -> Path:
    (path,) = journal.segments(folder)
    return path


def rewrite(path: Path, change) -> None:
    """Change records of a segment, with frames that are right again."""
    records = [change(record) for record in journal.read(path)]
    framed = [journal.frame(journal.pack(record)) for record in records if record is not None]
    path.write_bytes(journal.MAGIC + b"".join(framed))


def expected(seed: int = 0) -> dict:
    return journal.header_of("arena", SETTINGS, seed)


# ------------------------------------------------------------------ written and read back


def test_a_segment_begins_with_a_header_and_a_checkpoint_and_has_every_tick(tmp_path):
    recorded(tmp_path, checkpoint_s=2.0)
    records = list(journal.read(only_segment(tmp_path)))
    assert [record[0] for record in records[:2]] == [HEADER, CHECKPOINT]
    assert records[0][1]["schema"] == game.checksum()
    assert [record[1] for record in records if record[0] == TICK] == list(range(1, 131))
    assert [record[1] for record in records if record[0] == CHECKPOINT] == [0, 40, 80, 120]


def test_a_recorded_match_is_the_same_again_to_the_last_checksum(tmp_path):
    recorded(tmp_path)
    report = journal.verify(tmp_path)
    assert (report.ticks, report.first, report.last, report.ok) == (130, 1, 130, True)


def test_recovery_brings_back_world_and_sessions_as_of_the_last_tick(tmp_path):
    match = recorded(tmp_path)
    back = journal.recover(tmp_path, expected())
    assert back.world.tick == 130
    assert back.world.checksum() == match.world.checksum()
    assert sorted(back.sessions) == sorted(match.listed())
    assert back.seed == 3


def test_a_recovered_match_goes_on_as_the_original_would_have(tmp_path):
    match = recorded(tmp_path)
    back = journal.recover(tmp_path, expected())
    for _ in range(50):
        for world in (match.world, back.world):
            world.step(np.zeros(0, game.STEP_COMMAND))
    assert back.world.checksum() == match.world.checksum()


def test_a_journal_that_goes_on_after_recovery_verifies_across_the_seam(tmp_path):
    recorded(tmp_path)
    back = journal.recover(tmp_path, expected())
    again = Match(tmp_path, world=back.world, sessions=back.sessions)
    again.play(40)
    again.end()
    report = journal.verify(tmp_path)
    assert (report.ticks, report.segments, report.missing) == (170, 2, 0)
    assert report.ok


def test_what_happened_after_the_last_tick_is_in_the_last_checkpoint_of_a_closed_journal(tmp_path):
    match = Match(tmp_path)
    match.play(30)
    match.leave(next(iter(match.sessions)))
    match.join("late")
    match.journal.close(match.world, match.listed())
    match.end()
    back = journal.recover(tmp_path, expected())
    assert back.world.checksum() == match.world.checksum()
    assert sorted(back.sessions) == sorted(match.listed())
    assert journal.verify(tmp_path).ok


def test_nothing_to_recover_is_no_error(tmp_path):
    assert journal.recover(tmp_path / "none", expected()) is None


def test_any_room_id_is_a_folder_of_its_own_below_the_data_folder(tmp_path):
    ids = ["arena", "a/b", "..", ".", "ä ö", "%2E", "a.lock"]
    folders = {journal.folder_of(str(tmp_path), room) for room in ids}
    assert len(folders) == len(ids)
    assert all(folder.parent == tmp_path / "rooms" for folder in folders)


def test_a_journal_belongs_to_one_process_at_a_time(tmp_path):
    first = journal.lock(tmp_path / "arena")
    assert journal.lock(tmp_path / "arena") is None
    first.close()
    assert journal.lock(tmp_path / "arena") is not None


# ------------------------------------------------------------------ rotation


def test_segments_are_rotated_and_the_oldest_deleted_when_the_journal_is_full(tmp_path):
    match = Match(tmp_path, limit_bytes=400_000, checkpoint_s=1.0)
    for _ in range(40):
        match.play(20)
        match.flush()
    match.end()
    files = journal.segments(tmp_path)
    total = sum(path.stat().st_size for path in files)
    assert len(files) > 3
    assert int(files[0].stem) > 1
    assert total < 400_000
    report = journal.verify(tmp_path)
    assert report.ok and report.missing == 0 and report.last == 800
    assert report.ticks == report.last - report.first + 1
    assert match.journal.summary()["bytes"] == total


def test_segments_older_than_the_limit_are_deleted(tmp_path):
    match = recorded(tmp_path)
    old = only_segment(tmp_path)
    long_ago = time.time() - 7200
    again = Match(tmp_path, limit_s=3600, world=match.world, sessions=match.listed())
    again.play(5)
    again.flush()
    os.utime(old, (long_ago, long_ago))
    again.journal.begin(again.world, again.listed())
    again.end()
    assert [path.stem for path in journal.segments(tmp_path)] == ["000002", "000003"]


# ------------------------------------------------------------------ damage


@pytest.mark.parametrize("cut_off", [1, 7, 8, 30])
def test_a_torn_last_record_is_recognised_and_all_before_it_used(tmp_path, cut_off):
    recorded(tmp_path)
    path = only_segment(tmp_path)
    path.write_bytes(path.read_bytes()[:-cut_off])
    report = journal.verify(tmp_path)
    assert (report.ticks, report.ok) == (129, True)
    assert [damage.torn for damage in report.damage] == [True]
    assert journal.recover(tmp_path, expected()).world.tick == 129


def test_any_flipped_byte_is_recognised_and_never_believed(tmp_path):
    recorded(tmp_path)
    path = only_segment(tmp_path)
    whole = path.read_bytes()
    good = list(journal.read(path))
    dice = random.Random(5)
    for _ in range(150):
        at = dice.randrange(len(whole))
        damaged = bytearray(whole)
        damaged[at] ^= 1 << dice.randrange(8)
        path.write_bytes(damaged)
        found = list(journal.read(path))
        assert any(isinstance(one, Damage) for one in found)
        records = [one for one in found if not isinstance(one, Damage)]
        remaining = iter(good)
        assert all(record in remaining for record in records), "a record that was never written"


def test_a_flipped_byte_costs_no_more_than_what_lies_between_two_checkpoints(tmp_path):
    match = recorded(tmp_path, checkpoint_s=2.0)
    path = only_segment(tmp_path)
    data = bytearray(path.read_bytes())
    at = len(journal.MAGIC)
    for _ in range(60):  # into the sixtieth record
        length, _ = journal.FRAME.unpack_from(data, at)
        at += journal.FRAME.size + (length & ~journal.DEFLATED)
    data[at + 20] ^= 4
    path.write_bytes(data)
    back = journal.recover(tmp_path, expected())
    assert back.world.tick == 130
    assert back.world.checksum() == match.world.checksum()
    report = journal.verify(tmp_path)
    assert not report.ok and 0 < report.missing <= 40


def test_a_last_segment_without_a_whole_checkpoint_leaves_the_one_before_to_be_used(tmp_path):
    match = recorded(tmp_path)
    (tmp_path / "000002.journal").write_bytes(journal.MAGIC + b"\x10\x00")
    assert journal.recover(tmp_path, expected()).world.checksum() == match.world.checksum()


@pytest.mark.parametrize("content", [b"", b"TICK", b"not a journal at all", bytes(5000)])
def test_what_is_no_journal_is_set_aside_and_a_fresh_room_may_open(tmp_path, content):
    folder = tmp_path / "arena"
    folder.mkdir()
    (folder / "000001.journal").write_bytes(content)
    assert journal.recover(folder, expected()) is None
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
        journal.verify(folder)
    assert journal.recover(folder, expected()) is None
    (aside,) = tmp_path.glob("arena.aside-*")
    assert key in (aside / "reason.txt").read_text()


def test_a_journal_of_another_world_size_or_seed_is_set_aside(tmp_path):
    for number, (changed, seed) in enumerate(
        [(WorldSettings(20, 3072, 30, 60), 0), (SETTINGS, 99)]
    ):
        folder = tmp_path / f"room{number}"
        recorded(folder)
        assert journal.recover(folder, journal.header_of("arena", changed, seed)) is None
        assert list(tmp_path.glob(f"room{number}.aside-*"))


# ------------------------------------------------------------------ differences


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
    assert journal.main(["verify", str(tmp_path)]) == 1
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
    assert "checkpoint of tick 80" in journal.verify(tmp_path).difference


def test_another_rule_is_found_at_the_first_tick_where_it_matters(tmp_path, monkeypatch):
    recorded(tmp_path)
    monkeypatch.setattr("game.orbs.ORB_SCORE", 11)
    report = journal.verify(tmp_path)
    assert report.difference.startswith(f"tick {report.ticks + 1}: ")
    assert report.ticks < 129


def test_recovery_stops_before_a_tick_that_cannot_be_repeated(tmp_path):
    recorded(tmp_path)

    def tamper(record):
        if record[0] == TICK and record[1] == 120:
            record[2] = [[29, "nobody", False, "x"]]  # not the lowest free slot
        return record

    rewrite(only_segment(tmp_path), tamper)
    assert journal.recover(tmp_path, expected()).world.tick == 119


# ------------------------------------------------------------------ crash loops


def test_a_journal_that_crashes_again_on_the_same_tick_is_set_aside(tmp_path):
    folder = tmp_path / "arena"
    recorded(folder)
    assert journal.recover(folder, expected()) is not None  # and the worker dies at once
    assert journal.recover(folder, expected()) is None
    (aside,) = tmp_path.glob("arena.aside-*")
    assert "tick 130" in (aside / "reason.txt").read_text()


def test_a_crash_somewhere_else_is_recovered_from_again(tmp_path):
    recorded(tmp_path)
    for tick in (130, 160, 190):
        back = journal.recover(tmp_path, expected())
        assert back.world.tick == tick
        match = Match(tmp_path, world=back.world, sessions=back.sessions)
        match.play(30)
        match.end()


def test_a_worker_killed_while_it_recovers_does_not_cost_the_match(tmp_path, monkeypatch):
    recorded(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(journal, "_replay", lambda *_: (_ for _ in ()).throw(SystemExit))
        with pytest.raises(SystemExit):
            journal.recover(tmp_path, expected())
    assert journal.recover(tmp_path, expected()).world.tick == 130


def test_a_clean_end_on_the_same_tick_is_no_crash(tmp_path):
    recorded(tmp_path)
    for _ in range(4):
        back = journal.recover(tmp_path, expected())
        assert back.world.tick == 130
        match = Match(tmp_path, world=back.world, sessions=back.sessions)
        match.journal.close(match.world, match.listed())
        match.end()


def test_only_so_many_journals_are_kept_aside(tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "MOST_ASIDE", 3)
    for number in range(5):
        folder = tmp_path / "arena"
        folder.mkdir()
        (folder / "000001.journal").write_bytes(bytes([number]))
        assert journal.recover(folder, expected()) is None
        assert not folder.exists()
    kept = {path.read_bytes() for path in tmp_path.glob("arena.aside-*/000001.journal")}
    assert kept == {b"\0", b"\1", b"\2"}


# ------------------------------------------------------------------ a disk that fails


def test_a_full_disk_makes_a_gap_that_is_counted_and_ends_with_a_new_segment(tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "RETRY_S", 1.0)
    match = Match(tmp_path)
    match.play(40)
    match.flush()
    real_write = journal._File._write

    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(journal._File, "_write", full)
    for _ in range(30):
        match.play(1)
        match.flush()
    assert match.journal.summary()["state"] == "gap"
    assert "No space" in match.journal.summary()["error"]
    monkeypatch.setattr(journal._File, "_write", real_write)
    for _ in range(60):
        match.play(1)
        match.flush()
    match.end()
    summary = match.journal.summary()
    assert (summary["state"], summary["gaps"]) == ("ok", 1)
    report = journal.verify(tmp_path)
    assert report.ok and report.last == 130
    # Each tick is there, or counted as lost, or the state at a checkpoint after the gap.
    assert report.ticks + summary["ticks_lost"] == 130
    assert report.missing == summary["ticks_lost"]
    back = journal.recover(tmp_path, expected())
    assert back.world.checksum() == match.world.checksum()


def test_a_disk_that_is_really_full_keeps_the_game_going(tmp_path):
    # A process of its own whose files may not grow: writes fail as on a full disk.
    code = """
import sys; from pathlib import Path; from tests.test_journal import Match
match = Match(Path(sys.argv[1])); match.play(400); match.end()
print(match.world.tick, match.journal.summary()["state"], match.journal.summary()["ticks_lost"])
"""

    def limit():
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))

    out = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, preexec_fn=limit, timeout=60, check=True,
    )  # fmt: skip
    tick, _, lost = out.stdout.split()
    assert tick == "400"
    report = journal.verify(tmp_path)
    assert report.ok and 0 < report.ticks < 400
    assert int(lost) > 0 or out.stderr.count("has a gap") == 1


def test_a_slow_disk_makes_a_gap_instead_of_a_growing_queue(tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "RETRY_S", 0.5)
    monkeypatch.setattr(journal, "QUEUE_BYTES", 50_000)
    match = Match(tmp_path)
    match.flush()
    real_write = journal._File._write
    monkeypatch.setattr(
        journal._File, "_write", lambda self, data: time.sleep(0.03) or real_write(self, data)
    )
    match.play(600)
    assert match.journal.summary()["state"] == "gap"
    assert match.writer.waiting < 100_000
    monkeypatch.setattr(journal._File, "_write", real_write)
    match.flush()
    for _ in range(30):
        match.play(1)
        match.flush()
    match.end()
    assert match.journal.summary()["state"] == "ok"
    report = journal.verify(tmp_path)
    assert report.ok and report.last == 630
    assert report.missing == match.journal.summary()["ticks_lost"] > 0


# ------------------------------------------------------------------ the command line


def test_info_names_ticks_joins_and_damage(tmp_path, capsys):
    recorded(tmp_path)
    path = only_segment(tmp_path)
    path.write_bytes(path.read_bytes()[:-3])
    assert journal.main(["info", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "ticks 0 to 129 (6.5 s)" in out and "room arena" in out and "cut off" in out


def test_export_prints_ticks_as_json_lines(tmp_path, capsys):
    recorded(tmp_path)
    assert journal.main(["export", str(tmp_path), "--from", "50", "--to", "60"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["tick"] for line in lines] == list(range(50, 61))
    assert lines[0]["commands"]["fields"][:2] == ["slot", "seq"]


def test_export_cuts_out_a_journal_that_stands_on_its_own(tmp_path, capsys):
    recorded(tmp_path)
    part = tmp_path / "part.journal"
    arguments = ["export", str(tmp_path), "--from", "50", "--to", "60", "--journal", str(part)]
    assert journal.main(arguments) == 0
    report = journal.verify(part)
    assert (report.first, report.last, report.ok) == (50, 60, True)


@pytest.mark.parametrize("arguments", [["verify", "none"], ["info", "none"]])
def test_a_path_that_is_not_there_is_said_plainly(tmp_path, capsys, arguments):
    assert journal.main([arguments[0], str(tmp_path / arguments[1])]) == 1
    assert "there is no journal" in capsys.readouterr().err


def test_verify_as_a_command_prints_how_many_ticks_are_the_same_again(tmp_path):
    recorded(tmp_path)
    out = subprocess.run(
        [sys.executable, "-m", "server.journal", "verify", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert out.stdout == "130 ticks verified (1 to 130) in 1 segments\n"


def test_records_are_plain_msgpack():
    record = [TICK, 5, [[1]], b"", 7, [1, 2]]
    assert msgpack.unpackb(journal.pack(record)) == record
