"""A client's stay over HTTP, without HTTP: nothing is lost or doubled, whatever requests are."""

from __future__ import annotations

import os
import random
import socket

import pytest
from websockets.frames import Close as CloseFrame
from websockets.protocol import State
from websockets.server import ServerProtocol

from tickstorm.transport import stream as module
from tickstorm.transport.bridge import LOST, Bridge
from tickstorm.transport.stream import Gone, Stream


class Room:
    """The far end of a bridge: what a room would say and hear."""

    def __init__(self, bridge: Bridge):
        self.sock = socket.socket(fileno=bridge.fd)
        self.sock.setblocking(False)
        self.codec = ServerProtocol(state=State.OPEN, max_size=None)
        self.heard: list[bytes] = []

    def say(self, message: bytes) -> None:
        self.codec.send_binary(message)
        self._flush()

    def close(self, code: int, reason: str) -> None:
        self.codec.send_close(code, reason)
        self._flush()

    def _flush(self) -> None:
        self.sock.sendall(b"".join(self.codec.data_to_send()))

    def hear(self) -> list[bytes]:
        try:
            self.codec.receive_data(self.sock.recv(1 << 20))
        except BlockingIOError:
            pass
        self.heard += [bytes(event.data) for event in self.codec.events_received()]
        return self.heard


@pytest.fixture
def ends():
    bridge = Bridge()
    room = Room(bridge)
    yield Stream(bridge, "here"), room
    room.sock.close()
    bridge.close()


@pytest.mark.parametrize("seed", range(20))
def test_whatever_answers_get_lost_the_client_knows_all_in_order(ends, seed):
    stream, room = ends
    chance = random.Random(seed)
    said: list[bytes] = []
    known: list[bytes] = []
    for _ in range(200):
        for _ in range(chance.randrange(4)):
            said.append(chance.randbytes(chance.choice([1, 30, 126, 3000])))
            room.say(said[-1])
        messages = stream.after(len(known))
        stream.shrink(len(known) + len(messages))
        known += messages[: chance.choice([0, len(messages) // 2, len(messages)])]
    while messages := stream.after(len(known)):
        known += messages
    assert known == said


@pytest.mark.parametrize("seed", range(20))
def test_whatever_requests_are_repeated_the_room_hears_all_once(ends, seed):
    stream, room = ends
    chance = random.Random(seed)
    said, number = [], 0
    for _ in range(100):
        number += 1
        batch = [chance.randbytes(chance.randrange(1, 200)) for _ in range(chance.randrange(4))]
        said += batch
        for _ in range(chance.choice([1, 1, 2, 3])):
            assert stream.take(number, batch)
        assert not stream.take(number + 2, [b"too early"])
        assert not stream.take(number - 1, [b"too late"])
        room.hear()
    assert room.hear() == said


def test_only_the_newest_are_kept(ends):
    stream, room = ends
    for number in range(1, 2000):
        room.say(os.urandom(500))
        stream.after(number - 1)
        stream.shrink(number)
    kept = len(stream.after(1999 - module.KEPT_BYTES // 500))
    assert kept * 500 <= module.KEPT_BYTES
    with pytest.raises(Gone):
        stream.after(1999 - module.KEPT_BYTES // 500 - 1)
    with pytest.raises(Gone):
        stream.after(2000)


def test_what_nobody_asks_for_stays_with_the_room(ends):
    stream, room = ends
    with pytest.raises(BlockingIOError):  # so that the room knows that the client is slow
        for _ in range(10_000):
            room.say(bytes(1000))


def test_an_end_comes_after_all_that_was_said(ends):
    stream, room = ends
    room.say(b"last words")
    room.close(4010, "be nice")
    assert stream.after(0) == [b"last words"]
    assert stream.bridge.ended == (4010, "be nice")
    room.hear()
    assert room.codec.close_rcvd == CloseFrame(4010, "be nice")
    with pytest.raises(OSError):
        stream.take(1, [b"too late"])


def test_a_room_that_is_gone_is_a_lost_connection(ends):
    stream, room = ends
    room.sock.shutdown(socket.SHUT_RDWR)
    assert stream.after(0) == []
    assert stream.bridge.ended == (LOST, "")
