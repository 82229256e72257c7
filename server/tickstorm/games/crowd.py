"""Worlds of crowds, as their authors write them: kinds, an input, and one numpy step for all.

    class Steer(Input):
        dx: int = whole(-1, 1)
        dy: int = whole(-1, 1)

    class Dots(World):
        input = Steer
        kinds = (Kind("dot", (
            Column("x", "u2", "delta", 0.5),         # on the wire in halves; here float32, units
            Column("y", "u2", "delta", 0.5),
            Column("hue", "u1", "static"),
        )),)  # fmt: skip

        def step(self, commands):
            dots = self.dot                          # a table: a numpy array per column
            dots.x += dots.dx * 200 * self.dt        # the input is held there, by player
            dots.y += dots.dy * 200 * self.dt

`CrowdGame` makes the `game.Game` of such a class, and `Running` the `world.World` of each room:
what they show, dump, load and checksum follows from the tables.
"""

from __future__ import annotations

import ast
import re
import zlib
from typing import Any, ClassVar

import msgpack
import numpy as np

from .checks import Check, DeclarationError, place_of
from .game import INTERESTS, SERVICES
from .kind import Column, Kind, fields_of, names_of
from .messages import messages_of
from .room import Input
from .settings import Setting, choose, settings_of
from .speaker import Sent, Speaker
from .table import Table
from .world import KindView, WorldSettings

HOLD_S = 1.0
"""A player's input is held for so long without a word from it; then it is as if idle."""

MOST_SLOTS = 65_535
LARGEST = 31_744
"""Units from side to side: halves of them fit 16 bits, and so do the cells of the grid."""
RESERVED = frozenset(vars(Table)) | {"present", "born", "heard", "capacity", "used", "mutable",
                                    "static", "room", "room_of", "numbers", "shuffled",
                                    "berth_first", "berth_count"}  # fmt: skip
"""Names that no column can have."""

DTYPE = re.compile(r"[ui][124]|f4|S[1-9]\d*")
NO_INPUT = np.dtype([("spare", "u1")])


class World(Speaker):
    """A world of columns: derive from it, and say what is in it and how it moves.

    A room has an instance. Each kind is a table under its name (``self.dot.x``); the first kind is
    the players', a row each, in which their input is held, too. Never use a clock, I/O, or chance
    other than `random`: a world must come back from its journal. Attributes that you set are
    kept: numbers, text, bytes, arrays, and lists and dicts of them.
    """

    title: ClassVar[str] = ""
    kinds: ClassVar[tuple[Kind, ...]] = ()
    input: ClassVar[type[Input] | np.dtype | None] = None
    own: ClassVar[tuple[str, ...]] = ("x", "y")
    """Columns of the players' kind that each knows of itself to the last bit."""
    services: ClassVar[tuple[str, ...]] = ("chat",)
    """Of `game.SERVICES`; ``board`` and ``feed`` follow from having those methods."""
    size: ClassVar[int] = 4096  # side of the square world, units; may be a `setting`
    interest: ClassVar[str] = "near"
    """Who sees what: "near", the cells around; "all", everyone everything; "groups", who has the
    same number in the column ``group``."""
    capacity: ClassVar[int] = 0  # players in a room; 0: the server's
    tick_hz: ClassVar[int] = 0  # ticks a second; 0: the server's

    # What the engine sets.
    tick: int  # number of this step; 0 before the first
    dt: float  # seconds between two steps
    random: np.random.Generator  # seeded, and kept with the world

    # What an author writes.

    def on_create(self) -> None:
        """The world is new: put things into it."""

    def on_join(self, slot: int) -> None:
        """A player is in row `slot` of the first table; its place is chosen already."""

    def on_leave(self, slot: int) -> None:
        """The player in row `slot` is about to be taken out."""

    def step(self, commands: np.ndarray) -> None:
        """A tick for everyone. `commands`: the inputs that came, ``slot`` and the input's fields;
        in the players' table stands what each wants now, whether or not it has come anew."""

    def board(self) -> list:
        """The best players, ``[[name, score, slot], …]``; sent once a second."""
        return []

    def final(self) -> bool:
        """Is the board a result now? Then a room that is short of time sends it as well."""
        return False

    def feed(self) -> list:
        """What happened in this step that everyone may know."""
        return []

    def rules(self) -> dict[str, float]:
        """Numbers that pages need to know."""
        return {}

    # What an author uses.

    def spawn(self, kind: str, count: int = 1, **columns: Any) -> np.ndarray:
        """New entities, at most so many as have room. Returns their rows, int64[n]."""
        table = self._running.tables[kind]
        slots = table.claim(count, self._running.now)
        for name, values in columns.items():
            values = np.asarray(values)
            getattr(table, name)[slots] = values[: len(slots)] if values.ndim else values
        return slots

    def despawn(self, kind: str, slots: np.ndarray) -> None:
        """Take entities out."""
        self._running.tables[kind].release(np.asarray(slots))

    def name(self, slot: int) -> str:
        """The name of the player in a row."""
        return self._running.names[slot]

    def present(self, kind: str) -> np.ndarray:
        """int64[n]: the rows of a kind that are taken."""
        return np.flatnonzero(self._running.tables[kind].present)

    _running: Running


class CrowdGame:
    """A class of worlds as the engine runs it: checked and declared. See `game.Game`.

    Raises DeclarationError, with file and line, for what can't work.
    """

    def __init__(self, world: type[World]):
        self.world = world
        self.name = world.__name__.lower()
        self.title = world.title or world.__name__
        self.place = place_of(world)
        self.interest = world.interest
        self.settings = settings_of(world)
        self.messages = messages_of(world)
        self.size, self.capacity, self.tick_hz = world.size, world.capacity, world.tick_hz
        self.KINDS = tuple(world.kinds)
        written = [
            name for name in ("board", "feed") if getattr(world, name) != getattr(World, name)
        ]
        self.services = tuple(dict.fromkeys([*world.services, *written]))
        self._check()
        self.checks = self._checks()
        self.COMMAND = self._command()
        self.STEP_COMMAND = np.dtype([("slot", "<u2"), ("seq", "<u2"), *self.COMMAND.descr])
        held = dict(columns_of(self.KINDS[0]))
        for name in world.own:
            if name not in held:
                self._wrong(f"own: kind {self.KINDS[0].name!r} has no column {name!r}")
        self.SELF = np.dtype([(name, held[name]) for name in world.own])
        self._declaration = [
            [[k.name, [[c.name, c.dtype, c.role, c.scale] for c in k.sent]] for k in self.KINDS],
            fields_of(self.SELF),
            [
                [*field, check.low, check.high, check.default] if check else field
                for field in fields_of(self.COMMAND)
                for check in [self.checks.get(field[0])]
            ],
        ]
        self._checksum = zlib.crc32(msgpack.packb(self._declaration))

    def declaration(self) -> list:
        return self._declaration

    def checksum(self) -> int:
        return self._checksum

    def clamp(self, commands: np.ndarray) -> None:
        """Bring inputs into the range of their checks; what is no number is the default."""
        for name, check in self.checks.items():
            column = commands[name]
            if check.type is float:
                column[np.isnan(column)] = check.default
            if check.low is not None:
                np.clip(column, check.low, check.high, out=column)
            elif check.type is bool:
                np.minimum(column, 1, out=column)

    def choose(self, chosen: dict[str, Any]) -> dict[str, Any]:
        """As `settings.choose`."""
        return choose(self.settings, chosen)

    def create_world(self, settings: WorldSettings, seed: int) -> Running:
        chosen = self.choose(settings.chosen)
        running = Running(self, settings.tick_hz, settings.players, chosen, seed)
        running.rules_of.on_create()
        return running

    def load_world(self, data: dict[str, Any]) -> Running:
        tick_hz, players, chosen = data["settings"]
        running = Running(self, tick_hz, players, chosen, data["seed"])
        running.load(data)
        return running

    # Is it sound?

    def _wrong(self, what: str) -> None:
        raise DeclarationError(f"{self.place}: {self.world.__name__}: {what}")

    def _check(self) -> None:
        if not self.KINDS or not all(isinstance(kind, Kind) for kind in self.KINDS):
            self._wrong("kinds must list a Kind or more; the first is the players'")
        if len(self.KINDS) > 8:
            self._wrong("more than 8 kinds")
        for kind in self.KINDS:
            if hasattr(World, kind.name) or kind.name in World.__annotations__:
                self._wrong(f"kind {kind.name!r} has a name that World uses")
            names = [column.name for column in kind.columns]
            if len(set(names)) < len(names):
                self._wrong(f"kind {kind.name!r} has a column twice")
            if not {"x", "y"} <= set(names):
                self._wrong(f"kind {kind.name!r} has no x and y, which say where it is")
            if used := set(names) & RESERVED:
                self._wrong(f"kind {kind.name!r}: no column can be named {min(used)!r}")
            deltas = [column for column in kind.columns if column.role == "delta"]
            if deltas and deltas[0].dtype not in ("u2", "i2"):
                self._wrong(
                    f"{kind.name}.{deltas[0].name}: the first delta column must be u2 or i2"
                )
            for column in kind.columns:
                if not DTYPE.fullmatch(column.dtype):
                    self._wrong(f"{kind.name}.{column.name}: no dtype {column.dtype!r}; there are "
                                "u1 u2 u4 i1 i2 i4 f4 and S1, S2, …")  # fmt: skip
                if column.role == "delta" and column.dtype[1:] not in "12":
                    self._wrong(f"{kind.name}.{column.name}: a delta column has 8 or 16 bits")
                if column.role not in ("delta", "state", "static", "kept"):
                    self._wrong(f"{kind.name}.{column.name}: no role {column.role!r}; there are "
                                "delta, state, static and kept")  # fmt: skip
            if kind.seen not in ("", "all"):
                self._wrong(f"kind {kind.name!r}: seen={kind.seen!r} is not allowed: 'all'")
            grouped = ("group", "u1") in [(column.name, column.dtype) for column in kind.columns]
            if (
                self.interest == "groups"
                and not grouped
                and (kind is self.KINDS[0] or not kind.seen)
            ):
                self._wrong(f"kind {kind.name!r} has no column group of u1, which says who sees it")
        if self.interest not in INTERESTS:
            self._wrong(f"no interest {self.interest!r}; there are {', '.join(INTERESTS)}")
        if unknown := set(self.services) - set(SERVICES):
            self._wrong(f"no service {min(unknown)!r}; there are {', '.join(SERVICES)}")
        if "scores" in self.services and "score" not in self.world.own:
            self._wrong("the service scores needs a column 'score' among `own`")
        for end in self._sizes():
            if not 0 < end <= LARGEST:
                self._wrong(f"size = {end} is not allowed: up to {LARGEST}")
        if used := set(self.settings) & {"players", "tick_hz", "capacity", *vars(World)} - {"size"}:
            self._wrong(f"setting {min(used)!r} has a name that World uses")
        if self.tick_hz and not 10 <= self.tick_hz <= 60:
            self._wrong(f"tick_hz = {self.tick_hz} is not allowed: 10 to 60")
        if not 0 <= self.capacity <= MOST_SLOTS:
            self._wrong(f"capacity = {self.capacity} is not allowed: 1 to {MOST_SLOTS}")

    def _sizes(self) -> tuple[Any, ...]:
        """The smallest and the largest side that a world of this game can have."""
        if not isinstance(self.size, Setting):
            return (self.size,)
        found = self.size
        if type(found.default) is not int or not found.choices and found.high is None:
            self._wrong("size: a whole number with low and high, or with choices")
        return found.choices or (found.low, found.high)

    def _checks(self) -> dict[str, Check]:
        declared = self.world.input
        if declared is None or isinstance(declared, np.dtype):
            return {}
        if not (isinstance(declared, type) and issubclass(declared, Input)):
            self._wrong("input must be an Input class, or a numpy dtype of named fields")
        checks = dict(declared.arguments.fields)
        for name, check in checks.items():
            if check.type not in (int, float, bool):
                self._wrong(f"input {name}: crowds take whole, number and flag")
        return checks

    def _command(self) -> np.dtype:
        declared = self.world.input
        if declared is None:
            return NO_INPUT
        if isinstance(declared, np.dtype):
            return declared
        command = np.dtype([(name, _code_of(check)) for name, check in self.checks.items()])
        taken = {column.name for column in self.KINDS[0].columns}
        if both := taken & set(names_of(command)):
            self._wrong(f"{min(both)!r} is both a column of the players and a field of the input")
        return command


def _code_of(check: Check) -> str:
    """The smallest numpy code that holds what a check allows."""
    if check.type is float:
        return "<f4"
    low, high = int(check.low or 0), int(check.high or 1)
    sizes = (1, 2, 4)
    for size in sizes:
        bits = 8 * size
        if 0 <= low and high < 2**bits:
            return f"<u{size}"
        if -(2 ** (bits - 1)) <= low and high < 2 ** (bits - 1):
            return f"<i{size}"
    raise DeclarationError(f"a whole number from {low} to {high} is too large for a crowd's input")


def _held(game: CrowdGame, name: str) -> str:
    """The numpy code with which the table holds a field of the input: wide enough to reckon with
    (one byte of -1 to 1 times 260 would be an overflow), and true or false where that is meant."""
    check = game.checks.get(name)
    if check is not None and check.type is bool:
        return "?"
    if check is None or check.high is None or check.type is float:
        return game.COMMAND[name].str
    return "<i4" if check.high < 2**31 else "<i8"


def columns_of(kind: Kind) -> list[tuple[str, str]]:
    """The columns of a kind's table: float32 in world units where there is a scale, and for places;
    all others as on the wire."""
    return [
        (c.name, "<f4" if c.name in ("x", "y") or c.scale != 1 else "<" + c.dtype)
        for c in kind.columns
    ]


def to_wire(values: np.ndarray, column: Column) -> np.ndarray:
    """A table's values as they travel. One byte of delta goes round (angles, hues); all else
    stops at its ends."""
    wire = np.dtype("<" + column.dtype)
    if wire.kind not in "ui" or values.dtype == wire:
        return values if column.scale == 1 else values / column.scale
    steps = np.rint(values.astype(np.float64) / column.scale)
    if wire.itemsize == 1 and column.role == "delta":
        return steps.astype(np.int64).astype(wire)
    limits = np.iinfo(wire)
    return np.clip(steps, limits.min, limits.max).astype(wire)


class Running:
    """A world that runs in a room; see `world.World`. `rules_of`: the author's object."""

    def __init__(
        self, game: CrowdGame, tick_hz: int, players: int, chosen: dict[str, Any], seed: int
    ):
        if not 1 <= players <= MOST_SLOTS:
            raise ValueError(f"players is {players}, must be 1 to {MOST_SLOTS}")
        self.game = game
        self.tick_hz, self.capacity, self.seed = tick_hz, players, seed
        self.chosen = chosen
        self.size = chosen.get("size", game.size)
        self.tick = 0
        self.names: dict[int, str] = {}
        self._hold = round(HOLD_S * tick_hz)
        self._stepping = False
        self._sent = [list(kind.sent) for kind in game.KINDS]
        self.tables: dict[str, Table] = {}
        for kind in game.KINDS:
            columns, slots = columns_of(kind), kind.most
            if kind is game.KINDS[0]:
                fields = [(name, _held(game, name)) for name in names_of(game.COMMAND)]
                columns, slots = [*columns, *fields, ("heard", "<i8")], players
            self.tables[kind.name] = Table(kind, columns, slots)
        self.players = self.tables[game.KINDS[0].name]
        self.rules_of = rules = game.world()
        engine = {
            **chosen, "_running": self, "tick": 0, "dt": 1 / tick_hz, "tick_hz": tick_hz,
            "size": self.size, "capacity": players, "outbox": [],
            "random": np.random.Generator(np.random.PCG64(seed)),
        } | self.tables  # fmt: skip
        vars(rules).update(engine)
        self._engine = set(engine)

    @property
    def now(self) -> int:
        """The tick in which what appears now is seen first."""
        return self.tick + (not self._stepping)

    # Players.

    def join(self, name: str, bot: bool) -> int:
        table = self.players
        slots = table.claim(1, self.now)
        if not slots.size:
            raise ValueError(f"all {self.capacity} player slots are taken")
        slot = int(slots[0])
        self.names[slot] = name
        table.x[slot], table.y[slot] = self.rules_of.random.uniform(0, self.size, 2)
        self._idle(slots)
        for column in self.game.KINDS[0].columns:
            if column.name == "name" and column.dtype.startswith("S"):
                cut = name.encode("utf-8", "ignore")[: int(column.dtype[1:])]
                table.name[slot] = cut.decode("utf-8", "ignore").encode()
            elif column.name == "bot":
                table.bot[slot] = bot
        self.rules_of.on_join(slot)
        return slot

    def leave(self, slot: int, silent: bool = False) -> None:
        if not silent:
            self.rules_of.on_leave(slot)
        self.players.release(np.array([slot]))
        self.names.pop(slot, None)

    def _idle(self, slots: np.ndarray) -> None:
        """The input of players who do nothing."""
        for name in names_of(self.game.COMMAND):
            check = self.game.checks.get(name)
            getattr(self.players, name)[slots] = check.default if check else 0

    def call(self, slot: int, name: str, values: list[Any]) -> tuple[Any, str | None]:
        return self.rules_of.call(slot, name, values)

    @property
    def outbox(self) -> list[Sent]:
        return self.rules_of.outbox

    # A tick.

    def step(self, commands: np.ndarray) -> None:
        self.tick += 1
        rules, table = self.rules_of, self.players
        rules.tick = self.tick
        commands = commands[table.full("present")[commands["slot"]]]
        slots = commands["slot"].astype(np.intp)
        for name in names_of(self.game.COMMAND):
            getattr(table, name)[slots] = commands[name]
        table.heard[slots] = self.tick
        silent = np.flatnonzero(table.present & (self.tick - table.heard == self._hold))
        if silent.size:
            self._idle(silent)
        self._stepping = True
        try:
            rules.step(commands)
        finally:
            self._stepping = False
        self._publish()

    def _publish(self) -> None:
        """Fill the wire's rows from the columns; what is static only of those that are new."""
        for columns, table in zip(self._sent, self.tables.values()):
            used = table.used
            new = np.flatnonzero(table.present & (table.born >= self.tick))
            for column in columns:
                values = getattr(table, column.name)
                if values.base is not table.full(column.name):
                    raise TypeError(
                        f"{self.game.place}: column {column.name!r} was replaced; write into it, "
                        f"as table.{column.name}[:] = …"
                    )
                if column.role != "static":
                    table.mutable[column.name][:used] = to_wire(values, column)
                elif new.size:
                    table.static[column.name][new] = to_wire(values[new], column)

    def view(self) -> list[KindView]:
        return [
            KindView(
                table.full("present"),
                table.full("born"),
                table.full("x"),
                table.full("y"),
                table.mutable,
                table.static,
                group=self._group(table),
            )
            for table in self.tables.values()
        ]

    def _group(self, table: Table) -> np.ndarray | None:
        grouped = self.game.interest == "groups" and hasattr(table, "group")
        return table.full("group") if grouped else None

    def eyes(self, slots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.players.full("x")[slots], self.players.full("y")[slots]

    def self_rows(self, slots: np.ndarray) -> np.ndarray:
        rows = np.zeros(len(slots), self.game.SELF)
        for name in names_of(rows.dtype):
            rows[name] = self.players.full(name)[slots]
        return rows

    def feed(self) -> list:
        return self.rules_of.feed()

    def board(self) -> list:
        return self.rules_of.board()

    @property
    def final(self) -> bool:
        return self.rules_of.final()

    def rules(self) -> dict[str, float]:
        return self.rules_of.rules()

    # To go on elsewhere.

    def _kept(self) -> dict[str, Any]:
        """What the author has set."""
        own = vars(self.rules_of)
        return {name: _plain(own[name], name) for name in own if name not in self._engine}

    def _chance(self) -> list:
        """The generator as small numbers and bytes: its own are 128 bits wide."""
        state = self.rules_of.random.bit_generator.state
        wide = [state["state"][key].to_bytes(16, "little") for key in ("state", "inc")]
        return [*wide, state["has_uint32"], state["uinteger"]]

    def checksum(self) -> int:
        crc = zlib.crc32(msgpack.packb([self.tick, self._chance(), self._kept()]))
        for kind, table in zip(self.game.KINDS, self.tables.values()):
            present = np.flatnonzero(table.present)  # rules leave something in free rows, too
            crc = zlib.crc32(present, crc)  # type: ignore[arg-type]  # numpy's types know buffers from 3.12 on
            for name in ("born", *[column.name for column in kind.columns]):
                column = getattr(table, name)[present]
                crc = zlib.crc32(column, crc)
        return crc

    def dump(self) -> dict[str, Any]:
        return {
            "settings": [self.tick_hz, self.capacity, self.chosen],
            "seed": self.seed,
            "tick": self.tick,
            "chance": self._chance(),
            "names": [list(self.names), list(self.names.values())],
            "tables": [table.dump() for table in self.tables.values()],
            "kept": self._kept(),
        }

    def load(self, data: dict[str, Any]) -> None:
        rules = self.rules_of
        self.tick = rules.tick = data["tick"]
        self.names = dict(zip(*data["names"]))
        state = dict(rules.random.bit_generator.state)
        *wide, state["has_uint32"], state["uinteger"] = data["chance"]
        state["state"] = {
            key: int.from_bytes(value, "little") for key, value in zip(("state", "inc"), wide)
        }
        rules.random.bit_generator.state = state
        for table, rows in zip(self.tables.values(), data["tables"]):
            table.load(rows)
        for name, value in data["kept"].items():
            setattr(rules, name, _lively(value))
        self._publish()


_ARRAY = "\0array"


def _plain(value: Any, where: str) -> Any:
    """An attribute as msgpack can carry it. Raises TypeError for what can't be kept."""
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        descr = value.dtype.descr if value.dtype.names else value.dtype.str
        return {_ARRAY: [repr(descr), list(value.shape), value.tobytes()]}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | tuple):
        return [_plain(item, where) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item, where) for key, item in value.items()}
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return value
    raise TypeError(
        f"self.{where} is of type {type(value).__name__}, which can't be kept; what can: numbers, "
        "text, bytes, arrays, and lists and dicts of them"
    )


def _lively(value: Any) -> Any:
    """What `_plain` was given."""
    if isinstance(value, list):
        return [_lively(item) for item in value]
    if not isinstance(value, dict):
        return value
    if _ARRAY in value:
        descr, shape, raw = value[_ARRAY]
        dtype = np.dtype(ast.literal_eval(descr))
        return np.frombuffer(raw, dtype).reshape(shape).copy()
    return {key: _lively(item) for key, item in value.items()}
