"""Rounds in the world: a podium with scores that stand still, then everyone anew. No clock."""

from __future__ import annotations

import numpy as np

import game
from game.rules import PODIUM_S
from game.schema import BUTTON_FIRE, BUTTON_THRUST, STEP_COMMAND
from tickstorm.games.world import WorldSettings

HZ, ROUND_S = 10, 3
ROUND, PODIUM = ROUND_S * HZ, PODIUM_S * HZ


def world(players=3, seed=1, round_s=ROUND_S, orbs=60):
    chosen = {"size": 1024, "orbs": orbs, "round_s": round_s}
    settings = WorldSettings(tick_hz=HZ, players=8, chosen=chosen)
    made = game.create_world(settings, seed)
    for i in range(players):
        made.join(f"Player {i}", bot=False)
    return made


def step(made, ticks, buttons=BUTTON_FIRE | BUTTON_THRUST):
    for _ in range(ticks):
        slots = np.flatnonzero(made.ships.present)
        commands = np.zeros(len(slots), STEP_COMMAND)
        commands["slot"], commands["seq"] = slots, made.tick & 0xFFFF
        commands["aim"], commands["move"] = slots * 100 % 1024, (slots * 80 + made.tick) % 256
        commands["buttons"] = buttons
        made.step(commands)


def scores(made):
    return made.ships.score.tolist()


def test_a_round_ends_in_a_podium_during_which_nobody_fires_and_scores_stand_still():
    made = world()
    made.ships.score[:] = [50, 70, 60]
    step(made, ROUND)
    assert made.podium
    assert not made.shots.present.any()
    at_end = scores(made)
    step(made, PODIUM - 1)
    assert made.podium and not made.shots.present.any()
    assert scores(made) == at_end
    assert [name for name, *_ in made.board()][0] == f"Player {int(np.argmax(at_end))}"


def test_the_next_round_begins_with_everyone_whole_and_at_zero():
    made = world(orbs=0)
    made.ships.score[:] = [500, 700, 600]
    made.ships.hp[0] = 7
    step(made, ROUND + PODIUM - 1)
    before = made.ships.born.copy()
    step(made, 1, buttons=0)
    assert not made.podium
    assert scores(made) == [0, 0, 0]
    assert (made.ships.hp == 100).all() and made.ships.alive.all()
    assert (made.ships.born > before).all()  # for everyone who looks, another ship
    assert not made.ships.power.any()


def test_a_wreck_at_the_end_of_a_round_flies_in_the_next():
    made = world()
    step(made, ROUND + PODIUM - 2)
    made.sea.bury(np.array([1]))
    step(made, 2, buttons=0)
    assert made.ships.alive[1] and made.ships.respawn[1] == 0


def test_rounds_follow_from_the_seed_and_survive_a_dump():
    one, other = world(), world()
    step(one, ROUND + 20)
    step(other, ROUND + 20)
    assert one.checksum() == other.checksum()
    loaded = game.load_world(one.dump())
    step(one, PODIUM)
    step(loaded, PODIUM)
    assert one.checksum() == loaded.checksum()


def test_a_match_without_end_has_no_podium():
    made = world(round_s=0)
    made.ships.score[:] = [50, 70, 60]
    step(made, ROUND + 1, buttons=0)
    assert not made.podium and max(scores(made)) >= 70


def test_clients_are_told_how_long_rounds_are():
    rules = world().rules()
    assert (rules["round_ticks"], rules["podium_ticks"]) == (ROUND, PODIUM)
