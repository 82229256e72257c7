"""The examples in real browsers: one server with all of them, and visitors with names.

A test module that uses the fixtures says
``pytest_plugins = ["tests.browser", "tests.example_pages"]``.
"""

from __future__ import annotations

import pytest

from tests.live_server import ROOT, LiveServer

NAMES = ("tag", "tictactoe", "board", "chat", "crazy", "crowd")

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
DESK = {"viewport": {"width": 1280, "height": 800}}


@pytest.fixture(scope="module")
def examples():
    """A server that runs all examples."""
    files = [f"{ROOT}/examples/{name}/{name}.py" for name in NAMES]
    with LiveServer(GAMES=",".join(files)) as live:
        yield live


@pytest.fixture
def visitor(browser, examples):
    """`visitor("tag", "Ann")` comes into a new room, `visitor(link, "Bob")` into that of a link;
    `how="watch"` only looks on. The page comes back; an error on it fails the test."""
    contexts, errors = [], []

    def come(where, name, how=None, phone=False):
        context = browser.new_context(**(PHONE if phone else DESK))
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("pageerror", lambda error: errors.append(f"{name}: {error}"))
        link = where if "#" in where else f"{examples.page}{where}/"
        page.goto(link)
        page.fill("#name", name)
        page.click(f"#enter button[value={how or ('play' if '#' in link else 'new')}]")
        page.wait_for_selector("body.in")
        return page

    yield come
    for context in contexts:
        context.close()
    assert not errors, errors
