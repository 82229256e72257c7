"""A crowd game, as the server knows it: one world of numpy columns in each room.

A module that exports these names is such a game (the arena, `game/`, is one), and so is any
object that has them; `catalogue.py` says how a server is told of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from .kind import Kind
from .messages import Message
from .settings import Setting
from .world import World, WorldSettings


class Game(Protocol):
    """The rules of a crowd game.

    A game may also say `page`, the folder (`pathlib.Path`) whose files browsers get; `link`, what
    follows the page's path in a link to a room, before its id (``#`` unless it is said); and
    `cost(chosen)`, for how many ordinary rooms one with these settings counts. `interest` is one of
    INTERESTS, "near" unless it is said.
    """

    name: str  # in addresses and in the API
    title: str  # for people
    KINDS: tuple[Kind, ...]  # the first is the players', one row per slot
    SELF: np.dtype  # what a player knows of itself
    COMMAND: np.dtype  # what a client may intend for one tick
    services: tuple[str, ...]  # of SERVICES, those that its rooms have
    settings: dict[str, Setting]  # what may be chosen when a room is created
    messages: dict[str, Message]  # what clients may say beside their inputs
    STEP_COMMAND: np.dtype  # what `World.step` takes: ``slot``, ``seq`` and the intent

    if TYPE_CHECKING:  # a module is one too, and mypy does not see its hash

        def __hash__(self) -> int: ...

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


INTERESTS = ("near", "all", "groups")
"""Who sees what in a world: what is in the cells around, everyone everything, or each group its own
(`KindView.group`)."""

SERVICES = ("board", "bots", "chat", "feed", "heat", "scores")
"""What a game's rooms may have: `World.board` for all, bots where who creates a room wants some,
lines of chat, `World.feed` for all, how many are where, and all-time scores (of the field ``score``
in SELF, and perhaps ``streak``)."""

EXPORTS = (
    "name", "title", "services", "settings", "messages", "KINDS", "SELF", "COMMAND", "STEP_COMMAND",
    "declaration", "checksum", "clamp", "create_world", "load_world",
)  # fmt: skip
"""The names that a crowd game must have."""
