"""A tiny crowd, with every role of column, for the tests of the engine."""

import numpy as np

from tickstorm import Column, Input, Kind, World, flag, number, whole


class Steer(Input):
    dx: int = whole(-1, 1)
    push: float = number(0, 10, default=1)
    drop: bool = flag()


class Tiny(World):
    title = "Tiny"
    input = Steer
    size, capacity, tick_hz = 2048, 40, 25
    own = ("x", "y", "fuel")
    kinds = (
        Kind("mover", (
            Column("x", "u2", "delta", 0.5),
            Column("y", "u2", "delta", 0.5),
            Column("turn", "u1", "delta"),
            Column("fuel", "u1", "state"),
            Column("name", "S12", "static"),
            Column("vx", "f4", "kept"),
        )),
        Kind("crumb", (
            Column("x", "u2", "static", 0.5),
            Column("y", "u2", "static", 0.5),
            Column("until", "u4", "kept"),
        ), most=64),
    )  # fmt: skip

    def on_create(self) -> None:
        self.dropped = 0
        self.heat = np.zeros((2, 3), np.float32)
        self.spawn("crumb", 5, x=self.random.uniform(0, self.size, 5), until=1000)

    def on_join(self, slot: int) -> None:
        self.mover.fuel[slot] = 200

    def step(self, commands: np.ndarray) -> None:
        movers = self.mover
        movers.vx[:] = movers.dx * movers.push * 20
        movers.x[:] = (movers.x + movers.vx * self.dt) % self.size
        movers.y[:] = np.clip(movers.y + self.random.integers(-3, 4, movers.used), 0, self.size - 1)
        movers.turn += 7
        movers.fuel[commands["slot"]] -= 1
        self.heat += commands.size
        self.despawn("crumb", np.flatnonzero(self.crumb.present & (self.crumb.until == self.tick)))
        who = np.flatnonzero(movers.drop)
        until = self.tick + 10
        self.spawn("crumb", who.size, x=movers.x[who], y=movers.y[who], until=until)
        self.dropped += int(who.size)
