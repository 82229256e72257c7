"""What travels on the wire about the world: every kind and column, declared once.

To add a column, add one line here and fill it in `World.view`; server, bots and browser
pick it up from the declaration. `tickstorm.games.kind` says what a column can be.
"""

from __future__ import annotations

import zlib

import msgpack
import numpy as np

from tickstorm.games.kind import Column, Kind, fields_of

POSITION_STEP = 0.5
"""World units per step of a quantised coordinate: uint16 spans 32,768 units."""


SHIP = Kind(
    "ship",
    (
        Column("x", "u2", "delta", POSITION_STEP),
        Column("y", "u2", "delta", POSITION_STEP),
        Column("heading", "u1", "delta", 2 * np.pi / 256),
        Column("hp", "u1", "state"),
        Column("flags", "u1", "state"),
        Column("power", "u1", "state"),
        Column("hue", "u1", "static", 360 / 256),
        Column("name", "S20", "static"),
    ),
)

# A shot flies straight, so its origin, direction and birth say where it ever will be.
SHOT = Kind(
    "shot",
    (
        Column("x", "u2", "static", POSITION_STEP),
        Column("y", "u2", "static", POSITION_STEP),
        Column("aim", "u2", "static", 2 * np.pi / 1024),
        Column("born", "u2", "static"),  # low 16 bits of the tick at which it was at x, y
        Column("owner", "u2", "static"),  # ship slot
        Column("seq", "u2", "static"),  # sequence of the owner's command that fired it
    ),
)

ORB = Kind(
    "orb",
    (
        Column("x", "u2", "static", POSITION_STEP),
        Column("y", "u2", "static", POSITION_STEP),
        Column("value", "u1", "static"),
    ),
)

KINDS = (SHIP, SHOT, ORB)

# Ship flags.
ALIVE, THRUST, BOOST, PROTECTED, BOT = 1, 2, 4, 8, 16

SELF = np.dtype(
    [
        ("x", "<f4"),
        ("y", "<f4"),
        ("vx", "<f4"),
        ("vy", "<f4"),
        ("energy", "<f4"),
        ("hp", "u1"),
        ("flags", "u1"),
        ("cooldown", "u1"),  # ticks until the gun is ready
        ("respawn", "u1"),  # ticks until respawn, at most 255; 0 while alive
        ("score", "<u4"),
        ("rank", "<u2"),  # 1 is the leader; refreshed once a second
        ("power", "u1"),
        ("streak", "u1"),  # kills since the last death
    ]
)
"""A player's own ship, exact; private to that player, in the head of each snapshot."""

COMMAND = np.dtype(
    [
        ("aim", "<u2"),  # direction of the gun, 0..1023
        ("move", "u1"),  # direction of thrust, 0..255
        ("buttons", "u1"),
        ("view_delay", "u1"),  # how far behind this command's tick the player saw others, 1/16 tick
        ("spare", "u1"),
    ]
)
"""A player's intent for one tick, as the client sends it (inside the server's input row)."""

# Bits of COMMAND.buttons.
BUTTON_THRUST, BUTTON_BOOST, BUTTON_FIRE = 1, 2, 4

STEP_COMMAND = np.dtype([("slot", "<u2"), ("seq", "<u2")] + COMMAND.descr)
"""What `World.step` takes: COMMAND with the player's slot and the command's sequence."""


def declaration() -> list:
    """The schema as plain lists, as the client receives it."""
    kinds = [[k.name, [[c.name, c.dtype, c.role, c.scale] for c in k.columns]] for k in KINDS]
    return [kinds, fields_of(SELF), fields_of(COMMAND)]


def checksum() -> int:
    """CRC-32 of the declaration: equal on both sides, or they don't speak the same game."""
    return zlib.crc32(msgpack.packb(declaration()))


def quantise(position: np.ndarray) -> np.ndarray:
    """uint16 wire coordinates (`POSITION_STEP` = 0.5) of float32 world coordinates."""
    return (position * np.float32(2) + np.float32(0.5)).astype(np.uint16)
