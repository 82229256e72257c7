"""What `/metrics` says of a real server, and what is made of it in `deploy/`."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.live_server import ROOT, LiveServer
from tickstorm.client import connect
from tickstorm.operate import metrics

DEPLOY = ROOT / "deploy"
promtool = pytest.mark.skipif(
    shutil.which("promtool") is None,
    reason="no promtool (`sh deploy/packages.sh promtool:prometheus` brings it)",
)


def scrape(server, token="") -> str:
    request = urllib.request.Request(f"{server.page}metrics")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    with urllib.request.urlopen(request, timeout=5) as response:
        assert response.headers["Content-Type"].startswith("text/plain; version=")
        return response.read().decode()


def values(text: str) -> dict[tuple[str, tuple], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture(scope="module")
def server():
    tag = ROOT / "examples" / "tag" / "tag.py"
    options = {"ROOMS_PER_MINUTE": 0, "METRICS_TOKEN": "let-me-read"}
    with LiveServer(GAMES=f"game,{tag}", **options) as server:
        yield server


@pytest.fixture(scope="module")
def played(server):
    """What a scrape says after somebody played both games."""
    with connect(server.page, game="tag", name="Ada", settings={}) as ada:
        for step in (1, -1, 1, -1):
            ada.input(dx=step)
            ada.update(0.1)
        return scrape(server, "let-me-read"), ada.id


def test_it_is_for_those_who_have_the_token(server):
    for token in ("", "wrong", "let-me-rea"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            scrape(server, token)
        assert refused.value.code == 401


def test_a_player_and_what_they_did_is_counted(played):
    found = values(played[0])
    tag = (("game", "tag"), ("kind", "objects"))
    assert found["tickstorm_players", tag] == found["tickstorm_rooms", tag] == 1
    assert found["tickstorm_healthy", ()] == 1
    assert found["tickstorm_connections", ()] == 1
    objects, crowd = (("kind", "objects"),), (("kind", "crowd"),)
    for kind in (objects, crowd):
        count = found["tickstorm_tick_duration_seconds_count", kind]
        assert count > 0
        assert found["tickstorm_tick_lateness_seconds_count", kind] == count
        beyond = (*kind, ("le", "+Inf"))
        assert found["tickstorm_tick_duration_seconds_bucket", beyond] == count
        phase = "tickstorm_tick_phase_seconds_total"
        phases = sum(at for (name, of), at in found.items() if name == phase and kind[0] in of)
        took = found["tickstorm_tick_duration_seconds_sum", kind]
        assert 0.9 * took <= phases <= took, "phases make up the tick"
    assert found["tickstorm_messages_sent_total", objects] > 0
    assert found["tickstorm_sent_bytes_total", objects] > 0
    assert found["tickstorm_journal_bytes", objects] > 0


def test_no_label_names_a_room_or_a_player(played):
    """Ids of private rooms open them."""
    text, room = played
    assert "Ada" not in text
    labels = {name for _, labels in values(text) for name, _ in labels}
    known = {"kind", "game", "phase", "le", "level", "reason", "code", "version", "node"}
    assert labels <= known
    assert room not in text


def test_counters_outlive_their_rooms(server, played):
    """A room that closes takes nothing back."""
    objects = (("kind", "objects"),)
    before = values(played[0])["tickstorm_messages_received_total", objects]
    with connect(server.page, game="tag", name="Bob", settings={}) as bob:
        bob.update(0.2)
    after = values(scrape(server, "let-me-read"))["tickstorm_messages_received_total", objects]
    assert after >= before


def test_every_metric_is_declared_and_every_declared_one_is_said(played):
    said = {metrics.family(name) for name, _ in values(played[0])}
    missing = {"tickstorm_connections_closed"}  # nobody was closed yet
    assert set(metrics.METRICS) - said <= missing
    assert {name for name in said if not name.endswith("_created")} <= set(metrics.METRICS)


def test_the_numbers_of_two_workers_are_one_machine(played):
    samples = [(name, dict(labels), value) for (name, labels), value in values(played[0]).items()]
    both = values(metrics.exposition(metrics.merged([samples, samples])).decode())
    one = values(played[0])
    kind = (("kind", "crowd"),)
    name = "tickstorm_tick_duration_seconds_count"
    assert both[name, kind] == 2 * one[name, kind]
    assert both["tickstorm_healthy", ()] == 1
    assert both["tickstorm_start_time_seconds", ()] == one["tickstorm_start_time_seconds", ()]


@promtool
def test_promtool_finds_nothing_to_say_about_the_names(played):
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=played[0], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@promtool
def test_alerts_are_raised_when_they_should_be(tmp_path):
    text = (ROOT / "tests" / "alerts_test.yml").read_text()
    case = tmp_path / "case.yml"
    case.write_text(text.replace("ALERTS", str(DEPLOY / "alerts.yml")))
    done = subprocess.run(["promtool", "test", "rules", case], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def expressions() -> list[str]:
    board = json.loads((DEPLOY / "grafana.json").read_text())
    return [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]


@promtool
def test_what_the_dashboard_asks_can_be_asked(tmp_path):
    rules = [
        {"record": f"asked:{number}", "expr": text.replace("$__rate_interval", "1m")}
        for number, text in enumerate(expressions())
    ]
    path = tmp_path / "asked.yml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run(["promtool", "check", "rules", path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules)} rules found" in done.stdout


@pytest.mark.parametrize("path", ["grafana.json", "alerts.yml"])
def test_dashboard_and_alerts_ask_only_for_what_is_there(path):
    text = Path(DEPLOY / path).read_text()
    asked = set(re.findall(r"\b((?:tickstorm|process)_\w+)\b(?=[{\[\s,)])", text))
    assert asked
    assert {metrics.family(name) for name in asked} - {"tickstorm_info"} <= set(metrics.METRICS)
