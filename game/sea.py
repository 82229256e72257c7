"""The columns of one arena or of many, advanced one tick at a time.

`Sea.step` is the table of contents. What happens to a ship in one step, in this
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

Each room's rows are a run of their own in each table (`tickstorm.games.table`), and what differs
from room to room is a column of `Rooms`. Rules are functions over all rows; where rows must not
mix, they carry their room. Nothing that a room does depends on which others are there: places are
the room's own, chance is the room's own, and so is the order of its rows.
"""

from __future__ import annotations

import numpy as np

from tickstorm.games.chance import chance
from tickstorm.games.table import Table, ranks
from tickstorm.games.world import Berths, KindView

from .chances import PLACE
from .combat import SHOT_COLUMNS, History, fire, fly
from .movement import move
from .orbs import ORB_COLUMNS, Ground, collect, drop, renew
from .rooms import Rooms
from .rules import (
    DEATH_SHARE,
    KILL_SCORE,
    KILL_SHARE,
    LEADER_BOUNTY,
    MAX_HP,
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
MOST_SQUARES = 64  # along a side, for the largest room

MOST_ROOMS = 640
"""Rooms in one sea: their cells are told apart by 16 bits (`grid.py`)."""

SMALL_PLAYERS, SMALL_SIZE = 64, 4096
"""Rooms with at most so many players, in worlds of at most so many units a side, share a sea."""

FIRST_TICK = 1 << 32
"""Of a sea of many rooms: more than any room's own tick, so that none of its ticks is ever 0,
which in columns stands for never."""


class Sea:
    """Tables, and what is each room's own. Slots in its methods are rows of the tables."""

    def __init__(self, rules: Rules, ships: int, shots: int, orbs: int, rooms: int = 1):
        """`rules`: of the room, or of any of them: they share its tick rate. `rooms`: how many
        there can be; more than one are put into berths that tables grow for (`open_room`)."""
        alone = rooms == 1
        self.alone = alone
        self.size = rules.size
        self.tick = 0 if alone else FIRST_TICK
        self.common = rules
        self.rooms = Rooms(rooms)
        berths = None if alone else rooms
        self.ships = Table(SHIP, SHIP_COLUMNS, ships, berths)
        self.shots = Table(SHOT, SHOT_COLUMNS, shots, berths)
        self.orbs = Table(ORB, ORB_COLUMNS, orbs, berths)
        self.history = History(rules, ships, rooms)
        self.history.grid.in_use = 1
        self.ground = Ground(self.history.grid)
        self.feeds: dict[int, list] = {}
        """Of rooms in which something happened in the last step."""
        self._self_rows = np.zeros(ships, SELF)

    @property
    def tables(self) -> tuple[Table, Table, Table]:
        return self.ships, self.shots, self.orbs

    # Rooms.

    def open_room(
        self, rules: Rules, seed: int, tick: int, counts: tuple[int, int, int], orbs: int
    ) -> int | None:
        """Put a new room into a berth of so many rows in each table; returns its number, or None
        if there is no other."""
        rooms = self.rooms
        free = np.flatnonzero(~rooms.open)
        if not free.size:
            return None
        room = int(free[0])
        if not self.alone:
            for table, count in zip(self.tables, counts):
                table.berth(room, count)
        rooms.open[room] = True
        rooms.seed[room] = seed & 0xFFFF_FFFF_FFFF_FFFF
        rooms.epoch[room] = self.tick - tick
        rooms.size[room], rooms.high[room] = rules.size, rules.movement.high
        rooms.orbs[room] = orbs
        rooms.refill[room] = rules.refill(orbs)
        rooms.rewind[room] = True
        self.history.grid.in_use = int(np.flatnonzero(rooms.open)[-1]) + 1
        self.history.place(room, rules.size, self.ships)
        self.ground.forget(self.orbs)
        if len(self._self_rows) < self.ships.capacity:
            self._self_rows = np.zeros(self.ships.capacity, SELF)
        return room

    def close_room(self, room: int) -> None:
        """A room has gone, and all that is in it."""
        for table in self.tables:
            table.unberth(room)
        self.rooms.close(room)
        self.feeds.pop(room, None)
        self.ground.forget(self.orbs)

    def loaded(self, room: int) -> None:
        """The rows of a room have come from elsewhere."""
        orbs, berth = self.orbs, self.orbs.span(room)
        for_good = orbs.full("present")[berth] & (orbs.full("until")[berth] == 0)
        self.rooms.lying[room] = np.count_nonzero(for_good)
        self.ground.forget(orbs)

    # One tick.

    def step(self, commands: np.ndarray) -> None:
        """Advance one tick. `commands`: STEP_COMMAND[m], at most one row per slot; rows
        of empty slots are ignored."""
        ships, shots, orbs = self.tables
        rooms, rules, ground = self.rooms, self.common, self.ground
        self.tick += 1
        tick = self.tick
        self._turn_rounds()
        self._take(commands)
        self._respawn()
        self._move()
        self.history.record(tick, ships.x, ships.y)
        kills = fly(ships, shots, rooms, self.history, rules, tick)
        self._reward(*kills)
        self.bury(kills[1])
        collect(orbs, ships, rooms, ground, self.history, rules, tick)
        fire(ships, shots, rooms, rules, tick)
        renew(orbs, rooms, ground, tick)
        self._rank(rooms.open & ((tick - rooms.epoch) % rules.tick_hz == 0))

    def _turn_rounds(self) -> None:
        """A round ends with all shots gone; the next begins with everyone new at score 0."""
        rooms = self.rooms
        if not rooms.round_ticks.any():
            return
        rounds = rooms.round_ticks > 0
        phase = (self.tick - rooms.epoch) % np.maximum(rooms.round_ticks + rooms.podium_ticks, 1)
        rooms.podium = rounds & (phase >= rooms.round_ticks)
        ends, begins = rounds & (phase == rooms.round_ticks), rounds & (phase == 0)
        if ends.any():
            self.shots.release(np.flatnonzero(self.shots.present & ends[self.shots.room]))
            self._rank(ends)
        if begins.any():
            ships = self.ships
            slots = np.flatnonzero(ships.present & begins[ships.room])
            for column in (ships.score, ships.charge, ships.power, ships.streak, ships.respawn):
                column[slots] = 0
            self.spawn(slots, self.tick)
            self._rank(begins)

    def _take(self, commands: np.ndarray) -> None:
        """Store the commands of this tick, let silent players go, follow view delays."""
        ships, rules = self.ships, self.common
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
        if self.rooms.podium.any():
            ships.buttons[self.rooms.podium[ships.room]] &= 0xFF ^ BUTTON_FIRE
        behind = ships.claimed_delay - ships.view_delay
        ships.view_delay += np.clip(behind, -VIEW_DELAY_SLEW, VIEW_DELAY_SLEW)

    def _move(self) -> None:
        """Move all ships; a wreck has no velocity and no buttons, so it stays."""
        s, rooms = self.ships, self.rooms
        high = rooms.each(rooms.high, s.room)
        s.x[:], s.y[:], s.vx[:], s.vy[:], s.energy[:], s.boosting[:] = move(
            s.x, s.y, s.vx, s.vy, s.energy, s.move, s.buttons, self.common.movement, high
        )
        s.cooldown[:] = np.maximum(s.cooldown - 1, 0)

    # Spawn and despawn.

    def spawn(self, slots: np.ndarray, born: int) -> None:
        """Bring ships (int64[k], ascending) into play at places with few others around."""
        ships, rooms, rules = self.ships, self.rooms, self.common
        width = np.maximum(1, rooms.size // F(SPAWN_AREA))
        share = width / np.maximum(rooms.size, 1)

        def square(x: np.ndarray, y: np.ndarray, room: np.ndarray) -> np.ndarray:
            per_unit = rooms.each(share, room)
            column, row = (x * per_unit).astype(int), (y * per_unit).astype(int)
            return (room * MOST_SQUARES + row) * MOST_SQUARES + column

        alive = ships.alive
        if not self.alone:
            here = np.zeros(rooms.open.size, bool)
            here[ships.room[slots]] = True
            alive = alive & here[ships.room]
        taken = square(ships.x[alive], ships.y[alive], ships.room[alive])
        room = ships.room[slots]
        margin = 2 * float(rules.movement.low)
        lots = chance(
            rooms.seed[room], born - rooms.epoch[room], PLACE, ships.local(slots), 2 * SPAWN_CHOICES
        )
        span = rooms.each(rooms.size, room) - F(2 * margin)
        x, y = (margin + lots * span).reshape(2, SPAWN_CHOICES, slots.size).astype(F)
        crowd = np.sort(taken)
        wanted = square(x, y, room)
        found = np.searchsorted(crowd, wanted, "right") - np.searchsorted(crowd, wanted)
        best = np.argmin(found, axis=0), np.arange(slots.size)
        ships.alive[slots] = True
        ships.hp[slots] = MAX_HP
        ships.energy[slots] = rules.movement.max_energy
        ships.cooldown[slots] = 0
        ships.protected_until[slots] = born + rules.protection
        self.put(slots, x[best], y[best], born)

    def put(self, slots: np.ndarray, x: np.ndarray, y: np.ndarray, born: int) -> None:
        """Ships are at these places, standing still: for everyone new entities."""
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
            self.spawn(due, self.tick)

    def _reward(self, killer: np.ndarray, victim: np.ndarray) -> None:
        """Score kills (int64[k] each), all by the scores before them; tell the feeds."""
        ships = self.ships
        self.feeds.clear()
        for room, k, v in zip(ships.room[victim].tolist(), killer, victim):
            first = int(ships.berth_first[room])
            kill = ["kill", self.name(k), self.name(v), int(k) - first, int(v) - first]
            self.feeds.setdefault(room, []).append(kill)
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
        ships, rules = self.ships, self.common
        drop(self.orbs, ships, self.rooms, self.ground, victim, rules, self.tick)
        ships.alive[victim] = False
        ships.respawn[victim] = rules.respawn
        ships.vx[victim] = ships.vy[victim] = 0
        ships.energy[victim] = 0
        ships.charge[victim] = ships.power[victim] = ships.streak[victim] = 0
        ships.boosting[victim] = False
        ships.buttons[victim] = 0

    def _rank(self, due: np.ndarray) -> None:
        """Rank the players of rooms (bool[rooms]) by score, the lower slot first among equals."""
        if not due.any():
            return
        ships = self.ships
        slots = np.flatnonzero(ships.present & due[ships.room])
        room = ships.room[slots]
        order = np.lexsort((-ships.score[slots], room))
        ships.rank[slots[order]] = ranks(room[order]) + 1

    def name(self, slot: int) -> str:
        """The name of the player in a slot, as it was accepted."""
        return self.ships.name[slot].decode()

    # What others see.

    def view(self) -> list[KindView]:
        """All rooms for the wire; arrays are valid until the next call that changes one."""
        self.fill_rows(slice(0, self.ships.used))
        return [
            KindView(
                table.full("present"),
                table.full("born"),
                table.full("x"),
                table.full("y"),
                table.mutable,
                table.static,
                None if self.alone else Berths(table.room_of, table.numbers, self.rooms.epoch),
                still=table.shuffled if table is self.orbs else None,
            )
            for table in self.tables
        ]

    def fill_rows(self, rows: slice) -> None:
        """The mutable rows of ships for the wire, from their columns."""
        ships = self.ships
        row = ships.mutable[rows]
        full = ships.full
        row["x"], row["y"] = quantise(full("x")[rows]), quantise(full("y")[rows])
        row["heading"] = full("aim")[rows] >> 2
        row["hp"] = full("hp")[rows]
        row["flags"] = self.flags(rows)
        row["power"] = full("power")[rows]

    def flags(self, rows: slice) -> np.ndarray:
        """uint8[n]: ALIVE, THRUST, BOOST, PROTECTED and BOT of ships."""
        full = self.ships.full
        alive = full("alive")[rows]
        protected = alive & (full("protected_until")[rows] > self.tick)
        flags = (full("buttons")[rows] & BUTTON_THRUST) << 1
        for bit, column in (
            (0, alive),
            (2, full("boosting")[rows]),
            (3, protected),
            (4, full("bot")[rows]),
        ):
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
        row["flags"] = self.flags(slice(0, ships.used))
        row["score"] = np.minimum(ships.score, 0xFFFFFFFF)
        row["rank"] = ships.rank
        row["streak"] = np.minimum(ships.streak, 255)
        # Of all rows, for a slot may be free; `[slots]` is 60 times slower on structured arrays.
        return self._self_rows.take(slots)
