"""The arena's rules, through the interface that the server uses."""

import numpy as np
import pytest

import game
from game.rules import ORB_REACH
from game.schema import (
    ALIVE,
    BOOST,
    BOT,
    BUTTON_BOOST,
    BUTTON_FIRE,
    BUTTON_THRUST,
    PROTECTED,
    THRUST,
)
from tickstorm.games.world import WorldSettings

SHIP, SHOT, ORB = range(3)


def make(players=8, orbs=0, size=6144, tick_hz=20, seed=7):
    settings = WorldSettings(tick_hz, players, {"size": size, "orbs": orbs})
    return game.create_world(settings, seed)


def commands(*rows):
    """STEP_COMMAND rows from maps; what isn't named is 0."""
    array = np.zeros(len(rows), game.STEP_COMMAND)
    for row, values in zip(array, rows):
        for name, value in values.items():
            row[name] = value
    return array


def step(world, *rows, ticks=1):
    for _ in range(ticks):
        world.step(commands(*rows))


def me(world, slot):
    return world.self_rows(np.array([slot]))[0]


def destroy(world, killer, victim):
    """Have `killer` shoot `victim`, both placed in the open, until the feed tells of it."""
    world.place(killer, 1000, 1000)
    world.place(victim, 1100, 1000)
    world.ships.protected_until[:] = 0
    world.ships.hp[victim] = 1
    for _ in range(20):
        step(world, {"slot": killer, "buttons": BUTTON_FIRE})
        if world.feed():
            return
    raise AssertionError("the victim survived")


# Joining and leaving.


def test_players_get_the_lowest_free_slot():
    world = make()
    assert [world.join(name, False) for name in "abc"] == [0, 1, 2]
    world.leave(1)
    assert world.join("d", False) == 1


def test_a_full_world_refuses():
    world = make(players=2)
    world.join("a", False), world.join("b", False)
    with pytest.raises(ValueError):
        world.join("c", False)


def test_a_reused_slot_is_a_new_entity():
    world = make()
    world.join("a", False)
    step(world)
    before = world.view()[SHIP].born[0].copy()
    world.leave(0)
    world.join("b", False)
    step(world)
    ships = world.view()[SHIP]
    assert ships.present[0] and ships.born[0] > before and ships.born[0] == world.tick
    assert ships.static["name"][0] == b"b"


def test_a_new_player_has_nothing_of_the_one_before():
    world = make()
    world.join("a", True), world.join("b", False)
    world.ships.score[0], world.ships.charge[0], world.ships.streak[0] = 500, 40, 3
    step(world, {"slot": 0, "buttons": BUTTON_THRUST, "seq": 9})
    destroy(world, 1, 0)
    world.leave(0)
    step(world, ticks=5)
    assert not world.view()[SHIP].present[0]
    assert world.join("c", False) == 0
    step(world)
    row = me(world, 0)
    assert (row["score"], row["power"], row["streak"], row["respawn"]) == (0, 0, 0, 0)
    assert row["hp"] == 100 and row["flags"] == ALIVE | PROTECTED
    assert row["vx"] == 0 and row["vy"] == 0


def test_a_wreck_whose_player_left_does_not_respawn():
    world = make()
    world.join("a", False), world.join("b", False)
    destroy(world, 1, 0)
    world.leave(0)
    step(world, ticks=60)
    assert not world.view()[SHIP].present[0] and not world.ships.alive[0]


def test_the_shots_of_a_player_leave_with_them():
    world = make()
    for slot, x in enumerate((1000, 4000)):
        world.join("ab"[slot], False)
        world.place(slot, x, 3000)
    step(world, *({"slot": slot, "buttons": BUTTON_FIRE} for slot in (0, 1)))
    world.leave(0)
    shots = world.view()[SHOT]
    assert shots.static["owner"][shots.present].tolist() == [1]


@pytest.mark.parametrize(
    ("name", "accepted"),
    [
        ("ada", "ada"),
        ("x" * 30, "x" * 20),
        ("x" * 19 + "é", "x" * 19),
        ("😀" * 6, "😀" * 5),
        ("a\0b", "ab"),
        ("\ud800ok", "ok"),
        ("", ""),
    ],
)
def test_names_are_cut_to_20_bytes_between_code_points(name, accepted):
    world = make()
    world.join(name, False)
    assert world.name(0) == accepted
    assert world.view()[SHIP].static["name"][0].decode() == accepted


def test_settings_out_of_range_are_refused():
    for wrong in ({"players": 0}, {"players": 65_536}, {"size": 100}, {"tick_hz": 5}):
        with pytest.raises(ValueError):
            make(**wrong)


# Commands.


def test_a_command_for_an_empty_slot_is_ignored():
    world = make()
    world.join("a", False)
    step(world, {"slot": 5, "buttons": 7}, {"slot": 0, "aim": 400})
    assert world.view()[SHIP].mutable["heading"][0] == 100


def test_a_silent_player_goes_on_for_half_a_second_and_no_longer():
    world = make()
    world.join("a", False)
    step(world, {"slot": 0, "buttons": BUTTON_THRUST})
    flags = []
    for _ in range(12):
        step(world)
        flags.append(bool(me(world, 0)["flags"] & THRUST))
    assert flags == [True] * 10 + [False] * 2


def test_flags_show_what_a_ship_does():
    world = make()
    world.join("a", True)
    step(world, {"slot": 0, "buttons": BUTTON_THRUST | BUTTON_BOOST})
    assert me(world, 0)["flags"] == ALIVE | THRUST | BOOST | PROTECTED | BOT
    step(world, {"slot": 0, "buttons": BUTTON_BOOST})
    assert me(world, 0)["flags"] == ALIVE | PROTECTED | BOT


def test_clamp_brings_any_bytes_into_range():
    rng = np.random.default_rng(1)
    raw = np.frombuffer(rng.bytes(600), game.COMMAND).copy()
    game.clamp(raw)
    assert raw["aim"].max() < 1024 and raw["buttons"].max() <= 7 and not raw["spare"].any()


# Life and death.


def test_protection_lasts_two_seconds():
    world = make()
    world.join("a", False)
    protected = []
    for _ in range(45):
        step(world)
        protected.append(bool(me(world, 0)["flags"] & PROTECTED))
    assert protected == [True] * 40 + [False] * 5


def test_protection_ends_when_the_ship_fires():
    world = make()
    world.join("a", False)
    step(world)
    assert me(world, 0)["flags"] & PROTECTED
    step(world, {"slot": 0, "buttons": BUTTON_FIRE})
    assert not me(world, 0)["flags"] & PROTECTED


def test_a_destroyed_ship_is_a_wreck_where_it_died_and_respawns_after_the_delay():
    world = make()
    world.join("a", False), world.join("b", False)
    destroy(world, 0, 1)
    died, born = world.tick, int(world.view()[SHIP].born[1])
    place = (me(world, 1)["x"], me(world, 1)["y"])
    for left in range(50, 0, -1):
        row, ships = me(world, 1), world.view()[SHIP]
        assert row["respawn"] == left and not row["flags"] & ALIVE and row["hp"] == 0
        assert ships.present[1] and ships.born[1] == born
        assert (row["x"], row["y"]) == place
        step(world, {"slot": 1, "buttons": BUTTON_THRUST | BUTTON_FIRE})
    assert world.tick == died + 50
    row, ships = me(world, 1), world.view()[SHIP]
    assert row["flags"] & ALIVE and row["respawn"] == 0 and row["hp"] == 100
    assert ships.born[1] == world.tick
    assert (row["x"], row["y"]) != place


def test_wrecks_neither_fire_nor_collect_nor_can_be_hit():
    world = make(orbs=1)
    world.join("a", False), world.join("b", False)
    destroy(world, 0, 1)
    world.orbs.release(np.arange(world.orbs.used))
    world.sea.loaded(world.room)
    step(world, {"slot": 1, "buttons": BUTTON_FIRE}, {"slot": 0, "buttons": BUTTON_FIRE}, ticks=40)
    shots = world.view()[SHOT]
    assert 1 not in shots.static["owner"][shots.present]
    assert me(world, 1)["score"] == 0
    assert me(world, 0)["streak"] == 1


def test_a_kill_pays_and_a_death_costs():
    world = make()
    world.join("ada", False), world.join("bob", False)
    world.ships.score[1] = 1000
    world.ships.charge[1], world.ships.power[1], world.ships.streak[1] = 24, 2, 5
    destroy(world, 0, 1)
    assert world.feed() == [["kill", "ada", "bob", 0, 1]]
    killer, victim = me(world, 0), me(world, 1)
    assert killer["score"] == 100 + 250 and killer["streak"] == 1
    assert victim["score"] == 700 and victim["streak"] == 0 and victim["power"] == 0
    step(world)
    assert world.feed() == []


def test_the_leader_carries_a_bounty():
    world = make()
    world.join("a", False), world.join("b", False)
    world.ships.score[1] = 1000
    step(world, ticks=20)
    assert me(world, 1)["rank"] == 1 and me(world, 0)["rank"] == 2
    destroy(world, 0, 1)
    assert me(world, 0)["score"] == 100 + 250 + 200


def test_the_board_shows_the_ten_best_in_order():
    world = make(players=12)
    for i in range(12):
        world.join(f"p{i}", False)
        world.ships.score[i] = 10 * (i % 6)
    best = [["p5", 50, 5], ["p11", 50, 11], ["p4", 40, 4], ["p10", 40, 10], ["p3", 30, 3]]
    assert world.board()[:5] == best and len(world.board()) == 10


def test_a_new_ship_appears_away_from_the_crowd():
    world = make(players=200, size=2048)
    for _ in range(150):
        world.place(world.join("x", False), 300, 300)
    near = 0
    for _ in range(50):
        slot = world.join("y", False)
        near += world.ships.x[slot] < 512 and world.ships.y[slot] < 512
    assert near == 0


# Orbs.


def test_the_game_lays_one_orb_per_40000_square_units_if_it_may_choose():
    assert np.count_nonzero(make(orbs=-1).view()[ORB].present) == 6144 * 6144 // 40_000


def test_without_orbs_not_even_a_wreck_leaves_some():
    world = make(orbs=0)
    world.join("a", False), world.join("b", False)
    destroy(world, 0, 1)
    assert not world.view()[ORB].present.any()


def lone_orb(value=3):
    """A world with one ship and one orb beside it, out of reach."""
    world = make(orbs=1)
    world.join("a", False)
    world.place(0, 1000, 1000)
    world.orbs.x[0], world.orbs.y[0], world.orbs.value[0] = 1000 + ORB_REACH + 1, 1000, value
    return world


def test_an_orb_is_collected_at_its_reach_and_not_before():
    world = lone_orb()
    world.ships.hp[0], world.ships.energy[0] = 50, 10
    step(world)
    assert me(world, 0)["score"] == 0
    world.place(0, 1002, 1000)
    step(world)
    row = me(world, 0)
    assert row["score"] == 15 and row["hp"] == 56
    assert row["energy"] == pytest.approx(10 + 2 * 0.8 + 3 * 4)


def test_hp_and_energy_never_exceed_their_maximum():
    world = lone_orb(value=200)
    world.place(0, 1010, 1000)
    step(world)
    assert me(world, 0)["hp"] == 100 and me(world, 0)["energy"] == 100


def test_the_nearest_ship_gets_the_orb():
    world = lone_orb()
    world.join("b", False)
    world.place(0, 1020, 1000)
    world.place(1, 1030, 1000)
    step(world)
    assert me(world, 0)["score"] == 0 and me(world, 1)["score"] == 15


def test_a_collected_orb_comes_back_somewhere_as_a_new_entity():
    world = lone_orb()
    world.place(0, 1010, 1000)
    step(world)
    orbs = world.view()[ORB]
    assert np.count_nonzero(orbs.present) == 1
    assert orbs.born[orbs.present][0] == world.tick


@pytest.mark.parametrize(("charge", "power"), [(11, 0), (12, 1), (24, 2), (36, 3), (90, 3)])
def test_power_grows_with_collected_orbs(charge, power):
    world = lone_orb(value=1)
    world.ships.charge[0] = charge - 1
    world.place(0, 1010, 1000)
    step(world)
    assert me(world, 0)["power"] == power


def drops(charge, score):
    world = make(orbs=1)
    world.join("a", False), world.join("b", False)
    world.ships.charge[1], world.ships.score[1] = charge, score
    destroy(world, 0, 1)
    return np.count_nonzero(world.view()[ORB].present)


def test_a_wreck_leaves_more_orbs_the_stronger_it_was():
    poor, charged, rich = drops(0, 0), drops(30, 0), drops(0, 3000)
    assert poor < charged and poor < rich
    assert drops(10_000, 10**9) <= 1 + 24


def test_what_a_wreck_left_vanishes_after_20_seconds():
    world = make(orbs=1)
    world.join("a", False), world.join("b", False)
    destroy(world, 0, 1)
    world.leave(0), world.leave(1)
    step(world, ticks=399)
    assert np.count_nonzero(world.view()[ORB].present) > 1
    step(world)
    assert np.count_nonzero(world.view()[ORB].present) == 1


def test_an_emptied_arena_fills_up_again_in_half_a_minute():
    world = make(orbs=600)
    world.orbs.release(np.arange(world.orbs.used))
    world.sea.loaded(world.room)
    step(world, ticks=20)
    few = np.count_nonzero(world.view()[ORB].present)
    step(world, ticks=20 * 30)
    assert 10 <= few <= 40
    assert np.count_nonzero(world.view()[ORB].present) == 600


# The view.


def test_the_view_quantises_to_half_units():
    world = make()
    world.join("a", False)
    world.place(0, 1000.3, 2000.8)
    step(world)
    ship = world.view()[SHIP].mutable[0]
    assert ship["x"] == 2001 and ship["y"] == 4002


def test_every_position_fits_the_wire_in_the_largest_world():
    world = make(size=32_000, players=4)
    for aim in (0, 128, 256, 384):
        slot = world.join("a", False)
        world.place(slot, 31_982, 31_982)
        world.ships.power[slot] = 1
        step(world, {"slot": slot, "aim": aim, "buttons": BUTTON_FIRE | BUTTON_THRUST})
    for kind, view in zip(game.KINDS, world.view()):
        rows = view.mutable if "x" in (view.mutable.dtype.names or ()) else view.static
        present = np.flatnonzero(view.present)
        assert np.all((view.x[present] >= 0) & (view.x[present] < 32_000)), kind.name
        born_now = present[view.born[present] == world.tick]
        assert np.allclose(rows["x"][born_now] / 2, view.x[born_now], atol=0.26), kind.name


def test_views_span_all_slots_and_have_the_declared_columns():
    world = make(players=30, orbs=50)
    world.join("a", False)
    step(world)
    for kind, view in zip(game.KINDS, world.view()):
        n = len(view.present)
        assert all(len(column) == n for column in view[:6])  # the others say whose they are
        assert view.mutable.dtype == kind.dtype("delta", "state")
        assert view.static.dtype == kind.dtype("static")
        assert (view.born.dtype, view.x.dtype, view.y.dtype) == ("i8", "f4", "f4")
    assert len(world.view()[SHIP].present) == 30


def test_static_columns_do_not_change_while_born_stays():
    world = make(players=40, orbs=-1, size=1024)
    for i in range(40):
        world.join(f"p{i}", False)
    rng = np.random.default_rng(2)
    before = None
    for _ in range(300):
        rows = np.zeros(40, game.STEP_COMMAND)
        rows["slot"], rows["aim"] = np.arange(40), rng.integers(0, 1024, 40)
        rows["move"], rows["buttons"] = rng.integers(0, 256, 40), rng.integers(0, 8, 40)
        world.step(rows)
        now = [(v.present.copy(), v.born.copy(), v.static.copy()) for v in world.view()]
        for old, new in zip(before or (), now):
            same = old[0] & new[0] & (old[1] == new[1])
            assert np.array_equal(old[2][same], new[2][same])
        before = now


def test_eyes_are_at_the_ship_or_its_wreck():
    world = make()
    world.join("a", False), world.join("b", False)
    destroy(world, 0, 1)
    x, y = world.eyes(np.array([1, 0]))
    assert x.dtype == np.float32 and x[0] == me(world, 1)["x"] and y[1] == me(world, 0)["y"]


def test_rules_are_plain_floats_that_hold_float32_exactly():
    world = make()
    rules = world.rules()
    assert all(type(value) is float for value in rules.values())
    for name in ("dt", "thrust_dv", "drag", "shot_step", "gun0_energy"):
        assert float(np.float32(rules[name])) == rules[name]
    assert rules["gun2_shots"] == 3 and rules["gun2_turn0"] == -20 and rules["gun0_cooldown"] == 4
