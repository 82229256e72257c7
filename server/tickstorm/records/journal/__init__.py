"""The journal of a room: what went into its world, tick by tick, and what came out.

One mechanism with four uses: a room comes back after a crash or a deploy (`recover`),
a match can be watched again (`records/replay.py`), a difference between two builds is found
at its first tick (`verify`), and a bug can be carried elsewhere (`export`).

A journal is a folder of *segments*. A segment is a file that needs no other: it begins
with a header and a checkpoint, then come the ticks, with a checkpoint every few seconds.

Read in this order:

* `format.py`: records and the frames around them, to bytes and back;
* `folder.py`: where a room's journal is, who has it, how it is set aside;
* `recording.py`: the game loop's side, which packs records and never waits;
* `writer.py`: the thread's side: writing, syncing, rotation, a disk that fails;
* `shared.py`: one journal for all small rooms of a process;
* `playback.py`, `recovery.py`: from records back to a world, and to a room;
* `verification.py`, `export.py`, `__main__.py`: looking into a journal.

    tickstorm journal verify PATH    re-simulate and compare
    tickstorm journal info PATH      what there is
    tickstorm journal export PATH …  some ticks, as JSON or a journal
"""

from .folder import SUFFIX, folder_of, lock, segments
from .format import (
    CHECKPOINT,
    HEADER,
    SILENT,
    TICK,
    Damage,
    JournalError,
    check,
    header_of,
    read,
)
from .playback import apply, follow, step
from .recording import Journal
from .recovery import recover
from .verification import verify
from .writer import Writer

__all__ = [
    "CHECKPOINT",
    "HEADER",
    "SILENT",
    "SUFFIX",
    "TICK",
    "Damage",
    "Journal",
    "JournalError",
    "Writer",
    "apply",
    "check",
    "folder_of",
    "follow",
    "header_of",
    "lock",
    "read",
    "recover",
    "segments",
    "step",
    "verify",
]
