"""What is given up under load: in the declared order, and given back."""

from __future__ import annotations

import pytest

from server.shedding import BUSY, CALM, LEVELS, LONGEST_S, LOWER_AFTER_S, RAISE_AFTER, Shedding

PERIOD = 0.05


def feed(shedding, share, ticks):
    for _ in range(ticks):
        shedding.observe(share * PERIOD)


def test_the_order_is_cosmetics_far_entities_snapshots_admission():
    names = [level.name for level in LEVELS]
    assert names == [
        "none", "cosmetics", "far_half", "far_quarter",
        "snapshots_half", "snapshots_quarter", "admission",
    ]  # fmt: skip
    for before, after in zip(LEVELS, LEVELS[1:]):
        assert after.cosmetics <= before.cosmetics
        assert after.far_interval >= before.far_interval
        assert after.snapshot_ticks >= before.snapshot_ticks
        assert after.admits <= before.admits
    assert LEVELS[0] == ("none", True, 1, 1, True)


def test_lasting_overload_climbs_one_level_at_a_time_and_stops_at_the_last():
    shedding = Shedding(20)
    seen = []
    for _ in range(len(LEVELS) + 2):
        feed(shedding, 1.2, RAISE_AFTER)
        seen.append(shedding.level)
    assert seen == [*LEVELS[1:], LEVELS[-1], LEVELS[-1], LEVELS[-1]]
    assert shedding.raised == len(LEVELS) - 1


def test_a_burst_is_not_an_overload():
    shedding = Shedding(20)
    for _ in range(50):
        feed(shedding, 3.0, RAISE_AFTER - 1)
        feed(shedding, 0.3, RAISE_AFTER)
    assert shedding.level.name == "none" and shedding.raised == 0


def test_calm_gives_back_one_level_after_another():
    shedding = Shedding(20)
    feed(shedding, 2.0, RAISE_AFTER * 3)
    assert shedding.level.name == "far_quarter"
    calm = int(LOWER_AFTER_S * 20)
    feed(shedding, 0.2, calm - 1)
    assert shedding.level.name == "far_quarter"
    feed(shedding, 0.2, 1)
    assert shedding.level.name == "far_half"
    feed(shedding, 0.2, 2 * calm)
    assert shedding.level.name == "none"
    feed(shedding, 0.2, 10 * calm)
    assert shedding.level.name == "none"


def test_between_busy_and_calm_nothing_changes():
    shedding = Shedding(20)
    feed(shedding, 2.0, RAISE_AFTER)
    feed(shedding, (BUSY + CALM) / 2, 1000)
    assert shedding.level.name == "cosmetics"


def test_what_was_given_back_too_early_is_given_back_later_the_next_time():
    """A room that carries its load at one level, but not at the level below it."""
    shedding, tries = Shedding(20), []
    feed(shedding, 2.0, RAISE_AFTER)
    for tick in range(200 * 20):
        level = shedding.level
        shedding.observe((0.95 if level.name == "none" else 0.8) * PERIOD)
        if shedding.level.name == "none" != level.name:
            tries.append(tick)
    waits = [(later - sooner) / 20 for sooner, later in zip(tries, tries[1:])]
    assert waits == sorted(waits) and waits[0] < 3 * LOWER_AFTER_S + 1
    assert LONGEST_S <= waits[-1] < LONGEST_S + 2 and len(tries) < 15
    feed(shedding, 0.5, int(2 * LONGEST_S * 20))
    assert shedding.level.name == "none"
    feed(shedding, 2.0, RAISE_AFTER)
    feed(shedding, 0.5, int(LOWER_AFTER_S * 20))
    assert shedding.level.name == "none", "another overload is not held against it"


@pytest.mark.parametrize("hz", [10, 60])
def test_busy_and_calm_are_shares_of_the_tick_period(hz):
    shedding = Shedding(hz)
    for _ in range(RAISE_AFTER):
        shedding.observe(0.95 / hz)
    assert shedding.level.name == "cosmetics"
    for _ in range(int(LOWER_AFTER_S * hz)):
        shedding.observe(0.5 / hz)
    assert shedding.level.name == "none"
