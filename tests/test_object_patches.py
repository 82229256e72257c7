"""Whatever a room does, each viewer knows exactly what it may see: the encoder against the
Python client's decoder and brute force."""

from __future__ import annotations

import random

import msgspec
import pytest

from tests.wild_room import GAME, Thing, payload_of, reference, resolved, seen_by
from tickstorm.client.state import StateTree, unpack
from tickstorm.games.catalogue import GameError, load
from tickstorm.games.checks import DeclarationError, whole
from tickstorm.games.room import Game, Input, Room
from tickstorm.games.simulation import JOIN, LEAVE, Simulation
from tickstorm.protocol import objects
from tickstorm.replication.patches import pack


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


ODD = """from tickstorm import Entity, Room, synced
from tests.wild_room import Hand
class Odd(Entity{audience}):
    where: str = synced("")
    team: str = ""
    {line}
class Table(Room):
    player, kinds = Hand, (Odd,)
"""


@pytest.mark.parametrize(
    "audience, line, said",
    [
        ("", "score: int = synced('x')", ":6: Odd.score: the default 'x' is not allowed: Expected"),
        ("", "score: int = synced()", ":6: Odd.score: the default None is not allowed"),
        ("", "x: list[int] = synced(['a'])", ":6: Odd.x: the default .* Expected `int`, got `str`"),
        ("", "x: int = synced(0, to='ownr')", ":6: Odd.x: to='ownr' .* 'owner', a function"),
        ("", "x: int = synced(0, to='where')", r":6: .* both Odd and Hand must declare \(team\)"),
        (", to='ownr'", "", ":3: Odd: to='ownr' is not allowed, but 'owner', a function"),
    ],
)
def test_a_field_that_cannot_work_is_refused_at_its_line(tmp_path, audience, line, said):
    rules = tmp_path / "odd.py"
    rules.write_text(ODD.format(audience=audience, line=line))
    with pytest.raises(GameError, match=f"odd.py{said}"):
        load(str(rules))


@pytest.mark.parametrize(
    "audience, line",
    [
        (", to='team'", "x: float = synced(0, to='owner')"),
        ("", "x: 'int | None' = synced(None, to='team')"),
        ("", "x: Hand = synced(None)"),  # a type that is the game's own
        ("", "x: list[tuple[int, str]] = synced([(1, 'a')])"),
    ],
)
def test_a_field_that_can_work_is_taken(tmp_path, audience, line):
    rules = tmp_path / "even.py"
    rules.write_text(ODD.format(audience=audience, line=line))
    assert load(str(rules)).first.name == "table"


def test_what_is_fixed_says_what_to_do_instead():
    simulation = Simulation(GAME, {}, 1)
    thing = simulation.room.spawn(Thing, label="old")
    with pytest.raises(AttributeError, match="Thing.label is fixed .* despawn it and spawn anoth"):
        thing.label = "new"
