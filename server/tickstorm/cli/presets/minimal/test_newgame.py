from tickstorm.testing import rehearse

from newgame import SPEED, WIDTH, NewGame


def test_a_dot_goes_where_it_is_steered():
    room = rehearse(NewGame)
    ada, bo = room.join("Ada"), room.join("Bo")
    ada.x, still = 100, bo.x
    room.input(ada, dx=1)
    room.run(1.0)
    assert abs(ada.x - 100 - SPEED) < 1 and bo.x == still


def test_nobody_leaves_the_field():
    room = rehearse(NewGame)
    ada = room.join("Ada")
    room.input(ada, dx=1)
    room.run(10.0)
    assert ada.x == WIDTH


def test_everyone_sees_everyone():
    room = rehearse(NewGame)
    ada, bo = room.join("Ada"), room.join("Bo")
    assert [dot["name"] for dot in room.seen(ada).players] == ["Ada", "Bo"]
    assert room.seen(bo).entities == room.seen(ada).entities
