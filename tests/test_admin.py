"""`/admin` over HTTP: who may look and act, what is shown, what acts do. The page itself is in
test_admin_page.py."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.error
import urllib.request

import pytest

from tests import lobby_client
from tests.admin_client import ACT, LOOK, Api
from tests.live_server import LiveServer
from tests.marks import mark
from tests.object_server import ObjectServer, closed, wait_for
from tickstorm.client import ConnectError, connect
from tickstorm.client.session import Notice

RULES = """
    class Coin(Entity):
        x: int = synced(3)

    class Purse(Player):
        coins: int = synced(0)
        hand: list[str] = synced([], to="owner")
        note: str = ""

    class Shop(Room):
        capacity, tick_hz, player = 4, 20, Purse
        prize: int = setting(5, low=1, high=9, help="coins for a find")
        total: int = synced(0)

        @staticmethod
        def on_auth(name, options):
            return {"id": options.get("id", ""), "name": name} if options.get("id") else None

        def on_create(self):
            self.spawn(Coin)

        def on_join(self, player):
            player.hand = ["ace"]
            player.note = "new"

        @message
        def find(self, player) -> int:
            player.coins += self.prize
            self.total += self.prize
            return player.coins

        @message
        def idle(self, player, seconds: float) -> int:
            import time
            time.sleep(seconds)
            return 1
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("admin")
    options = {"ADMIN_TOKEN": ACT, "ADMIN_LOOK_TOKEN": LOOK, "LOG_FORMAT": "json", "DEV": "on"}
    with ObjectServer(folder, RULES, **options) as server:
        yield server


@pytest.fixture(scope="module")
def arena():
    options = {"ADMIN_TOKEN": ACT, "ROOMS_PER_MINUTE": 0}
    with LiveServer(GAMES="game", **options) as server:
        yield server


@pytest.fixture
def api(server):
    return Api(server)


def status(url: str, **headers: str) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=5) as r:
            return r.status
    except urllib.error.HTTPError as error:
        return error.code


def test_without_a_token_in_its_options_there_is_no_admin():
    with LiveServer(GAMES="game") as server:
        assert status(f"{server.page}admin/") == 404
        assert status(f"{server.page}admin/api/me", Authorization="Bearer ") == 404


def test_a_token_is_not_taken_from_a_cookie_an_address_or_nowhere(server):
    url = f"{server.page}admin/api/me"
    assert status(url) == 401
    assert status(f"{url}?token={ACT}") == 401
    assert status(url, Cookie=f"token={ACT}") == 401
    assert status(url, Authorization=f"Bearer {ACT}") == 200


def test_the_page_allows_no_script_but_its_own(server):
    with urllib.request.urlopen(f"{server.page}admin/") as response:
        policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'; script-src 'self'" in policy
    assert "unsafe" not in policy and "trusted-types 'none'" in policy
    assert "frame-ancestors 'none'" in policy


def test_who_may_look_may_not_act(server):
    looker = Api(server, LOOK)
    assert looker.get("me")["role"] == "look"
    assert looker.refused("say", text="hello")[0] == 403
    assert looker.look()["machine"]["healthy"] is True


def test_an_act_must_be_json_so_that_no_form_can_send_one(server, api):
    with pytest.raises(urllib.error.HTTPError) as no:
        api.open("act", {"act": "drain"}, Content_Type="text/plain")
    assert no.value.code == 415
    assert status(f"{server.page}admin/api/act", Authorization=f"Bearer {ACT}") == 405


@pytest.mark.parametrize(
    ("act", "about", "said"),
    [
        ("dance", {}, "there is no act 'dance'"),
        ("say", {}, "say: text is missing"),
        ("say", {"text": 7}, "text must be str"),
        ("say", {"text": "a", "loud": True}, "say: takes no loud"),
        ("lock", {"room": "nowhere", "locked": True}, "room nowhere is not open here"),
        ("lock", {"room": "rules", "locked": 1}, "locked must be bool"),
        ("ban", {"hours": 0, "address": "192.0.2.1"}, "hours is a number above 0"),
        ("ban", {"hours": 1}, "either an address or a player"),
        ("ban", {"hours": 1, "address": "example.org"}, "is no address"),
        ("kick", {"room": "shop", "session": "x"}, "left meanwhile"),
        ("set", {"room": "shop", "name": "prize", "value": 10}, "from 1 to 9"),
        ("set", {"room": "shop", "name": "on_join", "value": 1}, "no attribute 'on_join'"),
        (
            "set",
            {"room": "shop", "name": "total", "value": {"a": 1e999}, "entity": 77},
            "entity 77",
        ),
        ("move", {"room": "shop"}, "no other node"),
        ("drain", {}, "no other node"),
    ],
)
def test_what_is_wrong_with_an_act_is_said_and_nothing_is_done(api, act, about, said):
    room = next(iter(api.look()["rooms"]["rows"]))["id"]
    about = {**about, "room": room} if about.get("room") == "shop" else about
    before = len(api.get("audit")["acts"])
    code, message = api.refused(act, **about)
    assert code in (400, 404, 409) and said in message
    noted = api.get("audit")["acts"]
    assert len(noted) <= before + 1, "what could be an act is noted, whether it succeeds or not"


def test_a_room_is_shown_with_its_players_state_and_settings(server, api):
    with connect(server.page, name="Ada", settings={"prize": 7}) as ada:
        assert ada.request("find") == 7
        seen = api.look(ada.id)["room"]
        (session,) = seen["sessions"]
        assert session["name"] == "Ada" and session["address"] == "127.0.0.1"
        assert session["sent"] > 0 and session["received"] > 0 and session["rtt_ms"] >= 0
        assert seen["settings"]["prize"]["value"] == 7
        entities = {row["kind"]: {field[0]: field for field in row["fields"]}
                    for row in seen["state"]}  # fmt: skip
        assert entities["purse"]["coins"][1:3] == [7, "synced"]
        assert entities["purse"]["hand"][1:3] == [["ace"], "hidden"]
        assert entities["purse"]["note"][2] == "kept"
        assert entities["room"]["total"][1] == 7
        assert entities["coin"]["x"][1] == 3
        row = next(r for r in api.look()["rooms"]["rows"] if r["id"] == ada.id)
        assert (row["players"], row["capacity"], row["game"]) == (1, 4, "shop")


def test_a_setting_and_state_are_changed_for_all_and_the_journal_has_it(server, api):
    with connect(server.page, name="Ada", settings={}) as ada:
        api.act("set", room=ada.id, name="prize", value=9)
        wait_for(lambda: ada.update(0.05) or ada.request("find") % 5 == 4)
        purse = ada.me.id
        api.act("set", room=ada.id, entity=purse, name="coins", value=1000)
        wait_for(lambda: ada.update(0.05) or ada.me["coins"] == 1000)
        room = ada.id
        api.act("close", room=room, reason="enough")
        code, reason = closed(ada)
    assert (code, reason) == (4009, "enough")
    assert server.verify(room) > 0


def test_a_locked_room_lets_nobody_new_in_and_an_unlocked_one_does(server, api):
    with connect(server.page, name="Ada", settings={}) as ada:
        api.act("lock", room=ada.id, locked=True)
        wait_for(lambda: api.look(ada.id)["room"]["locked"])
        with pytest.raises(Exception, match="full|locked"):
            connect(server.page, room=ada.id, name="Bob").update(0.5)
        api.act("lock", room=ada.id, locked=False)
        wait_for(lambda: not api.look(ada.id)["room"]["locked"])
        with connect(server.page, room=ada.id, name="Bob") as bob:
            assert bob.me["name"] == "Bob"


def test_a_kicked_player_is_told_why_and_may_come_again(server, api):
    ada = connect(server.page, name="Ada", settings={})
    (session,) = api.look(ada.id)["room"]["sessions"]
    api.act("kick", room=ada.id, session=session["id"], reason="bad language")
    assert closed(ada) == (4010, "bad language")
    connect(server.page, room=ada.id, name="Ada").leave()


def test_a_banned_player_stays_out_over_a_restart_until_the_ban_is_lifted(server, api):
    eve = connect(server.page, name="Eve", settings={}, id="eve-1")
    room = eve.id
    said = api.act("ban", player="eve-1", hours=2, reason="cheats")
    assert "banned until" in said and "1 stay ended" in said
    assert closed(eve)[0] == 4010
    server.reload()
    api = Api(server)
    with pytest.raises(Exception, match="banned until .*cheats"):
        connect(server.page, room=room, name="Eve", id="eve-1").update(0.5)
    with connect(server.page, room=room, name="Ada", id="ada-1"):
        pass
    assert [ban["who"] for ban in api.get("audit")["bans"]] == ["eve-1"]
    api.act("unban", player="eve-1")
    with connect(server.page, room=room, name="Eve", id="eve-1") as eve:
        assert eve.me["name"] == "Eve"


def test_a_banned_address_is_kept_out_of_everything_but_pages(server, api):
    with connect(server.page, name="Ada", settings={}) as ada:
        api.act("ban", address="127.0.0.1", hours=0.5)
        assert closed(ada)[0] == 4010
        with pytest.raises(ConnectError, match="banned until"):
            connect(server.page, name="Ada")
        assert status(server.page + "healthz") == 200
    api.act("unban", address="127.0.0.1")
    connect(server.page, name="Ada").leave()


def test_everyone_is_told_what_is_said(server, api):
    with connect(server.page, name="Ada", settings={}) as ada:
        assert api.act("say", text="restart  at noon\n", room=ada.id) == "Said in 1 room."
        (heard,) = wait_for(lambda: [h for h in ada.update(0.05) if isinstance(h, Notice)])
        assert (heard.code, heard.text) == (0, "restart at noon")


def test_one_viewer_costs_the_server_next_to_nothing(arena):
    with Api(arena).open("live") as stream:
        costs = []
        while len(costs) < 8:
            stream.readline()
            about = json.loads(stream.readline().removeprefix(b"data: "))
            stream.readline()
            costs += [about["cost"]] if "cost" in about else []
    assert costs[-1] > 0, "it is measured"
    mark("admin: share of a core with one viewer", costs[-1], high=0.01)


def test_each_act_is_in_the_audit_log_with_who_did_it(server, api):
    api.act("say", text="for the record")
    newest = api.get("audit")["acts"][0]
    assert (newest["act"], newest["about"]) == ("say", {"text": "for the record"})
    api.act("ban", address="192.0.2.9", hours=1)
    api.act("unban", address="192.0.2.9")
    lines = [json.loads(line) for line in (server.data / "audit.log").read_text().splitlines()]
    for row in lines[-3:]:
        assert (row["role"], row["from"]) == ("act", "127.0.0.1"), "whom it is about is not who"
    assert [row["act"] for row in lines[-3:]] == ["say", "ban", "unban"]


def test_a_slow_tick_is_kept_with_its_reason_and_with_stacks_if_samples_are_taken(server, api):
    api.act("profile", on=True)
    api.act("forget")
    with connect(server.page, name="Ada", settings={}) as ada:
        ada.request("idle", 0.15)
        slow = wait_for(lambda: [t for t in api.get("slow")["ticks"] if t["took_ms"] > 140])[0]
        assert dict(slow["phases"])["rules"] > 140
        assert ada.id in slow["why"] or "had a core" in slow["why"]
        assert slow["counts"]["longest room"] == ada.id
        assert slow["stacks"] > 3
        file = api.get(f"profile?at={slow['at']:.3f}")
        names = [frame["name"] for frame in file["shared"]["frames"]]
        (profile,) = file["profiles"]
        idle = [s for s in profile["samples"] if names[s[-1]] == "Shop.idle"]
        assert len(idle) > len(profile["samples"]) / 2
        assert len(profile["samples"]) == len(profile["weights"])
        tree = api.get(f"stacks?at={slow['at']:.3f}")["tree"]
        assert tree["value"] == len(profile["samples"])
    api.act("profile", on=False)


def test_samples_are_taken_from_one_signal_to_the_next(server, api):
    worker = api.look()["machine"]["pid"]
    os.kill(worker, signal.SIGUSR2)
    wait_for(lambda: api.get("slow")["profiling"])
    with connect(server.page, name="Ada", settings={}) as ada:
        ada.request("idle", 0.1)
    os.kill(worker, signal.SIGUSR2)
    (path,) = wait_for(lambda: list(server.data.glob("profile-*.speedscope.json")))
    file = wait_for(lambda: json.loads(path.read_text() or "null"))
    assert file["$schema"] == "https://www.speedscope.app/file-format-schema.json"
    assert not api.get("slow")["profiling"]


def test_the_log_is_json_with_fields_and_without_secrets(server, api):
    rows = []
    for line in server.log().splitlines():
        if line.startswith("{"):
            rows.append(json.loads(line))
    assert {row["level"] for row in rows} <= {"debug", "info", "warning", "error", "critical"}
    assert all(row["time"].endswith("Z") for row in rows)
    assert any(row.get("room") for row in rows if row["logger"] == "tickstorm.audit")
    assert any(row.get("address") == "127.0.0.1" and row.get("connection") for row in rows)
    assert ACT not in server.log() and LOOK not in server.log()


def test_small_rooms_of_a_crowd_are_seen_and_steered_like_any_other(arena):
    api = Api(arena)
    about = {"key": "a-key-of-eight", "capacity": 4, "name": "Duel"}
    _, made = lobby_client.api(arena.page, "POST", "/api/rooms", about)
    room = made["room"]
    ada, bob = (lobby_client.joined(arena.page, name, room=room) for name in ("Ada", "Bob"))
    ada.see()
    row = next(row for row in api.look()["rooms"]["rows"] if row["id"] == room)
    assert (row["title"], row["players"], row["capacity"]) == ("Duel", 2, 4)
    api.act("lock", room=room, locked=True)
    shown = api.look(room)["room"]
    assert shown["locked"] and {s["name"] for s in shown["sessions"]} == {"Ada", "Bob"}
    ships = shown["tables"][0]
    assert ships["count"] == 2 and len(ships["rows"][0]) == len(ships["columns"])
    lanes = {lane["name"] for lane in api.look()["machine"]["lanes"]}
    assert any(name.startswith("1 small room,") for name in lanes) and "arena" in lanes
    join = (arena.page, "POST", "/api/join", {"room": room})
    wait_for(lambda: lobby_client.api(*join)[0] == 409)
    session = next(s for s in shown["sessions"] if s["name"] == "Bob")
    api.act("kick", room=room, session=session["id"])
    bob.listen(lambda: bob.code is not None)
    assert bob.code == 4010
    ada.see()
    api.act("close", room=room)
    ada.listen(lambda: ada.code is not None)
    assert ada.code == 4009 and api.look(room)["room"] is None


def test_whoever_guesses_tokens_is_not_listened_to_for_long():
    with LiveServer(GAMES="game", ADMIN_TOKEN=ACT) as server:
        guesses = [status(f"{server.page}admin/api/me", Authorization=f"Bearer guess-{n}")
                   for n in range(8)]  # fmt: skip
        assert guesses[0] == 401 and guesses[-1] == 429
        assert status(f"{server.page}admin/api/me", Authorization=f"Bearer {ACT}") == 200


def test_a_viewer_who_goes_is_noticed_and_there_are_not_too_many(server, api):
    streams = [api.open("live") for _ in range(8)]
    try:
        with pytest.raises(urllib.error.HTTPError) as no:
            api.open("live")
        assert no.value.code == 503
    finally:
        for stream in streams:
            stream.close()
    until = time.monotonic() + 10
    while True:
        try:
            assert api.look()["machine"]["viewers"] <= 8
            break
        except urllib.error.HTTPError:
            assert time.monotonic() < until
            time.sleep(0.1)
