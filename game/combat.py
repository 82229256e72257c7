"""Guns, shots in flight, and fair hits.

A player aims at what the screen shows, which is what the world looked like some
ticks ago: the *view delay*, `COMMAND.view_delay`. So a shot carries the delay of
its shooter, and in every tick of its flight it is tested against the targets
where they were that long ago (`History`). What looked like a hit is one.

What a forged view delay can gain:

* never more than 250 ms of rewind, whatever the client says;
* a ship's delay follows what its client claims by at most `VIEW_DELAY_SLEW`
  (2/16 of a tick per tick), so it can't be chosen for each shot: between two
  volleys it moves by less than 30 ms. A delay held for long is what an honest
  player with such a connection has;
* a target that is destroyed, protected, or elsewhere now because it respawned
  or was placed there, can't be hit where it was before.
"""

from __future__ import annotations

import numpy as np

from tickstorm.games.table import Table

from .grid import ROOM_WIDTH, Grid, pairs
from .movement import DIRECTION_COUNT, DIRECTION_X, DIRECTION_Y
from .rooms import Rooms
from .rules import KNOCK, MAX_SPEED, MUZZLE, SHIP_RADIUS, SHOT_RADIUS, Rules
from .schema import BUTTON_FIRE, quantise

F = np.float32

HIT_RADIUS = SHIP_RADIUS + SHOT_RADIUS

WIDEST = 128
"""Cells along a side of a room that has a grid to itself, at most."""

SHOT_COLUMNS = [
    ("x", "<f4"),  # where it is at the current tick
    ("y", "<f4"),
    ("dx", "<f4"),  # units per tick
    ("dy", "<f4"),
    ("owner", "<u2"),
    ("damage", "<i2"),
    ("view_delay", "<i2"),  # sixteenths of a tick, of its shooter when it was fired
]


class History:
    """Where ships were in the last ticks: a ring of positions, float32[depth, capacity].

    A row says nothing about whether a slot was taken then; compare with `born`.
    """

    def __init__(self, rules: Rules, capacity: int, rooms: int = 1):
        """`rules`: of one of the rooms; `rooms`: how many there can be."""
        self.depth = rules.max_view_delay // 16 + 3
        # From the middle of a shot's step to a ship that it hits within a tick, and a
        # little more against rounding.
        self.reach = float(rules.shot_step) / 2 + HIT_RADIUS + MAX_SPEED / rules.tick_hz + 2
        width = ROOM_WIDTH if rooms > 1 else max(1, min(WIDEST, int(rules.size / self.reach)))
        self.grid = Grid(width, rooms)
        self.x: np.ndarray = np.zeros((self.depth, capacity), F)
        self.y: np.ndarray = np.zeros((self.depth, capacity), F)
        # The same by cell, for the ticks that were asked for. `_start` counts through the
        # rows of the other three as if they were one array.
        self._order: np.ndarray = np.zeros((self.depth, capacity), np.int64)
        self._sorted_x: np.ndarray = np.zeros((self.depth, capacity), F)
        self._sorted_y: np.ndarray = np.zeros((self.depth, capacity), F)
        self._start = np.zeros((self.depth, self.grid.cells + 1), np.int64)
        self._sorted_tick = np.full(self.depth, -1, np.int64)

    def place(self, room: int, size: float, ships: Table) -> None:
        """A room begins: in its berth, nobody has a past."""
        self.grid.place(room, size, self.reach)
        self._sorted_tick[:] = -1
        missing = ships.capacity - self.x.shape[1]
        if missing > 0:
            self.x, self.y, self._order, self._sorted_x, self._sorted_y = (
                np.pad(ring, ((0, 0), (0, missing)))
                for ring in (self.x, self.y, self._order, self._sorted_x, self._sorted_y)
            )

    def record(self, tick: int, x: np.ndarray, y: np.ndarray) -> None:
        """Keep the positions (float32[n]) of a tick, over those of `depth` ticks ago."""
        row = tick % self.depth
        self.x[row, : x.size] = x
        self.y[row, : y.size] = y

    def near(
        self,
        tick: np.ndarray,
        x: np.ndarray,
        y: np.ndarray,
        room: np.ndarray,
        reach: float,
        ships: Table,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Ships that were near points at some tick.

        Args: `tick`: int64[m], among the recorded ones; `x y`: float32[m]; `room`: intp[m], where
        the points are; `reach`: at most `self.reach`.
        Returns: ``(query, slot)``, int64[k] each: all within `reach` along both axes.
        """
        used = ships.used
        self._sort(tick, ships)
        row = (tick % self.depth)[:, None]
        first, last = self.grid.runs(x, y, room)
        query, position = pairs(self._start[row, first], self._start[row, last])
        keep = np.abs(self._sorted_x.take(position) - x[query]) <= reach
        keep &= np.abs(self._sorted_y.take(position) - y[query]) <= reach
        query, slot = query[keep], self._order.take(position[keep])
        still = slot < used  # a tick may have been sorted when there were more
        return query[still], slot[still]

    def _sort(self, ticks: np.ndarray, ships: Table) -> None:
        """Sort by cell the ticks that are asked for and are not sorted yet: usually one."""
        used = ships.used
        for tick in np.unique(ticks):
            row = tick % self.depth
            if self._sorted_tick[row] != tick:
                x, y = self.x[row, :used], self.y[row, :used]
                order, start = self.grid.sort(x, y, ships.room)
                self._order[row, :used] = order
                self._sorted_x[row, :used], self._sorted_y[row, :used] = x[order], y[order]
                self._start[row, : start.size] = start + row * self.x.shape[1]
                self._sorted_tick[row] = tick


def fire(ships: Table, shots: Table, rooms: Rooms, rules: Rules, tick: int) -> None:
    """Fire the guns of all that want to and can; shots are at their muzzles at `tick`.

    A volley costs its energy and starts the cooldown even when there is no room for
    its shots, so that the client's prediction holds. `rooms.shots_refused` counts the
    shots that found none.
    """
    wants = ships.alive & ((ships.buttons & BUTTON_FIRE) != 0) & (ships.cooldown == 0)
    shooter = np.flatnonzero(wants & (ships.energy >= rules.gun_energy[ships.power]))
    if shooter.size == 0:
        return
    power = ships.power[shooter]
    ships.energy[shooter] -= rules.gun_energy[power]
    ships.cooldown[shooter] = rules.gun_cooldown[power]
    ships.protected_until[shooter] = 0

    count = rules.gun_shots[power]
    barrel = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
    shooter, power = np.repeat(shooter, count), np.repeat(power, count)
    slot, found = shots.claim_each(ships.room[shooter], tick)
    if slot.size < found.size:
        np.add.at(rooms.shots_refused, ships.room[shooter[~found]], 1)
        shooter, power, barrel = shooter[found], power[found], barrel[found]

    aim, side = ships.aim[shooter], rules.gun_side[power, barrel]
    x = ships.x[shooter] + DIRECTION_X[aim] * F(MUZZLE) - DIRECTION_Y[aim] * side
    y = ships.y[shooter] + DIRECTION_Y[aim] * F(MUZZLE) + DIRECTION_X[aim] * side
    aim = (aim + rules.gun_turn[power, barrel]) % DIRECTION_COUNT
    shots.x[slot], shots.y[slot] = x, y
    shots.dx[slot] = DIRECTION_X[aim] * rules.shot_step
    shots.dy[slot] = DIRECTION_Y[aim] * rules.shot_step
    shots.owner[slot] = shooter
    shots.damage[slot] = rules.gun_damage[power]
    shots.view_delay[slot] = ships.view_delay[shooter]

    shots.static["x"][slot], shots.static["y"][slot] = quantise(x), quantise(y)
    shots.static["aim"][slot] = aim
    shots.static["born"][slot] = (tick - rooms.epoch[ships.room[shooter]]) & 0xFFFF
    shots.static["owner"][slot] = ships.local(shooter)
    shots.static["seq"][slot] = ships.seq[shooter]


def fly(
    ships: Table,
    shots: Table,
    rooms: Rooms,
    history: History,
    rules: Rules,
    tick: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Move all shots by one tick; damage and knock what they hit.

    Shots that hit, reached the end of their life or left the world are released.
    Returns the ships destroyed and who did it, ``(killer, victim)``: int64[k] each,
    in the order of victims.
    """
    flying = np.flatnonzero(shots.present)
    if flying.size == 0:
        return flying, flying
    shot, victim = _first_hits(flying, ships, shots, rooms, history, tick)
    kills = _damage(shot, victim, ships, shots, rules)

    shots.x += shots.dx
    shots.y += shots.dy
    x, y = shots.x[flying], shots.y[flying]
    gone = (tick - shots.born[flying] >= rules.shot_life) | (x < 0) | (y < 0)
    size = rooms.each(rooms.size, shots.room[flying])
    gone |= (x >= size) | (y >= size)
    shots.release(np.concatenate((flying[gone], shot)))
    return kills


def _first_hits(
    flying: np.ndarray, ships: Table, shots: Table, rooms: Rooms, history: History, tick: int
) -> tuple[np.ndarray, np.ndarray]:
    """What each shot hits on its way through this tick: ``(shot, victim)``, int64[k] each.

    A shot flies from its position at tick - 1 to the one at `tick`, a target from where
    it was at tick - 1 - delay to tick - delay; both in straight lines, so in the
    target's frame the shot is a segment against a circle, and nothing tunnels. The
    order of the result is by victim, then by the moment of the hit.
    """
    delay = shots.view_delay[flying].astype(np.int64)
    delay *= rooms.each(rooms.rewind, shots.room[flying])
    whole, part = delay >> 4, delay & 15
    # The target's two positions lie between the records of these three ticks.
    last, middle, first = tick - whole, tick - whole - 1, tick - whole - 2
    dx, dy = shots.dx[flying], shots.dy[flying]
    x, y = shots.x[flying] + dx * F(0.5), shots.y[flying] + dy * F(0.5)
    query, victim = history.near(middle, x, y, shots.room[flying], history.reach, ships)

    oldest = np.where(part > 0, first, middle)
    fair = ships.alive & (ships.protected_until <= tick)
    keep = fair[victim] & (ships.born[victim] <= oldest[query])
    keep &= shots.owner[flying[query]] != victim
    query, victim = query[keep], victim[keep]

    weight = part[query].astype(F) * F(1 / 16)

    def path(record: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of the targets, along one axis: position at the start, and how far."""
        early = record[first[query] % history.depth, victim]
        mid = record[middle[query] % history.depth, victim]
        late = record[last[query] % history.depth, victim]
        start = mid + (early - mid) * weight
        return start, late + (mid - late) * weight - start

    target_x, target_dx = path(history.x)
    target_y, target_dy = path(history.y)
    shot = flying[query]
    x, y = shots.x[shot] - target_x, shots.y[shot] - target_y
    dx, dy = shots.dx[shot] - target_dx, shots.dy[shot] - target_dy
    when = _moment_of_contact(x, y, dx, dy, F(HIT_RADIUS))

    hit = np.flatnonzero(when <= 1)
    shot, victim, when = shot[hit], victim[hit], when[hit]
    order = np.lexsort((victim, when, shot))
    first_of_shot = np.ones(order.size, bool)
    first_of_shot[1:] = shot[order[1:]] != shot[order[:-1]]
    order = order[first_of_shot]
    order = order[np.lexsort((shot[order], when[order], victim[order]))]
    return shot[order], victim[order]


def _moment_of_contact(
    x: np.ndarray, y: np.ndarray, dx: np.ndarray, dy: np.ndarray, radius: np.float32
) -> np.ndarray:
    """When a point moving from (x, y) by (dx, dy) enters the circle around the origin.

    Args and result: float32[n]; the result is a share of the move, 0 when the point
    starts inside, infinite when it doesn't enter or only later than 1.
    """
    a = dx * dx + dy * dy
    b = x * dx + y * dy
    c = x * x + y * y - radius * radius
    root = b * b - a * c
    inside = c <= 0
    enters = (root >= 0) & (b < 0) & ~inside
    when = np.full(x.shape, np.inf, F)
    when[enters] = (-b[enters] - np.sqrt(root[enters])) / a[enters]
    when[inside] = 0
    when[when > 1] = np.inf
    return when


def _damage(
    shot: np.ndarray, victim: np.ndarray, ships: Table, shots: Table, rules: Rules
) -> tuple[np.ndarray, np.ndarray]:
    """Apply hits, which are sorted by victim and moment; returns ``(killer, victim)``."""
    if shot.size == 0:
        return shot, victim
    damage = shots.damage[shot].astype(np.int64)
    for velocity, step in ((ships.vx, shots.dx), (ships.vy, shots.dy)):
        np.add.at(velocity, victim, step[shot] * (F(KNOCK) / rules.shot_step))
        velocity[victim] = np.clip(velocity[victim], F(-MAX_SPEED), F(MAX_SPEED))

    first = np.flatnonzero(np.r_[True, victim[1:] != victim[:-1]])
    total = np.cumsum(damage)
    before = np.repeat(total[first] - damage[first], np.diff(np.r_[first, victim.size]))
    dealt = total - before  # by this hit and those before it, to this victim
    hp = ships.hp[victim]
    fatal = (dealt >= hp) & (dealt - damage < hp)
    killer, dead = shots.owner[shot[fatal]].astype(np.int64), victim[fatal]
    last = np.r_[first[1:] - 1, victim.size - 1]
    ships.hp[victim[last]] = np.maximum(hp[last] - dealt[last], 0)
    return killer, dead
