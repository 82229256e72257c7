"""Tag, played by two browsers: running, catching, rounds, coming back."""

from __future__ import annotations

import pytest

from tests.example_steps import create, reads

pytest_plugins = ["tests.browser", "tests.example_pages"]

MINE = "(() => { const {x, y, it} = room.me; return {x, y, it}; })()"
OTHER = "(() => room.players.find((player) => player !== room.me))()"


@pytest.fixture
def two(examples, visitor):
    """Two in one room with rounds of ten seconds."""
    link = create(examples, "tag", round_s=10)
    ann, bob = visitor(link, "Ann"), visitor(link, "Bob", phone=True)
    for page in (ann, bob):
        page.wait_for_function("() => room.players.length === 2")
    return ann, bob


def walk(page, key: str, until: str) -> None:
    page.keyboard.down(key)
    page.wait_for_function(f"() => {until}", polling="raf")
    page.keyboard.up(key)


def test_exactly_one_of_all_is_it(two):
    for page in two:
        page.wait_for_function("() => document.querySelector('#role').textContent !== ''")
        page.wait_for_function("() => room.players.filter((player) => player.it).length === 1")


def test_a_key_moves_the_own_walker_in_both_pages(two):
    ann, bob = two
    key, sign = ("ArrowLeft", -1) if ann.evaluate(MINE)["x"] > 450 else ("ArrowRight", 1)
    seen = bob.evaluate(f"{OTHER}.x")
    began = ann.evaluate(MINE)["x"]
    walk(ann, key, f"{sign} * (room.me.x - {began}) > 60")
    bob.wait_for_function(f"() => {sign} * ({OTHER}.x - {seen}) > 60")


def test_a_finger_steers(two):
    _, bob = two
    at = bob.evaluate(MINE)["y"]
    way = -1 if at > 450 else 1
    bob.mouse.move(195, 400)
    bob.mouse.down()
    bob.mouse.move(195, 400 + 60 * way)
    bob.wait_for_function(f"() => {way} * (room.me.y - {at}) > 60")
    bob.mouse.up()


def test_a_touch_passes_it_on_and_a_round_has_a_winner(two):
    ann, bob = two
    it, free = (ann, bob) if ann.evaluate("room.me.it") else (bob, ann)
    place = free.evaluate(MINE)
    for axis, less, more in (("x", "ArrowLeft", "ArrowRight"), ("y", "ArrowUp", "ArrowDown")):
        if abs(it.evaluate(MINE)[axis] - place[axis]) < 15:
            continue
        key, sign = (less, -1) if it.evaluate(MINE)[axis] > place[axis] else (more, 1)
        walk(it, key, f"!room.me.it || {sign} * (room.me.{axis} - {place[axis]}) > -15")
    free.wait_for_function("() => room.players.some((player) => player.points > 0)")
    for page in two:
        reads(page, "#toasts", "wins this round!")


def test_who_loads_the_page_again_is_the_same_walker(two):
    ann, bob = two
    mine = ann.evaluate("room.me.id")
    ann.reload()
    ann.wait_for_selector("body.in")
    assert ann.evaluate("room.me.id") == mine
    bob.wait_for_function("() => room.players.length === 2 && room.players[0].connected")
