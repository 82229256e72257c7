"""What a crowd does, and how large a world it needs."""

from __future__ import annotations

from dataclasses import dataclass

CELL = 1024
"""Side of an interest cell, world units. A client sees the 3 × 3 cells around its own."""

STALL_S, STALL_EVERY_S = 8.0, 12.0
"""Slow clients read nothing for the first of every so many seconds."""

MIN_CELLS, MAX_CELLS = 2, 31
"""Cells along one side of the world that the server allows."""


@dataclass(frozen=True)
class Scenario:
    """One kind of load. Shares are of the players, times in seconds."""

    name: str
    summary: str
    settle_s: float = 4.0  # between everybody playing and the start of the measurement
    gather: int = 0  # players that fly to the middle of the world and stay there
    churn: float = 0.0  # share that leaves, and joins anew at once, each second
    storm_from: int = 0  # players there before all others join, during the measurement
    storm_s: float = 1.0  # within which they join
    slow: float = 0.0  # share that for long stretches reads nothing
    firing: float = 0.0  # share that keeps firing
    orbs: int = 0  # orbs in the world; -1 lets the game choose


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("spread", "everyone wanders; about --visible ships in each one's interest"),
        Scenario("pile", "300 players in one interest area, the rest spread", 12.0, gather=300),
        Scenario("churn", "10 % of the players leave and join every second", churn=0.1),
        Scenario("storm", "200 play, then all the others join within one second", storm_from=200),
        Scenario("slow", "10 % of the clients read nothing for 8 of every 12 seconds", slow=0.1),
        Scenario("arena", "the real game: orbs lie about, a fifth fire", firing=0.2, orbs=-1),
    )
}


def expected_visible(players: int, cells: int) -> float:
    """Mean number of ships in a client's block, itself included, in a world of cells × cells.

    A cell at the edge has fewer neighbours, so a side of n cells sees 3n - 2 columns in sum.

    >>> expected_visible(100, 2), round(expected_visible(2000, 18), 1)
    (100.0, 51.5)
    """
    return players * ((3 * cells - 2) / cells) ** 2 / cells**2


def world_cells(players: int, visible: float) -> int:
    """Cells along the side of the world in which about `visible` of `players` are seen.

    >>> world_cells(500, 50), world_cells(10, 50), world_cells(100_000, 50)
    (9, 2, 31)
    """
    sides = range(MIN_CELLS, MAX_CELLS + 1)
    return min(sides, key=lambda cells: abs(expected_visible(players, cells) - visible))
