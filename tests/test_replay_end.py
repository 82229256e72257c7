"""A replay that is over leaves nothing behind: no descriptor, no memory, no seat."""

from __future__ import annotations

import gc
import os
import socket
import weakref

import gevent
import pytest
from gevent.event import Event

from clients.bots import wire
from tests.arena import GAMES
from tests.raw_client import frame
from tests.recorded_match import Match
from tickstorm.config import load
from tickstorm.lobby.conversation import Conversation
from tickstorm.lobby.lobby import REPLAYS_AT_ONCE, REPLAYS_PER_SECOND, Lobby
from tickstorm.rooms.buckets import Buckets
from tickstorm.transport.connection import Connection


@pytest.fixture
def lobby(tmp_path):
    match = Match(tmp_path / "rooms" / "past", checkpoint_s=1.0)
    match.play(100)
    match.end()
    lobby = Lobby(load({"DATA_DIR": str(tmp_path), "SOCKETS": "epoll"}), b"k" * 32, GAMES)
    yield lobby
    lobby.scores.close(5.0)


def watch_and_go(lobby: Lobby) -> weakref.ref:
    """Open a replay over a socket pair, see that it runs, and go; the room that it was."""
    ours, theirs = socket.socketpair()
    gone = Event()
    connection = Connection(
        ours.detach(),
        lambda data: conversation.receive(data),
        65536,
        1 << 20,
        on_end=lambda _: conversation.end(),
        on_closed=lambda _: gone.set(),
    )
    conversation = Conversation(lobby, None, connection, "past", "192.0.2.1")
    connection.begin()
    theirs.send(frame(wire.encode_hello("Ada")))
    with gevent.Timeout(10):
        while conversation.session is None or conversation.session.room.ticks < 3:
            gevent.sleep(0.02)
    room = weakref.ref(conversation.session.room)
    theirs.close()
    assert gone.wait(10)
    with gevent.Timeout(10):
        while lobby.watched:
            gevent.sleep(0.02)
    return room


def test_a_closed_replay_is_gone_at_once_without_the_collector(lobby):
    watch_and_go(lobby)
    gc.collect()
    gc.disable()
    try:
        before = len(os.listdir("/proc/self/fd"))
        rooms = [watch_and_go(lobby) for _ in range(3)]
        gevent.sleep(0)
        assert [room() for room in rooms] == [None] * 3
        assert len(os.listdir("/proc/self/fd")) == before
    finally:
        gc.enable()


def test_one_address_opens_only_so_many_replays_in_a_while():
    buckets = Buckets(REPLAYS_PER_SECOND, REPLAYS_AT_ONCE, clock=lambda: 0.0)
    assert [buckets.take("a") == 0 for _ in range(30)].count(True) == REPLAYS_AT_ONCE
    assert buckets.take("b") == 0
