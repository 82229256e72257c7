"""Chat: a room keeps its last 100 lines, and tells who is typing.

Whoever came first is the host, who may mute and remove others; when the host leaves, the next
in line takes over. Names are unique in a room: who takes a name that is taken gets a number.
"""

from __future__ import annotations

from tickstorm import Player, Refuse, Room, message, synced, text

KEPT = 100


class Guest(Player):
    nick: str = synced("")
    host: bool = synced(False)
    muted: bool = synced(False)
    typing: bool = synced(False)


class Chat(Room):
    capacity, tick_hz, player = 50, 0, Guest
    lines: list[tuple[str, str]] = synced([])  # (nick, words); of the room itself: ("", words)

    def on_join(self, player: Guest) -> None:
        player.nick = self.free_nick(player.name, player)
        player.host = len(self.players) == 1
        self.add("", f"{player.nick} came in")

    def on_drop(self, player: Guest) -> None:
        player.typing = False

    def on_leave(self, player: Guest) -> None:
        self.add("", f"{player.nick} left")
        others = [other for other in self.players if other is not player]
        if player.host and others:
            others[0].host = True

    def add(self, nick: str, words: str) -> None:
        self.lines.append((nick, words))
        if len(self.lines) > KEPT:
            del self.lines[0]

    def free_nick(self, wanted: str, player: Guest) -> str:
        taken = {other.nick for other in self.players if other is not player}
        wanted = " ".join(wanted.split()) or "Guest"
        names = [wanted] + [f"{wanted} {number}" for number in range(2, len(taken) + 3)]
        return next(name for name in names if name not in taken)

    @message(per_second=3)
    def say(self, player: Guest, words: str = text(500)) -> None:
        if player.muted:
            raise Refuse("The host has muted you.")
        if words.strip():
            self.add(player.nick, words.strip())
        player.typing = False

    @message(per_second=5)
    def typing(self, player: Guest, on: bool) -> None:
        player.typing = on and not player.muted

    @message(per_second=1)
    def rename(self, player: Guest, nick: str = text(20)) -> None:
        before, player.nick = player.nick, self.free_nick(nick, player)
        self.add("", f"{before} is now {player.nick}")

    @message
    def mute(self, player: Guest, nick: str = text(30)) -> None:
        other = self.other(player, nick)
        other.muted, other.typing = not other.muted, False
        self.add("", f"{nick} was {'muted' if other.muted else 'unmuted'} by {player.nick}")

    @message
    def remove(self, player: Guest, nick: str = text(30)) -> None:
        self.kick(self.other(player, nick), f"{player.nick} removed you from the room.")

    def other(self, host: Guest, nick: str) -> Guest:
        """Whom the host means."""
        if not host.host:
            raise Refuse("Only the host may do that.")
        for player in self.players:
            if player.nick == nick and player is not host:
                return player
        raise Refuse("There is nobody of this name.")
