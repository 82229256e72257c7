"""The small game of `python -m bench rooms`: four players who move by the inputs they hold.

`bench/peers/colyseus/rooms.cjs` is the same in JavaScript. `Quiet` is a room without a tick, for
players who are there and say nothing.
"""

from __future__ import annotations

from tickstorm import Input, Player, Room, synced, whole

SIZE, SPEED = 2048, 260.0


class Walk(Input):
    dx: int = whole(-1, 1)
    dy: int = whole(-1, 1)


class Walker(Player):
    x: float = synced(0.0, step=0.5, smooth=True)
    y: float = synced(0.0, step=0.5, smooth=True)


class Small(Room):
    capacity, tick_hz, player, input = 16, 20, Walker, Walk

    def on_join(self, player: Walker) -> None:
        player.x, player.y = self.random.uniform(0, SIZE), self.random.uniform(0, SIZE)

    def step(self, dt: float) -> None:
        way = SPEED * dt
        for player in self.players:
            held = player.input
            player.x = (player.x + held.dx * way) % SIZE
            player.y = (player.y + held.dy * way) % SIZE


class Quiet(Room):
    capacity, tick_hz = 16, 0
