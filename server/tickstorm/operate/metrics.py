"""What `/metrics` says, for Prometheus: one table of metrics, and how each is read.

`collect` gives one process' numbers as plain data, `merged` adds up those of several processes,
`exposition` writes them down. So a machine with several workers has one `/metrics`.

>>> one = [("tickstorm_rooms_moved_total", {}, 2.0), ("tickstorm_max_players", {}, 100.0)]
>>> merged([one, one])
[('tickstorm_rooms_moved_total', {}, 4.0), ('tickstorm_max_players', {}, 200.0)]
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric as Family

from ..games.catalogue import CROWD, OBJECTS
from ..rooms.meter import BOUNDS_S, Histogram
from ..rooms.shedding import LEVELS

if TYPE_CHECKING:
    from ..lobby.web import Web

CONTENT_TYPE = CONTENT_TYPE_LATEST

Sample = tuple[str, dict[str, str], float]
"""Name, labels, value."""


class Metric(NamedTuple):
    """`merge`: how the numbers of several processes become one."""

    type: str
    help: str
    merge: str = "sum"  # or "max", "min"


METRICS = {
    "tickstorm": Metric("info", "Version and name of this node.", "max"),
    "tickstorm_healthy": Metric("gauge", "1 while the ticks of all rooms advance.", "min"),
    "tickstorm_draining": Metric("gauge", "1 while rooms are handed to other nodes.", "max"),
    "tickstorm_directory_up": Metric("gauge", "1 while the directory of nodes answers.", "min"),
    "tickstorm_start_time_seconds": Metric("gauge", "When the worker started, Unix time.", "min"),
    "tickstorm_rooms": Metric("gauge", "Open rooms."),
    "tickstorm_players": Metric("gauge", "Players, bots and those who are away included."),
    "tickstorm_players_away": Metric("gauge", "Players without a connection, whose grace runs."),
    "tickstorm_bots": Metric("gauge", "Players that are bots."),
    "tickstorm_spectators": Metric("gauge", "Spectators."),
    "tickstorm_max_players": Metric("gauge", "Players that are admitted (MAX_PLAYERS)."),
    "tickstorm_tick_duration_seconds": Metric("histogram", "How long ticks took."),
    "tickstorm_tick_lateness_seconds": Metric("histogram", "How late ticks began."),
    "tickstorm_tick_phase_seconds": Metric("counter", "Time by phase of the tick."),
    "tickstorm_ticks_skipped": Metric("counter", "Ticks given up for want of time."),
    "tickstorm_tick_overruns": Metric("counter", "Ticks of crowds over a period late."),
    "tickstorm_garbage_seconds": Metric("counter", "Time of Python's garbage collector."),
    "tickstorm_garbage_collections": Metric("counter", "Runs of Python's garbage collector."),
    "tickstorm_sent_bytes": Metric("counter", "Bytes sent to players."),
    "tickstorm_received_bytes": Metric("counter", "Bytes of inputs and messages of players."),
    "tickstorm_messages_sent": Metric("counter", "Snapshots and patches sent."),
    "tickstorm_messages_received": Metric("counter", "Inputs and messages taken from players."),
    "tickstorm_inputs_late": Metric("counter", "Inputs that came after their tick."),
    "tickstorm_inputs_dropped": Metric("counter", "Inputs and messages that were dropped."),
    "tickstorm_rules_failed": Metric("counter", "Exceptions in rules of games."),
    "tickstorm_connections": Metric("gauge", "Open WebSockets."),
    "tickstorm_connections_closed": Metric("counter", "Connections ended, by close code."),
    "tickstorm_connections_refused": Metric("counter", "Upgrades not granted, by reason."),
    "tickstorm_replays": Metric("gauge", "Replays that are watched."),
    "tickstorm_shedding_rooms": Metric("gauge", "Rooms by what they give up to stay on time."),
    "tickstorm_shedding_raised": Metric("counter", "Times that a room gave up more."),
    "tickstorm_rooms_moved": Metric("counter", "Rooms handed to other nodes."),
    "tickstorm_journal_bytes": Metric("gauge", "Size of the journals of open rooms."),
    "tickstorm_journal_waiting_bytes": Metric("gauge", "What waits to be written.", "sum"),
    "tickstorm_journal_lost_ticks": Metric("counter", "Ticks that no journal has."),
    "tickstorm_journal_failing": Metric("gauge", "Journals that can't be written now."),
    "tickstorm_data_free_bytes": Metric("gauge", "Free space where DATA_DIR is.", "min"),
    "process_cpu_seconds": Metric("counter", "CPU time of the workers."),
    "process_resident_memory_bytes": Metric("gauge", "Memory of the workers."),
    "process_open_fds": Metric("gauge", "Open file descriptors of the workers."),
    "process_max_fds": Metric("gauge", "File descriptors that the workers may open."),
}
"""Every metric, by the name of its family: those of counters get `_total`, as is the custom."""

_SUFFIXES = ("_total", "_bucket", "_count", "_sum", "_info")


def family(sample: str) -> str:
    """The metric that a sample belongs to.

    >>> family("tickstorm_tick_duration_seconds_bucket"), family("tickstorm_rooms")
    ('tickstorm_tick_duration_seconds', 'tickstorm_rooms')
    """
    for suffix in _SUFFIXES:
        if sample.removesuffix(suffix) in METRICS:
            return sample.removesuffix(suffix)
    return sample


# ------------------------------------------------------------------ one process


def collect(web: Web) -> list[Sample]:
    """The numbers of this process."""
    out: list[Sample] = []
    lobby, node = web.lobby, web.node
    out.append(("tickstorm_info", {"version": lobby.version, "node": node.id}, 1.0))
    out.append(("tickstorm_healthy", {}, float(lobby.alive())))
    out.append(("tickstorm_draining", {}, float(node.draining)))
    out.append(("tickstorm_directory_up", {}, float(not node.trouble)))
    out.append(("tickstorm_start_time_seconds", {}, lobby.started))
    out.append(("tickstorm_max_players", {}, float(lobby.config.max_players)))
    out += _rooms(web)
    out += _counted(web)
    for meter in lobby.meters.values():
        kind = {"kind": meter.kind}
        out += _histogram("tickstorm_tick_duration_seconds", kind, meter.duration)
        out += _histogram("tickstorm_tick_lateness_seconds", kind, meter.lateness)
        for phase, seconds in meter.phase_s.items():
            out.append(("tickstorm_tick_phase_seconds_total", {**kind, "phase": phase}, seconds))
    shared = lobby.meters[CROWD].shared
    out.append(("tickstorm_garbage_seconds_total", {}, shared.garbage_s))
    out.append(("tickstorm_garbage_collections_total", {}, float(shared.collections)))
    out.append(("tickstorm_connections", {}, float(len(web.websockets))))
    out.append(("tickstorm_replays", {}, float(lobby.replaying)))
    out.append(("tickstorm_rooms_moved_total", {}, float(node.moved)))
    for code, count in web.closed.items():
        out.append(("tickstorm_connections_closed_total", {"code": code.lower()}, float(count)))
    for reason, count in web.turned_away().items():
        out.append(("tickstorm_connections_refused_total", {"reason": reason}, float(count)))
    out += _journal(web)
    try:
        out.append(("tickstorm_data_free_bytes", {}, float(free_bytes(lobby.config.data_dir))))
    except OSError:
        pass  # it is not there yet, and nothing was written
    for found in _PROCESS.collect():
        for sample in found.samples:
            if family(sample.name) in METRICS:
                out.append((sample.name, {}, float(sample.value)))
    return out


_PROCESS = ProcessCollector(registry=None)


def free_bytes(data_dir: str) -> int:
    """Raises OSError."""
    return shutil.disk_usage(data_dir).free


def _rooms(web: Web) -> Iterable[Sample]:
    lobby = web.lobby
    rooms: Counter[tuple[str, str]] = Counter({(e.kind, e.name): 0 for e in lobby.games})
    players, away, bots, spectators = (Counter(rooms) for _ in range(4))
    levels: Counter[str] = Counter({level.name: 0 for level in LEVELS})
    for id, room in lobby.rooms.items():
        at = room.kind, lobby.infos[id].settings.game
        rooms[at] += 1
        players[at] += room.players
        away[at] += room.away
        spectators[at] += room.spectators
        bots[at] += room.players + room.spectators - room.humans
        levels[room.shedding.level.name] += 1
    named = ("rooms", rooms), ("players", players), ("players_away", away), ("bots", bots), (
        "spectators", spectators)  # fmt: skip
    for name, counts in named:
        for (kind, game), count in counts.items():
            yield f"tickstorm_{name}", {"kind": kind, "game": game}, float(count)
    for level, count in levels.items():
        yield "tickstorm_shedding_rooms", {"level": level}, float(count)


_COUNTED = {
    "skipped": "tickstorm_ticks_skipped_total",
    "overruns": "tickstorm_tick_overruns_total",
    "bytes_sent": "tickstorm_sent_bytes_total",
    "bytes_received": "tickstorm_received_bytes_total",
    "messages_sent": "tickstorm_messages_sent_total",
    "messages_received": "tickstorm_messages_received_total",
    "inputs_late": "tickstorm_inputs_late_total",
    "inputs_dropped": "tickstorm_inputs_dropped_total",
    "rules_failed": "tickstorm_rules_failed_total",
    "shed_raised": "tickstorm_shedding_raised_total",
    "journal_lost": "tickstorm_journal_lost_ticks_total",
}
"""What rooms count (`totals`), and what it is called here."""


def totals(web: Web) -> dict[str, Counter[str]]:
    """By kind of room: what open rooms and those of before have counted."""
    lobby, pool = web.lobby, web.lobby.loop.pool
    found = {kind: Counter(meter.gone) for kind, meter in lobby.meters.items()}
    for room in (*lobby.rooms.values(), *lobby.small.archipelagos):
        found[room.kind].update(room.totals())
    found[OBJECTS].update(
        skipped=lobby.loop.skipped,
        bytes_sent=pool.bytes_sent,
        bytes_received=pool.bytes_received,
        messages_sent=pool.frames_sent,
        journal_lost=int(lobby.ledger_summary().get("lost", 0)),
    )
    return found


def _counted(web: Web) -> Iterable[Sample]:
    for kind, counts in totals(web).items():
        for key, name in _COUNTED.items():
            yield name, {"kind": kind}, float(counts[key])


def _journal(web: Web) -> Iterable[Sample]:
    lobby = web.lobby
    ledger = lobby.ledger_summary()
    kept, failing = {CROWD: 0, OBJECTS: int(ledger.get("bytes", 0))}, int(
        ledger.get("state") == "error")  # fmt: skip
    for room in lobby.rooms.values():
        if room.journal is not None:
            summary = room.journal.summary()
            kept[room.kind] += summary["bytes"]
            failing += bool(summary["error"])
    for kind, size in kept.items():
        yield "tickstorm_journal_bytes", {"kind": kind}, float(size)
    yield "tickstorm_journal_failing", {}, float(failing)
    yield "tickstorm_journal_waiting_bytes", {}, float(lobby.journal_waiting)


def _histogram(name: str, labels: dict[str, str], histogram: Histogram) -> Iterable[Sample]:
    count = 0
    for bound, more in zip((*map(str, BOUNDS_S), "+Inf"), histogram.counts, strict=True):
        count += more
        yield f"{name}_bucket", {**labels, "le": bound}, float(count)
    yield f"{name}_count", labels, float(count)
    yield f"{name}_sum", labels, histogram.sum


# ------------------------------------------------------------------ a machine


def merged(processes: Iterable[list[Sample]]) -> list[Sample]:
    """The numbers of several processes as one process would say them."""
    found: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for samples in processes:
        for name, labels, value in samples:
            key = name, tuple(labels.items())
            if key not in found:
                found[key] = value
                continue
            how = METRICS[family(name)].merge
            before = found[key]
            found[key] = before + value if how == "sum" else (max, min)[how == "min"](before, value)
    return [(name, dict(labels), value) for (name, labels), value in found.items()]


class _Given:
    """A collector of what is there already."""

    def __init__(self, families: Iterable[Family]):
        self._families = families

    def collect(self) -> Iterable[Family]:
        return self._families


def exposition(samples: list[Sample]) -> bytes:
    """The samples in Prometheus' text format."""
    families: dict[str, Family] = {}
    for name, labels, value in samples:
        of = family(name)
        if of not in families:
            metric = METRICS[of]
            families[of] = Family(of, metric.help, metric.type)
        families[of].add_sample(name, labels, value)
    registry = CollectorRegistry()
    registry.register(_Given(families.values()))
    return generate_latest(registry)
