"""Why a tick was late, in a sentence, and as plain data for the page."""

from __future__ import annotations

from typing import Any

from ..rooms.meter import SlowTick

MOST_OF = 0.5
"""A cause is named from this part of the time on."""


def why(tick: SlowTick) -> str:
    """The sentence. What took the largest part comes first.

    >>> tick = SlowTick(
    ...     0.08,
    ...     0,
    ...     0,
    ...     "crowd",
    ...     "arena",
    ...     7,
    ...     late_s=0.01,
    ...     took_s=0.07,
    ...     cpu_s=0.068,
    ...     between_s=0.05,
    ...     between_cpu_s=0.01,
    ...     others_s=0,
    ...     garbage_s=0,
    ...     phases=[("read", 0.01), ("step", 0.06)],
    ...     counts={},
    ... )
    >>> why(tick)
    'It took 70 ms, 60 of them for step.'
    """
    if tick.late_s > tick.took_s:
        return _why_late(tick)
    took, away = tick.took_s, tick.took_s - tick.cpu_s
    if away > MOST_OF * took:
        return (f"It took {_ms(took)} ms, but had a core for {_ms(tick.cpu_s)} of them only: the "
                "machine ran something else, or a system call waited.")  # fmt: skip
    name, longest = max(tick.phases, key=lambda phase: phase[1], default=("nothing", 0.0))
    text = f"It took {_ms(took)} ms, {_ms(longest)} of them for {name}."
    room = tick.counts.get("longest room")
    if name == "rules" and room:
        text += f" The longest was room {room} with {tick.counts['longest room ms']:g} ms."
    return text


def _why_late(tick: SlowTick) -> str:
    late = tick.late_s
    text = f"It began {_ms(late)} ms late"
    if tick.garbage_s > MOST_OF * late:
        return f"{text}: the garbage collector took {_ms(tick.garbage_s)} ms before it."
    if tick.others_s > MOST_OF * late:
        return f"{text}: ticks of other rooms took {_ms(tick.others_s)} ms before it."
    other = tick.between_cpu_s - tick.others_s - tick.garbage_s
    if other > MOST_OF * late:
        return (f"{text}: something else in the worker took {_ms(other)} ms before it, such as "
                "joins, requests, a checkpoint or a room that opened.")  # fmt: skip
    return f"{text}: the worker wanted to run and the machine ran something else."


def _ms(seconds: float) -> str:
    ms = seconds * 1e3
    return f"{ms:.0f}" if ms >= 10 else f"{ms:.1f}"


def described(tick: SlowTick) -> dict[str, Any]:
    """A slow tick as plain data; times in ms."""
    return {
        "at": round(tick.at, 3),
        "kind": tick.kind,
        "room": tick.room,
        "tick": tick.tick,
        "over_ms": round(tick.over_s * 1e3, 2),
        "late_ms": round(tick.late_s * 1e3, 2),
        "took_ms": round(tick.took_s * 1e3, 2),
        "cpu_ms": round(tick.cpu_s * 1e3, 2),
        "others_ms": round(tick.others_s * 1e3, 2),
        "garbage_ms": round(tick.garbage_s * 1e3, 2),
        "phases": [[name, round(seconds * 1e3, 3)] for name, seconds in tick.phases],
        "counts": tick.counts,
        "stacks": len(tick.stacks) if tick.stacks else 0,
        "why": why(tick),
    }
