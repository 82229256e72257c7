"""The real server, end to end: its pages, and a player's life from HELLO to the end."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path

import pytest

import game
from clients.bots import wire
from game.schema import ALIVE, BUTTON_THRUST
from tests.arena import GAMES
from tests.live_server import ROOT, LiveServer, free_port
from tests.raw_client import Neighbours, RawClient, connect, frame, request, upgrade
from tickstorm.config import load
from tickstorm.lobby.lobby import Lobby
from tickstorm.lobby.web import SECURITY_HEADERS, Web


@pytest.fixture(scope="module")
def arena():
    with LiveServer(SETTINGS="size=2048", GRACE_SECONDS=3, MAX_SPECTATORS=2) as live:
        yield live


@pytest.fixture
def player(arena):
    with RawClient(arena.port) as client:
        client.join("Ada")
        yield client
        leave(client)


def leave(*clients):
    for client in clients:
        client.say(wire.encode_leave())
        assert client.close_code() == 1000


# ------------------------------------------------------------------ a player's life


def test_a_player_is_welcomed_and_gets_a_full_snapshot_with_its_ship(player):
    welcome = player.welcome
    assert welcome["name"] == "Ada" and welcome["room"] == "arena"
    assert (welcome["version"], welcome["schema"]) == (1, game.checksum())
    assert (welcome["tick_hz"], welcome["size"], welcome["resumed"]) == (20, 2048, False)
    first = player.of(wire.SNAPSHOT)[0]
    assert first[1][7] & wire.FULL, "flags of the first head"
    ships = player.world.kinds["ship"]
    assert ships.index(welcome["slot"]) >= 0
    assert player.head["self"]["flags"] & ALIVE


def test_snapshots_follow_one_another_tick_by_tick(player):
    seen = [player.head["tick"]]
    while len(seen) < 20:
        player.read(1)
        if player.head["tick"] != seen[-1]:
            assert player.head["tick"] - player.head["baseline_age"] == seen[-1]
            seen.append(player.head["tick"])
    assert seen[-1] - seen[0] <= 25, "hardly any tick may be missed"


def test_thrust_moves_the_ship_and_the_input_is_acknowledged(player):
    start = player.head["self"]
    away = 0 if start["x"] < 1024 else 128  # towards the middle
    for _ in range(15):
        player.input(move=away, buttons=BUTTON_THRUST)
        tick = player.head["tick"]
        player.until(lambda tick=tick: player.head["tick"] > tick)
    player.until(lambda: player.head["ack_seq"] == player.sequence)
    assert abs(player.head["self"]["x"] - start["x"]) > 20


def test_others_see_a_player_come_move_and_leave_at_once(player, arena):
    with RawClient(arena.port) as other:
        slot = other.join("Zoë")["slot"]
        ships = player.world.kinds["ship"]
        player.until(lambda: ships.index(slot) >= 0)
        assert ships["name"][ships.index(slot)].decode() == "Zoë"
        before = ships["x"][ships.index(slot)]
        for _ in range(10):
            other.input(move=64 if other.head["self"]["y"] < 1024 else 192, buttons=1)
            other.read(0.05)
        player.until(lambda: ships["y"][ships.index(slot)] != before)
        leave(other)
        player.until(lambda: ships.index(slot) < 0, seconds=2)


def test_bots_join_move_fight_and_leave(arena):
    watcher = RawClient(arena.port)
    watcher.join("watcher", spectate=True)
    crowd = Neighbours(arena.url, 12, seed=3)
    try:
        watcher.until(lambda: watcher.of(wire.FEED), seconds=40)
        (event, killer, victim, *_), *_ = watcher.of(wire.FEED)[0][1]
        assert event == "kill" and killer != victim
        watcher.until(lambda: any(row[2] >= 12 for row in watcher.of(wire.BOARD)))
    finally:
        result = crowd.noticed_nothing()
        watcher.drop()
    assert result["connected"] == 12 and result["kills"] > 0


def test_the_same_ship_waits_for_a_player_who_was_cut_off(arena):
    with RawClient(arena.port) as first:
        welcome = first.join("Ada")
        here = first.head["self"]
    with RawClient(arena.port) as again:
        back = again.join("somebody else", welcome["token"])
        assert back["resumed"] and (back["slot"], back["name"]) == (welcome["slot"], "Ada")
        assert abs(again.head["self"]["x"] - here["x"]) < 200
        leave(again)


def test_after_the_grace_period_the_ship_is_gone_and_the_token_opens_a_new_one(arena, player):
    with RawClient(arena.port) as first:
        welcome = first.join("Ghost")
    ships = player.world.kinds["ship"]
    player.until(lambda: ships.index(welcome["slot"]) >= 0)
    player.until(lambda: ships.index(welcome["slot"]) < 0, seconds=8)
    with RawClient(arena.port) as again:
        back = again.join("Ghost", welcome["token"])
        assert not back["resumed"]
        leave(again)


def test_the_newest_socket_wins_and_the_old_one_is_told(arena):
    with RawClient(arena.port) as old, RawClient(arena.port) as new:
        welcome = old.join("Ada")
        back = new.join("Ada", welcome["token"])
        assert back["resumed"] and back["slot"] == welcome["slot"]
        assert old.close_code() == 4006
        # And again, the other way round: the same token, used a second time.
        with RawClient(arena.port) as third:
            assert third.join("Ada", welcome["token"])["resumed"]
            assert new.close_code() == 4006
            leave(third)


def test_leaving_gives_up_the_ship_so_that_the_token_is_worth_nothing(arena):
    with RawClient(arena.port) as client:
        welcome = client.join("Ada")
        leave(client)
    with RawClient(arena.port) as again:
        assert not again.join("Ada", welcome["token"])["resumed"]
        leave(again)


def test_sync_brings_a_full_snapshot(player):
    def fulls():
        return sum(m[1][7] & wire.FULL for m in player.of(wire.SNAPSHOT))

    before = fulls()
    player.say(wire.encode_sync())
    player.until(lambda: fulls() == before + 1)


def test_a_ping_comes_back_with_its_time_and_the_tick(player):
    player.say(wire.encode_ping(1234.5678))
    player.until(lambda: player.of(wire.PONG))
    _, sent, tick = player.of(wire.PONG)[0]
    assert sent == 1234.5678 and abs(tick - player.head["tick"]) <= 5


def test_chat_reaches_everyone_cleaned_and_not_too_often(player, arena):
    with RawClient(arena.port) as other:
        other.join("Bob")
        other.say(wire.encode_chat("hi \u202e<b>there</b>\n"))
        player.until(lambda: player.of(wire.CHATTED))
        assert player.of(wire.CHATTED)[0] == [20, "Bob", "hi <b>there</b>"]
        for i in range(10):
            other.say(wire.encode_chat(f"spam {i}"))
        other.until(lambda: other.of(wire.NOTICE))
        player.until(lambda: len(player.of(wire.CHATTED)) >= 4)
        time.sleep(0.3)
        player.read(0.1)
        assert len(player.of(wire.CHATTED)) <= 5
        leave(other)


def test_the_board_and_the_heat_come_once_a_second(player):
    player.until(lambda: player.of(wire.BOARD) and player.of(wire.HEAT), seconds=5)
    _, rows, players = player.of(wire.BOARD)[-1]
    assert players >= 1 and "Ada" in [name for name, _, _ in rows]
    assert sum(player.of(wire.HEAT)[-1][2]) >= 1


def test_a_spectator_has_no_ship_and_may_look_anywhere(arena, player):
    with RawClient(arena.port) as watcher:
        welcome = watcher.join("Eve", spectate=True)
        assert welcome["slot"] == wire.NO_SLOT
        assert watcher.head["flags"] & wire.SPECTATOR
        ships = watcher.world.kinds["ship"]
        slot = player.welcome["slot"]
        watcher.say(wire.encode_look(slot))
        watcher.until(lambda: ships.index(slot) >= 0)
        for place in ((0, 0), (2**63, -(2**63)), (float("inf"), float("nan")), (-5.5, 1e300)):
            watcher.say(wire.encode_look(*place))
            tick = watcher.head["tick"]
            watcher.until(lambda tick=tick: watcher.head["tick"] > tick + 2)


def test_a_spectator_who_comes_back_takes_its_own_seat_and_nobody_elses(arena, player):
    with RawClient(arena.port) as old, RawClient(arena.port) as new:
        token = old.join("Eve", spectate=True)["token"]
        assert new.join("Eve", token)["resumed"]
        assert old.close_code() == 4006
        with RawClient(arena.port) as other, RawClient(arena.port) as third:
            other.join("Mallory", spectate=True)
            third.say(wire.encode_hello("no room", spectate=True))
            assert third.close_code() == 1013
            for client in (new, other, player):
                tick = client.head["tick"]
                client.until(lambda client=client, tick=tick: client.head["tick"] > tick + 3)


def test_a_name_is_cleaned_and_cut_at_a_code_point(arena):
    for name, accepted in [("\u202eé" * 30, "é" * 10), ("\0\n", "Player"), ("Ａｄａ", "Ada")]:
        with RawClient(arena.port) as client:
            assert client.join(name)["name"] == accepted
            leave(client)


# ------------------------------------------------------------------ the way in


@pytest.mark.parametrize(
    "headers, status",
    [
        ({"Sec_WebSocket_Version": "8"}, 400),
        ({"Sec_WebSocket_Key": "short"}, 400),
        ({"Sec_WebSocket_Key": None}, 400),
        ({"Upgrade": None}, 426),
        ({"Connection": "close"}, 426),
        ({"Sec_WebSocket_Protocol": "tickstorm.0"}, 400),
        ({"Sec_WebSocket_Protocol": None}, 400),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1"}, 403),  # another port is another origin
        ({"Origin": "http://127.0.0.1.evil.example"}, 403),
        ({"Content_Length": "5"}, 400),
        ({"Transfer_Encoding": "chunked"}, 400),
    ],
)
def test_an_upgrade_that_is_not_ours_is_refused(arena, headers, status):
    got, _, body = request(arena.port, upgrade(arena.port, **headers))
    assert got == status, body


def test_an_upgrade_from_our_own_page_is_granted_without_extensions(arena):
    for scheme in ("http", "https"):
        with RawClient(
            arena.port,
            Origin=f"{scheme}://127.0.0.1:{arena.port}",
            Sec_WebSocket_Extensions="permessage-deflate; client_max_window_bits",
        ) as client:
            assert client.status == 101
            assert client.headers["sec-websocket-protocol"] == wire.SUBPROTOCOL
            assert "sec-websocket-extensions" not in client.headers


@pytest.mark.parametrize("method", ["POST", "HEAD", "PUT", "OPTIONS", "TRACE", "CONNECT"])
def test_only_get_upgrades(arena, method):
    data = upgrade(arena.port).replace(b"GET", method.encode(), 1)
    status, _, _ = request(arena.port, data)
    assert status == 405


def test_an_unknown_room_is_refused(arena):
    with RawClient(arena.port, "/ws?room=nowhere") as client:
        client.say(wire.encode_hello("Ada"))
        assert client.close_code() == 4009


def test_a_full_server_says_so_and_goes_on_when_somebody_leaves():
    with LiveServer(MAX_PLAYERS=3, MAX_SPECTATORS=0, GRACE_SECONDS=0) as live:
        clients = [RawClient(live.port) for _ in range(3)]
        for client in clients:
            client.join()
        with RawClient(live.port) as fourth:
            fourth.say(wire.encode_hello("fourth"))
            assert fourth.close_code() == 1013
        # Sockets that say nothing may not keep the door shut for longer than HELLO takes.
        idle = []
        while True:
            client = RawClient(live.port)
            idle.append(client)
            if client.status != 101:
                break
            assert len(idle) < 100
        assert client.status == 503
        assert len(idle) >= 32
        assert live.health()["refused"]["full"] == 1
        leave(clients.pop())
        for client in idle[:-1]:
            assert client.close_code(seconds=12) == 4003
        with RawClient(live.port) as next_one:
            assert next_one.join("next")["slot"] == 2
        for client in clients:
            client.read(0.1)
            assert client.close is None, "those who play notice nothing"


def test_one_address_gets_so_many_sockets_and_the_proxys_word_counts_only_if_it_is_trusted():
    with LiveServer(MAX_CONNECTIONS_PER_ADDRESS=2, TRUSTED_PROXIES="10.0.0.1") as live:
        with RawClient(live.port), RawClient(live.port, X_Forwarded_For="192.0.2.1"):
            for forged in ("192.0.2.2", "10.0.0.1", "127.0.0.1"):
                data = upgrade(live.port, X_Forwarded_For=forged)
                assert request(live.port, data)[0] == 429
    with LiveServer(MAX_CONNECTIONS_PER_ADDRESS=2, TRUSTED_PROXIES="127.0.0.1,10.0.0.1") as live:
        # The last address that no trusted proxy has, whatever the client has put before it.
        same = ["192.0.2.1", "6.6.6.6, 192.0.2.1", "7.7.7.7,192.0.2.1, 10.0.0.1"]
        clients = [RawClient(live.port, X_Forwarded_For=same[i]) for i in range(2)]
        assert request(live.port, upgrade(live.port, X_Forwarded_For=same[2]))[0] == 429
        with RawClient(live.port, X_Forwarded_For="192.0.2.1, 192.0.2.2") as other:
            assert other.status == 101
        # Users of IPv6 have a network each.
        six = [RawClient(live.port, X_Forwarded_For=f"2001:db8::{i}") for i in range(2)]
        assert [client.status for client in six] == [101, 101]
        data = upgrade(live.port, X_Forwarded_For="2001:db8::ffff:3")
        assert request(live.port, data)[0] == 429
        for client in clients + six:
            client.drop()


def test_configured_origins_may_connect():
    with LiveServer(ALLOWED_ORIGINS="https://game.example, https://b.example") as live:
        for origin, status in [
            ("https://game.example", 101),
            ("https://b.example", 101),
            ("https://c.example", 403),
            (f"http://127.0.0.1:{live.port}", 101),
        ]:
            with RawClient(live.port, Origin=origin) as client:
                assert client.status == status


# ------------------------------------------------------------------ pages


def get(port, path, method="GET", **headers):
    lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{port}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return request(port, "\r\n".join([*lines, "", ""]).encode())


def test_the_page_and_its_files_come_with_security_headers(arena):
    for path, kind in [
        ("/", "text/html"),
        ("/main.js", "text/javascript"),
        ("/style.css", "text/css"),
        ("/favicon.svg", "image/svg+xml"),
        ("/healthz", "application/json"),
        ("/nothing", "text/plain"),
    ]:
        _, headers, body = get(arena.port, path)
        assert headers["content-type"].startswith(kind)
        assert int(headers["content-length"]) == len(body) > 0
        for name, value in SECURITY_HEADERS:
            assert headers[name.lower()] == value
    policy = headers["content-security-policy"]
    assert "unsafe" not in policy and "default-src 'none'" in policy


def test_a_file_that_has_not_changed_is_not_sent_again(arena):
    status, headers, body = get(arena.port, "/main.js")
    assert status == 200 and body == (ROOT / "clients/web/main.js").read_bytes()
    status, again, body = get(arena.port, "/main.js", If_None_Match=headers["etag"])
    assert (status, body, again["etag"]) == (304, b"", headers["etag"])
    status, _, _ = get(arena.port, "/main.js", If_None_Match='"something else"')
    assert status == 200


def test_head_says_what_get_would_without_the_body(arena):
    for path in ("/", "/healthz", "/nothing"):
        _, expected, _ = get(arena.port, path)
        _, headers, body = get(arena.port, path, "HEAD")
        assert body == b""
        assert headers["content-type"] == expected["content-type"]


@pytest.mark.parametrize(
    "path",
    [
        "/../server/app.py",
        "/..%2fserver%2fapp.py",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/....//....//etc/passwd",
        "//etc/passwd",
        "/main.js/../../../uwsgi.ini",
        "/main.js%00.html",
        "/\\..\\..\\uwsgi.ini",
        "/.git/config",
        "/MAIN.JS",
        "/main.js/",
        "/ws/",
        "http://127.0.0.1/../uwsgi.ini",
        "/%ff%fe",
        "/" + "a" * 3000,
    ],
)
def test_no_path_leads_out_of_the_page(arena, path):
    status, _, body = get(arena.port, path)
    assert status in (400, 404), body[:200]
    assert b"root:" not in body and b"import" not in body and b"[uwsgi]" not in body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "BREW"])
def test_other_methods_are_not_allowed(arena, method):
    status, headers, _ = get(arena.port, "/", method)
    assert (status, headers["allow"]) == (405, "GET, HEAD")


def test_health_is_ok_while_ticks_advance(arena):
    status, _, body = get(arena.port, "/healthz")
    health = json.loads(body)
    assert (status, health["status"], health["tick_hz"]) == (200, "ok", 20)
    assert {"tick", "players", "rooms", "version", "refused", "closed"} <= health.keys()
    time.sleep(0.3)
    assert json.loads(get(arena.port, "/healthz")[2])["tick"] > health["tick"]


def wsgi(app, path="/", **extra):
    """Call the application without a server; the status and the body."""
    told = []
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.input": io.BytesIO(),
        **extra,
    }
    body = b"".join(app(environ, lambda status, headers: told.append((status, headers))))
    return told[0][0], body


def test_health_is_503_once_ticks_have_stopped(tmp_path):
    now = [100.0]
    config = load({"DATA_DIR": str(tmp_path), "JOURNAL": "off", "MAX_PLAYERS": "5"})
    lobby = Lobby(config, b"k" * 32, GAMES, clock=lambda: now[0])
    web = Web(config, lobby, None, take_socket=lambda: -1)
    (room,) = lobby.rooms.values()
    room.tick()
    assert wsgi(web, "/healthz")[0] == "200 OK"
    now[0] += 3
    status, body = wsgi(web, "/healthz")
    assert status == "503 Service Unavailable" and json.loads(body)["status"] == "stalled"
    room.tick()
    assert wsgi(web, "/healthz")[0] == "200 OK"
    room.close(1001, "the server stops")
    assert wsgi(web, "/healthz")[0] == "503 Service Unavailable"


# ------------------------------------------------------------------ the end


def processes_of(session: int) -> list[str]:
    """Command lines of what still runs in a session of processes."""
    left = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                left.append((path.parent / "cmdline").read_text().replace("\0", " "))
        except OSError:
            pass
    return left


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="orphans are sought in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_within_five_seconds_with_clients_told_and_nothing_left(number):
    with LiveServer(BOTS=4) as live:
        with RawClient(live.port) as playing, RawClient(live.port) as silent:
            playing.join()
            playing.until(lambda: live.health()["players"] == 5, seconds=20)
            hanging = connect(live.port)
            hanging.sendall(b"GET / HT")
            session = os.getsid(live.process.pid)
            began = time.monotonic()
            if number == signal.SIGINT:  # as Ctrl-C does it: to everyone
                os.killpg(session, number)
            else:
                live.signal(number)
            assert playing.close_code() == 1001
            assert playing.of(wire.NOTICE)[-1][1] == 1001
            live.process.wait(6)
            took = time.monotonic() - began
            silent.drop()
            hanging.close()
        assert took < 5.0
        until = time.monotonic() + 5
        while processes_of(session) and time.monotonic() < until:
            time.sleep(0.05)
        assert not processes_of(session), "no orphans"
        assert "Traceback" not in live.log(), live.log()


def test_a_reload_ends_no_socket_and_tokens_are_as_good_as_before():
    with LiveServer() as live:
        with RawClient(live.port) as client:
            welcome = client.join("Ada")
            starts = live.log().count("serves http://")
            live.signal(signal.SIGHUP)
            until = time.monotonic() + 20
            while live.log().count("serves http://") == starts:
                assert time.monotonic() < until, live.log()
                time.sleep(0.05)
            live.wait_until_up()
            assert live.health()["stats"]["connected"] == 1
        until = time.monotonic() + 15
        while True:
            try:
                with RawClient(live.port) as again:
                    back = again.join("Ada", welcome["token"])
                break
            except (AssertionError, OSError):
                assert time.monotonic() < until, live.log()
                time.sleep(0.1)
        assert back["resumed"] and back["slot"] == welcome["slot"]
        assert "Traceback" not in live.log(), live.log()


@pytest.mark.parametrize(
    "option, value, allowed",
    [
        ("TICK_HZ", "300", "a whole number from 10 to 60"),
        ("MAX_PLAYERS", "many", "a whole number from 1 to 20000"),
        ("LOG_LEVEL", "loud", "one of debug, info, warning, error"),
    ],
)
def test_a_wrong_option_stops_the_start_and_is_named(option, value, allowed, tmp_path):
    environ = {**os.environ, "PORT": str(free_port()), "DATA_DIR": str(tmp_path / "data")}
    ended = subprocess.run(
        [str(Path(sys.executable).parent / "uwsgi"), "uwsgi.ini"],
        cwd=ROOT,
        env={**environ, option: value},
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert ended.returncode != 0
    assert f"{option}={value} is not allowed: {allowed}" in ended.stdout + ended.stderr


def test_a_message_in_the_same_packet_as_the_hello_is_heard(arena):
    with RawClient(arena.port) as client:
        client.send(frame(wire.encode_hello("quick")) + frame(wire.encode_ping(7.0)))
        client.until(lambda: client.of(wire.PONG))
        leave(client)


def test_the_query_may_be_anything(arena):
    for query in ("?", "?room", "?room=", "?room=a&room=b", "?" + "&" * 500, "?%zz=%ff",
                  "?room=" + urllib.parse.quote("\0\n☄")):  # fmt: skip
        with RawClient(arena.port, f"/ws{query}") as client:
            client.say(wire.encode_hello("Ada"))
            client.until(lambda: client.head or client.close or client.ended)
            assert client.head or client.close_code() == 4009


def children(process: int) -> dict[int, int]:
    """{process: user} of the living children of a process."""
    lines = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,uid=,stat="], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    rows = [line.split() for line in lines]
    return {
        int(pid): int(uid)
        for pid, parent, uid, state in rows
        if int(parent) == process and not state.startswith("Z")
    }


def test_started_as_root_the_worker_is_not_root_and_keeps_its_data():
    with LiveServer() as live:
        users = set(children(live.process.pid).values())
        if os.geteuid() != 0:
            assert users == {os.geteuid()}
            return
        assert len(users) == 1 and 0 not in users
        assert get(live.port, "/main.js")[0] == 200
        secret = Path(live.environ["DATA_DIR"]) / "secret"
        assert {secret.stat().st_uid} == users and secret.stat().st_mode & 0o077 == 0
        # The next worker can go on with them.
        with RawClient(live.port) as client:
            token = client.join("Ada")["token"]
        live.signal(signal.SIGHUP)
        until = time.monotonic() + 15
        while True:
            try:
                with RawClient(live.port) as again:
                    assert again.join("Ada", token)["resumed"]
                break
            except (AssertionError, OSError):
                assert time.monotonic() < until, live.log()
                time.sleep(0.2)
        assert set(children(live.process.pid).values()) == users


def test_the_stats_server_shows_no_cookies_and_no_tokens(tmp_path):
    port, stats = free_port(), free_port()
    process = subprocess.Popen(
        [str(Path(sys.executable).parent / "uwsgi"), "uwsgi.ini", "--stats", f"127.0.0.1:{stats}"],
        cwd=ROOT,
        env={**os.environ, "PORT": str(port), "BOTS": "0", "DATA_DIR": str(tmp_path / "data")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        until = time.monotonic() + 15
        while True:
            try:
                client = RawClient(port, "/ws?secret=query-value", Cookie="secret=cookie-value")
                token = client.join()["token"]
                break
            except (OSError, AssertionError):
                assert time.monotonic() < until
                time.sleep(0.1)
        shown = b""
        with connect(stats) as sock:
            while part := sock.recv(65536):
                shown += part
        assert json.loads(shown)["workers"]
        for secret in (b"cookie-value", b"query-value", token.encode()):
            assert secret not in shown
        client.drop()
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(8)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
