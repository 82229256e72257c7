"""A crowd's world, as the server knows it: what it is asked for, and what it shows.

A world must be a pure function of its settings, seed and the calls it received: no
clock, no I/O, no randomness but its own seeded generator. Only then can a journal
bring it back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np

from .speaker import Sent


@dataclass(frozen=True)
class WorldSettings:
    """What a room asks of a world. `chosen`: the game's own settings, all of them."""

    tick_hz: int = 20
    players: int = 1000  # player slots
    chosen: dict[str, Any] = field(default_factory=dict)


class Berths(NamedTuple):
    """Whose the rows of a kind are, where they are of many rooms."""

    room: np.ndarray  # intp[n]: the number of its room; anything for rows that are nobody's
    number: np.ndarray  # uint16[n]: the row's slot in its room, which is its id on the wire
    epoch: np.ndarray  # int64[rooms]: the tick of all at which the room's own tick was 0


class KindView(NamedTuple):
    """One kind's entities after a step, over all n slots of the kind.

    The server only reads these arrays, and only until the next step. Rows of
    absent entities may hold anything. `static` of a slot must not change while
    `born` stays the same.
    """

    present: np.ndarray  # bool[n]
    born: np.ndarray  # int64[n]: tick at which the present entity appeared in this slot
    x: np.ndarray  # float32[n]: where it is now, world units, 0 <= x < size
    y: np.ndarray  # float32[n]
    mutable: np.ndarray  # structured[n]: kind.dtype("delta", "state")
    static: np.ndarray  # structured[n]: kind.dtype("static")
    berths: Berths | None = None  # None: all are of one room, with ids from 0 on
    group: np.ndarray | None = None  # u1[n]: who sees it, or whom it sees; None: those who are near
    still: int | None = None
    """For a kind whose entities never move: a number that is another whenever some have come that
    weren't born just now, as from a dump. None: they move."""


class World(Protocol):
    """A running world. Slots of players are rows 0..capacity-1 of the first kind."""

    tick: int  # number of the last step; 0 before the first
    capacity: int  # player slots
    size: int  # side of the square that everything is in, world units

    def join(self, name: str, bot: bool) -> int:
        """Give a new player a slot and return it. Raises ValueError when all are taken."""

    def leave(self, slot: int, silent: bool = False) -> None:
        """Take a player and what is theirs out of the world; `silent`: without any rule for it,
        for that has raised."""

    @property
    def outbox(self) -> list[Sent]:
        """What the world has sent (see `speaker.Speaker`), until somebody takes it out."""

    def call(self, slot: int, name: str, values: list[Any]) -> tuple[Any, str | None]:
        """A player's message, checked: what the rule returned, and why it refused, or None."""

    def step(self, commands: np.ndarray) -> None:
        """Advance one tick. `commands`: STEP_COMMAND[m], at most one row per slot;
        a player without a row goes on with the last one, for a while."""

    def view(self) -> list[KindView]:
        """One view per kind, in the order of KINDS."""

    def eyes(self, slots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """float32[n] x and y from which the players in `slots` look."""

    def self_rows(self, slots: np.ndarray) -> np.ndarray:
        """SELF[n]: the own state of the players in `slots`."""

    def feed(self) -> list:
        """Public events of the last step, as msgpack can carry them."""

    def board(self) -> list:
        """The ten best players: ``[[name, score, slot], …]``."""

    @property
    def final(self) -> bool:
        """Is the board a result now, such as between two rounds? It is never left out then."""

    def rules(self) -> dict[str, float]:
        """Constants that clients need to draw and predict."""

    def dump(self) -> dict[str, Any]:
        """Everything needed to go on from here, as msgpack can carry it."""

    def checksum(self) -> int:
        """CRC-32 of the state: equal after equal calls, different when worlds diverge."""
