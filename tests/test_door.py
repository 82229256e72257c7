"""A crowd at the door of a busy server: everyone has an answer, and so has the health check."""

from __future__ import annotations

import select
import time

from tests.live_server import LiveServer
from tests.raw_client import ROOT, RawClient, connect, parse, upgrade

CROWD = 700
TICKS = 150
"""Within so many ticks everybody must have an answer; one connection per tick would take 700."""


def test_a_crowd_at_a_busy_server_is_let_in_or_told_to_come_again_and_health_is_answered():
    # Each tick takes longer than its time, so the loop hardly ever turns between them.
    slow = {"PYTHONPATH": ROOT / "tests" / "odd_rules", "SLOW_MS": 60, "SLOW_SIZE": 2048}
    options = {"SETTINGS": "size=2048", "MAX_PLAYERS": 2000, "MAX_CONNECTIONS_PER_ADDRESS": 0}
    with LiveServer(**slow, **options, RUN_AS="root") as live, RawClient(live.port) as honest:
        honest.join("honest")
        first = live.health()["tick"]
        waiting = {}
        for _ in range(CROWD):
            sock = connect(live.port)
            sock.sendall(upgrade(live.port))
            waiting[sock.fileno()] = sock
        answers, poll, opened = [], select.poll(), list(waiting.values())
        for fd in waiting:
            poll.register(fd, select.POLLIN)
        checks = 0
        while waiting:
            for fd, _ in poll.poll(50):
                poll.unregister(fd)
                answers.append(parse(waiting.pop(fd).recv(65536)))
            health = live.health()
            checks += 1
            assert health["tick"] - first < TICKS, (len(waiting), checks)
        for sock in opened:
            sock.close()
        statuses = [status for status, _, _ in answers]
        assert set(statuses) <= {101, 503} and statuses.count(101) > 0, set(statuses)
        for status, headers, _ in answers:
            assert status == 101 or headers["retry-after"] == "2"
        print(f"{statuses.count(101)} let in, {statuses.count(503)} told to come again, "
              f"{health['tick'] - first} ticks, {checks} health checks")  # fmt: skip
        honest.read(0.1)
        tick = honest.head["tick"]
        honest.until(lambda: honest.head["tick"] > tick + 5)
        assert honest.close is None


def test_without_a_crowd_nobody_is_turned_away(server):
    for _ in range(50):
        with connect(server.port) as sock:
            sock.sendall(upgrade(server.port))
            assert parse(sock.recv(4096))[0] == 101
    time.sleep(0.2)
    assert server.health()["refused"]["turned_away"] == 0
