"""Bots for the rooms of a server that asked for some.

The server notes its open rooms in a file (see `Lobby` in `tickstorm.lobby.lobby`); whoever runs
beside it, as the attached bots do, can see from it which rooms want how many bots.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import gevent


class Crowd(Protocol):
    """Bots in one room."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


class Rooms:
    """A crowd in each room that is noted in the file `notes` and wants bots.

    `crowd_for(room, bots)` makes one, not started yet.
    """

    def __init__(self, notes: Path, crowd_for: Callable[[str, int], Crowd]) -> None:
        self._notes = notes
        self._crowd_for = crowd_for
        self._crowds: dict[str, Crowd] = {}

    def match(self) -> None:
        """Start what is missing, end what nobody wants any more."""
        wanted = self._wanted()
        for room in wanted.keys() - self._crowds.keys():
            self._crowds[room] = self._crowd_for(room, wanted[room])
            self._crowds[room].start()
        for room in self._crowds.keys() - wanted.keys():
            gevent.spawn(self._crowds.pop(room).stop)

    def stop(self) -> None:
        gevent.joinall([gevent.spawn(crowd.stop) for crowd in self._crowds.values()])
        self._crowds.clear()

    def _wanted(self) -> dict[str, int]:
        """Bots by room. The server's own rooms are not among them: `--players` is for those."""
        try:
            noted = json.loads(self._notes.read_text())
            rows = [(room, own, int(bots)) for room, (_, own, bots) in noted.items()]
        except (OSError, ValueError, TypeError, AttributeError, RecursionError):
            return {}  # the server says what is wrong with it
        return {room: bots for room, own, bots in rows if bots > 0 and not own}
