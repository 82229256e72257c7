"""What the game loop hands over gets on the disk: rotation, caps, a full or slow disk."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import game
from tests.recorded_match import Match, expected, only_segment, recorded
from tickstorm.records import journal
from tickstorm.records.journal import recording, writer

ROOT = Path(__file__).parent.parent


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
    report = journal.verify(game, tmp_path)
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


def test_a_full_disk_makes_a_gap_that_is_counted_and_ends_with_a_new_segment(tmp_path, monkeypatch):
    monkeypatch.setattr(recording, "RETRY_S", 1.0)
    match = Match(tmp_path)
    match.play(40)
    match.flush()
    real_write = writer.SegmentFile.write

    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer.SegmentFile, "write", full)
    for _ in range(30):
        match.play(1)
        match.flush()
    assert match.journal.summary()["state"] == "gap"
    assert "No space" in match.journal.summary()["error"]
    monkeypatch.setattr(writer.SegmentFile, "write", real_write)
    for _ in range(60):
        match.play(1)
        match.flush()
    match.end()
    summary = match.journal.summary()
    assert (summary["state"], summary["gaps"]) == ("ok", 1)
    report = journal.verify(game, tmp_path)
    assert report.ok and report.last == 130
    # Each tick is there, or counted as lost, or the state at a checkpoint after the gap.
    assert report.ticks + summary["ticks_lost"] == 130
    assert report.missing == summary["ticks_lost"]
    back = journal.recover(game, tmp_path, expected())
    assert back.world.checksum() == match.world.checksum()


def test_a_disk_that_is_really_full_keeps_the_game_going(tmp_path):
    # A process of its own whose files may not grow: writes fail as on a full disk.
    code = """
import sys; from pathlib import Path; from tests.recorded_match import Match
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
    report = journal.verify(game, tmp_path)
    assert report.ok and 0 < report.ticks < 400
    assert int(lost) > 0 or out.stderr.count("has a gap") == 1


def test_a_slow_disk_makes_a_gap_instead_of_a_growing_queue(tmp_path, monkeypatch):
    monkeypatch.setattr(recording, "RETRY_S", 0.5)
    monkeypatch.setattr(writer, "QUEUE_BYTES", 50_000)
    match = Match(tmp_path)
    match.flush()
    real_write = writer.SegmentFile.write
    monkeypatch.setattr(
        writer.SegmentFile, "write", lambda self, data: time.sleep(0.03) or real_write(self, data)
    )
    match.play(600)
    assert match.journal.summary()["state"] == "gap"
    assert match.writer.waiting < 100_000
    monkeypatch.setattr(writer.SegmentFile, "write", real_write)
    match.flush()
    for _ in range(30):
        match.play(1)
        match.flush()
    match.end()
    assert match.journal.summary()["state"] == "ok"
    report = journal.verify(game, tmp_path)
    assert report.ok and report.last == 630
    assert report.missing == match.journal.summary()["ticks_lost"] > 0
