"""A thread with a bounded queue: in order, settled in time, full, failing, flushed, closed."""

from __future__ import annotations

import threading
import time

from tickstorm.records.background import Background


class Noted(Background):
    """Notes what happens; the thread waits for `gate`, and fails on "bad" and as often as told."""

    def __init__(self, gate_open: bool = True, settle_fails: int = 0, **options):
        self.gate = threading.Event()
        self.happened: list = []
        self.settle_fails = settle_fails
        if gate_open:
            self.gate.set()
        super().__init__("noted", **{"limit": 10, **options})

    def _work(self, item):
        self.gate.wait(10)
        if item == "bad":
            raise ValueError("a bad item")
        self.happened.append(item)

    def _settle(self):
        self.happened.append("settle")
        self.settle_fails -= 1
        return self.settle_fails < 0

    def _end(self):
        self.happened.append("end")


def test_items_have_their_turn_in_order_and_the_end_comes_after_the_last():
    one = Noted(settle_s=60.0)
    for item in range(5):
        assert one.offer(item)
    assert one.close(5.0) and one.stopped
    assert one.happened == [0, 1, 2, 3, 4, "settle", "end"]
    assert one.waiting == 0


def test_a_full_queue_refuses_what_is_offered_and_counts_it_but_takes_what_is_put():
    one = Noted(gate_open=False, settle_s=60.0)
    taken = [one.offer(item, size=4) for item in range(5)]
    assert taken == [True, True, True, False, False], "one item may go over the limit"
    assert (one.full, one.waiting, one.dropped) == (True, 12, 2)
    one.put("needed", size=4)
    one.gate.set()
    assert one.flush(5.0)
    assert one.offer("later") and one.close(5.0)
    assert one.happened == [0, 1, 2, "needed", "settle", "later", "settle", "end"]


def test_what_was_done_is_settled_within_the_time_though_more_keeps_coming():
    one = Noted(settle_s=0.05)
    until = time.monotonic() + 5.0
    while one.happened.count("settle") < 3 and time.monotonic() < until:
        one.offer("more")
        time.sleep(0.005)
    assert one.happened.count("settle") >= 3
    assert one.happened.count("more") > one.happened.count("settle")
    assert one.close(5.0)


def test_settling_is_tried_again_until_it_is_done():
    one = Noted(settle_fails=2, retry_s=0.01)
    one.offer("item")
    assert one.flush(5.0)
    assert one.happened == ["item", "settle", "settle", "settle"]
    assert one.close(5.0)


def test_nothing_is_settled_while_there_is_nothing_to_do():
    one = Noted()
    time.sleep(0.05)
    assert one.happened == []
    assert one.close(5.0)


def test_an_error_is_logged_and_counted_and_the_next_item_has_its_turn(caplog):
    one = Noted(settle_s=60.0)
    one.offer("bad")
    one.offer("good")
    assert one.close(5.0)
    assert one.happened == ["good", "settle", "end"]
    assert (one.errors, one.waiting) == (1, 0)
    assert "noted" in caplog.text and "a bad item" in caplog.text


def test_flush_and_close_give_up_at_their_deadline():
    one = Noted(gate_open=False)
    one.offer("stuck")
    assert not one.flush(0.01)
    assert not one.close(0.01) and not one.stopped
    one.gate.set()
    assert one.close(5.0)
