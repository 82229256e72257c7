"""What came of a run, as `bench/README.md` explains it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from ..scenarios import CELL
from .crowd import NEWCOMER, PLAYING, REGULAR, SLOW, Crowd
from .snapshots import percentiles, snapshot_gaps


class Mark(NamedTuple):
    """What had been counted when the measurement began, or ended."""

    at: float  # time.perf_counter()
    cpu_s: float
    bytes_in: int
    inputs_out: int
    left: int
    joins: int
    tick: int  # the newest that anyone has seen; 0 if snapshots don't say
    tick_at: float  # when it came

    @classmethod
    def of(cls, crowd: Crowd, tick: int, tick_at: float) -> Mark:
        """What is counted now."""
        sockets = crowd.sockets
        counts = sockets.bytes_in, sockets.inputs_out, crowd.left, len(crowd.join_ms)
        return cls(time.perf_counter(), time.process_time(), *counts, tick, tick_at)


def result(crowd: Crowd, begin: Mark, end: Mark, skipped_ticks: int) -> dict:
    """The figures of a measurement. `skipped_ticks`: by how many the clients fell behind."""
    elapsed = end.at - begin.at
    scenario, sample = crowd.scenario, crowd.sample
    by, at = np.array(crowd.snapshots.read_by), np.array(crowd.snapshots.read_at)
    group_of = np.array(crowd.group_of)
    still_open = np.zeros(len(group_of), bool)
    connections = zip(crowd.snapshots.connection, crowd.state)
    still_open[[c for c, state in connections if state == PLAYING]] = True
    owner, gap_ms = snapshot_gaps(by, at, begin.at, end.at, still_open, crowd.interval)
    group = group_of[owner]
    regular = gap_ms[group == REGULAR]
    read = by[(at >= begin.at) & (at <= end.at)]
    snapshot_hz = 1e3 / regular.mean() if len(regular) else 0.0
    if crowd.dialect.head_at:
        ticks = end.tick - begin.tick
        rate_hz = ticks / (end.tick_at - begin.tick_at)
    else:  # a snapshot does not say its tick: take each for one
        ticks, rate_hz = round(snapshot_hz * elapsed), snapshot_hz

    gap_p50, gap_p99, gap_max = percentiles(regular, 50, 99, 100)
    bytes_in, inputs_out = end.bytes_in - begin.bytes_in, end.inputs_out - begin.inputs_out
    figures = {
        "players": crowd.count,
        "playing": crowd.playing,
        "seconds": round(elapsed, 3),
        "ticks": ticks,
        "rate_hz": round(rate_hz, 3),
        "snapshot_hz": round(snapshot_hz, 3),
        "snapshots": len(read),
        "snapshot_gap_ms_p50": gap_p50,
        "snapshot_gap_ms_p99": gap_p99,
        "snapshot_gap_ms_max": gap_max,
        "bytes_per_player_s": round(bytes_in / elapsed / max(crowd.playing, 1)),
        "inputs_per_s": round(inputs_out / elapsed, 1),
        "inputs_withheld": crowd.sockets.inputs_withheld,
        "visible_mean": _mean(count for _, count in sample.visible),
        "snapshots_decoded": sample.decoded,
        "wire_errors": dict(sample.errors),
        "lost": crowd.lost.total(),
        "lost_reasons": dict(crowd.lost.most_common(8)),
        "client_cpu_percent": round((end.cpu_s - begin.cpu_s) / elapsed * 100, 1),
        "client_sockets": crowd.sockets.name,
        "client_skipped_ticks": skipped_ticks,
    }
    if scenario.gather:
        gathering = crowd.pilots.gathering
        figures["visible_pile_mean"] = _mean(n for c, n in sample.visible if gathering[c])
        figures["players_gathered"] = _gathered(crowd)
    if scenario.churn:
        figures["left_per_s"] = round((end.left - begin.left) / elapsed, 1)
    if scenario.churn or scenario.storm_from:
        ms = np.array(crowd.join_ms[begin.joins :])
        figures["join_ms_p50"], figures["join_ms_p99"] = percentiles(ms, 50, 99)
    if scenario.storm_from:
        figures["existing_players"] = min(scenario.storm_from, crowd.count)
        figures["existing_gap_ms_p99"], figures["existing_gap_ms_max"] = gap_p99, gap_max
        (figures["newcomer_gap_ms_p99"],) = percentiles(gap_ms[group == NEWCOMER], 99)
    if scenario.slow:
        figures["slow_players"] = len(crowd.slow)
        (figures["slow_gap_ms_p50"],) = percentiles(gap_ms[group == SLOW], 50)
        figures["slow_closed"] = dict(crowd.slow_closed)
    return figures


def _gathered(crowd: Crowd) -> int:
    """How many are in the block of cells around the middle now."""
    heads, middle = crowd.snapshots.heads, int(crowd.world / 2 // CELL)
    near = [np.abs(heads[axis] // CELL - middle) <= 1 for axis in ("x", "y")]
    return int((near[0] & near[1]).sum())


def _mean(values: Iterable[float]) -> float | None:
    values = list(values)
    return round(sum(values) / len(values), 1) if values else None
