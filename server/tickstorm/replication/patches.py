"""Patches: what changed in an object room since the last one, packed once for all who may see it.

A client's stream is in order and loses nothing, so a patch says only what is new: new entities
whole, gone ones by id, changed attributes by a mask and their values. A quantised attribute
travels as the difference in steps to what was sent last, nearly always one byte. Whoever can't
be sent a patch gets the full state later (`full`).

Hidden attributes travel apart, per viewer: what somebody may see now is compared with what
they have been told, so that a change of team, owner or predicate is seen at once, both ways.

PROTOCOL.md draws the bytes ("PATCH").
"""

from __future__ import annotations

from typing import Any

import msgpack

from ..games.entity import SCALAR, STEPPED, Audience, Entity, Kind, Player, steps

REFERENCE = 1
"""msgpack extension type: an entity, by its id."""


def _reference(value: Any) -> Any:
    if isinstance(value, Entity):
        if not value.alive:
            return None
        id = value._id
        return msgpack.ExtType(REFERENCE, id.to_bytes(max(1, (id.bit_length() + 7) // 8), "little"))
    raise TypeError(f"{type(value).__name__} can't travel: {value!r}")


_packer = msgpack.Packer(default=_reference, autoreset=True)
pack = _packer.pack
"""Any value of a room as msgpack, entities in it as references."""

TUPLE = 2
"""msgpack extension type in checkpoints: a tuple, as an array."""


def _kept(value: Any) -> Any:
    """What msgpack doesn't know by itself, so that it comes back as it was."""
    if type(value) is tuple:
        packer = _packers.pop() if _packers else _keeper()  # one for each depth
        try:
            return msgpack.ExtType(TUPLE, packer.pack(list(value)))
        finally:
            _packers.append(packer)
    kinds: tuple[Any, ...] = (list, dict, tuple, int, float, str, bytes)
    for plain in kinds:
        if isinstance(value, plain):
            return plain(value)
    return _reference(value)


def _keeper() -> msgpack.Packer:
    return msgpack.Packer(default=_kept, strict_types=True, autoreset=True)


_packers: list[msgpack.Packer] = []
keep = _keeper().pack
"""The same for checkpoints: tuples stay tuples, also as keys."""

NOTHING = b"\xc0"
EMPTY = b"\x90"


class Replica:
    """What clients see of a room, and what has yet to be told.

    Entities come in by `enter` and go by `leave`; set attributes note themselves in `changed`.
    """

    def __init__(self, kinds: list[Kind]):
        self.entities: dict[int, Entity] = {}
        self.changed: list[Entity] = []
        self._entered: list[Entity] = []
        self._left: list[int] = []
        self._hiding = [kind for kind in kinds if kind.hidden]

    def enter(self, entity: Entity, id: int) -> None:
        entity._id = id
        self.entities[id] = entity
        self._entered.append(entity)
        entity._dirty = 0
        entity._note = _ignore  # it goes out whole; what changes until then is part of that

    def leave(self, entity: Entity) -> None:
        del self.entities[entity._id]
        if entity._note is _ignore:  # nobody has seen it
            self._entered.remove(entity)
        elif entity.kind.to is None:
            self._left.append(entity._id)
        entity._note = None

    # ------------------------------------------------------------------ for everyone

    def patch(self) -> tuple[int, bytes]:
        """``changes, leaves, enters`` as they stand in a PATCH, and how many of the three there
        are: 0 if nothing is new. Everything is told after this call."""
        changed, entered, left = self.changed, self._entered, self._left
        out: list[Any] = []
        if changed:
            for entity in changed:
                mask, entity._dirty = entity._dirty, 0
                if entity._note is None:
                    continue  # gone
                values, wire = entity.__dict__, entity._wire
                at = len(out)
                out.append(entity._id)
                out.append(mask)
                kind = entity.kind
                for mode, name, per_step, bit in kind.by_mask.get(mask) or kind.changed(mask):
                    if mode == STEPPED:
                        now = steps(values[name], per_step)
                        difference = now - wire[name]
                        if difference:
                            wire[name] = now
                            out.append(difference)
                        else:  # within a step
                            out[at + 1] ^= bit
                    elif mode == SCALAR:
                        out.append(values[name])
                    else:
                        out.append(values[name].take_edits())
                if not out[at + 1]:
                    del out[at:]
            changed.clear()
        if not out and not entered and not left:
            return 0, b""
        body = pack(out) if out else NOTHING
        parts = 1
        if left or entered:
            body += pack(left) if left else NOTHING
            parts = 2
            if entered:
                parts = 3
                body += self._enters(entered)
                note = changed.append
                for entity in entered:
                    entity._note = note
                entered.clear()
            left.clear()
        return parts, body

    def full(self) -> bytes:
        """``enters`` of a STATE: all that everyone may see. Call it after `patch`."""
        return self._enters(list(self.entities.values()))

    def know(self, entity: Entity) -> None:
        """Clients get this entity whole, as it is now, before the next patch."""
        self._enters([entity])

    def _enters(self, entities: list[Entity]) -> bytes:
        rows: list[Any] = []
        for entity in entities:
            kind, values, wire = entity.kind, entity.__dict__, entity._wire
            for field in kind.stepped:
                wire[field.name] = steps(values[field.name], field.per_step)
            entity._dirty = 0
            if kind.to is not None:
                continue
            row = []
            for field in kind.public:
                if field.mode == STEPPED:
                    row.append(wire[field.name])
                else:
                    value = values[field.name]
                    if field.mode != SCALAR:
                        value._edits = []
                    row.append(value)
            rows += (kind.number, entity._id, row)
        return pack(rows)

    def check(self, viewers: list[Player]) -> None:
        """Raise whatever `patch` and `hidden` would raise; nothing is told."""
        for entity in (*self.changed, *self._entered):
            for field in entity.kind.fields:
                pack(field.wire(entity.__dict__[field.name]))
        for viewer in viewers:
            self.hidden(viewer, {})

    # ------------------------------------------------------------------ for one viewer

    def hidden(self, viewer: Player, told: dict[Entity, dict[int, bytes]]) -> bytes:
        """What `viewer` may see beyond everyone, as it stands in a PATCH; b"" if nothing of it
        is new. `told` is what the viewer knows by now; it is brought up to date here."""
        shows: list[Any] = []
        gone: list[Any] = []
        enters: list[Any] = []
        leaves: list[int] = []
        for entity in [e for e in told if e._note is None]:
            known = told.pop(entity)
            if entity.kind.to is not None and known is not None:
                leaves.append(entity._id)
        for kind in self._hiding:
            for entity in self._of(kind):
                self._compare(kind, entity, viewer, told, shows, gone, enters, leaves)
        parts = [shows, gone, enters, leaves]
        while parts and not parts[-1]:
            parts.pop()
        return pack(parts) if parts else b""

    def _of(self, kind: Kind) -> list[Entity]:
        owner = kind.owner
        return [entity for entity in self.entities.values() if type(entity) is owner]

    def _compare(
        self, kind: Kind, entity: Entity, viewer: Player, told: dict[Entity, dict[int, bytes]],
        shows: list[Any], gone: list[Any], enters: list[Any], leaves: list[int],
    ) -> None:  # fmt: skip
        values = entity.__dict__
        if kind.to is not None and not may_see(kind.to, entity, viewer):
            if told.pop(entity, None) is not None:
                leaves.append(entity._id)
            return
        now: dict[int, Any] = {}
        for field in kind.hidden:
            if field.to is None or may_see(field.to, entity, viewer):
                now[field.index] = field.wire(values[field.name])
        packed = {index: pack(value) for index, value in now.items()}
        known = told.get(entity)
        if known is None:
            if kind.to is not None:
                row = [now.get(field.index) for field in kind.fields]
                enters += (kind.number, entity._id, row)
                told[entity] = packed
                return
            if not packed:
                return
            known = {}
        for index, data in packed.items():
            if known.get(index) != data:
                shows += (entity._id, index, now[index])
        for index in known:
            if index not in packed:
                gone += (entity._id, index)
        told[entity] = packed


def may_see(to: Audience, entity: Entity, viewer: Player) -> bool:
    """Is `viewer` in the audience `to` of what belongs to `entity`?"""
    if to == "owner":
        return entity is viewer or entity.__dict__.get("owner") is viewer
    if isinstance(to, str):
        mine = getattr(entity, to, None)
        return entity is viewer or (mine is not None and getattr(viewer, to, None) == mine)
    return bool(to(entity, viewer))


def _ignore(entity: Entity) -> None:
    """Notes nothing: the entity has not gone out yet."""
