"""A real uWSGI on a free port for whoever asks for `server`."""

from __future__ import annotations

import pytest

from tests.live_server import LiveServer


@pytest.fixture
def server():
    """A server of the test's own, with the defaults of `LiveServer`."""
    with LiveServer() as live:
        yield live


@pytest.fixture(scope="session")
def shared_server():
    """One server for all tests that leave it as they found it."""
    with LiveServer() as live:
        yield live
