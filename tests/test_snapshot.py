"""Snapshots against a brute-force oracle: the client always knows exactly what it should."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from game import schema
from tests.crowd_views import KINDS, SLOTS, Fake, Viewer, encode_for
from tickstorm.games.world import KindView
from tickstorm.replication import history as history_module
from tickstorm.replication import snapshot
from tickstorm.replication.history import KindHistory
from tickstorm.replication.interest import CELL_SIZE, GROUPS, Grid, grid_of


def check(viewer: Viewer, fake: Fake, grid: Grid) -> None:
    """Brute force: one entity at a time, with nothing shared with the encoder but the grid."""
    row, column = divmod(viewer.now, grid.width)
    for kind, view in zip(KINDS, fake.views, strict=True):
        expected = []
        for slot in np.flatnonzero(view.present):
            x = min(int(view.x[slot] // CELL_SIZE), grid.side - 1)
            y = min(int(view.y[slot] // CELL_SIZE), grid.side - 1)
            if abs(x + 1 - column) <= 1 and abs(y + 1 - row) <= 1:
                expected.append(slot)
        known = viewer.world.kinds[kind.name]
        assert known.ids.tolist() == expected
        for part in (view.mutable, view.static):
            for name in part.dtype.names or ():
                assert known[name].tolist() == part[name][expected].tolist(), name


def play(seed: int, side: int, ticks: int, viewers: int, skip: float) -> None:
    rng = np.random.default_rng(seed)
    fake, grid = Fake(seed, side), Grid(side * CELL_SIZE)
    histories = [KindHistory(kind, SLOTS, grid) for kind in KINDS]
    crowd = [Viewer() for _ in range(viewers)]
    eyes = rng.uniform(0, fake.size, (viewers, 2))
    for tick in range(1, ticks + 1):
        fake.step(tick)
        for history, view in zip(histories, fake.views, strict=True):
            history.record(tick, view)
        eyes += rng.uniform(-200, 200, eyes.shape)
        jump = rng.random(viewers) < 0.05
        eyes[jump] = rng.uniform(0, fake.size, (jump.sum(), 2))
        eyes = np.clip(eyes, 0, fake.size - 1)
        before = np.array([v.now for v in crowd])
        for v, cell in zip(crowd, grid.viewer_cell(before, *eyes.T), strict=True):
            v.now = int(cell)
        due = [v for v in crowd if rng.random() >= skip]
        for v, body in zip(due, encode_for(due, tick, histories), strict=True):
            v.take(tick, body)
            check(v, fake, grid)


@settings(max_examples=15, deadline=None, print_blob=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    side=st.sampled_from([2, 3, 5, 8]),
    skip=st.sampled_from([0.0, 0.3, 0.9, 0.97]),
)
def test_a_client_knows_exactly_what_is_in_its_block_whatever_it_skipped(seed, side, skip):
    play(seed, side, ticks=80, viewers=4, skip=skip)


def play_together(seed: int, interest: str, ticks: int, skip: float) -> None:
    """The same where all see all, or each group its own; shots are for everyone in any case."""
    rng = np.random.default_rng(seed)
    fake, grid = Fake(seed, 4), grid_of(interest, 4 * CELL_SIZE)
    kinds = [replace(kind, seen="all") if kind is schema.SHOT else kind for kind in KINDS]
    histories = [KindHistory(kind, SLOTS, grid) for kind in kinds]
    numbers = [0, 1, 2, GROUPS - 1]
    groups = [rng.choice(numbers, SLOTS).astype(np.uint8) for _ in KINDS]
    crowd = [Viewer() for _ in range(5)]
    theirs = rng.choice(numbers, len(crowd))
    for tick in range(1, ticks + 1):
        fake.step(tick)
        for group in (*groups, theirs):  # they change sides, entities in the midst of their lives
            turns = rng.random(len(group)) < 0.04
            group[turns] = rng.choice(numbers, turns.sum())
        for history, view, group in zip(histories, fake.views, groups, strict=True):
            history.record(tick, view._replace(group=group if interest == "groups" else None))
        before, places = np.array([v.now for v in crowd]), rng.uniform(0, fake.size, (2, 5))
        rooms = theirs if interest == "groups" else None
        for v, cell in zip(crowd, grid.viewer_cell(before, *places, rooms), strict=True):
            v.now = int(cell)
        due = [i for i in range(len(crowd)) if rng.random() >= skip]
        bodies = encode_for([crowd[i] for i in due], tick, histories)
        for i, body in zip(due, bodies, strict=True):
            crowd[i].take(tick, body)
            for kind, view, group in zip(kinds, fake.views, groups, strict=True):
                seen = view.present.copy()
                if interest == "groups" and not kind.seen:
                    seen &= group == theirs[i]
                known = crowd[i].world.kinds[kind.name]
                assert known.ids.tolist() == np.flatnonzero(seen).tolist()
                for part in (view.mutable, view.static):
                    for name in part.dtype.names or ():
                        assert known[name].tolist() == part[name][seen].tolist(), name


@settings(max_examples=15, deadline=None, print_blob=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    interest=st.sampled_from(["all", "groups"]),
    skip=st.sampled_from([0.0, 0.3, 0.9, 0.97]),
)
def test_a_client_knows_exactly_what_its_group_sees_whatever_it_skipped(seed, interest, skip):
    play_together(seed, interest, ticks=80, skip=skip)


@pytest.mark.parametrize("age", [1, 2, 30, 31, 32, 33, 64])
def test_a_baseline_of_any_age_gives_the_exact_world(age):
    fake, grid = Fake(age, 3), Grid(3 * CELL_SIZE)
    histories = [KindHistory(kind, SLOTS, grid) for kind in KINDS]
    viewer = Viewer()
    viewer.now = int(grid.cell_of(np.float32([1500]), np.float32([1500]))[0])
    for tick in range(1, 200):
        fake.step(tick)
        for history, view in zip(histories, fake.views, strict=True):
            history.record(tick, view)
        if tick % age == 0:
            viewer.take(tick, encode_for([viewer], tick, histories)[0])
            check(viewer, fake, grid)


def one_ship_world(tick: int, x: float, born: int = 1, **columns) -> KindView:
    mutable = np.zeros(SLOTS, schema.SHIP.dtype("delta", "state"))
    mutable["x"][7], mutable["y"][7] = x / 0.5, 1000
    for name, value in columns.items():
        mutable[name][7] = value
    present = np.arange(SLOTS) == 7
    place = np.full(SLOTS, 500, np.float32)
    return KindView(
        present,
        np.where(present, born, 0),
        np.where(present, np.float32(x), place),
        place,
        mutable,
        np.zeros(SLOTS, schema.SHIP.dtype("static")),
    )


def ship_bodies(*views: KindView) -> list[bytes]:
    """Bodies that a viewer in the corner cell is sent for these ticks, the first a full one."""
    grid = Grid(4 * CELL_SIZE)
    history = KindHistory(schema.SHIP, SLOTS, grid)
    cell = grid.cell_of(np.float32([500]), np.float32([500])).astype(np.int64)
    bodies = []
    for tick, view in enumerate(views, 1):
        history.record(tick, view)
        age = np.array([0 if tick == 1 else 1])
        bodies += snapshot.encode(tick, [history], snapshot.group(cell, age, cell)[0]).cut()
    return bodies


def test_a_moving_ship_costs_three_bytes_and_a_bit():
    _, body = ship_bodies(one_ship_world(1, 500), one_ship_world(2, 520, heading=3))
    assert body == bytes([1, 0, 0, 0, 0, 1, 40, 0, 3])


def test_a_ship_that_does_nothing_costs_nothing():
    assert ship_bodies(one_ship_world(1, 500), one_ship_world(2, 500))[1] == b"\0"


def test_a_heading_wraps_and_a_step_of_64_units_escapes_to_a_full_row():
    near, far = (
        ship_bodies(one_ship_world(1, 500, heading=250), one_ship_world(2, x, heading=4))[1]
        for x in (563.5, 564)
    )
    assert near == bytes([1, 0, 0, 0, 0, 1, 127, 0, 10])
    assert (
        far
        == bytes([1, 0, 0, 0, 0, 1, 128, 0, 0])
        + np.array([(1128, 1000, 4, 0, 0, 0)], schema.SHIP.dtype("delta", "state")).tobytes()
    )


def test_a_reused_slot_leaves_and_enters_in_one_snapshot():
    _, body = ship_bodies(one_ship_world(1, 500), one_ship_world(2, 500, born=2))
    assert body[:9] == bytes([1, 1, 0, 1, 0, 7, 0]) + bytes([7, 0])


def test_respawning_outside_the_block_is_only_a_leave():
    _, body = ship_bodies(one_ship_world(1, 500), one_ship_world(2, 3000, born=2))
    assert body == bytes([1, 1, 0, 0, 0, 7, 0])


def test_clients_with_the_same_view_share_one_body():
    groups, member_of = snapshot.group(
        np.array([5, 5, 5, 6]), np.array([1, 1, 40, 1]), np.array([5, 5, 9, 5])
    )
    assert len(groups.cell) == 3
    assert member_of[0] == member_of[1] and len(set(member_of.tolist())) == 3
    assert groups.age[member_of[2]] == snapshot.FULL_AGE


def test_a_crowd_takes_turns_and_everyone_is_fresh_within_a_few_ticks(monkeypatch):
    monkeypatch.setattr(history_module, "NEAR_ROWS", 100)
    monkeypatch.setattr(history_module, "FAR_ROWS", 25)
    n = 1000
    grid = Grid(2 * CELL_SIZE)
    history = KindHistory(schema.SHIP, n, grid)
    rng = np.random.default_rng(5)
    view = Fake(1, 2, n).empty(schema.SHIP)
    view.present[:] = True
    view.x[:], view.y[:] = rng.uniform(0, 1024, n), rng.uniform(0, 1024, n)
    corner = np.float32([500]), np.float32([500])
    inside, beside = Viewer(), Viewer()
    inside.now = int(grid.cell_of(*corner)[0])
    beside.now = inside.now + 1
    recent = []
    for tick in range(1, 60):
        if tick > 1:  # small enough for one byte even after a stride of 40 ticks
            view.x[:] = np.clip(view.x + rng.uniform(0.5, 1, n), 0, 1023)
        view.mutable["x"], view.mutable["y"] = view.x * 2, view.y * 2
        recent.append(view.mutable["x"].copy())
        history.record(tick, view)
        for viewer, stride, rows in ((inside, 10, 100), (beside, 40, 25)):
            groups, _ = snapshot.group(
                np.array([viewer.now]), np.array([tick - viewer.tick]), np.array([viewer.cell])
            )
            (body,) = snapshot.encode(tick, [history], groups).cut()
            declaration_body = body
            viewer.take(tick, declaration_body)
            known = viewer.world.kinds["ship"]
            assert len(known) == n, "everyone is seen at once"
            if tick > 1:
                assert len(body) <= 1 + 4 + n // 8 + 3 * rows
            window = np.array(recent[-stride:])
            assert (known["x"] == window).any(axis=0).all(), "nobody is older than the stride"
