"""What the arena draws lots for: each use has a number of its own (`tickstorm.games.chance`)."""

from __future__ import annotations

HUE, PLACE, DROP, SCATTER = range(4)
