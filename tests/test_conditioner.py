"""The bad network: its schedule in virtual time, and the proxy with real sockets."""

import os
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from contextlib import closing

import pytest

from clients.bots.conditioner import BUFFER_BYTES, Conditioner, Conditions, Schedule, parse
from tests.marks import mark

ALL = Conditions(latency_ms=75, jitter_ms=20, stall_percent=5, stall_ms=200, bandwidth_kbps=256)


def deliveries(conditions, seed=1, chunks=2000, gap_s=0.05, size=100):
    """Delay in ms of each of `chunks` chunks that are sent `gap_s` apart."""
    schedule = Schedule(seed)
    sent = [n * gap_s for n in range(chunks)]
    return [(schedule.deliver_at(t, size, conditions) - t) * 1000 for t in sent]


def test_the_same_seed_gives_the_same_schedule_and_another_seed_another():
    assert deliveries(ALL, seed="a") == deliveries(ALL, seed="a")
    assert deliveries(ALL, seed="a") != deliveries(ALL, seed="b")


def test_latency_alone_delays_each_chunk_by_exactly_that():
    assert deliveries(Conditions(latency_ms=75)) == pytest.approx([75] * 2000)


def test_jitter_varies_the_delay_within_its_bounds_and_all_over_them():
    delays = deliveries(Conditions(latency_ms=75, jitter_ms=20))
    assert 55 <= min(delays) < 56 and 94 < max(delays) <= 95
    assert statistics.mean(delays) == pytest.approx(75, abs=1)


def test_jitter_beyond_the_latency_never_delivers_before_sending():
    assert min(deliveries(Conditions(latency_ms=5, jitter_ms=50))) == 0


def test_the_stated_share_of_chunks_stalls():
    delays = deliveries(Conditions(stall_percent=3, stall_ms=40), chunks=20_000)
    stalled = [delay for delay in delays if delay > 1]
    assert stalled == pytest.approx([40] * len(stalled))
    assert 0.025 < len(stalled) / len(delays) < 0.035


def test_what_follows_a_stalled_chunk_waits_for_it():
    schedule = Schedule(1)
    stalled = schedule.deliver_at(10.0, 100, Conditions(stall_percent=100, stall_ms=200))
    behind = [schedule.deliver_at(10.0 + t, 100, Conditions()) for t in (0.05, 0.15, 0.25)]
    assert [stalled, *behind] == pytest.approx([10.2, 10.2, 10.2, 10.25])


def test_a_narrow_link_delivers_at_its_bandwidth_and_recovers_when_idle():
    narrow = Conditions(bandwidth_kbps=80)  # 10 bytes per ms
    schedule = Schedule(1)
    assert [schedule.deliver_at(0.0, 1000, narrow) for _ in range(3)] == pytest.approx(
        [0.1, 0.2, 0.3]
    )
    assert schedule.deliver_at(5.0, 1000, narrow) == pytest.approx(5.1)


def test_chunks_never_overtake_each_other():
    rng, schedule, now, latest = random.Random(3), Schedule(3), 0.0, 0.0
    for _ in range(5000):
        now += rng.expovariate(100)
        at = schedule.deliver_at(now, rng.randrange(1461), ALL)
        assert at >= latest and at >= now
        latest = at


def test_changing_conditions_midway_does_not_change_the_luck_of_later_chunks():
    calm, stormy = Schedule(9), Schedule(9)
    for n in range(100):
        calm.deliver_at(n, 10, Conditions())
        stormy.deliver_at(n, 10, ALL)
    assert calm.deliver_at(200, 10, ALL) == stormy.deliver_at(200, 10, ALL)


@pytest.mark.parametrize(
    "wrong, reason",
    [
        ({"latency_ms": -1}, "latency_ms = -1: allowed is 0 or more"),
        ({"stall_percent": 101}, "stall_percent = 101: allowed is 0 to 100"),
        ({"jitter_ms": float("nan")}, "jitter_ms = nan: allowed is 0 or more"),
    ],
)
def test_impossible_conditions_are_refused_with_what_is_allowed(wrong, reason):
    with pytest.raises(ValueError, match=re.escape(reason)):
        Conditions(**wrong)


# ---------------------------------------------------------------- with real sockets


@pytest.fixture
def server():
    """A listening socket; the test accepts by hand."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        listener.settimeout(5)
        yield listener


def connect(network, server):
    """(client's end, server's end) of a connection through the proxy."""
    client = socket.create_connection((network.host, network.port), timeout=5)
    served, _ = server.accept()
    for end in (client, served):
        end.settimeout(5)
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client, served


def one_way_ms(source, sink, times):
    """Delays in ms of `times` small messages, each sent after the last had arrived."""
    delays = []
    for _ in range(times):
        began = time.perf_counter()
        source.sendall(b"x")
        assert sink.recv(1) == b"x"
        delays.append((time.perf_counter() - began) * 1000)
    return delays


def receive(sink, count):
    data = bytearray()
    while len(data) < count and (chunk := sink.recv(65536)):
        data += chunk
    return bytes(data)


def test_each_direction_has_its_own_latency(server):
    up, down = Conditions(latency_ms=60), Conditions(latency_ms=10)
    with Conditioner(server.getsockname(), up=up, down=down) as network:
        client, served = connect(network, server)
        uplink, downlink = one_way_ms(client, served, 10), one_way_ms(served, client, 10)
        assert min(uplink) >= 59 and statistics.median(uplink) < 80
        assert min(downlink) >= 9 and statistics.median(downlink) < 30


def test_jitter_and_stalls_happen_on_the_wire(server):
    bad = Conditions(latency_ms=10, jitter_ms=10, stall_percent=20, stall_ms=150)
    with Conditioner(server.getsockname(), up=bad, seed=4) as network:
        delays = one_way_ms(*connect(network, server), 60)
    schedule = Schedule("4/0/up")
    luck = [(schedule.deliver_at(n, 1, bad) - n) * 1000 for n in range(60)]
    late = [delay - due for delay, due in zip(delays, luck)]
    assert min(late) > -1 and statistics.median(late) < 10  # the very schedule of that seed
    assert sum(delay > 150 for delay in delays) >= sum(due > 150 for due in luck) > 5


def test_bandwidth_limits_the_rate_and_every_byte_arrives_in_order(server):
    sent = random.Random(5).randbytes(40_000)
    with Conditioner(server.getsockname(), up=Conditions(bandwidth_kbps=640)) as network:
        client, served = connect(network, server)
        began = time.perf_counter()
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        received = receive(served, len(sent) + 1)
        took = time.perf_counter() - began
    assert received == sent
    assert 0.49 <= took < 0.9  # 40 kB at 80 kB/s


def test_a_sender_into_a_blocked_link_is_held_back_by_bounded_buffers(server):
    with Conditioner(server.getsockname()) as network:
        client, served = connect(network, server)
        network.pause()
        client.settimeout(0.3)
        sent = 0
        with pytest.raises(TimeoutError):
            while sent < 64 << 20:
                sent += client.send(bytes(65536))
        # Its own kernel buffer takes up to 4 MB; the proxy's share is small.
        own = client.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        assert sent < own + 8 * BUFFER_BYTES
        network.resume()
        assert receive(served, sent) == bytes(sent)


def test_a_pause_delivers_nothing_and_resuming_delivers_everything(server):
    with Conditioner(server.getsockname()) as network:
        client, served = connect(network, server)
        mark("one way without latency, ms", min(one_way_ms(client, served, 3)), high=50)
        network.pause()
        client.sendall(b"one")
        served.settimeout(0.2)
        with pytest.raises(TimeoutError):
            served.recv(10)
        network.resume()
        served.settimeout(5)
        assert receive(served, 3) == b"one"


def test_conditions_change_live(server):
    with Conditioner(server.getsockname()) as network:
        client, served = connect(network, server)
        mark("one way there, ms", statistics.median(one_way_ms(client, served, 9)), high=20)
        network.change(up=Conditions(latency_ms=80))
        assert min(one_way_ms(client, served, 3)) >= 79
        mark("one way back, ms", statistics.median(one_way_ms(served, client, 9)), high=20)


def test_dropping_resets_both_ends_and_lets_new_connections_in(server):
    with Conditioner(server.getsockname()) as network:
        client, served = connect(network, server)
        network.drop_connections()
        for end in (client, served):
            with pytest.raises(ConnectionResetError):
                end.recv(1)
        assert one_way_ms(*connect(network, server), 1)


def test_a_side_that_stops_sending_may_still_receive(server):
    with Conditioner(server.getsockname(), Conditions(latency_ms=20)) as network:
        client, served = connect(network, server)
        client.sendall(b"bye")
        client.shutdown(socket.SHUT_WR)
        assert receive(served, 10) == b"bye"
        served.sendall(b"farewell")
        served.close()
        assert receive(client, 20) == b"farewell"


def test_a_reset_on_one_side_resets_the_other(server):
    with Conditioner(server.getsockname()) as network:
        client, served = connect(network, server)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        with pytest.raises(ConnectionResetError):
            served.recv(1)


def test_a_client_of_a_server_that_is_down_is_closed(server):
    address = server.getsockname()
    server.close()
    with Conditioner(address) as network:
        with pytest.raises(ConnectionResetError):  # at once, or a moment later
            socket.create_connection((network.host, network.port), timeout=5).recv(1)


def test_connections_of_one_proxy_do_not_wait_for_each_other(server):
    with Conditioner(server.getsockname(), Conditions(latency_ms=100)) as network:
        pairs = [connect(network, server) for _ in range(8)]
        delays = []
        threads = [
            threading.Thread(target=lambda pair=pair: delays.extend(one_way_ms(*pair, 2)))
            for pair in pairs
        ]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(delays) == 16 and min(delays) >= 99
        mark("a conditioner that ends, s", time.perf_counter() - began, high=1.0)


# ---------------------------------------------------------------- as a program


def test_options_take_one_number_or_one_for_each_direction():
    options, up, down = parse(["--to=10.0.0.1:81", "--latency-ms=75", "--bandwidth-kbps=64,1000"])
    assert options.to == ("10.0.0.1", 81) and options.listen == ("127.0.0.1", 9000)
    assert up == Conditions(latency_ms=75, bandwidth_kbps=64)
    assert down == Conditions(latency_ms=75, bandwidth_kbps=1000)


@pytest.mark.parametrize(
    "arguments, reason",
    [
        ("--latency-ms slow", "--latency-ms: 'slow': allowed is a number, or UP,DOWN"),
        ("--stall-percent 1,200", "--stall-percent: 200.0: allowed is 0 to 100"),
        ("--to 8000", "--to: '8000': allowed is HOST:PORT"),
        ("--to host:99999", "--to: 'host:99999': allowed is HOST:PORT"),
    ],
)
def test_a_wrong_option_is_named_with_its_value_and_what_is_allowed(arguments, reason, capsys):
    with pytest.raises(SystemExit, match="2"):
        parse(arguments.split())
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_the_program_serves_and_ends_cleanly_on_a_signal(server, signum):
    host, port = server.getsockname()
    command = [sys.executable, "-m", "clients.bots.conditioner", "--listen", "127.0.0.1:0"]
    command += ["--to", f"{host}:{port}", "--latency-ms", "30", "--seed", "1"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    ) as program:
        listening = program.stdout.readline().split(" -> ")[0].split(":")
        client = socket.create_connection((listening[0], int(listening[1])), timeout=5)
        served, _ = server.accept()
        assert min(one_way_ms(client, served, 3)) >= 29
        program.send_signal(signum)
        _, errors = program.communicate(timeout=5)
    assert (program.returncode, errors) == (0, "")
