"""`python -m bench rooms` runs, and its result says what the documents promise."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FIGURES = {
    "rooms", "players", "playing", "patch_hz", "gap_ms_p99", "bytes_per_player_s", "joins_per_s",
    "us_per_room_tick", "memory_kb_per_room", "memory_kb_per_player", "server_cpu_percent",
    "client_cpu_percent", "other_load_percent", "held", "failures", "lost",
}  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="the benchmark needs epoll and /proc")
def test_a_tiny_run_has_all_figures(tmp_path):
    path = tmp_path / "rooms.json"
    options = ["--most", "0", "--fixed", "2", "--idle", "2", "--seconds", "2", "--json", path]
    done = subprocess.run(
        [sys.executable, "-m", "bench", "rooms", *map(str, options)],
        cwd=ROOT, capture_output=True, text=True, timeout=150, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(path.read_text())
    assert result["kind"] == "rooms" and result["players_per_room"] == 4
    (playing,) = result["sides"]["tickstorm"]["common"]
    idle = result["sides"]["tickstorm"]["idle"]
    for figures in (playing, idle):
        assert FIGURES <= figures.keys()
        assert figures["lost"] == 0
    assert (playing["rooms"], playing["playing"]) == (2, 8)
    assert playing["patch_hz"] > 0 and playing["us_per_room_tick"] > 0
    assert (idle["rooms"], idle["playing"]) == (2, 4)
    assert idle["patch_hz"] == 0 and idle["us_per_room_tick"] is None
