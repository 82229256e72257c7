"""The command ``tickstorm``."""

from __future__ import annotations

import sys

from .. import __version__


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    print(f"tickstorm {__version__}", file=sys.stderr)
    return 0
