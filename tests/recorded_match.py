"""A match among scripted players that keeps a journal, for tests to take apart."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np

import game
from tickstorm.games.world import WorldSettings
from tickstorm.records import journal
from tickstorm.records.journal import Journal, Writer
from tickstorm.records.journal.format import MAGIC, frame, pack

SETTINGS = WorldSettings(20, 30, {"size": 2048, "orbs": 60})


class Match:
    """A world among scripted players, with its journal, as a room drives it."""

    def __init__(self, folder: Path, seed: int = 3, world=None, sessions=(), **limits):
        self.world = world or game.create_world(SETTINGS, seed)
        self.sessions = {slot: [session, slot, name, bot] for session, slot, name, bot in sessions}
        self.random = random.Random(seed)
        self.events: list[list] = []  # since the last step
        self.writer = Writer()
        self.folder = folder
        header = journal.header_of(game, "arena", SETTINGS, seed)
        self.journal = Journal(self.writer, folder, header, **limits)
        self.journal.begin(self.world, self.listed())

    def listed(self) -> list[list]:
        return list(self.sessions.values())

    def join(self, name: str) -> int:
        slot = self.world.join(name, False)
        self.sessions[slot] = [f"session-{name}", slot, name, False]
        self.events.append([slot, name, False, f"session-{name}"])
        return slot

    def leave(self, slot: int) -> None:
        self.world.leave(slot)
        del self.sessions[slot]
        self.events.append([slot])

    def play(self, ticks: int) -> None:
        """Players come and go, thrust, turn and fire."""
        for _ in range(ticks):
            dice = self.random.random()
            if dice < 0.2 and len(self.sessions) < 20:
                self.join(f"p{self.random.randrange(1000)}")
            elif dice < 0.25 and self.sessions:
                self.leave(self.random.choice(list(self.sessions)))
            commands = np.zeros(len(self.sessions), game.STEP_COMMAND)
            for row, slot in zip(commands, self.sessions):
                row["slot"], row["seq"] = slot, self.world.tick & 0xFFFF
                row["aim"] = self.random.randrange(1024)
                row["move"], row["buttons"] = self.random.randrange(256), self.random.randrange(8)
            self.world.step(commands)
            self.journal.record(self.world, self.events, commands, self.listed)
            self.events = []

    def close(self) -> None:
        """The room comes to its end."""
        self.journal.close(self.world, self.listed(), self.events)

    def end(self) -> None:
        """As after a crash, but that everything is on disk."""
        assert self.writer.close(10)

    def flush(self) -> None:
        """Wait until the writer has nothing left to do."""
        assert self.writer.flush(10)


def recorded(folder: Path, **options) -> Match:
    match = Match(folder, **options)
    match.play(130)
    match.end()
    return match


def only_segment(folder: Path) -> Path:
    (path,) = journal.segments(folder)
    return path


def rewrite(path: Path, change) -> None:
    """Change records of a segment, with frames that are right again."""
    records = [change(record) for record in journal.read(path)]
    framed = [frame(pack(record)) for record in records if record is not None]
    path.write_bytes(MAGIC + b"".join(framed))


def expected(seed: int = 0) -> dict:
    return journal.header_of(game, "arena", SETTINGS, seed)
