"""Who has how many seats of this process, by address: those of players who are away included."""

from __future__ import annotations

from collections import Counter
from typing import Protocol

YIELD_S = 3.0
"""Who has been away for so long gives the seat up, should the room be full and somebody come."""


class Session(Protocol):
    """A client's stay in a room of any kind."""

    address: str

    @property
    def spectator(self) -> bool: ...


class Census:
    """Counts sessions of players and of spectators; one for all rooms of a process.

    A session without an address (a player of before a restart) is nobody's.
    """

    def __init__(self) -> None:
        self.players: Counter[str] = Counter()
        self.spectators: Counter[str] = Counter()

    def sit(self, session: Session, address: str) -> None:
        """The session, new or come back, is this address's."""
        self.rise(session)
        session.address = address
        if address:
            self._count(session)[address] += 1

    def rise(self, session: Session) -> None:
        """The session is over. A second call changes nothing."""
        address, session.address = session.address, ""
        if address:
            count = self._count(session)
            count[address] -= 1
            if not count[address]:
                del count[address]

    def _count(self, session: Session) -> Counter[str]:
        return self.spectators if session.spectator else self.players
