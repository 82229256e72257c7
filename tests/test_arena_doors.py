"""The arena over each way to the server, in Chromium: as many snapshots, as few corrections."""

from __future__ import annotations

import numpy as np
import pytest

from clients.bots.conditioner import Conditions
from tests.marks import mark
from tests.pilot import WANDER, game_behind, piloted, record

pytest_plugins = ["tests.browser"]

WAYS = ("websocket", "sse", "polling")
FAR = Conditions(latency_ms=50, jitter_ms=10)


@pytest.mark.parametrize("way", ["sse", "polling"])
def test_the_arena_is_played_over(browser, web, way):
    with game_behind(Conditions()) as (server, _, url):
        with piloted(browser, web, url, query=f"?transport={way}") as page:
            assert server.health()["streams"] == {way: 1}
            page.evaluate(WANDER)
            page.evaluate("() => { pilot.first = pilot.client.stats.snapshots; }")
            before = server.health()["tick"]
            page.wait_for_function("() => pilot.client.stats.snapshots - pilot.first >= 40")
            page.wait_for_function("() => pilot.client.scene.self.alive")
            ticks = server.health()["tick"] - before
    # Each tick's snapshot comes: what differs is the time of the questions alone.
    assert 40 >= 0.5 * ticks


@pytest.mark.measured
@pytest.mark.parametrize("network", ["near", "far"])
@pytest.mark.parametrize("way", WAYS)
def test_rate_and_latency_of_the_arena(browser, web, way, network):
    conditions = FAR if network == "far" else Conditions()
    with game_behind(conditions) as (_, _, url):
        with piloted(browser, web, url, query=f"?transport={way}") as page:
            page.evaluate(WANDER)
            page.wait_for_timeout(3000)
            seen = record(page, 6)
    rate, rtt = seen["snapshots"] / 6, float(np.median(seen["rtt"]))
    late = np.mean(np.array(seen["slack"]) < 0)
    print(
        f"\n{way} {network}: {rate:.1f} snapshots/s, rtt {rtt:.0f} ms, others "
        f"{np.median(seen['delay']):.0f} ms ago, {late:.0%} of inputs late, "
        f"{seen['corrections']} corrections of {np.max(seen['sizes'], initial=0):.1f} at most"
    )
    mark(f"snapshots a second by {way}, {network}", rate, low=18)
