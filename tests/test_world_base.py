"""Worlds written with `tickstorm.World`: what follows from the tables is right."""

from __future__ import annotations

import subprocess
import sys

import msgpack
import numpy as np
import pytest

from clients.bots.wire import FULL, KnownWorld
from tests.live_server import ROOT
from tests.tiny_world import Tiny
from tickstorm import Column, Input, Kind, World, choice, setting, whole
from tickstorm.games import catalogue
from tickstorm.games.checks import DeclarationError
from tickstorm.games.crowd import CrowdGame
from tickstorm.games.world import WorldSettings
from tickstorm.lobby.settings import of_node
from tickstorm.protocol.layout import layout_of
from tickstorm.replication import snapshot
from tickstorm.replication.history import KindHistory
from tickstorm.replication.interest import Grid

PLAYERS = 40
GAME = CrowdGame(Tiny)
PLACE = (Column("x", "u2", "delta", 0.5), Column("y", "u2", "delta", 0.5))


def make(seed=7):
    return GAME.create_world(WorldSettings(25, PLAYERS), seed)


def script(seed, ticks):
    """What happens before each tick: ``[(joins, leaves, commands), …]``."""
    rng = np.random.default_rng(seed)
    present, plan = set(), []
    for tick in range(ticks):
        joins = [f"{tick}-ö{i}" for i in range(20 if not tick else int(rng.random() < 0.2))]
        joins = joins[: PLAYERS - len(present)]
        for _ in joins:
            present.add(min(set(range(PLAYERS)) - present))
        leaves = sorted(slot for slot in present if rng.random() < 0.02)
        speaking = [slot for slot in sorted(present) if rng.random() < 0.6]
        present -= set(leaves)
        rows = np.frombuffer(
            rng.bytes(len(speaking) * GAME.STEP_COMMAND.itemsize), GAME.STEP_COMMAND
        ).copy()
        rows["slot"], rows["seq"] = speaking, tick
        GAME.clamp(rows)
        plan.append((joins, leaves, rows))
    return plan


def advance(world, joins, leaves, rows):
    for name in joins:
        world.join(name, bot=False)
    for slot in leaves:
        world.leave(slot)
    world.step(rows)


def copy(world):
    return GAME.load_world(msgpack.unpackb(msgpack.packb(world.dump())))


def test_the_same_seed_and_calls_give_the_same_world_also_across_dump_and_load():
    one, two = make(), make()
    for joins, leaves, rows in script(3, 120):
        for name in joins:
            assert one.join(name, False) == two.join(name, False)
        if one.tick % 10 == 5:
            two = copy(two)  # with newcomers that nobody has seen yet
        advance(one, [], leaves, rows)
        advance(two, [], leaves, rows)
        assert one.checksum() == two.checksum()
        for a, b in zip(one.view(), two.view(), strict=True):
            for rows_of in (a.mutable, a.static), (b.mutable, b.static):
                rows_of[0][~a.present] = np.zeros((), rows_of[0].dtype)
            assert (a.present == b.present).all() and (a.born == b.born)[a.present].all()
            assert (a.mutable[a.present] == b.mutable[a.present]).all()
            assert (a.static[a.present] == b.static[a.present]).all()
    assert one.rules_of.dropped == two.rules_of.dropped > 0
    assert (one.rules_of.heat == two.rules_of.heat).all()
    assert make(8).checksum() != make().checksum()


def test_clients_know_exactly_what_the_columns_say():
    world, grid, viewer = make(), Grid(2048), KnownWorld(GAME.declaration())
    histories = [KindHistory(k, len(v.present), grid) for k, v in zip(GAME.KINDS, world.view())]
    layout, known_cell, known_tick = layout_of(GAME), 0, None
    for joins, leaves, rows in script(5, 150):
        advance(world, joins, leaves, rows)
        for history, view in zip(histories, world.view(), strict=True):
            history.record(world.tick, view)
        if world.tick % 3 == 1:
            continue  # this client is slow
        cell = grid.cell_of(np.float32([900]), np.float32([900])).astype(np.int64)
        full = known_tick is None or world.tick % 50 == 0
        age = np.array([snapshot.FULL_AGE if full else world.tick - known_tick])
        groups, _ = snapshot.group(cell, age, np.array([known_cell]))
        bodies = snapshot.encode(world.tick, histories, groups)
        starts = layout.starts(1)
        starts.heads["tick"] = world.tick
        starts.heads["flags"] = FULL if full else 0
        starts.heads["baseline_age"] = 0 if full else age[0]
        starts.fill_self(world.self_rows(np.array([0])))
        own = viewer.apply(starts.heads[0].tobytes(), snapshot.Snapshots(
            starts, bodies, np.zeros(1, np.intp)).one(0)[-int(bodies.size[0]):])  # fmt: skip
        assert own is not None
        known_tick, known_cell = world.tick, int(cell[0])
        for kind, table in zip(GAME.KINDS, world.tables.values()):
            slots = np.flatnonzero(table.present)
            known = viewer.kinds[kind.name]
            assert known.ids.tolist() == slots.tolist()
            assert np.abs(known.scaled("x") - table.x[slots]).max(initial=0) <= 0.25
            for column in kind.sent:
                if column.scale == 1:
                    assert (known[column.name] == getattr(table, column.name)[slots]).all()


def test_an_input_is_brought_into_range_held_and_let_go():
    assert GAME.COMMAND.descr == [("dx", "|i1"), ("push", "<f4"), ("drop", "|u1")]
    rows = np.zeros(2, GAME.STEP_COMMAND)
    rows["slot"], rows["dx"], rows["push"], rows["drop"] = [0, 9], [7, 1], [np.nan, 1e9], 200
    GAME.clamp(rows)
    assert rows["dx"].tolist() == [1, 1] and rows["push"].tolist() == [1, 10]
    assert rows["drop"].tolist() == [1, 1]
    world = make()
    world.join("Ada", False)
    assert world.players.push[0] == 1
    held = {name: getattr(world.players, name).dtype.str for name in ("dx", "push", "drop")}
    assert held == {"dx": "<i4", "push": "<f4", "drop": "|b1"}  # to be multiplied, and a mask
    world.step(rows)  # nobody is in row 9
    nobody = rows[:0]
    for _ in range(24):
        world.step(nobody)
        assert world.players.dx[0] == 1
    world.step(nobody)
    assert world.players.dx[0] == 0 and world.players.push[0] == 1


def test_a_module_with_one_world_is_a_crowd_game(tmp_path):
    source = "from tests.tiny_world import Tiny as Base\nclass Crumbs(Base):\n    title = ''\n"
    (tmp_path / "crumbs.py").write_text(source)
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "index.html").write_text("hello")
    entry = catalogue.load(str(tmp_path / "crumbs.py")).first
    assert (entry.name, entry.kind, entry.title) == ("crumbs", catalogue.CROWD, "Crumbs")
    assert entry.page == tmp_path / "page"
    from tickstorm.config import Config

    settings = of_node(Config(), entry)
    assert (settings.capacity, settings.tick_hz) == (40, 25)


@pytest.mark.parametrize(
    "fields, says",
    [
        ({"kinds": ()}, "kinds must list"),
        ({"kinds": (Kind("dot", PLACE[:1]),)}, "no x and y"),
        ({"kinds": (Kind("step", PLACE),)}, "a name that World uses"),
        ({"kinds": (Kind("dot", (*PLACE, Column("used", "u1", "state"))),)}, "named 'used'"),
        ({"kinds": (Kind("dot", (Column("h", "u1", "delta"), *PLACE)),)}, "must be u2 or i2"),
        ({"kinds": (Kind("dot", (*PLACE, Column("h", "u1", "often"))),)}, "no role 'often'"),
        ({"size": 40_000}, "size = 40000 is not allowed: up to 31744"),
        ({"size": setting(1024, low=1, high=90_000)}, "size = 90000 is not allowed"),
        ({"players": setting(3)}, "setting 'players' has a name that World uses"),
        ({"services": ("chess",)}, "no service 'chess'; there are board, bots, chat"),
        ({"services": ("scores",)}, "needs a column 'score'"),
        ({"own": ("hp",)}, "no column 'hp'"),
        ({"input": type("I", (Input,), {"x": whole(0, 9)})}, "both a column"),
        ({"input": type("I", (Input,), {"c": choice("a", "b")})}, "whole, number and flag"),
    ],
)
def test_what_can_not_work_is_told_at_the_start(fields, says):
    good = {"kinds": (Kind("dot", PLACE),)}
    assert CrowdGame(type("Good", (World,), dict(good))).name == "good"
    with pytest.raises(DeclarationError, match=says):
        CrowdGame(type("Bad", (World,), good | fields))


def test_services_are_listed_and_follow_from_what_is_written():
    assert GAME.services == ("chat",)

    class Ranked(Tiny):
        services = ("heat",)

        def board(self):
            return [["Ada", 1]]

    assert CrowdGame(Ranked).services == ("heat", "board")


def test_what_can_not_be_kept_is_told():
    world = make()
    world.rules_of.file = object()
    with pytest.raises(TypeError, match=r"self\.file is of type object"):
        world.dump()


def test_importing_the_package_does_not_import_numpy():
    server = str(ROOT / "server")
    code = f"import sys; sys.path.insert(0, {server!r}); import tickstorm\n"
    code += "assert 'numpy' not in sys.modules; tickstorm.World"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_column_that_was_replaced_instead_of_written_is_told():
    class Careless(Tiny):
        def step(self, commands):
            self.mover.x = self.mover.x + 1

    world = CrowdGame(Careless).create_world(WorldSettings(20, 2), 1)
    world.join("Ada", False)
    with pytest.raises(TypeError, match="'x' was replaced; write into it"):
        world.step(np.zeros(0, GAME.STEP_COMMAND))


def test_a_world_whose_kinds_have_nothing_static_comes_back():
    game = catalogue.load("examples/crowd/crowd.py").first.game
    world = game.create_world(WorldSettings(20, 5), 1)
    world.join("Ada", False)
    nobody_speaks = np.zeros(0, game.STEP_COMMAND)
    world.step(nobody_speaks)
    again = game.load_world(msgpack.unpackb(msgpack.packb(world.dump())))
    for each in (world, again):
        each.step(nobody_speaks)
    assert again.checksum() == world.checksum()
