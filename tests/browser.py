"""Chromium for tests: a headless browser, and the page's modules over HTTP on a free port.

A test module that uses the fixtures says ``pytest_plugins = ["tests.browser"]``.
"""

from __future__ import annotations

import os
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
WEB = ROOT / "clients" / "web"
SDK = ROOT / "clients" / "js"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # One page is on top of another when tests run: that must not slow its timers.
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
]


def executable() -> str | None:
    """The browser to use: $CHROMIUM, or the first that is installed."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


class _Files(SimpleHTTPRequestHandler):
    """The files of clients/web, the SDK's modules, and an empty page to load them into."""

    extensions_map = {**SimpleHTTPRequestHandler.extensions_map, ".js": "text/javascript"}

    def translate_path(self, path):
        if path.startswith("/tickstorm/"):
            return str(SDK / path.removeprefix("/tickstorm/").partition("?")[0])
        return super().translate_path(path)

    def do_GET(self):
        if self.path.partition("?")[0] != "/blank.html":
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>test</title>")

    def log_message(self, *args):
        pass


@pytest.fixture(scope="session")
def web():
    """URL of a static server for clients/web."""
    handler = partial(_Files, directory=str(WEB))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium for the whole run."""
    path = executable()
    if path is None:
        pytest.skip("no Chromium found (install chromium, or set CHROMIUM to its path)")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=path, headless=True, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def page(browser, web):
    """An empty page into which modules can be imported; its errors fail the test."""
    context = browser.new_context()
    tab = context.new_page()
    errors: list[str] = []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto(f"{web}/blank.html")
    yield tab
    context.close()
    assert not errors, errors
