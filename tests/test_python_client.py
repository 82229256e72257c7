"""The Python clients against a server of a few lines: joining, state, input, requests, the end."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from websockets.sync.server import serve

import tickstorm.aio
from tickstorm.client import (
    Changed,
    ClientSession,
    ConnectError,
    Disconnected,
    Event,
    Refused,
    WireError,
    connect,
)
from tickstorm.client.session import CALL, HELLO, LEAVE, MOVE, PING
from tickstorm.client.state import FIXED, QUANTISED, Ref, pack, unpack

DECLARATION = {
    "game": "dots",
    "kinds": [
        ["room", [["phase", "str", 0, None]]],
        [
            "dot",
            [
                ["name", "str", FIXED, None],
                ["connected", "bool", 0, None],
                ["x", "float", QUANTISED, 0.5],
            ],
        ],
    ],
    "input": [["dx", "int", -1, 1, 0], ["fast", "bool", None, None, False]],
    "messages": {
        "roll": [["sides", "int"]],
        "say": [["words", "str"]],
        "poke": [["dot", "Dot", None, None], ["with_", "Dot | None", None, None, None]],
    },
    "events": {"said": [["words", "str"]]},
}
WELCOME = {
    "version": 1,
    "kind": "objects",
    "declaration": DECLARATION,
    "room": "r1",
    "player": 1,
    "name": "Ada",
    "token": "t-1",
    "resumed": False,
    "settings": {"size": 3},
}


def answer(socket) -> None:
    """The server's side of one connection: moves x by dx, rolls the highest, echoes, closes."""
    hello = unpack(socket.recv())
    assert hello[0] == HELLO
    socket.send(pack([16, WELCOME | {"resumed": hello[4] is not None}]))
    socket.send(pack([25, 7, None, [0, 0, ["play"], 1, 1, [hello[3] or "Ada", True, 20]]]))
    tick = 7
    for data in socket:
        message = unpack(data)
        if message[0] == MOVE:
            tick += 1
            socket.send(pack([26, tick, 0, [1, 0b10, message[2][0]]]))
        elif message[0] == PING:
            socket.send(pack([21, message[1], tick]))
        elif message[:2] == [CALL, "roll"]:
            sides, ok = message[2][0], message[2][0] > 1
            socket.send(pack([28, message[3], ok, sides if ok else "one side is no die"]))
        elif message[:2] == [CALL, "poke"]:
            socket.send(pack([28, message[3], True, message[2]]))
        elif message[:2] == [CALL, "say"]:
            socket.send(pack([27, "said", message[2]]))
            if message[2] == ["bye"]:
                socket.close(4009, "the room is over")
        elif message[0] == LEAVE:
            return


@contextmanager
def server():
    with serve(answer, "127.0.0.1", 0, subprotocols=["tickstorm.1"]) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"ws://127.0.0.1:{listening.socket.getsockname()[1]}"
        listening.shutdown()


@pytest.fixture(scope="module")
def url():
    with server() as address:
        yield address


def test_the_blocking_client_joins_moves_and_asks(url):
    with connect(url, name="Bo") as room:
        assert room.id == "r1" and room.settings == {"size": 3} and room.state["phase"] == "play"
        assert room.me == {"name": "Bo", "connected": True, "x": 10.0} and room.players == [room.me]
        room.input(dx=1)
        room.wait_for(lambda: room.me["x"] > 10)
        assert room.tick > 7 and room.request("roll", 6) == 6
        with pytest.raises(Refused, match="no die"):
            room.request("roll", 1)
        room.send("say", "hello")
        room.wait_for(lambda: room.rtt_s is not None)
        room.request("roll", 2)  # comes after what was said
        happened = room.update()
        assert Event("said", ["hello"]) in happened
        assert any(isinstance(each, Changed) for each in happened)


def test_mistakes_are_named_before_anything_is_sent(url):
    with connect(url) as room:
        for wrong, reason in (
            (lambda: room.input(dx=2), "allowed is -1 to 1"),
            (lambda: room.input(dx=True), "a number"),
            (lambda: room.input(fast=1), "True or False"),
            (lambda: room.input(dy=1), "no input 'dy'; there are dx, fast"),
            (lambda: room.send("shout"), "no message 'shout'; there are roll, say, poke"),
            (lambda: room.send("say"), "say takes words; 0 were given"),
            (lambda: room.send("say", None), "say: words = None: allowed is text"),
            (lambda: room.send("roll", room.me), "roll: sides = .*: allowed is a number, int"),
            (lambda: room.send("poke", None), "poke: dot = None: allowed is a dot or its id$"),
            (lambda: room.send("poke", True), "poke: dot = True: allowed is a dot or its id$"),
            (
                lambda: room.send("poke", 1, "me"),
                "with_ = 'me': allowed is a dot or its id or None",
            ),
        ):
            with pytest.raises(ValueError, match=reason):
                wrong()
        assert room.request("poke", room.me, None) == [Ref(1), None]
        assert room.request("poke", 1, Ref(1)) == [1, Ref(1)], "it is still connected"


def test_a_closed_room_says_why_and_one_can_come_back(url):
    room = connect(url)
    with pytest.raises(Disconnected, match="4009: the room is over"):
        room.send("say", "bye")
        room.update(5.0)
    room.reconnect()
    assert room.session.welcome["resumed"]
    room.leave()


def test_the_asyncio_client_does_the_same(url):
    async def play() -> None:
        async with tickstorm.aio.connect(url, name="Cy") as room:
            assert room.me["name"] == "Cy"
            room.input(dx=-1)
            await room.wait_for(lambda: room.me["x"] < 10)
            assert await asyncio.gather(room.request("roll", 6), room.request("roll", 4)) == [6, 4]
            with pytest.raises(Refused):
                await room.request("roll", 1)
            room.send("say", "bye")
            assert [event.args async for event in room.events()] == [["bye"]]
            with pytest.raises(Disconnected, match="over"):
                room.send("say", "more")

    # In a thread, for a browser of another test may have a loop running in this one.
    with ThreadPoolExecutor() as threads:
        threads.submit(asyncio.run, asyncio.wait_for(play(), 20)).result()


def test_nobody_listens_there():
    with pytest.raises(ConnectError, match="no server answers at http://127.0.0.1:9"):
        connect("http://127.0.0.1:9")
    with pytest.raises(ConnectError, match="no server answers at ws://127.0.0.1:9"):
        connect("ws://127.0.0.1:9/ws")
    with pytest.raises(ConnectError, match="allowed is http://"):
        connect("ftp://127.0.0.1")


def test_a_standing_input_is_said_again():
    session = ClientSession("Ada")
    session.receive(pack([16, WELCOME]), 0.0)
    session.set_input(0.0, dx=1)
    assert session.transmit(0.0) == [] and session.wake() == float("inf")
    session.receive(pack([25, 7, None, [0, 0, ["play"]]]), 0.0)
    assert [unpack(data)[0] for data in session.transmit(0.1)] == [MOVE, PING]
    assert session.transmit(0.2) == []
    assert unpack(session.transmit(session.wake())[0]) == [MOVE, 9, [1, False]]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ([16, {"version": 2}], "version 2"),
        ([16, {"version": 1, "kind": "crowd"}], "a crowd"),
        ([25, 7, None, []], "before WELCOME"),
        ([28, 1], "wrong fields"),
        (["x"], "starts with a type"),
    ],
)
def test_what_makes_no_sense_is_refused(message, reason):
    with pytest.raises(WireError, match=reason):
        ClientSession().receive(pack(message), 0.0)


def test_unknown_messages_are_passed_over():
    assert ClientSession().receive(pack([99, "later"]), 0.0) == []
