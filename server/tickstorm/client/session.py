"""One stay in an object room as a state machine: bytes and times in, bytes and events out.

No sockets and no clock here, so that the blocking client, the asyncio one, bots and tests
share it. Call `hello` once the WebSocket is open; give every binary message to `receive`; send
what `transmit` returns, at `wake` at the latest.
"""

from __future__ import annotations

import math
from collections.abc import Container
from dataclasses import dataclass
from typing import Any

from .state import PATCH, STATE, Record, Ref, StateTree, WireError, entity_of, pack, unpack

PROTOCOL_VERSION = 1
SUBPROTOCOL = "tickstorm.1"

HELLO, PING, LEAVE, SYNC, MOVE, CALL = 1, 4, 5, 6, 9, 10
WELCOME, PONG, NOTICE, EVENT, ANSWER, FAULT = 16, 21, 22, 27, 28, 29

PING_S = 2.017
"""No multiple of a tick, so that pings fall into every part of one."""

MOVE_AGAIN_S = 0.4
"""An input that stands is said again, before the server asks itself whether we are there."""

MOST_LEAD = 14


class Refused(Exception):
    """The room's rule refused a request; the message is its reason."""


@dataclass(frozen=True)
class Welcomed:
    """We are in; `resumed`: where we were before."""

    resumed: bool


@dataclass(frozen=True)
class Changed:
    """The state is that of `tick` now; `full`: it came whole."""

    tick: int
    full: bool


@dataclass(frozen=True)
class Event:
    """What a rule sent with ``send(name, *args)``."""

    name: str
    args: list[Any]


@dataclass(frozen=True)
class Answer:
    """The answer to the request that `call` numbered; `value` is the reason if not `ok`."""

    request: int
    ok: bool
    value: Any


@dataclass(frozen=True)
class Notice:
    """The server says something to its people; `url`: where the room goes on."""

    code: int
    text: str
    url: str | None


@dataclass(frozen=True)
class Fault:
    """A rule's traceback, from a server that runs with ``--dev``."""

    text: str


Happening = Welcomed | Changed | Event | Answer | Notice | Fault

_SHAPES: dict[int, tuple[type | tuple[type, ...], ...]] = {
    WELCOME: (dict,),
    PONG: ((int, float), int),
    NOTICE: (int, str, (str, type(None))),
    EVENT: (str, list),
    ANSWER: (int, bool, object),
    FAULT: (str,),
}


class ClientSession:
    """From HELLO to the end of the connection.

    >>> session = ClientSession("Ada", ticket="t1")
    >>> unpack(session.hello())
    [1, 1, 0, 'Ada', None, {'ticket': 't1'}]

    `token` of an earlier session resumes it. Times are seconds of any steady clock.

    Attributes: ``welcome``, the server's map; ``state``, a `StateTree`; ``token``, with which
    to come back; ``rtt_s``, of the newest ping; ``sent_to``, the address at which the room goes
    on; ``bytes_received`` in messages. They are None before they are known.
    """

    def __init__(self, name: str = "", token: str | None = None, **options: Any):
        self.name, self.token = name, token
        self.welcome: dict[str, Any] | None = None
        self.state: StateTree | None = None
        self.rtt_s: float | None = None
        self.sent_to: str | None = None
        self.bytes_received = 0
        self._options = {key: value for key, value in options.items() if value is not None}
        self._input: list[Any] | None = None
        self._input_due = self._ping_due = math.inf
        self._requests = 0
        self._lead = 2
        self._out: list[bytes] = []

    # ------------------------------------------------------------------ what we know

    @property
    def declaration(self) -> dict[str, Any]:
        """What the game declares: kinds, input, messages, events."""
        return self.welcome["declaration"] if self.welcome else {}

    @property
    def ready(self) -> bool:
        """Whether the state has come."""
        return self.state is not None and self.state.tick is not None

    @property
    def _tick(self) -> int:
        return (self.state and self.state.tick) or 0

    @property
    def me(self) -> Record | None:
        """Our own player, or None for a spectator, and while the state has not come."""
        player = self.welcome.get("player") if self.welcome else None
        return None if player is None or self.state is None else self.state.entities.get(player)

    # ------------------------------------------------------------------ from the server

    def receive(self, data: bytes, now: float) -> list[Happening]:
        """Take in one message. Raises `WireError` for what makes no sense; then the session is
        over. Types that we don't know are passed over."""
        self.bytes_received += len(data)
        message = unpack(data)
        if not isinstance(message, list) or not message or type(message[0]) is not int:
            raise WireError(f"not an array that starts with a type: {message!r:.80}")
        kind = message[0]
        if kind in (STATE, PATCH):
            return [self._take_state(message)]
        if kind not in _SHAPES:
            return []
        fields = _shaped(message)
        if kind == WELCOME:
            return [self._take_welcome(fields[0], now)]
        if kind == PONG:
            self.rtt_s = max(0.0, now - fields[0])
            return []
        if kind == NOTICE:
            self.sent_to = fields[2]
            return [Notice(*fields)]
        return [{EVENT: Event, ANSWER: Answer, FAULT: Fault}[kind](*fields)]

    def _take_welcome(self, welcome: dict[str, Any], now: float) -> Welcomed:
        if welcome.get("version") != PROTOCOL_VERSION:
            raise WireError(
                f"the server speaks version {welcome.get('version')}, not {PROTOCOL_VERSION}"
            )
        if welcome.get("kind") != "objects":
            raise WireError("this room is of the other kind, a crowd; this client is for objects")
        # A replay says it again when it begins elsewhere, or at another pace.
        if self.state is None or welcome.get("declaration") != self.declaration:
            self.state = StateTree(welcome.get("declaration") or {})
        self.welcome = welcome
        self.name, self.token = welcome.get("name", self.name), welcome.get("token", self.token)
        self._ping_due = now
        if self._input is not None:
            self._input_due = now
        return Welcomed(bool(welcome.get("resumed")))

    def _take_state(self, message: list[Any]) -> Changed:
        if self.state is None:
            raise WireError(f"message {message[0]} before WELCOME")
        self.state.apply(message)
        slack = self.state.slack
        if slack is not None and slack < 0:
            self._lead = min(MOST_LEAD, self._lead - slack)
        elif slack is not None and slack > 2 and self._lead > 1:
            self._lead -= 1
        return Changed(self._tick, message[0] == STATE)

    # ------------------------------------------------------------------ to the server

    def hello(self) -> bytes:
        return pack([HELLO, PROTOCOL_VERSION, 0, self.name, self.token, self._options])

    def set_input(self, now: float, **values: Any) -> None:
        """What the player wants from now on; fields that aren't named keep their value.

        Raises ValueError, which says what is allowed, before anything is sent.
        """
        fields = self.declaration.get("input")
        if not fields:
            raise ValueError("this game declares no input; it may have messages: see `declaration`")
        names = [field[0] for field in fields]
        if unknown := values.keys() - set(names):
            raise ValueError(f"no input {min(unknown)!r}; there are {', '.join(names)}")
        held = self._input or [field[4] for field in fields]
        wanted = [values.get(name, value) for name, value in zip(names, held, strict=True)]
        for (name, kind, low, high, _), value in zip(fields, wanted, strict=True):
            _check(f"input {name}", value, kind, low, high)
        if wanted != self._input:
            self._input, self._input_due = wanted, now

    def call(self, name: str, *args: Any, answer: bool = False) -> int | None:
        """Queue a message; with `answer`, returns the number that the `Answer` will bear. An
        entity is given as its record or its id.

        Raises ValueError for a message that the game doesn't have, and for arguments that it
        doesn't take; nothing is sent then.
        """
        messages = self.declaration.get("messages", {})
        if name not in messages:
            known = ", ".join(messages) or "none"
            raise ValueError(f"this game has no message {name!r}; there are {known}")
        if not sum(len(row) < 5 for row in messages[name]) <= len(args) <= len(messages[name]):
            wanted = ", ".join(argument[0] for argument in messages[name]) or "nothing"
            raise ValueError(f"{name} takes {wanted}; {len(args)} were given")
        kinds = {kind[0] for kind in self.declaration["kinds"][1:]}
        for (argument, kind, *bounds), value in zip(messages[name], args, strict=False):
            low, high = bounds[:2] or (None, None)
            _check(f"{name}: {argument}", value, kind, low, high, kinds)
        request = None
        if answer:
            self._requests += 1
            request = self._requests
        self._out.append(pack([CALL, name, list(args), request]))
        return request

    def sync(self) -> None:
        """Ask for the whole state."""
        self._out.append(pack([SYNC]))

    def leave(self) -> None:
        """Go for good, without the time of grace."""
        self._out.append(pack([LEAVE]))

    def transmit(self, now: float) -> list[bytes]:
        """What has to be sent now, in order."""
        messages, self._out = self._out, []
        if self.ready:
            if self._input is not None and now >= self._input_due:
                messages.append(pack([MOVE, self._tick + self._lead, self._input]))
                self._input_due = now + MOVE_AGAIN_S
            if now >= self._ping_due:
                messages.append(pack([PING, now]))
                self._ping_due = now + PING_S
        return messages

    def wake(self) -> float:
        """When to call `transmit` again, even if nothing arrives until then."""
        return min(self._ping_due, self._input_due) if self.ready else math.inf


def _shaped(message: list[Any]) -> list[Any]:
    """A message's fields, checked for type; what is added to it in later versions is cut off."""
    shape = _SHAPES[message[0]]
    fields = message[1 : 1 + len(shape)]
    if message[0] == NOTICE and len(fields) == 2:
        fields.append(None)
    if len(fields) != len(shape) or not all(map(isinstance, fields, shape)):
        raise WireError(f"message {message[0]} with wrong fields: {message[1:]!r:.80}")
    return fields


_PLAIN: dict[str, tuple[Any, str]] = {
    "int": (int, "a number, int"),
    "float": ((int, float), "a number, float"),
    "bool": (bool, "True or False"),
    "str": (str, "text"),
    "bytes": (bytes, "bytes"),
    "list": ((list, tuple), "a list"),
    "tuple": ((list, tuple), "a list"),
    "dict": (dict, "a dict"),
}


def _check(
    where: str, value: Any, kind: str, low: Any, high: Any, kinds: Container[str] = ()
) -> None:
    """Raises ValueError, with what is allowed, for a value that the server would end the session
    for. Unions, and what is inside of lists and dicts, are left to the server."""
    said = f"{where} = {value!r:.80}: allowed is"
    entity, optional = entity_of(kind, kinds)
    if entity:
        number = isinstance(value, int) and not isinstance(value, bool) and value >= 0
        if not (number or isinstance(value, Ref | Record) or (value is None and optional)):
            raise ValueError(f"{said} a {entity} or its id{' or None' * optional}")
        return
    plain, called = _PLAIN.get(kind.partition("[")[0], (object, ""))
    if "|" in kind:
        return
    if kind == "str" and high is not None:
        called = f"text of at most {high} characters"
    if not isinstance(value, plain) or (isinstance(value, bool) and plain not in (bool, object)):
        raise ValueError(f"{said} {called}")
    size = len(value) if kind == "str" else value
    if high is not None and low is not None and not low <= size <= high:
        raise ValueError(f"{said} {called if kind == 'str' else f'{low:g} to {high:g}'}")
