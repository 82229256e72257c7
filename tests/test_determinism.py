"""The same settings, seed and calls give the same world, also across dump and load."""

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import game
from tickstorm.games.world import WorldSettings

PLAYERS = 24


def make(seed=7):
    return game.create_world(WorldSettings(20, PLAYERS, {"size": 800}), seed)


def script(seed, ticks):
    """What happens before each tick, at random: ``[(joins, leaves, commands), ...]``."""
    rng = np.random.default_rng(seed)
    present, plan = set(), []
    for tick in range(ticks):
        count = 12 if tick == 0 else int(rng.random() < 0.1)
        joins = [f"{tick}-{i}" for i in range(min(count, PLAYERS - len(present)))]
        for _ in joins:
            present.add(min(set(range(PLAYERS)) - present))
        leaves = sorted(slot for slot in present if rng.random() < 0.005)
        speaking = [slot for slot in sorted(present) if rng.random() < 0.9]
        present -= set(leaves)
        rows = np.frombuffer(rng.bytes(len(speaking) * 10), game.STEP_COMMAND).copy()
        rows["slot"], rows["seq"] = speaking, tick
        game.clamp(rows)
        rows["buttons"] |= 1
        plan.append((joins, leaves, rows))
    return plan


def play(world, plan):
    """Checksums after each tick of the plan."""
    checksums = []
    for joins, leaves, rows in plan:
        for name in joins:
            world.join(name, bot=False)
        for slot in leaves:
            world.leave(slot)
        world.step(rows)
        checksums.append(world.checksum())
    return checksums


def copy(world):
    return game.load_world(msgpack.unpackb(msgpack.packb(world.dump())))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_the_same_seed_and_calls_give_the_same_checksums(world_seed, script_seed):
    plan = script(script_seed, 120)
    assert play(make(world_seed), plan) == play(make(world_seed), plan)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 150))
def test_a_loaded_world_goes_on_as_the_original(seed, dumped_at):
    plan = script(seed, dumped_at + 80)
    world = make()
    play(world, plan[:dumped_at])
    other = copy(world)
    assert other.checksum() == world.checksum()
    assert play(other, plan[dumped_at:]) == play(world, plan[dumped_at:])


def test_a_loaded_world_shows_players_the_same():
    world = make()
    play(world, script(3, 200))
    other = copy(world)
    slots = np.flatnonzero(world.view()[0].present)
    assert slots.size > 5
    assert np.array_equal(world.self_rows(slots), other.self_rows(slots))
    assert world.board() == other.board() and world.rules() == other.rules()
    for mine, theirs in zip(world.view(), other.view()):
        assert np.array_equal(mine.present, theirs.present)
        for a, b in zip(mine[:6], theirs[:6]):  # the others are no columns
            assert np.array_equal(a[mine.present], b[mine.present])


def test_a_dump_is_not_changed_by_what_the_world_does_next():
    world = make()
    plan = script(4, 100)
    play(world, plan[:50])
    before, dump = world.checksum(), world.dump()
    play(world, plan[50:])
    assert game.load_world(dump).checksum() == before != world.checksum()


def test_the_scripts_include_kills_shots_and_orbs():
    world, kills = make(), 0
    for part in script(5, 400):
        play(world, [part])
        kills += len(world.feed())
    assert kills >= 10 and world.shots.used > 0 and world.ships.score.max() >= 100


def test_another_seed_gives_another_world():
    plan = script(1, 5)
    assert play(make(1), plan) != play(make(2), plan)


@pytest.mark.parametrize(
    ("column", "change"),
    [("x", 2e-4), ("energy", 1e-5), ("score", 1), ("cooldown", 1), ("aim", 4), ("view_delay", 1)],
)
def test_the_smallest_difference_shows_in_the_checksum(column, change):
    world = make()
    play(world, script(6, 50))
    values, before = getattr(world.ships, column), world.checksum()
    values[0] += values.dtype.type(change)
    assert world.checksum() != before


def test_the_checksum_does_not_change_the_world():
    plan = script(8, 100)
    watched, unwatched = make(), make()
    play(watched, plan)
    for joins, leaves, rows in plan:
        for name in joins:
            unwatched.join(name, bot=False)
        for slot in leaves:
            unwatched.leave(slot)
        unwatched.step(rows)
    assert watched.checksum() == unwatched.checksum()
