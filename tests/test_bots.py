"""Bots against a real server, and the parts of them that need none."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import gevent
import pytest
from websockets.uri import parse_uri

from clients.bots.__main__ import Crowd, parse
from clients.bots.bot import after
from clients.bots.conditioner import Conditioner, Conditions
from clients.bots.session import InputClock
from clients.bots.wire import NO_SLACK
from tests.live_server import ROOT, LiveServer, free_port
from tests.marks import mark

# ---------------------------------------------------------------- the clock of inputs

TICK_S = 0.05


def inputs_sent(clock, arrivals, until, slack=NO_SLACK):
    """Ticks at which inputs leave when snapshots (tick, time) come; woken as a bot is."""
    due, now, arrivals = [], arrivals[0][1], list(arrivals)
    while now < until:
        while arrivals and arrivals[0][1] <= now:
            tick, at = arrivals.pop(0)
            clock.saw(tick, slack, at)
        if (tick := clock.due(now)) is not None:
            due.append(tick)
        upcoming = [arrivals[0][1]] if arrivals else []
        now = max(now + 1e-6, min([clock.wake(), *upcoming]))
    return due


def test_each_snapshot_that_comes_in_time_triggers_one_input():
    arrivals = [(n, 10 + n * TICK_S) for n in range(1, 21)]
    assert inputs_sent(InputClock(20), arrivals, until=11.001) == list(range(1, 21))


def test_inputs_go_on_tick_by_tick_when_snapshots_stall_and_do_not_double_when_they_burst():
    on_time = [(n, 10 + n * TICK_S) for n in range(1, 6)]
    burst = [(n, 10 + 10 * TICK_S) for n in range(6, 11)]
    after_it = [(n, 10 + n * TICK_S) for n in range(11, 16)]
    due = inputs_sent(InputClock(20), on_time + burst + after_it, until=10.751)
    assert due == list(range(1, 16))


def test_inputs_are_sent_every_tick_when_snapshots_come_every_fourth():
    arrivals = [(n, 10 + n * TICK_S) for n in range(4, 41, 4)]
    assert inputs_sent(InputClock(20), arrivals, until=12.001) == list(range(4, 41))


def test_late_inputs_make_the_lead_longer_at_once_and_early_ones_shorten_it_in_time():
    clock = InputClock(20)
    clock.saw(100, -3, now=5.0)
    assert clock.lead == 5
    # What is under way still has the old lead and does not count again.
    clock.saw(101, -3, now=5.05)
    assert clock.lead == 5
    for tick in range(102, 160):
        clock.saw(tick, 2, now=tick * TICK_S)
    assert clock.lead == 4


def test_a_single_just_in_time_input_in_two_seconds_keeps_the_lead():
    clock = InputClock(20)
    for tick in range(100, 300):
        clock.saw(tick, 0 if tick % 30 == 0 else 2, now=tick * TICK_S)
    assert clock.lead == 2


# ---------------------------------------------------------------- close codes


def protocol_close_codes():
    """{code: what a client should do} as PROTOCOL.md says."""
    closing = (ROOT / "PROTOCOL.md").read_text().partition("## Closing")[2]
    return {
        int(code): action
        for code, action in re.findall(r"^\| (\d{4}) \| .* \| (.*) \|$", closing, re.MULTILINE)
    }


@pytest.mark.parametrize("code, action", protocol_close_codes().items())
def test_every_close_code_of_the_protocol_is_honoured(code, action):
    next_ = after(code)
    if action.startswith("nothing"):
        assert not next_.again and not next_.error
    elif "report a bug" in action:
        assert next_.error
    elif action.startswith(("reload", "choose another")):
        assert not next_.again and next_.error
    else:
        assert next_.again
        assert next_.keep_token == ("join without it" not in action)


def test_a_server_that_is_busy_is_asked_again_and_one_that_refuses_is_not():
    assert after(None, status=503).again and after(None, status=429).again
    assert not after(None, status=403).again and after(None, status=403).error


# ---------------------------------------------------------------- the command line


def bots_process(*arguments, **popen):
    command = [sys.executable, "-m", "clients.bots", *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **popen
    )


@pytest.mark.parametrize(
    "arguments, reason",
    [
        (["--url", "http://x/ws"], "--url: 'http://x/ws': allowed is ws://HOST:PORT/PATH"),
        (["--players", "-3"], "--players: '-3': allowed is 0 to 10000"),
        (["--players", "many"], "--players: 'many': allowed is 0 to 10000"),
        (["--seconds", "soon"], "--seconds: 'soon': allowed is a number of seconds, or 0"),
    ],
)
def test_a_wrong_option_is_named_with_its_value_and_what_is_allowed(arguments, reason, capsys):
    with pytest.raises(SystemExit, match="2"):
        parse(arguments)
    assert reason in capsys.readouterr().err


def test_port_and_bots_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("PORT", "1234")
    monkeypatch.setenv("BOTS", "7")
    options = parse([])
    assert (options.url.port, options.players, options.seconds) == (1234, 7, 0)
    monkeypatch.delenv("PORT")
    monkeypatch.delenv("BOTS")
    options = parse([])
    assert (options.url.port, options.players) == (8000, 24)


def test_a_run_in_which_nobody_can_connect_fails_and_says_why():
    url = f"ws://127.0.0.1:{free_port()}/ws"
    with bots_process("--players", 2, "--seconds", 1, "--url", url) as bots:
        out, errors = bots.communicate(timeout=20)
    assert bots.returncode == 1
    assert "Connection refused" in errors and "Traceback" not in errors
    assert re.search(r"^connected +0$", out, re.MULTILINE)


# ---------------------------------------------------------------- with a real server


def eventually(condition, seconds=15.0):
    """Poll, letting greenlets run; the last value of `condition` when it holds or time is up."""
    until = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < until:
        gevent.sleep(0.05)
    return value


class Playing:
    """A crowd in this process, at the given address; stops at the end of the block."""

    def __init__(self, url, players, seed=7):
        self.crowd = Crowd(parse_uri(url), players, seed)

    def __enter__(self):
        self.crowd.start()
        return self.crowd

    def __exit__(self, *_):
        self.crowd.stop()


def all_connected(crowd):
    return crowd.connected == len(crowd.bots)


def test_a_bounded_run_reports_what_was_measured(tmp_path):
    path = tmp_path / "result.json"
    with (
        LiveServer(SETTINGS="size=2048") as server,
        bots_process(
            *("--url", server.url, "--players", 20, "--seconds", 12, "--seed", 7, "--json", path)
        ) as bots,
    ):
        out, errors = bots.communicate(timeout=40)
        assert bots.returncode == 0, (out, errors)
        assert eventually(lambda: server.health()["players"] == 0)  # they said LEAVE
    result = json.loads(path.read_text())
    assert result["players"] == result["connected"] == 20
    assert result["errors"] == result["reconnects"] == 0
    assert result["seconds"] >= 12
    # 20 snapshots a second each; a busy machine may cost some.
    assert 0 < result["snapshots"] <= 20 * 20 * (result["seconds"] + 1)
    mark("gap of 20 bots, ms", result["snapshot_gap_ms_p50"], 30, 70)
    assert result["snapshot_gap_ms_p50"] <= result["snapshot_gap_ms_p99"]
    assert 0 < result["bytes_per_player_s"] < 40_000
    assert result["kills"] == result["deaths"] >= 1
    assert re.search(r"^connected +20$", out, re.MULTILINE)


def test_bots_move_about_in_the_world(server):
    with Playing(server.url, 3) as crowd:
        assert eventually(lambda: all_connected(crowd))
        sessions = [bot.session for bot in crowd.bots]
        assert eventually(lambda: all(session.own is not None for session in sessions))
        before = [(session.own["x"], session.own["y"]) for session in sessions]
        gevent.sleep(3)
        for session, (x, y) in zip(sessions, before, strict=True):
            assert (session.own["x"] - x) ** 2 + (session.own["y"] - y) ** 2 > 50**2


def test_dropped_bots_come_back_as_the_same_ships(server):
    with (
        Conditioner(("127.0.0.1", server.port)) as network,
        Playing(f"ws://127.0.0.1:{network.port}/ws", 5) as crowd,
    ):
        assert eventually(lambda: all_connected(crowd))
        slots = [bot.session.welcome["slot"] for bot in crowd.bots]
        gevent.sleep(1)  # who has done nothing yet has no grace period
        network.drop_connections()
        assert eventually(lambda: crowd.tally.reconnects == 5 and all_connected(crowd))
        assert [bot.session.welcome["slot"] for bot in crowd.bots] == slots
        assert crowd.tally.resumed == 5
        assert server.health()["players"] == 5
        assert not crowd.tally.errors


def test_bots_play_over_a_bad_network_and_their_inputs_are_in_time(server):
    bad = Conditions(latency_ms=75, jitter_ms=20, stall_percent=1, bandwidth_kbps=256)
    with (
        Conditioner(("127.0.0.1", server.port), bad, seed=1) as network,
        Playing(f"ws://127.0.0.1:{network.port}/ws", 4) as crowd,
    ):
        assert eventually(lambda: all_connected(crowd))
        gevent.sleep(5)
        late = server.health()["stats"]["inputs_late"]
        inputs = crowd.tally.inputs
        gevent.sleep(6)
        late, inputs = server.health()["stats"]["inputs_late"] - late, crowd.tally.inputs - inputs
        assert inputs > 4 * 6 * 20 * 0.7
        assert late / inputs < 0.15
        leads = [bot.session.clock.lead for bot in crowd.bots]
        assert all(3 <= lead <= 10 for lead in leads), leads
        assert not crowd.tally.errors and crowd.tally.reconnects == 0


def test_bots_wait_for_the_server_and_survive_its_restart():
    server = LiveServer()
    with bots_process("--url", server.url, "--players", 4, "--seconds", 0) as bots:
        try:
            time.sleep(1.5)
            assert bots.poll() is None  # no server yet, and no complaint
            with server:
                assert eventually(lambda: server.health()["players"] == 4)
                server.stop()
                assert bots.poll() is None
                server.start()
                # Their ships wait for them; count those who are back.
                assert eventually(lambda: server.health()["stats"]["connected"] == 4, 25)
                bots.send_signal(signal.SIGTERM)
                out, errors = bots.communicate(timeout=10)
                assert eventually(lambda: server.health()["players"] == 0)
        finally:
            bots.kill()
    assert (bots.returncode, errors) == (0, "")
    assert re.search(r"^reconnects +4$", out, re.MULTILINE)


def test_bots_that_find_no_room_are_lost_and_the_run_says_so():
    with (
        LiveServer(MAX_PLAYERS=3) as server,
        bots_process("--url", server.url, "--players", 5, "--seconds", 3) as bots,
    ):
        out, errors = bots.communicate(timeout=20)
    assert bots.returncode == 1
    assert re.search(r"^connected +3$", out, re.MULTILINE)
    assert "full" in errors


def test_attached_bots_end_quietly_with_their_parent(server, tmp_path):
    arguments = ["--url", server.url, "--players", "2", "--attached"]
    script = (
        "import subprocess, sys, time\n"
        f"bots = subprocess.Popen([sys.executable, '-m', 'clients.bots', *{arguments!r}])\n"
        "print(bots.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as parent:
        bots_pid = int(parent.stdout.readline())
        assert eventually(lambda: server.health()["players"] == 2)
        parent.kill()
        assert eventually(lambda: not running(bots_pid))
        assert parent.stdout.read() == ""
    assert eventually(lambda: server.health()["players"] == 0)


def running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # An orphan that nobody has waited for is not running any more either.
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"
