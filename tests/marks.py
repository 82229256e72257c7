"""Promises in absolute time: measured in every run, held against their marks by `make marks`.

A test in `make test` must be green on a busy machine, too, so it asserts no absolute time.
What it measures is written down; ``make marks`` wants the machine for itself, asserts, and
prints the table.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

STRICT = bool(os.environ.get("MARKS"))
TABLE = Path(os.environ.get("MARKS", "") or os.devnull)


def mark(name: str, measured: float, low: float = float("-inf"), high: float = float("inf")):
    """`measured` should lie between `low` and `high`; that is asserted by `make marks` only."""
    within = low <= measured <= high
    if STRICT:
        with TABLE.open("a") as table:
            row = {"mark": name, "measured": round(float(measured), 3), "low": low, "high": high}
            table.write(json.dumps(row) + "\n")
        assert within, f"{name}: {measured} is not from {low} to {high}"


def _print(path: Path) -> None:
    print(f"{'mark':<58}{'measured':>10}{'from':>10}{'to':>10}")
    for row in map(json.loads, path.read_text().splitlines()):
        print(f"{row['mark']:<58}{row['measured']:>10}{row['low']:>10}{row['high']:>10}")


if __name__ == "__main__":
    _print(Path(sys.argv[1]))
