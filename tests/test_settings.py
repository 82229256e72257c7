"""What rooms can be told: a game declares it, the option SETTINGS and the HTTP API follow."""

from __future__ import annotations

import numpy as np
import pytest

import game as arena
from tests.tiny_world import Tiny
from tickstorm import Room, setting
from tickstorm.config import Config, ConfigError
from tickstorm.games.catalogue import catalogue_of
from tickstorm.lobby.api import cost
from tickstorm.lobby.settings import SettingsError, check_option, of_node, parse, usual
from tickstorm.testing import rehearse


class Pond(Tiny):
    size = setting(2048, low=100, high=9000)
    frogs: int = setting(3, low=0, high=50)

    def on_create(self) -> None:
        super().on_create()
        self.leaps = self.frogs


class Talk(Room):
    slow: bool = setting(False)


GAMES = catalogue_of(Pond, Talk, arena)


def test_a_crowd_declares_settings_as_an_object_room_does():
    found = parse({"game": "pond", "settings": {"frogs": 7}}, Config(), GAMES)
    assert found.settings == {"size": 2048, "frogs": 7}
    assert parse({"game": "talk"}, Config(), GAMES).settings == {"slow": False}
    assert of_node(Config(), GAMES["arena"]).settings == {"size": 4096, "orbs": -1, "round_s": 0}


@pytest.mark.parametrize(
    "game, chosen, says",
    [
        ("pond", {"frogs": 51}, "settings.frogs: a whole number from 0 to 50"),
        ("pond", {"frogs": True}, "settings.frogs: a whole number"),
        ("pond", {"toads": 1}, "settings.toads: there are size, frogs"),
        ("arena", {"size": 2000}, "settings.size: a whole number from 2048 to 31744"),
        ("talk", {"size": 1}, "settings.size: there are slow"),
        ("talk", 3, "settings: an object"),
    ],
)
def test_what_a_game_did_not_declare_is_refused_by_name(game, chosen, says):
    with pytest.raises(SettingsError) as error:
        parse({"game": game, "settings": chosen}, Config(), GAMES)
    assert str(error.value) == says


@pytest.mark.parametrize("key", ["size", "round_s", "orbs"])
@pytest.mark.parametrize("game", GAMES.names)
def test_no_word_of_one_game_is_a_setting_of_all_rooms(game, key):
    with pytest.raises(SettingsError, match="there is no such setting"):
        parse({"game": game, key: 1}, Config(), GAMES)


def test_bots_come_only_where_the_game_lists_them():
    assert parse({"game": "arena", "bots": 5}, Config(), GAMES).bots == 5
    with pytest.raises(SettingsError, match="bots: 0, for pond has none"):
        parse({"game": "pond", "bots": 5}, Config(), GAMES)
    assert of_node(Config(bots=9), GAMES["pond"]).bots == 0


def test_the_option_says_what_holds_where_nobody_chose():
    config = Config(settings="size=3000, pond.frogs=9,slow=true")
    check_option(config, GAMES)
    assert usual(config, GAMES["pond"]) == {"size": 3000, "frogs": 9}
    assert usual(config, GAMES["arena"])["size"] == 3000
    assert usual(config, GAMES["talk"]) == {"slow": True}
    assert parse({"game": "pond"}, config, GAMES).settings["frogs"] == 9


@pytest.mark.parametrize(
    "text, says",
    [
        ("speed=3", "SETTINGS=speed=3: there is no such setting, only"),
        ("talk.frogs=3", "only slow"),
        ("size=50", "SETTINGS=size=50 is not allowed: a whole number from 100 to 9000"),
        ("frogs=many", "SETTINGS=frogs=many is not allowed: a whole number"),
        ("slow=3", "true or false"),
    ],
)
def test_an_option_that_no_game_understands_is_told_at_the_start(text, says):
    with pytest.raises(ConfigError) as error:
        check_option(Config(settings=text), GAMES)
    assert says in str(error.value)


def test_what_was_chosen_is_there_in_the_rules_and_after_a_restart():
    pond = rehearse(Pond, frogs=11, size=777)
    assert (pond.rules.frogs, pond.rules.size, pond.rules.leaps) == (11, 777, 11)
    ada = pond.join()
    assert pond.rules.mover.x[ada] < 777
    pond.restart()
    assert (pond.rules.frogs, pond.rules.size) == (11, 777)


def test_a_room_counts_for_as_much_as_its_game_says():
    large = parse({"game": "arena", "settings": {"size": 8192}, "tick_hz": 60}, Config(), GAMES)
    assert cost(large, arena) == 12
    assert cost(of_node(Config(), GAMES["talk"]), GAMES["talk"].game) == 1


@pytest.mark.parametrize("size", [1, 100, 1024, 1025, 2500, 31_744])
def test_a_world_of_any_size_has_a_grid_around_all_of_it(size):
    from tickstorm.replication.interest import CELL_SIZE, Grid

    grid = Grid(size)
    assert (grid.side - 1) * CELL_SIZE < size <= grid.side * CELL_SIZE
    ends = np.array([0, size - 0.5], np.float32)
    cells = grid.cell_of(ends, ends)
    assert cells[0] == grid.width + 1 and cells[1] == grid.side * (grid.width + 1)
