"""Crazy eights: a card game for two to five, with hands that nobody else gets to see.

Follow the suit or the rank of the top card, or play an eight and name a suit. Who can't draws
one card, and plays it or passes. `hand` is synced to its owner alone; everybody else is sent
only how many cards it holds. Who comes during a round waits for the next one.
"""

from __future__ import annotations

from tickstorm import Player, Refuse, Room, choice, message, synced, text

SUITS = "SHDC"
DECK = [suit + rank for suit in SUITS for rank in "A23456789TJQK"]


class Seat(Player):
    hand: list[str] = synced([], to="owner")
    count: int = synced(0)
    playing: bool = synced(False)
    wins: int = synced(0)


class Crazy(Room):
    title = "Crazy eights"
    capacity, tick_hz, player = 5, 0, Seat
    phase: str = synced("wait")  # then play, then over
    top: str = synced("")
    suit: str = synced("")  # to follow; an eight may name another than its own
    left: int = synced(0)  # cards to draw from
    drawn: bool = synced(False)  # whoever's turn it is has drawn, and may pass
    turn: Seat | None = synced(None)
    winner: str = synced("")
    pile: list[str] = []  # face down, and
    played: list[str] = []  # face up: kept with the room, never sent

    @message
    def deal(self, player: Seat) -> None:
        if self.phase == "play":
            raise Refuse("A round is being played.")
        if len(self.players) < 2:
            raise Refuse("It takes two at least.")
        self.pile, self.played = list(DECK), []
        self.random.shuffle(self.pile)
        for seat in self.players:
            cards = [self.pile.pop() for _ in range(7 if len(self.players) == 2 else 5)]
            seat.playing = True
            self.hold(seat, cards)
        self.phase, self.winner = "play", ""
        self.show(self.pile.pop())
        self.pass_on(self.random.choice(self.players))

    @message
    def play(self, player: Seat, card: str = text(2), suit: str = choice("", *SUITS)) -> None:
        self.check_turn(player)
        if card not in player.hand:
            raise Refuse("You don't hold this card.")
        if card[1] != "8" and card[0] != self.suit and card[1] != self.top[1]:
            raise Refuse("It must have the suit or the rank of the top card.")
        self.hold(player, [held for held in player.hand if held != card])
        self.show(card, suit if card[1] == "8" else "")
        if player.hand:
            self.pass_on(player)
        else:
            player.wins += 1
            self.end(player.name)

    @message
    def draw(self, player: Seat) -> None:
        self.check_turn(player)
        if self.drawn or not self.left:
            raise Refuse("Play a card, or pass.")
        if not self.pile:  # what was played is shuffled, all but the top card
            self.pile, self.played = self.played[:-1], self.played[-1:]
            self.random.shuffle(self.pile)
        self.hold(player, sorted([*player.hand, self.pile.pop()]))
        self.drawn = True

    @message
    def skip(self, player: Seat) -> None:
        self.check_turn(player)
        if not self.drawn and self.left:
            raise Refuse("Draw a card first.")
        self.pass_on(player)

    def on_leave(self, player: Seat) -> None:
        if self.phase != "play" or not player.playing:
            return
        self.pile[:0] = player.hand  # under the pile
        self.count_left()
        if self.turn is player:
            self.pass_on(player)
        player.playing = False
        if sum(seat.playing for seat in self.players) < 2:
            self.end("")

    def check_turn(self, player: Seat) -> None:
        if self.phase != "play" or self.turn is not player:
            raise Refuse("It is not your turn.")

    def hold(self, player: Seat, cards: list[str]) -> None:
        player.hand, player.count = sorted(cards), len(cards)
        self.count_left()

    def show(self, card: str, suit: str = "") -> None:
        self.top, self.suit = card, suit or card[0]
        self.played.append(card)
        self.count_left()

    def count_left(self) -> None:
        self.left = len(self.pile) + len(self.played[:-1])

    def pass_on(self, player: Seat) -> None:
        """Whoever sits after `player` is next."""
        seats = [seat for seat in self.players if seat.playing]
        self.turn, self.drawn = seats[(seats.index(player) + 1) % len(seats)], False

    def end(self, winner: str) -> None:
        self.phase, self.winner, self.turn = "over", winner, None
        for seat in self.players:
            seat.playing = False
