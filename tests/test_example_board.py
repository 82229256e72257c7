"""The whiteboard, used by several browsers: strokes, undo, late comers, pointers, chat."""

from __future__ import annotations

import pytest

from tests.example_steps import reads
from tests.marks import mark
from tests.watched import kill_worker

pytest_plugins = ["tests.browser", "tests.example_pages"]

PARTS = "JSON.stringify(room.state.parts)"
INK = """() => {
  const {width, height} = document.querySelector("canvas");
  const pen = document.querySelector("canvas").getContext("2d");
  return pen.getImageData(0, 0, width, height).data.some((value) => value > 0);
}"""


@pytest.fixture
def two(visitor):
    ann = visitor("board", "Ann")
    bob = visitor(ann.url, "Bob", phone=True)
    return ann, bob


def stroke(page, *places: tuple[float, float]) -> None:
    """Draw along places, in parts of the canvas."""
    box = page.locator("canvas").bounding_box()
    at = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in places]
    page.mouse.move(*at[0])
    page.mouse.down()
    for x, y in at[1:]:
        page.mouse.move(x, y, steps=5)
    page.mouse.up()


def strokes(page, count: int) -> None:
    page.wait_for_function(
        f"() => new Set(room.state.parts.map(([stroke]) => stroke)).size === {count}"
    )


def test_a_stroke_is_seen_by_the_others(two):
    ann, bob = two
    stroke(ann, (0.2, 0.2), (0.6, 0.6), (0.8, 0.3))
    bob.wait_for_function(INK)
    strokes(bob, 1)


def test_who_comes_late_gets_everything(two, visitor):
    ann, bob = two
    stroke(ann, (0.1, 0.1), (0.5, 0.5))
    stroke(bob, (0.9, 0.1), (0.5, 0.5))
    ann.fill(".talk input", "Look at this")
    ann.press(".talk input", "Enter")
    reads(bob, ".talk li", "Look at this")
    strokes(ann, 2)
    eve = visitor(ann.url, "Eve")
    strokes(eve, 2)
    eve.wait_for_function(INK)
    reads(eve, ".talk li", "Look at this")
    ann.wait_for_function(f"(parts) => {PARTS} === parts", arg=eve.evaluate(PARTS))


def test_undo_takes_back_ones_own_last_stroke_only(two):
    ann, bob = two
    stroke(ann, (0.1, 0.1), (0.5, 0.5))
    strokes(bob, 1)
    stroke(bob, (0.9, 0.1), (0.5, 0.5))
    strokes(ann, 2)
    ann.click("#undo")
    strokes(bob, 1)
    ann.click("#undo")  # nothing of hers is left
    bob.click("#undo")
    strokes(ann, 0)
    ann.wait_for_function(f"() => !({INK})()")


def test_one_sees_who_is_here_and_where_they_point(two):
    ann, bob = two
    for page in two:
        page.wait_for_function("() => document.querySelectorAll('#people li').length === 2")
    box = ann.locator("canvas").bounding_box()
    ann.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    flag = bob.locator("#pointers span", has_text="Ann")
    flag.wait_for()
    bob.wait_for_function("() => document.querySelector('#pointers span').style.left === '50%'")


def test_a_dot_is_a_stroke_and_the_chosen_pen_draws_it(two):
    ann, bob = two
    ann.click(".pen[aria-label=Green]")
    ann.locator("canvas").click()
    bob.wait_for_function("() => room.state.parts[0]?.[1] === 3")


def test_a_crash_of_the_server_is_not_noticed_and_nothing_is_lost(examples, two):
    ann, bob = two
    stroke(ann, (0.1, 0.1), (0.5, 0.5))
    stroke(bob, (0.9, 0.1), (0.5, 0.5))
    for page in two:
        strokes(page, 2)
    before = ann.evaluate(PARTS)
    opened: list = []
    for page in two:
        page.on("websocket", lambda socket: opened.append(socket))
    kill_worker(examples)
    stroke(ann, (0.1, 0.5), (0.5, 0.9))  # goes out over the same socket, and is there
    for page in two:
        strokes(page, 3)
        assert page.evaluate(PARTS).startswith(before[:-1])
        reads(page, "#connection", "Connected")
    mark("pages of two that had to connect anew after a kill", len(opened), high=0)
    bob.click("#undo")
    strokes(ann, 2)
