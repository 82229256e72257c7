"""SECURITY.md's table of queues says what the code does."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

from tickstorm.config import load
from tickstorm.transport import connection, door

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "SECURITY.md").read_text()
ROWS = re.findall(r"\| ([^|]+) \| (\d+) \| [^|]+ \| `([\w.]+)` \|", TEXT)


@pytest.mark.parametrize("what, most, where", ROWS, ids=[where for _, _, where in ROWS])
def test_each_queue_ends_where_the_table_says(what, most, where):
    module, _, name = where.rpartition(".")
    if module == "config.Config":
        value = getattr(load({}), name)
    else:
        value = getattr(import_module(f"tickstorm.{module}"), name)
    assert value == int(most), what


def test_the_bounds_fit_one_another():
    from tickstorm.rooms import crowd_room

    config = load({})
    assert len(ROWS) >= 30
    assert crowd_room.PUBLIC_BYTES <= connection.OFFERED_BYTES < connection.EXTRA_BYTES
    assert connection.EXTRA_BYTES < connection.PENDING_BYTES
    assert crowd_room.PUBLIC_BYTES < config.send_buffer
    assert crowd_room.ADDRESS_LINES < crowd_room.CHAT_LINES
    settings = (ROOT / "server" / "tickstorm" / "uwsgi.ini").read_text()
    (listen,) = re.findall(r"^listen = (\d+)", settings, re.M)
    assert door.MOST_WAITING + door.AT_ONCE < int(listen)
