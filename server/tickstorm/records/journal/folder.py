"""The folder of a room's journal: where it is, what is in it, who has it.

Beside the segments there is a note of how often the room died while it was brought back, or in
its first tick after that, so that a journal that crashes the server again and again is set aside.
"""

from __future__ import annotations

import fcntl
import glob
import json
import logging
import os
import shutil
import time
from pathlib import Path
from typing import IO
from urllib.parse import quote

from ..files import read_json

log = logging.getLogger("tickstorm.journal")

SUFFIX = ".journal"

MOST_ASIDE = 20
"""Journals of a room that are kept aside. The first are the most telling: when there are
so many, a further one is deleted instead."""

ATTEMPTS_FILE = "attempts.json"


def folder_of(data_dir: str, room: str) -> Path:
    """Where the journal of a room is. Any room id is a safe name."""
    return Path(data_dir) / "rooms" / quote(room, safe="").replace(".", "%2E")


def segments(path: Path) -> list[Path]:
    """The segments of a journal, oldest first; a segment is a journal of one."""
    if not path.is_dir():
        return [path] if path.exists() else []
    return sorted(file for file in path.glob(f"*{SUFFIX}") if file.stem.isdigit())


def lock(folder: Path) -> IO | None:
    """Claim the journal in `folder` for this process; None if another one has it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    path = folder.with_name(folder.name + ".lock")
    while True:
        file = path.open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        # Whoever deleted a journal (retention.py) may have taken this very file away meanwhile.
        try:
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except FileNotFoundError:
            pass
        file.close()


def set_aside(folder: Path, reason: str) -> None:
    """Move a journal out of the way, for examination."""
    aside = f"{folder.name}.aside-"
    if len(list(folder.parent.glob(f"{glob.escape(aside)}*"))) >= MOST_ASIDE:
        shutil.rmtree(folder)
        log.error("the journal of %s is deleted, for %d are set aside already: %s",
                  folder.name, MOST_ASIDE, reason)  # fmt: skip
        return
    target = folder.with_name(f"{aside}{time.strftime('%Y%m%dT%H%M%S')}-{os.urandom(2).hex()}")
    folder.rename(target)
    try:
        (target / "reason.txt").write_text(reason + "\n")
    except OSError:
        pass  # it is in the log
    log.error("the journal of %s is set aside as %s: %s", folder.name, target, reason)


def attempts(folder: Path, tick: int) -> int:
    """How often the room died while it came back at this very tick, or in its first tick after
    that, which may be on record already. Where it got further, none of it counts."""
    noted = read_json(folder / ATTEMPTS_FILE, _attempts)
    before, count = noted or (tick, 0)
    return count if 0 <= tick - before <= 1 else 0


def _attempts(noted: object) -> tuple[int, int]:
    """Raises ValueError unless that is what `note_attempts` writes."""
    if not isinstance(noted, list) or [type(part) for part in noted] != [int, int]:
        raise ValueError("not a tick and a count")
    return noted[0], noted[1]


def note_attempts(folder: Path, tick: int, count: int) -> None:
    """Note that the room, back at `tick`, does for the `count`th time what may kill it."""
    try:
        (folder / ATTEMPTS_FILE).write_text(json.dumps([tick, count]))
    except OSError as error:  # a full disk is no reason to give up a match
        log.warning("journal: attempts of %s can't be noted: %s", folder.name, error)


def clear_attempts(folder: Path) -> None:
    """The room got further, or came to an end of its own: whatever was tried is no crash."""
    try:
        (folder / ATTEMPTS_FILE).unlink(missing_ok=True)
    except OSError as error:
        log.warning("journal: attempts of %s can't be cleared: %s", folder.name, error)
