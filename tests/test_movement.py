"""Movement alone: `game.movement.move` over columns."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from game.movement import DIRECTION_COUNT, DIRECTION_X, DIRECTION_Y, MovementRules, move
from game.schema import BUTTON_BOOST, BUTTON_THRUST

F = np.float32
THRUST, BOOST = BUTTON_THRUST, BUTTON_THRUST | BUTTON_BOOST
RULES = MovementRules.at(20, 6144)


def ship(x=3000.0, y=3000.0, vx=0.0, vy=0.0, energy=100.0):
    return [F([value]) for value in (x, y, vx, vy, energy)]


def run(state, direction, buttons, ticks, rules=RULES):
    for _ in range(ticks):
        *state, boosting = move(*state, np.uint8([direction]), np.uint8([buttons]), rules)
    return *(float(column[0]) for column in state), bool(boosting[0])


def test_directions_go_clockwise_on_a_screen_whose_y_points_down():
    assert DIRECTION_X[0] > 0.99 and DIRECTION_Y[0] == 0
    assert DIRECTION_Y[DIRECTION_COUNT // 4] > 0.99
    assert DIRECTION_X[DIRECTION_COUNT // 2] < -0.99


def test_directions_are_multiples_of_a_power_of_two_so_every_language_has_the_same():
    for table in (DIRECTION_X, DIRECTION_Y):
        assert table.dtype == F
        assert np.array_equal(table * 32768, np.round(table.astype(float) * 32768))


@pytest.mark.parametrize("tick_hz", [10, 20, 30, 60])
def test_terminal_speed_is_that_of_the_design_at_any_tick_rate(tick_hz):
    rules = MovementRules.at(tick_hz, 1_000_000)
    vx = run(ship(), 0, THRUST, 10 * tick_hz, rules)[2]
    assert 310 <= vx <= 360


def test_boosting_is_faster_as_long_as_there_is_energy():
    *_, vx, _, energy, boosting = run(ship(), 0, BOOST, 40)
    assert boosting and 600 < vx < 680 and energy == pytest.approx(100 - 2 * 34, abs=0.01)


def test_without_energy_boosting_is_thrusting():
    boosted = run(ship(energy=0.5), 0, BOOST, 1)
    thrust = run(ship(energy=0.5), 0, THRUST, 1)
    assert boosted == thrust and not boosted[-1]


def test_boost_without_thrust_does_nothing_but_regain_energy():
    x, y, vx, vy, energy, boosting = run(ship(energy=50.0), 0, BUTTON_BOOST, 1)
    assert (x, y, vx, vy, boosting) == (3000, 3000, 0, 0, False)
    assert energy == pytest.approx(50.8)


def test_energy_is_never_more_than_the_maximum():
    assert run(ship(energy=99.9), 0, 0, 5)[4] == 100


def test_a_ship_without_thrust_comes_to_rest():
    vx = run(ship(vx=600.0), 0, 0, 20 * 6)[2]
    assert abs(vx) < 0.01


def test_a_ship_bounces_off_the_edge_with_half_its_speed():
    x, _, vx, *_ = run(ship(x=6120.0, vx=400.0), 0, 0, 1)
    assert x == RULES.high
    assert vx == pytest.approx(-0.5 * 400 * RULES.drag, rel=1e-6)


def test_the_result_for_a_ship_does_not_depend_on_the_others():
    rng = np.random.default_rng(3)
    state = [rng.uniform(0, 6000, 257).astype(F) for _ in range(2)]
    state += [rng.uniform(-600, 600, 257).astype(F) for _ in range(2)]
    state += [rng.uniform(0, 100, 257).astype(F)]
    direction = rng.integers(0, 256, 257).astype(np.uint8)
    buttons = rng.integers(0, 8, 257).astype(np.uint8)
    together = move(*state, direction, buttons, RULES)
    for i in range(257):
        one = slice(i, i + 1)
        alone = move(*(column[one] for column in state), direction[one], buttons[one], RULES)
        assert all(a[0] == b[i] for a, b in zip(alone, together))


@settings(max_examples=60, deadline=None)
@given(
    st.floats(18, 6126, width=32),
    st.floats(18, 6126, width=32),
    st.floats(-900, 900, width=32),
    st.floats(-900, 900, width=32),
    st.lists(st.tuples(st.integers(0, 255), st.integers(0, 7)), min_size=1, max_size=40),
)
def test_every_ship_stays_in_the_world_in_float32(x, y, vx, vy, inputs):
    state = ship(x, y, vx, vy)
    for direction, buttons in inputs:
        *state, _ = move(*state, np.uint8([direction]), np.uint8([buttons]), RULES)
        assert all(column.dtype == F for column in state)
        assert RULES.low <= state[0][0] <= RULES.high
        assert RULES.low <= state[1][0] <= RULES.high
        assert abs(state[2][0]) <= 900 and abs(state[3][0]) <= 900
        assert 0 <= state[4][0] <= 100
