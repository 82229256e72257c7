"""Proxies that stand between players and the server, as found in the world: the real nginx, with
the habits that break WebSockets.

A test module that uses the fixture says ``pytest_plugins = ["tests.proxies"]``.
"""

from __future__ import annotations

import signal
import socket
import time
from pathlib import Path

import pytest

from tests.live_server import free_port
from tests.nginx import NGINX, start_nginx

HABITS = {
    # Upgrade is a header from hop to hop: who doesn't know it, doesn't pass it on.
    "strips": "proxy_buffering off;",
    # Holds answers back until there is enough of them, whatever the server asks for.
    "buffers": "proxy_buffering on; proxy_ignore_headers X-Accel-Buffering;",
    # Ends what was silent for a second.
    "hurries": "proxy_buffering off; proxy_read_timeout 1s; proxy_send_timeout 1s;",
}


class Proxies:
    """`page[habit]` is the address of the server behind a proxy with that habit."""

    def __init__(self, folder: Path, port: int):
        self.page, servers = {}, ""
        for habit, lines in HABITS.items():
            here = free_port()
            self.page[habit] = f"http://127.0.0.1:{here}/"
            servers += (
                f"server {{ listen 127.0.0.1:{here}; location / {{\n"
                f"proxy_pass http://127.0.0.1:{port}; proxy_http_version 1.1;\n"
                f"proxy_set_header Host $http_host; proxy_set_header Connection '';\n"
                f"{lines}\n}} }}\n"
            )
        self._process = start_nginx(folder, servers)
        until = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", here), 1).close()
                break
            except OSError:
                assert self._process.poll() is None, "nginx did not start"
                assert time.monotonic() < until
                time.sleep(0.05)

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(10)
        self._process.stderr.close()


@pytest.fixture(scope="module")
def proxies(tmp_path_factory, server):
    """In front of the module's `server`."""
    if NGINX is None:
        pytest.skip("nginx is not installed (apt install nginx)")
    here = Proxies(tmp_path_factory.mktemp("nginx"), server.port)
    yield here
    here.stop()
