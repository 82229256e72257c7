"""`make cluster`: Redis, nodes under the Emperor, nginx in front. All of it real."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.live_server import ROOT, free_port
from tests.lobby_client import Player, api, joined, playing
from tests.marks import mark

pytest_plugins = ["tests.browser", "tests.pages"]

WATCH_GAPS = """() => {
    window.gapMs = 0;
    let tick = 0, last = performance.now();
    const look = () => {
        const seen = window.tickstorm.client.session.world.tick;
        const now = performance.now();
        if (seen !== tick) {
            window.gapMs = Math.max(window.gapMs, now - last);
            [tick, last] = [seen, now];
        }
        setTimeout(look, 5);
    };
    look();
}"""


def command(folder, *arguments):
    return [sys.executable, "deploy/cluster.py", "--folder", str(folder), *map(str, arguments)]


def below(pid):
    """All processes below one, itself included."""
    found, left = [], [pid]
    while left:
        found.append(left.pop())
        try:
            children = Path(f"/proc/{found[-1]}/task/{found[-1]}/children").read_text()
            left += map(int, children.split())
        except FileNotFoundError:
            pass
    return found


@pytest.fixture
def public(tmp_path):
    """The public address of a running cluster of two nodes with four bots."""
    for name in ("redis-server", "nginx"):
        if shutil.which(name, path="/usr/local/bin:/usr/bin:/usr/sbin") is None:
            pytest.skip(f"no {name} found (Debian: apt install {name})")
    port = free_port()
    process = subprocess.Popen(
        command(tmp_path, "--port", port, "--bots", 4), cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        line = process.stdout.readline()
        assert "Ctrl-C ends it" in line, line
        yield f"http://127.0.0.1:{port}/"
        Player.drop_all()
        everything = below(process.pid)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        left = [pid for pid in everything if Path(f"/proc/{pid}").exists()]
        assert not left, "processes were left behind"
    finally:
        if process.poll() is None:
            for pid in below(process.pid):  # or they would outlive the tests
                os.kill(pid, signal.SIGKILL)


def test_a_cluster_is_one_address_and_restarts_without_losing_anybody(public, tmp_path, visit):
    page = visit(public + "?name=Ida&mute&autojoin")
    slot = playing(page)
    room = page.evaluate("() => sessionStorage.getItem('tickstorm.room')")
    friend = joined(public, "Joe", room=room)
    assert friend.place["url"].startswith(public.replace("http", "ws") + "n/")
    page.evaluate(WATCH_GAPS)
    restarted = subprocess.Popen(
        command(tmp_path, "--restart"),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    until = time.monotonic() + 40
    while restarted.poll() is None and time.monotonic() < until:
        page.wait_for_timeout(100)
    said = restarted.stdout.read()
    assert restarted.returncode == 0 and said.count("restarted in") == 2, said
    assert playing(page) == slot
    assert page.evaluate("() => sessionStorage.getItem('tickstorm.room')") == room
    mark(
        "longest gap in a page while a cluster restarts, ms",
        page.evaluate("() => window.gapMs"),
        high=1000,
    )
    friend.listen(seconds=1)
    assert friend.code == 1012
    url = public.replace("http", "ws") + friend.notices[-1][2].lstrip("/")
    back = Player(url, token=friend.welcome["token"])
    # It was away for longer than the first move: the way may have two steps.
    if back.welcome is None:
        url = public.replace("http", "ws") + back.notices[-1][2].lstrip("/")
        back = Player(url, token=friend.welcome["token"])
    assert back.welcome["resumed"] and back.welcome["slot"] == friend.welcome["slot"]
    _, listed = api(public, "GET", "/api/rooms")
    assert room in [one["room"] for one in listed["rooms"]]
