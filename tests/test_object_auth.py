"""A game decides who may join, and as whom: on the real server."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time

import pytest

from tests.object_server import ObjectServer, closed
from tickstorm.client import Client, Disconnected
from tickstorm.client.places import find

MEMBERS = """
import base64, hashlib, hmac, json, time

class Members(Room):
    tick_hz, grace_s, capacity = 0, 30, 2
    seen: list[str] = synced([])

    @staticmethod
    def on_auth(name, options):
        if name == "Guest":
            return None
        if name == "Bug":
            raise KeyError("bug")
        if name == "Slow":
            time.sleep(1.0)
            return {"id": "slow"}
        body, _, signature = options.get("token", "").partition(".")
        good = hmac.new(b"key", body.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(good, signature):
            raise Refuse("sign in first")
        claims = json.loads(base64.urlsafe_b64decode(body))
        return {"id": claims["sub"], "name": claims["name"]}

    def on_join(self, player):
        self.seen.append(player.id)

    @message
    def who(self, player) -> str:
        return player.id
"""


def token(sub: str, name: str, key: bytes = b"key") -> str:
    body = base64.urlsafe_b64encode(json.dumps({"sub": sub, "name": name}).encode()).decode()
    return f"{body}.{hmac.new(key, body.encode(), hashlib.sha256).hexdigest()}"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with ObjectServer(tmp_path_factory.mktemp("members"), MEMBERS) as server:
        yield server


def enter(server, signed: str, room: str | None = None, name: str = "Whoever") -> Client:
    place = find(server.page, room=room, settings=None if room else {})
    return Client(place.url, name, None, {"ticket": place.ticket, "options": {"token": signed}})


def test_a_signed_token_says_who_joins(server):
    ada = enter(server, token("u-7", "Ada"))
    assert ada.request("who") == "u-7" and ada.me["name"] == "Ada"
    assert ada.session.welcome["id"] == "u-7"
    ada.leave()


def test_another_signature_is_refused_with_the_games_reason(server):
    with pytest.raises(Disconnected) as refused:
        enter(server, token("u-7", "Ada", b"another key"))
    assert (refused.value.code, refused.value.reason) == (4011, "sign in first")


def test_the_same_id_takes_over_its_own_seat_even_in_a_full_room(server):
    ada = enter(server, token("u-1", "Ada"))
    bob = enter(server, token("u-2", "Bob"), ada.id)
    again = Client(f"{server.url}?room={ada.id}", "", None,
                   {"options": {"token": token("u-1", "Ada")}})  # fmt: skip
    assert closed(ada)[0] == 4006
    assert again.session.welcome["resumed"] and again.request("who") == "u-1"
    assert len(again.players) == 2 and list(again.state["seen"]) == ["u-1", "u-2"]
    again.leave(), bob.leave()


def test_who_needs_no_name_of_the_game_gets_an_id(server):
    guest = server.new_room("Guest")
    assert len(guest.request("who")) == 12
    guest.leave()


def test_on_auth_that_raises_closes_that_connection_only(server):
    guest = server.new_room("Guest")
    with pytest.raises(Disconnected) as refused:
        server.join("Bug", room=guest.id)
    assert refused.value.code == 1011
    assert server.log().count("on_auth raised for 'Bug'") == 1 and "KeyError" in server.log()
    assert guest.request("who")
    guest.leave()


def test_on_auth_may_wait_and_nobody_waits_for_it(server):
    guest = server.new_room("Guest")
    coming = threading.Thread(target=lambda: server.join("Slow", room=guest.id).leave())
    coming.start()
    answers = 0
    while coming.is_alive():
        assert guest.request("who", timeout=0.9)
        answers += 1
        time.sleep(0.06)  # the message's own limit is 20 a second
    coming.join()
    assert answers > 5 and "slow" in guest.wait_for(lambda: list(guest.state["seen"])[1:])
    guest.leave()
