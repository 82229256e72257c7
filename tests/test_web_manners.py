"""The arena's page as people use it: by keyboard, by thumb, coming back from watching."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.cluster import wait_for
from tests.live_server import LiveServer
from tests.lobby_client import joined, playing

pytest_plugins = ["tests.browser", "tests.pages"]

PHONES = [(390, 844), (844, 390)]
LEAST_TARGET_PX, LEAST_TEXT_PX, LEAST_INPUT_PX = 44, 12, 16
RULES = "['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']"


@pytest.fixture(scope="module")
def server():
    with LiveServer(WORLD_SIZE=2048, CHECKPOINT_SECONDS=1, BOTS=3) as live:
        wait_for(lambda: live.health()["players"] == 3 and live.health()["tick"] > 100, 60)
        yield live


@pytest.fixture
def phone(browser):
    """`phone(url, width, height)`: the page on a screen that is touched."""
    contexts = []

    def open_page(url, width, height):
        context = browser.new_context(
            viewport={"width": width, "height": height}, has_touch=True, is_mobile=True
        )
        contexts.append(context)
        page = context.new_page()
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.mark.parametrize("way", ["?spectate", "?replay=arena"])
def test_after_watching_fly_flies(server, visit, way):
    page = visit(f"{server.page}{way}&name=Ada&mute")
    page.wait_for_function("() => window.tickstorm.spectator?.following < 65535")
    page.keyboard.press("Escape")
    page.click("#leave")
    page.wait_for_selector("#title", state="visible")
    page.click("#play")
    playing(page)
    assert page.evaluate("() => window.tickstorm.client.scene.self.slot") < 65535
    assert page.is_visible("#vitals") and not page.is_visible("#watch")
    assert "spectate" not in page.url and "replay" not in page.url


def test_the_list_of_rooms_leaves_the_keyboards_focus_where_it_is(server, visit):
    page = visit(server.page + "?name=Ada&mute")
    page.wait_for_selector("#rooms button")
    page.focus("#rooms button")
    for _ in range(2):
        with page.expect_response("**/api/rooms"):
            pass
    page.wait_for_function("() => document.activeElement.closest('#rooms') !== null")
    focused = page.evaluate("() => document.activeElement.getAttribute('aria-label')")
    assert focused == "Fly in Arena"


def test_space_on_a_focused_button_presses_it_and_does_not_fire(server, visit):
    page = visit(server.page + "?name=Ada&autojoin&muted=0")
    playing(page)
    before = page.get_attribute("#button-mute", "aria-pressed")
    page.focus("#button-mute")
    page.keyboard.down("Space")
    assert page.evaluate("() => document.activeElement.id") == "button-mute"
    page.keyboard.up("Space")
    assert page.get_attribute("#button-mute", "aria-pressed") != before
    assert page.evaluate("() => document.activeElement === document.body")  # the ship's again


def test_at_its_end_a_replay_says_so_and_can_be_played_again(server, visit):
    page = visit(f"{server.page}?replay=arena&mute")
    page.wait_for_function("() => window.tickstorm.spectator?.state")
    page.evaluate("() => window.tickstorm.spectator.seek(window.tickstorm.spectator.state[2])")
    page.wait_for_function(
        "() => document.querySelector('[data-watch=time]').textContent.startsWith('The end')"
    )
    page.get_by_role("button", name="Play again").click()
    page.wait_for_function(
        """() => {
          const [tick, first, last, speed] = window.tickstorm.spectator.state;
          return speed === 1 && tick < last && tick >= first;
        }"""
    )


def test_two_of_one_name_are_two(server, visit):
    page = visit(server.page + "?name=Ada&mute&autojoin")
    slot = playing(page)
    other = joined(server.page, "Ada", quick=True)
    page.wait_for_function(
        "() => document.querySelectorAll('#board li:not([hidden])').length === 5"
    )
    page.wait_for_selector("#board li.me")
    rows = page.evaluate("() => window.tickstorm.client.scene.board.rows")
    assert [name for name, _, _ in rows].count("Ada") == 2
    assert page.locator("#board li.me").count() == 1
    mine = page.evaluate(
        "() => [...document.querySelectorAll('#board li')].findIndex((e) => e.className === 'me')"
    )
    assert rows[mine][2] == slot
    other.leave()


@pytest.mark.parametrize(("width", "height"), PHONES)
def test_on_a_phone_thumbs_hit_and_eyes_read(server, phone, width, height):
    page = phone(server.page + "?name=Ada&mute", width, height)
    page.wait_for_selector("#rooms button")
    assert_fit_for_touch(page)
    page.click("#play")
    playing(page)
    assert_fit_for_touch(page)
    page.click("#button-menu")
    assert_fit_for_touch(page)


def assert_fit_for_touch(page) -> None:
    small = page.evaluate(
        """([target, text, field]) => {
          const found = [];
          const shown = (e) => e.checkVisibility({visibilityProperty: true});
          const box = (e) => (e.closest('label') ?? e).getBoundingClientRect();
          for (const e of document.querySelectorAll('button, input, select')) {
            const {width, height} = box(e);
            if (shown(e) && Math.min(width, height) < target - 0.5) {
              found.push([e.id || e.textContent, width, height]);
            }
          }
          const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
          for (let node; (node = walker.nextNode()); ) {
            const e = node.parentElement, px = parseFloat(getComputedStyle(e).fontSize);
            if (node.data.trim() && shown(e) && px < text) found.push([node.data, px]);
          }
          for (const e of document.querySelectorAll('input:not([type=checkbox], [type=range])')) {
            const px = parseFloat(getComputedStyle(e).fontSize);
            if (shown(e) && px < field) found.push([e.id, px]);
          }
          return found;
        }""",
        [LEAST_TARGET_PX, LEAST_TEXT_PX, LEAST_INPUT_PX],
    )
    assert not small


def test_every_window_shows_the_same_area_and_little_beyond_the_border(page):
    shares, areas = page.evaluate(
        """async () => {
          const { fitView, within } = await import('/render.js');
          const shares = [], areas = [];
          for (const [w, h] of [[1440, 900], [900, 900], [390, 844], [1600, 1000], [3840, 2160]]) {
            const scale = fitView(w, h), [wide, high] = [w / scale, h / scale];
            if (scale > 0.6) areas.push([wide * high, Math.max(wide, high)]);
            for (const size of [2048, 4096]) for (let x = 0; x <= size; x += size / 8) {
              for (let y = 0; y <= size; y += size / 8) {
                const left = within(x, wide, size) - wide / 2;
                const top = within(y, high, size) - high / 2;
                const inX = Math.min(size, left + wide) - Math.max(0, left);
                const inY = Math.min(size, top + high) - Math.max(0, top);
                if (Math.abs(x - (left + wide / 2)) > wide / 2) shares.push(9); // out of sight
                shares.push(1 - (inX * inY) / (wide * high));
              }
            }
          }
          return [shares, areas];
        }"""
    )
    assert max(shares) < 0.25
    assert all(longest <= 1601 for _, longest in areas)
    assert max(area for area, _ in areas) < 1.001 * 1600 * 900


@pytest.fixture(scope="module")
def axe() -> str:
    done = subprocess.run(
        ["sh", Path(__file__).parent / "npm.sh", "axe-core", "4.11.0"],
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(done.stderr.strip())
    return (Path(done.stdout.strip()) / "axe.min.js").read_text()


def test_pages_and_dialogs_have_no_accessibility_violations(server, visit, axe):
    page = visit(server.page + "?name=Ada&mute")
    page.wait_for_selector("#rooms button")
    page.evaluate(axe)
    found = {"title": violations(page)}
    for button in ("#room-new", "#room-leaders", "#title-settings"):
        page.click(button)
        found[button] = violations(page)
        page.keyboard.press("Escape")
    page.click("#play")
    playing(page)
    found["game"] = violations(page)
    assert not any(found.values()), json.dumps(found, indent=1)


def violations(page) -> list:
    return page.evaluate(
        f"""async () => {{
          const {{violations}} = await axe.run(document, {{runOnly: {RULES}}});
          const where = (nodes) => nodes.slice(0, 3).map((node) => node.html.slice(0, 120));
          return violations.map((v) => [v.id, v.impact, where(v.nodes)]);
        }}"""
    )
