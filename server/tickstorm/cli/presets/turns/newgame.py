"""Three in a row, for two: turns, a winner, and once again."""

from tickstorm import Player, Refuse, Room, message, synced, whole

LINES = [(0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6)]


class Side(Player):
    mark: str = synced("")


class NewGame(Room):
    capacity, tick_hz = 2, 0  # no tick: nothing happens unless somebody does something
    player = Side

    cells: list[str] = synced([""] * 9)
    turn: str = synced("X")
    result: str = synced("")  # who has won, "draw", or nothing yet

    def on_join(self, player: Side) -> None:
        taken = [side.mark for side in self.players]
        player.mark = "O" if "X" in taken else "X"

    def on_leave(self, player: Side) -> None:
        self.begin()

    @message
    def place(self, player: Side, cell: int = whole(0, 8)) -> None:
        if self.result:
            raise Refuse("the game is over")
        if len(self.players) < 2:
            raise Refuse("wait for somebody to play against")
        if player.mark != self.turn:
            raise Refuse("it is not your turn")
        if self.cells[cell]:
            raise Refuse("that cell is taken")
        self.cells[cell] = player.mark
        self.turn = "O" if player.mark == "X" else "X"
        self.result = self.outcome()

    @message
    def again(self, player: Side) -> None:
        if not self.result:
            raise Refuse("the game is not over")
        self.begin()

    def begin(self) -> None:
        self.cells = [""] * 9
        self.turn, self.result = "X", ""

    def outcome(self) -> str:
        for a, b, c in LINES:
            if self.cells[a] and self.cells[a] == self.cells[b] == self.cells[c]:
                return self.cells[a]
        return "" if "" in self.cells else "draw"
