"""``tickstorm journal``: `records/journal/__main__.py` has all of it."""

from __future__ import annotations


def main(arguments: list[str]) -> int:
    from ..records.journal.__main__ import main as look

    return look(arguments)
