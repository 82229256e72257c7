"""Rooms of objects that were played without a server, and their journals."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any
from zlib import crc32

from tickstorm.games.room import Game
from tickstorm.games.simulation import CALL, JOIN, MOVE, Simulation
from tickstorm.records import ledger
from tickstorm.records.journal.format import MAGIC, frame
from tickstorm.replication.patches import pack

DUEL = """
class Aim(Input):
    dx: int = whole(-1, 1)

class Fighter(Player):
    hp: int = synced(30)
    x: float = synced(0.0, step=0.5)
    hits: list[str] = synced([])
    rage: float = 0.0

class Bolt(Entity):
    left: int = synced(3)

class Duel(Room):
    tick_hz = 20
    player, input = Fighter, Aim
    phase: str = synced("wait")

    def on_create(self):
        self.every(1.0, "thunder")

    def on_join(self, player):
        player.x = self.random.uniform(0, 100)
        self.phase = "fight"

    def step(self, dt):
        for player in self.players:
            player.x += player.input.dx * dt
            player.rage += 0.5
        for bolt in self.each(Bolt):
            bolt.left -= 1
            if not bolt.left:
                self.despawn(bolt)

    def thunder(self):
        self.send("boom", self.tick)

    @message
    def hit(self, player, whom: str, hard: int = whole(1, 9)):
        other = next((p for p in self.players if p.name == whom), None)
        if other is None:
            raise Refuse("nobody of that name")
        other.hp -= hard
        other.hits.append(player.name)
        self.spawn(Bolt, owner=player)
"""


class Recorded:
    """`simulation` plays; what it does is written to `path` as a ledger would."""

    def __init__(self, game: Game, path: Path, room: str = "room", seed: int = 1):
        self.game, self.path, self.room = game, path, room
        self.simulation = Simulation(game, game.choose({}), seed)
        self._rows: list[list[Any]] = []
        head = {"game": game.name, "checksum": game.checksum, "capacity": 8, "created": 1.0}
        path.write_bytes(MAGIC)
        self._write([ledger.HEADER, {"format": ledger.FORMAT, "ledger": True}])
        self._write([ledger.OPEN, room, head])
        self.checkpoint()

    def _write(self, record: list[Any]) -> None:
        with self.path.open("ab") as file:
            file.write(frame(pack(record)))

    def checkpoint(self) -> None:
        self.end()
        self._write([ledger.KEPT, self.room, self.simulation.tick, self.simulation.dump(), []])

    def tick(self, *events: list[Any]) -> None:
        self.simulation.advance(list(events))
        checksum = crc32(self.simulation.replica.patch()[1])
        self._rows.append([self.room, self.simulation.tick, list(events), checksum])
        for waiting in (self.simulation.outbox, self.simulation.answers, self.simulation.wanted):
            waiting.clear()

    def run(self, ticks: int, events: Iterable[list[Any]] = ()) -> None:
        """The events in the first of them."""
        self.tick(*events)
        for _ in range(ticks - 1):
            self.tick()

    def end(self) -> Path:
        if self._rows:
            self._write([ledger.TICKS, self._rows])
            self._rows = []
        return self.path


def recorded_duel(game: Game, path: Path) -> Path:
    """Five seconds of `DUEL`: Bob hits Ada at ticks 30, 51 and 52, who has 3 left then."""
    recorded = Recorded(game, path)
    recorded.run(29, [[JOIN, "a", "Ada", "s", False], [JOIN, "b", "Bob", "s", False]])
    recorded.run(20, [[CALL, "b", "hit", ["Ada", 9], None]])
    recorded.run(1, [[MOVE, "a", [1]], [CALL, "b", "hit", ["Eve", 9], 7]])
    recorded.run(1, [[CALL, "b", "hit", ["Ada", 9], None]])
    recorded.run(49, [[CALL, "b", "hit", ["Ada", 9], None]])
    return recorded.end()
