"""Who did what: one JSON line for each act, in DATA_DIR/audit.log, and the last ones in memory.

It is only ever added to. Rotate it as any other log (`copytruncate`, or by moving it away).
"""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Callable
from pathlib import Path
from time import time
from typing import Any

log = logging.getLogger("tickstorm.audit")

SHOWN = 200
"""Acts that the page shows, the newest ones."""

READ_BYTES = 1 << 17
"""So much of the file's end is read for them at the start."""


class Audit:
    """`write(line)` is for the file; an act that can't be written is not done."""

    def __init__(self, path: Path, wall: Callable[[], float] = time):
        self.path = path
        self._wall = wall
        self._last: deque[dict[str, Any]] = deque(self._read(), maxlen=SHOWN)

    def note(self, address: str, role: str, act: str, about: dict[str, Any]) -> None:
        """Before the act is done. Raises OSError if it can't be written."""
        row = {"at": round(self._wall(), 3), "from": address, "role": role, "act": act,
               "about": about}  # fmt: skip
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        self._last.append(row)
        log.info("admin %s from %s: %s %s", role, address, act, json.dumps(about),
                 extra={"room": about.get("room"), "player": about.get("player")})  # fmt: skip

    def rows(self) -> list[dict[str, Any]]:
        """The newest first."""
        return list(reversed(self._last))

    def _read(self) -> list[dict[str, Any]]:
        try:
            with self.path.open("rb") as file:
                file.seek(0, 2)
                file.seek(max(0, file.tell() - READ_BYTES))
                lines = file.read().decode("utf-8", "replace").splitlines()
        except OSError:
            return []
        rows = []
        for line in lines[-SHOWN:]:
            try:
                row = json.loads(line)
            except ValueError:
                continue  # the first may be cut, the last half written
            if isinstance(row, dict):
                rows.append(row)
        return rows
