"""Inputs in, at most one command per player and tick out.

Every input row of a tick comes in as one array. An input meant for a coming tick
waits for it; one without a target, or too late for it, counts for the next tick
unless something newer is there. Nothing here trusts a client: sequences are
compared modulo 65,536, targets are bounded, and what is old or double is dropped
and counted.
"""

from __future__ import annotations

import numpy as np

from ..games.game import Game
from ..games.kind import names_of
from ..protocol.wire import NO_SLACK

AHEAD = 8
"""Ticks that an input may be early; the size of each player's ring of waiting inputs."""


class InputBuffer:
    """Waiting inputs of all seats.

    Shapes: ``waiting: row[AHEAD, n]`` and ``waiting_for: int64[AHEAD, n]`` (the
    tick it waits for, -1 if empty); per seat ``newest``, ``applied`` (sequences, -1
    before the first), ``ack`` (tick of the newest snapshot it says it has), ``slack``.
    """

    def __init__(self, seats: int, row: np.dtype):
        """`row`: an input as it comes in, `Layout.input_row`."""
        self.waiting = np.zeros((AHEAD, seats), row)
        self.waiting_for = np.full((AHEAD, seats), -1, np.int64)
        self.newest = np.full(seats, -1, np.int64)
        self.applied = np.full(seats, -1, np.int64)
        self.ack = np.zeros(seats, np.int64)
        self.slack = np.full(seats, NO_SLACK, np.int8)
        self.late = 0
        self.dropped = 0

    def forget(self, seat: int, tick: int) -> None:
        """Start a seat anew: another client sits there, or the same one after a break."""
        self.waiting_for[:, seat] = -1
        self.newest[seat] = self.applied[seat] = -1
        self.ack[seat] = tick
        self.slack[seat] = NO_SLACK

    def grow(self, more: int) -> None:
        """Add so many seats."""
        for name, column in vars(self).items():
            if isinstance(column, np.ndarray):
                wider = ((0, 0),) * (column.ndim - 1) + ((0, more),)
                setattr(self, name, np.pad(column, wider))
        self.waiting_for[:, -more:] = -1

    def put(
        self, tick: int, seats: np.ndarray, rows: np.ndarray, epoch: np.ndarray | None = None
    ) -> None:
        """Take in a tick's rows, in order of arrival, before `tick` is stepped.

        Args: `seats`: intp[m]; `rows`: row[m]; `epoch`: int64[m], the tick that each one's room
        calls 0, or None where they count alike. A seat may appear several times; its rows are
        then taken one after the other.
        """
        if epoch is None:
            epoch = np.zeros(len(seats), np.int64)
        while len(seats):
            first = _first_of_each(seats)
            self._put_distinct(tick, seats[first], rows[first], epoch[first])
            seats, rows, epoch = seats[~first], rows[~first], epoch[~first]

    def _put_distinct(
        self, tick: int, seats: np.ndarray, rows: np.ndarray, epoch: np.ndarray
    ) -> None:
        seq = rows["seq"].astype(np.int64)
        newest = self.newest[seats]
        newer = (newest < 0) | (_ahead(seq, newest) > 0)
        self.dropped += int(len(newer) - np.count_nonzero(newer))
        seats, rows, seq, epoch = seats[newer], rows[newer], seq[newer], epoch[newer]
        self.newest[seats] = seq
        # An acknowledgement can't be from the future, nor go back.
        ack = np.minimum(rows["ack"] + epoch, tick - 1)
        self.ack[seats] = np.maximum(self.ack[seats], ack)

        target = rows["target"] + epoch
        aimed = rows["target"] > 0
        slack = np.clip(target - tick, -127, 127)
        self.slack[seats[aimed]] = slack[aimed]
        self.late += int(np.count_nonzero(aimed & (slack < 0)))
        # Too early is as forged as it is useless: it counts for the next tick.
        when = np.where(aimed & (slack >= 0) & (slack < AHEAD), target, tick)
        place = when % AHEAD
        self.waiting[place, seats] = rows
        self.waiting_for[place, seats] = when

    def take(self, tick: int) -> tuple[np.ndarray, np.ndarray]:
        """The inputs for `tick`: ``(seats: intp[m], rows: row[m])``, one per seat."""
        place = tick % AHEAD
        seats = np.flatnonzero(self.waiting_for[place] == tick)
        rows = self.waiting[place, seats]
        # A late input may have overtaken one that waited: only what is newer counts.
        seq = rows["seq"].astype(np.int64)
        applied = self.applied[seats]
        newer = (applied < 0) | (_ahead(seq, applied) > 0)
        self.dropped += int(len(newer) - np.count_nonzero(newer))
        self.waiting_for[place] = -1
        seats, rows = seats[newer], rows[newer]
        self.applied[seats] = seq[newer]
        return seats, rows


def commands(game: Game, slots: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """STEP_COMMAND[m] for the players in `slots`, clamped to what the game allows."""
    out = np.zeros(len(rows), game.STEP_COMMAND)
    out["slot"] = slots
    out["seq"] = rows["seq"]
    for name in names_of(game.COMMAND):
        out[name] = rows[name]
    game.clamp(out)
    return out


def _first_of_each(seats: np.ndarray) -> np.ndarray:
    """bool[m]: the first appearance of each seat."""
    first = np.zeros(len(seats), bool)
    first[np.unique(seats, return_index=True)[1]] = True
    return first


def _ahead(seq: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """How far `seq` is ahead of `reference`, modulo 65,536: -32768..32767."""
    return (seq - reference + 32768) % 65536 - 32768
