"""Orbs: what lies about, who collects it, and what wrecks leave behind."""

from __future__ import annotations

from collections import deque

import numpy as np

from tickstorm.games.chance import chance
from tickstorm.games.table import Table, ranks

from .chances import DROP, SCATTER
from .combat import History
from .grid import Grid, pairs
from .rooms import Rooms
from .rules import (
    CHARGE_PER_POWER,
    DROP_MAX,
    DROP_REACH,
    MAX_HP,
    MAX_POWER,
    ORB_ENERGY,
    ORB_HP,
    ORB_REACH,
    ORB_SCORE,
    Rules,
)
from .schema import quantise

F = np.float32

ORB_COLUMNS = [
    ("x", "<f4"),
    ("y", "<f4"),
    ("value", "u1"),
    ("until", "<i8"),  # tick at which it vanishes, 0 for never
]

EDGE = 24.0
"""Orbs lie at least this far from the world's edge, where every ship can reach them."""


STALE_SHARE, STALE_LEAST = 0.02, 64
"""Orbs are sorted anew when so many have come since: a share of them, and a number at least."""


class Ground:
    """Where orbs lie, by cell, and when the wrecks' are gone.

    Orbs don't move, so an order of a few ticks ago still finds all that were there; those that
    have come since are looked at one by one. What has gone is passed over.
    """

    def __init__(self, grid: Grid):
        self.grid = grid
        self.fresh: list[np.ndarray] = []
        """int64[k] each: slots that have been laid since they were sorted last."""
        self._sorted = False
        self._order = np.zeros(0, np.int64)
        self._start = np.zeros(1, np.int64)
        self._expiring: deque[tuple[int, np.ndarray]] = deque()

    def forget(self, orbs: Table) -> None:
        """Rows have come, or moved, that nobody laid: look at all of them again."""
        self._sorted = False
        self._expiring.clear()
        slots = np.flatnonzero(orbs.until)
        slots = slots[np.argsort(orbs.until[slots], kind="stable")]
        for some in np.split(slots, np.flatnonzero(np.diff(orbs.until[slots])) + 1):
            if some.size:
                self._expiring.append((int(orbs.until[some[0]]), some))

    def will_expire(self, slots: np.ndarray, tick: int) -> None:
        """These are gone at `tick`, which is no earlier than that of any before."""
        self._expiring.append((tick, slots))

    def expired(self, orbs: Table, tick: int) -> np.ndarray:
        """int64[n]: whose time is over at `tick`."""
        found = [np.zeros(0, np.int64)]
        while self._expiring and self._expiring[0][0] <= tick:
            until, slots = self._expiring.popleft()
            slots = slots[slots < orbs.used]
            found.append(slots[orbs.until[slots] == until])  # others were collected
        return np.concatenate(found)

    def near(self, orbs: Table, ships: Table, reach: float) -> tuple[np.ndarray, np.ndarray]:
        """Ships that may be in reach of orbs, without the fresh: ``(orb, ship)``, int64[k] each.
        Some of these orbs may have gone, and others lie in their slots."""
        fresh = sum(map(len, self.fresh))
        if not self._sorted or fresh > max(STALE_LEAST, STALE_SHARE * self._order.size):
            lying = np.flatnonzero(orbs.present)
            order, self._start = self.grid.sort(orbs.x[lying], orbs.y[lying], orbs.room[lying])
            self._order = lying[order]
            self._sorted = True
            self.fresh.clear()
        ship = np.flatnonzero(ships.alive)
        x, y = ships.x[ship], ships.y[ship]
        first, last = self.grid.runs(x, y, ships.room[ship])
        query, position = pairs(self._start[first], self._start[last])
        orb = self._order.take(position)
        inside = orb < orbs.used
        orb, ship = orb[inside], ship[query[inside]]
        keep = orbs.present[orb]
        return orb[keep], ship[keep]


def lay(
    orbs: Table,
    rooms: Rooms,
    ground: Ground,
    room: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    value: np.ndarray,
    tick: int,
) -> np.ndarray:
    """Put orbs of rooms (intp[n], equal ones together) at places (float64[n]) with values (int[n]);
    returns their slots, int64[k].

    Those that find no row are not put: the last ones of a room.
    """
    slot, found = orbs.claim_each(room, tick)
    if slot.size < found.size:
        room, x, y, value = room[found], x[found], y[found], value[found]
    far = rooms.each(rooms.size, room) - F(EDGE)
    orbs.x[slot] = np.clip(x, EDGE, far)
    orbs.y[slot] = np.clip(y, EDGE, far)
    orbs.value[slot] = value
    orbs.static["x"][slot] = quantise(orbs.x[slot])
    orbs.static["y"][slot] = quantise(orbs.y[slot])
    orbs.static["value"][slot] = orbs.value[slot]
    ground.fresh.append(slot)
    return slot


def scatter(orbs: Table, rooms: Rooms, ground: Ground, count: np.ndarray, tick: int) -> None:
    """Lay so many orbs (int64[rooms]) at random places of each room; one in five is worth two."""
    room = np.repeat(np.arange(count.size), count)
    roll = chance(rooms.seed[room], tick - rooms.epoch[room], SCATTER, ranks(room), 3)
    size = rooms.each(rooms.size, room)
    slot = lay(orbs, rooms, ground, room, roll[0] * size, roll[1] * size, 1 + (roll[2] < 0.2), tick)
    np.add.at(rooms.lying, orbs.room[slot], 1)


def renew(orbs: Table, rooms: Rooms, ground: Ground, tick: int) -> None:
    """Let what wrecks left vanish in time, and the rooms fill up again."""
    expired = ground.expired(orbs, tick)
    if expired.size:
        orbs.release(expired)
    missing = np.minimum(rooms.orbs - rooms.lying, rooms.refill)
    if missing.any():
        scatter(orbs, rooms, ground, missing, tick)


def drop(
    orbs: Table,
    ships: Table,
    rooms: Rooms,
    ground: Ground,
    wrecks: np.ndarray,
    rules: Rules,
    tick: int,
) -> None:
    """Scatter what ships (int64[k]) lose when they are destroyed, by charge and score."""
    wrecks = wrecks[rooms.orbs[ships.room[wrecks]] > 0]
    if not wrecks.size:
        return
    count = np.minimum(4 + ships.charge[wrecks] // 3 + ships.score[wrecks] // 200, DROP_MAX)
    wreck = np.repeat(wrecks, count)
    room = ships.room[wreck]
    who = ships.local(wreck) * DROP_MAX + ranks(wreck)
    away = chance(rooms.seed[room], tick - rooms.epoch[room], DROP, who, 2) * 2 - 1
    away *= DROP_REACH
    value = np.full(wreck.size, 2)
    x, y = ships.x[wreck] + away[0], ships.y[wreck] + away[1]
    slot = lay(orbs, rooms, ground, room, x, y, value, tick)
    orbs.until[slot] = tick + rules.drop
    ground.will_expire(slot, tick + rules.drop)


def collect(
    orbs: Table,
    ships: Table,
    rooms: Rooms,
    ground: Ground,
    history: History,
    rules: Rules,
    tick: int,
) -> None:
    """Give each orb in reach of living ships to the nearest of them, but for rooms at a podium."""
    if orbs.used == 0 or ships.used == 0:
        return
    orb, slot = ground.near(orbs, ships, ORB_REACH)
    if ground.fresh:
        fresh = np.concatenate(ground.fresh)
        fresh = fresh[fresh < orbs.used]
        fresh = fresh[orbs.present[fresh]]
        now, where = np.full(fresh.size, tick), orbs.room[fresh]
        query, ship = history.near(now, orbs.x[fresh], orbs.y[fresh], where, ORB_REACH, ships)
        orb, slot = np.concatenate((orb, fresh[query])), np.concatenate((slot, ship))
    dx, dy = ships.x[slot] - orbs.x[orb], ships.y[slot] - orbs.y[orb]
    distance = dx * dx + dy * dy
    near = (distance <= F(ORB_REACH * ORB_REACH)) & ships.alive[slot]
    if rooms.podium.any():
        near &= ~rooms.podium[ships.room[slot]]
    reached = np.flatnonzero(near)
    if reached.size == 0:
        return
    orb, slot, distance = orb[reached], slot[reached], distance[reached]
    order = np.lexsort((slot, distance, orb))
    nearest = order[np.r_[True, orb[order[1:]] != orb[order[:-1]]]]
    orb, slot = orb[nearest], slot[nearest]

    gained = np.bincount(slot, orbs.value[orb], minlength=ships.used).astype(np.int64)
    slot = np.flatnonzero(gained)
    gained = gained[slot]
    energy = ships.energy[slot] + gained.astype(F) * F(ORB_ENERGY)
    ships.energy[slot] = np.minimum(energy, rules.movement.max_energy)
    ships.hp[slot] = np.minimum(ships.hp[slot] + gained * ORB_HP, MAX_HP)
    ships.score[slot] += gained * ORB_SCORE
    ships.charge[slot] += gained
    ships.power[slot] = np.minimum(ships.charge[slot] // CHARGE_PER_POWER, MAX_POWER)
    np.subtract.at(rooms.lying, orbs.room[orb[orbs.until[orb] == 0]], 1)
    orbs.release(orb)
