"""What the admin page shows of a worker, as plain data. It reads, and changes nothing.

`Machine.now` is made once a second for all who look, `room` for the one that is looked into.
"""

from __future__ import annotations

import os
import resource
import socket
import struct
from collections import Counter
from time import perf_counter, process_time, time
from typing import Any

import numpy as np

from ..games.catalogue import CROWD
from ..games.entity import Entity
from ..games.room import Setting
from ..lobby.web import Web
from ..rooms.archipelago import IslandRoom
from ..rooms.crowd_room import CrowdRoom
from ..rooms.metrics import Metrics
from ..rooms.object_room import ObjectRoom
from ..rooms.object_session import ObjectSession
from ..rooms.session import Session
from ..transport.connection import Connection
from . import metrics
from .profile import Sampler

MOST_ROOMS = 100
"""Rooms that are shown at once; the search finds the others."""

MOST_LANES = 5
"""Loops whose last second is drawn."""

MOST_SESSIONS, MOST_ENTITIES, MOST_ITEMS, MOST_DEPTH, MOST_TEXT = 200, 200, 40, 4, 160
"""Of a room's detail: what is beyond is counted."""

_TCP_INFO = struct.Struct("=68xII44xQQ")
"""Of Linux' struct tcp_info: rtt and its variance, µs; bytes acknowledged and received."""


class Machine:
    """The worker as a whole. `now()` is remembered for a second, so viewers share its cost."""

    def __init__(self, web: Web, sampler: Sampler):
        self._web, self._sampler = web, sampler
        self.searched: str | None = None
        self._at, self._cpu, self._totals = perf_counter(), process_time(), Counter[str]()
        self._closed: Counter[str] = Counter()

    def now(self) -> dict[str, Any]:
        """Rates are since the last call."""
        web = self._web
        lobby, node, config = web.lobby, web.node, web.config
        at, cpu = perf_counter(), process_time()
        passed = max(at - self._at, 1e-3)
        totals = {
            f"{kind}.{name}": value
            for kind, counts in metrics.totals(web).items()
            for name, value in counts.items()
        }
        before = self._totals or totals
        rates = {name: round((value - before.get(name, 0)) / passed, 1)
                 for name, value in totals.items()}  # fmt: skip
        used = (cpu - self._cpu) / passed
        self._at, self._cpu, self._totals = at, cpu, Counter(totals)
        rooms = lobby.rooms.values()
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return {
            "t": round(time(), 2),
            "node": node.id,
            "pid": os.getpid(),
            "version": lobby.version,
            "started": round(lobby.started, 1),
            "dev": config.dev == "on",
            "healthy": lobby.alive(),
            "draining": node.draining,
            "moved": node.moved,
            "shared": node.directory.shared,
            "directory": node.trouble or "ok",
            "cores": os.cpu_count() or 1,
            "load": round(os.getloadavg()[0], 2),
            "cpu": round(used, 4),
            "memory": _resident(),
            "memory_most": memory * 1024,
            "descriptors": len(os.listdir("/proc/self/fd"))
            if os.path.isdir("/proc/self/fd")
            else 0,
            "descriptors_most": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            "disk_free": _free(config.data_dir),
            "rooms": len(rooms),
            "rooms_most": config.max_rooms,
            "players": lobby.players,
            "players_most": config.max_players,
            "away": sum(room.away for room in rooms),
            "spectators": sum(room.spectators for room in rooms),
            "bots": sum(room.players + room.spectators - room.humans for room in rooms),
            "connections": len(web.websockets),
            "replays": lobby.replaying,
            "closed": dict(web.closed),
            "refused": web.turned_away(),
            "totals": {name: int(value) for name, value in totals.items()},
            "rates": rates,
            "journal": self._journal(),
            "lanes": self._lanes(at, passed),
            "slow": len(lobby.meters[CROWD].shared.slowest.worst()),
            "profiling": self._sampler.on,
        }

    def _journal(self) -> dict[str, Any]:
        lobby = self._web.lobby
        ledger = lobby.ledger_summary()
        size, errors = int(ledger.get("bytes", 0)), [str(ledger.get("error") or "")]
        for room in lobby.rooms.values():
            if room.journal is not None:
                summary = room.journal.summary()
                size += summary["bytes"]
                errors.append(str(summary["error"] or ""))
        return {
            "on": self._web.config.journal == "on",
            "bytes": size,
            "waiting": lobby.journal_waiting,
            "error": next(filter(None, errors), ""),
        }

    def _lanes(self, now: float, passed: float) -> list[dict[str, Any]]:
        """The last second of each loop that has most to do: its ticks and their phases, in ms."""
        lobby = self._web.lobby
        alone = [
            room
            for room in lobby.rooms.values()
            if isinstance(room, CrowdRoom) and not isinstance(room, IslandRoom)
        ]
        alone.sort(key=lambda room: room.busy, reverse=True)
        lanes = [_lane(room.id, room.game.name, room.metrics, now) for room in alone[:MOST_LANES]]
        for together in lobby.small.archipelagos[:MOST_LANES]:
            count = len(together.rooms)
            name = f"{count} small room{'' if count == 1 else 's'}, {together.id}"
            lanes.insert(0, _lane("", name, together.metrics, now))
        if any(isinstance(room, ObjectRoom) for room in lobby.rooms.values()):
            lanes.insert(0, _lane("", "object rooms", lobby.loop.metrics, now))
        return lanes

    def rooms(self, search: str = "") -> dict[str, Any]:
        """The fullest rooms, or those in which `search` is found in id, game or title."""
        lobby, found = self._web.lobby, []
        wanted = search.casefold()
        for id, room in lobby.rooms.items():
            settings = lobby.infos[id].settings
            if wanted and wanted not in f"{id} {settings.game} {settings.name}".casefold():
                continue
            found.append((room.players, id))
        found.sort(key=lambda row: (-row[0], row[1]))
        return {
            "found": len(found),
            "rows": [room_row(self._web, id) for _, id in found[:MOST_ROOMS]],
        }


def _lane(id: str, name: str, kept: Metrics, now: float) -> dict[str, Any]:
    ticks = [tick for tick in kept.recent if now - tick[0] <= 1.0]
    took = sum(tick[2] for tick in ticks)
    phases = [name for name, _ in ticks[-1][3]] if ticks else []
    return {
        "room": id,
        "name": name,
        "busy": round(took, 4),
        "phases": phases,
        "ticks": [
            [
                round((1.0 - (now - began)) * 1e3, 1),
                round(late * 1e3, 1),
                [round(seconds * 1e3, 2) for _, seconds in parts],
            ]
            for began, late, _, parts in ticks
        ],
    }


def _resident() -> int:
    """Bytes of memory that the process has now."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        return 0


def _free(data_dir: str) -> int | None:
    try:
        return metrics.free_bytes(data_dir)
    except OSError:
        return None


# ------------------------------------------------------------------ one room


def room_row(web: Web, id: str) -> dict[str, Any]:
    room, info = web.lobby.rooms[id], web.lobby.infos[id]
    return {
        "id": id,
        "game": info.settings.game,
        "kind": room.kind,
        "title": info.settings.name,
        "public": info.settings.public,
        "keep": info.keep,
        "players": room.players,
        "capacity": room.capacity,
        "away": room.away,
        "spectators": room.spectators,
        "bots": room.players + room.spectators - room.humans,
        "hz": room.hz if isinstance(room, ObjectRoom) else room.config.tick_hz,
        "tick": room.ticks,
        "busy": round(room.busy, 5),
        "shedding": room.shedding.level.name,
        "locked": room.locked,
        "held": room.held,
        "fault": bool(_fault(room)),
    }


def room(web: Web, id: str, dev: bool) -> dict[str, Any] | None:
    """All about a room; None if it isn't open here."""
    found = web.lobby.rooms.get(id)
    if found is None:
        return None
    out = room_row(web, id)
    out["journal"] = web.config.journal == "on"
    sessions: list[Session | ObjectSession] = [*found.sessions.values()]
    out["sessions"] = [_session(found, session) for session in sessions[:MOST_SESSIONS]]
    out["more_sessions"] = max(0, len(sessions) - MOST_SESSIONS)
    out["summary"] = found.summary()
    if isinstance(found, ObjectRoom):
        out |= _objects(found)
        out["editable"] = dev
        out["signs_in"] = hasattr(found.game.room, "on_auth")
    else:
        out["tables"] = _tables(found)
        out["settings"] = {name: _fixed(value) for name, value in found.settings.items()}
        out["fault_text"] = found.fault
        out["editable"] = out["signs_in"] = False
    return out


def _session(room: CrowdRoom | ObjectRoom, session: Session | ObjectSession) -> dict[str, Any]:
    connection = session.connection
    row = {
        "id": session.id,
        "player": session.player if isinstance(session, ObjectSession) else session.id,
        "name": session.name,
        "bot": session.bot,
        "spectator": session.spectator,
        "address": session.address,
        "away": connection is None,
        "waiting": 0 if connection is None else len(connection.tail),
        **(_network(connection) if connection is not None else {}),
    }
    if isinstance(room, CrowdRoom):
        seats, seat = room.seats, session.seat if isinstance(session, Session) else 0
        alone = connection is not None and not isinstance(room, IslandRoom)  # ticks of its own
        row["behind"] = max(0, int(room.ticks - room.inputs.ack[seat])) if alone else None
        row["every"] = int(seats.pace_ticks[seat])
    elif isinstance(session, ObjectSession):
        row["slack"] = session.slack
        row["failures"] = sum(session.failures.values())
    return row


def _network(connection: Connection) -> dict[str, Any]:
    """What the kernel knows of a connection: round trip in ms, bytes each way. Behind a proxy it
    is the way to the proxy."""
    try:
        data = connection.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
        rtt, variance, sent, received = _TCP_INFO.unpack(data)
    except (OSError, struct.error):
        return {}
    return {
        "rtt_ms": round(rtt / 1e3, 1),
        "jitter_ms": round(variance / 1e3, 1),
        "sent": sent,
        "received": received,
    }


def _objects(room: ObjectRoom) -> dict[str, Any]:
    simulation, settings = room.simulation, room.game.settings
    entities = list(simulation.replica.entities.values())
    return {
        "time": round(simulation.time, 2),
        "settings": {
            name: _setting(settings[name], simulation.settings[name])
            for name in settings
            if name in simulation.settings
        },  # fmt: skip
        "state": [_entity(entity) for entity in entities[:MOST_ENTITIES]],
        "more_entities": max(0, len(entities) - MOST_ENTITIES),
        "timers": [
            {"in_s": round(due - simulation.time, 2), "every_s": every, "method": method}
            for due, every, method, _ in sorted(simulation.timers.values(), key=lambda row: row[0])
        ][:MOST_ITEMS],
        "fault_text": room.rules.fault,
    }


def _fault(room: CrowdRoom | ObjectRoom) -> str:
    """In a development run: why its time stands still."""
    return room.rules.fault if isinstance(room, ObjectRoom) else room.fault


def _fixed(value: Any) -> dict[str, Any]:
    """A setting that was chosen when the room was made, and stays."""
    return {"value": plain(value), "default": None, "low": None, "high": None, "choices": [],
            "help": "chosen when the room was made", "fixed": True}  # fmt: skip


def _setting(declared: Setting, value: Any) -> dict[str, Any]:
    return {
        "value": value,
        "default": declared.default,
        "low": declared.low,
        "high": declared.high,
        "choices": list(declared.choices),
        "help": declared.help,
    }


def _entity(entity: Entity) -> dict[str, Any]:
    fields = {field.name: field for field in entity.kind.fields}
    return {
        "id": entity._id,
        "kind": "room" if entity._id == 0 else entity.kind.name,
        "fields": [
            [name, plain(value), _seen(fields, name, entity), _can_be_set(fields, name, value)]
            for name, value in entity.__dict__.items()
        ],
    }


def _seen(fields: dict[str, Any], name: str, entity: Entity) -> str:
    """Who sees an attribute: everyone, some, or nobody but the room."""
    if name not in fields:
        return "kept"
    return "hidden" if fields[name].to is not None or entity.kind.to is not None else "synced"


def _can_be_set(fields: dict[str, Any], name: str, value: Any) -> bool:
    fixed = name in fields and fields[name].fixed
    return not fixed and isinstance(value, bool | int | float | str | list | dict | None)


def plain(value: Any, depth: int = 0) -> Any:
    """A value as JSON has it, cut to a size that can be looked at.

    >>> plain({"a": (1, b"x"), 2: float("inf")})
    {'a': [1, "b'x'"], '2': 'inf'}
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return round(value, 4) if abs(value) < 1e15 else str(value)
    if isinstance(value, str):
        return value if len(value) <= MOST_TEXT else value[:MOST_TEXT] + "…"
    if isinstance(value, Entity):
        return f"→ {value.kind.name} {value._id}"
    if depth >= MOST_DEPTH:
        return "…"
    if isinstance(value, dict):
        items = list(value.items())
        cut = {
            str(plain(key, MOST_DEPTH)): plain(item, depth + 1) for key, item in items[:MOST_ITEMS]
        }
        return cut | ({"…": f"{len(items)} in all"} if len(items) > MOST_ITEMS else {})
    if isinstance(value, list | tuple):
        out = [plain(item, depth + 1) for item in value[:MOST_ITEMS]]
        return [*out, f"… {len(value)} in all"] if len(value) > MOST_ITEMS else out
    text = repr(value)
    return text if len(text) <= MOST_TEXT else text[:MOST_TEXT] + "…"


def _tables(room: CrowdRoom) -> list[dict[str, Any]]:
    """The entities of a crowd: of each kind its first rows, by slot."""
    tables = []
    for kind, view in zip(room.game.KINDS, room.world.view(), strict=True):
        present = np.flatnonzero(view.present)
        shown = present[:MOST_ENTITIES]
        parts = [part for part in (view.static, view.mutable) if part.dtype.names]
        columns = ["slot", "x", "y", *(name for part in parts for name in part.dtype.names or ())]
        data: list[list[Any]] = [
            shown.tolist(),
            [round(float(x), 1) for x in view.x[shown]],
            [round(float(y), 1) for y in view.y[shown]],
        ]
        for part in parts:
            for name in part.dtype.names or ():
                data.append([_cell(value) for value in part[name][shown].tolist()])
        tables.append(
            {
                "kind": kind.name,
                "count": len(present),
                "columns": columns,
                "rows": [list(row) for row in zip(*data, strict=True)],
            }
        )
    return tables


def _cell(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.rstrip(b"\0").decode("utf-8", "replace")
    return plain(value)
