"""Pages of the game in a real browser, each in a profile of its own."""

from __future__ import annotations

import pytest


@pytest.fixture
def visit(browser):
    """`visit(url)`: the page in a profile of its own; errors on the console fail the test."""
    contexts, errors = [], []

    def open_page(url):
        context = browser.new_context()
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not errors, errors
