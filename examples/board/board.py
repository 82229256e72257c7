"""A shared whiteboard with presence and chat.

What was drawn is a synced list: each addition travels by itself, and who comes late gets all.
A stroke comes in parts with one number, so that `undo` finds them. There is no tick.
"""

from __future__ import annotations

from tickstorm import Player, Refuse, Room, message, synced, text, whole


class Artist(Player):
    at: list[int] = synced([0, 0])  # the pointer
    strokes: list[int] = []  # numbers of one's own; not synced


class Board(Room):
    title = "Whiteboard"
    capacity, tick_hz, player = 50, 0, Artist
    parts: list[tuple] = synced([])  # (stroke, colour, [(x, y), …])
    said: list[tuple[str, str]] = synced([])  # (name, words)
    drawn: int = 0  # strokes so far

    @message(per_second=40)
    def draw(
        self, player: Artist, new: bool, points: list[tuple[int, int]], colour: int = whole(0, 5)
    ) -> None:
        if len(self.parts) >= 20_000:
            raise Refuse("The board is full.")
        if new or not player.strokes:
            self.drawn += 1
            player.strokes.append(self.drawn)
        self.parts.append((player.strokes[-1], colour, points))

    @message
    def undo(self, player: Artist) -> None:
        last = player.strokes.pop() if player.strokes else None
        for part in [part for part in self.parts if part[0] == last]:
            self.parts.remove(part)

    @message(per_second=30)
    def point(self, player: Artist, x: int, y: int) -> None:
        player.at = [x, y]

    @message(per_second=2)
    def say(self, player: Artist, words: str = text(200)) -> None:
        self.said.append((player.name, words))
        if len(self.said) > 100:
            del self.said[0]
