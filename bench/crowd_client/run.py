"""The course of a run: the crowd joins, settles, is measured."""

from __future__ import annotations

import gc
import json
import time

from .crowd import ABSENT, COHORTS, JOIN_LIMIT_S, PLAYING, Crowd
from .result import Mark, result


def say(**fields) -> None:
    """A line for `bench.crowd`: progress, a mark, the result."""
    print(json.dumps(fields), flush=True)


class Run:
    """Joins the crowd, lets it settle, measures, and reports."""

    def __init__(self, config: dict):
        self.config = config
        self.crowd = Crowd(config)
        self.scenario = self.crowd.scenario
        self.seconds = config["seconds"]
        self.sweeps = 0
        self.next_report = 0.0
        self.churn_debt = 0.0
        self.churn_next = 0
        self.measuring = False
        self.skipped_ticks = 0  # by which the clients fell behind while measuring

    def go(self) -> dict:
        """All of it; returns the result (`result.py`)."""
        crowd, scenario = self.crowd, self.scenario
        first = min(scenario.storm_from or crowd.count, crowd.count)
        crowd.newcomers_from = first
        self._join(range(first), self.config["join_per_s"])
        crowd.lose_the_late()
        if scenario.gather:
            crowd.gather()
        self._during(scenario.settle_s, "settling")

        gc.collect()
        gc.freeze()
        tick = self._next_tick("settling")
        begin = Mark.of(crowd, *tick)
        self.measuring = crowd.sample.counting = True
        say(mark="begin")
        if first < crowd.count:
            self._join(range(first, crowd.count), (crowd.count - first) / scenario.storm_s)
        self._during(begin.at + self.seconds - time.perf_counter(), "measuring", scenario.churn)
        tick = self._next_tick("measuring")
        say(mark="end")
        end = Mark.of(crowd, *tick)
        self.measuring = crowd.sample.counting = False
        return result(crowd, begin, end, self.skipped_ticks)

    def _join(self, clients: range, per_s: float) -> None:
        """Let `clients` join at a rate, and wait until they play or are lost."""
        crowd, started = self.crowd, time.perf_counter()
        waiting = list(reversed(clients))

        def arrivals() -> bool:
            due = min(round((time.perf_counter() - started) * per_s) + 1, len(clients))
            while waiting and len(clients) - len(waiting) < due:
                crowd.join(waiting.pop())
            if waiting:
                return True
            late = time.perf_counter() - started > len(clients) / per_s + JOIN_LIMIT_S
            return not late and any(ABSENT < crowd.state[c] < PLAYING for c in clients)

        while arrivals():
            self._step("joining")

    def _during(self, seconds: float, phase: str, churn: float = 0.0) -> None:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            if churn:
                self._churn(churn)
            self._step(phase)

    def _churn(self, share: float) -> None:
        """Let the players whose turn it is leave, and join anew."""
        crowd = self.crowd
        self.churn_debt += share * crowd.count * crowd.interval / COHORTS
        while self.churn_debt >= 1.0:
            self.churn_debt -= 1.0
            client = self.churn_next = (self.churn_next + 1) % crowd.count
            if crowd.state[client] == PLAYING:
                crowd.leave(client)
                crowd.join(client)

    def _step(self, phase: str) -> None:
        """One sweep and one cohort's inputs, then sleep until the next is due."""
        crowd = self.crowd
        if not self.sweeps:
            self.origin = time.perf_counter()
        crowd.sweep()
        crowd.send_inputs(self.sweeps % COHORTS)
        if self.scenario.slow:
            crowd.stall(time.perf_counter())
        self.sweeps += 1

        spacing = crowd.interval / COHORTS
        now = time.perf_counter()
        due = self.origin + self.sweeps * spacing
        if now < due:
            time.sleep(due - now)
        elif now - due > crowd.interval:  # more than a tick behind: let those inputs go
            self.origin += now - due
            self.skipped_ticks += self.measuring
        if now >= self.next_report:
            self.next_report = now + 1.0
            crowd.lose_the_late()
            say(phase=phase, playing=crowd.playing, lost=crowd.lost.total())

    def _next_tick(self, phase: str) -> tuple[int, float]:
        """Wait for a tick that nobody has seen yet; returns it and when it came."""
        if not self.crowd.dialect.head_at:
            return 0, time.perf_counter()
        ticks = self.crowd.snapshots.heads["tick"]
        limit = time.perf_counter() + 10 * self.crowd.interval
        before = newest = int(ticks.max())
        while newest == before and time.perf_counter() < limit:
            self._step(phase)
            newest = int(ticks.max())
        return newest, time.perf_counter()
