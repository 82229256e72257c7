"""What a crowd of bots has seen, counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

_BIN_MS = 0.1
_PAUSE_BIN_MS = 1.0
_BINS = 50_000
"""Gaps up to 5 s count by tenths of a millisecond; longer ones as 5 s. Pauses up to 50 s by
milliseconds."""


@dataclass
class Tally:
    """Sums over all bots of a run; its size does not grow with time."""

    snapshots: int = 0
    inputs: int = 0
    bytes_received: int = 0
    played_s: float = 0.0  # time with an open connection, over all players
    resumed: int = 0
    reconnects: int = 0
    kills: int = 0
    deaths: int = 0
    round_trip_s: float = 0.0  # sum over `pongs`
    pongs: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    scores_lost: int = 0  # ships that came back with less than a death would have taken
    gaps: np.ndarray = field(default_factory=lambda: np.zeros(_BINS + 1, np.int64))
    pauses: np.ndarray = field(default_factory=lambda: np.zeros(_BINS + 1, np.int64))

    def gap(self, seconds: float) -> None:
        """A player waited this long from one snapshot to the next."""
        self.gaps[min(int(seconds * 1000 / _BIN_MS), _BINS)] += 1

    def pause(self, seconds: float) -> None:
        """From the last snapshot before a drop to the first one after, in the same ship."""
        self.pauses[min(int(seconds * 1000 / _PAUSE_BIN_MS), _BINS)] += 1

    def gap_ms(self, percentile: float) -> float | None:
        """Upper bound of the gap that this percentage of gaps does not exceed."""
        return _percentile_ms(self.gaps, percentile, _BIN_MS)

    def report(self) -> dict:
        """For the table and for JSON; None where nothing was measured."""
        return {
            "snapshots": self.snapshots,
            "snapshot_gap_ms_p50": self.gap_ms(50),
            "snapshot_gap_ms_p99": self.gap_ms(99),
            "bytes_per_player_s": _ratio(self.bytes_received, self.played_s),
            "inputs_per_player_s": _ratio(self.inputs, self.played_s),
            "round_trip_ms_mean": _ratio(self.round_trip_s * 1000, self.pongs),
            "kills": self.kills,
            "deaths": self.deaths,
            "resumed": self.resumed,
            "pause_ms_p50": _percentile_ms(self.pauses, 50, _PAUSE_BIN_MS),
            "pause_ms_p99": _percentile_ms(self.pauses, 99, _PAUSE_BIN_MS),
            "pause_ms_max": _percentile_ms(self.pauses, 100, _PAUSE_BIN_MS),
            "scores_lost": self.scores_lost,
            "reconnects": self.reconnects,
            "errors": self.errors.total(),
            "error_messages": dict(self.errors.most_common(20)),
        }


def _percentile_ms(counts: np.ndarray, percentile: float, bin_ms: float) -> float | None:
    if not counts.any():
        return None
    reached = np.cumsum(counts)
    place = int(np.searchsorted(reached, reached[-1] * percentile / 100))
    return round((place + 1) * bin_ms, 1)


def _ratio(amount: float, per: float) -> float | None:
    return round(amount / per, 1) if per else None
