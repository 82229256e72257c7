"""How bots play, each habit on its own and all together in a world."""

import math
import random
from dataclasses import replace

import numpy as np
import pytest

from clients.bots import brain
from clients.bots.brain import (
    COLLECTOR,
    COWARD,
    DUELIST,
    HUNTER,
    SNIPER,
    TEMPERAMENTS,
    THINK_TICKS,
    TURN,
    bot_name,
    intercept_s,
)
from game import schema
from game.schema import BUTTON_BOOST, BUTTON_FIRE, BUTTON_THRUST
from tests.bot_arena import arena, brain_for, commands, decide, play

MARKSMAN = replace(HUNTER, aim_error=0.0, turn_rate=3600.0)


def unprotected(world):
    world.ships.protected_until[:] = 0
    return world


def direction(command):
    """Unit vector of a command's thrust."""
    angle = command.move / 256 * TURN
    return math.cos(angle), math.sin(angle)


# ---------------------------------------------------------------- aiming


def test_a_shot_aimed_at_the_intercept_meets_its_target():
    rng = random.Random(2)
    for _ in range(1000):
        dx, dy = rng.uniform(-900, 900), rng.uniform(-900, 900)
        vx, vy = rng.uniform(-600, 600), rng.uniform(-600, 600)
        t = intercept_s(dx, dy, vx, vy, speed=1000, muzzle=16)
        if math.hypot(dx, dy) > 16:
            assert math.hypot(dx + vx * t, dy + vy * t) == pytest.approx(1000 * t + 16)


def test_a_target_that_outruns_the_shot_is_not_met():
    assert intercept_s(300, 0, 1200, 0, speed=1000) is None
    assert intercept_s(300, 0, 1000, 0, speed=1000) is None
    assert intercept_s(300, 0, -1000, 0, speed=1000) == pytest.approx(0.15)


def test_a_steady_hand_leads_its_shots_and_destroys_a_ship_that_flies_straight():
    world = unprotected(arena(2))
    world.place(0, 1000, 1400)
    world.place(1, 300, 1000)
    world.ships.vx[1] = 338  # as fast as its thrust takes it
    brain = brain_for(world, replace(MARKSMAN, burst_s=60.0))
    hits, fired, hull = 0, 0, 100
    for _ in range(60):
        command = decide(brain, world, 0)._replace(move=0)
        command = command._replace(buttons=command.buttons & BUTTON_FIRE)
        step = commands(world, {0: command}, view_delay=16)
        straight = np.array([(1, world.tick, 0, 0, BUTTON_THRUST, 0, 0)], step.dtype)
        world.step(np.concatenate([step, straight]))
        fired += np.count_nonzero(world.shots.present & (world.shots.born == world.tick))
        hits += world.ships.hp[1] < hull
        hull = world.ships.hp[1]
        if world.feed():
            break
    assert world.feed() == [["kill", "ship 0", "ship 1", 0, 1]]
    # It needs two looks to know a speed, so its very first shot goes behind.
    assert hits >= fired - np.count_nonzero(world.shots.present) - 1


def test_the_gun_turns_no_faster_than_the_temperament_allows():
    world = unprotected(arena(2))
    world.place(0, 1000, 1000)
    brain = brain_for(world, SNIPER)
    most, last, turned = SNIPER.turn_rate / 20 / 360 * 1024, 0, 0
    for step in range(60):
        world.place(1, 1000 + 300 * math.cos(step), 1000 + 300 * math.sin(step))
        world.step(commands(world, {}))
        aim = decide(brain, world, 0).aim
        turn = abs((aim - last + 512) % 1024 - 512)
        assert turn <= most + 1
        last, turned = aim, turned + turn
    assert turned > 512


def test_nobody_fires_at_a_protected_ship_or_a_wreck():
    world = arena(2)
    brain = brain_for(world, MARKSMAN)
    world.place(0, 1000, 1000)
    world.place(1, 1200, 1000)
    fired = {"protected": 0, "open": 0, "wreck": 0}

    def watch(state):
        for tick in range(40):
            world.ships.protected_until[1] = world.tick + (5 if state == "protected" else 0)
            world.ships.hp[1] = 100
            world.ships.alive[1] = state != "wreck"
            command = decide(brain, world, 0)
            if tick >= THINK_TICKS:  # until then it may act on what it saw before
                fired[state] += bool(command.buttons & BUTTON_FIRE)
            world.step(commands(world, {}))

    for state in fired:
        watch(state)
    assert fired["protected"] == fired["wreck"] == 0 and fired["open"] > 3


# ---------------------------------------------------------------- moving


def test_a_lone_collector_flies_to_the_orbs_and_collects_them():
    world = arena(1, orbs=40)
    play(world, {0: brain_for(world, COLLECTOR)}, 30 * 20)
    assert world.ships.score[0] >= 20 * 5


@pytest.mark.parametrize("temperament", TEMPERAMENTS, ids=lambda t: t.name)
def test_a_nearly_destroyed_ship_runs_from_its_enemy_with_all_it_has(temperament):
    world = unprotected(arena(2))
    world.place(0, 1000, 1000)
    world.place(1, 1250, 1000)
    world.ships.hp[0] = 8
    world.step(commands(world, {}))
    brain = brain_for(world, temperament)
    command = decide(brain, world, 0)
    assert brain.mood == "flee"
    assert direction(command)[0] < -0.5
    assert command.buttons & BUTTON_BOOST


def test_a_sound_hunter_closes_in_and_a_coward_that_was_scratched_does_not():
    world = unprotected(arena(2))
    world.place(0, 700, 1000)
    world.place(1, 1300, 1000)
    world.ships.hp[0] = 80
    world.step(commands(world, {}))
    assert direction(decide(brain_for(world, HUNTER), world, 0))[0] > 0.5
    assert direction(decide(brain_for(world, COWARD), world, 0))[0] < -0.5


def test_a_duelist_circles_its_opponent_both_ways():
    world = unprotected(arena(2))
    world.place(1, 1024, 1024)
    world.place(0, 1024 + DUELIST.keeps, 1024)
    brain, turns = brain_for(world, DUELIST), []

    def stand_still():
        world.ships.hp[:] = 100
        world.ships.x[1] = world.ships.y[1] = 1024
        x, y = world.ships.x[0] - 1024, world.ships.y[0] - 1024
        turns.append(float(x * world.ships.vy[0] - y * world.ships.vx[0]))
        assert math.hypot(x, y) < 2.5 * DUELIST.keeps

    play(world, {0: brain}, 15 * 20, stand_still)
    assert min(turns) < -10_000 and max(turns) > 10_000


def test_a_ship_moves_out_of_the_way_of_a_shot():
    world = unprotected(arena(2))
    world.place(0, 1000, 1000)
    world.place(1, 700, 990)  # so the shot passes above the ship's centre
    fire = np.array([(1, 1, 0, 0, BUTTON_FIRE, 0, 0)], commands(world, {}).dtype)
    world.step(fire)
    assert world.shots.present.any()
    peaceful = replace(COLLECTOR, fight_range=0.0, flees_below=0.0)
    command = decide(brain_for(world, peaceful), world, 0)
    assert direction(command)[1] > 0.5


@pytest.mark.parametrize("temperament", TEMPERAMENTS, ids=lambda t: t.name)
def test_nobody_hangs_about_at_the_border(temperament):
    world = arena(1, size=3072, orbs=50)
    world.place(0, 40, 40)
    world.ships.vx[0] = world.ships.vy[0] = -300
    at_border = []

    def watch():
        x, y = world.ships.x[0], world.ships.y[0]
        at_border.append(min(x, y, 3072 - x, 3072 - y) < 30)

    play(world, {0: brain_for(world, temperament)}, 40 * 20, watch)
    assert not any(at_border[40:])
    assert sum(at_border) < 20


def test_the_bold_roam_to_where_others_are():
    world = arena(1, size=6144)
    world.place(0, 1000, 1000)
    heat = np.zeros((12, 12), np.uint8)
    heat[9, 3] = 2
    x, y = direction(decide(brain_for(world, HUNTER), world, 0, heat=heat))
    assert math.atan2(y, x) == pytest.approx(
        math.atan2(9.5 * 512 - 1000, 3.5 * 512 - 1000), abs=0.1
    )


# ---------------------------------------------------------------- all together


def test_a_wreck_does_nothing():
    world = arena(2)
    world.ships.alive[0] = False
    assert decide(brain_for(world, HUNTER), world, 0) == (0, 0, 0)


def crowd(seed, ticks=600, players=15):
    world = arena(players, size=2048, orbs=60, seed=seed)
    brains = {
        slot: brain_for(world, TEMPERAMENTS[slot % len(TEMPERAMENTS)], f"{seed}/{slot}")
        for slot in range(players)
    }
    return world, play(world, brains, ticks)


def test_a_crowd_fights_and_every_temperament_gets_its_share():
    world, kills = crowd(seed=3, ticks=1200)
    by_temperament = [0] * len(TEMPERAMENTS)
    for _, killer, *_ in kills:
        by_temperament[int(killer.removeprefix("ship ")) % len(TEMPERAMENTS)] += 1
    assert 15 < len(kills) < 200  # in a minute: neither dull nor a massacre
    assert min(by_temperament) >= 1
    assert np.count_nonzero(world.ships.score) >= 12


def test_the_same_seed_plays_the_same_game_and_another_seed_another():
    first, kills = crowd(seed=5, ticks=200)
    again, kills_again = crowd(seed=5, ticks=200)
    assert first.checksum() == again.checksum() and kills == kills_again
    assert crowd(seed=6, ticks=200)[0].checksum() != first.checksum()


def test_names_are_distinct_and_fit_the_wire():
    names = [bot_name(t, n) for t in TEMPERAMENTS for n in range(200)]
    assert len(set(names)) == 1000
    assert max(len(name.encode()) for name in names) <= 20


def test_the_brain_knows_the_bits_that_the_arena_declares():
    for name in ("ALIVE", "PROTECTED", "BUTTON_THRUST", "BUTTON_BOOST", "BUTTON_FIRE"):
        assert getattr(brain, name) == getattr(schema, name)
