"""Several rooms in one server: created, listed, joined with tickets, closed. A real uWSGI."""

from __future__ import annotations

import os
import signal
import time
import urllib.error
import urllib.request

import pytest

from tests.live_server import LiveServer
from tests.lobby_client import Player, api, joined


@pytest.fixture(scope="module")
def server():
    with LiveServer(ROOMS_PER_MINUTE=0, MAX_ROOMS=40) as live:
        yield live


def create(server, **settings):
    body = {"key": f"test-{time.monotonic_ns()}", **settings}
    status, room = api(server.page, "POST", "/api/rooms", body)
    assert status == 201, room
    return room


def wait_for(condition, seconds=5.0):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.05)


def test_a_private_room_is_joined_by_its_code_and_not_listed(server):
    room = create(server, name="Duel", capacity=2, settings={"size": 2048}, tick_hz=30)
    assert room["code"].replace("-", "") == room["room"]
    ada = joined(server.page, "Ada", code=room["code"].lower())
    assert ada.welcome["room"] == room["room"]
    assert ada.welcome["tick_hz"] == 30 and ada.welcome["size"] == 2048
    bob = joined(server.page, "Bob", room=room["room"])
    bob.see()
    assert bob.welcome["room"] == room["room"]
    _, listed = api(server.page, "GET", "/api/rooms")
    assert room["room"] not in [one["room"] for one in listed["rooms"]]
    status, answer = api(server.page, "POST", "/api/join", {"room": room["room"]})
    assert (status, answer["error"]) == (409, "full")
    ada.leave()
    bob.leave()


def test_public_rooms_are_listed_with_live_counts(server):
    room = create(server, name="Open house", public=True, capacity=5)
    player = joined(server.page, room=room["room"])

    def listed():
        _, answer = api(server.page, "GET", "/api/rooms")
        return {one["room"]: one["players"] for one in answer["rooms"]}

    assert listed()[room["room"]] == 1  # held by the ticket at first, then counted
    player.leave()
    wait_for(lambda: listed()[room["room"]] == 0)


def test_quick_play_fills_the_fullest_room_and_opens_another():
    with LiveServer(ROOM_PLAYERS=2, MAX_PLAYERS=5) as server:
        players = [joined(server.page, quick=True) for _ in range(5)]
        rooms = [player.welcome["room"] for player in players]
        assert rooms[:2] == ["arena", "arena"]
        assert rooms[2] == rooms[3] != "arena"
        assert rooms[4] not in rooms[:4]
        status, answer = api(server.page, "POST", "/api/join", {"quick": True})
        assert (status, answer["error"]) == (409, "full")


def test_creating_is_idempotent_under_a_key(server):
    body = {"key": "one-and-the-same", "name": "Mine"}
    first, second = (api(server.page, "POST", "/api/rooms", body) for _ in range(2))
    assert (first[0], second[0]) == (201, 200)
    assert first[1]["room"] == second[1]["room"]
    assert first[1]["owner"] == second[1]["owner"]


def test_only_its_owner_closes_a_room_and_its_players_are_told(server):
    room, other = create(server), create(server)
    player = joined(server.page, room=room["room"])
    path = f"/api/rooms/{room['room']}"
    assert api(server.page, "DELETE", path)[0] == 401
    assert api(server.page, "DELETE", path, Authorization=f"Bearer {other['owner']}")[0] == 403
    assert api(server.page, "DELETE", path, Authorization=f"Bearer {room['owner']}")[0] == 200
    assert not player.listen(seconds=4)
    assert player.code == 4009
    assert player.notices[-1][0] == 4009
    assert api(server.page, "POST", "/api/join", {"room": room["room"]})[0] == 404


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda t: t[:-4] + ("AAAA" if t[-4:] != "AAAA" else "BBBB"), "forged"),
        (lambda t: "nonsense", "nonsense"),
        (lambda t: "", "empty"),
    ],
)
def test_a_ticket_that_is_not_ours_is_refused(server, change, what):
    _, place = api(server.page, "POST", "/api/join", {"quick": True})
    player = Player(place["url"], ticket=change(place["ticket"]))
    assert player.welcome is None and player.code == 4007, what


def test_a_ticket_is_used_once(server):
    _, place = api(server.page, "POST", "/api/join", {"quick": True})
    first = Player(place["url"], ticket=place["ticket"])
    second = Player(place["url"], ticket=place["ticket"])
    assert first.welcome is not None
    assert second.welcome is None and second.code == 4007
    first.leave()


def test_an_expired_ticket_opens_nothing_and_its_seat_is_free_again(server):
    room = create(server, capacity=1)
    body = {"room": room["room"]}
    _, place = api(server.page, "POST", "/api/join", body)
    assert api(server.page, "POST", "/api/join", body)[0] == 409
    wait_for(lambda: api(server.page, "POST", "/api/join", body)[0] == 200, 3 * place["expires_s"])
    late = Player(place["url"], ticket=place["ticket"])
    assert late.welcome is None and late.code == 4007


def test_a_ticket_opens_no_other_room(server):
    one, two = create(server), create(server)
    _, place = api(server.page, "POST", "/api/join", {"room": one["room"]})
    _, other = api(server.page, "POST", "/api/join", {"room": two["room"]})
    player = Player(other["url"], ticket=place["ticket"])
    assert player.welcome is None and player.code == 4007


def test_a_resume_token_is_no_ticket_and_a_ticket_no_token(server):
    _, place = api(server.page, "POST", "/api/join", {"quick": True})
    player = Player(place["url"], ticket=place["ticket"])
    assert Player(server.url, ticket=player.welcome["token"]).code == 4007
    _, place = api(server.page, "POST", "/api/join", {"quick": True})
    assert Player(server.url, token=place["ticket"]).code == 4007
    player.leave()


def test_the_last_seat_goes_to_the_one_who_holds_it(server):
    room = create(server, capacity=1)
    _, place = api(server.page, "POST", "/api/join", {"room": room["room"]})
    assert api(server.page, "POST", "/api/join", {"room": room["room"]})[0] == 409
    player = Player(place["url"], ticket=place["ticket"])
    assert player.welcome is not None
    assert Player(place["url"]).code == 1013  # without a ticket, at the full room's door
    player.leave()


def test_to_watch_takes_no_seat(server):
    room = create(server, capacity=1)
    player = joined(server.page, room=room["room"])
    watcher = joined(server.page, "Eve", room=room["room"], watch=True)
    assert watcher.welcome["slot"] == 65535
    watcher.see()
    player.leave()


def test_an_empty_room_closes_and_the_default_one_does_not():
    with LiveServer(EMPTY_SECONDS=1) as server:
        room = create(server)
        joined(server.page, room=room["room"]).leave()
        assert server.health()["rooms"] == 2
        wait_for(lambda: server.health()["rooms"] == 1, 8)
        assert list(server.health()["room_loads"]) == ["arena"]
        assert api(server.page, "POST", "/api/join", {"room": room["room"]})[0] == 404


def test_a_room_outlives_a_crash_of_its_server_with_its_players():
    with LiveServer() as server:
        room = create(server, name="Keeps")
        player = joined(server.page, room=room["room"])
        player.see()
        time.sleep(0.3)
        kill_worker(server)
        assert not player.listen(seconds=3) and player.code is not None
        server.wait_until_up()
        back = Player(player.place["url"], token=player.welcome["token"])
        assert back.welcome["resumed"] and back.welcome["room"] == room["room"]
        assert back.welcome["slot"] == player.welcome["slot"]


def kill_worker(server):
    """SIGKILL the worker under uWSGI's master."""
    children = f"/proc/{server.process.pid}/task/{server.process.pid}/children"
    with open(children) as file:
        workers = [int(pid) for pid in file.read().split()]
    for pid in workers:
        os.kill(pid, signal.SIGKILL)


def test_a_room_that_wants_bots_gets_them_whether_or_not_the_server_has_some_of_its_own(server):
    with LiveServer(BOTS=0, ROOM_BOTS=4) as live:
        room = create(live, name="Crowded", public=True, capacity=8, bots=3)
        player = joined(live.page, room=room["room"])

        def players():
            _, shown = api(live.page, "GET", f"/api/rooms/{room['room']}")
            return shown["players"]

        wait_for(lambda: players() == 4, 30)
        status, answer = api(live.page, "POST", "/api/rooms", {"key": "too many", "bots": 5})
        assert status == 400 and "bots: a whole number from 0 to 4" in answer["message"]
        # Another one gets what is left of them.
        other = create(live, capacity=8, bots=3)["room"]
        second = joined(live.page, room=other)
        wait_for(lambda: live.health()["players"] == 6, 30)
        time.sleep(1.0)
        assert live.health()["players"] == 6
        second.leave()
        player.leave()
    body = {"key": "no bots here", "bots": 3}
    status, answer = api(server.page, "POST", "/api/rooms", body)
    assert status == 400 and "none for rooms (ROOM_BOTS=0)" in answer["message"]


def test_a_room_says_which_game_is_played_in_it(server):
    room = create(server, game="arena")
    assert room["game"] == "arena"
    _, place = api(server.page, "POST", "/api/join", {"quick": True, "game": "arena"})
    assert place["game"] == "arena"


def test_every_room_shows_its_own_load(server):
    loads = server.health()["room_loads"]
    assert 0 < loads["arena"]["busy"] < 1
    assert loads["arena"]["tick"] > 0


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "error"),
    [
        ("POST", "/api/rooms", {"name": "no key"}, 400, "bad_request"),
        ("POST", "/api/rooms", {"key": "short"}, 400, "bad_request"),
        ("POST", "/api/rooms", {"key": "12345678", "tick_hz": 500}, 400, "bad_request"),
        ("POST", "/api/rooms", {"key": "12345678", "settings": {"size": 2047}}, 400, "bad_request"),
        ("POST", "/api/rooms", {"key": "12345678", "capacity": True}, 400, "bad_request"),
        ("POST", "/api/rooms", {"key": "12345678", "public": 1}, 400, "bad_request"),
        ("POST", "/api/rooms", {"key": "12345678", "wheels": 4}, 400, "bad_request"),
        ("POST", "/api/rooms", {"key": "12345678", "game": "chess"}, 400, "bad_request"),
        ("POST", "/api/join", {"quick": True, "game": "chess"}, 400, "bad_request"),
        ("POST", "/api/join", {"quick": True, "game": 5}, 400, "bad_request"),
        ("POST", "/api/rooms", [1, 2], 400, "bad_request"),
        ("POST", "/api/rooms", {"key": "x" * 5000}, 413, "too_large"),
        ("POST", "/api/join", {}, 400, "bad_request"),
        ("POST", "/api/join", {"room": 5}, 400, "bad_request"),
        ("POST", "/api/join", {"quick": True, "watch": "yes"}, 400, "bad_request"),
        ("POST", "/api/join", {"quick": True, "avoid": 1}, 400, "bad_request"),
        ("POST", "/api/join", {"room": "nowhere"}, 404, "no_room"),
        ("POST", "/api/join", {"token": "forged"}, 403, "token"),
        ("PUT", "/api/rooms", {}, 405, "method"),
        ("GET", "/api/join", None, 405, "method"),
        ("GET", "/api/nothing", None, 404, "no_such_path"),
        ("GET", "/api/rooms/nowhere", None, 404, "no_room"),
    ],
)
def test_wrong_requests_are_told_what_is_wrong(server, method, path, body, status, error):
    got, answer = api(server.page, method, path, body)
    assert (got, answer["error"]) == (status, error), answer
    assert answer["message"]


def test_a_body_that_is_no_json_is_refused(server):
    request = urllib.request.Request(server.page + "api/join", data=b"{", method="POST")
    request.add_header("Content-Type", "application/json")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    assert caught.value.code == 400
    form = urllib.request.Request(server.page + "api/join", data=b"quick=1", method="POST")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(form)
    assert caught.value.code == 415


def test_pages_of_other_sites_can_use_no_api(server):
    status, _ = api(
        server.page, "POST", "/api/join", {"quick": True}, Origin="https://evil.example"
    )
    assert status == 403


def test_rooms_are_created_no_faster_than_allowed():
    with LiveServer(ROOMS_PER_MINUTE=2) as server:
        for i in range(2):
            assert api(server.page, "POST", "/api/rooms", {"key": f"number {i}"})[0] == 201
        status, answer = api(server.page, "POST", "/api/rooms", {"key": "number 3"})
        assert (status, answer["error"]) == (429, "too_many")
