"""Two versions of a game's rules against one record of what came in: where do they part?

`against_record` holds rules against what the journal says came of each tick: a checksum of the
patch, and now and then everything. `against_rules` holds them against other rules, and so finds
the very field.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

from ..games.room import Game
from ..games.simulation import CLOSE, RuleError, Simulation
from ..games.watched import Facts, facts, plain
from ..replication.patches import pack
from .object_reel import ObjectReel
from .timeline import Timeline

MOST_FIELDS = 20
"""Differences that are listed of a tick."""

PRESENT = "in the room"


@dataclass
class Differing:
    """`entity` 0 is the room itself."""

    entity: int
    name: str
    field: str
    was: Any
    now: Any

    def __str__(self) -> str:
        return f"{self.name}.{self.field}: {self.was!r} became {self.now!r}"


@dataclass
class Difference:
    """`ticks` were the same, then `tick` was not. `fields`: what differs; `exact`: is it the first
    tick at which they do, or the first at which the journal shows it? `error`: the rule that
    failed there."""

    ticks: int = 0
    tick: int = 0
    fields: list[Differing] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    error: str = ""
    exact: bool = True

    @property
    def same(self) -> bool:
        return not (self.fields or self.others or self.error)

    def lines(self) -> list[str]:
        """For people."""
        return [
            *([self.error] if self.error else []),
            *[str(field) for field in self.fields[:MOST_FIELDS]],
            *([f"and {len(self.fields) - MOST_FIELDS} more"] if len(self.fields) > MOST_FIELDS
              else []),
            *self.others,
        ]  # fmt: skip


def against_rules(
    reel: ObjectReel,
    was: Game,
    now: Game,
    first: int | None = None,
    last: int | None = None,
) -> Iterator[int | Difference]:
    """The first difference from tick `first` to `last`. Yields each tick, as a number, and in the
    end what was found. What only one of them declares is no difference."""
    found = Difference()
    start = reel.before(reel.first if first is None else first)
    for checkpoint in sorted(at for at in reel.checkpoints if at >= start):
        old = Simulation.load(was, reel.dump(checkpoint))
        new = Simulation.load(now, reel.dump(checkpoint))
        following = reel.after(checkpoint)
        while old.tick + 1 in reel.ticks and (following is None or old.tick < following):
            if last is not None and old.tick >= last:
                break
            events = reel.ticks[old.tick + 1]
            failed = ["", ""]
            for at, each in enumerate((old, new)):
                try:
                    each.advance(events, stepping=events != [[CLOSE]])
                except RuleError as error:
                    failed[at] = f"{error.what} raised {error.__cause__!r}"
            found.tick = max(old.tick, new.tick)
            if failed[0]:
                break  # these were never the rules of this tick
            if failed[1]:
                found.error = failed[1]
            else:
                found.fields = _fields(facts(old), facts(new), old)
                found.others = _others(old, new)
            if not found.same:
                yield found
                return
            found.ticks += 1
            for each in (old, new):
                each.replica.patch()
                each.forget_output()
            yield found.tick
    yield found


def against_record(reel: ObjectReel, now: Game) -> Iterator[int | Difference]:
    """The first tick at which `now` does something else than what is on record. Yields as
    `against_rules` does.

    Of a tick the journal says only whether it is another: `fields` is then what the rules write in
    it. If its game declared something else, its checkpoints alone can be held against these rules.
    """
    found = Difference()
    room: Simulation | None = None
    for tick in range(reel.first, reel.last + 1):
        found.tick = tick
        if room is not None and tick in reel.ticks:
            events = reel.ticks[tick]
            try:
                room.advance(events, stepping=events != [[CLOSE]])
            except RuleError as error:
                found.error = f"{error.what} raised {error.__cause__!r}"
                break
            body = room.replica.patch()[1]
            room.forget_output()
            known = reel.checked and reel.declared[reel.before(tick)] == now.checksum
            if known and crc32(body) != reel.checksums[tick]:
                found.fields = _written(reel, now, tick)
                found.others = [] if found.fields else ["another patch, in which nothing changes"]
                break
            found.ticks += 1
        elif room is not None:
            room = None  # a gap
        if tick in reel.checkpoints:
            recorded = Simulation.load(now, reel.dump(tick))
            if room is not None:
                found.fields = _fields(facts(recorded), facts(room), recorded)
                if found.fields:
                    found.exact = False
                    break
            room = recorded
        yield tick
    yield found


def _fields(was: Facts, now: Facts, of: Simulation) -> list[Differing]:
    found = []
    for id in sorted(was.keys() | now.keys()):
        if (id in was) != (id in now):
            found.append(Differing(id, _name(of, id), PRESENT, id in was, id in now))
            continue
        for name in was[id].keys() & now[id].keys():
            before, after = plain(was[id][name]), plain(now[id][name])
            if before != after:
                found.append(Differing(id, _name(of, id), name, before, after))
    return sorted(found, key=lambda one: (one.entity, one.field))


def _name(of: Simulation, id: int) -> str:
    entity = of.replica.entities.get(id)
    if entity is None or id == 0:
        return "room" if id == 0 else f"#{id}"
    return str(entity.__dict__.get("name") or f"{entity.kind.name} #{id}")


def _others(old: Simulation, new: Simulation) -> list[str]:
    """What else came of a tick, in words."""
    found = []
    was, now = ([(row.name, row.packed, row.to) for row in each.outbox] for each in (old, new))
    if was != now:
        found.append(f"sent {_names(old)} became {_names(new)}")
    if [answer[1:] for answer in old.answers] != [answer[1:] for answer in new.answers]:
        found.append("another answer to a request")
    if old.kicked != new.kicked or old.refused != new.refused:
        found.append("others are kicked or refused")
    if pack(sorted(old.timers.values(), key=repr)) != pack(sorted(new.timers.values(), key=repr)):
        found.append("other timers wait")
    if (old.locked, old.closing) != (new.locked, new.closing):
        found.append("the room is locked or closed")
    return found


def _names(of: Simulation) -> str:
    return ", ".join(row.name for row in of.outbox) or "nothing"


def _written(reel: ObjectReel, now: Game, tick: int) -> list[Differing]:
    """What the rules write in a tick."""
    moment = Timeline(now, reel).moment(tick)
    names = {row["id"]: row["name"] or f"{row['kind']} #{row['id']}" for row in moment["entities"]}
    return [
        Differing(change["entity"], names.get(change["entity"], f"#{change['entity']}"),
                  change["field"], change["before"], change["after"])
        for act in moment["acts"] for change in act["changes"]
    ]  # fmt: skip
