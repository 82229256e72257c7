"""All-time scores: the best of each name, off the loop, damage set aside."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import time
import urllib.request
from pathlib import Path

import gevent
import pytest
from websockets.uri import parse_uri

from clients.bots import wire
from clients.bots.connection import Connection
from tests.live_server import LiveServer
from tickstorm.services import scores as module
from tickstorm.services.scores import Score, Scores


def written(path: Path, *batches: list[Score]) -> list[dict]:
    scores = Scores(path)
    for batch in batches:
        scores.offer(batch)
    assert scores.close(10)
    return scores.top


def test_the_best_score_of_each_name_is_kept(tmp_path):
    path = tmp_path / "scores.sqlite"
    written(path, [Score("ada", False, 50, 2), Score("bob", False, 70)], [Score("ada", False, 40)])
    top = written(path, [Score("ada", False, 90, 1)], [Score("bob", False, 10, 5)])
    assert [(row["name"], row["score"], row["streak"]) for row in top] == [
        ("ada", 90, 2),
        ("bob", 70, 5),
    ]


def test_a_better_score_moves_its_time_and_a_worse_one_does_not(tmp_path):
    path = tmp_path / "scores.sqlite"
    (first,) = written(path, [Score("ada", False, 50)])
    (second,) = written(path, [Score("ada", False, 40)])
    (third,) = written(path, [Score("ada", False, 60)])
    assert first["at"] == second["at"] < third["at"]


def test_bots_are_kept_apart_from_people(tmp_path):
    top = written(tmp_path / "scores.sqlite", [Score("ada", False, 5), Score("ada", True, 99)])
    assert [(row["name"], row["score"]) for row in top] == [("ada", 5)]


def test_the_list_is_there_again_after_a_restart_and_holds_a_hundred(tmp_path):
    path = tmp_path / "scores.sqlite"
    written(path, [Score(f"p{n}", False, n) for n in range(150)])
    top = written(path)
    assert [row["score"] for row in top] == list(range(149, 49, -1))


def test_a_hundred_thousand_names_do_not_fill_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "KEPT", 100)
    path = tmp_path / "scores.sqlite"
    for start in range(0, 1000, 100):
        written(path, [Score(f"p{n}", False, n) for n in range(start, start + 100)])
    with sqlite3.connect(path) as database:
        count, best = database.execute("SELECT count(*), max(score) FROM scores").fetchone()
    assert count <= 110 and best == 999


@pytest.mark.parametrize("damage", ["garbage", "page"])
def test_a_damaged_file_is_set_aside_and_a_new_one_begun(tmp_path, caplog, damage):
    path = tmp_path / "scores.sqlite"
    written(path, [Score(f"player number {n}", False, n) for n in range(3000)])
    data = bytearray(path.read_bytes())
    if damage == "garbage":
        data[:] = b"no database at all" * 100
    else:
        data[4096 : 4096 + 2048] = bytes(range(256)) * 8
    path.write_bytes(data)
    top = written(path, [Score("ada", False, 1)])
    assert [row["name"] for row in top] == ["ada"]
    (aside,) = [p for p in tmp_path.glob("scores.sqlite.damaged-*") if p.suffix != "-wal"]
    assert aside.read_bytes() == bytes(data)
    assert "set aside" in caplog.text


def test_scores_wait_while_the_file_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "RETRY_S", 0.1)
    path = tmp_path / "scores.sqlite"
    written(path, [Score("ada", False, 1)])
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    scores = Scores(path)
    scores.offer([Score("ada", False, 7)])
    time.sleep(0.5)
    assert scores.top in ([], [{**row, "score": 1} for row in scores.top])
    holder.execute("COMMIT")
    holder.close()
    until = time.monotonic() + 5
    while [row["score"] for row in scores.top] != [7] and time.monotonic() < until:
        time.sleep(0.02)
    assert scores.close(5)
    assert [row["score"] for row in scores.top] == [7]


def all_time(server: LiveServer) -> list[dict]:
    with urllib.request.urlopen(f"{server.page}scores.json", timeout=5) as response:
        assert response.headers["Content-Type"] == "application/json"
        return json.load(response)["scores"]


def test_a_score_outlives_player_and_worker():
    with LiveServer(SETTINGS="orbs=3000,size=2048") as server:
        assert all_time(server) == []
        connection = Connection(parse_uri(server.url))
        connection.send(wire.encode_hello("Ada", None, 0, bot=False))
        score, world, seq = 0, None, 0
        until = time.monotonic() + 20
        while not score and time.monotonic() < until:
            for data in connection.receive(time.monotonic() + 1):
                message = wire.decode(data)
                if message[0] == wire.WELCOME:
                    world = wire.KnownWorld(message[1]["declaration"])
                elif message[0] == wire.SNAPSHOT:
                    head = world.apply(message[1], message[2])
                    score, seq = head["self"]["score"], seq + 1
                    move = seq // 3 % 256  # in circles, among orbs
                    connection.send(wire.encode_input(0, head["tick"], seq, 0, move, 1, 0))
        assert score
        connection.close(wire.encode_leave())
        until = time.monotonic() + 5
        while not all_time(server) and time.monotonic() < until:
            gevent.sleep(0.05)
        pid = int(re.findall(r"worker 1 \((?:new )?pid: (\d+)", server.log())[-1])
        os.kill(pid, signal.SIGKILL)
        while f"pid: {pid}) died" not in server.log():
            gevent.sleep(0.05)
        server.wait_until_up()
        (row,) = all_time(server)
        assert row["name"] == "Ada" and row["score"] >= score
