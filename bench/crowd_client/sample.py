"""Those who decode everything: each byte that they are sent is checked against the rest."""

from __future__ import annotations

from collections import Counter

from clients.bots import wire


class Sample:
    """The clients of a sample, and what they know."""

    def __init__(self, wanted: int, clients: int):
        """`wanted` of `clients`, those at the ends, so that a pile has some of each."""
        wanted = min(wanted, clients)
        self.clients = {*range((wanted + 1) // 2), *range(clients - wanted // 2, clients)}
        self.decoded = 0  # snapshots
        self.errors: Counter[str] = Counter()
        self.counting = False  # is the measurement on?
        self.visible: list[tuple[int, int]] = []  # (client, ships known), one per snapshot counted
        self._known: dict[int, wire.KnownWorld] = {}

    def decode(self, client: int, payload: bytes) -> None:
        """Take a message in. Raises WireError if it contradicts what the client was told."""
        try:
            message = wire.decode(payload)
            if message[0] == wire.WELCOME:
                welcome = wire.check_welcome(message[1])
                self._known[client] = wire.KnownWorld(welcome["declaration"])
            elif message[0] == wire.SNAPSHOT and client in self._known:
                self._known[client].apply(message[1], message[2])
                self.decoded += 1
                if self.counting:
                    first = next(iter(self._known[client].kinds.values()))
                    self.visible.append((client, len(first)))
        except wire.WireError as error:
            self.errors[str(error)] += 1
            raise

    def forget(self, client: int) -> None:
        """Its connection has ended: what it knew is void."""
        self._known.pop(client, None)
