"""Everyone is a dot, and everyone sees everyone move."""

from tickstorm import Input, Player, Room, synced, whole

WIDTH, HEIGHT = 800, 500
SPEED = 260


class Dot(Player):
    x: float = synced(0.0, step=0.5, smooth=True)  # sent in halves, drawn smoothly between
    y: float = synced(0.0, step=0.5, smooth=True)
    hue: int = synced(0)


class Steer(Input):
    dx: int = whole(-1, 1)
    dy: int = whole(-1, 1)


class NewGame(Room):
    capacity, tick_hz = 16, 20
    player, input = Dot, Steer

    def on_join(self, player: Dot) -> None:
        player.x = self.random.uniform(0, WIDTH)
        player.y = self.random.uniform(0, HEIGHT)
        player.hue = self.random.randrange(360)

    def step(self, dt: float) -> None:
        for dot in self.players:
            dot.x = min(max(dot.x + dot.input.dx * SPEED * dt, 0), WIDTH)
            dot.y = min(max(dot.y + dot.input.dy * SPEED * dt, 0), HEIGHT)
