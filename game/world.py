"""The arena: one world of ships, shots and orbs, advanced one tick at a time.

`World.step` is the table of contents. What happens to a ship in one step, in this
order (a client that predicts its own ship does 1, 4, 5 and 8 with the same float32
operations and leaves the rest to the server):

1. its command of this tick replaces the last one; without one for `hold_ticks` its
   buttons count as 0; a wreck's always do;
2. a wreck whose time has come respawns: full hp and energy, power 0, standing still;
3. its view delay moves towards what its client claims;
4. `movement.move`;
5. ``cooldown = max(cooldown - 1, 0)``;
6. shots in flight move, damage and knock it (`vx vy`), or destroy it;
7. it collects orbs in reach: energy, hp, score, power;
8. if it lives, has BUTTON_FIRE, ``cooldown == 0`` and ``energy >= gun<power>_energy``:
   ``energy = energy - gun<power>_energy``; ``cooldown = gun<power>_cooldown``; protection
   ends; shot i of the volley is at the muzzle at this tick::

       x = (ship.x + X[aim] * muzzle) - Y[aim] * side_i
       y = (ship.y + Y[aim] * muzzle) + X[aim] * side_i
       shot aim = (aim + turn_i) mod 1024;  dx = X[shot aim] * shot_step, dy likewise

   with X, Y the direction tables. In each later step a shot moves by (dx, dy); it is
   gone in the step of tick ``born + shot_life_ticks``.
"""

from __future__ import annotations

from typing import Any
from zlib import crc32

import numpy as np

from tickstorm.games.table import Table
from tickstorm.games.world import KindView

from .combat import SHOT_COLUMNS, History, fire, fly
from .movement import move
from .orbs import ORB_COLUMNS, collect, drop, renew, scatter
from .rules import (
    DEATH_SHARE,
    KILL_SCORE,
    KILL_SHARE,
    LEADER_BOUNTY,
    MAX_HP,
    ORB_AREA,
    PODIUM_S,
    VIEW_DELAY_SLEW,
    Rules,
)
from .schema import BUTTON_FIRE, BUTTON_THRUST, ORB, SELF, SHIP, SHOT, quantise

F = np.float32

SHIP_COLUMNS = [
    ("x", "<f4"),
    ("y", "<f4"),
    ("vx", "<f4"),  # units/s
    ("vy", "<f4"),
    ("energy", "<f4"),
    ("hp", "<i2"),
    ("alive", "?"),  # present and not alive: a wreck
    ("boosting", "?"),
    ("bot", "?"),
    ("cooldown", "<i2"),  # ticks
    ("respawn", "<i2"),  # ticks
    ("protected_until", "<i8"),  # first tick at which it can be hit
    ("aim", "<u2"),  # the last command
    ("move", "u1"),
    ("buttons", "u1"),
    ("seq", "<u2"),
    ("heard", "<i8"),  # tick of the last command, 0 before the first
    ("claimed_delay", "<i2"),  # view delay that the client claims, sixteenths of a tick
    ("view_delay", "<i2"),  # and what it gets
    ("charge", "<i8"),  # value of orbs collected since the last death
    ("power", "u1"),
    ("score", "<i8"),
    ("streak", "<i8"),
    ("rank", "<i8"),
    ("hue", "u1"),
    ("name", "S20"),
]

SPAWN_CHOICES = 4
SPAWN_AREA = 512.0  # side of the squares whose crowds are compared, units
MIN_SHOTS, MAX_SHOTS = 1024, 32_768


class World:
    """A running arena, a pure function of its settings, its seed and the calls it gets.

    >>> from game.schema import STEP_COMMAND
    >>> world = World(tick_hz=20, size=2048, players=4, orbs=10, seed=7)
    >>> slot = world.join("ada", bot=False)
    >>> world.step(np.zeros(0, STEP_COMMAND))
    >>> world.tick, slot, bool(world.view()[0].present[slot])
    (1, 0, True)
    """

    def __init__(
        self, tick_hz: int, size: int, players: int, orbs: int, seed: int, round_s: int = 0
    ):
        """`orbs`: how many lie about; -1: one per 200 x 200 units, 0: none, ever. `round_s`:
        seconds until a podium ends the round and everyone begins anew; 0: never."""
        if not 1 <= players <= 65_535:
            raise ValueError(f"players is {players}, must be 1 to 65535")
        if orbs < 0:
            orbs = int(size * size / ORB_AREA)
        # Room for what wrecks leave; what finds none is not dropped.
        room = min(2 * orbs + 4 * players, 65_535) if orbs else 1
        self.tick = 0
        self.capacity = players
        self.seed = seed
        self.constants = Rules.at(tick_hz, size)
        self.orb_count = min(orbs, room)
        self.round_s = round_s
        self.round_ticks = round_s * tick_hz
        self.podium_ticks = PODIUM_S * tick_hz if round_s else 0
        self.rewind_enabled = True
        self.shots_refused = 0  # for lack of room, in total
        self.ships = Table(SHIP, SHIP_COLUMNS, players)
        self.shots = Table(SHOT, SHOT_COLUMNS, min(max(MIN_SHOTS, 8 * players), MAX_SHOTS))
        self.orbs = Table(ORB, ORB_COLUMNS, room)
        self.history = History(self.constants, players)
        self._rng = np.random.Generator(np.random.PCG64(seed))
        self._self_rows = np.zeros(players, SELF)
        self._feed: list = []
        scatter(self.orbs, self.orb_count, self._rng, self.constants, 0)

    # Players.

    def join(self, name: str, bot: bool) -> int:
        """Give a new player the lowest free slot and a ship somewhere; returns the slot.

        `name` is cut to 20 bytes of UTF-8, between code points. Raises ValueError when
        all slots are taken.
        """
        ships = self.ships
        slots = ships.claim(1, self.tick + 1)
        if slots.size == 0:
            raise ValueError(f"all {self.capacity} player slots are taken")
        name = name.replace("\0", "").encode("utf-8", "ignore")[:20].decode("utf-8", "ignore")
        ships.name[slots] = name.encode()
        ships.hue[slots] = int(self._rng.random() * 256)
        ships.bot[slots] = bot
        ships.rank[slots] = np.count_nonzero(ships.present)
        ships.static["name"][slots] = ships.name[slots]
        ships.static["hue"][slots] = ships.hue[slots]
        self._spawn(slots, self.tick + 1)
        return int(slots[0])

    def leave(self, slot: int, silent: bool = False) -> None:
        """Take a ship and its shots out of the world."""
        self.shots.release(np.flatnonzero(self.shots.present & (self.shots.owner == slot)))
        self.ships.release(np.array([slot]))

    def place(self, slot: int, x: float, y: float) -> None:
        """Put a living ship somewhere else at once, standing still: for everyone a new entity.

        For tests and tools; nothing in the arena teleports but by respawning.
        """
        self._put(np.array([slot]), np.array([x], F), np.array([y], F), self.tick + 1)

    def name(self, slot: int) -> str:
        """The name of the player in a slot, as it was accepted."""
        return self.ships.name[slot].decode()

    # One tick.

    def step(self, commands: np.ndarray) -> None:
        """Advance one tick. `commands`: STEP_COMMAND[m], at most one row per slot; rows
        of empty slots are ignored."""
        ships, shots, rules = self.ships, self.shots, self.constants
        self.tick += 1
        self._turn_round()
        self._take(commands)
        self._respawn()
        self._move()
        self.history.record(self.tick, ships.x, ships.y)
        kills = fly(ships, shots, self.history, rules, self.tick, self.rewind_enabled)
        self._reward(*kills)
        self.bury(kills[1])
        if not self.podium:
            collect(self.orbs, ships, self.history, rules, self.tick)
        self.shots_refused += fire(ships, shots, rules, self.tick)
        renew(self.orbs, self.orb_count, self._rng, rules, self.tick)
        if self.tick % rules.tick_hz == 0:
            self._rank()

    @property
    def podium(self) -> bool:
        """Is this tick between two rounds, when nobody fires and scores stand still?"""
        return self.round_ticks > 0 and self._phase() >= self.round_ticks

    def _phase(self) -> int:
        return self.tick % (self.round_ticks + self.podium_ticks)

    def _turn_round(self) -> None:
        """A round ends with all shots gone; the next begins with everyone new at score 0."""
        if not self.round_ticks:
            return
        if self._phase() == self.round_ticks:
            self.shots.release(np.flatnonzero(self.shots.present))
            self._rank()
        elif self._phase() == 0:
            ships = self.ships
            slots = np.flatnonzero(ships.present)
            for column in (ships.score, ships.charge, ships.power, ships.streak, ships.respawn):
                column[slots] = 0
            self._spawn(slots, self.tick)
            self._rank()

    def _take(self, commands: np.ndarray) -> None:
        """Store the commands of this tick, let silent players go, follow view delays."""
        ships, rules = self.ships, self.constants
        known = ships.full("present")[commands["slot"]]
        if not known.all():
            commands = commands[known]
        slot = commands["slot"].astype(np.intp)
        ships.aim[slot] = commands["aim"]
        ships.move[slot] = commands["move"]
        ships.buttons[slot] = commands["buttons"]
        ships.seq[slot] = commands["seq"]
        claimed = np.minimum(commands["view_delay"], rules.max_view_delay)
        ships.claimed_delay[slot] = claimed
        newcomer = ships.heard[slot] == 0
        ships.view_delay[slot[newcomer]] = claimed[newcomer]
        ships.heard[slot] = self.tick

        ships.buttons[self.tick - ships.heard > rules.hold] = 0
        ships.buttons[~ships.alive] = 0
        if self.podium:
            ships.buttons &= 0xFF ^ BUTTON_FIRE
        behind = ships.claimed_delay - ships.view_delay
        ships.view_delay += np.clip(behind, -VIEW_DELAY_SLEW, VIEW_DELAY_SLEW)

    def _move(self) -> None:
        """Move all ships; a wreck has no velocity and no buttons, so it stays."""
        s = self.ships
        s.x[:], s.y[:], s.vx[:], s.vy[:], s.energy[:], s.boosting[:] = move(
            s.x, s.y, s.vx, s.vy, s.energy, s.move, s.buttons, self.constants.movement
        )
        s.cooldown[:] = np.maximum(s.cooldown - 1, 0)

    # Spawn and despawn.

    def _spawn(self, slots: np.ndarray, born: int) -> None:
        """Bring ships (int64[k]) into play at places with few others around."""
        ships, rules = self.ships, self.constants
        width = max(1, int(rules.size / SPAWN_AREA))

        def square(x, y):
            return (y * (width / rules.size)).astype(int) * width + (
                x * (width / rules.size)
            ).astype(int)

        alive = ships.alive
        crowd = np.bincount(square(ships.x[alive], ships.y[alive]), minlength=width * width)
        margin = 2 * float(rules.movement.low)
        choices = margin + self._rng.random((2, slots.size, SPAWN_CHOICES)) * (
            rules.size - 2 * margin
        )
        best = np.argmin(crowd[square(*choices)], axis=1)
        x, y = choices[:, np.arange(slots.size), best].astype(F)
        ships.alive[slots] = True
        ships.hp[slots] = MAX_HP
        ships.energy[slots] = rules.movement.max_energy
        ships.cooldown[slots] = 0
        ships.protected_until[slots] = born + rules.protection
        self._put(slots, x, y, born)

    def _put(self, slots: np.ndarray, x: np.ndarray, y: np.ndarray, born: int) -> None:
        ships = self.ships
        ships.x[slots], ships.y[slots] = x, y
        ships.vx[slots] = ships.vy[slots] = 0
        ships.born[slots] = born

    def _respawn(self) -> None:
        """Count down, and bring back the wrecks whose time has come."""
        ships = self.ships
        wrecks = np.flatnonzero(ships.respawn)
        if wrecks.size == 0:
            return
        ships.respawn[wrecks] -= 1
        due = wrecks[ships.respawn[wrecks] == 0]
        if due.size:
            self._spawn(due, self.tick)

    def _reward(self, killer: np.ndarray, victim: np.ndarray) -> None:
        """Score kills (int64[k] each), all by the scores before them; tell the feed."""
        ships = self.ships
        self._feed = [["kill", self.name(k), self.name(v)] for k, v in zip(killer, victim)]
        if victim.size == 0:
            return
        score = ships.score[victim]
        leader = (ships.rank[victim] == 1) & (score > 0)
        gain = KILL_SCORE + (score * KILL_SHARE).astype(np.int64) + LEADER_BOUNTY * leader
        np.add.at(ships.score, killer, gain)
        ships.score[victim] -= (score * DEATH_SHARE).astype(np.int64)
        np.add.at(ships.streak, killer, 1)

    def bury(self, victim: np.ndarray) -> None:
        """Turn destroyed ships (int64[k]) into wrecks among orbs, until they respawn."""
        ships = self.ships
        if self.orb_count:
            drop(self.orbs, ships, victim, self._rng, self.constants, self.tick)
        ships.alive[victim] = False
        ships.respawn[victim] = self.constants.respawn
        ships.vx[victim] = ships.vy[victim] = 0
        ships.energy[victim] = 0
        ships.charge[victim] = ships.power[victim] = ships.streak[victim] = 0
        ships.boosting[victim] = False
        ships.buttons[victim] = 0

    def _rank(self) -> None:
        """Rank all players by score, the lower slot first among equals."""
        present = np.flatnonzero(self.ships.present)
        order = np.argsort(-self.ships.score[present], kind="stable")
        self.ships.rank[present[order]] = np.arange(1, present.size + 1)

    # What others see.

    def view(self) -> list[KindView]:
        """The world for the wire; arrays are valid until the next call that changes it."""
        ships, used = self.ships, self.ships.used
        row = ships.mutable[:used]
        row["x"], row["y"] = quantise(ships.x), quantise(ships.y)
        row["heading"] = ships.aim >> 2
        row["hp"] = ships.hp
        row["flags"] = self._flags()
        row["power"] = ships.power
        return [
            KindView(
                table.full("present"),
                table.full("born"),
                table.full("x"),
                table.full("y"),
                table.mutable,
                table.static,
            )
            for table in (ships, self.shots, self.orbs)
        ]

    def _flags(self) -> np.ndarray:
        """uint8[used]: ALIVE, THRUST, BOOST, PROTECTED and BOT of all ships."""
        ships = self.ships
        protected = ships.alive & (ships.protected_until > self.tick)
        flags = (ships.buttons & BUTTON_THRUST) << 1
        for bit, column in ((0, ships.alive), (2, ships.boosting), (3, protected), (4, ships.bot)):
            flags |= column.view(np.uint8) << bit
        return flags

    def eyes(self, slots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """float32[n] x and y from which the players in `slots` look: their ship or wreck;
        0, 0 for a slot in which nobody is."""
        return self.ships.full("x")[slots], self.ships.full("y")[slots]

    def self_rows(self, slots: np.ndarray) -> np.ndarray:
        """SELF[n]: the own state of the players in `slots`."""
        ships = self.ships
        row = self._self_rows[: ships.used]
        for field in ("x", "y", "vx", "vy", "energy", "hp", "cooldown", "respawn", "power"):
            row[field] = getattr(ships, field)
        row["flags"] = self._flags()
        row["score"] = np.minimum(ships.score, 0xFFFFFFFF)
        row["rank"] = ships.rank
        row["streak"] = np.minimum(ships.streak, 255)
        # Of all rows, for a slot may be free; `[slots]` is 60 times slower on structured arrays.
        return self._self_rows.take(slots)

    def feed(self) -> list:
        """Kills of the last step: ``[["kill", killer, victim], ...]``, by name."""
        return self._feed

    def board(self) -> list:
        """The ten best players: ``[[name, score], ...]``."""
        present = np.flatnonzero(self.ships.present)
        best = present[np.argsort(-self.ships.score[present], kind="stable")[:10]]
        return [[self.name(slot), int(self.ships.score[slot])] for slot in best]

    def rules(self) -> dict[str, float]:
        """Constants that clients need to draw and predict; see `game/rules.py`."""
        return self.constants.as_map() | {
            "round_ticks": float(self.round_ticks),
            "podium_ticks": float(self.podium_ticks),
        }

    # To go on elsewhere.

    def checksum(self) -> int:
        """CRC-32 of the state: two worlds that went different ways differ in it.

        It covers what moves, fights and scores, the generator and the wire rows.
        """
        self.view()
        ships, shots, orbs = self.ships, self.shots, self.orbs
        crc = crc32(
            repr((self.tick, ships.used, shots.used, orbs.used, self._rng_state())).encode()
        )
        columns = [ships.mutable[: ships.used]]
        columns += [getattr(ships, name) for name in CHECKED_SHIP_COLUMNS]
        columns += [shots.present, shots.x, shots.y, shots.owner, shots.view_delay]
        columns += [orbs.present, orbs.x, orbs.y, orbs.value]
        for column in columns:
            crc = crc32(column, crc)  # type: ignore[arg-type]  # numpy's types know buffers from 3.12 on
        return crc

    def _rng_state(self) -> list:
        """The generator as small numbers and bytes: its own are 128 bits wide."""
        state = self._rng.bit_generator.state["state"]
        return [state[key].to_bytes(16, "little") for key in ("state", "inc")]

    def dump(self) -> dict[str, Any]:
        """Everything needed to go on from here, as msgpack can carry it."""
        used = self.ships.used
        return {
            "settings": [self.constants.tick_hz, self.constants.size, self.capacity],
            "orb_count": self.orb_count,
            "seed": self.seed,
            "round_s": self.round_s,
            "tick": self.tick,
            "rng": self._rng_state(),
            "rewind_enabled": self.rewind_enabled,
            "shots_refused": self.shots_refused,
            "tables": [table.dump() for table in (self.ships, self.shots, self.orbs)],
            "history": [ring[:, :used].tobytes() for ring in (self.history.x, self.history.y)],
        }


CHECKED_SHIP_COLUMNS = (
    *("present", "born", "x", "y", "vx", "vy", "energy", "cooldown", "respawn"),
    *("protected_until", "seq", "view_delay", "charge", "score", "streak"),
)


def load_world(data: dict[str, Any]) -> World:
    """The world that was dumped; it goes on exactly as the original would."""
    tick_hz, size, players = data["settings"]
    world = World(tick_hz, size, players, data["orb_count"], data["seed"], data["round_s"])
    world.tick = data["tick"]
    world.rewind_enabled = data["rewind_enabled"]
    world.shots_refused = data["shots_refused"]
    state = dict(world._rng.bit_generator.state)
    state["state"] = {
        key: int.from_bytes(value, "little") for key, value in zip(("state", "inc"), data["rng"])
    }
    world._rng.bit_generator.state = state
    for table, rows in zip((world.ships, world.shots, world.orbs), data["tables"]):
        table.load(rows)
    for ring, values in zip((world.history.x, world.history.y), data["history"]):
        ring[:, : world.ships.used] = np.frombuffer(values, F).reshape(len(ring), -1)
    return world
