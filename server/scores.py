"""All-time scores: the best of each name, in SQLite, written by a native thread.

The game loop offers batches and never waits; readers get the list as of the last batch.
A database that is damaged is set aside, and a new one begun.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import NamedTuple

log = logging.getLogger("tickstorm.scores")

TOP = 100
KEPT = 10_000
"""Names that are kept, the best ones: anybody may join with any name."""

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


class Scores:
    """The scores in the database at `path`. All methods are for the game loop."""

    def __init__(self, path: Path):
        self.top: list[dict] = []
        """The best people, bots left out: ``{name, score, streak, at}`` (`at`: epoch seconds)."""
        self._path = path
        self._queue: SimpleQueue = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="scores", daemon=True)
        self._thread.start()

    def offer(self, scores: list[Score]) -> None:
        """Take these in; of each name the best is kept."""
        if scores:
            self._queue.put(scores)

    def stop(self) -> None:
        """Write what was offered, then end. `stopped` tells when that is done."""
        self._queue.put(None)

    @property
    def stopped(self) -> bool:
        return not self._thread.is_alive()

    def join(self, timeout: float) -> None:
        """Wait for the end (for tools and tests; the game loop must not)."""
        self._thread.join(timeout)

    # -------------------------------------------------------------- in the thread

    def _run(self) -> None:
        self._database: sqlite3.Connection | None = None
        pending: dict[tuple[str, bool], Score] = {}
        self._write(pending)
        running = True
        while running:
            try:
                batch = self._queue.get(timeout=RETRY_S if pending else None)
            except Empty:
                batch = []
            while batch:
                for one in batch:
                    self._merge(pending, one)
                batch = [] if self._queue.empty() else self._queue.get()
            running = batch is not None
            if self._write(pending):
                pending.clear()
        if self._database is not None:
            self._database.close()

    @staticmethod
    def _merge(pending: dict[tuple[str, bool], Score], one: Score) -> None:
        key = one.name, one.bot
        before = pending.get(key)
        if before is not None:
            best = max(one.score, before.score), max(one.streak, before.streak)
            one = Score(*key, *best)
        elif len(pending) >= KEPT:  # the database has failed for long
            return
        pending[key] = one

    def _write(self, pending: dict[tuple[str, bool], Score]) -> bool:
        """Bring the pending scores into the database and read the top; False to try again."""
        for _ in range(2):
            try:
                if self._database is None:
                    self._database = self._open()
                with self._database as database:
                    now = time.time()
                    database.executemany(OFFER, [(*one, now) for one in pending.values()])
                    (count,) = database.execute("SELECT count(*) FROM scores").fetchone()
                    if count > KEPT + KEPT // 10:
                        database.execute(FORGET, (KEPT,))
                    rows = database.execute(
                        "SELECT name, score, streak, at FROM scores WHERE NOT bot "
                        "ORDER BY score DESC, at LIMIT ?",
                        (TOP,),
                    ).fetchall()
                self.top = [dict(zip(("name", "score", "streak", "at"), row)) for row in rows]
                return True
            except sqlite3.OperationalError as error:  # full, read-only, locked
                log.warning("scores can't be written now: %s", error)
                return False
            except sqlite3.DatabaseError as error:
                self._set_aside(error)
        return False

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
