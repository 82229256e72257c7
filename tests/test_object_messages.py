"""What a message's arguments may be: left out, an entity, and nothing that a rule can't take."""

from __future__ import annotations

import msgspec
import pytest

from tests.object_server import ObjectServer, closed
from tests.raw_client import frame
from tickstorm import Entity, Player, Room, choice, flag, message, synced, text, whole
from tickstorm.client import Refused
from tickstorm.client.session import CALL
from tickstorm.client.state import Ref
from tickstorm.games.checks import DeclarationError
from tickstorm.games.room import Game
from tickstorm.testing import rehearse


class Coin(Entity):
    worth: int = synced(1)


class Purse(Entity, to="owner"):
    coins: int = synced(0)


class Fair(Room):
    tick_hz, kinds = 0, (Coin, Purse)

    def on_join(self, player):
        self.spawn(Purse, owner=player, coins=3)

    @message
    def toss(self, player, coin: Coin, times: int = 2, loud: bool = flag(default=True)) -> list:
        return [coin.worth, times, loud]

    @message
    def give(self, player, to: Player, coin: Coin | None = None) -> str:
        return f"{to.name} {coin and coin.worth}"

    @message
    def open(self, player, purse: Purse) -> int:
        return purse.coins

    @message
    def say(self, player, words: str = text(9), how: str = choice("low", "high")) -> str:
        return words + how

    @message
    def rate(self, player, marks: list[int] = [1], n: int = whole(1, 5, default=4)) -> list:  # noqa: B006
        marks.append(n)
        return marks

    @message
    def mint(self, player, worth: int) -> int:
        return self.spawn(Coin, worth=worth).id

    @message
    def lose(self, player, coin: Coin) -> None:
        self.despawn(coin)


def test_an_argument_with_a_default_may_be_left_out_at_the_end_and_no_other():
    fair = rehearse(Fair)
    ada = fair.join("Ada")
    coin = fair.rules.spawn(Coin, worth=7)
    assert fair.call(ada, "toss", coin) == [7, 2, True]
    assert fair.call(ada, "toss", coin, 5) == [7, 5, True]
    assert fair.call(ada, "toss", coin, 5, False) == [7, 5, False]
    assert fair.call(ada, "rate") == [1, 4] and fair.call(ada, "rate") == [1, 4], "not kept"
    for values in ([], ["hello"]):  # a check's own default is for inputs
        with pytest.raises(ValueError, match="say: "):
            fair.call(ada, "say", *values)


def test_an_entity_arrives_as_itself_and_what_is_not_there_is_refused_by_name():
    fair = rehearse(Fair)
    ada, bob = fair.join("Ada"), fair.join("Bob")
    coin = fair.rules.spawn(Coin, worth=5)
    purses = {purse.owner: purse for purse in fair.rules.each(Purse)}
    assert fair.call(ada, "give", bob, coin) == "Bob 5"
    assert fair.call(ada, "give", bob) == fair.call(ada, "give", bob, None) == "Bob None"
    assert fair.call(ada, "toss", coin.id)[0] == 5, "its number will do"
    with pytest.raises(Refused, match="coin: there is no coin"):
        fair.call(ada, "toss", bob)
    with pytest.raises(Refused, match="coin: there is no coin 999 for you"):
        fair.call(ada, "toss", 999)
    with pytest.raises(ValueError, match="toss: coin: Expected a coin or its id, got `str`"):
        fair.call(ada, "toss", "gold")
    assert fair.call(ada, "open", purses[ada]) == 3
    with pytest.raises(Refused, match="purse: there is no purse"):
        fair.call(ada, "open", purses[bob])  # it is Bob's own to know of
    fair.call(ada, "lose", coin)
    with pytest.raises(Refused, match="coin: there is no coin"):
        fair.call(ada, "lose", coin.id)


def test_a_default_that_does_not_fit_and_a_class_of_another_game_are_told_at_the_start():
    class Odd(Room):
        tick_hz = 0

        @message
        def go(self, player, n: int = "far"):
            pass

    with pytest.raises(DeclarationError, match=r"Odd.go: go: n: the default 'far' is not allowed"):
        Game(Odd)

    class Strange(Room):
        tick_hz, kinds = 0, ()

        @message
        def take(self, player, coin: Coin):
            pass

    with pytest.raises(DeclarationError, match="Strange.take: take: coin: Coin can't travel"):
        Game(Strange)


def test_an_event_may_hold_entities_and_is_checked_by_what_was_declared():
    class Raffle(Fair):
        events = {"won": {"player": Player, "coin": Coin | None}}

        @message
        def draw(self, player, what: int):
            self.send("won", player, (self.each(Coin)[0], None, player)[what])

    raffle = rehearse(Raffle)
    ada = raffle.join("Ada")
    coin = raffle.rules.spawn(Coin)
    raffle.call(ada, "draw", 0)
    raffle.call(ada, "draw", 1)
    assert [str(event.values) for event in raffle.sent] == [f"({ada}, {coin})", f"({ada}, None)"]
    with pytest.raises(ValueError, match="event won: coin: Expected `Coin"):
        raffle.call(ada, "draw", 2)


RULES = """
class Coin(Entity):
    worth: int = synced(1)

class Fair(Room):
    tick_hz, kinds = 20, (Coin,)

    @message
    def mint(self, player, worth: int = 3) -> int:
        return self.spawn(Coin, worth=worth).id

    @message
    def toss(self, player, coin: Coin) -> int:
        return coin.worth

    @message
    def note(self, player, what: Any) -> str:
        return repr(what)
"""


def test_over_a_socket_references_become_entities_are_journalled_and_odd_bytes_end_one_session(
    tmp_path,
):
    source = RULES.replace("class Coin", "from typing import Any\n\nclass Coin", 1)
    with ObjectServer(tmp_path, source) as server:
        ada, eve = server.new_room(), None
        coin = ada.request("mint")
        assert ada.request("toss", Ref(coin)) == ada.request("toss", coin) == 3
        record = ada.wait_for(lambda: ada.entities.get(coin))
        assert ada.request("toss", record) == 3, "as the client knows it"
        assert ada.request("note", [Ref(coin)]) == f"[{coin}]", "elsewhere it is a number"
        with pytest.raises(Refused, match="there is no coin"):
            ada.request("toss", Ref(4000))
        for extension in (
            msgspec.msgpack.Ext(7, b"\\1"),
            msgspec.msgpack.Ext(1, b"\\1" * 9),
        ):
            eve = server.join("Eve", room=ada.id)
            said = msgspec.msgpack.encode([CALL, "note", [extension], None])
            eve.websocket.socket.sendall(frame(said))
            assert closed(eve)[0] == 4000
        assert ada.request("note", 1) == "1"
        assert server.verify(ada.id) > 0
