from tickstorm.testing import rehearse

from newgame import SPARK_S, SPEED, NewGame


def test_a_dot_goes_where_it_is_steered_and_sparks_go_out():
    room = rehearse(NewGame)
    ada, bo = room.join("Ada"), room.join("Bo")
    dots = room.rules.dot
    dots.x[ada], still = 100, dots.x[bo]
    room.input(ada, dx=1)
    room.run(1.0)
    assert abs(dots.x[ada] - 100 - SPEED) < 1 and dots.x[bo] == still
    assert len(room.rules.present("spark")) == room.rules.tick_hz
    room.input(ada)
    room.run(SPARK_S + 0.1)
    assert len(room.rules.present("spark")) == 0


def test_nobody_leaves_the_field():
    room = rehearse(NewGame)
    ada = room.join("Ada")
    room.input(ada, dx=1)
    room.run(10.0)
    assert room.rules.dot.x[ada] == room.rules.size - 1


def test_a_crowd_comes_back_after_a_restart():
    room = rehearse(NewGame)
    for n in range(300):
        room.input(room.join(f"Bot {n}"), dx=1, dy=-1)
    room.run(1.0)
    before = room.rules.dot.x.tolist()
    room.restart()
    assert room.rules.dot.x.tolist() == before
