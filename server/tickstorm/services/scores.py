"""All-time scores: the best of each name, in SQLite, written in the background.

The game loop offers batches and never waits; readers get the list as of the last
transaction. A database that is damaged is set aside, and a new one begun.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from pathlib import Path
from typing import NamedTuple

from ..records.background import Background

log = logging.getLogger("tickstorm.scores")

TOP = 100
KEPT = 10_000
"""Names that are kept, the best ones: anybody may join with any name."""

MOST_WAITING = 100_000
"""Scores that wait for the thread at most; it is seldom more than what one batch holds."""

GATHER_S = 0.05
"""Batches that come within so many seconds make one transaction."""

RETRY_S = 5.0

SCHEMA = """
CREATE TABLE IF NOT EXISTS scores (
    name TEXT NOT NULL, bot INTEGER NOT NULL, score INTEGER NOT NULL, streak INTEGER NOT NULL,
    at REAL NOT NULL, PRIMARY KEY (name, bot)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_score ON scores (bot, score DESC, at);
"""

OFFER = """
INSERT INTO scores VALUES (?, ?, ?, ?, ?) ON CONFLICT (name, bot) DO UPDATE SET
    at = CASE WHEN excluded.score > score THEN excluded.at ELSE at END,
    score = max(score, excluded.score), streak = max(streak, excluded.streak)
"""

FORGET = """
DELETE FROM scores WHERE (name, bot) IN
    (SELECT name, bot FROM scores ORDER BY score DESC, at LIMIT -1 OFFSET ?)
"""


class Score(NamedTuple):
    """What a player has reached so far: points, and kills without dying in between."""

    name: str
    bot: bool
    score: int
    streak: int = 0


class Scores(Background):
    """The scores in the database at `path`."""

    def __init__(self, path: Path):
        self.top: list[dict] = []
        """The best people, bots left out: ``{name, score, streak, at}`` (`at`: epoch seconds)."""
        self._path = path
        self._database: sqlite3.Connection | None = None
        self._pending: dict[tuple[str, bool], Score] = {}
        super().__init__("scores", MOST_WAITING, GATHER_S, RETRY_S)
        self.flush(0.0)  # has the list read at once

    def offer(  # type: ignore[override]  # a list is as large as it is long
        self, scores: list[Score]
    ) -> bool:
        """Take these in; of each name the best is kept. False if too many are waiting already."""
        if not scores:
            return True
        taken = super().offer(scores, len(scores))
        if not taken and self.dropped == 1:
            log.error("scores are dropped, for %d wait to be written", self.waiting)
        return taken

    # -------------------------------------------------------------- in the thread

    def _work(self, scores: list[Score]) -> None:
        for one in scores:
            self._merge(one)

    def _merge(self, one: Score) -> None:
        key = one.name, one.bot
        before = self._pending.get(key)
        if before is not None:
            best = max(one.score, before.score), max(one.streak, before.streak)
            one = Score(*key, *best)
        elif len(self._pending) >= KEPT:  # the database has failed for long
            return
        self._pending[key] = one

    def _settle(self) -> bool:
        """Bring the pending scores into the database and read the top; False to try again."""
        for _ in range(2):
            try:
                if self._database is None:
                    self._database = self._open()
                with self._database as database:
                    now = time.time()
                    rows = [(*one, now) for one in self._pending.values()]
                    database.executemany(OFFER, rows)
                    (count,) = database.execute("SELECT count(*) FROM scores").fetchone()
                    if count > KEPT + KEPT // 10:
                        database.execute(FORGET, (KEPT,))
                    rows = database.execute(
                        "SELECT name, score, streak, at FROM scores WHERE NOT bot "
                        "ORDER BY score DESC, at LIMIT ?",
                        (TOP,),
                    ).fetchall()
                self.top = [dict(zip(("name", "score", "streak", "at"), row)) for row in rows]
                self._pending.clear()
                return True
            except sqlite3.OperationalError as error:  # full, read-only, locked
                log.warning("scores can't be written now: %s", error)
                return False
            except sqlite3.DatabaseError as error:
                self._set_aside(error)
        return False

    def _end(self) -> None:
        if self._database is not None:
            self._database.close()

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(self._path, timeout=RETRY_S)
        try:
            (state,) = database.execute("PRAGMA quick_check(1)").fetchone()
            if state != "ok":
                raise sqlite3.DatabaseError(state)
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            database.executescript(SCHEMA)
        except sqlite3.Error:
            database.close()
            raise
        return database

    def _set_aside(self, error: sqlite3.DatabaseError) -> None:
        """A damaged database is kept for examination, beside its log."""
        if self._database is not None:
            self._database.close()
            self._database = None
        stamp = time.strftime("%Y%m%dT%H%M%S")
        target = self._path.with_name(f"{self._path.name}.damaged-{stamp}")
        for suffix in ("", "-wal", "-shm"):
            source = self._path.with_name(self._path.name + suffix)
            if source.exists():
                source.replace(target.with_name(target.name + suffix))
        log.error("the scores are damaged (%s): set aside as %s, a new file begun", error, target)
