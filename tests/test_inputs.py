"""Inputs in, at most one command per player and tick out; nothing trusts a client."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import game
from tests.arena import LAYOUT
from tickstorm.protocol.wire import NO_SLACK
from tickstorm.rooms.inputs import AHEAD, InputBuffer, commands


def rows(*inputs):
    """LAYOUT.input_row[m] of dicts."""
    out = np.zeros(len(inputs), LAYOUT.input_row)
    for row, fields in zip(out, inputs, strict=True):
        for name, value in fields.items():
            row[name] = value
    return out


def put(buffer, tick, *inputs, seat=0):
    buffer.put(tick, np.full(len(inputs), seat, np.intp), rows(*inputs))


def applied(buffer, tick):
    """{seat: sequence} of the inputs for `tick`."""
    seats, taken = buffer.take(tick)
    assert len(set(seats.tolist())) == len(seats)
    return dict(zip(seats.tolist(), taken["seq"].tolist()))


def test_an_input_without_a_target_counts_for_the_next_tick():
    buffer = InputBuffer(2, LAYOUT.input_row)
    put(buffer, 10, {"seq": 1, "move": 77})
    seats, taken = buffer.take(10)
    assert seats.tolist() == [0] and taken["move"].tolist() == [77]
    assert applied(buffer, 11) == {}


def test_an_early_input_waits_for_its_tick_up_to_the_ring():
    buffer = InputBuffer(1, LAYOUT.input_row)
    for ahead in range(AHEAD):
        put(buffer, 10, {"seq": ahead + 1, "target": 10 + ahead})
    for ahead in range(AHEAD):
        assert applied(buffer, 10 + ahead) == {0: ahead + 1}


@pytest.mark.parametrize("target", [18, 30, 10_000, 2**32 - 1])
def test_a_target_too_far_ahead_counts_for_the_next_tick(target):
    buffer = InputBuffer(1, LAYOUT.input_row)
    put(buffer, 10, {"seq": 1, "target": target})
    assert applied(buffer, 10) == {0: 1}
    assert buffer.slack[0] == min(target - 10, 127)


def test_a_late_input_counts_for_the_next_tick_and_its_lateness_is_reported():
    buffer = InputBuffer(1, LAYOUT.input_row)
    put(buffer, 10, {"seq": 1, "target": 7})
    assert buffer.slack[0] == -3
    assert buffer.late == 1
    assert applied(buffer, 10) == {0: 1}


def test_of_inputs_for_the_same_tick_the_newest_counts():
    buffer = InputBuffer(1, LAYOUT.input_row)
    put(buffer, 10, {"seq": 1}, {"seq": 2}, {"seq": 3})
    assert applied(buffer, 10) == {0: 3}


def test_old_and_double_inputs_are_dropped_and_counted():
    buffer = InputBuffer(1, LAYOUT.input_row)
    put(buffer, 10, {"seq": 5})
    put(buffer, 10, {"seq": 5}, {"seq": 4}, {"seq": 5 - 1000 + 65536})
    assert buffer.dropped == 3
    assert applied(buffer, 10) == {0: 5}
    assert applied(buffer, 11) == {}


def test_a_late_input_that_overtook_a_waiting_one_is_not_undone_by_it():
    buffer = InputBuffer(1, LAYOUT.input_row)
    put(buffer, 10, {"seq": 1, "target": 12})
    put(buffer, 10, {"seq": 2, "target": 9})
    assert applied(buffer, 10) == {0: 2}
    assert applied(buffer, 12) == {}


def test_sequences_wrap():
    buffer = InputBuffer(1, LAYOUT.input_row)
    for tick, seq in enumerate([65534, 65535, 0, 1], 10):
        put(buffer, tick, {"seq": seq})
        assert applied(buffer, tick) == {0: seq}
    assert buffer.dropped == 0


def test_a_starved_tick_has_no_input_and_the_next_one_goes_on():
    buffer = InputBuffer(1, LAYOUT.input_row)
    put(buffer, 10, {"seq": 1})
    assert applied(buffer, 10) == {0: 1}
    assert applied(buffer, 11) == applied(buffer, 12) == {}
    put(buffer, 13, {"seq": 2, "target": 13})
    assert applied(buffer, 13) == {0: 2}


def test_an_acknowledgement_is_neither_from_the_future_nor_taken_back():
    buffer = InputBuffer(1, LAYOUT.input_row)
    put(buffer, 10, {"seq": 1, "ack": 2**32 - 1})
    assert buffer.ack[0] == 9
    put(buffer, 20, {"seq": 2, "ack": 3})
    assert buffer.ack[0] == 9
    put(buffer, 20, {"seq": 3, "ack": 15})
    assert buffer.ack[0] == 15


def test_a_seat_taken_anew_knows_nothing_of_who_sat_there():
    buffer = InputBuffer(2, LAYOUT.input_row)
    put(buffer, 10, {"seq": 40_000, "target": 14})
    buffer.forget(0, 12)
    assert buffer.slack[0] == NO_SLACK and buffer.ack[0] == 12
    put(buffer, 13, {"seq": 7, "target": 13})
    assert applied(buffer, 13) == {0: 7}
    assert applied(buffer, 14) == {}


def test_seats_do_not_touch_each_other():
    buffer = InputBuffer(3, LAYOUT.input_row)
    seats = np.array([2, 0, 2, 0], np.intp)
    buffer.put(10, seats, rows({"seq": 1}, {"seq": 9}, {"seq": 2}, {"seq": 8}))
    assert applied(buffer, 10) == {0: 9, 2: 2}
    assert buffer.newest.tolist() == [9, -1, 2]


def test_forged_fields_of_an_intent_are_brought_into_range():
    taken = rows({"seq": 3, "aim": 65535, "move": 255, "buttons": 255, "view_delay": 255})
    (command,) = commands(game, np.array([5]), taken)
    assert command.dtype == game.STEP_COMMAND
    assert (command["slot"], command["seq"]) == (5, 3)
    assert command["aim"] < 1024
    assert command["buttons"] <= 7


class Reference:
    """The same rules, one client, in plain Python."""

    def __init__(self):
        self.newest = self.applied = None
        self.waiting = {}

    @staticmethod
    def newer(seq, than):
        return than is None or 0 < (seq - than) % 65536 < 32768

    def put(self, tick, seq, target):
        if self.newer(seq, self.newest):
            self.newest = seq
            when = target if target and 0 <= target - tick < AHEAD else tick
            self.waiting[when] = seq

    def take(self, tick):
        seq = self.waiting.pop(tick, None)
        if seq is None or not self.newer(seq, self.applied):
            return {}
        self.applied = seq
        return {0: seq}


@settings(max_examples=150, derandomize=True, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.integers(-3, 6), st.integers(-12, 12)), max_size=5),
        min_size=1,
        max_size=40,
    ),
    st.integers(0, 65535),
)
def test_any_stream_of_inputs_is_taken_as_the_rules_say(ticks, start):
    buffer, reference = InputBuffer(1, LAYOUT.input_row), Reference()
    seq, tick = start, 100
    for arrivals in ticks:
        inputs = []
        for step, ahead in arrivals:
            seq = (seq + step) % 65536
            inputs.append({"seq": seq, "target": tick + ahead if ahead else 0})
            reference.put(tick, seq, inputs[-1]["target"])
        put(buffer, tick, *inputs)
        assert applied(buffer, tick) == reference.take(tick)
        tick += 1
