"""A crowd of hundreds in numpy columns: everyone is a dot and leaves a path of light."""

import numpy as np

from tickstorm import Column, Input, Kind, World, whole

SPEED = 260  # units a second
SPARK_S = 4  # how long a spark shines


class Steer(Input):
    dx: int = whole(-1, 1)
    dy: int = whole(-1, 1)


class NewGame(World):
    input = Steer
    size, capacity, tick_hz = 1024, 500, 20
    kinds = (
        # The first kind is the players'. Sent in halves of a unit; in `step`, float32 in units.
        Kind(
            "dot",
            (
                Column("x", "u2", "delta", 0.5),  # changes all the time: a byte a tick
                Column("y", "u2", "delta", 0.5),
                Column("hue", "u1", "static"),  # sent once, when it appears
                Column("name", "S20", "static"),
            ),
        ),
        Kind(
            "spark",
            (
                Column("x", "u2", "static", 0.5),
                Column("y", "u2", "static", 0.5),
                Column("hue", "u1", "static"),
                Column("until", "u4", "kept"),  # never sent: the tick in which it goes out
            ),
            most=8000,
        ),
    )

    def on_join(self, slot: int) -> None:
        self.dot.hue[slot] = self.random.integers(256)

    def step(self, commands: np.ndarray) -> None:
        dots = self.dot  # one row for each player; what they want is in `dx` and `dy`
        way = SPEED * self.dt
        dots.x[:] = np.clip(dots.x + dots.dx * way, 0, self.size - 1)
        dots.y[:] = np.clip(dots.y + dots.dy * way, 0, self.size - 1)

        sparks = self.spark
        self.despawn("spark", np.flatnonzero(sparks.present & (sparks.until <= self.tick)))
        moving = np.flatnonzero(dots.dx | dots.dy)
        until = self.tick + SPARK_S * self.tick_hz
        self.spawn(
            "spark",
            moving.size,
            x=dots.x[moving],
            y=dots.y[moving],
            hue=dots.hue[moving],
            until=until,
        )
