"""The game that all benchmarks play: the arena, loaded by name as a server does."""

from __future__ import annotations

from tickstorm.games import catalogue
from tickstorm.protocol.layout import layout_of

NAME = "game"
"""What the option `GAMES` says."""

GAME = catalogue.load(NAME).first.game
LAYOUT = layout_of(GAME)
