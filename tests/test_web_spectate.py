"""Watching in the page: a live room and a replay; stop, jump, speed, follow, roam."""

from __future__ import annotations

import time

import gevent
import pytest

from tests.live_server import LiveServer
from tests.watched import Watched

pytest_plugins = ["tests.browser"]

AHEAD = """() => {
  const {client, spectator} = window.tickstorm, {scene} = client;
  const at = scene.ships.id.subarray(0, scene.ships.count).indexOf(spectator.following);
  return {
    ships: scene.ships.count, view: {...scene.view}, time: scene.time * scene.tickHz,
    following: spectator.following, state: spectator.state, tick: client.session?.world.tick,
    followed: at < 0 ? null : {x: scene.ships.x[at], y: scene.ships.y[at]},
    status: client.status.state, tickHz: scene.tickHz,
  };
}"""


@pytest.fixture(scope="module")
def played():
    with LiveServer(SETTINGS="size=2048", CHECKPOINT_SECONDS=2) as server:
        with Watched(server, 8):
            gevent.sleep(10)
        yield server


@pytest.fixture
def tab(browser):
    context = browser.new_context(viewport={"width": 1000, "height": 640})
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: said.type == "error" and errors.append(said.text))
    yield page
    context.close()
    assert errors == []


def wait(tab, what: str, seconds: float = 15) -> dict:
    tab.wait_for_function(f"() => {{const s = ({AHEAD})(); return {what}}}", timeout=seconds * 1e3)
    return tab.evaluate(AHEAD)


def test_a_live_room_is_watched_without_a_ship(played, tab):
    with Watched(played, 4):
        before = played.health()["players"]
        tab.goto(f"{played.page}?spectate")
        gevent.sleep(1)
        state = wait(tab, "s.status === 'playing' && s.followed !== null")
        assert state["view"] == pytest.approx(state["followed"])
        assert played.health()["players"] == before
        assert tab.is_visible("#watch") and not tab.is_visible("#vitals")
        assert not tab.is_visible("#watch [data-watch=seek]")
        gevent.sleep(3)
        first = tab.evaluate(AHEAD)
        gevent.sleep(1)
        second = tab.evaluate(AHEAD)
        # Four seconds on, it is still shown every tick.
        assert second["tick"] - first["tick"] > 12


def test_a_replay_is_played_stopped_and_goes_on(played, tab):
    tab.goto(f"{played.page}?replay=arena")
    wait(tab, "s.status === 'playing' && s.ships > 0 && s.state && s.state[0] > 10")
    tab.keyboard.press("Space")
    wait(tab, "s.state[3] === 0")
    time.sleep(1)
    stopped = tab.evaluate(AHEAD)
    time.sleep(2)
    later = tab.evaluate(AHEAD)
    assert later["tick"] == stopped["tick"] and later["status"] == "playing"
    tab.click("#watch [data-watch=play]")
    wait(tab, f"s.state[3] === 1 && s.tick > {stopped['tick'] + 10}")


def test_the_slider_jumps_forth_and_back(played, tab):
    tab.goto(f"{played.page}?replay=arena")
    wait(tab, "s.state && s.ships > 0")
    for tick in (150, 40):
        tab.evaluate(
            """tick => {
              const slider = document.querySelector('[data-watch=seek]');
              slider.value = tick;
              slider.dispatchEvent(new Event('input'));
            }""",
            tick,
        )
        state = wait(tab, f"s.tick >= {tick} && s.tick < {tick + 30} && s.ships > 0")
        assert state["status"] == "playing"


def test_four_times_the_speed_is_four_times_the_speed(played, tab):
    tab.goto(f"{played.page}?replay=arena")
    wait(tab, "s.state && s.ships > 0")
    tab.select_option("#watch [data-watch=speed]", "4")
    wait(tab, "s.state[3] === 4 && s.tickHz === 80")
    first = tab.evaluate(AHEAD)
    time.sleep(2)
    second = tab.evaluate(AHEAD)
    assert 2 * 20 * 2 < second["tick"] - first["tick"] < 2 * 20 * 5  # tests may share the machine


def test_a_click_follows_a_ship_and_a_drag_roams(played, tab):
    tab.goto(f"{played.page}?replay=arena")
    wait(tab, "s.state && s.followed !== null")
    tab.keyboard.press("Space")
    wait(tab, "s.state[3] === 0")
    followed = tab.evaluate(AHEAD)
    tab.mouse.move(500, 320)
    tab.mouse.down()
    tab.mouse.move(400, 320, steps=5)
    tab.mouse.up()
    roamed = tab.evaluate(AHEAD)
    assert roamed["following"] == 65535
    assert roamed["view"]["x"] > followed["view"]["x"] + 30
    place = tab.evaluate(
        """() => {
          const {client, renderer} = window.tickstorm, {ships} = client.scene;
          const {camera: {scale, left, top}, ratio} = renderer;
          return [(ships.x[0] * scale - left) / ratio, (ships.y[0] * scale - top) / ratio,
                  ships.id[0]];
        }"""
    )
    if 0 < place[0] < 1000 and 100 < place[1] < 540:
        tab.mouse.click(place[0], place[1])
        assert tab.evaluate(AHEAD)["following"] != 65535
    tab.keyboard.press("KeyF")
    assert tab.evaluate(AHEAD)["following"] != 65535


def test_the_bar_lists_what_can_be_watched(played, tab):
    tab.goto(f"{played.page}?replay=arena/000001")
    wait(tab, "s.state && s.ships > 0")
    tab.wait_for_function("() => document.querySelector('[data-watch=what]').options.length > 1")
    values = tab.eval_on_selector_all("[data-watch=what] option", "all => all.map(o => o.value)")
    assert values[0] == "" and "arena/000001" in values
    assert tab.input_value("[data-watch=what]") == "arena/000001"
    tab.select_option("[data-watch=what]", "")
    tab.wait_for_url("**/?spectate")
