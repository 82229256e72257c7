"""Records and their frames: written, read back; torn, flipped."""

from __future__ import annotations

import random

import msgpack
import pytest

import game
from tests.recorded_match import expected, only_segment, recorded
from tickstorm.records import journal
from tickstorm.records.journal import CHECKPOINT, HEADER, TICK, Damage
from tickstorm.records.journal.format import pack, skim


def test_a_segment_begins_with_a_header_and_a_checkpoint_and_has_every_tick(tmp_path):
    recorded(tmp_path, checkpoint_s=2.0)
    records = list(journal.read(only_segment(tmp_path)))
    assert [record[0] for record in records[:2]] == [HEADER, CHECKPOINT]
    assert records[0][1]["schema"] == game.checksum()
    assert [record[1] for record in records if record[0] == TICK] == list(range(1, 131))
    assert [record[1] for record in records if record[0] == CHECKPOINT] == [0, 40, 80, 120]


@pytest.mark.parametrize("cut_off", [1, 7, 8, 30])
def test_a_torn_last_record_is_recognised_and_all_before_it_used(tmp_path, cut_off):
    recorded(tmp_path)
    path = only_segment(tmp_path)
    path.write_bytes(path.read_bytes()[:-cut_off])
    report = journal.verify(game, tmp_path)
    assert (report.ticks, report.ok) == (129, True)
    assert [damage.torn for damage in report.damage] == [True]
    assert journal.recover(game, tmp_path, expected()).world.tick == 129


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
    at = [offset for offset, _, _ in skim(path)][60]
    data[at + 20] ^= 4
    path.write_bytes(data)
    back = journal.recover(game, tmp_path, expected())
    assert back.world.tick == 130
    assert back.world.checksum() == match.world.checksum()
    report = journal.verify(game, tmp_path)
    assert not report.ok and 0 < report.missing <= 40


def test_records_are_plain_msgpack():
    record = [TICK, 5, [[1]], b"", 7, [1, 2]]
    assert msgpack.unpackb(pack(record)) == record
