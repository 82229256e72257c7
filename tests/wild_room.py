"""A room of objects in which everything can happen, and what its viewers may see."""

from __future__ import annotations

import msgpack

from tickstorm.client.state import Ref
from tickstorm.games.entity import Entity, Player, plain, synced
from tickstorm.games.room import Game, Room
from tickstorm.games.simulation import Simulation
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
    last: list = synced([], most=3)
    heard: dict[str, int] = synced({}, most=2)
    shown: int = synced(0, to=lambda thing, player: player.x > thing.at)
    price: int = synced(0, to="owner")


class Ghost(Entity, to="team"):
    team: str = ""
    mood: str = synced("calm")
    path: list[int] = synced([])


class Purse(Entity, to="owner"):
    coins: int = synced(0)


class Wild(Room):
    player = Hand
    kinds = (Thing, Ghost, Purse)
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
        thing.price += self.random.randint(0, 1)
        thing.owner = self.random.choice([thing.owner, None, *self.players])
        thing.bag[str(self.random.randint(0, 3))] = self.random.randint(0, 9)
        thing.last.append(thing.bag["new"] if "new" in thing.bag else [])
        thing.heard[str(self.random.randint(0, 5))] = self.random.randint(0, 9)
        if self.random.random() < 0.1:
            thing.last = list(range(self.random.randint(0, 6)))
            thing.last.insert(0, "first")
        assert len(thing.last) <= 3 and len(thing.heard) <= 2
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

    def purses(self):
        found = self.each(Purse)
        if len(found) < 2:
            self.spawn(Purse, owner=self.random.choice([None, *self.players]))
        else:
            purse = self.random.choice(found)
            purse.coins += self.random.randint(0, 1)
            purse.owner = self.random.choice([None, *self.players])

    ACTIONS = (spawn_thing, despawn_thing, change_thing, change_list, change_player,
               change_room, ghosts, purses)  # fmt: skip


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


def payload_of(frame: bytes) -> bytes:
    return frame[{126: 4, 127: 10}.get(frame[1], 2) :]


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
