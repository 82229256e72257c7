"""Tag: whoever is it runs after the others, and a touch passes it on.

All others earn a point a second; a round ends with a winner, and the next one begins. The page
predicts its own walker with the same lines as `walk`.
"""

from __future__ import annotations

from math import hypot

from tickstorm import Input, Player, Room, setting, synced, whole

SIZE, RADIUS = 900, 24


class Walk(Input):
    dx: int = whole(-1, 1)
    dy: int = whole(-1, 1)


class Walker(Player):
    x: float = synced(0.0, step=0.5, smooth=True)
    y: float = synced(0.0, step=0.5, smooth=True)
    it: bool = synced(False)
    points: float = synced(0.0, step=1)

    def walk(self, dt: float) -> None:
        way = dt * (300 if self.it else 260) * (0.7 if self.input.dx and self.input.dy else 1)
        self.x = min(SIZE, max(0, self.x + self.input.dx * way))
        self.y = min(SIZE, max(0, self.y + self.input.dy * way))
        self.points += 0 if self.it else dt


class Tag(Room):
    capacity, tick_hz, player, input = 8, 20, Walker, Walk
    round_s: int = setting(60, low=10, high=600, help="length of a round, seconds")
    safe_until: float = 0.0  # who has just been tagged can't tag back at once

    def on_create(self) -> None:
        self.every(self.round_s, "over")

    def on_join(self, player: Walker) -> None:
        player.x, player.y = self.random.uniform(0, SIZE), self.random.uniform(0, SIZE)

    def step(self, dt: float) -> None:
        here = [player for player in self.players if player.connected]
        for player in here:
            player.walk(dt)
        its = [player for player in here if player.it]
        near = [a for a in here for b in its if 0 < hypot(a.x - b.x, a.y - b.y) < 2 * RADIUS]
        if here and (not its or near and self.time >= self.safe_until):
            tagged, self.safe_until = self.random.choice(near or here), self.time + 1
            for player in self.players:
                player.it = player is tagged

    def over(self) -> None:
        if len(self.players) > 1:
            self.send("over", max(self.players, key=lambda player: player.points).name)
        for player in self.players:
            player.points = 0
