"""A crowd's journal, tick by tick: its tables, and what players did. See `timeline.py`."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from ..games.catalogue import CROWD, Catalogue, GameError
from ..games.kind import Kind
from ..games.world import KindView, World
from . import journal
from .journal import JournalError, shared
from .journal.format import read_one
from .replay import Reel

MOST_ROWS = 300
"""Of a kind, so many rows are listed, and of a tick so many changes."""

BUCKETS = 300


class CrowdTimeline:
    """`folder`: that of the room's journal. Reads where each record is; raises JournalError, or
    GameError if its game isn't among `games`."""

    strays: int | None = None

    def __init__(self, folder: Path, games: Catalogue):
        paths = journal.segments(folder)
        header = read_one(paths[-1])[1]
        entry = games[header["game"]]
        if entry.kind != CROWD:
            raise GameError(f"{entry.name!r} is no game of a crowd")
        self.game, self.title, self.header = entry.game, entry.title, header
        self.reel = Reel(entry.game, paths)
        self.first, self.last = self.reel.first, self.reel.last
        self._world: World | None = None

    @staticmethod
    def rows(data: Path) -> list[dict[str, Any]]:
        """What a list of journals says of all that there are in DATA_DIR."""
        rows = []
        for folder in (data / "rooms").glob("*/"):
            paths = journal.segments(folder)
            if paths and ".aside-" not in folder.name:
                with contextlib.suppress(JournalError, OSError):
                    header = read_one(paths[-1])[1]
                    rows.append(_listed(f"rooms/{folder.name}", unquote(folder.name), header))
        for record in shared.records(data / shared.FOLDER):
            if record[0] == shared.OPEN:
                rows.append(_listed(f"small/{record[1]}", record[1], record[2]))
        return list({row["journal"]: row for row in rows}.values())

    def overview(self) -> dict[str, Any]:
        kinds = self.game.KINDS
        return {
            "game": self.game.name, "title": self.title, "room": self.header["room"],
            "kind": "crowd", "first": self.first, "last": self.last,
            "hz": self.header["settings"]["tick_hz"], "checked": True, "other_rules": False,
            "kinds": [
                {"name": kind.name,
                 "fields": {c.name: {"type": c.dtype, "step": c.scale, "hidden": False}
                            for c in kind.sent}}
                for kind in kinds
            ],
            "activity": [0], "marks": [], "source": {},
        }  # fmt: skip

    def at(self, tick: int) -> World:
        """The world after `tick`, or the last one before it that can be reached."""
        base = self.reel.before(tick)
        world = self._world
        if world is None or not base <= world.tick <= tick:
            world = self.game.load_world(self.reel.read(self.reel.checkpoints[base])[3])
        while world.tick < tick and (place := self.reel.ticks.get(world.tick + 1)) is not None:
            journal.step(self.game, world, self.reel.read(place))
        self._world = world
        return world

    def moment(self, tick: int) -> dict[str, Any]:
        """As `Timeline.moment`; of each kind, so many rows. What moves anyway is no change."""
        tick = min(max(tick, self.first), self.last)
        before = self._tables(self.at(max(tick - 1, self.first)))
        place = self.reel.ticks.get(tick)
        world = self.at(tick)
        after = self._tables(world)
        record = self.reel.read(place) if place is not None and world.tick == tick else None
        changes, came, went = _differences(before, after, self._steady())
        acts = [{"what": "step", "event": None, "who": "", "name": "", "changes": changes,
                 "came": came, "went": went, "sent": [], "answer": None,
                 "refused": None}]  # fmt: skip
        return {
            "tick": world.tick,
            "time": world.tick / self.header["settings"]["tick_hz"],
            "same": None if record is None or record[4] is None
            else world.checksum() == record[4],  # of small rooms, ticks have no checksum
            "error": "",
            "events": [] if record is None else self._events(record),
            "acts": acts if record is not None else [],
            "entities": [row for rows in after.values() for row in rows.values()],
            "players": [], "timers": [], "locked": False, "patch": 0, "parts": 0,
        }  # fmt: skip

    def _events(self, record: list) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for event in record[2]:
            kind, name = ("join", event[1]) if len(event) > 1 else ("leave", f"slot {event[0]}")
            found.append({"kind": kind, "who": str(event[0]), "name": name, "what": kind,
                          "values": {}})  # fmt: skip
        for row in np.frombuffer(record[3], self.game.STEP_COMMAND)[:MOST_ROWS]:
            values = {name: row[name].item() for name in row.dtype.names if name != "slot"}
            found.append({"kind": "move", "who": str(row["slot"]), "name": f"slot {row['slot']}",
                          "what": "move", "values": values})  # fmt: skip
        return found

    def _steady(self) -> set[tuple[str, str]]:
        return {(k.name, c.name) for k in self.game.KINDS for c in k.columns if c.role == "state"}

    def _tables(self, world: World) -> dict[str, dict[str, dict[str, Any]]]:
        return {
            kind.name: _rows(kind, view)
            for kind, view in zip(self.game.KINDS, world.view(), strict=True)
        }


def _listed(name: str, room: str, header: dict[str, Any]) -> dict[str, Any]:
    return {"journal": name, "where": "rooms", "room": room, "game": header.get("game", "?"),
            "first": 0, "last": 0, "created": header.get("created", 0.0),
            "closed": False}  # fmt: skip


def _rows(kind: Kind, view: KindView) -> dict[str, dict[str, Any]]:
    """The first rows of a kind, by an id that a slot has only once."""
    rows = {}
    for slot in np.flatnonzero(view.present)[:MOST_ROWS]:
        fields: dict[str, Any] = {"x": float(view.x[slot]), "y": float(view.y[slot])}
        for column in kind.sent:
            table = view.static if column.role == "static" else view.mutable
            if column.name not in fields:
                value = table[column.name][slot].item()
                fields[column.name] = (
                    value.decode(errors="replace") if isinstance(value, bytes)
                    else value * column.scale if column.scale != 1 else value
                )  # fmt: skip
        id = f"{kind.name} {slot}"
        rows[f"{id} {view.born[slot]}"] = {
            "id": id, "kind": kind.name, "name": str(fields.get("name", "")), "fields": fields
        }  # fmt: skip
    return rows


def _differences(
    before: dict[str, dict], after: dict[str, dict], steady: set[tuple[str, str]]
) -> tuple[list[dict[str, Any]], list[str], list[str]]:
    changes: list[dict[str, Any]] = []
    came: list[str] = []
    went: list[str] = []
    for kind, rows in after.items():
        was = before[kind]
        came += [rows[id]["id"] for id in rows.keys() - was.keys()]
        went += [was[id]["id"] for id in was.keys() - rows.keys()]
        for id in rows.keys() & was.keys():
            for name, value in rows[id]["fields"].items():
                old = was[id]["fields"][name]
                if (kind, name) in steady and old != value:
                    changes.append({"entity": rows[id]["id"], "field": name, "before": old,
                                    "after": value, "line": ""})  # fmt: skip
    return changes[:MOST_ROWS], sorted(came)[:MOST_ROWS], sorted(went)[:MOST_ROWS]
