"""Rules without a server: for the tests of a game.

    from tickstorm.testing import rehearse

    def test_a_walker_walks():
        room = rehearse(Tag, seed=1)
        ada = room.join("Ada")
        before = ada.x
        room.input(ada, dx=1)
        room.run(1.0)                            # a second of the room's own time, at once
        assert ada.x > before
        assert room.seen(ada).players[0]["x"] == ada.x

What comes in goes the way that it goes in a running room, checks included; a rule's exception
comes out of the call that led to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

from .client.session import Refused
from .client.state import STATE, Record, StateTree, pack, unpack
from .games.kind import names_of
from .games.room import Game, Room
from .games.simulation import (
    CALL,
    CLOSE,
    DROP,
    JOIN,
    LEAVE,
    MOVE,
    RETURN,
    TIME,
    RuleError,
    Sent,
    Simulation,
)
from .protocol import objects

if TYPE_CHECKING:
    from .games.crowd import World


@overload
def rehearse(room: type[Room], *, seed: int = 1, **settings: Any) -> Rehearsal: ...
@overload
def rehearse(room: type[World], *, seed: int = 1, **settings: Any) -> CrowdRehearsal: ...


def rehearse(room: Any, *, seed: int = 1, **settings: Any) -> Any:
    """A room of this class; `settings` as somebody who makes a room could choose them: of a
    `World`, ``players``, ``size`` and ``tick_hz`` where it does not say them itself."""
    if issubclass(room, Room):
        return Rehearsal(room, seed, settings)
    return CrowdRehearsal(room, seed, **settings)


class Rehearsal:
    """A room that lives in a test. `rules` is the `Room` itself; ``sent`` lists what it has sent,
    ``(name, values, to, but)`` each, ids of players in the last two."""

    def __init__(self, room: type[Room], seed: int, settings: dict[str, Any]):
        self.game = Game(room)
        self._simulation = Simulation(self.game, self.game.choose(settings), seed)
        self.sent: list[Sent] = []
        self.kicked: list[tuple[str, str]] = []
        self._requests = self._arrived = 0
        self._advance([])

    @property
    def rules(self) -> Any:
        """The room, as its rules see it."""
        return self._simulation.room

    @property
    def players(self) -> list[Any]:
        return self.rules.players

    def join(self, name: str = "Ada", id: str = "") -> Any:
        """Somebody comes. Returns the player; raises `Refused` if the room doesn't want them."""
        self._arrived += 1
        id = id or f"{name.lower()}-{self._arrived}"
        self._advance([[JOIN, id, name]])
        if id in self._simulation.refused:
            raise Refused(self._simulation.refused.pop(id))
        return self.rules.find(id)

    def leave(self, player: Any) -> None:
        """The player goes for good."""
        self._advance([[LEAVE, player.id]])

    def drop(self, player: Any) -> None:
        """The player's connection is gone."""
        self._advance([[DROP, player.id]])

    def come_back(self, player: Any) -> None:
        """The player who dropped is there again."""
        self._advance([[RETURN, player.id]])

    def close(self) -> None:
        self._advance([[CLOSE]])

    def input(self, player: Any, **values: Any) -> None:
        """What the player wants from the next step on; fields that aren't named keep their value.
        Raises ValueError for what a client could not send."""
        arguments = self.game.input
        if arguments is None:
            raise ValueError(f"{self.game.room.__name__} has no input")
        if unknown := values.keys() - set(arguments.names):
            raise ValueError(f"no input {min(unknown)!r}; there are {', '.join(arguments.names)}")
        wanted = [values.get(name, getattr(player.input, name)) for name in arguments.names]
        arguments.convert(wanted)
        self._advance([[MOVE, player.id, wanted]], stepping=False)

    def call(self, player: Any, message: str, *values: Any) -> Any:
        """The player sends a message. Returns the answer; raises `Refused`, and ValueError for
        what a client could not send."""
        if message not in self.game.messages:
            known = ", ".join(self.game.messages) or "none"
            raise ValueError(f"no message {message!r}; there are {known}")
        _, sent, _ = objects.decode_call(objects.pack([objects.CALL, message, list(values), None]))
        self.game.messages[message].arguments.convert(sent)
        self._requests += 1
        self._simulation.answers.clear()
        self._advance([[CALL, player.id, message, sent, self._requests]], stepping=False)
        answer = next(a for a in self._simulation.answers if a.request == self._requests)
        if answer.refused is not None:
            raise Refused(answer.refused)
        return unpack(answer.value)

    def run(self, seconds: float) -> None:
        """Let so much of the room's time pass, timers and steps included."""
        hz = self._simulation.hz
        if hz:
            for _ in range(round(seconds * hz)):
                self._advance([])
            return
        end = self._simulation.time + seconds
        while self._simulation.next_due <= end:
            self._advance([[TIME, self._simulation.next_due]])
        self._advance([[TIME, end]])

    def seen(self, player: Any) -> View:
        """What this player's client knows, and nothing else."""
        replica = self._simulation.replica
        replica.patch()
        full, hidden = unpack(replica.full()), replica.hidden(player, {})
        message = [STATE, self._simulation.tick, None, full, unpack(hidden) if hidden else None]
        view = View(unpack(pack(self.game.declaration())))
        view.apply_state(message)
        return view

    def restart(self) -> None:
        """The server stops and comes back from its journal. Players are new objects then: find
        them in `players` again."""
        self._simulation = Simulation.load(self.game, self._simulation.dump())

    def _advance(self, events: list[list[Any]], stepping: bool = True) -> None:
        simulation = self._simulation
        try:
            simulation.advance(events, stepping)
        except RuleError as error:
            if error.__cause__ is None:
                raise
            raise error.__cause__ from None
        finally:
            self.sent += simulation.outbox
            self.kicked += simulation.kicked
            simulation.outbox.clear()
            simulation.kicked.clear()


class View(StateTree):
    """What one player sees."""

    @property
    def players(self) -> list[Record]:
        """Everybody in the room."""
        return sorted(self.each(self.kinds[1].name), key=lambda record: record.id)


class CrowdRehearsal:
    """A crowd that lives in a test. `rules` is the `World` itself; players are rows of its first
    kind's table."""

    def __init__(self, world: type[World], seed: int, **settings: Any):
        import numpy as np

        from .games.crowd import CrowdGame
        from .games.world import WorldSettings

        self.game = CrowdGame(world)
        players = settings.pop("players", world.capacity or 100)
        tick_hz = settings.pop("tick_hz", world.tick_hz or 20)
        chosen = self.game.choose(settings)
        self._world = self.game.create_world(WorldSettings(tick_hz, players, chosen), seed)
        self._commands = np.zeros(0, self.game.STEP_COMMAND)
        self._held: dict[int, Any] = {}

    @property
    def rules(self) -> Any:
        """The world, as its rules see it."""
        return self._world.rules_of

    def join(self, name: str = "Ada", bot: bool = False) -> int:
        """Somebody comes. Returns the row; raises ValueError when all are taken."""
        return self._world.join(name, bot)

    def leave(self, slot: int) -> None:
        """The player goes for good."""
        self._world.leave(slot)
        self._held.pop(slot, None)

    def input(self, slot: int, **values: Any) -> None:
        """What the player wants from the next step on, brought into range as a client's would be;
        fields that aren't named are as if nothing was done."""
        row = self._commands.copy()
        row.resize(1)
        row["slot"] = slot
        for name in names_of(self.game.COMMAND):
            check = self.game.checks.get(name)
            row[name] = values.pop(name, check.default if check else 0)
        if values:
            known = ", ".join(names_of(self.game.COMMAND))
            raise ValueError(f"no input {min(values)!r}; there are {known}")
        self.game.clamp(row)
        self._held[slot] = row

    def run(self, seconds: float) -> None:
        """Let so much of the world's time pass; inputs are held."""
        import numpy as np

        for _ in range(round(seconds * self._world.tick_hz)):
            self._world.step(np.concatenate([self._commands, *self._held.values()]))

    def restart(self) -> None:
        """The server stops and comes back from its journal; `rules` is a new object then."""
        self._world = self.game.load_world(unpack(pack(self._world.dump())))
