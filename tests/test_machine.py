"""One port, several workers and a keeper, on the real uWSGI: who dies, and what players see of it.

The seed is printed should one of these fail; it decides who dies when.
"""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.object_server import ObjectServer, wait_for

COUNT = """
import time as clock

class Count(Room):
    capacity, tick_hz = 50, 20
    n: int = synced(0)
    drops: int = synced(0)
    cost: int = synced(0)

    def on_drop(self, player):
        self.drops += 1

    @message
    def add(self, player) -> int:
        self.n += 1
        return self.n

    @message
    def burn(self, player, ms: int):
        self.cost = ms

    def step(self, dt):
        until = clock.process_time() + self.cost / 1000
        while clock.process_time() < until:
            pass
"""


def everyone(server: ObjectServer, rooms: int = 4, guests: int = 2) -> list:
    """Players in several rooms; the first of each room come first."""
    hosts = [server.new_room(f"h{i}") for i in range(rooms)]
    return hosts + [server.join(f"g{i}", room=host.id) for host in hosts for i in range(guests)]


def all_answer(clients: list) -> None:
    """Each over the socket that it has had from the start: a lost one would raise."""
    for client in clients:
        assert client.request("add") > 0


def listening(port: int) -> bool:
    needle = f":{port:04X} "
    return any(
        needle in line.split(maxsplit=2)[1] + " " and " 0A " in line
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
    )


@pytest.fixture(scope="module", params=[1, 2])
def server(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("machine")
    os.chmod(folder, 0o755)
    with ObjectServer(folder, COUNT, WORKERS=request.param, BALANCE="off") as live:
        live.count = request.param
        wait_for(lambda: live.starts() >= request.param, 20)
        yield live


def test_a_worker_that_is_killed_ends_no_socket_and_nobody_dropped(server):
    clients = everyone(server)
    seed = random.randrange(1 << 30)
    print("seed", seed)
    chance = random.Random(seed)
    for _ in range(2):
        all_answer(clients)
        before, starts = [client.state["n"] for client in clients], server.starts()
        os.kill(chance.choice(server.workers), signal.SIGKILL)
        all_answer(clients)
        for client, n in zip(clients, before):
            assert client.state["n"] >= n - 1 and client.state["drops"] == 0
        server.wait_for_start(starts)
    wait_for(lambda: server.health()["players"] == len(clients), 10)
    for client in clients:
        client.leave()


def test_a_reload_ends_no_socket_and_loses_nothing(server):
    clients = everyone(server)
    all_answer(clients)
    before = [client.request("add") for client in clients]
    starts = server.starts()
    server.signal(signal.SIGHUP)
    wait_for(lambda: server.starts() >= starts + server.count, 40)
    after = [client.request("add") for client in clients]
    assert all(new > old for new, old in zip(after, before))
    assert {client.state["drops"] for client in clients} == {0}
    for client in clients:
        client.leave()


def test_the_keeper_may_die_and_is_told_anew(server):
    clients = everyone(server, rooms=2)
    keeper = server.keeper
    os.kill(keeper, signal.SIGKILL)
    all_answer(clients)
    told = server.log().count("the keeper is back")
    wait_for(lambda: server.log().count("the keeper is back") >= min(told + 1, server.count), 30)
    wait_for(lambda: any("keeper" in command for command in server.children().values()), 30)
    assert server.keeper != keeper
    wait_for(lambda: server.log().count("the keeper is back") % server.count == 0, 30)
    starts = server.starts()
    os.kill(server.workers[0], signal.SIGKILL)
    all_answer(clients)
    wait_for(lambda: server.starts() > starts, 30)
    for client in clients:
        client.leave()


def test_a_stop_leaves_no_process_and_no_port(tmp_path):
    with ObjectServer(tmp_path, COUNT, WORKERS=2) as live:
        clients = everyone(live, rooms=2)
        processes = [*live.workers, live.keeper]
        assert live.stop() == 0
        for client in clients:
            with pytest.raises(Exception, match="1001"):
                client.update(5.0)
        wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in processes), 5)
        assert not listening(live.port)


def test_a_room_moves_off_a_worker_that_is_short_of_time_and_its_players_notice_nothing(tmp_path):
    with ObjectServer(tmp_path, COUNT, WORKERS=2) as live:
        clients = everyone(live, rooms=6, guests=1)
        wait_for(lambda: len(live.health().get("workers", ())) == 2, 20)
        # Rooms go to the workers in turn, so these are heavy ones of one worker.
        until = time.monotonic() + 40
        for client in clients[:6:2]:
            client.send("burn", 15)
        while "goes on in worker" not in live.log():
            assert time.monotonic() < until, live.log()
            all_answer(clients)
        all_answer(clients)
        assert {client.state["drops"] for client in clients} == {0}
        # What a worker knows of another is up to a second old: for so long it may count both.
        wait_for(lambda: live.health()["players"] == len(clients), 10)


def test_what_is_not_allowed_is_said_at_the_start():
    from tickstorm.config import ConfigError, load

    assert load({"WORKERS": "auto"}).worker_count >= 1
    for value in ("0", "65", "many"):
        with pytest.raises(ConfigError, match=f"WORKERS={value} is not allowed"):
            load({"WORKERS": value})
    with pytest.raises(ConfigError, match="WORKERS=2 is not allowed"):
        load({"WORKERS": "2", "DIRECTORY": "redis://localhost"})
