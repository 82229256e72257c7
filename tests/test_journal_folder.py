"""The folder of a journal: a name for any room, one owner, what is set aside."""

from __future__ import annotations

import game
from tests.recorded_match import expected
from tickstorm.records import journal
from tickstorm.records.journal import folder as folder_module


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


def test_only_so_many_journals_are_kept_aside(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_module, "MOST_ASIDE", 3)
    for number in range(5):
        folder = tmp_path / "arena"
        folder.mkdir()
        (folder / "000001.journal").write_bytes(bytes([number]))
        assert journal.recover(game, folder, expected()) is None
        assert not folder.exists()
    kept = {path.read_bytes() for path in tmp_path.glob("arena.aside-*/000001.journal")}
    assert kept == {b"\0", b"\1", b"\2"}
