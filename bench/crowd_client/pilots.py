"""How the ships of a crowd fly, as rows of inputs: in curves, all at once."""

from __future__ import annotations

import numpy as np

from ..arena import LAYOUT
from ..scenarios import CELL, Scenario
from .frames import INPUT, masked

VIEW_DELAY = 2 * 16
"""What a client that draws two ticks behind would say, sixteenths of a tick."""


class Pilots:
    """One row of INPUT per client. Cohort k is every `cohorts`-th client from k on."""

    def __init__(
        self,
        clients: int,
        cohorts: int,
        world: float,
        scenario: Scenario,
        input_prefix: bytes,
        rng: np.random.Generator,
    ):
        self.gathering = np.zeros(clients, bool)
        self._cohorts, self._world, self._scenario = cohorts, world, scenario
        self._random = rng
        self._rows = np.zeros(clients, INPUT)
        self._rows["frame"] = np.void(LAYOUT.input_frame.start)
        self._rows["prefix"] = np.void(input_prefix)
        self._rows["view_delay"] = VIEW_DELAY
        self._heading = rng.uniform(0, 256, clients)  # 256ths of a circle
        self._turn = self._new_turns(clients)
        self._firing = np.zeros(clients, bool)
        self._firing[: round(scenario.firing * clients)] = True

    def inputs(self, cohort: int, heads: np.ndarray) -> tuple[range, bytes]:
        """The next input of each client of a cohort: ``(clients, frames)``, one after another.

        `heads`: HEAD[clients], the newest; all zeros where none has come yet.
        """
        if not cohort:
            self._steer(heads)
        clients = range(cohort, len(self._rows), self._cohorts)
        rows = self._rows[cohort :: self._cohorts]
        rows["seq"] += 1
        rows["ack"] = heads["tick"][cohort :: self._cohorts]
        return clients, masked(rows, self._random)

    def gather(self, heads: np.ndarray) -> None:
        """Choose those nearest to the middle: they fly there."""
        middle = self._world / 2
        distance = np.hypot(heads["x"] - middle, heads["y"] - middle)
        self.gathering[np.argsort(distance)[: self._scenario.gather]] = True

    def _steer(self, heads: np.ndarray) -> None:
        """Wander in curves; turn away from the edges; gather in the middle if that is the plan."""
        heading, turn, rows = self._heading, self._turn, self._rows
        changes = np.flatnonzero(self._random.random(len(rows)) < 1 / 40)
        turn[changes] = self._new_turns(len(changes))
        heading += turn

        known = heads["tick"] > 0
        if known.any():
            x, y = heads["x"], heads["y"]
            middle, margin = self._world / 2, 64.0
            far = self._world - margin
            back = (x < margin) | (y < margin) | (x > far) | (y > far)
            if self._scenario.gather:
                back |= self.gathering & (np.hypot(x - middle, y - middle) > CELL / 3)
            back = np.flatnonzero(back & known)
            inward = np.arctan2(middle - y[back], middle - x[back]) * (128 / np.pi)
            heading[back] = inward + self._random.uniform(-32, 32, len(back))
        rows["move"] = heading.astype(np.int64) & 0xFF
        rows["aim"] = (heading * 4).astype(np.int64) & 0x3FF
        rows["buttons"] = 1 | self._firing * np.uint8(4)

    def _new_turns(self, n: int) -> np.ndarray:
        """float64[n]: how much a ship turns per tick, 256ths of a circle."""
        return self._random.uniform(1.0, 4.0, n) * self._random.choice([-1.0, 1.0], n)
