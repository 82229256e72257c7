"""Whatever a room does, each viewer knows exactly what it may see: the encoder against the
Python client's decoder and brute force."""

from __future__ import annotations

import random

import msgpack
import msgspec
import pytest

from tickstorm.client.state import Ref, StateTree, unpack
from tickstorm.games.checks import DeclarationError, whole
from tickstorm.games.entity import Entity, Player, plain, synced
from tickstorm.games.room import Game, Input, Room
from tickstorm.games.simulation import JOIN, LEAVE, Simulation
from tickstorm.protocol import objects
from tickstorm.replication.patches import may_see, pack


class Hand(Player):
    x: float = synced(0.0, step=0.5, smooth=True)
    cards: list[int] = synced([], to="owner")
    team: str = synced("red")
    secret: int = synced(0, to="team")


class Thing(Entity):
    at: float = synced(0.0, step=0.25)
    label: str = synced("thing", fixed=True)
    holder: object = synced(None)
    bag: dict[str, int] = synced({})
    notes: list = synced([])
    shown: int = synced(0, to=lambda thing, player: player.x > thing.at)


class Ghost(Entity, to="team"):
    team: str = ""
    mood: str = synced("calm")
    path: list[int] = synced([])


class Wild(Room):
    player = Hand
    kinds = (Thing, Ghost)
    phase: str = synced("play")
    table: list = synced([])
    scores: dict[str, int] = synced({})

    def step(self, dt: float) -> None:
        for _ in range(self.random.randint(0, 6)):
            self.random.choice(self.ACTIONS)(self)

    def _thing(self):
        return self.random.choice(self.each(Thing)) if self.each(Thing) else None

    def spawn_thing(self):
        if len(self.each(Thing)) < 12:
            owner = self.random.choice([None, *self.players])
            thing = self.spawn(Thing, at=self.random.uniform(-5, 5), owner=owner)
            thing.bag["new"] = 1

    def despawn_thing(self):
        if self.random.random() < 0.5:
            self.despawn(self._thing())

    def change_thing(self):
        thing = self._thing()
        if thing is None:
            return
        thing.at += self.random.choice([0, 0.1, 1.0, 400.0, -1e4])
        thing.holder = self.random.choice([None, self, *self.players, *self.each(Thing)])
        thing.shown += self.random.randint(0, 1)
        thing.bag[str(self.random.randint(0, 3))] = self.random.randint(0, 9)
        if len(thing.bag) > 2:
            thing.bag.pop(next(iter(thing.bag)))

    def change_list(self):
        thing = self._thing()
        notes = self.table if thing is None else thing.notes
        what = self.random.randint(0, 8)
        if what < 3:
            notes.append([self.random.randint(0, 9)])
        elif what == 3 and notes:
            notes[self.random.randrange(len(notes))] = {"v": self.random.randint(0, 9)}
        elif what == 4 and notes:
            del notes[self.random.randrange(len(notes))]
        elif what == 5:
            notes.insert(self.random.randint(-1, len(notes) + 1), "in")
        elif what == 6 and notes:
            notes.pop()
        elif what == 7:
            notes.extend(range(40))
        else:
            notes.clear()

    def change_player(self):
        for player in self.players:
            player.x += self.random.choice([0, 3.3, -4.2])
            player.team = self.random.choice(["red", "blue"])
            player.cards.append(self.random.randint(1, 13))
            if len(player.cards) > 5:
                player.cards = []
            player.secret += 1

    def change_room(self):
        self.phase = self.random.choice(["play", "over"])
        self.scores[self.random.choice("abc")] = self.random.randint(0, 3)
        self.table.append(self._thing())

    def ghosts(self):
        found = self.each(Ghost)
        if len(found) < 3:
            self.spawn(Ghost, team=self.random.choice(["red", "blue"]))
        else:
            ghost = self.random.choice(found)
            what = self.random.randint(0, 3)
            if what == 0:
                self.despawn(ghost)
            elif what == 1:
                ghost.team = self.random.choice(["red", "blue"])
            else:
                ghost.mood = self.random.choice(["calm", "wild"])
                ghost.path.append(self.random.randint(0, 9))

    ACTIONS = (spawn_thing, despawn_thing, change_thing, change_list, change_player,
               change_room, ghosts)  # fmt: skip


GAME = Game(Wild)


def seen_by(simulation: Simulation, viewer: Player | None) -> dict[int, dict]:
    """What a viewer should know, by brute force."""
    seen = {}
    for id, entity in simulation.replica.entities.items():
        kind = entity.kind
        if kind.to is not None and (viewer is None or not may_see(kind.to, entity, viewer)):
            continue
        row = {}
        for field in kind.fields:
            hidden = kind.to is not None or field.to is not None
            if hidden and viewer is None:
                continue
            if field.to is not None and not may_see(field.to, entity, viewer):
                continue
            value = entity.__dict__[field.name]
            if field.step:
                per = 1 / field.step
                value = int(value * per + 0.5) if value >= 0 else -int(0.5 - value * per)
                value *= field.step
            row[field.name] = comparable(value)
        seen[id] = row
    return {id: resolved(row, seen) for id, row in seen.items()}


def resolved(value, seen):
    """References to what is gone, or hidden, are nothing to a client."""
    if isinstance(value, Ref):
        return value if value.id in seen else None
    if isinstance(value, dict):
        return {key: resolved(item, seen) for key, item in value.items()}
    return [resolved(item, seen) for item in value] if isinstance(value, list) else value


def reference(entity):
    """As it travels; what is gone travels as nothing."""
    packed = msgpack.unpackb(pack(entity))
    return packed and Ref(int.from_bytes(packed.data, "little"))


def comparable(value):
    if isinstance(value, Entity):
        return reference(value)
    if isinstance(value, dict):
        return {key: comparable(item) for key, item in plain(value).items()}
    if isinstance(value, list | tuple):
        return [comparable(item) for item in value]
    return value


def known_to(tree: StateTree) -> dict[int, dict]:
    rows = {id: {k: thawed(v) for k, v in row.items()} for id, row in tree.entities.items()}
    return {id: resolved(row, rows) for id, row in rows.items()}


def thawed(value):
    if isinstance(value, dict):
        return {key: thawed(item) for key, item in value.items()}
    return [thawed(item) for item in value] if isinstance(value, list | tuple) else value


class Viewer:
    """One client of the simulation, with the frames that a room would send it."""

    def __init__(self, id: str):
        self.id = id
        self.tree = StateTree(GAME.declaration())
        self.told: dict = {}
        self.fresh = True

    def see(self, simulation: Simulation, parts: int, body: bytes, full: bytes) -> None:
        player = simulation.players.get(self.id)
        if self.id and player is None:
            return
        if self.fresh:
            self.told, self.fresh = {}, False
            hidden = simulation.replica.hidden(player, self.told) if player else b""
            frame = objects.state(simulation.tick, None, full, hidden)
            self.tree.apply_state(unpack(payload_of(frame)))
            return
        hidden = simulation.replica.hidden(player, self.told) if player else b""
        frame = objects.patch(pack(simulation.tick), None, parts, body, hidden)
        self.tree.apply_patch(unpack(payload_of(frame)))


def payload_of(frame: bytes) -> bytes:
    return frame[{126: 4, 127: 10}.get(frame[1], 2) :]


@pytest.mark.parametrize("seed", range(12))
def test_each_viewer_knows_exactly_what_it_may_see_whatever_was_skipped(seed):
    chance = random.Random(seed)
    simulation = Simulation(GAME, {}, seed)
    viewers = [Viewer(""), Viewer("a"), Viewer("b"), Viewer("c")]
    for tick in range(250):
        events = []
        for id in "abc":
            if id not in simulation.players and chance.random() < 0.1:
                events.append([JOIN, id, id.upper(), "s", False])
            elif id in simulation.players and chance.random() < 0.01:
                events.append([LEAVE, id])
        simulation.advance(events)
        parts, body = simulation.replica.patch()
        full = simulation.replica.full()
        for viewer in viewers:
            if viewer.id and viewer.id not in simulation.players:
                viewer.fresh = True
                continue
            if chance.random() < 0.05:
                viewer.fresh = True  # it was too slow for this one
                continue
            if viewer.fresh and chance.random() < 0.3:
                continue
            viewer.see(simulation, parts, body, full)
            player = simulation.players.get(viewer.id)
            assert known_to(viewer.tree) == seen_by(simulation, player), f"seed {seed} tick {tick}"


@pytest.mark.parametrize("seed", range(6))
def test_a_room_that_is_loaded_from_its_dump_goes_on_as_if_nothing_had_happened(seed):
    simulation = Simulation(GAME, {}, seed)
    simulation.advance([[JOIN, "a", "Ada", "s", False], [JOIN, "b", "Bob", "t", False]])
    for _ in range(60):
        simulation.advance([])
        simulation.replica.patch()
    again = Simulation.load(GAME, simulation.dump())
    # A reference to what is gone is kept as None, so the copy is compared with a copy.
    first = Simulation.load(GAME, simulation.dump())
    for _ in range(60):
        again.advance([])
        first.advance([])
        assert again.replica.patch() == first.replica.patch(), f"seed {seed}"
    assert again.dump() == first.dump()


def test_what_moves_travels_as_one_byte_per_coordinate():
    simulation = Simulation(GAME, {}, 1)
    simulation.advance([[JOIN, "a", "Ada", "s", False]])
    simulation.replica.patch()
    player = simulation.players["a"]
    player.x += 12.0
    parts, body = simulation.replica.patch()
    assert (
        parts == 1
        and msgspec.msgpack.decode(body) == [reference(player).id, 2, 24]
        and len(body) == 4
    )


def test_setting_the_same_value_again_sends_nothing():
    simulation = Simulation(GAME, {}, 1)
    simulation.advance([[JOIN, "a", "Ada", "s", False]])
    simulation.replica.patch()
    simulation.room.phase = "play"
    simulation.players["a"].x += 0.0
    assert simulation.replica.patch() == (0, b"")


def test_hidden_values_are_in_nobody_elses_bytes():
    simulation = Simulation(GAME, {}, 1)
    simulation.advance([[JOIN, "a", "Ada", "s", False], [JOIN, "b", "Bob", "t", False]])
    told: dict = {}
    simulation.replica.patch()
    simulation.players["a"].cards.append(987654321)
    parts, body = simulation.replica.patch()
    needle = pack(987654321)
    assert needle not in body and needle not in simulation.replica.full()
    assert needle not in simulation.replica.hidden(simulation.players["b"], {})
    assert needle in simulation.replica.hidden(simulation.players["a"], told)


def test_what_is_inside_a_list_cannot_be_changed_unnoticed():
    simulation = Simulation(GAME, {}, 1)
    simulation.room.table.append([1, {"a": 1}])
    with pytest.raises(AttributeError):
        simulation.room.table[0].append(2)
    with pytest.raises(TypeError, match="replace it"):
        simulation.room.table[0][1]["a"] = 2


def test_a_default_list_is_not_shared_between_rooms():
    class Board(Room):
        tick_hz = 0
        kept: list = []

    game = Game(Board)
    one, other = Simulation(game, {}, 1), Simulation(game, {}, 1)
    one.room.kept.append(1)
    assert other.room.kept == []


@pytest.mark.parametrize(
    "declare, said",
    [
        (lambda: type("R", (Room,), {"on_jion": lambda self, p: None}), "did you mean on_join"),
        (lambda: Game(type("R", (Room,), {"tick_hz": 90})), "tick_hz = 90 is not allowed: 0 to 60"),
        (lambda: Game(type("R", (Room,), {"capacity": 0})), "capacity = 0 is not allowed"),
        (lambda: type("I", (Input,), {"__annotations__": {"dx": "int"}}), "dx needs a check"),
        (lambda: whole(3, 1), "the lower end comes first"),
    ],
)
def test_a_declaration_that_cannot_work_is_refused_with_place_and_cure(declare, said):
    with pytest.raises(DeclarationError, match=said):
        declare()
