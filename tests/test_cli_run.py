"""`tickstorm run`: a project is served, saved rules go on with the room's state, mistakes are
told, bots play, and pages of every preset work in two browsers."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time

import pytest

from tests.command_server import CommandServer
from tickstorm.cli import main
from tickstorm.cli.new import presets
from tickstorm.cli.run import offer_admin
from tickstorm.client import ConnectError, Disconnected, Fault

pytest_plugins = ["tests.browser", "tests.pages"]


def back(room) -> None:
    """Come back after the server restarted."""
    with pytest.raises(Disconnected):
        room.update(10.0)
    for _ in range(100):
        try:
            room.reconnect()
            return
        except (ConnectError, Disconnected, TimeoutError):
            time.sleep(0.1)
    raise AssertionError("no way back")


def test_what_is_printed_is_little_and_ctrl_c_ends_it():
    with CommandServer() as server:
        server.join("Ada").leave()
        assert server.said[0] == (
            f"tickstorm: dots at {server.url} (open it in two windows; Ctrl-C ends it)"
        )
        assert server.said[1].startswith(
            f"tickstorm: see into it, and steer it: {server.url}/admin/#token="
        )
        assert server.stop() == 0
        for line in server.said[2:]:
            assert re.match(r"\d{4}-\d\d-\d\d ", line), line


def test_the_admin_link_is_printed_and_opens_and_not_where_others_can_reach_the_server(visit):
    with CommandServer() as server:
        server.wait_for("/admin/#token=")
        server.join("Ada").leave()
        link = server.said[1].rpartition(" ")[2]
        page = visit(link)
        page.wait_for_selector("#health:text-is('healthy')")
        token = link.partition("=")[2]
        assert sum(token in line for line in server.said) == 1
    assert offer_admin({"HOST": "0.0.0.0"}) == ""
    assert offer_admin({"ADMIN_TOKEN": "one-of-my-own-choice"}) == ""


def test_saved_rules_go_on_at_the_next_tick_and_nobody_is_cut_off():
    with CommandServer("--dev") as server:
        ada = server.join("Ada")
        ada.update(0.3)
        x, y = ada.me["x"], ada.me["y"]
        server.edit("dot.y + dot.input.dy", "dot.y + 0.1 + dot.input.dy")
        server.wait_for("dots.py was saved")
        ada.wait_for(lambda: ada.me["y"] > y + 1)
        assert ada.me["x"] == x
        server.wait_for("the last minute would be another from tick")
        assert "Ada.y" in next(line for line in server.said if "last minute" in line)
        ada.leave()


def test_a_room_without_a_tick_goes_on_with_saved_rules_and_says_what_they_would_have_done():
    with CommandServer("--dev", preset="board") as server:
        ada = server.join("Ada")
        ada.send("draw", True, [(10, 10)])
        ada.wait_for(lambda: len(ada.state["ink"]) == 1)
        server.edit("flat += [min(max(x, 0), WIDTH)", "flat += [min(max(2 * x, 0), WIDTH)")
        server.wait_for("the last minute would be another from tick")
        assert ada.state["ink"][0][2] == [10, 10]  # what has happened stays
        ada.send("draw", True, [(10, 10)])
        ada.wait_for(lambda: len(ada.state["ink"]) == 2)
        assert ada.state["ink"][1][2] == [20, 10]
        ada.leave()


def test_who_knows_another_declaration_is_sent_for_the_new_one():
    with CommandServer("--dev") as server:
        ada = server.join("Ada")
        room, x = ada.id, ada.me["x"]
        server.edit("hue: int = synced(0)", "hue: int = synced(0)\n    hat: str = synced('top')")
        back(ada)
        assert ada.session.welcome["resumed"] and (ada.id, ada.me["x"]) == (room, x)
        assert ada.me["hat"] == "top"
        ada.leave()


def test_an_open_page_gets_the_declaration_that_was_saved(visit):
    with CommandServer("--dev") as server:
        ada = server.join("Ada", watch=False)
        page = visit(f"{server.url}/dots/")
        ada.wait_for(lambda: len(ada.players) == 2)
        guest = next(dot for dot in ada.players if dot.id != ada.me.id)
        where = guest["x"]
        page.evaluate("() => { window.before = true; }")
        server.edit("hue: int = synced(0)", "hue: int = synced(0)\n    hat: str = synced('top')")
        page.wait_for_function("() => window.before === undefined")  # it was loaded anew
        page.wait_for_function("() => document.querySelector('canvas')")
        back(ada)
        ada.wait_for(lambda: all(dot["connected"] for dot in ada.players))
        assert [dot["x"] for dot in ada.players if dot.id != ada.me.id] == [where]
        ada.leave()


def test_a_mistake_that_is_saved_leaves_the_old_rules_running():
    with CommandServer("--dev") as server:
        ada = server.join("Ada")
        server.edit("def step(self, dt: float)", "def step(self, dt: float")
        server.wait_for("dots.py:")
        server.wait_for("the rules from before run on")
        x = ada.me["x"]
        ada.input(dx=1 if x < 400 else -1)
        ada.wait_for(lambda: abs(ada.me["x"] - x) > 20)
        ada.leave()


def test_a_rule_that_raises_is_told_in_the_terminal_and_on_the_page_until_it_is_mended():
    with CommandServer("--dev") as server:
        ada = server.join("Ada")
        broken = "for dot in 1 / self.random.choice([0]):"
        server.edit("for dot in self.players:", broken)
        faults: list[str] = []

        def told() -> bool:
            faults.extend(e.text for e in ada.update(0.2) if isinstance(e, Fault))
            return bool(faults)

        ada.wait_for(told)
        assert "ZeroDivisionError" in faults[0] and "dots.py" in faults[0]
        server.wait_for("ZeroDivisionError")
        tick, x = ada.tick, ada.me["x"]
        server.edit(broken, "for dot in self.players:")
        ada.input(dx=1 if x < 400 else -1)
        ada.wait_for(lambda: ada.tick > tick + 5 and abs(ada.me["x"] - x) > 20)
        ada.leave()


def test_a_port_that_is_taken_is_told_in_one_line(capsys, monkeypatch):
    with CommandServer() as server:
        server.join("Ada").leave()
        monkeypatch.chdir(server.project)
        assert main(["run", "--port", str(server.port)]) == 1
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and "takes another port" in error


def test_bots_play_any_game_of_objects():
    with CommandServer() as server:
        server.join("Ada").leave()
        arguments = ["--players", "5", "--seconds", "3", "--messages", "--json", "-"]
        command = [sys.executable, "-m", "tickstorm", "bots", server.url, *arguments]
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        tally = json.loads(said.stdout.splitlines()[-1])
        assert (tally["joined"], tally["lost"], tally["never_sent"]) == (5, 0, {})
        assert tally["patches_per_s"] > 0 and tally["bytes_per_player_s"] > 0


def test_bots_come_along_and_go_with_the_server():
    with CommandServer("--bots", "3") as server:
        ada = server.join("Ada")
        ada.wait_for(lambda: len(ada.players) == 4, 15.0)
        before = {dot.id: dot["x"] for dot in ada.players}
        ada.wait_for(lambda: sum(dot["x"] != before.get(dot.id) for dot in ada.players) > 1)
        ada.leave()


def test_types_of_a_running_project(capsys, monkeypatch):
    server = CommandServer()
    monkeypatch.chdir(server.project)
    capsys.readouterr()
    assert main(["types", "-o", "page/dots.d.ts"]) == 0
    assert "declares the game 'dots'" in capsys.readouterr().out
    assert "export interface Dots {" in (server.project / "page" / "dots.d.ts").read_text()


# ------------------------------------------------------------------ in browsers


def played_minimal(one, two) -> None:
    for page in (one, two):
        page.wait_for_function("() => document.querySelector('canvas')")
    one.keyboard.down("d")
    one.wait_for_timeout(600)
    one.keyboard.up("d")


def played_turns(one, two) -> None:
    two.wait_for_function("() => /your turn|thinks/.test(document.body.innerText)")
    one.wait_for_function("() => /your turn|thinks/.test(document.body.innerText)")
    first, second = (one, two) if "your turn" in one.inner_text("#status") else (two, one)
    for page, cell in ((first, 0), (second, 3), (first, 1), (second, 4), (first, 2)):
        page.locator("#board button").nth(cell).click()
        for other in (one, two):
            other.wait_for_function(
                f"() => document.querySelectorAll('#board button')[{cell}].textContent !== ''"
            )
    first.wait_for_function("() => document.querySelector('#status').textContent === 'You win!'")
    second.wait_for_function("() => document.querySelector('#status').textContent === 'You lose.'")
    second.click("#again")
    first.wait_for_function(
        "() => [...document.querySelectorAll('#board button')].every((b) => b.textContent === '')"
    )


INKED = """() => {
    const canvas = document.querySelector("canvas");
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return data.some((value) => value > 0);
}"""


def played_board(one, two) -> None:
    for page in (one, two):
        page.wait_for_function("() => document.querySelectorAll('#people li').length === 2")
    box = one.locator("canvas").bounding_box()
    one.mouse.move(box["x"] + 50, box["y"] + 50)
    one.mouse.down()
    for step in range(1, 6):
        one.mouse.move(box["x"] + 50 + 30 * step, box["y"] + 50 + 10 * step)
    one.mouse.up()
    two.wait_for_function(INKED)
    one.click("#undo")
    two.wait_for_function(f"() => !({INKED})()")


@pytest.mark.parametrize("preset", [name for name in presets() if name != "crowd"])
def test_two_browsers_see_each_other_in_every_preset(preset, visit):
    play = {"minimal": played_minimal, "turns": played_turns, "board": played_board}[preset]
    with CommandServer(preset=preset) as server:
        looker = server.join("Looker", watch=False) if preset == "minimal" else None
        if looker is None:
            server.wait_for("serves")
        one, two = visit(f"{server.url}/dots/"), visit(f"{server.url}/dots/")
        if looker is not None:
            looker.wait_for(lambda: len(looker.players) == 3)
            before = {dot.id: dot["x"] for dot in looker.players}
        play(one, two)
        if looker is not None:
            looker.update(0.5)
            moved = [dot for dot in looker.players if dot["x"] != before.get(dot.id)]
            assert len(moved) == 1
            looker.leave()
