"""`python -m bench tick`: what a tick computes, without any socket: step, interest, encoding."""

from __future__ import annotations

import json
import os
from pathlib import Path
from time import perf_counter

import numpy as np

from tickstorm.rooms import inputs

from .arena import GAME, LAYOUT
from .crowd import TICK_HZ, context
from .peers.arena import Arena, Settings
from .scenarios import CELL, world_cells
from .server_process import cores

WARM_UP = 40
"""Ticks that are not measured."""

PHASES = ("step", "interest", "encode")


def measure(players: int, visible: float, ticks: int, seed: int) -> dict:
    """Everyone wanders as in the scenario `spread`, and is sent every tick.

    Returns µs per player and tick: the median over `ticks` of each phase and of the whole.
    """
    cells = world_cells(players, visible)
    size = cells * CELL
    arena = Arena(Settings(0, TICK_HZ, size, players, seed))
    for i in range(players):
        arena.world.join(f"crowd {i}", True)
    slots, random = np.arange(players), np.random.default_rng(seed)
    intent = np.zeros(players, LAYOUT.input_row)
    heading = random.uniform(0, 256, players)
    turn = random.uniform(1, 4, players) * random.choice([-1, 1], players)
    took, sizes, seen = [], [], []
    for tick in range(WARM_UP + ticks):
        heading += turn
        back = _near_edge(arena, slots, size)
        heading[back] = _inward(arena, slots[back], size)
        intent["move"] = heading.astype(np.int64) & 0xFF
        intent["aim"] = (heading * 4).astype(np.int64) & 0x3FF
        intent["buttons"] = 1
        intent["seq"] = tick & 0xFFFF
        commands = inputs.commands(GAME, slots, intent)

        at = [perf_counter()]
        arena.world.step(commands)
        at.append(perf_counter())
        arena.record()
        at.append(perf_counter())
        snapshots = arena.encode(slots)
        at.append(perf_counter())
        arena.commit(slots, [True] * players)
        if tick >= WARM_UP:
            took.append([*np.diff(at), at[-1] - at[0]])
            sizes.append(snapshots.size.mean())
            seen.append(_visible(arena, slots))
    us = np.median(took, axis=0) * 1e6 / players
    return {
        "kind": "tick",
        "players": players,
        "world_size": size,
        "ticks": ticks,
        "visible_mean": round(float(np.mean(seen)), 1),
        "bytes_per_player_s": round(float(np.mean(sizes)) * TICK_HZ),
        **{f"{name}_us": round(float(value), 3) for name, value in zip(PHASES, us)},
        "us_per_player_tick": round(float(us[-1]), 3),
    }


def _near_edge(arena: Arena, slots: np.ndarray, size: int) -> np.ndarray:
    x, y = arena.world.eyes(slots)
    return np.flatnonzero((np.minimum(x, y) < 64) | (np.maximum(x, y) > size - 64))


def _inward(arena: Arena, slots: np.ndarray, size: int) -> np.ndarray:
    x, y = arena.world.eyes(slots)
    return np.arctan2(size / 2 - y, size / 2 - x) * (128 / np.pi)


def _visible(arena: Arena, slots: np.ndarray) -> float:
    """Mean number of ships in the clients' blocks."""
    ships = arena.histories[0]
    cells, members = np.unique(arena.cell[slots], return_counts=True)
    group, _ = ships.rows_in_blocks(np.full(len(cells), arena.world.tick), cells)
    return float((np.bincount(group, minlength=len(cells)) * members).sum() / len(slots))


def main(players: int, visible: float, ticks: int, seed: int, path: str | None) -> int:
    if cores()[0]:
        os.sched_setaffinity(0, cores()[0])
    result = {**measure(players, visible, ticks, seed), **context()}
    print(
        f"{players} players, {result['visible_mean']} {GAME.KINDS[0].name}s in a client's "
        f"interest, everything moves, {ticks} ticks; medians, µs per player and tick:"
    )
    for name in PHASES:
        print(f"  {name:<10} {result[f'{name}_us']:7.3f}")
    print(f"  {'together':<10} {result['us_per_player_tick']:7.3f}")
    if path:
        Path(path).write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    return 0
