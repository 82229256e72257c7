"""Every number that makes the arena what it is, in one place.

Seconds become ticks and units per second become units per tick here, once; the
rest of the game and the clients (through `Rules.as_map`) use the results.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from .movement import MovementRules

F = np.float32

MIN_SIZE, MAX_SIZE = 512, 32_000
"""Side of the world, units: a screen at least, and what a quantised coordinate can hold."""

SHIP_RADIUS = 18.0
MAX_HP = 100
MAX_SPEED = 900.0  # per axis, units/s; boosting ends at 640, knocks can add to it
RESPAWN_S = 2.5
PROTECTION_S = 2.0
HOLD_S = 0.5  # how long a silent player's last command goes on

SHOT_SPEED = 1000.0
SHOT_LIFE_S = 0.9
SHOT_RADIUS = 6.0
MUZZLE = 16.0  # from the ship's centre; with any `side` still inside its radius
KNOCK = 50.0  # velocity that a hit gives, units/s

REWIND_S = 0.25  # how far back in time a shot may look for its targets
VIEW_DELAY_SLEW = 2  # sixteenths of a tick by which a ship's view delay may change per tick

ORB_AREA = 200.0 * 200.0  # one orb per this area, if the game may choose
ORB_REACH = 40.0  # from a ship's centre to an orb's that it collects
ORB_ENERGY, ORB_HP, ORB_SCORE = 4.0, 2, 5  # per unit of an orb's value
ORB_REFILL_S = 30.0  # how long an emptied arena takes to fill up again
DROP_REACH = 90.0
DROP_MAX = 24  # orbs that one wreck leaves
DROP_S = 20.0  # and for how long
CHARGE_PER_POWER = 12  # value of orbs to collect for the next gun
MAX_POWER = 3

KILL_SCORE = 100
KILL_SHARE = 0.25  # of the victim's score, to the killer
LEADER_BOUNTY = 200
DEATH_SHARE = 0.30  # of its score that a destroyed ship loses

PODIUM_S = 10  # between two rounds, where there are rounds


@dataclass(frozen=True)
class Gun:
    """What a ship of some power fires: one volley per `cooldown_s`."""

    cooldown_s: float
    energy: float  # per volley
    damage: int  # per shot
    barrels: tuple[tuple[int, float], ...]  # turn in 1/1024 of a circle, units to the right


FAN = ((-20, 0.0), (0, 0.0), (20, 0.0))
GUNS = (
    Gun(0.20, 5.0, 20, ((0, 0.0),)),
    Gun(0.20, 6.0, 12, ((0, -7.0), (0, 7.0))),
    Gun(0.20, 7.0, 12, FAN),
    Gun(0.15, 7.0, 14, FAN),
)


def _ticks(seconds: float, tick_hz: int) -> int:
    return max(1, round(seconds * tick_hz))


@dataclass(frozen=True)
class Rules:
    """The rules at one tick rate and world size. Durations in ticks."""

    tick_hz: int
    size: int
    movement: MovementRules
    respawn: int
    protection: int
    hold: int
    drop: int
    shot_step: np.float32  # units a shot flies per tick
    shot_life: int
    max_view_delay: int  # sixteenths of a tick
    gun_cooldown: np.ndarray  # int16[4], by power
    gun_energy: np.ndarray  # float32[4]
    gun_damage: np.ndarray  # int16[4]
    gun_shots: np.ndarray  # int64[4]
    gun_turn: np.ndarray  # int64[4, 3]
    gun_side: np.ndarray  # float32[4, 3]

    @classmethod
    def at(cls, tick_hz: int, size: int) -> Rules:
        """Rules for a tick rate (10 to 60 per second) and a square world."""
        if not 10 <= tick_hz <= 60:
            raise ValueError(f"tick_hz is {tick_hz}, must be 10 to 60")
        if not MIN_SIZE <= size <= MAX_SIZE:
            raise ValueError(f"size is {size}, must be {MIN_SIZE} to {MAX_SIZE}")
        turn, side = np.zeros((4, 3), np.int64), np.zeros((4, 3), F)
        for power, gun in enumerate(GUNS):
            turn[power, : len(gun.barrels)], side[power, : len(gun.barrels)] = zip(*gun.barrels)
        return cls(
            tick_hz=tick_hz,
            size=size,
            movement=MovementRules.at(tick_hz, size, SHIP_RADIUS),
            respawn=_ticks(RESPAWN_S, tick_hz),
            protection=_ticks(PROTECTION_S, tick_hz),
            hold=_ticks(HOLD_S, tick_hz),
            drop=_ticks(DROP_S, tick_hz),
            shot_step=F(SHOT_SPEED / tick_hz),
            shot_life=_ticks(SHOT_LIFE_S, tick_hz),
            max_view_delay=int(REWIND_S * tick_hz * 16),
            gun_cooldown=np.array([_ticks(gun.cooldown_s, tick_hz) for gun in GUNS], np.int16),
            gun_energy=np.array([gun.energy for gun in GUNS], F),
            gun_damage=np.array([gun.damage for gun in GUNS], np.int16),
            gun_shots=np.array([len(gun.barrels) for gun in GUNS], np.int64),
            gun_turn=turn,
            gun_side=side,
        )

    def refill(self, orbs: int) -> int:
        """How many of `orbs` come back in a tick, at most."""
        return int(np.ceil(orbs / (ORB_REFILL_S * self.tick_hz)))

    def as_map(self) -> dict[str, float]:
        """The constants that clients need, flat; float32 values are exact as floats."""
        rules = {name: float(value) for name, value in asdict(self.movement).items()}
        rules |= {
            "ship_radius": SHIP_RADIUS,
            "max_hp": float(MAX_HP),
            "max_speed": MAX_SPEED,
            "respawn_ticks": float(self.respawn),
            "protection_ticks": float(self.protection),
            "hold_ticks": float(self.hold),
            "shot_speed": SHOT_SPEED,
            "shot_step": float(self.shot_step),
            "shot_life_s": SHOT_LIFE_S,
            "shot_life_ticks": float(self.shot_life),
            "shot_radius": SHOT_RADIUS,
            "muzzle": MUZZLE,
            "max_view_delay": float(self.max_view_delay),
            "orb_reach": ORB_REACH,
            "orb_score": float(ORB_SCORE),
            "charge_per_power": float(CHARGE_PER_POWER),
            "max_power": float(MAX_POWER),
        }
        for power in range(MAX_POWER + 1):
            rules[f"gun{power}_cooldown"] = float(self.gun_cooldown[power])
            rules[f"gun{power}_energy"] = float(self.gun_energy[power])
            rules[f"gun{power}_damage"] = float(self.gun_damage[power])
            rules[f"gun{power}_shots"] = float(self.gun_shots[power])
            for barrel in range(int(self.gun_shots[power])):
                rules[f"gun{power}_turn{barrel}"] = float(self.gun_turn[power, barrel])
                rules[f"gun{power}_side{barrel}"] = float(self.gun_side[power, barrel])
        return rules
