"""What a crowd's rules say to clients and hear from them, beside snapshots and inputs."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgpack
import numpy as np

from .messages import Refuse, messages_of


class Sent(NamedTuple):
    """An event of a crowd on its way out. `to`: int64[n], rows of players; None for everyone.
    `packed`: its values, as they were when it was sent."""

    name: str
    packed: bytes
    to: np.ndarray | None


class Speaker:
    """A crowd's world with messages of its own. `outbox`: what it has sent and nobody has taken."""

    outbox: list[Sent]

    def send(self, name: str, *values: Any, to: Any = None) -> None:
        """An event for everyone, or for the players in some rows (a number, or an array of them);
        who watches over such a player's shoulder gets it, too. What is for everyone is shed when
        it gets too much."""
        rows = None if to is None else np.atleast_1d(np.asarray(to, np.int64))
        self.outbox.append(Sent(name, msgpack.packb(list(values)), rows))

    def call(self, slot: int, name: str, values: list[Any]) -> tuple[Any, str | None]:
        """A player's message: what the rule returned, and why it refused, or None."""
        try:
            return messages_of(type(self))[name].call(self, slot, values), None
        except Refuse as no:
            return None, str(no) or "refused"
