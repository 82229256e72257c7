"""``tickstorm drain``: `lobby/drain.py` has all of it."""

from __future__ import annotations


def main(arguments: list[str]) -> int:
    from ..lobby.drain import main as drain

    return drain(arguments)
