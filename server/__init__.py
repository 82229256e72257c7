"""Tickstorm: an authoritative real-time multiplayer game backend.

Read in this order: `room.py` (a tick, call by call), `snapshot.py` and `history.py`
(what each client is sent), `connection.py` and `session.py` (one client), `wire.py`
(every message), `lobby.py`, `api.py` and `web.py` (the way in), `journal/` (how a room
comes back), `directory.py` and `node.py` (more than one process), `app.py` (uWSGI).
"""

__version__ = "0.1.0"
