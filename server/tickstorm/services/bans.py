"""Who may not come in for a while: addresses and players, kept over restarts.

One file in DATA_DIR holds them; each worker of a machine looks whether another has changed it.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from time import localtime, monotonic, strftime, time
from typing import Any

from ..records.files import read_json

log = logging.getLogger("tickstorm.bans")

MOST = 10_000
"""Bans at once; beyond that, those that end first are forgotten."""

LOOK_S = 1.0
"""How often it is looked whether another process has changed the file."""


@dataclass(frozen=True)
class Ban:
    """`kind`: "address" or "player"; `who`: the address (of IPv6, the /64), or the id of a player
    (of an object room) or a session (of a crowd); `until`: Unix time."""

    kind: str
    who: str
    until: float
    reason: str = ""
    by: str = ""


class Bans:
    """
    >>> import tempfile
    >>> now = [1000.0]
    >>> bans = Bans(Path(tempfile.mkdtemp()) / "bans.json", wall=lambda: now[0])
    >>> bans.add(Ban("address", "192.0.2.7", 1060.0, "spam"))
    >>> bans.why("address", "192.0.2.7").startswith("banned until")
    True
    >>> now[0] = 1061.0
    >>> bans.why("address", "192.0.2.7")
    ''
    """

    def __init__(
        self,
        path: Path,
        wall: Callable[[], float] = time,
        clock: Callable[[], float] = monotonic,
    ):
        self._path, self._wall, self._clock = path, wall, clock
        self._bans: dict[tuple[str, str], Ban] = {}
        self._looked_at = -LOOK_S
        self._stamp: tuple[int, int] = (0, 0)

    def add(self, ban: Ban) -> None:
        """Raises OSError if it can't be kept; then it isn't in force either."""
        self._read()
        kept = {**self._bans, (ban.kind, ban.who): ban}
        kept = {key: old for key, old in kept.items() if old.until > self._wall()}
        if len(kept) > MOST:
            latest = sorted(kept.values(), key=lambda old: old.until)[-MOST:]
            kept = {(old.kind, old.who): old for old in latest}
        self._write(kept)

    def lift(self, kind: str, who: str) -> bool:
        """End a ban before its time; False if there is none. Raises OSError."""
        self._read()
        if (kind, who) not in self._bans:
            return False
        self._write({key: ban for key, ban in self._bans.items() if key != (kind, who)})
        return True

    def why(self, kind: str, who: str) -> str:
        """What to tell somebody who is banned; "" for everybody else."""
        self._look()
        ban = self._bans.get((kind, who))
        if ban is None or ban.until <= self._wall():
            return ""
        until = strftime("%Y-%m-%d %H:%M", localtime(ban.until))
        return f"banned until {until}" + (f": {ban.reason}" if ban.reason else "")

    def rows(self) -> list[Ban]:
        """Those in force; what ends first stands first."""
        self._look()
        now = self._wall()
        return sorted((b for b in self._bans.values() if b.until > now), key=lambda b: b.until)

    # ------------------------------------------------------------------ the file

    def _look(self) -> None:
        now = self._clock()
        if now - self._looked_at >= LOOK_S:
            self._looked_at = now
            self._read()

    def _read(self) -> None:
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            self._bans, self._stamp = {}, (0, 0)
            return
        except OSError as error:
            log.error("bans can't be read: %s; those known stay in force", error)
            return
        if (stat.st_mtime_ns, stat.st_ino) != self._stamp:
            self._stamp = stat.st_mtime_ns, stat.st_ino
            found = read_json(self._path, _bans)
            if found is not None:
                self._bans = {(ban.kind, ban.who): ban for ban in found}

    def _write(self, bans: dict[tuple[str, str], Ban]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_name(f"{self._path.name}.{os.getpid()}.new")
        fresh.write_text(json.dumps([asdict(ban) for ban in bans.values()]))
        fresh.replace(self._path)
        self._bans = bans


def _bans(data: Any) -> list[Ban]:
    """Raises TypeError or ValueError for anything else."""
    found = [Ban(**row) for row in data]
    for ban in found:
        if not isinstance(ban.until, int | float) or not isinstance(ban.reason, str):
            raise ValueError(f"a ban that is none: {ban!r:.100}")
    return found
