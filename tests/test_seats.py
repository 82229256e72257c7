"""The table of clients: who is due, who is slow, who floods, who is gone."""

from __future__ import annotations

import numpy as np

from tickstorm.protocol.wire import NO_SLOT
from tickstorm.rooms.seats import (
    CALM_S,
    DEAD_S,
    FROZEN_S,
    NEVER,
    SILENT_S,
    SLOWEST,
    STRIKES,
    SYNC_BYTES_S,
    Seats,
)

HZ = 20


def seated(count, connected=None):
    """A table whose first seats are connected players with a baseline at tick 100."""
    seats = Seats(count)
    for seat in range(connected if connected is not None else count):
        assert seats.take() == seat
        seats.sit(seat, seat, 0.0)
        seats.attach(seat, 100, 60)
    seats.baseline_tick[seats.connected] = 100
    return seats


def refuse(seats, tick, seat):
    """One tick in which the socket of `seat` takes nothing."""
    due = seats.due(tick, 1)
    seats.commit(tick, due, due != seat)


def test_everybody_connected_is_due_every_tick():
    seats = seated(5, connected=3)
    assert seats.due(101, 1).tolist() == [0, 1, 2]


def test_who_still_has_a_tail_is_not_due():
    seats = seated(3)
    seats.tailing[1] = True
    assert seats.due(101, 1).tolist() == [0, 2]


def test_cohorts_of_a_slower_room_take_turns_and_each_gets_its_share():
    seats = seated(8)
    seats.cell[:] = [3, 3, 4, 5, 6, 6, 8, 9]
    for first in (101, 105):  # in the first round everybody finds their turn
        turns = [seats.due(tick, 4).tolist() for tick in range(first, first + 4)]
    assert sorted(sum(turns, [])) == list(range(8))
    assert sorted(turns) == [[0, 1], [2, 6], [3, 7], [4, 5]], "who shares a cell shares a turn"


def test_who_flies_to_another_cell_waits_no_longer_for_a_snapshot_and_then_takes_its_turn():
    seats = seated(1)
    seats.cell[0], last, gaps = 40, 100, []
    for tick in range(101, 400):
        if tick % 37 == 0:
            seats.cell[0] += 7
        if seats.due(tick, 4).tolist() == [0]:
            gaps.append(tick - last)
            last = tick
    assert set(gaps) <= {1, 2, 3, 4}
    assert gaps.count(4) > len(gaps) * 0.75


def test_who_has_no_baseline_is_due_at_once_even_in_a_slow_room():
    seats = seated(8)
    seats.baseline_tick[5] = NEVER
    assert all(5 in seats.due(tick, 4).tolist() for tick in range(101, 105))


def test_the_baseline_moves_only_where_the_socket_took_the_first_byte():
    seats = seated(3)
    seats.cell[:] = [7, 8, 9]
    seats.commit(101, np.array([0, 1, 2]), np.array([True, False, True]))
    assert seats.baseline_tick.tolist() == [101, 100, 101]
    assert seats.baseline_cell.tolist() == [7, 0, 9]
    assert seats.begun.tolist() == [101, 100, 101]
    assert seats.strikes.tolist() == [0, 1, 0]


def test_a_slow_reader_gets_half_the_snapshots_and_then_a_quarter_and_recovers():
    seats = seated(2)
    ack = np.full(2, 10**6)
    tick = 101
    for expected in (2, 4, SLOWEST, SLOWEST):
        for _ in range(STRIKES * SLOWEST):
            refuse(seats, tick, 0)
            tick += 1
        seats.pace(tick, ack, HZ)
        assert seats.interval(1).tolist() == [expected, 1]
    for expected in (2, 1, 1):
        for _ in range(CALM_S):
            seats.pace(tick, ack, HZ)
        assert seats.interval(1).tolist() == [expected, 1]


def test_fewer_refusals_than_the_limit_change_nothing():
    seats = seated(2)
    for tick in range(101, 101 + STRIKES - 1):
        refuse(seats, tick, 0)
    seats.pace(200, np.full(2, 10**6), HZ)
    assert seats.interval(1).tolist() == [1, 1]


def test_a_frozen_tab_that_drains_its_socket_but_acknowledges_nothing_gets_one_a_second():
    seats = seated(2)
    seats.baseline_tick[:] = 500
    seats.pace(500, np.array([500 - FROZEN_S * HZ - 1, 499]), HZ)
    assert seats.interval(1).tolist() == [HZ, 1]
    seats.pace(520, np.array([499, 519]), HZ)
    assert seats.interval(1).tolist() == [1, 1]


def test_a_client_may_send_its_rate_for_ever_and_two_seconds_of_it_at_once():
    seats = seated(2)
    three_per_tick = np.zeros(3, np.intp)
    for _ in range(1000):
        assert seats.charge(three_per_tick, 60, HZ).tolist() == []
    assert seats.charge(np.zeros(120, np.intp), 60, HZ).tolist() == []
    assert seats.charge(np.zeros(4, np.intp), 60, HZ).tolist() == [0]


def test_a_flood_is_the_flooders_alone():
    seats = seated(3)
    assert seats.charge(np.full(500, 1), 60, HZ).tolist() == [1]
    seats.detach(1)
    assert seats.charge(np.zeros(0, np.intp), 60, HZ).tolist() == []
    seats.attach(1, 200, 60)
    assert seats.charge(np.full(5, 1), 60, HZ).tolist() == []


def test_a_socket_that_begins_no_snapshot_is_stuck_after_the_limit():
    seats = seated(2)
    seats.begun[:] = [100, 150]
    assert seats.stuck(100 + 200, 200).tolist() == []
    assert seats.stuck(100 + 201, 200).tolist() == [0]


def test_a_player_without_input_is_idle_and_a_spectator_never():
    seats = seated(2)
    seats.slot[1] = NO_SLOT
    assert seats.idle(100 + 600, 600).tolist() == []
    assert seats.idle(100 + 601, 600).tolist() == [0]


def test_the_silent_are_pinged_and_the_dead_are_given_up():
    seats = seated(3, connected=2)
    seats.heard[:] = [100, 100 + (DEAD_S - SILENT_S) * HZ, 0]
    asked, dead = seats.silent(100 + DEAD_S * HZ + 1, HZ)
    assert (asked.tolist(), dead.tolist()) == ([1], [0])


def test_a_seat_attached_again_forgets_everything_about_the_last_socket():
    seats = seated(1)
    seats.tailing[0] = True
    seats.pace_ticks[0] = seats.frozen_ticks[0] = 4
    seats.strikes[0], seats.calm_s[0], seats.credit[0] = 9, 9, -50
    seats.detach(0)
    assert seats.due(101, 1).tolist() == []
    seats.attach(0, 300, 60)
    assert seats.due(301, 1).tolist() == [0]
    assert seats.baseline_tick[0] == NEVER
    assert seats.interval(1).tolist() == [1]
    assert seats.stuck(301, 200).tolist() == seats.idle(301, 200).tolist() == []


def test_every_seat_is_given_out_once_and_again_when_it_is_free():
    seats = Seats(4)
    assert [seats.take() for _ in range(4)] == [0, 1, 2, 3]
    seats.free(2)
    assert seats.take() == 2


def test_a_full_snapshot_that_was_asked_for_puts_off_the_next_by_its_size():
    seats, hz = Seats(3), 20
    for seat in (0, 1, 2):
        seats.attach(seat, 10, 60)
        seats.baseline_tick[seat] = 10
    seats.wants_full[[0, 1]] = True
    seats.grant(11)
    assert seats.baseline_tick.tolist() == [NEVER, NEVER, 10]
    sizes = np.array([2 * SYNC_BYTES_S, 100, 5000])
    seats.pay(11, np.array([0, 1, 2]), sizes, hz)
    seats.baseline_tick[:] = 11
    seats.wants_full[:] = True
    seats.grant(12)
    assert (seats.baseline_tick == NEVER).tolist() == [False, True, True]
    seats.grant(11 + 2 * hz)
    assert seats.baseline_tick[0] == NEVER
