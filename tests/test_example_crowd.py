"""Crowd, played by two browsers: lanterns are seen by both, and fireflies follow them."""

from __future__ import annotations

import sys

import pytest

from tests.live_server import ROOT
from tickstorm.testing import rehearse

pytest_plugins = ["tests.browser", "tests.example_pages"]

PLACES = """(() => { const {count, x, y, name} = room.columns("lantern");
  return Object.fromEntries(Array.from({length: count}, (_, i) => [name[i], [x[i], y[i]]])); })()"""


@pytest.fixture
def two(examples, visitor):
    ann = visitor("crowd", "Ann")
    bob = visitor(ann.url, "Bob", phone=True)
    for page in (ann, bob):
        page.wait_for_function("() => room.columns('lantern').count === 2")
    return ann, bob


def near(page, name: str, x: float, y: float) -> None:
    page.wait_for_function(
        f"() => {{ const [x, y] = {PLACES}['{name}']; return Math.hypot(x - {x}, y - {y}) < 40 }}"
    )


def test_each_sees_the_other_move_and_the_fireflies_follow(two, examples):
    ann, bob = two
    assert ann.evaluate("room.columns('fly').count") == 1000
    ann.mouse.move(500, 300)
    ann.wait_for_function("() => room.input.to_x !== 512")
    target = ann.evaluate("room.input")
    for page in two:
        near(page, "Ann", target["to_x"], target["to_y"])
    bob.touchscreen.tap(200, 600)
    bob.wait_for_function("() => room.input.to_x !== 512")
    ann.wait_for_function(f"() => Math.hypot({PLACES}.Bob[0] - 512, {PLACES}.Bob[1] - 512) > 30")
    for page in two:
        page.wait_for_function("() => room.columns('lantern').led.some((led) => led > 20)")
        page.locator("#leaders", has_text="Ann").wait_for()
    mine = "(() => { const l = room.columns('lantern'); return l.name[l.mine]; })()"
    assert [page.evaluate(mine) for page in two] == ["Ann", "Bob"]


def test_who_loads_the_page_again_has_the_same_lantern(two):
    ann, bob = two
    slot = ann.evaluate("room.me.slot")
    ann.reload()
    ann.wait_for_selector("body.in")
    assert ann.evaluate("room.me.slot") == slot
    assert bob.evaluate("room.columns('lantern').count") == 2


def test_who_only_watches_sees_it_without_a_lantern(two, visitor):
    ann, _ = two
    eve = visitor(ann.url, "Eve", how="watch")
    eve.wait_for_function("() => room.columns('fly').count === 1000")
    assert eve.evaluate("[room.spectator, room.me, room.columns('lantern').mine]") == [
        True,
        None,
        -1,
    ]


def test_the_rules_are_short_and_lead_the_flock():
    source = ROOT / "examples" / "crowd" / "crowd.py"
    assert len([line for line in source.read_text().splitlines() if line.strip()]) <= 60
    sys.path.insert(0, str(source.parent))
    try:
        from crowd import Crowd
    finally:
        sys.path.remove(str(source.parent))
    room = rehearse(Crowd)
    ada = room.join("Ada")
    room.input(ada, to_x=300, to_y=300)
    room.run(10)
    led = int(room.rules.lantern.led[ada])
    assert led > 50 and int((room.rules.fly.hue == room.rules.lantern.hue[ada]).sum()) >= led
