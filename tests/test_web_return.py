"""A page loses its connection, its server or its time, and plays on without help."""

from __future__ import annotations

import time

from clients.bots.conditioner import Conditions
from tests.marks import mark
from tests.pilot import PLAYING, game_behind, piloted

pytest_plugins = ["tests.browser"]


def test_a_dropped_connection_comes_back_by_itself_in_the_same_ship(browser, web):
    with game_behind(Conditions()) as (server, way, url), piloted(browser, web, url) as page:
        slot = page.evaluate("() => pilot.client.scene.self.slot")
        page.evaluate("() => pilot.client.session.mark = 1")
        way.drop_connections()
        page.wait_for_function("() => pilot.client.status.state === 'reconnecting'", timeout=30_000)
        page.wait_for_function(PLAYING, timeout=30_000)
        assert page.evaluate("() => pilot.client.session.mark") is None, "it is another stay"
        assert page.evaluate("() => pilot.client.scene.self.slot") == slot
        assert server.health()["players"] == 1
        states = [state for state, _ in page.evaluate("() => pilot.statuses")]
        assert states[-4:] == ["reconnecting", "reconnecting", "joining", "playing"]
        assert all(
            text for state, text in page.evaluate("() => pilot.statuses") if "ing" not in state
        )


def test_a_silent_network_is_noticed_and_play_goes_on_when_it_speaks_again(browser, web):
    with game_behind(Conditions()) as (_, way, url), piloted(browser, web, url) as page:
        way.pause()
        page.wait_for_function("() => pilot.client.status.state === 'reconnecting'", timeout=30_000)
        assert page.evaluate("() => pilot.client.status.text") == "Waiting for the server …"
        way.resume()
        page.wait_for_function(PLAYING, timeout=30_000)


def test_a_tab_that_was_frozen_is_back_in_play_without_a_reload(browser, web):
    with game_behind(Conditions()) as (_, _, url), piloted(browser, web, url) as page:
        slot = page.evaluate("() => pilot.client.scene.self.slot")
        tools = page.context.new_cdp_session(page)
        tools.send("Page.setWebLifecycleState", {"state": "frozen"})
        time.sleep(4)
        tools.send("Page.setWebLifecycleState", {"state": "active"})
        page.wait_for_function(PLAYING, timeout=30_000)
        page.evaluate("() => pilot.since = pilot.client.stats.snapshots")
        page.wait_for_function("() => pilot.client.stats.snapshots > pilot.since + 20")
        behind = page.evaluate(
            """() => {
              const {world, playback} = pilot.client.session;
              return world.tick - playback.tickAt(performance.now());
            }"""
        )
        assert page.evaluate("() => pilot.client.scene.self.slot") == slot
        mark("ticks behind after a frozen tab", behind, -2, 6)


def test_after_the_server_restarts_the_page_plays_on_without_help(browser, web):
    with game_behind(Conditions()) as (server, _, url), piloted(browser, web, url) as page:
        server.stop()
        page.wait_for_function("() => pilot.client.status.state === 'reconnecting'", timeout=30_000)
        server.start()
        page.wait_for_function(PLAYING, timeout=30_000)
        page.evaluate("() => pilot.client.leave()")
        assert page.evaluate("() => pilot.client.status") == {"state": "closed", "text": ""}
        assert page.evaluate("() => Object.keys(sessionStorage)") == []


def test_the_token_lies_in_this_tabs_session_storage_only(browser, web):
    with game_behind(Conditions()) as (_, _, url), piloted(browser, web, url) as page:
        stores = page.evaluate(
            "() => [Object.values(sessionStorage), localStorage.length, document.cookie]"
        )
        (token,), kept, cookie = stores
        assert len(token) > 16 and kept == 0 and cookie == ""
        assert token not in page.content() and token not in page.url
