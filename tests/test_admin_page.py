"""`/admin` in a real browser: what an operator sees and does, on a desk and on a phone."""

from __future__ import annotations

import json
import re

import pytest

from tests.admin_client import ACT, LOOK
from tests.live_server import ROOT, LiveServer
from tests.object_server import closed, wait_for
from tickstorm.client import connect

pytest_plugins = ["tests.browser", "tests.pages"]


@pytest.fixture(scope="module")
def server():
    tag = ROOT / "examples" / "tag" / "tag.py"
    options = {"ADMIN_TOKEN": ACT, "ADMIN_LOOK_TOKEN": LOOK, "ROOMS_PER_MINUTE": 0, "DEV": "on"}
    with LiveServer(GAMES=f"game,{tag}", **options) as server:
        yield server


@pytest.fixture
def ada(server):
    with connect(server.page, game="tag", name="Ada", settings={}) as ada:
        yield ada


def admin(visit, server, where="", token=ACT):
    page = visit(f"{server.page}admin/#token={token}")
    page.wait_for_selector("#top:not([hidden])")
    if where:
        page.evaluate(f"location.hash = {json.dumps(where)}")
    return page


def said(page, text):
    page.wait_for_selector(f".toast:has-text({json.dumps(text)})")


def submit(page, button, **fields):
    """Fill the open dialog in, and send it."""
    for name, value in fields.items():
        field = page.locator(f"dialog [name={name}]")
        if field.evaluate("field => field.localName") == "select":
            field.select_option(value)
        else:
            field.fill(value)
    page.locator(f'dialog .buttons button:has-text("{button}")').click()


def test_the_token_leaves_the_address_at_once_and_lives_in_this_tab_alone(visit, server):
    page = admin(visit, server)
    assert ACT not in page.url
    assert page.evaluate("JSON.stringify({...localStorage}) + document.cookie") == "{}"
    page.reload()
    page.wait_for_selector("#top:not([hidden])")
    page.click("#out")
    page.wait_for_selector(".sign-in")
    assert page.evaluate("sessionStorage.length") == 0


def test_a_wrong_token_is_told_and_a_right_one_lets_in(visit, server):
    page = visit(f"{server.page}admin/")
    page.fill("[name=token]", "this-is-not-a-token")
    page.click("text=Sign in")
    page.wait_for_selector("text=This is not a token of this server.")
    page.fill("[name=token]", LOOK)
    page.click("text=Sign in")
    page.wait_for_selector(".tile")
    assert not page.is_visible("#say"), "who may only look is offered no act"


def test_the_machine_is_shown_live(visit, server, ada):
    page = admin(visit, server)
    page.wait_for_selector('.tile:has-text("Players") strong:text-is("1")')
    with connect(server.page, room=ada.id, name="Bob"):
        page.wait_for_selector('.tile:has-text("Players") strong:text-is("2")')
    page.wait_for_selector(".lane:has-text('object rooms') .phases")
    page.wait_for_selector(".lane:has-text('arena')")
    page.wait_for_selector(".rooms tbody tr:has-text('tag')")
    cost = page.wait_for_selector("#foot:has-text('costs the server')").inner_text()
    assert re.search(r"costs the server [\d.]+ % of a core", cost)


def test_a_room_is_found_looked_into_and_its_state_follows(visit, server, ada):
    page = admin(visit, server, "#/rooms")
    page.wait_for_selector(f".rooms tbody tr:has-text('{ada.id}')")
    page.fill("[type=search]", ada.id[:5].lower())
    wait_for(lambda: page.wait_for_timeout(50) or page.locator(".rooms tbody tr").count() == 1)
    page.click(f".rooms tr:has-text('{ada.id}')")
    page.wait_for_selector(".people tr:has-text('Ada')")
    walker = page.locator(".entity:has-text('walker')")
    x = walker.locator("dt:text-is('x') + dd")
    before = x.inner_text()
    ada.input(dx=1)
    wait_for(lambda: ada.update(0.05) or page.wait_for_timeout(10) or x.inner_text() != before)


def test_a_setting_and_a_value_are_changed_from_the_page(visit, server, ada):
    page = admin(visit, server, f"#/room/{ada.id}")
    field = page.locator(".setting:has-text('round_s') input")
    field.fill("90")
    field.press("Tab")
    said(page, "round_s is set.")
    field.fill("5")
    field.press("Tab")
    said(page, "from 10 to 600")
    wait_for(lambda: page.wait_for_timeout(50) or field.input_value() == "90")
    page.locator(".entity:has-text('walker') dt:text-is('points') + dd button").click()
    submit(page, "Set", value="77")
    said(page, "points is set.")
    wait_for(lambda: ada.update(0.05) or ada.me["points"] >= 77)


def test_a_player_is_kicked_and_told_why(visit, server):
    eve = connect(server.page, game="tag", name="Eve", settings={})
    page = admin(visit, server, f"#/room/{eve.id}")
    page.locator(".people tr:has-text('Eve') >> text=Kick").click()
    submit(page, "Kick", reason="no insults, please")
    said(page, "Eve was kicked.")
    assert closed(eve) == (4010, "no insults, please")
    page.wait_for_selector("text=Nobody is here.")


def test_a_ban_is_made_shown_and_lifted(visit, server):
    eve = connect(server.page, game="tag", name="Eve", settings={})
    page = admin(visit, server, f"#/room/{eve.id}")
    page.locator(".people tr:has-text('Eve') >> text=Ban").click()
    submit(page, "Ban", kind="player", hours="24", reason="spam")
    said(page, "banned until")
    assert closed(eve)[0] == 4010
    page.evaluate("location.hash = '#/log'")
    page.wait_for_selector(".audit tr:has-text('ban')")
    page.click("tr:has-text('spam') >> text=Lift")
    page.wait_for_selector("text=Nobody is banned.")


def test_a_room_is_locked_and_closed(visit, server, ada):
    page = admin(visit, server, f"#/room/{ada.id}")
    page.click("[data-act=lock]")
    page.wait_for_selector(".chip:text-is('locked')")
    page.click("[data-act=lock]:text-is('Unlock')")
    page.wait_for_selector(".chip:text-is('locked')", state="detached")
    page.click("[data-act=close]")
    submit(page, "Close", reason="maintenance")
    assert closed(ada) == (4009, "maintenance")
    page.wait_for_url("**/#/rooms")


def test_a_room_is_watched_and_replayed_in_one_click(visit, server, ada):
    page = admin(visit, server, f"#/room/{ada.id}")
    for label, bar in (("Watch live", "Watching"), ("Replay", "Watching")):
        with page.context.expect_page() as opened:
            page.click(f"text={label}")
        game = opened.value
        game.wait_for_selector(f"text={bar}")
        assert game.evaluate("sessionStorage.getItem('tickstorm.admin')") is None
        game.close()
    page.evaluate("location.hash = '#/room/arena'")
    with page.context.expect_page() as opened:
        page.click("text=Watch live")
    opened.value.wait_for_selector("#watch:not([hidden])")


def test_what_is_said_shows_on_the_pages_of_players(visit, server, ada):
    game = visit(f"{server.page}tag/?watch#{ada.id}")
    game.wait_for_selector("text=Watching")
    page = admin(visit, server)
    page.click("#say")
    submit(page, "Say", text="<b>restart</b> at noon")
    said(page, "Said in")
    game.wait_for_selector(".tickstorm-notice:text-is('<b>restart</b> at noon')")


def test_slow_ticks_are_explained_and_samples_become_a_flame_graph(visit, server, ada):
    page = admin(visit, server, "#/slow")
    page.wait_for_selector(".tick:has-text('It ')")
    page.click("text=Take samples")
    said(page, "Samples are taken.")
    ada.input(dx=1)
    ada.update(1.0)
    page.click("text=All samples")
    page.wait_for_selector(".flame-row button:has-text('run')")
    with page.expect_download() as file:
        page.click("text=Save for speedscope")
    saved = json.loads(file.value.path().read_text())
    assert saved["profiles"][0]["samples"]
    page.click("text=Stop taking samples")
    said(page, "No more samples")


def test_a_lost_line_is_told_and_found_again(visit):
    with LiveServer(GAMES="game", ADMIN_TOKEN=ACT) as server:
        page = visit(f"{server.page}admin/#token={ACT}")
        page.wait_for_selector("#health:text-is('healthy')")
        server.stop()
        page.wait_for_selector("#line:not([hidden])")
        server.start()
        page.wait_for_selector("#line", state="hidden", timeout=20_000)


@pytest.mark.parametrize("where", ["#/", "#/rooms", "#/room/arena", "#/slow", "#/log"])
def test_on_a_phone_nothing_is_wider_than_the_screen(browser, server, ada, where):
    context = browser.new_context(viewport={"width": 390, "height": 844}, is_mobile=True)
    page = context.new_page()
    errors = []
    page.on("console", lambda m: m.type in ("error", "warning") and errors.append(m.text))
    page.goto(f"{server.page}admin/#token={ACT}")
    page.wait_for_selector("#health:text-is('healthy')")
    page.evaluate(f"location.hash = {json.dumps(where)}")
    page.wait_for_selector("main .card")
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    wide = "[...document.querySelectorAll('.card canvas, .phases')].map((e) => e.clientWidth)"
    assert all(width <= 390 - 2 * 10 for width in page.evaluate(wide))
    context.close()
    assert not errors
