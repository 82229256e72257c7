"""Chat, used by several browsers: history, typing, names, the host, the list of rooms."""

from __future__ import annotations

import pytest

from tests.example_steps import reads

pytest_plugins = ["tests.browser", "tests.example_pages"]


@pytest.fixture
def two(visitor):
    ann = visitor("chat", "Ann")
    bob = visitor(ann.url, "Bob", phone=True)
    reads(ann, "#guests", "Bob")
    return ann, bob


def say(page, words: str) -> None:
    page.fill(".talk input", words)
    page.press(".talk input", "Enter")


def test_lines_arrive_and_who_comes_late_reads_them(two, visitor):
    ann, bob = two
    say(ann, "Hi Bob!")
    reads(bob, ".talk li", "Hi Bob!")
    eve = visitor(ann.url, "Eve")
    reads(eve, ".talk li", "Hi Bob!")
    reads(ann, ".talk li", "Eve came in")


def test_one_sees_who_is_typing(two):
    ann, bob = two
    bob.locator(".talk input").press_sequentially("Well")
    reads(ann, "#typing", "Bob is typing")
    say(bob, "Well, well")
    reads(ann, ".talk li", "Well, well")
    ann.wait_for_function("() => document.querySelector('#typing').textContent === ''")


def test_names_are_unique_and_can_be_changed(two, visitor):
    ann, _ = two
    other = visitor(ann.url, "Ann")
    reads(ann, "#guests", "Ann 2")
    other.click("#rename")
    other.fill("#nick", "Anna")
    other.click("#renaming button >> nth=0")
    reads(ann, ".talk li", "Ann 2 is now Anna")


def test_the_host_mutes_and_unmutes(two):
    ann, bob = two
    ann.click("#guests button:has-text('Mute')")
    bob.wait_for_selector(".talk input:disabled")
    ann.click("#guests button:has-text('Unmute')")
    bob.wait_for_selector(".talk input:enabled")
    assert bob.locator("#guests button").count() == 0  # only the host may


def test_the_host_removes_someone_who_is_told_why(two):
    ann, bob = two
    ann.click("#guests button:has-text('Remove')")
    reads(bob, "dialog", "Ann removed you from the room.")
    reads(ann, ".talk li", "Bob left")


def test_the_next_in_line_becomes_host(two):
    ann, bob = two
    ann.evaluate("room.leave()")
    reads(bob, "#guests", "you, host")


def test_a_new_room_is_listed_and_one_click_leads_there(two):
    ann, bob = two
    ann.fill("#rooms input", "Second room")
    ann.press("#rooms input", "Enter")
    reads(ann, "#room-name", "Second room")
    bob.click("#rooms a:has-text('Second room')")
    reads(ann, "#guests", "Bob")
    reads(bob, ".talk li", "Bob came in")
