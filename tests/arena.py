"""The arena, as the tests give it to the parts of the engine that take a game."""

from __future__ import annotations

import game
from tickstorm.games.catalogue import catalogue_of
from tickstorm.protocol.layout import layout_of

GAMES = catalogue_of(game)
LAYOUT = layout_of(game)
INPUTS = LAYOUT.input_frame
