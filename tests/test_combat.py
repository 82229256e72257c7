"""Guns, shots in flight, and hits against the past that the shooter saw."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import game
from game.grid import ROOM_WIDTH, Grid, pairs
from game.movement import DIRECTION_X, DIRECTION_Y, move
from game.schema import ALIVE, BUTTON_FIRE
from tickstorm.games.world import WorldSettings

F = np.float32
SHOT = 1
RADIUS = 18 + 6


def make(ships, tick_hz=20, rewind=True, players=16):
    """A world without orbs and without protection, with ships at [(x, y), ...]."""
    settings = WorldSettings(tick_hz, players, {"size": 6144, "orbs": 0})
    world = game.create_world(settings, 7)
    world.rewind_enabled = rewind
    for x, y in ships:
        world.place(world.join("p", False), x, y)
    world.ships.protected_until[:] = 0
    return world


def step(world, *rows, ticks=1):
    array = np.zeros(len(rows), game.STEP_COMMAND)
    for row, values in zip(array, rows):
        for name, value in values.items():
            row[name] = value
    for _ in range(ticks):
        world.step(array)


def me(world, slot):
    return world.self_rows(np.array([slot]))[0]


def hp(world, slot):
    return int(world.ships.hp[slot])


def shots(world):
    return int(np.count_nonzero(world.view()[SHOT].present))


FIRE = {"slot": 0, "buttons": BUTTON_FIRE}


# Guns.


def test_holding_fire_shoots_once_per_cooldown():
    world = make([(3000, 3000)])
    fired, cooldowns = [], []
    for _ in range(9):
        before = world.ships.energy[0]
        step(world, FIRE)
        fired.append(bool(world.ships.energy[0] < before))
        cooldowns.append(int(me(world, 0)["cooldown"]))
    assert fired == [True, False, False, False] * 2 + [True]
    assert cooldowns == [4, 3, 2, 1] * 2 + [4]


def test_a_gun_without_energy_stays_silent():
    world = make([(3000, 3000)])
    world.ships.energy[0] = 1
    step(world, FIRE)
    assert shots(world) == 0 and me(world, 0)["cooldown"] == 0


@pytest.mark.parametrize(("power", "count"), [(0, 1), (1, 2), (2, 3), (3, 3)])
def test_a_volley_has_as_many_shots_as_its_power_and_one_seq(power, count):
    world = make([(3000, 3000)])
    world.ships.power[0] = power
    step(world, FIRE | {"seq": 77, "aim": 256})
    view = world.view()[SHOT]
    rows = view.static[view.present]
    assert len(rows) == count and set(rows["seq"]) == {77} and set(rows["owner"]) == {0}
    assert set(rows["born"]) == {world.tick}
    assert sorted(set(rows["aim"])) == ([256] if power < 2 else [236, 256, 276])


def test_twin_shots_fly_side_by_side():
    world = make([(3000, 3000)])
    world.ships.power[0] = 1
    step(world, FIRE)
    view = world.view()[SHOT]
    assert view.static["y"][view.present].tolist() == [2 * 2993, 2 * 3007]


def test_a_shot_is_on_the_line_of_its_wire_row_as_long_as_it_lives():
    world = make([(3000, 3000)])
    step(world, FIRE | {"aim": 100})
    rules = world.rules()
    first = world.view()[SHOT].static[0].copy()
    for age in range(18):
        view = world.view()[SHOT]
        assert view.present[0]
        x = first["x"] / 2 + DIRECTION_X[first["aim"]] * rules["shot_speed"] * rules["dt"] * age
        y = first["y"] / 2 + DIRECTION_Y[first["aim"]] * rules["shot_speed"] * rules["dt"] * age
        assert view.x[0] == pytest.approx(x, abs=0.3) and view.y[0] == pytest.approx(y, abs=0.3)
        step(world, {"slot": 0})
    assert rules["shot_life_ticks"] == 18 and shots(world) == 0


def test_shots_end_at_the_edge_of_the_world():
    world = make([(6100, 3000)])
    step(world, FIRE)
    step(world, {"slot": 0})
    assert shots(world) == 0


def test_a_full_shot_table_counts_what_it_refuses_but_the_gun_has_fired():
    world = make([(3000, 3000)])
    world.shots.claim(world.shots.capacity - 1, 0)
    world.ships.power[0] = 2
    step(world, FIRE)
    assert world.shots_refused == 2
    assert me(world, 0)["cooldown"] == 4 and me(world, 0)["energy"] == 93


# Hits.


def test_a_hit_takes_hp_and_knocks():
    world = make([(3000, 3000), (3100, 3000)])
    step(world, FIRE)
    step(world, {"slot": 0}, ticks=2)
    assert hp(world, 1) == 80 and shots(world) == 0
    assert me(world, 1)["vx"] == pytest.approx(50, rel=1e-3) and me(world, 1)["vy"] == 0


def test_five_hits_destroy():
    world = make([(3000, 3000), (3100, 3000)])
    left = []
    while not world.feed() and world.tick < 60:
        step(world, FIRE)
        left.append(hp(world, 1))
    assert sorted(set(left), reverse=True) == [100, 80, 60, 40, 20, 0]
    assert not me(world, 1)["flags"] & ALIVE and me(world, 0)["streak"] == 1


def test_a_shot_hits_the_nearest_of_two_in_line():
    world = make([(3000, 3000), (3062, 3000), (3045, 3000)])
    step(world, FIRE)
    step(world, {"slot": 0})
    assert (hp(world, 1), hp(world, 2)) == (100, 80)


def test_point_blank_is_a_hit():
    world = make([(3000, 3000), (3030, 3000)])
    step(world, FIRE)
    step(world, {"slot": 0})
    assert hp(world, 1) == 80


def test_a_shot_does_not_hit_its_own_ship():
    world = make([(3000, 3000)])
    world.ships.vx[0] = 900
    for _ in range(20):
        step(world, FIRE | {"aim": 0})
    assert hp(world, 0) == 100


def test_nothing_tunnels_through_a_shot_at_ten_ticks_per_second():
    # Head on: 100 units per tick against 90; a test of positions alone would miss most.
    for start in range(3400, 3600, 7):
        world = make([(3000, 3000), (start, 3010)], tick_hz=10)
        step(world, FIRE)
        for _ in range(8):
            world.ships.vx[1] = -890
            step(world, {"slot": 0})
        assert hp(world, 1) == 80, start


def test_the_first_fatal_hit_gets_the_kill():
    world = make([(3000, 3000), (3200, 3000), (3108, 3000)])
    world.ships.hp[2] = 20
    # The victim is 108 from the left and 92 from the right shooter: the right hits first.
    step(world, FIRE, {"slot": 1, "aim": 512, "buttons": BUTTON_FIRE})
    for _ in range(3):
        step(world, {"slot": 0}, {"slot": 1})
    assert (world.ships.streak[:3] == [0, 1, 0]).all()


def test_a_protected_ship_cannot_be_hit():
    world = make([(3000, 3000), (3100, 3000)])
    world.ships.protected_until[1] = 1000
    step(world, FIRE, ticks=20)
    assert hp(world, 1) == 100


# Fair shots.


def trial(rng, delay, claimed=None, rewind=True):
    """Whether one shot hits, aimed perfectly at a ship that crosses at 340 units/s and is
    drawn `delay` ticks late; `claimed` is what the client says of that delay."""
    bearing = rng.uniform(0, 2 * np.pi)
    course = bearing + rng.choice([-1, 1]) * rng.uniform(np.pi / 3, 2 * np.pi / 3)
    away = rng.uniform(200, 450) * np.array([np.cos(bearing), np.sin(bearing)])
    velocity = 340 / 20 * np.array([np.cos(course), np.sin(course)])  # units per tick
    start = 3000 + away - 10 * velocity
    world = make([(3000, 3000), start], rewind=rewind)

    def advance(**command):
        kept = velocity * 20 / float(world.constants.movement.drag)
        world.ships.vx[1], world.ships.vy[1] = kept
        view_delay = min(round(16 * delay) if claimed is None else claimed, 255)
        step(world, {"slot": 0, "view_delay": view_delay, **command})

    for _ in range(10):
        advance()
    now = world.tick + 1  # the tick at which the shot leaves the muzzle
    flight = 0.0
    for _ in range(30):  # until the shot meets the ship on the shooter's screen
        seen = start + velocity * (now + flight - delay) - 3000
        flight = (np.hypot(*seen) - 16) / 50
    advance(
        aim=round(np.arctan2(seen[1], seen[0]) * 1024 / (2 * np.pi)) % 1024, buttons=BUTTON_FIRE
    )
    for _ in range(18):
        advance()
    return hp(world, 1) < 100


def hits(delay, trials=60, **options):
    rng = np.random.default_rng(11)
    return sum(trial(rng, delay, **options) for _ in range(trials)) / trials


def test_without_latency_a_perfect_shot_hits():
    assert hits(0) >= 0.95


@pytest.mark.parametrize("delay", [1, 2.4375, 3, 5])
def test_a_shot_that_looked_like_a_hit_is_one(delay):
    assert hits(delay) >= 0.95 * hits(0)


def test_without_rewinding_the_same_shots_mostly_miss():
    assert hits(3, rewind=False) <= 0.2


def test_nobody_gets_more_than_250_ms():
    assert hits(5, claimed=255) >= 0.95
    assert hits(8) <= 0.1


def test_a_false_view_delay_makes_shots_miss():
    assert hits(0, claimed=80) <= 0.1 and hits(5, claimed=0) <= 0.1


@pytest.mark.parametrize(("tick_hz", "most"), [(10, 40), (20, 80), (60, 240)])
def test_view_delay_is_clamped_to_250_ms_at_any_tick_rate(tick_hz, most):
    world = make([(3000, 3000)], tick_hz=tick_hz)
    step(world, FIRE | {"view_delay": 255})
    assert world.shots.view_delay.tolist() == [most]


def test_a_view_delay_cannot_be_chosen_for_each_shot():
    world = make([(3000, 3000)])
    step(world, FIRE | {"view_delay": 40})
    delays = []
    for i in range(40):
        step(world, FIRE | {"view_delay": 0 if i % 8 < 4 else 255})
        delays.append(int(world.ships.view_delay[0]))
    assert np.abs(np.diff(delays)).max() <= 2
    assert 30 <= min(delays) and max(delays) <= 50


def test_a_true_change_of_view_delay_is_followed_within_a_second():
    world = make([(3000, 3000)])
    step(world, {"slot": 0, "view_delay": 30})
    step(world, {"slot": 0, "view_delay": 62}, ticks=16)
    assert world.ships.view_delay[0] == 62


def shoot_at_the_past(happens):
    """Hp lost by a ship that stood at (3200, 3000), shot at there by someone who sees it
    250 ms late, while `happens(world)` two ticks after the shot was fired."""
    world = make([(3000, 3000), (3200, 3000)])
    step(world, {"slot": 0, "view_delay": 80}, ticks=10)
    step(world, FIRE | {"view_delay": 80})
    step(world, {"slot": 0, "view_delay": 80}, ticks=2)
    happens(world)
    before = hp(world, 1)
    step(world, {"slot": 0, "view_delay": 80}, ticks=16)
    return before - hp(world, 1)


def test_a_ship_that_flew_on_is_hit_where_it_was_seen():
    def fly_on(world):
        world.ships.vy[1] = 800

    assert shoot_at_the_past(fly_on) == 20
    assert shoot_at_the_past(lambda world: None) == 20


def test_a_ship_that_was_placed_elsewhere_is_not_hit_where_it_was():
    assert shoot_at_the_past(lambda world: world.place(1, 5000, 5000)) == 0


def test_a_ship_that_respawned_is_not_hit_where_it_was():
    def die_and_respawn(world):
        world.sea.bury(np.array([1]))
        world.ships.respawn[1] = 1
        step(world, {"slot": 0, "view_delay": 80})
        world.ships.protected_until[1] = 0

    assert shoot_at_the_past(die_and_respawn) == 0


def test_a_wreck_is_not_hit_where_it_was():
    assert shoot_at_the_past(lambda world: world.sea.bury(np.array([1]))) == 0


def test_a_newcomer_in_a_reused_slot_is_not_hit_where_the_former_ship_was():
    def leave_and_join(world):
        world.leave(1)
        assert world.join("new", False) == 1
        world.ships.protected_until[1] = 0

    assert shoot_at_the_past(leave_and_join) == 0


# Against brute force.


def victims(shot, ships, protected, track, now):
    """What one shot hit on its way to tick `now`, in float64 and with every ship tried:
    slots that it may have hit, and whether it is certain (there is one, by a margin)."""
    whole, part = shot["view_delay"] // 16, shot["view_delay"] % 16 / 16

    def seen(tick):
        return track[tick] if part == 0 else (1 - part) * track[tick] + part * track[tick - 1]

    start, end = seen(now - whole - 1), seen(now - whole)
    x, y = np.array([shot["x"], shot["y"]])[:, None] - start
    dx, dy = np.array([shot["dx"], shot["dy"]])[:, None] - (end - start)
    a, b, c = dx * dx + dy * dy, x * dx + y * dy, x * x + y * y - RADIUS**2
    nearest = np.clip(-b / a, 0, 1)
    gap = np.hypot(x + nearest * dx, y + nearest * dy) - RADIUS
    moment = np.where(c <= 0, 0, (-b - np.sqrt(np.maximum(b * b - a * c, 0))) / a)
    fair = (ships.born <= now - whole - 1 - (part > 0)) & ~protected
    fair[shot["owner"]] = False

    certain, possible = fair & (gap < -0.01), fair & (gap < 0.01)
    first = moment[certain].min(initial=2)
    hit = np.flatnonzero(possible & (moment < first + 1e-3))
    return hit, hit.size == 1 and certain[hit[0]]


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([10, 20, 60]))
def test_hits_are_those_that_a_test_of_every_pair_finds(seed, tick_hz):
    rng = np.random.default_rng(seed)
    n, size = 30, 800
    world = make(rng.uniform(2600, 2600 + size, (n, 2)), tick_hz=tick_hz, players=n)
    ships = world.ships
    track = {tick: np.zeros((2, n)) for tick in range(-20, 1)}
    checked = 0
    for _ in range(60):
        for slot in np.flatnonzero(rng.random(n) < 0.01):
            world.place(slot, *rng.uniform(2600, 2600 + size, 2))
        protected = rng.random(n) < 0.1
        ships.protected_until[:] = np.where(protected, 10**6, 0)
        ships.hp[:], ships.energy[:], ships.power[:] = 10_000, 100, rng.integers(0, 4, n)
        ships.vx[:], ships.vy[:] = rng.uniform(-900, 900, (2, n))  # as fast as knocks may make it
        names = ("x", "y", "dx", "dy", "owner", "damage", "view_delay")
        flying = [
            {name: getattr(world.shots, name)[i].item() for name in names}
            for i in np.flatnonzero(world.shots.present)
        ]
        rows = np.zeros(n, game.STEP_COMMAND)
        rows["slot"], rows["aim"] = np.arange(n), rng.integers(0, 1024, n)
        rows["move"], rows["buttons"] = rng.integers(0, 256, n), rng.integers(0, 8, n)
        rows["view_delay"] = rng.integers(0, 256, n)
        world.step(rows)
        track[world.tick] = np.array([ships.x, ships.y], float)

        damage, unclear = np.zeros(n), np.zeros(n, bool)
        for shot in flying:
            hit, certain = victims(shot, ships, protected, track, world.tick)
            damage[hit] += shot["damage"]
            unclear[hit] |= not certain
            checked += certain
        assert np.array_equal((10_000 - ships.hp)[~unclear], damage[~unclear])
    assert checked > 20


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 200), st.floats(10, 400))
def test_the_grid_finds_all_that_are_near_in_the_same_room_and_nobody_else(seed, n, reach):
    rng = np.random.default_rng(seed)
    for rooms in (1, 5):
        grid = Grid(ROOM_WIDTH if rooms > 1 else 20, rooms)
        size = rng.choice([1000, 2000, 3000], rooms)
        for i in range(rooms):
            grid.place(i, size[i], reach)
        room, query_room = rng.integers(0, rooms, n), rng.integers(0, rooms, 20)
        x, y = (rng.uniform(0, 1, (2, n)) * size[room]).astype(F)
        query_x, query_y = (rng.uniform(-0.1, 1.1, (2, 20)) * size[query_room]).astype(F)
        order, start = grid.sort(x, y, room)
        first, last = grid.runs(query_x, query_y, query_room)
        query, position = pairs(start[first], start[last])
        found = set(zip(query.tolist(), order[position].tolist()))
        assert len(found) == len(query)
        near = (np.abs(query_x[:, None] - x) < reach - 0.01) & (
            np.abs(query_y[:, None] - y) < reach - 0.01
        )
        near &= query_room[:, None] == room
        assert set(zip(*(axis.tolist() for axis in np.nonzero(near)))) <= found
        assert all(query_room[q] == room[slot] for q, slot in found)


# What the browser predicts.


def test_the_documented_order_predicts_the_own_ship_and_its_shots_to_the_bit():
    world = make([(300, 300)])
    rules, rng = world.rules(), np.random.default_rng(5)
    x, y, vx, vy, energy = (
        me(world, 0)[name].reshape(1) for name in ("x", "y", "vx", "vy", "energy")
    )
    cooldown = 0
    world.ships.power[0] = power = 1
    volleys = 0
    for tick in range(1, 2000):
        if tick % 25 == 1:
            direction, buttons = rng.integers(0, 256), rng.integers(0, 8)
        aim = int(rng.integers(0, 1024))
        row = {"slot": 0, "seq": tick, "aim": aim, "move": direction, "buttons": buttons}
        step(world, row)

        x, y, vx, vy, energy, _ = move(
            x,
            y,
            vx,
            vy,
            energy,
            np.uint8([direction]),
            np.uint8([buttons]),
            world.constants.movement,
        )
        cooldown = max(cooldown - 1, 0)
        cost = F(rules[f"gun{power}_energy"])
        if buttons & BUTTON_FIRE and cooldown == 0 and energy[0] >= cost:
            energy = energy - cost
            cooldown = rules[f"gun{power}_cooldown"]
            volleys += 1
            view = world.view()[SHOT]
            born = view.present & (view.born == world.tick)
            for i, slot in enumerate(np.flatnonzero(born)):
                side, muzzle = F(rules[f"gun{power}_side{i}"]), F(rules["muzzle"])
                assert view.x[slot] == x[0] + DIRECTION_X[aim] * muzzle - DIRECTION_Y[aim] * side
                assert view.y[slot] == y[0] + DIRECTION_Y[aim] * muzzle + DIRECTION_X[aim] * side
                assert view.static["seq"][slot] == tick
            assert np.count_nonzero(born) == rules[f"gun{power}_shots"]
        mine = me(world, 0)
        assert (mine["x"], mine["y"], mine["vx"], mine["vy"]) == (x[0], y[0], vx[0], vy[0])
        assert mine["energy"] == energy[0] and mine["cooldown"] == cooldown
    assert volleys > 100
