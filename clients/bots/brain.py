"""What a bot wants, from what it sees: no sockets, no clock.

Every `THINK_TICKS` a brain looks around (`Brain.think`), picks a mood (roam, collect,
fight, flee) and decides where to go and what to aim at; in between only the gun turns
(`Brain.command`). Same seed, same sights, same decisions.

The bots are meant to be fun to fight. They see a player's speed a little late,
their hands shake, their guns turn at a human's rate, and they fire in bursts.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .wire import KnownWorld

# Ship flags and bits of COMMAND.buttons, as the arena declares them (`game/schema.py`).
ALIVE, PROTECTED = 1, 8
BUTTON_THRUST, BUTTON_BOOST, BUTTON_FIRE = 1, 2, 4

THINK_TICKS = 3
TURN = 2 * math.pi

BORDER = 260.0
"""Units from the world's edge at which a bot starts to turn away from it."""


@dataclass(frozen=True)
class Temperament:
    """What makes one bot another opponent than the next. Units: world units, seconds, degrees."""

    name: str
    fight_range: float  # starts a fight with whoever is nearer than this
    keeps: float  # distance that it likes to fight at
    flees_below: float  # share of its hull left at which it runs
    aim_error: float  # standard deviation, degrees
    turn_rate: float  # of the gun, degrees per second
    burst_s: float  # how long it fires at a time, and about how long it then waits
    strafe: float  # share of its speed spent on moving sideways in a fight
    greed: float  # how far out of its way it goes for orbs while fighting, 0..1


COLLECTOR = Temperament("collector", 330, 260, 0.55, 8.0, 300, 0.6, 0.3, 0.8)
HUNTER = Temperament("hunter", 950, 210, 0.25, 6.0, 420, 1.2, 0.4, 0.1)
SNIPER = Temperament("sniper", 900, 560, 0.45, 3.0, 260, 0.4, 0.6, 0.2)
COWARD = Temperament("coward", 420, 480, 0.85, 7.0, 360, 0.8, 0.5, 0.4)
DUELIST = Temperament("duelist", 620, 170, 0.12, 5.0, 480, 0.9, 0.9, 0.0)

TEMPERAMENTS = (COLLECTOR, HUNTER, SNIPER, COWARD, DUELIST)

_NAMES = {
    "collector": "Magpie Hamster Squirrel Crumbs Hoover Pockets Dustpan Bagpuss",
    "hunter": "Wolf Fang Barracuda Ferret Houndstooth Pike Talon Bloodnose",
    "sniper": "Heron Needle Longshot Owl Pinprick Cyclops Patience Tripod",
    "coward": "Rabbit Jelly Eek Wobble Featherfoot Blancmange Meringue Nope",
    "duelist": "Mantis Rapier Tango Hornet Musketeer Cutlass Whirligig Zorro",
}


def bot_name(temperament: Temperament, number: int) -> str:
    """A name that fits, another for each number.

    >>> bot_name(COWARD, 1), bot_name(COWARD, 11)
    ('Jelly', 'Wobble 2')
    """
    names = _NAMES[temperament.name].split()
    name, round_ = names[number % len(names)], number // len(names)
    return f"{name} {round_ + 1}" if round_ else name


class Command(NamedTuple):
    """What to send: see COMMAND in `game/schema.py`."""

    aim: int
    move: int
    buttons: int


class Sight(NamedTuple):
    """What a bot sees of the world at one tick; positions in world units, float64[n]."""

    tick: int
    slot: int  # its own
    own: dict  # SELF by name
    ship_id: np.ndarray  # uint16[n], its own among them
    ship_x: np.ndarray
    ship_y: np.ndarray
    ship_flags: np.ndarray  # uint8[n]
    ship_hp: np.ndarray  # uint8[n]
    orb_x: np.ndarray
    orb_y: np.ndarray
    orb_value: np.ndarray  # uint8[n]
    shot_x: np.ndarray  # where the shot was born
    shot_y: np.ndarray
    shot_angle: np.ndarray  # radians
    shot_age: np.ndarray  # ticks
    shot_owner: np.ndarray  # uint16[n]
    heat: np.ndarray | None = None  # uint8[width, width]: ships per cell, rows along y


def look(world: KnownWorld, slot: int, own: dict, heat: np.ndarray | None = None) -> Sight:
    """The sight that a connection's known world offers."""
    ships, orbs, shots = (world.kinds[name] for name in ("ship", "orb", "shot"))
    return Sight(
        tick=world.tick,
        slot=slot,
        own=own,
        ship_id=ships.ids,
        ship_x=ships.scaled("x"),
        ship_y=ships.scaled("y"),
        ship_flags=ships["flags"],
        ship_hp=ships["hp"],
        orb_x=orbs.scaled("x"),
        orb_y=orbs.scaled("y"),
        orb_value=orbs["value"],
        shot_x=shots.scaled("x"),
        shot_y=shots.scaled("y"),
        shot_angle=shots.scaled("aim"),
        shot_age=(world.tick - shots["born"].astype(np.int64)) & 0xFFFF,
        shot_owner=shots["owner"],
        heat=heat,
    )


def intercept_s(
    dx: float, dy: float, vx: float, vy: float, speed: float, muzzle: float = 0.0
) -> float | None:
    """Seconds until a shot meets a target, if aimed right; None if it never can.

    The target is at (dx, dy) from the gun and moves at (vx, vy) units/s; the shot
    starts `muzzle` units from the gun. Where the two meet, ``d + v t``, is where to aim.

    >>> intercept_s(300, 0, 0, 0, speed=100)
    3.0
    >>> intercept_s(300, 0, 200, 0, speed=100) is None
    True
    """
    # |d + v t| = speed t + muzzle, squared, is a t² + 2 b t + c = 0.
    a = vx * vx + vy * vy - speed * speed
    b = dx * vx + dy * vy - speed * muzzle
    c = dx * dx + dy * dy - muzzle * muzzle
    if c <= 0:
        return 0.0
    if abs(a) < 1e-6:
        return -c / (2 * b) if b < 0 else None
    root = b * b - a * c
    if root < 0:
        return None
    times = [(-b + math.sqrt(root)) / a, (-b - math.sqrt(root)) / a]
    return min((t for t in times if t >= 0), default=None)


class Target(NamedTuple):
    """Another ship as a bot makes it out: position relative to its own, velocity in units/s."""

    entity: int
    dx: float
    dy: float
    vx: float
    vy: float
    distance: float
    hp: int


class Brain:
    """One bot's mind. `rules` and `size` are WELCOME's; `seed` decides all chance."""

    def __init__(self, temperament: Temperament, seed: str | int, rules: dict, size: float) -> None:
        self.temperament = temperament
        self._rules, self._size = rules, size
        self._random = random.Random(seed)
        self._reset()

        self._next_think = 0

    def _reset(self) -> None:
        self.mood = "roam"
        self._target: int | None = None
        self._seen: tuple[int, np.ndarray, np.ndarray, np.ndarray] | None = None
        self._waypoint: tuple[float, float] | None = None
        self._aim = 0.0  # where the gun points, radians
        self._wanted_aim = 0.0
        self._aim_per_tick = 0.0  # how fast what it aims at moves on, radians
        self._error = 0.0  # of the hand, radians; drifts
        self._side = 1  # of the target it strafes to
        self._side_until = 0
        self._burst_until = 0
        self._rest_until = 0
        self._move, self._buttons, self._fires = 0, 0, False

    def command(self) -> Command:
        """The command for the next tick, to be called once for each."""
        if self.mood == "wrecked":
            return Command(0, 0, 0)
        most = math.radians(self.temperament.turn_rate) * self._rules["dt"]
        off = _wrap(self._wanted_aim - self._aim)
        self._aim += max(-most, min(most, off))
        self._wanted_aim += self._aim_per_tick
        fires = self._fires and abs(off) <= most + math.radians(4)
        return Command(
            aim=round(self._aim / TURN * 1024) % 1024,
            move=self._move,
            buttons=self._buttons | (BUTTON_FIRE if fires else 0),
        )

    # ------------------------------------------------------------ thinking

    def thinks_at(self, tick: int) -> bool:
        """Whether it wants to look around at this tick."""
        return tick >= self._next_think

    def think(self, sight: Sight, view_tick: int, target_tick: int) -> None:
        """Look around, and decide for the commands from `target_tick` on.

        `view_tick` is the tick at which the player has the others before its eyes: that
        of the sight, or later if newer snapshots are overdue and it reckons the others on.
        """
        own, now = sight.own, sight.tick
        self._next_think = view_tick + THINK_TICKS
        if not own["flags"] & ALIVE:
            self._reset()
            self.mood = "wrecked"
            return
        # The own ship counts where it will be when the command does. The others are
        # rewound to where they were seen, if that is not too long ago.
        dt = self._rules["dt"]
        ahead_s = (target_tick - now) * dt
        x, y = own["x"] + own["vx"] * ahead_s, own["y"] + own["vy"] * ahead_s
        hit_tick = max(view_tick, target_tick - self._rules["max_view_delay"] / 16)
        others = self._others(sight, x, y, (hit_tick - now) * dt)
        nearest = min(others, key=lambda ship: ship.distance, default=None)
        target = self._choose_target(others)
        self.mood = self._choose_mood(own, nearest, target)

        self._error = 0.8 * self._error + 0.6 * math.radians(self.temperament.aim_error) * (
            self._random.gauss(0, 1)
        )
        self._take_aim(own, now, target or nearest)

        if self.mood == "flee":
            want = self._away(nearest)
        elif self.mood == "fight":
            want = self._dance(now, target)
        else:
            want = (0.0, 0.0)
        greed = {"flee": 0.4, "fight": self.temperament.greed}.get(self.mood, 1.0)
        orb = self._best_orb(sight, x, y, within=900 * greed)
        if orb is not None:
            want = _sum(want, orb, greed)
        elif self.mood in ("roam", "collect"):
            want = self._roam(sight, x, y)
        want = _sum(_unit(want), self._dodge(sight, x, y), 1.2)
        if orb is None or self.mood in ("flee", "fight"):  # an orb may lie at the very edge
            want = self._avoid_border(x, y, want)
        self._steer(own, want)

    def _others(self, sight: Sight, x: float, y: float, later_s: float) -> list[Target]:
        """Living, hittable ships, their velocities estimated from the last look.

        `later_s`: seconds after the sight at which they can be hit.
        """
        ids, ship_x, ship_y = sight.ship_id, sight.ship_x, sight.ship_y
        vx, vy = np.zeros(len(ids)), np.zeros(len(ids))
        if self._seen is not None and len(self._seen[1]) and sight.tick > self._seen[0]:
            then, old_ids, old_x, old_y = self._seen
            row = np.minimum(np.searchsorted(old_ids, ids), len(old_ids) - 1)
            moved_x, moved_y = ship_x - old_x[row], ship_y - old_y[row]
            elapsed_s = (sight.tick - then) * self._rules["dt"]
            # A ship that moved faster than any can has respawned elsewhere.
            same = (old_ids[row] == ids) & (
                moved_x**2 + moved_y**2 < (self._rules["max_speed"] * 1.5 * elapsed_s) ** 2
            )
            vx, vy = same * moved_x / elapsed_s, same * moved_y / elapsed_s
        self._seen = (sight.tick, ids, ship_x, ship_y)

        dx, dy = ship_x + vx * later_s - x, ship_y + vy * later_s - y
        distance = np.hypot(dx, dy)
        fair = (sight.ship_flags & (ALIVE | PROTECTED)) == ALIVE
        rows = np.flatnonzero(fair & (ids != sight.slot) & (distance < 1100))
        columns = (ids, dx, dy, vx, vy, distance, sight.ship_hp)
        return [Target(*row) for row in zip(*(column[rows].tolist() for column in columns))]

    def _choose_target(self, others: list[Target]) -> Target | None:
        """Stay with the present one; else somebody near, the weak a little preferred."""
        reach = self.temperament.fight_range
        for ship in others:
            if ship.entity == self._target and ship.distance < 1.3 * reach:
                return ship
        near = [ship for ship in others if ship.distance < reach]

        def rank(ship: Target) -> float:
            return ship.distance * self._random.uniform(0.7, 1.3) + ship.hp

        chosen = min(near, key=rank, default=None)
        self._target = chosen.entity if chosen else None
        return chosen

    def _choose_mood(self, own: dict, nearest: Target | None, target: Target | None) -> str:
        hull = own["hp"] / self._rules["max_hp"]
        # It takes some more hull to stop fleeing than it took to start.
        threshold = self.temperament.flees_below + (0.15 if self.mood == "flee" else 0)
        if nearest is not None and nearest.distance < 650 and hull < min(threshold, 0.95):
            return "flee"
        if target is not None:
            return "fight"
        return "collect" if hull < 0.6 or self.temperament is COLLECTOR else "roam"

    # ------------------------------------------------------------ the gun

    def _take_aim(self, own: dict, now: int, target: Target | None) -> None:
        self._fires = False
        self._aim_per_tick = 0.0
        if target is None:
            if math.hypot(own["vx"], own["vy"]) > 20:
                self._wanted_aim = math.atan2(own["vy"], own["vx"])
            return
        aim, flight_s = self._lead(target.dx, target.dy, target.vx, target.vy)
        tick_s = self._rules["dt"]
        next_dx = target.dx + (target.vx - own["vx"]) * tick_s
        next_dy = target.dy + (target.vy - own["vy"]) * tick_s
        next_aim, _ = self._lead(next_dx, next_dy, target.vx, target.vy)
        self._wanted_aim = aim + self._error
        self._aim_per_tick = _wrap(next_aim - aim)

        if now >= self._burst_until and now >= self._rest_until:
            burst = self._ticks(self.temperament.burst_s * self._random.uniform(0.5, 1.5))
            self._burst_until = now + burst
            self._rest_until = self._burst_until + self._ticks(self._random.uniform(0.2, 0.9))
        in_reach = flight_s < 0.95 * self._rules["shot_life_s"]
        reserve = 25 if self.mood == "flee" else 8
        self._fires = in_reach and now < self._burst_until and own["energy"] > reserve

    def _lead(self, dx: float, dy: float, vx: float, vy: float) -> tuple[float, float]:
        """Angle to aim at so that a shot meets a target, and its time of flight in s."""
        speed, muzzle = self._rules["shot_speed"], self._rules["muzzle"]
        flight_s = intercept_s(dx, dy, vx, vy, speed, muzzle)
        if flight_s is None:
            flight_s = math.hypot(dx, dy) / speed
        return math.atan2(dy + vy * flight_s, dx + vx * flight_s), flight_s

    # ------------------------------------------------------------ the helm

    def _away(self, threat: Target) -> tuple[float, float]:
        """Away from a ship, in a zigzag."""
        away_x, away_y = _unit((-threat.dx, -threat.dy))
        side = 0.5 * self._side
        return away_x - away_y * side, away_y + away_x * side

    def _dance(self, now: int, target: Target) -> tuple[float, float]:
        """Keep the distance, and circle the target now this way, now that."""
        if now >= self._side_until:
            self._side = self._random.choice((-1, 1))
            self._side_until = now + self._ticks(self._random.uniform(0.7, 2.2))
        to_x, to_y = _unit((target.dx, target.dy))
        keeps = self.temperament.keeps
        radial = max(-1.0, min(1.0, (target.distance - keeps) / (0.4 * keeps)))
        side = self.temperament.strafe * self._side
        return to_x * radial - to_y * side, to_y * radial + to_x * side

    def _best_orb(
        self, sight: Sight, x: float, y: float, within: float
    ) -> tuple[float, float] | None:
        """Unit vector to the orb that pays best for its distance."""
        if within <= 0 or not len(sight.orb_x):
            return None
        dx, dy = sight.orb_x - x, sight.orb_y - y
        distance = np.hypot(dx, dy)
        best = int(np.argmax(sight.orb_value / (distance + 60)))
        if distance[best] > within:
            return None
        return _unit((float(dx[best]), float(dy[best])))

    def _roam(self, sight: Sight, x: float, y: float) -> tuple[float, float]:
        """Toward a waypoint; the bold choose one where there are others."""
        if self._waypoint is None or math.dist(self._waypoint, (x, y)) < 250:
            self._waypoint = self._next_waypoint(sight, x, y)
        return _unit((self._waypoint[0] - x, self._waypoint[1] - y))

    def _next_waypoint(self, sight: Sight, x: float, y: float) -> tuple[float, float]:
        if sight.heat is not None and self.temperament.fight_range > 500:
            cell = self._size / len(sight.heat)
            row, column = np.nonzero(sight.heat)
            centre_x, centre_y = (column + 0.5) * cell, (row + 0.5) * cell
            away = np.hypot(centre_x - x, centre_y - y)
            elsewhere = np.flatnonzero(away > cell)
            if len(elsewhere):
                nearest = elsewhere[np.argsort(away[elsewhere])[:4]]
                chosen = self._random.choice(nearest.tolist())
                return float(centre_x[chosen]), float(centre_y[chosen])
        low, high = 0.12 * self._size, 0.88 * self._size
        return self._random.uniform(low, high), self._random.uniform(low, high)

    def _dodge(self, sight: Sight, x: float, y: float) -> tuple[float, float]:
        """Sideways out of the way of the shot that would come nearest, if it comes near."""
        theirs = np.flatnonzero(sight.shot_owner != sight.slot)
        if not len(theirs):
            return 0.0, 0.0
        angle = sight.shot_angle[theirs]
        speed = self._rules["shot_speed"]
        unit_x, unit_y = np.cos(angle), np.sin(angle)
        flown = sight.shot_age[theirs] * self._rules["shot_step"]
        dx = sight.shot_x[theirs] + unit_x * flown - x
        dy = sight.shot_y[theirs] + unit_y * flown - y
        ahead_s = -(dx * unit_x + dy * unit_y) / speed  # until it passes
        beside = dx * unit_y - dy * unit_x  # how far to the side, signed
        comes = (ahead_s > 0) & (ahead_s < 0.5) & (np.abs(beside) < 60)
        if not comes.any():
            return 0.0, 0.0
        first = int(np.argmin(np.where(comes, ahead_s, np.inf)))
        side = 1.0 if beside[first] > 0 else -1.0
        return -side * float(unit_y[first]), side * float(unit_x[first])

    def _avoid_border(self, x: float, y: float, want: tuple[float, float]) -> tuple[float, float]:
        """Turn a wish that leads to the edge into one along it or back inside."""

        def inward(at: float, wish: float) -> float:
            near = max(0.0, 1 - at / BORDER) - max(0.0, 1 - (self._size - at) / BORDER)
            return wish + 2.5 * near

        return inward(x, want[0]), inward(y, want[1])

    def _steer(self, own: dict, want: tuple[float, float]) -> None:
        """Thrust towards the wished velocity, mindful of the present one."""
        cruise = 360.0
        wish_x, wish_y = (part * cruise for part in _unit(want))
        push_x, push_y = wish_x - 0.7 * own["vx"], wish_y - 0.7 * own["vy"]
        self._buttons = 0
        if want == (0.0, 0.0) or math.hypot(push_x, push_y) < 40:
            return
        self._buttons = BUTTON_THRUST
        self._move = round(math.atan2(push_y, push_x) / TURN * 256) % 256
        chases = self.mood == "fight" and self.temperament.keeps < 300
        if (self.mood == "flee" and own["energy"] > 12) or (chases and own["energy"] > 75):
            self._buttons |= BUTTON_BOOST

    def _ticks(self, seconds: float) -> int:
        return round(seconds / self._rules["dt"])


def _unit(vector: tuple[float, float]) -> tuple[float, float]:
    length = math.hypot(*vector)
    return (vector[0] / length, vector[1] / length) if length > 1e-9 else (0.0, 0.0)


def _sum(a: tuple[float, float], b: tuple[float, float], weight: float) -> tuple[float, float]:
    return a[0] + weight * b[0], a[1] + weight * b[1]


def _wrap(angle: float) -> float:
    """The same angle within half a turn either way."""
    return (angle + math.pi) % TURN - math.pi
