"""A real uWSGI on a free port for whoever asks for `server`."""

from __future__ import annotations

import pytest

from tests.live_server import LiveServer
from tests.marks import STRICT


def pytest_collection_modifyitems(config, items):
    """What only measures is no part of `make test`: a busy machine would fail it for nothing."""
    if not STRICT:
        left_out = [item for item in items if item.get_closest_marker("measured")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


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
