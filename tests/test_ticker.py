"""When ticks are due: no drift, bounded catch-up."""

from __future__ import annotations

import random

import pytest

from tickstorm.rooms.ticker import MAX_CATCH_UP, Ticker


def play(ticker, now, until, latency):
    """A loop that sleeps for as long as it is told and wakes `latency()` seconds late.

    Returns the times at which ticks ran.
    """
    ran = []
    while True:
        now += ticker.wait_s(now) + latency()
        if now > until:
            return ran
        ran += [now] * ticker.due(now)


@pytest.mark.parametrize("hz", [10, 20, 24, 30, 60])
@pytest.mark.parametrize("start", [0.0, 12_345_678.9])
def test_a_hundred_thousand_ticks_do_not_drift(hz, start):
    rng = random.Random(hz)
    ticker = Ticker(hz, start)
    n = 100_000
    ran = play(ticker, start, start + (n + 0.5) / hz, lambda: rng.random() * 0.4 / hz)
    assert len(ran) == n
    assert ticker.overruns == ticker.skipped == 0
    for i, at in enumerate(ran, 1):
        assert -1e-6 <= at - (start + i / hz) <= 0.4 / hz + 1e-6


def test_a_loop_that_wakes_too_early_waits_again():
    ticker = Ticker(20, 0.0)
    assert ticker.due(0.049) == 0
    assert ticker.wait_s(0.049) == pytest.approx(0.001)
    assert ticker.due(0.05) == 1
    assert ticker.due(0.05) == 0


def test_a_stall_of_a_second_is_caught_up_by_three_ticks_and_the_rest_is_counted():
    ticker = Ticker(20, 0.0)
    assert ticker.due(0.05) == 1
    assert ticker.due(1.05) == MAX_CATCH_UP == 3
    assert ticker.skipped == 20 - 3
    assert ticker.overruns == 1
    assert ticker.due(1.05) == 0
    # From then on the old rhythm, at the new origin.
    assert ticker.wait_s(1.05) == pytest.approx(0.05)
    ran = play(ticker, 1.05, 11.075, lambda: 0.001)
    assert len(ran) == 200
    assert ticker.skipped == 17


def test_a_short_stall_is_caught_up_without_giving_anything_up():
    ticker = Ticker(20, 0.0)
    assert ticker.due(0.16) == 3
    assert (ticker.overruns, ticker.skipped) == (1, 0)
    assert ticker.wait_s(0.16) == pytest.approx(0.04)


def test_a_machine_that_slept_for_a_day_goes_on_at_once():
    ticker = Ticker(60, 100.0)
    assert ticker.due(100.0 + 86_400) == MAX_CATCH_UP
    assert 0 < ticker.wait_s(100.0 + 86_400) <= 1 / 60


def test_a_server_that_is_always_too_slow_keeps_ticking_and_counts_what_it_gives_up():
    ticker = Ticker(20, 0.0)
    now, ran = 0.0, 0
    for _ in range(100):
        now += 0.4  # eight periods at a time
        ran += ticker.due(now)
    assert ran == 100 * MAX_CATCH_UP
    assert abs(ticker.skipped - 100 * (8 - MAX_CATCH_UP)) <= 1  # 0.4 is not exact
    assert ticker.overruns == 100
