"""How a ship moves: the one function that server and browser must agree on to the bit.

`clients/web/movement.js` is this file's twin: the same operations in the same
order, each rounded to float32 (`Math.fround`). Only +, -, *, comparisons and a
shared table of directions are used, so IEEE 754 gives both the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .schema import BUTTON_BOOST, BUTTON_THRUST

F = np.float32

DIRECTION_COUNT = 1024

# Integers over 2**15 are exact in float32, so both languages build the same table
# although their cosines may differ in the last bit.
_ANGLES = np.arange(DIRECTION_COUNT) * (2 * np.pi / DIRECTION_COUNT)
DIRECTION_X = (np.round(np.cos(_ANGLES) * 32767) / 32768).astype(F)
DIRECTION_Y = (np.round(np.sin(_ANGLES) * 32767) / 32768).astype(F)
"""float32[1024]: the unit vector of each direction; y points down, as on the screen."""


@dataclass(frozen=True)
class MovementRules:
    """The constants of `move`, already in units per tick and rounded to float32.

    They travel to the client in WELCOME, so that nobody computes them twice.
    """

    dt: np.float32  # seconds per tick
    thrust_dv: np.float32  # velocity gained per tick of thrust, units/s
    boost_dv: np.float32  # the same while boosting
    drag: np.float32  # velocity kept per tick
    boost_energy: np.float32  # energy spent per tick of boost
    regain_energy: np.float32  # energy regained per tick otherwise
    max_energy: np.float32
    bounce: np.float32  # share of velocity kept, reversed, at the world's edge
    low: np.float32  # smallest coordinate of a ship's centre
    high: np.float32  # largest

    @classmethod
    def at(cls, tick_hz: int, world_size: int, radius: float = 18.0) -> MovementRules:
        """Rules for a tick rate (1/s) and a square world of side `world_size` units."""
        dt = 1.0 / tick_hz
        return cls(
            dt=F(dt),
            thrust_dv=F(900.0 * dt),
            boost_dv=F(1700.0 * dt),
            drag=F(np.exp(-2.5 * dt)),  # terminal speed 900 / 2.5 = 360 units/s
            boost_energy=F(34.0 * dt),
            regain_energy=F(16.0 * dt),
            max_energy=F(100.0),
            bounce=F(0.5),
            low=F(radius),
            high=F(world_size - radius),
        )


def move(
    x: np.ndarray,
    y: np.ndarray,
    vx: np.ndarray,
    vy: np.ndarray,
    energy: np.ndarray,
    direction: np.ndarray,
    buttons: np.ndarray,
    rules: MovementRules,
    high: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """One tick of movement for n ships.

    Args: `x y vx vy energy`: float32[n]; `direction`: uint8[n] (256 per turn);
    `buttons`: uint8[n]; `high`: float32[n], each one's own in place of ``rules.high``.
    Returns: new ``(x, y, vx, vy, energy, boosting)``; the last is bool[n].

    >>> rules = MovementRules.at(20, 1024)
    >>> one = np.float32([500])
    >>> x, y, *_ = move(one, one, one * 0, one * 0, one * 0, np.uint8([0]), np.uint8([1]), rules)
    >>> bool(x[0] > 500), bool(y[0] == 500)
    (True, True)
    """
    thrusting = (buttons & BUTTON_THRUST) != 0
    boosting = thrusting & ((buttons & BUTTON_BOOST) != 0) & (energy >= rules.boost_energy)
    energy = np.where(boosting, energy - rules.boost_energy, energy + rules.regain_energy)
    energy = np.minimum(energy, rules.max_energy)

    dv = np.where(boosting, rules.boost_dv, np.where(thrusting, rules.thrust_dv, F(0)))
    index = direction.astype(np.intp) * (DIRECTION_COUNT // 256)
    vx = (vx + DIRECTION_X[index] * dv) * rules.drag
    vy = (vy + DIRECTION_Y[index] * dv) * rules.drag

    far = rules.high if high is None else high
    x, vx = _advance(x, vx, rules, far)
    y, vy = _advance(y, vy, rules, far)
    return x, y, vx, vy, energy, boosting


def _advance(
    position: np.ndarray, velocity: np.ndarray, rules: MovementRules, high: np.ndarray | np.float32
) -> tuple[np.ndarray, np.ndarray]:
    """Move along one axis; bounce off the world's edge."""
    position = position + velocity * rules.dt
    outside = (position < rules.low) | (position > high)
    velocity = np.where(outside, -velocity * rules.bounce, velocity)
    return np.minimum(np.maximum(position, rules.low), high), velocity
