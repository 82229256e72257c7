"""Crowd: a thousand fireflies flock, and follow whoever carries a lantern near them.

They fly by what the flock around them does on average: it is summed up by cells of a grid, so a
thousand of them cost a few numpy calls.
"""

import numpy as np

from tickstorm import Column, Input, Kind, World, whole

SIZE, CELLS, FLIES = 1024, 16, 1000
SLOW, FAST, REACH = 60.0, 190.0, 190.0  # units a second; how far a lantern shines, units
PLACE = (Column("x", "u2", "delta", 0.25), Column("y", "u2", "delta", 0.25))
SHOWN = (
    Column("led", "u2", "state"),
    Column("hue", "u1", "static"),
    Column("name", "S20", "static"),
)
FLYING = (Column("hue", "u1", "delta"), Column("vx", "f4", "kept"), Column("vy", "f4", "kept"))


class Carry(Input):
    to_x: int = whole(0, SIZE, default=SIZE // 2)  # where the pointer is
    to_y: int = whole(0, SIZE, default=SIZE // 2)


class Crowd(World):
    title, input, size, capacity, tick_hz = "Crowd", Carry, SIZE, 100, 20
    kinds = (Kind("lantern", PLACE + SHOWN), Kind("fly", PLACE + FLYING, most=FLIES))

    def on_create(self) -> None:
        x, y = self.random.random((2, FLIES)) * SIZE
        vx, vy = self.random.normal(0, 80, (2, FLIES))
        self.spawn("fly", FLIES, x=x, y=y, vx=vx, vy=vy, hue=x / SIZE * 60 + 20)

    def on_join(self, slot: int) -> None:
        self.lantern.hue[slot] = (slot * 97 + 140) % 256

    def step(self, commands: np.ndarray) -> None:
        flies, lamps, dt = self.fly, self.lantern, np.float32(self.dt)
        lamps.x += (lamps.to_x - lamps.x) * 6 * dt
        lamps.y += (lamps.to_y - lamps.y) * 6 * dt
        cell = (flies.y * CELLS // SIZE).astype(int) * CELLS + (flies.x * CELLS // SIZE).astype(int)
        many = np.maximum(np.bincount(cell, minlength=CELLS**2), 1)[cell]
        turn = self.random.normal(0, 60, (2, FLIES))  # each has a will of its own
        self.follow(turn)
        for v, p, turned in (flies.vx, flies.x, turn[0]), (flies.vy, flies.y, turn[1]):
            flock = np.bincount(cell, v, CELLS**2)[cell] / many
            middle = np.bincount(cell, p, CELLS**2)[cell] / many
            turned += 1.6 * (flock - v) + (middle - p) * (1.5 - 0.2 * many)
            turned += 4 * (np.maximum(120 - p, 0) - np.maximum(p - SIZE + 120, 0))  # walls
            v += turned * dt
        speed = np.hypot(flies.vx, flies.vy) + 1e-6
        for v, p in (flies.vx, flies.x), (flies.vy, flies.y):
            v *= np.clip(speed, SLOW, FAST) / speed
            p[:] = np.clip(p + v * dt, 0, SIZE - 1)

    def follow(self, turn: np.ndarray) -> None:
        """The lantern that is nearest, if it is near: fly around it, and glow as it does."""
        flies, lamps, here = self.fly, self.lantern, self.present("lantern")
        if here.size:
            dx, dy = lamps.x[here, None] - flies.x, lamps.y[here, None] - flies.y
            which, each = np.argmin(np.hypot(dx, dy), 0), np.arange(FLIES)
            dx, dy, leader = dx[which, each], dy[which, each], here[which]
            far = np.hypot(dx, dy) + 1e-6
            led = far < REACH
            pull = led * 5 * (1 - 45 / far)  # away again from closer than 45
            turn += pull * np.array((dx, dy)) + 1.5 * led * np.array((-dy, dx))  # and around it
            flies.hue[led] = lamps.hue[leader[led]]
            lamps.led[:] = np.bincount(leader[led], minlength=lamps.used)
