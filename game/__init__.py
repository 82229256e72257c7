"""The arena: a top-down game of ships for a crowd.

It knows no clock, no socket and no log; the server knows of it only what is exported
here and described in `tickstorm.games.game`. In reading order:

* `schema.py`: what travels on the wire, declared once;
* `rules.py`: every number that makes the arena what it is;
* `movement.py`: how a ship moves, to the bit as the browser predicts it;
* `world.py`: the world and its step;
* `combat.py`: guns, shots, fair hits; `orbs.py`: things to collect; `grid.py`: who is
  near what.

To make a game of your own:

1. declare your kinds; the first is the players', one row per slot.
   `SELF` is what a player knows of itself, `COMMAND` what a client may intend;
2. write a world with the methods of `tickstorm.games.world.World`. Keep it a pure
   function of its settings, seed and calls, and everything in columns: the journal
   then brings it back, and a thousand players cost hardly more than ten;
3. export the names below from your module, and name it in the option `GAMES`;
4. `clients/web/` and `clients/bots/` read positions and columns from the declaration
   they receive; what they draw and how they play is yours to change.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tickstorm.games.world import WorldSettings

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
from .world import World, load_world

__all__ = [
    "COMMAND",
    "KINDS",
    "SELF",
    "STEP_COMMAND",
    "checksum",
    "clamp",
    "create_world",
    "declaration",
    "load_world",
    "name",
    "page",
    "title",
]

name = "arena"
title = "Arena"
page = Path(__file__).parent.parent / "clients" / "web"


def clamp(commands: np.ndarray) -> None:
    """Bring commands (an array with at least COMMAND's fields) into range, in place.

    Any `move` is a direction; `view_delay` is bounded by the world, which knows its
    tick rate.
    """
    commands["aim"] &= 1023
    commands["buttons"] &= BUTTON_THRUST | BUTTON_BOOST | BUTTON_FIRE
    commands["spare"] = 0


def create_world(settings: WorldSettings, seed: int) -> World:
    """A new world for `settings` (`tickstorm.games.world.WorldSettings`)."""
    return World(
        settings.tick_hz,
        settings.size,
        settings.players,
        settings.orbs,
        seed,
        settings.round_s,
    )
