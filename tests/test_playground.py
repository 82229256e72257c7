"""The playground in a real browser: players side by side, a line that is cut, and time travel."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import pytest

from tests.command_server import CommandServer
from tests.live_server import LiveServer
from tests.object_server import ObjectServer
from tests.recorded_rooms import DUEL, recorded_duel

pytest_plugins = ["tests.browser", "tests.pages"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with ObjectServer(tmp_path_factory.mktemp("duel"), DUEL, DEV="on", MESSAGE_RATE=480) as server:
        yield server


@pytest.fixture
def playground(server, visit):
    page = visit(f"{server.page}playground/")
    page.set_default_timeout(15_000)
    return page


def join(page, name: str):
    """Somebody comes, to where the others are. Returns the card."""
    page.fill('[aria-label="Player\'s name"]', name)
    page.click("button:text-is('Join')")
    seat = page.locator(".seat", has=page.locator(f".who h3:text-is('{name}')"))
    seat.locator(".status.playing").wait_for()
    return seat


def value(seat, name: str, field: str):
    """What a player is shown of somebody's field."""
    box = seat.locator(".state details", has_text=name).last
    return box.locator(f"dt:text-is('{field}') + dd")


def say(seat, message: str, button: str = "Send", **fields: object) -> None:
    form = seat.locator(".forms form", has_text=message)
    for name, text in fields.items():
        form.get_by_label(name).fill(str(text))
    form.get_by_text(button, exact=True).click()


def test_players_stand_side_by_side_and_say_what_the_rules_declare(playground):
    ada, bob = join(playground, "Ada"), join(playground, "Bob")
    assert playground.locator(".seat").count() == 2
    say(bob, "hit", whom="Ada", hard=7)
    for seat in (ada, bob):
        value(seat, "Ada", "hp").and_(seat.locator("dd:text-is('23')")).wait_for()
        seat.locator(".patches li", has_text="Ada.hp = 23").first.wait_for()
    assert ada.locator(".patches li", has_text="Ada.hp = 23").first.inner_text().split()[2] == "B"
    say(bob, "hit", "Ask", whom="Nobody", hard=1)
    bob.locator(".answer.bad", has_text="nobody of that name").wait_for()
    say(bob, "hit", whom="Ada", hard=12)
    bob.locator(".answer.bad", has_text="hard").wait_for()  # 9 is the most that is declared
    ada.locator(".input").get_by_text("1", exact=True).click()
    before = float(value(bob, "Ada", "x").inner_text())
    playground.wait_for_function(
        "(before) => [...document.querySelectorAll('.seat:last-child dt')].some((dt) => "
        "dt.textContent === 'x' && Number(dt.nextSibling.textContent) > before)",
        arg=before,
    )
    fired = playground.locator(".fired li")
    fired.filter(has_text="message hit").filter(has_text="Bob").first.wait_for()
    fired.filter(has_text="on_join").first.wait_for()
    playground.locator(".room .rows", has_text="thunder").wait_for()


def test_a_line_can_be_cut_and_mended_and_made_slow(playground):
    ada, bob = join(playground, "Ada"), join(playground, "Bob")
    bob.locator(".net summary").click()
    bob.get_by_text("Cut the line").click()
    bob.locator(".status.reconnecting", has_text="the line is cut").wait_for()
    value(ada, "Bob", "connected").and_(ada.locator("dd:text-is('false')")).wait_for()
    bob.get_by_text("Mend the line").click()
    bob.locator(".status.playing").wait_for()
    value(ada, "Bob", "connected").and_(ada.locator("dd:text-is('true')")).wait_for()
    bob.get_by_label("latency").fill("300")
    playground.wait_for_function(
        "() => { const [fast, slow] = [...document.querySelectorAll('.traffic')]"
        ".map((one) => parseInt(one.textContent)); return slow > fast + 300; }"
    )
    assert playground.locator(".seat").count() == 2
    bob.get_by_label("Leave").click()
    value(ada, "Bob", "name").wait_for(state="detached")


def test_one_travels_in_the_past_of_a_room_that_lives(server, playground):
    ada, bob = join(playground, "Ada"), join(playground, "Bob")
    say(bob, "hit", whom="Ada", hard=9)
    value(ada, "Ada", "hp").and_(ada.locator("dd:text-is('21')")).wait_for()
    say(bob, "hit", whom="Ada", hard=9)
    say(bob, "hit", whom="Ada", hard=5)
    value(ada, "Ada", "hp").and_(ada.locator("dd:text-is('7')")).wait_for()
    playground.wait_for_timeout(300)  # so that it is in the journal
    playground.click(".room h3 a")
    playground.locator(".scrubber").wait_for()
    row = playground.locator(".found li")
    playground.fill("[aria-label=Search]", "mana of Ada falls below 10")
    playground.click("text=Find")
    row.filter(has_text="Nothing called Ada has an attribute mana.").wait_for()
    playground.fill("[aria-label=Search]", "hp of Ada falls below 10")
    playground.click("text=Find")
    row.filter(has_text="Ada.hp: 12 → 7").wait_for()
    assert row.count() == 1
    playground.locator(".rows p", has_text="message").filter(has_text="hit").wait_for()
    change = playground.locator(".change", has_text="hp")
    assert change.locator("del").inner_text() == "12" and change.locator("ins").inner_text() == "7"
    line = change.locator(".line").inner_text()
    change.locator(".line").click()
    marked = playground.locator(".code.marked")
    assert "other.hp -= hard" in marked.inner_text()
    assert line == f"rules.py:{marked.locator('.number').inner_text()}"
    assert marked.evaluate("(row) => row.classList.contains('wrote')")
    tick = int(playground.input_value("[aria-label=Tick]"))
    playground.click(".stage h2")
    playground.keyboard.press("ArrowLeft")
    playground.wait_for_function(f"() => location.hash.endsWith('/{tick - 1}')")
    playground.locator(".state dd:text-is('12')").wait_for()
    assert playground.locator(".verdict").inner_text() == ""  # it is what happened, to the bit


def test_a_file_that_somebody_sends_is_opened_and_played(server, playground, tmp_path):
    file = recorded_duel(server.game(), tmp_path / "bug 17.journal")
    playground.click("#to-travel")
    playground.locator("input[type=file]").set_input_files(file)
    playground.locator(".stage h2", has_text="Duel · room").wait_for()
    playground.wait_for_function(
        "() => location.hash.endsWith('/attached/bug_17.journal/room/100')"
    )
    playground.locator("button[title='To the event before']").click()
    playground.locator(".act", has_text="message hit of Bob").wait_for()
    playground.fill("[aria-label=Tick]", "1")
    playground.press("[aria-label=Tick]", "Enter")
    playground.locator(".act", has_text="on_join").first.wait_for()
    playground.click("button[title^=Play]")
    playground.wait_for_function("() => document.querySelector('[aria-label=Tick]').value > 12")
    junk = tmp_path / "junk.journal"
    junk.write_bytes(b"no journal")
    playground.click(".back")
    playground.locator("input[type=file]").set_input_files(junk)
    playground.locator(".note", has_text="junk.journal is no journal").wait_for()


def asked(url: str, **headers: str) -> tuple[int, dict]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"{}")


def test_it_answers_this_machine_only_and_says_what_is_wrong(server):
    games = f"{server.page}playground/games.json"
    assert asked(games)[0] == 200
    assert asked(games, Host="evil.example")[0] == 403  # a name that was pointed here
    assert asked(games, **{"X-Forwarded-For": "192.0.2.1"})[0] == 403
    assert asked(games, Origin="http://evil.example")[0] == 403
    moment = f"{server.page}playground/moment.json?room=nothing&journal="
    assert asked(f"{moment}objects")[1] == {"message": "there is no whole checkpoint"}
    assert asked(f"{moment}aside/../../secret")[0] == 404
    search = f"{server.page}playground/search.json?journal=objects&room=rules&q=what%20is"
    assert asked(search)[0] == 400


def test_a_server_that_is_no_development_run_has_none():
    with LiveServer(GAMES="examples/tag/tag.py") as server:
        with pytest.raises(urllib.error.HTTPError) as missing:
            urllib.request.urlopen(f"{server.page}playground/")
        assert missing.value.code == 404


def test_saved_rules_are_told_with_the_tick_from_which_the_last_minute_is_another(visit):
    with CommandServer("--dev") as server:
        ada = server.join("Ada")
        ada.input(dx=1 if ada.me["x"] < 400 else -1)
        ada.update(0.5)
        page = visit(f"{server.url}/playground/")
        server.edit("for dot in self.players:", "for dot in list(self.players):")
        page.locator("#saved.good", has_text="The last minute would have been the same").wait_for()
        server.edit("SPEED = 260", "SPEED = 130")
        page.locator("#saved.warn", has_text="would have been another from tick").wait_for()
        assert "Ada.x" in page.inner_text("#saved")
        tick = int(page.inner_text("#saved a").split()[2])
        page.click("#saved a")
        page.wait_for_function(
            f"() => document.querySelector('[aria-label=Tick]')?.value === '{tick}'"
        )
        page.locator(".change", has_text="Ada.x").wait_for()
        server.edit("SPEED = 130", "SPEED = (")
        page.locator("#saved.bad", has_text="was never closed").wait_for()
        ada.leave()
