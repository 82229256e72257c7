import pytest
from tickstorm.testing import Refused, rehearse

from newgame import WIDTH, NewGame


def test_who_comes_late_sees_it_all():
    room = rehearse(NewGame)
    ada = room.join("Ada")
    room.call(ada, "draw", True, [[10, 10], [20, 20]])
    room.call(ada, "draw", False, [[20, 20], [30, 10]])
    bo = room.join("Bo")
    first, second = room.seen(bo).room["ink"]
    assert first[2] == [10, 10, 20, 20] and second[0] == first[0]


def test_one_takes_back_ones_own_strokes_only():
    room = rehearse(NewGame)
    ada, bo = room.join("Ada"), room.join("Bo")
    room.call(ada, "draw", True, [[0, 0]])
    room.call(bo, "draw", True, [[5, 5]])
    room.call(ada, "undo")
    assert [piece[2] for piece in room.rules.ink] == [(5, 5)]
    with pytest.raises(Refused, match="nothing of yours"):
        room.call(ada, "undo")


def test_ink_stays_on_the_board():
    room = rehearse(NewGame)
    room.call(room.join("Ada"), "draw", True, [[WIDTH + 50, -5]])
    assert room.rules.ink[0][2] == (WIDTH, 0)


def test_clear_is_told_to_everyone():
    room = rehearse(NewGame)
    ada = room.join("Ada")
    room.call(ada, "draw", True, [[0, 0]])
    room.call(ada, "clear")
    assert not room.rules.ink and room.sent[-1][:2] == ("cleared", ("Ada",))


def test_the_board_outlives_a_restart():
    room = rehearse(NewGame)
    room.call(room.join("Ada"), "draw", True, [[1, 2]])
    room.restart()
    room.call(room.players[0], "undo")
    assert not room.rules.ink
