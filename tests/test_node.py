"""A node's beat: what fails with one room is tried again, and costs no other."""

from __future__ import annotations

import pytest

from tests.arena import GAMES
from tickstorm.config import load
from tickstorm.games.catalogue import GameError
from tickstorm.lobby.directory import MemoryDirectory, Orders, RoomInfo, Unavailable
from tickstorm.lobby.lobby import Lobby
from tickstorm.lobby.node import Node
from tickstorm.lobby.settings import RoomSettings
from tickstorm.protocol.wire import ProtocolViolation
from tickstorm.rooms.shedding import LEVELS

TROUBLES = [Unavailable("it does not answer"), GameError("no such game"), ValueError("odd state")]


class Troubled(MemoryDirectory):
    """Orders rooms to be opened; fetching the first of them fails so many times."""

    shared = True

    def __init__(self, trouble: Exception, times: int):
        super().__init__()
        self.trouble, self.times = trouble, times

    def beat(self, report):
        self._node = report
        here = {room.id for room in report.rooms}
        return Orders([id for id in ("bad", "good") if id not in here], [], [], {})

    def fetch(self, node, room):
        if room == "bad" and self.times:
            self.times -= 1
            raise self.trouble
        return RoomInfo(RoomSettings(game="arena")), None


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: type(trouble).__name__)
def test_a_room_that_can_not_be_opened_is_tried_again_with_the_next_beat(tmp_path, trouble):
    config = load({"DATA_DIR": str(tmp_path), "JOURNAL": "off", "SOCKETS": "epoll"})
    lobby = Lobby(config, b"k" * 32, GAMES)
    node = Node(config, b"k" * 32, lobby, Troubled(trouble, times=2))
    try:
        node.beat()
        assert "good" in lobby.rooms and "bad" not in lobby.rooms
        node.beat()
        assert "bad" not in lobby.rooms
        node.beat()
        assert "bad" in lobby.rooms and not node.trouble
    finally:
        lobby.scores.close(5.0)


def test_a_ticket_survives_a_room_that_is_too_busy(tmp_path, monkeypatch):
    config = load({"DATA_DIR": str(tmp_path), "JOURNAL": "off", "SOCKETS": "epoll"})
    lobby = Lobby(config, b"k" * 32, GAMES)
    node = Node(config, b"k" * 32, lobby, MemoryDirectory())
    try:
        node.beat()
        ticket = node.ticket_id("192.0.2.1")
        node.directory.reserve("arena", ticket, False)
        with monkeypatch.context() as patch:
            patch.setattr(lobby.rooms["arena"].shedding, "level", LEVELS[-1])
            with pytest.raises(ProtocolViolation, match="too busy"):
                node.admit(node.sign("arena", ticket), "arena")
        assert node.admit(node.sign("arena", ticket), "arena").room is lobby.rooms["arena"]
    finally:
        lobby.scores.close(5.0)
