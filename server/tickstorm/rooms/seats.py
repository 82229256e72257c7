"""A room's table of clients: one row, a *seat*, per session; one column per fact.

Columns, not objects, so that each tick asks all clients a question in one numpy
operation: who is due, who lags, who has gone silent.
"""

from __future__ import annotations

import numpy as np

from ..protocol.wire import NO_SLOT
from ..replication.history import RING

NEVER = -RING
"""Baseline tick of a client that has no baseline: older than any that could be used."""

STRIKES = 3
"""Snapshots that a socket may refuse within a second before its rate is halved."""

SLOWEST = 4
"""A slow client's snapshots are at most so many ticks apart."""

CALM_S = 5
"""Seconds without a refusal until a slow client's rate is doubled again."""

SYNC_BYTES_S = 32768
"""Full snapshots that a client asks for (SYNC) may take so many bytes a second."""

FROZEN_S, SILENT_S, DEAD_S = 2, 10, 25
"""Unacknowledged for the first: frozen. Silent for the second: pinged; for the third: gone."""


class Seats:
    """All columns have one row per seat; ticks are int64."""

    def __init__(self, count: int):
        self.count = count
        self._free = list(range(count - 1, -1, -1))

        def column(value: float, dtype: type = np.int64) -> np.ndarray:
            return np.full(count, value, dtype)

        self.slot = column(NO_SLOT)  # the player's slot in the world
        self.looks_at = column(NO_SLOT)  # the slot from which it looks, or NO_SLOT:
        self.look_x, self.look_y = column(0, np.float32), column(0, np.float32)
        self.connected = column(False, bool)
        self.tailing = column(False, bool)  # part of a write is still pending
        self.cell = column(0)  # where it looks, with hysteresis; 0 before the first snapshot
        self.baseline_tick, self.baseline_cell = column(NEVER), column(0)
        self.offered = column(0)  # tick of the last snapshot that was made for it
        self.begun = column(0)  # tick of the last snapshot that the socket began to take
        self.heard = column(0)  # tick at which any byte came
        self.acted = column(0)  # tick at which an input was used
        self.pace_ticks = column(1)  # ticks between snapshots that this client can keep up with
        self.frozen_ticks = column(1)  # the same, while it acknowledges nothing
        self.wants_full = column(False, bool)  # asked for a full snapshot, not granted yet
        self.asked_full = column(False, bool)  # granted, not begun yet
        self.full_at = column(0)  # tick from which on another one may be granted
        self.strikes, self.calm_s = column(0), column(0)
        self.played = column(False, bool)  # an input was used since the session began
        self.credit = column(0, np.float64)  # messages it may still send
        self.room = column(0, np.intp)  # which of the rooms that share these columns it is in
        self.epoch = column(0)  # the tick at which that room's own tick was 0
        self.held = column(False, bool)  # its room stands still, or has closed

    def grow(self, more: int) -> None:
        """Add so many seats that nobody has."""
        for name, column in vars(self).items():
            if isinstance(column, np.ndarray):
                setattr(self, name, np.concatenate([column, np.zeros(more, column.dtype)]))
        self._free += range(self.count + more - 1, self.count - 1, -1)
        self.count += more

    @property
    def full(self) -> bool:
        return not self._free

    def take(self) -> int:
        """A free seat. There is one for every player and spectator that a room admits."""
        return self._free.pop()

    def free(self, seat: int) -> None:
        self._free.append(seat)

    def sit(self, seat: int, slot: int, middle: float, room: int = 0, epoch: int = 0) -> None:
        """A new session takes a seat: of the player in a row of the world, or NO_SLOT."""
        self.room[seat], self.epoch[seat] = room, epoch
        self.held[seat] = False
        self.slot[seat] = self.looks_at[seat] = slot
        self.look_x[seat] = self.look_y[seat] = middle
        self.cell[seat] = 0
        self.played[seat] = False

    def attach(self, seat: int, tick: int, message_rate: int) -> None:
        """A socket was attached: everything about the last one is forgotten."""
        self.connected[seat] = True
        self.tailing[seat] = False
        self.baseline_tick[seat] = NEVER
        for column in (self.offered, self.begun, self.heard, self.acted):
            column[seat] = tick
        self.pace_ticks[seat] = self.frozen_ticks[seat] = 1
        self.strikes[seat] = self.calm_s[seat] = 0
        self.wants_full[seat] = self.asked_full[seat] = False
        self.full_at[seat] = tick
        self.credit[seat] = 2.0 * message_rate

    def detach(self, seat: int) -> None:
        self.connected[seat] = self.tailing[seat] = False

    def charge(self, seats: np.ndarray, rate: int, hz: int) -> np.ndarray:
        """Charge one message per row of `seats`; returns the seats that sent too many.

        A token bucket per seat: `rate` per second, two seconds deep.
        """
        self.credit += rate / hz
        np.minimum(self.credit, 2.0 * rate, out=self.credit)
        self.credit -= np.bincount(seats, minlength=self.count)
        return np.flatnonzero(self.connected & (self.credit < 0))

    def interval(self, room_ticks: int) -> np.ndarray:
        """int64[n]: ticks between two snapshots of each client."""
        return np.maximum(np.maximum(self.pace_ticks, self.frozen_ticks), room_ticks)

    def due(self, tick: int, room_ticks: int) -> np.ndarray:
        """intp[m]: who gets a snapshot now. Longer intervals are staggered by cell, for whoever
        looks from the same one shares a body; who comes from another cell waits no longer for
        that. Who has no baseline yet is due at once."""
        interval = self.interval(room_ticks)
        turn = ((tick + self.cell) % interval == 0) | (tick - self.offered >= interval)
        turn |= self.baseline_tick == NEVER
        due = np.flatnonzero(self.connected & ~self.tailing & ~self.held & turn)
        self.offered[due] = tick
        return due

    def grant(self, tick: int) -> None:
        """Who asked for a full snapshot gets it next, unless the last one is not paid off."""
        ready = self.connected & self.wants_full & (self.full_at <= tick)
        self.baseline_tick[ready] = NEVER
        self.asked_full |= ready
        self.wants_full &= ~ready

    def pay(self, tick: int, seats: np.ndarray, sizes: np.ndarray, hz: int) -> None:
        """Full snapshots that were asked for have begun: the next ones have to wait, the longer
        the larger these are (`sizes`: int[m], bytes)."""
        asked = self.asked_full[seats]
        if asked.any():
            paid = seats[asked]
            self.full_at[paid] = tick + np.ceil(sizes[asked] * hz / SYNC_BYTES_S).astype(np.int64)
            self.asked_full[paid] = False

    def commit(self, tick: int, seats: np.ndarray, begun: np.ndarray) -> None:
        """After sending: the baseline moves where the socket took the first byte (bool[m])."""
        taken = seats[begun]
        self.baseline_tick[taken] = self.begun[taken] = tick
        self.baseline_cell[taken] = self.cell[taken]
        self.strikes[seats[~begun]] += 1
        self.strikes[self.tailing] += 1

    def pace(self, tick: int, ack: np.ndarray, hz: int) -> None:
        """Once a second: halve the rate of who keeps lagging, give it back after a calm while,
        and slow those down whose tab is frozen: it drains its socket but acknowledges nothing.
        (Spectators have nothing to acknowledge with.)"""
        lags, calm = self.strikes >= STRIKES, self.strikes == 0
        self.pace_ticks[lags] = np.minimum(self.pace_ticks[lags] * 2, SLOWEST)
        self.calm_s = np.where(calm, self.calm_s + 1, 0)
        recovers = self.calm_s >= CALM_S
        self.pace_ticks[recovers] = np.maximum(self.pace_ticks[recovers] // 2, 1)
        self.calm_s[recovers] = 0
        self.strikes.fill(0)
        frozen = self.connected & (self.baseline_tick - ack > FROZEN_S * hz)
        frozen &= self.slot != NO_SLOT
        self.frozen_ticks = np.where(frozen, hz, 1)

    def stuck(self, tick: int, limit: int) -> np.ndarray:
        """intp[m]: whose socket has begun no snapshot for `limit` ticks."""
        return np.flatnonzero(self.connected & (tick - self.begun > limit))

    def idle(self, tick: int, limit: int) -> np.ndarray:
        """intp[m]: players who gave no input for `limit` ticks."""
        return np.flatnonzero(self.connected & (self.slot != NO_SLOT) & (tick - self.acted > limit))

    def silent(self, tick: int, hz: int) -> tuple[np.ndarray, np.ndarray]:
        """intp[m] each: who should be pinged, and who has been silent for too long."""
        silence = np.where(self.connected, tick - self.heard, 0)
        dead = silence > DEAD_S * hz
        return np.flatnonzero((silence > SILENT_S * hz) & ~dead), np.flatnonzero(dead)
