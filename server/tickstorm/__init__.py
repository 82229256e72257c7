"""Tickstorm: an authoritative real-time multiplayer game backend.

Read in this order: `games/` (what games are made of), `rooms/crowd_room.py` (a tick, call
by call), `replication/` (what each client is sent), `transport/connection.py` and
`rooms/session.py` (one client), `protocol/` (every message), `lobby/` (the way in, rooms
over HTTP, more than one process), `records/` (how a room comes back), `app.py` (uWSGI).
"""

from typing import TYPE_CHECKING

from .games.checks import DeclarationError, choice, flag, number, text, whole
from .games.entity import Entity, Player, synced
from .games.messages import Refuse, message
from .games.room import Input, Room
from .games.settings import setting

if TYPE_CHECKING:
    from .games.crowd import Column, Kind, World

__version__ = "0.2.0"

__all__ = [
    "Column",
    "DeclarationError",
    "Entity",
    "Input",
    "Kind",
    "Player",
    "Refuse",
    "Room",
    "World",
    "choice",
    "flag",
    "message",
    "number",
    "setting",
    "synced",
    "text",
    "whole",
]


def __getattr__(name: str) -> object:
    """`connect`, `aio` and their like bring sockets along, `World` numpy: imported when used."""
    import importlib

    if name == "connect":
        return importlib.import_module(".client", __name__).connect
    if name in ("Column", "Kind", "World"):
        return getattr(importlib.import_module(".games.crowd", __name__), name)
    if name in ("aio", "client", "testing"):
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
