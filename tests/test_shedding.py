"""What is given up under load: in the declared order, and given back."""

from __future__ import annotations

import pytest

from tickstorm.rooms.shedding import (
    BUSY,
    CALM,
    LEVELS,
    LONGEST_S,
    LOWER_AFTER_S,
    SETTLE_S,
    Shedding,
)

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
    seen = [shedding.level]
    for _ in range(20 * 20):
        feed(shedding, 1.2, 1)
        if shedding.level != seen[-1]:
            seen.append(shedding.level)
    assert seen == list(LEVELS)
    assert shedding.raised == len(LEVELS) - 1


def test_the_worse_it_is_the_sooner_it_is_answered():
    def ticks_to_the_last(share):
        shedding, ticks = Shedding(20), 0
        while shedding.level != LEVELS[-1]:
            feed(shedding, share, 1)
            ticks += 1
        return ticks

    assert ticks_to_the_last(1.5) <= ticks_to_the_last(1.1) <= ticks_to_the_last(1.0)
    assert ticks_to_the_last(1.5) <= len(LEVELS) * SETTLE_S * 20


def test_a_burst_is_not_an_overload():
    shedding = Shedding(20)
    for _ in range(50):
        feed(shedding, 3.0, 9)
        feed(shedding, 0.3, 30)
    assert shedding.level.name == "none" and shedding.raised == 0


def test_calm_gives_back_one_level_after_another():
    shedding = Shedding(20)
    while shedding.level.name != "far_quarter":
        feed(shedding, 2.0, 1)
    seen = [shedding.level]
    for _ in range(int(3 * (SETTLE_S + LOWER_AFTER_S) * 20)):
        feed(shedding, 0.2, 1)
        if shedding.level != seen[-1]:
            seen.append(shedding.level)
    assert [level.name for level in seen] == ["far_quarter", "far_half", "cosmetics", "none"]
    feed(shedding, 0.2, 200)
    assert shedding.level.name == "none"


def test_between_busy_and_calm_nothing_changes():
    shedding = Shedding(20)
    while shedding.level.name != "cosmetics":
        feed(shedding, 2.0, 1)
    feed(shedding, (BUSY + CALM) / 2, 1000)
    assert shedding.level.name == "cosmetics"


def test_what_was_given_back_too_early_is_given_back_later_the_next_time():
    """A room that carries its load at one level, but not at the level below it."""
    shedding, tries = Shedding(20), []
    for tick in range(300 * 20):
        level = shedding.level
        shedding.observe((1.05 if level.name == "none" else 0.8) * PERIOD)
        if shedding.level.name == "none" != level.name:
            tries.append(tick)
    waits = [(later - sooner) / 20 for sooner, later in zip(tries, tries[1:])]
    assert waits == sorted(waits) and waits[0] < 4
    assert LONGEST_S <= waits[-1] < LONGEST_S + 4 and len(tries) < 15
    feed(shedding, 0.5, int(2 * LONGEST_S * 20))
    assert shedding.level.name == "none"
    while shedding.level.name == "none":
        feed(shedding, 2.0, 1)
    feed(shedding, 0.2, int((SETTLE_S + LOWER_AFTER_S) * 20))
    assert shedding.level.name == "none", "another overload is not held against it"


@pytest.mark.parametrize("hz", [10, 60])
def test_busy_and_calm_are_shares_of_the_tick_period(hz):
    shedding = Shedding(hz)
    ticks = 0
    while shedding.level.name == "none":
        shedding.observe(1.0 / hz)
        ticks += 1
    assert hz < ticks < 4 * hz
    for _ in range(int((SETTLE_S + LOWER_AFTER_S) * hz)):
        shedding.observe(0.5 / hz)
    assert shedding.level.name == "none"
