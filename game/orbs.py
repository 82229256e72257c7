"""Orbs: what lies about, who collects it, and what wrecks leave behind."""

from __future__ import annotations

import numpy as np

from tickstorm.games.table import Table

from .combat import History
from .rules import (
    CHARGE_PER_POWER,
    DROP_MAX,
    DROP_REACH,
    MAX_HP,
    MAX_POWER,
    ORB_ENERGY,
    ORB_HP,
    ORB_REACH,
    ORB_REFILL_S,
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


def lay(
    orbs: Table, x: np.ndarray, y: np.ndarray, value: np.ndarray, rules: Rules, tick: int
) -> np.ndarray:
    """Put orbs at places (float64[n]) with values (int[n]); returns their slots, int64[k].

    Those that have no room are not put: the last ones.
    """
    slot = orbs.claim(x.size, tick)
    orbs.x[slot] = np.clip(x[: slot.size], EDGE, rules.size - EDGE)
    orbs.y[slot] = np.clip(y[: slot.size], EDGE, rules.size - EDGE)
    orbs.value[slot] = value[: slot.size]
    orbs.static["x"][slot] = quantise(orbs.x[slot])
    orbs.static["y"][slot] = quantise(orbs.y[slot])
    orbs.static["value"][slot] = orbs.value[slot]
    return slot


def scatter(orbs: Table, count: int, rng: np.random.Generator, rules: Rules, tick: int) -> None:
    """Lay `count` orbs at random places; one in five is worth two."""
    roll = rng.random((3, count))
    lay(orbs, roll[0] * rules.size, roll[1] * rules.size, 1 + (roll[2] < 0.2), rules, tick)


def renew(orbs: Table, target: int, rng: np.random.Generator, rules: Rules, tick: int) -> None:
    """Let what wrecks left vanish in time, and the arena fill up again to `target`."""
    orbs.release(np.flatnonzero((orbs.until > 0) & (orbs.until <= tick)))
    missing = target - int(np.count_nonzero(orbs.present & (orbs.until == 0)))
    per_tick = int(np.ceil(target / (ORB_REFILL_S * rules.tick_hz)))
    if missing > 0:
        scatter(orbs, min(missing, per_tick), rng, rules, tick)


def drop(
    orbs: Table, ships: Table, wrecks: np.ndarray, rng: np.random.Generator, rules: Rules, tick: int
) -> None:
    """Scatter what ships (int64[k]) lose when they are destroyed, by charge and score."""
    count = np.minimum(4 + ships.charge[wrecks] // 3 + ships.score[wrecks] // 200, DROP_MAX)
    wreck = np.repeat(wrecks, count)
    away = (rng.random((2, wreck.size)) * 2 - 1) * DROP_REACH
    value = np.full(wreck.size, 2)
    x, y = ships.x[wreck] + away[0], ships.y[wreck] + away[1]
    slot = lay(orbs, x, y, value, rules, tick)
    orbs.until[slot] = tick + rules.drop


def collect(orbs: Table, ships: Table, history: History, rules: Rules, tick: int) -> None:
    """Give each orb in reach of living ships to the nearest of them."""
    lying = np.flatnonzero(orbs.present)
    if lying.size == 0 or ships.used == 0:
        return
    now = np.full(lying.size, tick)
    query, slot = history.near(now, orbs.x[lying], orbs.y[lying], ORB_REACH, ships.used)
    orb = lying[query]
    dx, dy = ships.x[slot] - orbs.x[orb], ships.y[slot] - orbs.y[orb]
    distance = dx * dx + dy * dy
    reached = np.flatnonzero((distance <= F(ORB_REACH * ORB_REACH)) & ships.alive[slot])
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
    orbs.release(orb)
