"""Time travel: a room's journal, tick by tick, both ways.

A `Timeline` runs what an `ObjectReel` holds, with the rules that it is given. `moment(tick)` is
all there was at a tick, what changed in it, and which message, input, timer or line did it;
`search(query)` finds when something came about. Going back is running on from a checkpoint: those
of the journal, and some that are kept on the way.

Nothing here waits or reads a clock: `breathe()`, called after each tick, lets others have theirs.
"""

from __future__ import annotations

import inspect
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zlib import compress, crc32, decompress

from ..games.entity import HIDDEN, Kind, Player
from ..games.room import Game
from ..games.simulation import CALL, CLOSE, JOIN, MOVE, NAMES, TIME, RuleError, Simulation
from ..games.watched import Act, Watched, plain
from .object_reel import ObjectReel
from .query import Query

KEEP_TICKS = 64
"""While running to a tick, the room is kept so often."""

KEPT_BYTES = 32 << 20
"""What is kept of a timeline, deflated; what was not used for the longest goes first."""

MOST_MARKS = 2000
"""Joins, leaves, messages and the like that an overview lists; the newest."""

MOST_ENTITIES = 2000
"""Entities that a moment lists; the room and its players come first."""

BUCKETS = 300
"""Columns of an overview's picture of how much went on."""


class Timeline:
    """One room's past, as `game` plays it again."""

    def __init__(self, game: Game, reel: ObjectReel, breathe: Callable[[], None] = lambda: None):
        self.game, self.reel = game, reel
        self.first, self.last = reel.first, reel.last
        self.strays: int | None = None
        """The first tick at which these rules were seen not to do what happened."""
        self._breathe = breathe
        self._now: Watched | None = None
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._kept_bytes = 0

    # ------------------------------------------------------------------ moving

    def at(self, tick: int) -> Watched:
        """The room after `tick`, or after the last one before it that can be reached; whoever
        changes it must not use it again. Raises RuleError where a rule fails on the way."""
        now = self._now
        base = self._base(tick)
        if now is None or not base <= now.tick <= tick:
            now = self._load(base)
        self._now = None  # what fails on the way is good for nothing
        while now.tick < tick and self._step(now):
            if now.tick % KEEP_TICKS == 0:
                self._keep(now)
            self._breathe()
        self._now = now
        return now

    def _base(self, tick: int) -> int:
        kept = max((at for at in self._kept if at <= tick), default=-1)
        return max(self.reel.before(tick), kept)

    def _load(self, tick: int) -> Watched:
        if tick in self.reel.checkpoints:
            data = self.reel.dump(tick)
        else:
            self._kept.move_to_end(tick)
            data = decompress(self._kept[tick])
        loaded = Watched.load(self.game, data)
        assert isinstance(loaded, Watched), "load makes its own class"
        return loaded

    def _keep(self, now: Watched) -> None:
        if now.tick in self._kept or now.tick in self.reel.checkpoints:
            return
        data = self._kept[now.tick] = compress(now.dump(), 1)
        self._kept_bytes += len(data)
        while self._kept_bytes > KEPT_BYTES and len(self._kept) > 1:
            self._kept_bytes -= len(self._kept.popitem(last=False)[1])

    def _step(self, now: Watched) -> bool:
        """One tick on; False where the record ends, or has a gap."""
        events = self.reel.ticks.get(now.tick + 1)
        if events is None:
            return False
        now.advance(events, stepping=events != [[CLOSE]])
        self._compare(now, now.replica.patch()[1])
        now.forget_output()
        return True

    def _compare(self, now: Simulation, body: bytes) -> bool | None:
        """Is it what happened? None where the journal does not say."""
        recorded = self.reel.checksums.get(now.tick)
        if recorded is None or not self.reel.checked or not self._same_declaration(now.tick):
            return None
        same = crc32(body) == recorded
        if not same and (self.strays is None or now.tick < self.strays):
            self.strays = now.tick
        return same

    def _same_declaration(self, tick: int) -> bool:
        return self.reel.declared[self.reel.before(tick)] == self.game.checksum

    # ------------------------------------------------------------------ what there is

    def overview(self) -> dict[str, Any]:
        """What a page needs to draw the whole of it."""
        reel = self.reel
        span = max(1, self.last - self.first + 1)
        activity = [0] * min(BUCKETS, span)
        marks: list[list[Any]] = []
        names: dict[str, str] = {}
        for tick, events in sorted(reel.ticks.items()):
            bucket = (tick - self.first) * len(activity) // span
            for event in events:
                if event[0] == TIME or not 0 <= bucket < len(activity):
                    continue
                activity[bucket] += 1
                if event[0] == JOIN:
                    names[event[1]] = event[2]
                if event[0] != MOVE:
                    what = event[2] if event[0] == CALL else NAMES[event[0]]
                    who = event[1] if len(event) > 1 and isinstance(event[1], str) else ""
                    marks.append([tick, NAMES[event[0]], what, names.get(who, who)])
        return {
            "game": self.game.name,
            "title": self.game.title,
            "room": reel.room,
            "kind": "objects",
            "first": self.first,
            "last": self.last,
            "hz": self.game.room.tick_hz,
            "checked": reel.checked,
            "other_rules": not self._same_declaration(self.last),
            "kinds": [_described(kind) for kind in self.game.kinds],
            "activity": activity,
            "marks": marks[-MOST_MARKS:],
            "source": sources(self.game),
        }

    def moment(self, tick: int) -> dict[str, Any]:
        """All of one tick, as JSON can carry it: what came, what it did, and what there is then.

        A checkpoint with nothing before it has no acts. Where a rule fails, `error` is its
        traceback, and the rest as it was left.
        """
        tick = min(max(tick, self.first), self.last)
        error = ""
        acts: list[Act] = []
        same: bool | None = None
        parts, body = 0, b""
        try:
            now = self.at(max(tick - 1, self.first))
        except RuleError as failed:
            return {"tick": tick, "error": _told(failed), "acts": [], "events": [],
                    "entities": [], "players": [], "timers": [], "patch": 0}  # fmt: skip
        if now.tick < tick - 1 and (following := self.reel.after(now.tick)) is not None:
            now = self._load(following)  # a gap: what is known goes on there
        events = self.reel.ticks.get(now.tick + 1, []) if now.tick < tick else []
        if now.tick + 1 in self.reel.ticks and now.tick < tick:
            self._now = None
            try:
                acts = now.watch(events, stepping=events != [[CLOSE]])
                parts, body = now.replica.patch()
                same = self._compare(now, body)
                self._now = now
            except RuleError as failed:
                error, acts = _told(failed), now.acts
        moment = {
            "tick": now.tick,
            "time": round(now.time, 6),
            "same": same,
            "error": error,
            "events": [self._event(event, now) for event in events],
            "acts": [_act(act, now) for act in acts],
            "entities": entities_of(now),
            "players": [
                {"id": player.id, "entity": player._id, "name": player.name,
                 "connected": player.connected, "input": plain(player.input)}
                for player in now.players.values()
            ],
            "timers": [
                {"id": id, "due": row[0], "every": row[1], "method": row[2],
                 "values": plain(row[3])}
                for id, row in sorted(now.timers.items(), key=lambda item: item[1][0])
            ],
            "locked": now.locked,
            "patch": len(body),
            "parts": parts,
        }  # fmt: skip
        now.forget_output()
        return moment

    def _event(self, event: list[Any], now: Simulation) -> dict[str, Any]:
        kind = event[0]
        who = event[1] if len(event) > 1 and isinstance(event[1], str) else ""
        player = now.players.get(who)
        name = event[2] if kind == JOIN else player.name if player is not None else who
        values: Any = event[1:] if not who else event[2:]
        if kind == JOIN:
            values = []
        if kind == CALL:
            message = self.game.messages.get(event[2])
            names = message.arguments.names if message is not None else []
            values = _named(names, event[3])
        elif kind == MOVE:
            values = _named(self.game.input.names if self.game.input else [], event[2])
        return {
            "kind": NAMES[kind],
            "who": who,
            "name": name,
            "what": event[2] if kind == CALL else NAMES[kind],
            "values": plain(values),
        }

    # ------------------------------------------------------------------ searching

    def search(self, query: Query, first: int | None = None) -> Iterator[dict[str, Any] | int]:
        """Run through all of it, from `first` on. Yields each tick, as a number, and before it
        each place that was found in it: ``{tick, entity, name, field, before, after}`` or
        ``{tick, what, name}``. Ends early where a rule fails."""
        at = self.first if first is None else max(first, self.first)
        try:
            now = self.at(max(self.first, at - 1))
        except RuleError:
            return
        query.begin(now)
        while now.tick < self.last:
            self._now = None
            now.fired.clear()
            sent: list[Any] = []
            events = self.reel.ticks.get(now.tick + 1)
            if events is None:
                following = self.reel.after(now.tick)
                if following is None:
                    break
                now = self._load(following)
                events = []
            else:
                try:
                    now.advance(events, stepping=events != [[CLOSE]])
                except RuleError:
                    return
                self._compare(now, now.replica.patch()[1])
                sent = now.outbox[:]
                now.forget_output()
            for found in query.look(now, events, sent):
                yield {"tick": now.tick, **found}
            if now.tick % KEEP_TICKS == 0:
                self._keep(now)
            yield now.tick
        self._now = now


def _told(failed: RuleError) -> str:
    cause = failed.__cause__ or failed
    text = "".join(traceback.format_exception(cause)).rstrip()
    return f"{failed.what} raised\n{text}"


def _named(names: list[str], values: list[Any]) -> dict[str, Any]:
    """Values by their names; those beyond, by their number."""
    return {names[i] if i < len(names) else str(i): value for i, value in enumerate(values)}


def _act(act: Act, now: Simulation) -> dict[str, Any]:
    player = now.players.get(act.who)
    answer = act.answer
    return {
        "what": act.what,
        "event": act.event,
        "who": act.who,
        "name": player.name if player is not None else act.who,
        "changes": [
            {"entity": c.entity, "field": c.field, "before": plain(c.before),
             "after": plain(c.after), "line": c.line}
            for c in act.changes
        ],
        "came": act.came,
        "went": act.went,
        "sent": [
            {"name": s.name, "values": plain(s.values), "to": s.to and list(s.to), "but": s.but,
             "bytes": len(s.packed)}
            for s in act.sent
        ],
        "answer": None if answer is None else {"refused": answer.refused,
                                               "bytes": len(answer.value)},
        "refused": act.refused,
    }  # fmt: skip


def entities_of(now: Simulation) -> list[dict[str, Any]]:
    """The room, its players, then the others by id."""
    rows = sorted(
        now.replica.entities.items(),
        key=lambda item: (item[0] != 0, not isinstance(item[1], Player), item[0]),
    )
    return [
        {
            "id": id,
            "kind": "room" if id == 0 else entity.kind.name,
            "name": plain(entity.__dict__.get("name", "")),
            "fields": {
                name: plain(value)
                for name, value in entity.__dict__.items()
                if value is not None or name != "owner"
            },
        }
        for id, entity in rows[:MOST_ENTITIES]
    ]


def _described(kind: Kind) -> dict[str, Any]:
    return {
        "name": "room" if kind.number == 0 else kind.name,
        "fields": {
            field.name: {
                "type": field.type,
                "step": field.step,
                "hidden": bool(field.flags() & HIDDEN) or kind.to is not None,
            }
            for field in kind.fields
        },
    }


def sources(game: Game) -> dict[str, str]:
    """The author's file, as it was loaded, by the name that changes tell."""
    return {Path(inspect.getfile(game.room)).name: game.source} if game.source else {}
