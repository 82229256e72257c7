"""The benchmark: what it computes, what it refuses, and that it leaves nothing behind."""

from __future__ import annotations

import contextlib
import doctest
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import game
from bench import compare, crowd, report, scenarios
from bench.crowd import Load
from bench.crowd_client import dialects, frames
from bench.crowd_client.frames import INPUT, frame, frame_span, masked
from bench.crowd_client.snapshots import percentiles, snapshot_gaps
from bench.server_process import ROOT, BenchError, ServerProcess, free_port
from tests.arena import LAYOUT
from tests.marks import mark

TICK_S = 0.05


# ------------------------------------------------------------------ figures


def gaps_of(reads: list[tuple[int, float]], begin: float, end: float, still_open=(True, True)):
    by, at = np.array([by for by, _ in reads], int), np.array([at for _, at in reads], float)
    owner, gap = snapshot_gaps(by, at, begin, end, np.array(still_open), TICK_S)
    return sorted(zip(owner.tolist(), np.round(gap, 6).tolist(), strict=True))


def test_gaps_are_taken_per_connection_however_the_reads_interleave():
    reads = [(0, 1.0), (1, 1.02), (0, 1.05), (1, 1.08), (0, 1.11)]
    assert gaps_of(reads, 0.0, 1.12) == [(0, 50.0), (0, 60.0), (1, 60.0)]


def test_only_gaps_that_end_within_the_measurement_count():
    reads = [(0, 1.0), (0, 1.05), (0, 1.10), (0, 1.15)]
    assert gaps_of(reads, 1.07, 1.12) == [(0, 50.0)]


def test_a_connection_that_falls_silent_shows_as_a_gap():
    reads = [(0, 1.0), (0, 1.05), (1, 1.0), (1, 1.05), (1, 1.95)]
    assert gaps_of(reads, 1.0, 2.0) == [(0, 50.0), (0, 950.0), (1, 50.0), (1, 900.0)]


def test_the_silence_of_a_connection_that_left_is_no_gap():
    reads = [(0, 1.0), (0, 1.05), (1, 1.0), (1, 1.05), (1, 1.95)]
    assert (0, 950.0) not in gaps_of(reads, 1.0, 2.0, still_open=(False, True))


def test_no_reads_give_no_gaps():
    assert gaps_of([], 0.0, 1.0) == []
    assert percentiles(np.empty(0), 50, 99) == [None, None]


def test_percentiles_are_those_of_all_values():
    assert percentiles(np.arange(101.0), 50, 99, 100) == [50.0, 99.0, 100.0]


# ------------------------------------------------------------------ frames


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536])
def test_a_frame_is_found_whole_and_only_when_it_is_whole(size):
    payload = bytes(i & 0xFF for i in range(size))
    if size < 126:
        data = bytes([0x82, size]) + payload
    elif size < 65536:
        data = bytes([0x82, 126]) + size.to_bytes(2, "big") + payload
    else:
        data = bytes([0x82, 127]) + size.to_bytes(8, "big") + payload
    start, end = frame_span(data + b"\x82\x00")
    assert (data[start:end], end) == (payload, len(data))
    assert frame_span(data[:-1]) is None
    assert frame_span(data[:1]) is None


def test_the_server_reads_the_crowds_masked_inputs_as_they_were_meant():
    rows = np.zeros(5, INPUT)
    rows["frame"] = np.void(LAYOUT.input_frame.start)
    rows["prefix"] = np.void(dialects.Tickstorm.input_prefix)
    rows["seq"], rows["ack"] = np.arange(5) + 7, 1000
    rows["move"], rows["aim"], rows["buttons"] = 200, 1023, 5
    data = masked(rows, np.random.default_rng(3))
    assert len(data) == 5 * LAYOUT.input_frame.size
    assert data[:2] == LAYOUT.input_frame.start
    raw = np.frombuffer(data, np.uint8).reshape(-1, LAYOUT.input_frame.size)
    read, valid = LAYOUT.unmask_inputs(raw)
    assert valid.all()
    assert read["seq"].tolist() == [7, 8, 9, 10, 11]
    assert (read["ack"] == 1000).all() and (read["aim"] == 1023).all()
    assert (read["move"] == 200).all() and (read["buttons"] == 5).all()
    assert len({data[i * 26 + 2 : i * 26 + 6] for i in range(5)}) == 5, "each has its own mask"


def test_a_client_frame_is_masked_and_gives_its_payload_back():
    data = frame(0x82, b"hello")
    mask = data[2:6]
    assert data[:2] == bytes([0x82, 0x85])
    assert bytes(byte ^ mask[i % 4] for i, byte in enumerate(data[6:])) == b"hello"


# ------------------------------------------------------------------ worlds


def test_the_world_is_as_large_as_needed_for_the_wanted_neighbours():
    rng = np.random.default_rng(1)
    for players in (500, 2000, 4000):
        cells = scenarios.world_cells(players, 50)
        at = rng.integers(0, cells, (2, players))
        near = np.abs(at[:, :, None] - at[:, None, :]) <= 1
        seen = (near[0] & near[1]).sum(axis=1).mean()
        assert seen == pytest.approx(50, rel=0.15)
        assert seen == pytest.approx(scenarios.expected_visible(players, cells), rel=0.06)


@given(players=st.integers(1, 20000), visible=st.floats(1, 500))
def test_the_world_stays_within_what_the_server_allows(players, visible):
    size = Load(players=players, visible=visible).world
    assert game.settings["size"].check(size) == size


# ------------------------------------------------------------------ the search


@given(capacity=st.integers(10, 8000), first=st.integers(10, 8000))
def test_the_search_ends_close_to_the_capacity_in_few_steps(capacity, first):
    asked = []

    def holds(players: int) -> bool:
        asked.append(players)
        return players <= capacity

    found = compare.largest(holds, first, limit=8000)
    assert found.held <= capacity
    assert not found.failed or found.failed > capacity
    assert found.held or capacity < 20
    if found.failed:
        assert found.failed <= max(found.held * (1 + compare.RESOLUTION), found.held + 20)
    else:
        assert found.held == 8000
    assert len(asked) == len(set(asked)), "no count is tried twice"
    assert len(asked) < 36


def test_the_search_stops_when_its_time_is_over():
    asked = []

    def holds(players: int) -> bool:
        asked.append(players)
        return True

    found = compare.largest(holds, 100, 8000, may_go_on=lambda: len(asked) < 3)
    assert len(asked) == 3 and found.held == asked[-1]


# ------------------------------------------------------------------ verdicts

KEPT = {
    "lost": 0,
    "lost_reasons": {},
    "wire_errors": {},
    "rate_hz": 19.9,
    "snapshot_hz": 19.85,
    "scenario": "spread",
    "snapshot_gap_ms_p99": 60.0,
    "shedding": "none",
}


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"lost": 2, "lost_reasons": {"closed with 4005": 2}}, "2 × closed with 4005"),
        ({"rate_hz": 19.7}, "ticked 19.70 times"),
        ({"snapshot_hz": 10.0}, "10.00 snapshots"),
        ({"wire_errors": {"leave of ship 3 twice": 1}}, "contradict"),
    ],
)
def test_a_crowd_fails_with_its_reason(change, word):
    assert crowd.failures(KEPT) == []
    (failure,) = crowd.failures({**KEPT, **change})
    assert word in failure


@pytest.mark.parametrize("change", [{"snapshot_gap_ms_p99": 101.0}, {"shedding": "far_half"}])
def test_a_crowd_with_long_gaps_or_less_than_everything_is_not_held(change):
    assert compare.verdict(crowd.Measured(KEPT))["held"]
    verdict = compare.verdict(crowd.Measured({**KEPT, **change}))
    assert not verdict["held"] and len(verdict["failures"]) == 1


# ------------------------------------------------------------------ the real thing


def test_a_real_crowd_is_measured(tmp_path):
    path = tmp_path / "crowd.json"
    command = [sys.executable, "-m", "bench", "crowd", "--players", "100", "--seconds", "3"]
    done = subprocess.run(
        [*command, "--json", str(path)], cwd=ROOT, capture_output=True, text=True, timeout=90
    )
    result = json.loads(path.read_text())
    # A busy machine may not keep the rate; nothing else may go wrong.
    assert done.returncode == (1 if result["failures"] else 0), done.stdout + done.stderr
    assert (result["lost_reasons"], result["wire_errors"]) == ({}, {})
    assert result["players"] == result["playing"] == 100
    assert result["snapshots_decoded"] > 0
    assert 20 < result["visible_mean"] <= 100
    assert result["rate_hz"] > 0 and result["ticks"] > 0
    assert result["inputs_per_s"] > 0
    mark("gap of 100 players, ms", result["snapshot_gap_ms_p50"], 20, 120)
    assert result["snapshot_gap_ms_p99"] >= result["snapshot_gap_ms_p50"]
    assert 0 < result["bytes_per_player_s"] < 40000
    assert result["tick_ms_p99"] >= result["tick_ms_p50"] > 0
    assert result["server_cpu_percent"] > 0 and result["us_per_player_tick"] > 0
    assert result["overruns"] >= 0 and result["tick_hz"] == 20
    assert result["machine"]["cores"] and result["versions"]["tickstorm"]
    assert "gap between snapshots" in done.stdout


def test_players_come_and_go_in_churn_without_being_lost():
    load = Load(players=60, seconds=3.0, scenario="churn")
    with crowd.tickstorm(load) as server:
        result = crowd.measure(load, server).result
    assert (result["lost_reasons"], result["wire_errors"]) == ({}, {})
    mark("churn, players a second", result["left_per_s"], 3, 9)
    assert result["join_ms_p99"] > 0


def test_clients_that_the_server_refuses_are_lost_and_counted():
    few = Load(players=10)
    load = Load(players=90, seconds=1.0, join_per_s=200.0)
    with crowd.tickstorm(few) as server:
        measured = crowd.measure(load, server)
    assert measured.result["playing"] == 60  # 10 players and 50 to spare
    assert measured.result["lost"] == 30
    assert "1013" in measured.failures[0]


@pytest.mark.parametrize("name", ["uwsgi", "picows", "floor"])
def test_a_peer_serves_the_same_crowd_or_says_what_is_missing(name):
    contender = compare.CONTENDERS[name]
    try:
        contender.prepare()
    except compare.Missing as error:
        assert "install" in str(error)
        return
    load = replace(Load(players=30, seconds=1.5), sample=contender.sample)
    with contender.server(load) as server:
        result = crowd.measure(load, server).result
    assert (result["lost_reasons"], result["wire_errors"]) == ({}, {})
    assert result["playing"] == 30 and result["rate_hz"] > 10
    assert result["snapshots_decoded"] > 10 or not contender.sample


def group(leader: int) -> list[str]:
    """Processes of a process group."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[2]) == leader and fields[0] != "Z":
                    found.append(entry.name)
    return found


def test_a_server_and_its_children_are_gone_after_the_block():
    with crowd.tickstorm(Load(players=5)) as server:
        leader = server.process.pid
        assert len(group(leader)) >= 2, "uWSGI's master and worker"
    assert group(leader) == []


def test_a_server_that_ends_at_once_is_reported_with_what_it_printed():
    command = [sys.executable, "-c", "print('no such luck'); raise SystemExit(3)"]
    with pytest.raises(BenchError, match="no such luck"), ServerProcess(command, free_port()):
        pass


def children(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in path.read_text().split()]


def test_a_benchmark_that_is_terminated_ends_its_processes():
    command = [sys.executable, "-m", "bench", "crowd", "--players", "5", "--seconds", "60"]
    bench = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 30
        while len(children(bench.pid)) < 2:  # the server and the clients
            assert time.monotonic() < deadline and bench.poll() is None
            time.sleep(0.05)
        leaders = children(bench.pid)
        bench.send_signal(signal.SIGTERM)
        assert bench.wait(15) == 143
        assert [member for leader in leaders for member in group(leader)] == []
    finally:
        if bench.poll() is None:
            os.kill(bench.pid, signal.SIGKILL)
        bench.wait()


# ------------------------------------------------------------------ the page


def step(players: int, held: bool) -> dict:
    return {
        "players": players,
        "held": held,
        "us_per_player_tick": 14.0,
        "cpu_ms_per_tick": 0.014 * players,
        "snapshot_gap_ms_p99": 60.0 if held else 260.0,
        "bytes_per_player_s": 4400,
        "visible_mean": 50.0,
    }


def trial(label: str, skipped: str | None = None) -> dict:
    return {
        "label": label,
        "versions": {"thing": "1.0"},
        "skipped": skipped,
        "largest": 0 if skipped else 2000,
        "not_held": None if skipped else 2100,
        "clients_were_the_limit": False,
        "common": {} if skipped else {"400": step(400, True), "2000": step(2000, True)},
        "steps": [] if skipped else [step(400, True), step(2000, True), step(2100, False)],
    }


def test_the_report_is_one_page_that_loads_nothing(tmp_path):
    comparison = {
        "kind": "compare",
        "contenders": {
            "tickstorm": trial("Tickstorm <&>"),
            "picows": trial("picows + uvloop"),
            "colyseus": trial("Colyseus", skipped="node and npm are not installed"),
        },
        "common_players": [400, 2000],
        "visible_wanted": 50,
        "tick_hz": 20,
        "gap_limit_ms": 100.0,
        **crowd.context(),
    }
    source, page, png = tmp_path / "c.json", tmp_path / "out.html", tmp_path / "p.png"
    source.write_text(json.dumps(comparison))
    assert report.main([str(source)], str(page), str(png)) == 0
    text = page.read_text()
    assert text.count("<svg") == 4
    assert "Tickstorm &lt;&amp;&gt;" in text and "node and npm are not installed" in text
    assert "<script" not in text and 'src="' not in text and "<link" not in text
    assert png.read_bytes().startswith(b"\x89PNG")


def test_a_report_of_nothing_says_what_to_run_first(tmp_path):
    empty = tmp_path / "x.json"
    empty.write_text("{}")
    with pytest.raises(BenchError, match="python -m bench compare"):
        report.main([str(empty)], str(tmp_path / "out.html"), None)


@pytest.mark.parametrize("module", [compare, frames, scenarios])
def test_the_examples_in_the_documentation_run(module):
    assert doctest.testmod(module).failed == 0
