"""Requests that hang: the overdue and the oldest beyond the limit have to go, nothing else."""

from __future__ import annotations

import os
import socket

import pytest

from tickstorm.transport.doorkeeper import Doorkeeper


@pytest.fixture
def door():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        open_sockets = [listening]

        def connect():
            theirs = socket.create_connection(listening.getsockname())
            ours, _ = listening.accept()
            open_sockets.extend([ours, theirs])
            return ours, theirs

        yield listening.getsockname()[1], connect
        for sock in open_sockets:
            sock.close()


def is_shut(theirs) -> bool:
    theirs.setblocking(False)
    try:
        return theirs.recv(1) == b""
    except BlockingIOError:
        return False


def test_a_request_may_take_its_time_and_no_more(door):
    port, connect = door
    keeper = Doorkeeper(port, set(), seconds=10, limit=5)
    _, first = connect()
    assert keeper.look(100.0) == 0
    _, second = connect()
    assert keeper.look(109.9) == 0
    assert keeper.look(110.0) == 1
    assert is_shut(first) and not is_shut(second)
    assert keeper.look(119.9) >= 1 and is_shut(second)


def test_beyond_the_limit_the_oldest_go_first(door):
    port, connect = door
    keeper = Doorkeeper(port, set(), seconds=10, limit=2)
    clients = []
    for i in range(4):
        clients.append(connect())
        keeper.look(100.0 + i)
    for ours, theirs in clients[:2]:
        assert is_shut(theirs)
        ours.close()
    assert not any(is_shut(theirs) for _, theirs in clients[2:])
    assert keeper.look(105.0) == 0


def test_websockets_and_other_descriptors_are_left_alone(door):
    port, connect = door
    ours, theirs = connect()
    websockets = {ours.fileno()}
    keeper = Doorkeeper(port, websockets, seconds=1, limit=0)
    pair = socket.socketpair()
    assert keeper.look(0.0) == 0 and keeper.look(1000.0) == 0
    assert not is_shut(theirs)
    websockets.clear()
    assert keeper.look(1001.0) == 1 and is_shut(theirs)
    for sock in pair:
        sock.close()


def test_a_descriptor_used_again_is_another_request(door):
    port, connect = door
    keeper = Doorkeeper(port, set(), seconds=10, limit=5)
    ours, _ = connect()
    number = ours.fileno()
    keeper.look(0.0)
    again, theirs = connect()
    ours.close()
    os.dup2(again.fileno(), number)
    assert keeper.look(10.0) == 0 and not is_shut(theirs)
    os.close(number)
