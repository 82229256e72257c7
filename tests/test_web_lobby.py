"""The lobby in a real browser: rooms of one's own, invite links, watching, rounds, outages."""

from __future__ import annotations

import pytest

from tests.cluster import Cluster, wait_for
from tests.live_server import LiveServer
from tests.lobby_client import api, joined, playing
from tickstorm.lobby import tokens

pytest_plugins = ["tests.browser", "tests.pages"]


@pytest.fixture(scope="module")
def server():
    with LiveServer(ROOMS_PER_MINUTE=0, SETTINGS="size=2048") as live:
        yield live


def test_a_private_room_is_made_in_one_page_and_joined_by_its_link_in_another(server, visit):
    ada = visit(server.page + "?name=Ada&mute")
    ada.click("#room-new")
    ada.fill("#create-form [name=name]", "Just us")
    ada.select_option("#create-form [name=size]", "2048")
    ada.click("#create-form button:not([type])")
    ada.wait_for_selector("#invite[open]")
    link = ada.input_value("#invite-link")
    ada.click("#invite-go")
    playing(ada)

    bob = visit(link + "&name=Bob&mute")
    bob.wait_for_function(
        "() => document.getElementById('room-name').textContent.includes('Just us')"
    )
    bob.click("#play")
    playing(bob)
    # In an arena of 2048 units, both are on each other's map; near ones see each other.
    for page in (ada, bob):
        page.wait_for_function("() => window.tickstorm.client.scene.board.players === 2")
    board = "() => window.tickstorm.client.scene.board.rows.map((row) => row[0]).sort().join()"
    ada.wait_for_function(f"() => ({board})() === 'Ada,Bob'")
    bob.wait_for_function(f"() => ({board})() === 'Ada,Bob'")
    assert server.health()["rooms"] == 2


def test_a_mark_is_shown_over_the_ship_to_those_near_it(server, visit):
    ada, bob = (visit(f"{server.page}?name={name}&mute&autojoin") for name in ("Ann", "Ben"))
    slot = playing(ada)
    playing(bob)
    for page in (ada, bob):  # a mark is shown for a moment: whoever looks late has missed it
        page.evaluate(
            """slot => {
              window.marks = [];
              const look = () => marks.push(window.tickstorm.renderer.emotes.get(slot)?.text);
              setInterval(look, 50);
            }""",
            slot,
        )
    near = bob.evaluate("() => window.tickstorm.client.scene.ships.count === 2")
    ada.keyboard.press("3")
    for page in (ada, bob) if near else (ada,):
        page.wait_for_function("() => marks.includes('!')")


def test_the_list_shows_public_rooms_with_live_counts_and_one_flies_from_it(server, visit):
    _, room = api(
        server.page,
        "POST",
        "/api/rooms",
        {"key": "list test", "name": "Open house", "public": True},
    )
    page = visit(server.page + "?name=Cleo&mute")
    row = page.locator(f"#rooms li[data-room='{room['room']}']")
    row.wait_for()
    assert row.locator("b").text_content() == f"0/{room['capacity']}"
    row.get_by_role("button", name="Fly").click()
    playing(page)
    other = visit(server.page + "?name=Dan&mute")
    other.wait_for_function(
        "(id) => document.querySelector(`#rooms li[data-room='${id}'] b`)"
        "?.textContent.startsWith('1/')",
        arg=room["room"],
    )
    other.locator(f"#rooms li[data-room='{room['room']}']").get_by_role(
        "button", name="Watch"
    ).click()
    assert playing(other) == 65535


def test_a_code_that_is_typed_in_opens_its_room_and_a_wrong_one_says_so(server, visit):
    _, room = api(server.page, "POST", "/api/rooms", {"key": "code test", "name": "By code"})
    page = visit(server.page + "?name=Eve&mute")
    page.fill("#room-code-text", "22222222")
    page.press("#room-code-text", "Enter")
    page.wait_for_function(
        "() => document.getElementById('join-note').textContent.includes('no such room')"
    )
    page.fill("#room-code-text", room["code"].lower())
    page.press("#room-code-text", "Enter")
    playing(page)
    assert page.evaluate("() => new URLSearchParams(location.search).get('room')") == room["room"]


def test_after_a_reload_the_page_is_back_in_the_same_ship(server, visit):
    page = visit(server.page + "?name=Fay&mute")
    page.click("#play")
    slot = playing(page)
    page.reload()
    page.click("#play")
    assert playing(page) == slot


def test_a_round_ends_with_a_podium_and_the_next_begins(visit):
    with LiveServer(SETTINGS="round_s=3") as live:
        page = visit(live.page + "?name=Gus&mute&autojoin")
        playing(page)
        page.wait_for_function("() => !document.getElementById('round').hidden")
        page.wait_for_selector("#podium:not([hidden])")
        assert "Gus" in page.text_content("#podium-rows")
        assert "Next round" in page.text_content("#podium-next")


def test_without_the_directory_the_page_says_why_it_waits_and_goes_on_by_itself(visit):
    with Cluster(1) as cluster:
        page = visit(cluster.page + "?name=Hal&mute")
        cluster.redis.stop()
        page.click("#play")
        page.wait_for_function(
            "() => document.getElementById('join-note').textContent.includes('Trying again')"
        )
        cluster.redis.start()
        playing(page)


def test_a_page_whose_room_moves_between_the_ticket_and_the_door_keeps_its_seat(visit):
    token = tokens.drain_token(tokens.load_key("shared by all nodes", ""))
    # Without a proxy in front, pages come from another address than one of the nodes.
    with Cluster(2, ALLOWED_ORIGINS="*") as cluster:
        _, room = api(cluster.page, "POST", "/api/rooms", {"key": "one seat", "capacity": 1})

        def move_meanwhile(route):
            answer = route.fetch()
            old = next(node for node in cluster.nodes if node.name == answer.json()["node"])
            # Somebody watches, or there would be no room yet that could move.
            joined(cluster.page, room=room["room"], watch=True)
            authorization = {"Authorization": f"Bearer {token}"}
            assert api(old.page, "POST", "/drain", **authorization)[0] == 202
            wait_for(lambda: api(old.page, "GET", "/drain", **authorization)[1]["done"])
            route.fulfill(response=answer)

        page = visit(cluster.page + f"?name=Kim&mute&room={room['room']}")
        page.route("**/api/join", move_meanwhile, times=1)
        page.click("#play")
        assert playing(page) == 0
        closed = [node.health()["closed"] for node in cluster.nodes]
        assert not any("FULL" in counts for counts in closed), "without its ticket it is refused"
