"""The state of an object room as a client knows it: STATE and PATCH in, plain values out.

`StateTree` is written from the description of the wire alone and knows nothing of the
server's encoder, so tests hold the two against each other. It believes nothing: what does
not fit the declaration, or what it already knows, raises `WireError` with the place.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Any

import msgpack

STATE, PATCH = 25, 26

FIXED, SMOOTH, HIDDEN, QUANTISED = 1, 2, 4, 8
"""Bits of a declared field's flags."""

SET, INSERT, DELETE, REPLACE = range(4)
"""What a list or a dict may be told."""

_REFERENCE = 1  # ext type


class WireError(ValueError):
    """The server's bytes break the protocol, or contradict what it sent before."""


@dataclass(frozen=True)
class Ref:
    """A reference to an entity, as it stands in a field or an event's arguments."""

    id: int


def pack(message: Any) -> bytes:
    """A message as bytes; an entity in it, a `Ref` or a `Record`, travels as a reference.

    >>> pack([10, "give", [Ref(258)], None]).hex(" ")
    '94 0a a4 67 69 76 65 91 d5 01 02 01 c0'
    """
    return msgpack.packb(message, default=_packable, strict_types=True)


def unpack(data: bytes) -> Any:
    """The message that the bytes are.

    >>> unpack(pack([27, "given", [Ref(258), {"by": Ref(0)}]]))
    [27, 'given', [Ref(id=258), {'by': Ref(id=0)}]]
    """
    try:
        return msgpack.unpackb(data, ext_hook=_read_extension, strict_map_key=False)
    except Exception as error:  # msgpack raises a dozen types, UnicodeDecodeError among them
        raise WireError(f"not msgpack: {error or type(error).__name__}") from error


def _packable(value: Any) -> Any:
    """What msgpack doesn't know by itself: entities, and what inherits from a plain type."""
    if isinstance(value, Ref | Record):
        return msgpack.ExtType(
            _REFERENCE, value.id.to_bytes(max(1, (value.id.bit_length() + 7) // 8), "little")
        )
    if isinstance(value, tuple):
        return list(value)
    plain_types: tuple[Any, ...] = (int, float, str, bytes, list, dict)
    for plain in plain_types:
        if isinstance(value, plain):
            return plain(value)
    raise TypeError(f"{value!r:.80} can't travel: only numbers, text, bytes, lists, dicts, Ref")


def _read_extension(code: int, data: bytes) -> Ref:
    if code != _REFERENCE:
        raise WireError(f"unknown extension {code}")
    if not data or (len(data) > 1 and not data[-1]):
        raise WireError(f"a reference of the bytes {data.hex() or 'none'}")
    return Ref(int.from_bytes(data, "little"))


# ---------------------------------------------------------------- the declaration

_TYPES: dict[str, type | tuple[type, ...]] = {
    "int": int,
    "float": (int, float),
    "bool": bool,
    "str": str,
    "bytes": bytes,
    "list": list,
    "tuple": list,
    "dict": dict,
    "ref": (Ref, type(None)),
}

_NEVER_NONE = _TYPES.keys() - {"ref"}


@dataclass(frozen=True)
class FieldSchema:
    """One declared field; `index` counts all fields of its kind."""

    index: int
    name: str
    type: str
    flags: int
    step: float

    @property
    def fixed(self) -> bool:
        return bool(self.flags & FIXED)

    @property
    def hidden(self) -> bool:
        return bool(self.flags & HIDDEN)

    @property
    def quantised(self) -> bool:
        return bool(self.flags & QUANTISED)

    @property
    def collection(self) -> bool:
        """Whether it changes by operations."""
        return self._plain_type in ("list", "dict")

    @property
    def _plain_type(self) -> str:
        return self.type.partition("[")[0].strip()

    @property
    def nullable(self) -> bool:
        """Whether nil may be its value: of references, and of types that say so or say nothing."""
        return not self.quantised and self._plain_type not in _NEVER_NONE

    def value(self, wire: Any) -> Any:
        """What a value on the wire stands for."""
        return wire * self.step if self.quantised else wire

    def check(self, wire: Any, where: str) -> Any:
        """The value as it came, if it is of the declared type."""
        if self.quantised:
            wanted: type | tuple[type, ...] | None = int
        else:
            wanted = _TYPES.get(self._plain_type)
        if wanted is None:  # `any`, and unions as their author wrote them
            return wire
        is_bool = isinstance(wire, bool)
        if not isinstance(wire, wanted) or (is_bool and wanted is not bool):
            raise WireError(f"{where}.{self.name}, {self.type}, came as {wire!r:.80}")
        return wire


def entity_of(written: str, kinds: Container[str]) -> tuple[str, bool]:
    """The kind of entity that a message's argument is, and whether it may be None; "" if it is
    none. A class that isn't among the `kinds` is a base of some of them.

    >>> entity_of("Card | None", {"card"}), entity_of("Player", {"thief"}), entity_of("Any", {})
    (('card', True), ('player', False), ('', False))
    """
    first, *others = (part.strip() for part in written.split("|"))
    base = first.isidentifier() and first[0].isupper() and first != "Any"
    found = first.lower() if base or first.lower() in kinds else ""
    return found, bool(found and others)


class KindSchema:
    """One declared kind and the three orders in which its fields travel."""

    def __init__(self, declared: list):
        self.name, fields = declared[0], declared[1]
        self.fields = [FieldSchema(index, *field) for index, field in enumerate(fields)]
        self.public = [field for field in self.fields if not field.hidden]
        self.changing = [field for field in self.public if not field.fixed]


class Record(dict):
    """One entity's fields by name, as far as they may be seen; `room` is one too.

    ``record.kind`` is the name of its kind and ``record.id`` its id; `wire` holds the
    integers of quantised fields, to which differences are added.
    """

    def __init__(self, entity_id: int, schema: KindSchema):
        super().__init__()
        self.id = entity_id
        self.schema = schema
        self.wire: dict[str, int] = {}

    @property
    def kind(self) -> str:
        return self.schema.name

    def put(self, field: FieldSchema, wire: Any) -> None:
        wire = field.check(wire, self.schema.name)
        if field.quantised:
            self.wire[field.name] = wire
        self[field.name] = field.value(wire)

    def take_away(self, field: FieldSchema) -> None:
        self.wire.pop(field.name, None)
        del self[field.name]

    def __repr__(self) -> str:
        return f"<{self.kind} {self.id} {dict.__repr__(self)}>"


# ---------------------------------------------------------------- the tree


class StateTree:
    """All that one viewer knows of a room.

    >>> tree = StateTree(
    ...     {
    ...         "kinds": [
    ...             ["room", [["phase", "str", 0, None]]],
    ...             [
    ...                 "walker",
    ...                 [["name", "str", FIXED, None], ["x", "float", SMOOTH | QUANTISED, 0.5]],
    ...             ],
    ...         ]
    ...     }
    ... )
    >>> tree.apply_state([STATE, 7, None, [0, 0, ["play"], 1, 3, ["Ada", 20]]])
    >>> tree.apply_patch([PATCH, 8, None, [3, 0b1, -2]])
    >>> tree.tick, tree.room["phase"], tree.entities[3]
    (8, 'play', <walker 3 {'name': 'Ada', 'x': 9.0}>)

    Attributes: ``entities``, `Record` by id, the room (id 0) among them; ``tick`` and
    ``slack`` of the message that came last.
    """

    def __init__(self, declaration: dict):
        try:
            self.kinds = [KindSchema(kind) for kind in declaration["kinds"]]
        except (KeyError, TypeError, IndexError) as error:
            raise WireError(f"a declaration that can't be read: {error!r}") from error
        if not self.kinds:
            raise WireError("a declaration without the room's kind")
        self.entities: dict[int, Record] = {}
        self.tick: int | None = None
        self.slack: int | None = None

    @property
    def room(self) -> Record:
        """The room's own fields."""
        return self.entities[0]

    def each(self, kind: str) -> Iterator[Record]:
        """All entities of a kind."""
        return (record for record in self.entities.values() if record.kind == kind)

    def apply(self, message: list) -> None:
        """Take in a STATE or a PATCH, whichever it is."""
        {STATE: self.apply_state, PATCH: self.apply_patch}[message[0]](message)

    def apply_state(self, message: list) -> None:
        """STATE ``[25, tick, slack, enters, hidden]``: replaces everything known."""
        tick, slack, enters, hidden = _fields(message, STATE, 4)
        self.entities = {}
        self._begin("STATE", tick, slack)
        self._enter(_list(enters))
        if 0 not in self.entities:
            raise WireError("STATE without the room")
        self._hidden(_list(hidden))

    def apply_patch(self, message: list) -> None:
        """PATCH ``[26, tick, slack, changes, leaves, enters, hidden]``: what has changed since."""
        tick, slack, changes, leaves, enters, hidden = _fields(message, PATCH, 6)
        if self.tick is None:
            raise WireError("PATCH before STATE")
        if isinstance(tick, int) and tick < self.tick:
            raise WireError(f"PATCH of tick {tick} after {self.tick}")
        self._begin("PATCH", tick, slack)
        self._leave(_list(leaves))
        self._enter(_list(enters))
        self._change(_list(changes))
        self._hidden(_list(hidden))

    def _begin(self, name: str, tick: Any, slack: Any) -> None:
        if type(tick) is not int or tick < 0 or not (slack is None or type(slack) is int):
            raise WireError(f"{name} of tick {tick!r}, slack {slack!r}")
        self.tick, self.slack = tick, slack

    def _hidden(self, parts: list) -> None:
        """``[shows, gone, enters, leaves]``, for this viewer alone; ids may be reused in it."""
        if len(parts) > 4:
            raise WireError(f"hidden state of {len(parts)} parts")
        shows, gone, enters, leaves = (_list(part) for part in parts + [None] * (4 - len(parts)))
        for entity_id, index in _groups(gone, 2, "gone"):
            record, field = self._field(entity_id, index)
            if field.name not in record:
                raise WireError(f"{record.kind}.{field.name} of {entity_id} was never shown")
            record.take_away(field)
        self._leave(leaves)
        for kind, entity_id, values in _groups(enters, 3, "hidden enters"):
            record = self._new(kind, entity_id)
            _same_length(record, record.schema.fields, values)
            for field, value in zip(record.schema.fields, values, strict=True):
                # Whom a field of it is hidden from gets nil for it, and so does a field that
                # may be nil and is.
                if value is not None or field.nullable:
                    record.put(field, value)
        for entity_id, index, value in _groups(shows, 3, "shows"):
            record, field = self._field(entity_id, index)
            record.put(field, value)

    def _leave(self, ids: list) -> None:
        for entity_id in ids:
            if entity_id == 0:
                raise WireError("the room itself can't leave")
            self._known(entity_id)
            del self.entities[entity_id]

    def _enter(self, enters: list) -> None:
        for kind, entity_id, values in _groups(enters, 3, "enters"):
            record = self._new(kind, entity_id)
            _same_length(record, record.schema.public, values)
            for field, value in zip(record.schema.public, values, strict=True):
                record.put(field, value)

    def _new(self, kind: Any, entity_id: Any) -> Record:
        if type(kind) is not int or not 0 <= kind < len(self.kinds):
            raise WireError(f"an entity of the unknown kind {kind!r}")
        if type(entity_id) is not int or entity_id < 0 or (entity_id == 0) != (kind == 0):
            raise WireError(f"a {self.kinds[kind].name} with id {entity_id!r}")
        if entity_id in self.entities:
            raise WireError(f"{entity_id} enters twice")
        record = self.entities[entity_id] = Record(entity_id, self.kinds[kind])
        return record

    def _known(self, entity_id: Any) -> Record:
        record = self.entities.get(entity_id) if type(entity_id) is int else None
        if record is None:
            raise WireError(f"there is no entity {entity_id!r}")
        return record

    def _field(self, entity_id: Any, index: Any) -> tuple[Record, FieldSchema]:
        record = self._known(entity_id)
        if type(index) is not int or not 0 <= index < len(record.schema.fields):
            raise WireError(f"a {record.kind} has no field {index!r}")
        return record, record.schema.fields[index]

    def _change(self, changes: list) -> None:
        """Flat ``[id, mask, value, …]``, one value for each bit of the mask, lowest first."""
        at = 0
        while at < len(changes):
            record = self._known(changes[at])
            mask = changes[at + 1] if at + 1 < len(changes) else None
            fields = record.schema.changing
            if type(mask) is not int or not 0 < mask < 1 << len(fields):
                raise WireError(f"mask {mask!r} for a {record.kind} of {len(fields)} fields")
            at += 2
            for bit, field in enumerate(fields):
                if mask >> bit & 1:
                    if at >= len(changes):
                        raise WireError(f"changes end before {record.kind}.{field.name}")
                    _change_field(record, field, changes[at])
                    at += 1


def _change_field(record: Record, field: FieldSchema, value: Any) -> None:
    where = f"{record.kind}.{field.name}"
    if field.quantised:
        if type(value) is not int:
            raise WireError(f"{where} changes by {value!r:.80}")
        record.put(field, record.wire[field.name] + value)
    elif field.collection:
        for op in _list(value):
            record[field.name] = _edited(record[field.name], op, where)
    else:
        record.put(field, value)


def _edited(held: list | dict, op: Any, where: str) -> list | dict:
    """The list or dict after one operation; it is changed in place unless replaced whole."""
    if not isinstance(op, list) or not op or type(op[0]) is not int:
        raise WireError(f"{where}: operation {op!r:.80}")
    name, arguments = op[0], op[1:]
    if len(arguments) != {SET: 2, INSERT: 2, DELETE: 1, REPLACE: 1}.get(name, -1):
        raise WireError(f"{where}: operation {op!r:.80}")
    if name == REPLACE:
        if type(arguments[0]) is not type(held):
            raise WireError(f"{where} replaced by {arguments[0]!r:.80}")
        return arguments[0]
    key = arguments[0]
    if isinstance(held, dict):
        if name == INSERT or (name == DELETE and key not in held):
            raise WireError(f"{where}: operation {op!r:.80} on a dict of {len(held)}")
    elif type(key) is not int or not 0 <= key < len(held) + (name == INSERT):
        raise WireError(f"{where}: operation {op!r:.80} on a list of {len(held)}")
    if name == SET:
        held[key] = arguments[1]
    elif name == INSERT:
        assert isinstance(held, list), "refused above for a dict"
        held.insert(key, arguments[1])
    else:
        del held[key]
    return held


def _fields(message: Any, kind: int, count: int) -> list:
    """A message's fields after its type, nils added for those that were cut."""
    if not isinstance(message, list) or not message or message[0] != kind:
        raise WireError(f"not a message of type {kind}: {message!r:.80}")
    if len(message) > count + 1:
        raise WireError(f"message {kind} of {len(message) - 1} fields")
    return message[1:] + [None] * (count + 1 - len(message))


def _list(value: Any) -> list:
    if value is None:
        return []
    if not isinstance(value, list):
        raise WireError(f"a list was expected, not {value!r:.80}")
    return value


def _groups(flat: list, size: int, name: str) -> Iterator[list]:
    if len(flat) % size:
        raise WireError(f"{name} of {len(flat)} items, not a multiple of {size}")
    return (flat[at : at + size] for at in range(0, len(flat), size))


def _same_length(record: Record, fields: list, values: Any) -> None:
    if not isinstance(values, list) or len(values) != len(fields):
        raise WireError(f"a {record.kind} of {len(fields)} fields enters with {values!r:.80}")
