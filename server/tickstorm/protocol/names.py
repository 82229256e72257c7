"""Text that people see of other people: names and chat."""

from __future__ import annotations

import unicodedata

# Control, format (bidirectional overrides, zero-width), surrogate, private, unassigned;
# line breaks.
_REFUSED = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}

# Letters and symbols that look like nothing: fillers of Hangul, the empty Braille cell.
_BLANK = "\u115f\u1160\u2800\u3164\uffa0"

MOST_MARKS = 3
"""Combining marks upon one character: no script needs more, and piles of them cover other lines."""

DEFAULT_NAME = "Player"


def clean(text: str, characters: int, size: int | None = None) -> str:
    """Normalised (NFKC) printable text of at most so many characters and UTF-8 bytes.

    >>> clean("  A\\u202eda\\n Lovelace ", 20)
    'Ada Lovelace'
    >>> clean("é" * 20, 20, size=7)
    'ééé'
    """
    text = unicodedata.normalize("NFKC", text[: 4 * characters])
    text = "".join(c for c in text if unicodedata.category(c) not in _REFUSED and c not in _BLANK)
    text = _unpiled(text)
    text = " ".join(text.split())[:characters].rstrip()
    if size is not None:
        text = text.encode()[:size].decode(errors="ignore").rstrip()
    return text


def _unpiled(text: str) -> str:
    """Without marks that are piled too high.

    >>> len(_unpiled("a" + chr(0x336) * 50 + "b"))
    5
    """
    kept, marks = [], 0
    for character in text:
        marks = marks + 1 if unicodedata.category(character) in ("Mn", "Me") else 0
        if marks <= MOST_MARKS:
            kept.append(character)
    return "".join(kept)
