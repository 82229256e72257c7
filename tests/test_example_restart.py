"""A server is stopped, is away for a while, and comes back: so do rooms, players and pages."""

from __future__ import annotations

from tests.example_steps import reads

pytest_plugins = ["tests.browser", "tests.example_pages"]


def test_after_a_stop_and_a_start_everyone_goes_on_where_they_were(examples, visitor):
    ann = visitor("tictactoe", "Ann")
    bob = visitor(ann.url, "Bob")
    ann.locator("#grid button").nth(4).click()
    bob.wait_for_selector("#grid button:nth-child(5)[data-mark=X]")
    examples.stop()
    for page in (ann, bob):
        reads(page, "#connection", "Reconnecting")
    # So long that the pages ask more than once where the room may be now.
    ann.wait_for_function("() => /where|answer/.test(room.statusText)")
    examples.start()
    for page in (ann, bob):
        reads(page, "#connection", "Connected")
    bob.locator("#grid button").nth(0).click()
    ann.wait_for_selector("#grid button:nth-child(1)[data-mark=O]")
    assert ann.evaluate("room.me.mark") == "X"
