"""One bot's stay on one connection, as a state machine: bytes and times in, bytes out."""

from __future__ import annotations

import math

import numpy as np

from . import wire
from .brain import Brain, Temperament, look
from .tally import Tally
from .wire import NO_SLACK, KnownWorld

WELCOME_TIMEOUT_S = 10.0
PING_S = 2.017
"""No multiple of a tick, so that pings fall into every part of one."""
MAX_LEAD = 14


class InputClock:
    """When to send an input.

    Snapshots that took the fastest way say when each tick's snapshot is due here
    (``_origin + tick / tick_hz``). At that time, whether or not the snapshot is late,
    an input leaves for the tick `lead` later. `lead` follows the slack that the server
    reports, so that inputs arrive just before their tick.

    >>> clock = InputClock(tick_hz=20)
    >>> clock.saw(tick=100, slack=NO_SLACK, now=7.0)
    >>> clock.due(now=7.0), clock.due(now=7.01), clock.due(now=7.05)
    (100, None, 101)
    """

    def __init__(self, tick_hz: float) -> None:
        self.lead = 2  # ticks
        self._tick_s = 1 / tick_hz
        self._origin = math.inf  # when the snapshot of tick 0 would have come, s
        self._sent = -1  # tick whose input was sent last
        self._settled = 0  # tick from which on slack tells of the present lead
        self._least = 127  # smallest slack seen since
        self._seen_since = 0

    def saw(self, tick: int, slack: int, now: float) -> None:
        """A snapshot arrived."""
        # The leak (2 % of the time) follows a server whose clock is slower, or was halted.
        self._origin = min(self._origin + 0.02 * self._tick_s, now - tick * self._tick_s)
        if slack == NO_SLACK or tick < self._settled:
            return
        self._least, self._seen_since = min(self._least, slack), self._seen_since + 1
        if slack < 0:
            self._settle(tick, self.lead - slack)
        elif self._seen_since >= 40:
            # Every input of the last two seconds was early by a tick or more.
            self._settle(tick, self.lead - (self._least >= 1))

    def _settle(self, tick: int, lead: int) -> None:
        self.lead = max(1, min(MAX_LEAD, lead))
        self._settled = tick + self.lead + 2
        self._least, self._seen_since = 127, 0

    def due(self, now: float) -> int | None:
        """The tick whose snapshot is due, if no input has left for it yet; else None."""
        if self._origin == math.inf:
            return None
        tick = math.floor((now - self._origin) / self._tick_s + 0.01)
        if tick <= self._sent:
            return None
        self._sent = tick
        return tick

    def wake(self) -> float:
        """When to look again if no snapshot comes before."""
        return self._origin + (self._sent + 1.2) * self._tick_s


class Session:
    """From HELLO to the end of the connection.

    Times are seconds of any steady clock. `receive` raises `wire.WireError` when the
    server's bytes make no sense; the session is over then.
    """

    def __init__(
        self,
        name: str,
        temperament: Temperament,
        seed: str | int,
        token: str | None,
        tally: Tally,
        now: float,
    ) -> None:
        self.name, self.token, self.tally = name, token, tally
        self.welcome: dict | None = None
        self.world: KnownWorld | None = None
        self._temperament, self._seed = temperament, seed
        self._began = now
        self._head: dict | None = None
        self._heat: np.ndarray | None = None
        self.snapshot_at: float | None = None
        self._sequence = 0
        self._next_ping = now
        self.sent_to: str | None = None  # where the server says that the room goes on

    @property
    def own(self) -> dict | None:
        """The own ship (SELF by name) in the newest snapshot."""
        return self._head and self._head["self"]

    def hello(self, ticket: str | None = None) -> bytes:
        options = {"bot": True} | ({"ticket": ticket} if ticket is not None else {})
        return wire.encode_hello(self.name, self.token, **options)

    def receive(self, data: bytes, now: float) -> None:
        """Take in one message from the server."""
        message = wire.decode(data)
        kind = message[0]
        if kind == wire.WELCOME:
            self._take_welcome(wire.check_welcome(message[1]))
        elif kind == wire.NOTICE:
            self.sent_to = message[3] if len(message) == 4 else None
        elif self.world is None:
            raise wire.WireError(f"message {kind} before WELCOME")
        elif kind == wire.SNAPSHOT:
            self._take_snapshot(message[1], message[2], now)
        elif kind == wire.FEED:
            for event in message[1]:
                if event[0] == "kill":
                    self.tally.kills += event[3] == self.welcome["slot"]
                    self.tally.deaths += event[4] == self.welcome["slot"]
        elif kind == wire.PONG:
            self.tally.round_trip_s += now - message[1]
            self.tally.pongs += 1
        elif kind == wire.HEAT:
            self._heat = np.frombuffer(message[2], np.uint8).reshape(message[1], message[1])

    def _take_welcome(self, welcome: dict) -> None:
        if self.welcome is not None:
            raise wire.WireError("a second WELCOME")
        self.welcome = welcome
        self.world = KnownWorld(welcome["declaration"])
        self.clock = InputClock(welcome["tick_hz"])
        self.brain = Brain(self._temperament, self._seed, welcome["rules"], welcome["size"])
        self.name, self.token = welcome["name"], welcome["token"]
        self.tally.resumed += welcome["resumed"]

    def _take_snapshot(self, head: bytes, body: bytes, now: float) -> None:
        self._head = self.world.apply(head, body)
        self.clock.saw(self._head["tick"], self._head["slack"], now)
        self.tally.snapshots += 1
        if self.snapshot_at is not None:
            self.tally.gap(now - self.snapshot_at)
        self.snapshot_at = now

    def transmit(self, now: float) -> list[bytes]:
        """What has to be sent now."""
        if self._head is None:
            return []
        messages = []
        view_tick = self.clock.due(now)
        if view_tick is not None:
            messages.append(self._input(view_tick))
        if now >= self._next_ping:
            messages.append(wire.encode_ping(now))
            self._next_ping = now + PING_S
        return messages

    def _input(self, view_tick: int) -> bytes:
        """INPUT of a player who has the others of `view_tick` before its eyes."""
        target_tick = view_tick + self.clock.lead
        if self.brain.thinks_at(view_tick):
            sight = look(self.world, self.welcome["slot"], self.own, self._heat)
            self.brain.think(sight, view_tick, target_tick)
        aim, move, buttons = self.brain.command()
        self._sequence = (self._sequence + 1) & 0xFFFF
        self.tally.inputs += 1
        view_delay = min(255, self.clock.lead * 16)
        return wire.encode_input(
            target_tick, self.world.tick, self._sequence, aim, move, buttons, view_delay
        )

    def wake(self) -> float:
        """When `transmit` has something to do even if nothing arrives."""
        if self._head is None:
            return self._began + WELCOME_TIMEOUT_S
        return min(self.clock.wake(), self._next_ping)

    def overdue(self, now: float) -> bool:
        """Whether the server has been silent for longer than it may."""
        return now - (self.snapshot_at or self._began) > WELCOME_TIMEOUT_S
