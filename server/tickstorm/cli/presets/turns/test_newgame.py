import pytest
from tickstorm.testing import Refused, rehearse

from newgame import NewGame


@pytest.fixture
def table():
    room = rehearse(NewGame)
    return room, room.join("Ada"), room.join("Bo")


def play(table, *cells):
    room, *sides = table
    for turn, cell in enumerate(cells):
        room.call(sides[turn % 2], "place", cell)


def test_three_in_a_row_win(table):
    play(table, 0, 3, 1, 4, 2)
    assert table[0].rules.result == "X"


def test_a_full_board_without_three_is_a_draw(table):
    play(table, 0, 1, 2, 4, 3, 5, 7, 6, 8)
    assert table[0].rules.result == "draw"


def test_one_waits_for_ones_turn_and_takes_no_cell_twice(table):
    room, ada, bo = table
    with pytest.raises(Refused, match="not your turn"):
        room.call(bo, "place", 0)
    room.call(ada, "place", 0)
    with pytest.raises(Refused, match="taken"):
        room.call(bo, "place", 0)


def test_once_again(table):
    room, ada, _ = table
    play(table, 0, 3, 1, 4, 2)
    room.call(ada, "again")
    assert room.seen(ada).room == {"cells": [""] * 9, "turn": "X", "result": ""}
