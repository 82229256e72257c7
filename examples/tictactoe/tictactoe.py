"""Tic-tac-toe: two sides in turn, a rematch when both want it, and whoever likes may watch.

The room has no tick (`tick_hz = 0`): it runs when a message comes and costs nothing in between.
What is against the rules is refused with a reason, which the page shows.
"""

from __future__ import annotations

from tickstorm import Player, Refuse, Room, message, synced, whole

LINES = ((0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6))
OTHER = {"X": "O", "O": "X"}


class Side(Player):
    mark: str = synced("")  # X or O
    wins: int = synced(0)
    again: bool = synced(False)  # wants a rematch


class TicTacToe(Room):
    title = "Tic-tac-toe"
    capacity, tick_hz, player = 2, 0, Side
    cells: list[str] = synced([""] * 9)
    first: str = synced("O")  # who began
    turn: str = synced("X")
    result: str = synced("")  # X, O or draw, once it is over
    line: list[int] = synced([])  # the three cells that won

    def on_join(self, player: Side) -> None:
        others = [other.mark for other in self.players if other is not player]
        player.mark = OTHER[others[0]] if others else "X"
        self.first = "O"  # so X begins
        self.begin()

    def begin(self) -> None:
        self.cells, self.line, self.result = [""] * 9, [], ""
        self.first = self.turn = OTHER[self.first]
        for player in self.players:
            player.again = False

    @message
    def place(self, player: Side, cell: int = whole(0, 8)) -> None:
        if len(self.players) < 2:
            raise Refuse("Wait for the other side.")
        if self.result or player.mark != self.turn:
            raise Refuse("It is not your turn.")
        if self.cells[cell]:
            raise Refuse("This cell is taken.")
        self.cells[cell] = player.mark
        self.turn = OTHER[player.mark]
        for line in LINES:
            if all(self.cells[at] == player.mark for at in line):
                self.result, self.line = player.mark, list(line)
                player.wins += 1
                return
        if all(self.cells):
            self.result = "draw"

    @message
    def rematch(self, player: Side) -> None:
        if not self.result:
            raise Refuse("This game is not over yet.")
        player.again = True
        if all(other.again for other in self.players):
            self.begin()
