"""The rules of a room that has a little of everything, for tests of the client SDK."""

from __future__ import annotations

from tickstorm import Entity, Input, Player, Refuse, Room, flag, message, synced, text, whole

SPEED = 260


class Walker(Player):
    x: float = synced(100.0, step=0.5, smooth=True)
    hand: list[int] = synced([], to="owner")


class Card(Entity):
    value: int = synced(0)
    holder: Player | None = synced(None)


class Walk(Input):
    dx: int = whole(-1, 1)
    fast: bool = flag()


class Probe(Room):
    player = Walker
    capacity, tick_hz, grace_s = 8, 20, 10
    phase: str = synced("play")
    log: list[str] = synced([])
    scores: dict[str, int] = synced({})
    input = Walk
    events = {"said": {"who": str, "words": str}}

    def on_join(self, player):
        if player.name == "Mallory":
            raise Refuse("only friends")
        player.hand = [1, 2, 3]
        self.scores[player.name] = 0
        self.spawn(Card, owner=player, value=7, holder=player)

    def step(self, dt):
        for player in self.players:
            player.x = min(900, max(0, player.x + player.input.dx * SPEED * dt))

    @message
    def say(self, player, words: str = text(200)):
        self.log.append(words)
        self.send("said", player.name, words)

    @message
    def roll(self, player, sides: int = whole(2, 100)) -> int:
        if sides == 13:
            raise Refuse("not thirteen")
        return sides

    @message
    def fail(self, player):
        raise RuntimeError("this room's")

    @message
    def out(self, player, name: str = text(20)):
        for other in self.players:
            if other.name == name:
                self.kick(other, "be nice")
