"""What `/healthz` says of a server with several workers: one answer, whoever gives it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

GRAVEST = ("stalled", "draining", "ok")


def together(healths: Mapping[int, dict[str, Any]]) -> dict[str, Any]:
    """The health of the whole, by the workers' numbers.

    >>> one = {
    ...     "status": "ok",
    ...     "players": 2,
    ...     "rooms": 1,
    ...     "room_loads": {"a": {}},
    ...     "closed": {"DONE": 1},
    ... }
    >>> two = {"status": "stalled", "players": 3, "rooms": 1, "room_loads": {"private 0": {}}}
    >>> whole = together({0: one, 1: two})
    >>> whole["status"], whole["players"], list(whole["room_loads"]), whole["closed"]
    ('stalled', 5, ['a', 'private 1.0'], {'DONE': 1})
    """
    rows = list(healths.values())
    first = next((row for row in rows if row.get("stats")), rows[0])
    whole = dict(first)
    whole["status"] = min((row["status"] for row in rows), key=GRAVEST.index)
    for count in ("players", "rooms"):
        whole[count] = sum(row[count] for row in rows)
    for counts in ("refused", "closed"):
        total: Counter[str] = Counter()
        for row in rows:
            total.update(row.get(counts, {}))
        whole[counts] = dict(total)
    whole["room_loads"] = {
        id.replace("private ", f"private {worker}."): load
        for worker, row in sorted(healths.items())
        for id, load in row["room_loads"].items()
    }
    whole["workers"] = {
        str(worker): {key: row.get(key) for key in ("status", "pid", "players", "rooms", "busy")}
        for worker, row in sorted(healths.items())
    }
    return whole
