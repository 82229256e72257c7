"""Tickstorm: an authoritative real-time multiplayer game backend.

Read in this order: `games/` (what games are made of), `rooms/crowd_room.py` (a tick, call
by call), `replication/` (what each client is sent), `transport/connection.py` and
`rooms/session.py` (one client), `protocol/` (every message), `lobby/` (the way in, rooms
over HTTP, more than one process), `records/` (how a room comes back), `app.py` (uWSGI).
"""

__version__ = "0.1.0"
