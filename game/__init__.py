"""The arena: a top-down game of ships for a crowd.

It knows no clock, no socket and no log; the server knows of it only what is exported
here and described in `tickstorm.games.game`. In reading order:

* `schema.py`: what travels on the wire, declared once;
* `rules.py`: every number that makes the arena what it is;
* `movement.py`: how a ship moves, to the bit as the browser predicts it;
* `sea.py`: the columns of one room or many, and the step; `rooms.py`: what is each room's own;
  `world.py`: a room, and how it comes and goes;
* `combat.py`: guns, shots, fair hits; `orbs.py`: things to collect; `grid.py`: who is
  near what.

It has the whole interface of `tickstorm.games.game` to itself, for it predicts to the bit, fights
with rewound time and packs its rows by hand. A crowd of your own is a class that derives from
`tickstorm.World` (`tickstorm new mygame --preset crowd`), of which all this follows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tickstorm.games.messages import messages_of
from tickstorm.games.settings import choose, setting
from tickstorm.games.world import WorldSettings

from .rules import Rules
from .schema import (
    BUTTON_BOOST,
    BUTTON_FIRE,
    BUTTON_THRUST,
    COMMAND,
    KINDS,
    SELF,
    STEP_COMMAND,
    checksum,
    declaration,
)
from .sea import MOST_ROOMS, SMALL_PLAYERS, SMALL_SIZE, Sea
from .world import World, load_world

__all__ = [
    "COMMAND",
    "KINDS",
    "SELF",
    "STEP_COMMAND",
    "checksum",
    "clamp",
    "cost",
    "create_sea",
    "shares_sea",
    "create_world",
    "declaration",
    "link",
    "load_world",
    "messages",
    "name",
    "page",
    "services",
    "settings",
    "title",
]

name = "arena"
title = "Arena"
services = ("board", "bots", "chat", "feed", "heat", "scores")
page = Path(__file__).parent.parent / "clients" / "web"
link = "?room="
messages = messages_of(World)
settings = {
    "size": setting(4096, low=2048, high=31744, help="side of the square world, units"),
    "orbs": setting(-1, low=-1, high=60000, help="orbs lying about; -1: by area"),
    "round_s": setting(0, low=0, high=3600, help="length of a round; 0: one match without end"),
}


def cost(chosen: dict[str, Any]) -> float:
    """How many ordinary rooms one with these settings counts for."""
    return max(1.0, (chosen["size"] / 4096) ** 2, chosen["orbs"] / 1000)


def clamp(commands: np.ndarray) -> None:
    """Bring commands (an array with at least COMMAND's fields) into range, in place.

    Any `move` is a direction; `view_delay` is bounded by the world, which knows its
    tick rate.
    """
    commands["aim"] &= 1023
    commands["buttons"] &= BUTTON_THRUST | BUTTON_BOOST | BUTTON_FIRE
    commands["spare"] = 0


def shares_sea(wanted: WorldSettings) -> bool:
    """Is a room of these settings so small that it is cheaper as one of many?"""
    chosen = choose(settings, {}) | wanted.chosen
    return wanted.players <= SMALL_PLAYERS and chosen["size"] <= SMALL_SIZE


def create_sea(tick_hz: int) -> Sea:
    """Columns for many small rooms of this tick rate."""
    return Sea(Rules.at(tick_hz, SMALL_SIZE), 64, 1024, 4096, MOST_ROOMS)


def create_world(wanted: WorldSettings, seed: int, sea: Sea | None = None) -> World:
    """A new world for these settings (`tickstorm.games.world.WorldSettings`), in `sea` if there
    is one."""
    chosen = choose(settings, {}) | wanted.chosen
    return World(
        wanted.tick_hz, chosen["size"], wanted.players, chosen["orbs"], seed, chosen["round_s"], sea
    )
