"""A board on which everyone draws, whoever comes late included."""

from tickstorm import Player, Refuse, Room, message, synced

WIDTH, HEIGHT = 1600, 1000
MOST_INK = 20_000


class Painter(Player):
    hue: int = synced(0)
    strokes: list[int] = []  # one's own, the latest last; nobody sees this


class NewGame(Room):
    capacity, tick_hz = 50, 0
    player = Painter

    ink: list[tuple[int, int, list[int]]] = synced([])  # stroke, hue, [x, y, x, y, …]
    last_stroke: int = 0

    def on_join(self, player: Painter) -> None:
        player.hue = self.random.randrange(360)

    @message(per_second=30)
    def draw(self, player: Painter, begins: bool, points: list[tuple[int, int]]) -> None:
        """A piece of a stroke; `begins`: the first of a new one."""
        if begins or not player.strokes:
            self.last_stroke += 1
            player.strokes.append(self.last_stroke)
        flat = []
        for x, y in points:
            flat += [min(max(x, 0), WIDTH), min(max(y, 0), HEIGHT)]
        if flat:
            self.ink.append((player.strokes[-1], player.hue, flat))
        if len(self.ink) > MOST_INK:
            del self.ink[0]

    @message
    def undo(self, player: Painter) -> None:
        if not player.strokes:
            raise Refuse("there is nothing of yours to take back")
        stroke = player.strokes.pop()
        self.ink = [piece for piece in self.ink if piece[0] != stroke]

    @message(per_second=1)
    def clear(self, player: Painter) -> None:
        self.ink = []
        for painter in self.players:
            painter.strokes = []
        self.send("cleared", player.name)
