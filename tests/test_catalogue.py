"""Which games a server runs: found by name or file, and clear words where one can't be had."""

from __future__ import annotations

import pytest

import game
from tests.live_server import ROOT
from tickstorm.games import catalogue
from tickstorm.games.catalogue import CROWD, GameError

PARTS = (
    "from game import services, settings, messages, KINDS, SELF, COMMAND, STEP_COMMAND\n"
    "from game import declaration, checksum, clamp\n"
)
WHOLE = PARTS + "from game import create_world, load_world\n"


def test_a_game_is_found_by_the_name_of_its_module():
    games = catalogue.load("game")
    entry = games.first
    assert (entry.name, entry.kind, entry.title, entry.game) == ("arena", CROWD, "Arena", game)
    assert "arena" in games and games["arena"] is entry and games.names == ["arena"]


def test_the_arena_says_where_its_page_is():
    assert catalogue.load("game").first.page.samefile(ROOT / "clients" / "web")


def test_a_game_is_found_by_its_file_and_by_an_attribute(tmp_path):
    one, two = tmp_path / "one.py", tmp_path / "two.py"
    one.write_text(WHOLE + "name, title = 'one', 'One'\n")
    two.write_text("class Two:\n    " + WHOLE.replace("\n", "\n    ") + "name = title = 'two'\n")
    games = catalogue.load(f"{one}, {two}:Two,")
    assert games.names == ["one", "two"] and games.first.title == "One"


@pytest.mark.parametrize(
    "spec, says",
    [
        ("", "no game is named"),
        ("nosuchgame", "there is no module 'nosuchgame'"),
        ("nosuch.py", "there is no file nosuch.py"),
        ("game:nothing", "no 'nothing' in it"),
        ("json", "no game, for it has no name, title, services, settings, messages, KINDS"),
        ("game,game", "two games are named 'arena'"),
    ],
)
def test_what_is_wrong_with_a_spec_is_said(spec, says):
    with pytest.raises(GameError, match=says):
        catalogue.load(spec)


@pytest.mark.parametrize(
    "source, says",
    [
        ("x = 1\ny = 1 / 0\n", r"broken\.py:2: ZeroDivisionError"),
        ("x = (\n", r"broken\.py:1: SyntaxError"),
        ("import nosuchthing\n", r"broken\.py:1: ModuleNotFoundError"),
        (
            PARTS + "name = title = 'a'\n",
            r"broken\.py\): no game, for it has no create_world",
        ),
        (WHOLE + "name = title = 'My game'\n", "name is 'My game'; allowed are"),
    ],
)
def test_a_game_that_can_not_be_loaded_is_told_with_file_and_line(tmp_path, source, says):
    path = tmp_path / "broken.py"
    path.write_text(source)
    with pytest.raises(GameError, match=says):
        catalogue.load(str(path))


def test_a_name_that_no_game_has_is_told_with_those_that_are():
    with pytest.raises(GameError, match="no game 'chess' here, only arena"):
        catalogue.load("game")["chess"]
