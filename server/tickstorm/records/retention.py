"""What becomes of the journals of rooms that have closed or moved away.

They can be watched and examined for as long as an open room's segments are kept, and all of
them together take no more than one open room's journal may: the oldest go first. Journals set
aside after crashes are evidence: they count, but don't age. What a server would open at its
next start stays.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from . import journal
from .files import encodable, read_json

log = logging.getLogger("tickstorm.retention")

TIDY_S = 60.0
"""Time between two looks at them."""

DELETED = "deleted"
"""The folder in DATA_DIR from which they are deleted, when nobody can open them any more."""


class _Closed(NamedTuple):
    written: float  # time.time() of the last write
    size: int
    folder: Path


def doomed(
    data_dir: Path, kept: set[str], limit_bytes: int, limit_s: float, now: float
) -> list[Path]:
    """The folders of journals that have to go, the oldest first. `kept`: names of folders."""
    found = []
    for folder in (data_dir / "rooms").glob("*/"):
        if folder.name not in kept and _free(folder):
            stats = [path.stat() for path in (folder, *folder.iterdir())]
            newest = max(stat.st_mtime for stat in stats)
            found.append(_Closed(newest, sum(stat.st_size for stat in stats[1:]), folder))
    found.sort()
    total = sum(one.size for one in found)
    gone = []
    for written, size, folder in found:
        old = now - written > limit_s and not _aside(folder)
        if old or total > limit_bytes:
            gone.append(folder)
            total -= size
    return gone


def _aside(folder: Path) -> bool:
    return ".aside-" in folder.name


def _free(folder: Path) -> bool:
    """Does no process write this journal?"""
    if _aside(folder):  # nobody ever opens it, and it has no lock
        return True
    lock = journal.lock(folder)
    if lock is not None:
        lock.close()
    return lock is not None


def noted(data_dir: Path) -> set[str]:
    """Folders of rooms that some server on this DATA_DIR has open, or would open again."""
    rooms: set[str] = set()
    for notes in data_dir.glob("rooms-*.json"):
        rooms.update(read_json(notes, _ids) or ())
    return {journal.folder_of(str(data_dir), room).name for room in rooms}


def _ids(noted: object) -> list[str]:
    """The rooms in a server's notes. Raises ValueError for anything else."""
    if not isinstance(noted, dict) or not all(map(encodable, noted)):
        raise ValueError("no map of rooms")
    return list(noted)


def tidy(
    data_dir: Path,
    always: str,
    limit_bytes: int,
    limit_s: float,
    now: float,
    in_thread: Callable = lambda call, arguments: call(*arguments),
) -> int:
    """Delete what has to go; returns how many journals. `always` is the room that is never
    forgotten. `in_thread(call, arguments)` runs what may take long; the rest is done at once, so
    that no room of this process can be opened in its midst."""
    kept = {always, *noted(data_dir)}
    folders = in_thread(doomed, (data_dir, kept, limit_bytes, limit_s, now))
    for folder in folders:
        take_away(folder, data_dir / DELETED)
    in_thread(shutil.rmtree, (data_dir / DELETED, True))
    if folders:
        log.info("%d journals of closed rooms are deleted", len(folders))
    return len(folders)


def take_away(folder: Path, to: Path) -> None:
    """Move a closed journal to where nobody opens it, unless somebody has opened it by now."""
    lock = journal.lock(folder)
    if lock is None:
        return
    try:
        to.mkdir(exist_ok=True)
        folder.rename(to / os.urandom(8).hex())
        folder.with_name(f"{folder.name}.lock").unlink()
    except OSError as error:
        log.error("the journal %s can't be deleted: %s", folder, error)
    finally:
        lock.close()
