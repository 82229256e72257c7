"""Who sees what in a crowd: groups see their own, and what is for all; on the real server."""

from __future__ import annotations

import msgpack
import pytest

from tests.object_server import ObjectServer
from tests.raw_client import RawClient
from tickstorm import Column, Kind, World
from tickstorm.games.checks import DeclarationError
from tickstorm.games.crowd import CrowdGame

TEAMS = """
from tickstorm import Column, Kind, World

PLACE = (Column("x", "u2", "delta"), Column("y", "u2", "delta"))


class Teams(World):
    size, capacity, tick_hz = 31000, 20, 20
    interest = "groups"
    services = ()
    kinds = (
        Kind("scout", (*PLACE, Column("group", "u1", "kept"), Column("name", "S12", "static"))),
        Kind("camp", (*PLACE, Column("group", "u1", "kept"))),
        Kind("flag", PLACE, seen="all"),
    )

    def on_create(self):
        self.spawn("camp", 3, x=[1, 2, 3], group=[0, 1, 2])
        self.spawn("flag", 2, x=30000)

    @message
    def side(self, slot, number: int = whole(0, 255)):
        self.scout.group[slot] = number
"""


class Scout(RawClient):
    def __init__(self, server: ObjectServer, name: str, side: int = 0, **options: bool):
        super().__init__(server.port, "/ws?room=teams")
        self.join(name, **options)
        if side:
            self.side(side)

    def side(self, number: int) -> None:
        self.say(msgpack.packb([10, "side", [number], None]))

    def sees(self, *names: str) -> bool:
        return sorted(self.world.kinds["scout"]["name"].tolist()) == [n.encode() for n in names]

    @property
    def camps(self) -> list[int]:
        return self.world.kinds["camp"].ids.tolist()

    def waits_for(self, *names: str) -> None:
        self.until(lambda: self.sees(*names))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with ObjectServer(tmp_path_factory.mktemp("teams"), TEAMS) as server:
        yield server


def test_each_side_sees_its_own_wherever_they_are_and_what_is_for_all(server):
    with Scout(server, "Ann", 1) as ann, Scout(server, "Ben", 2) as ben:
        with Scout(server, "Amy", 1) as amy:
            for one, names in ((ann, ("Amy", "Ann")), (amy, ("Amy", "Ann")), (ben, ("Ben",))):
                one.waits_for(*names)
                assert len(one.world.kinds["flag"].ids) == 2
            for one, camp in ((ann, 1), (amy, 1), (ben, 2)):
                one.until(lambda one=one, camp=camp: one.camps == [camp])
            amy.side(2)
            ann.waits_for("Ann")
            ben.waits_for("Amy", "Ben")
            amy.waits_for("Amy", "Ben")
            assert amy.camps == [2]


def test_of_the_other_side_not_a_byte_comes(server):
    with Scout(server, "Ann", 3) as ann:
        ann.until(lambda: not ann.camps)  # of group 0 there is one
        ann.decodes = False
        before = len(ann.messages)
        with Scout(server, "Sly", 4) as sly:
            sly.waits_for("Sly")
            tick = sly.head["tick"]
            sly.until(lambda: sly.head["tick"] > tick + 5)
            ann.until(lambda: len(ann.messages) > before + 8)
        # Nobody has a group when they join: that they were there for a tick is seen by group 0.
        assert not any(b"Sly" in data for kind, *rest in ann.messages[before:] for data in rest)


def test_who_watches_sees_what_is_for_all_or_over_somebodys_shoulder(server):
    with Scout(server, "Ann", 5) as ann, Scout(server, "Eye", spectate=True) as eye:
        eye.until(eye.sees)
        assert len(eye.world.kinds["flag"].ids) == 2
        eye.say(msgpack.packb([7, ann.welcome["slot"]]))
        eye.waits_for("Ann")


def test_what_can_not_be_is_told_at_the_start():
    place = (Column("x", "u2", "delta"), Column("y", "u2", "delta"))

    def made(**fields: object) -> CrowdGame:
        return CrowdGame(type("Bad", (World,), {"kinds": (Kind("dot", place),)} | fields))

    assert made(interest="all").interest == "all"
    for fields, says in (
        ({"interest": "far"}, "no interest 'far'; there are near, all, groups"),
        ({"interest": "groups"}, "kind 'dot' has no column group of u1"),
        ({"kinds": (Kind("dot", place, seen="some"),)}, "seen='some' is not allowed"),
    ):
        with pytest.raises(DeclarationError, match=says):
            made(**fields)
