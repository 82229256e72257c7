"""Tokens of bots at the end of a run, for the next one.

A server that is restarted takes its attached bots with it. With their tokens the next ones
are the same players, in the same ships with the same scores.
"""

from __future__ import annotations

import json
import os
from pathlib import Path


class Kept:
    """The tokens in the file `path`, by room and by the bot's number.

    The file is private, and gone once it has been read: a token is used once.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tokens: dict[str, dict[str, str]] = {}
        try:
            kept = json.loads(path.read_text())
            path.unlink()
        except (OSError, ValueError, RecursionError):
            return  # there is none, or none that can be used
        if isinstance(kept, dict) and all(map(_tokens_of_a_room, kept.values())):
            self._tokens = kept

    def take(self, room: str, number: int) -> str | None:
        """The token of a bot, if it has one."""
        return self._tokens.get(room, {}).pop(str(number), None)

    def keep(self, room: str, tokens: dict[int, str]) -> None:
        """With these, the bots of a room can come back."""
        self._tokens[room] = {str(number): token for number, token in tokens.items()}

    def save(self) -> None:
        """Write what is kept, for the next run."""
        tokens = {room: kept for room, kept in self._tokens.items() if kept}
        if not tokens:
            return
        self._path.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with os.fdopen(os.open(self._path, flags, 0o600), "w") as file:
            json.dump(tokens, file)


def _tokens_of_a_room(kept: object) -> bool:
    return isinstance(kept, dict) and all(isinstance(token, str) for token in kept.values())
