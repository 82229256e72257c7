"""What stands in DATA_DIR may be damaged: the real server says so, and goes on or refuses."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from tests.live_server import LiveServer


@contextlib.contextmanager
def with_files(files: dict[str, bytes], **options):
    """A server, not started yet, in whose DATA_DIR these files stand; {port} is its port."""
    live = LiveServer(**options)
    data = Path(live.environ["DATA_DIR"])
    data.mkdir(parents=True)
    data.chmod(0o777)  # started as root, the worker becomes nobody
    try:
        for name, content in files.items():
            path = data / name.format(port=live.port)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            path.chmod(0o666)
        yield live
    finally:
        live.__exit__()


def test_a_key_of_zero_bytes_is_refused_with_what_to_do():
    with with_files({"secret": b""}) as live:
        with pytest.raises(AssertionError, match="did not start"):
            live.start()
        assert "secret is no signing key: it has 0 bytes" in live.log()
        assert "Delete it" in live.log()
