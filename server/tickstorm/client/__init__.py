"""A client of a server, in Python: `connect` for scripts, `tickstorm.aio` for asyncio programs,
both over `ClientSession`, which knows the protocol and no sockets."""

from .blocking import Client, connect
from .places import ConnectError
from .session import (
    Answer,
    Changed,
    ClientSession,
    Event,
    Fault,
    Happening,
    Notice,
    Refused,
    Welcomed,
)
from .state import Record, Ref, StateTree, WireError
from .view import Disconnected

__all__ = [
    "Answer",
    "Changed",
    "Client",
    "ClientSession",
    "ConnectError",
    "Disconnected",
    "Event",
    "Fault",
    "Happening",
    "Notice",
    "Record",
    "Ref",
    "Refused",
    "StateTree",
    "Welcomed",
    "WireError",
    "connect",
]
