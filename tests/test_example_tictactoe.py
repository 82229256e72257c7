"""Tic-tac-toe, played by two browsers while a third one watches."""

from __future__ import annotations

import pytest

from tests.example_steps import reads

pytest_plugins = ["tests.browser", "tests.example_pages"]


@pytest.fixture
def two(visitor):
    ann = visitor("tictactoe", "Ann")
    reads(ann, "#said", "Waiting")
    bob = visitor(ann.url, "Bob", phone=True)
    reads(ann, "#said", "Your turn")
    return ann, bob


def cell(page, at: int):
    return page.locator("#grid button").nth(at)


def play(two, cells) -> None:
    """From the first of the two on, in turn."""
    for turn, at in enumerate(cells):
        page, mark = two[turn % 2], "XO"[turn % 2]
        reads(page, "#said", "Your turn")
        cell(page, at).click()
        for both in two:
            both.wait_for_selector(f"#grid button:nth-child({at + 1})[data-mark={mark}]")


def test_three_in_a_row_win_and_both_want_a_rematch(two):
    ann, bob = two
    play(two, (0, 3, 1, 4, 2))
    reads(ann, "#said", "You win!")
    reads(bob, "#said", "Ann wins.")
    assert ann.locator("#grid .won").count() == 3
    ann.click("#rematch")
    reads(ann, "#rematch", "Waiting for Bob")
    bob.click("#rematch")
    reads(bob, "#said", "Your turn")  # the other one begins
    assert ann.locator("#grid [data-mark=X]").count() == 0


def test_nine_cells_without_a_row_are_a_draw(two):
    play(two, (4, 0, 2, 6, 3, 5, 8, 1, 7))
    for page in two:
        reads(page, "#said", "A draw.")


def test_whoever_is_not_due_is_refused_with_a_reason(two):
    _, bob = two
    cell(bob, 4).click(force=True)  # it is marked as disabled
    reads(bob, "#toasts", "It is not your turn.")


def test_a_third_one_finds_it_full_and_watches(two, visitor):
    ann, bob = two
    eve = visitor(ann.url, "Eve", how="watch")
    reads(eve, "#connection", "Watching")
    play(two, (4,))
    eve.wait_for_selector("#grid button:nth-child(5)[data-mark=X]")
    reads(eve, "#said", "Bob’s turn")
    assert eve.evaluate("room.players.length") == 2
    eve.context.new_page().goto(ann.url)
    door = eve.context.pages[-1]
    door.click("#enter button[value=play]")
    door.wait_for_selector("#enter .note:not(:empty)")


def test_the_arrow_keys_move_between_the_cells(two):
    ann, _ = two
    cell(ann, 0).focus()
    for key in ("ArrowRight", "ArrowDown"):
        ann.keyboard.press(key)
    ann.keyboard.press("Enter")
    ann.wait_for_selector("#grid button:nth-child(5)[data-mark=X]")
