"""A crowd game, as the server knows it: one world of numpy columns in each room.

A module that exports these names is such a game (the arena, `game/`, is one), and so is any
object that has them; `catalogue.py` says how a server is told of it.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from .kind import Kind
from .world import World, WorldSettings


class Game(Protocol):
    """The rules of a crowd game.

    With a field ``score`` in SELF, and perhaps ``streak``, the server keeps all-time scores. A
    game may also say `page`: the folder (`pathlib.Path`) whose files browsers get.
    """

    name: str  # in addresses and in the API
    title: str  # for people
    KINDS: tuple[Kind, ...]  # the first is the players', one row per slot
    SELF: np.dtype  # what a player knows of itself
    COMMAND: np.dtype  # what a client may intend for one tick
    STEP_COMMAND: np.dtype  # what `World.step` takes: ``slot``, ``seq`` and the intent

    def declaration(self) -> list:
        """The schema as plain lists, as clients receive it."""

    def checksum(self) -> int:
        """CRC-32 of the declaration: equal on both sides, or they don't speak the same game."""

    def clamp(self, commands: np.ndarray) -> None:
        """Bring commands (an array with at least COMMAND's fields) into range, in place."""

    def create_world(self, settings: WorldSettings, seed: int) -> World:
        """A new world."""

    def load_world(self, data: dict[str, Any]) -> World:
        """The world that `World.dump` gave."""


EXPORTS = (
    "name", "title", "KINDS", "SELF", "COMMAND", "STEP_COMMAND",
    "declaration", "checksum", "clamp", "create_world", "load_world",
)  # fmt: skip
"""The names that a crowd game must have."""
