"""What a room can be told: its name, who may find it, how large it is, how long a round lasts."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

from ..config import Config
from ..games.catalogue import OBJECTS, Catalogue, Entry
from ..protocol import names
from ..records.files import encodable

NAME_CHARACTERS = 24
MAX_ROUND_S = 3600
MIN_ROUND_S = 30


class SettingsError(ValueError):
    """A setting isn't allowed. `field` names it; the message says what is."""

    def __init__(self, field: str, message: str):
        super().__init__(f"{field}: {message}")
        self.field = field


@dataclass(frozen=True)
class RoomSettings:
    """One room's settings; they travel through the directory as a map."""

    game: str = ""  # name of the game that is played in it
    name: str = ""
    public: bool = True  # listed, and open to quick play; else only by its code
    capacity: int = 100  # players, bots included
    size: int = 4096  # side of the square world, units
    tick_hz: int = 20
    bots: int = 0
    round_s: int = 0  # length of a round; 0: one match without end
    settings: dict[str, Any] = field(default_factory=dict)  # the game's own, those that were chosen

    def config(self, node: Config) -> Config:
        """The configuration of a room with these settings on a node."""
        return replace(node, max_players=self.capacity, world_size=self.size, tick_hz=self.tick_hz)


_USUAL = RoomSettings()
_BOUNDS = {
    "capacity": (1, 100_000),
    "size": (2048, 31744),
    "tick_hz": (0, 240),  # rooms of objects may be without ticks
    "bots": (0, 1000),
}
"""Of what can be noted or shared, by games of any kind."""


def load(data: object) -> RoomSettings:
    """Settings as they were noted or shared before. Raises ValueError for anything else.

    >>> load({"capacity": 5}).capacity
    5
    >>> load({"capacity": "many"})
    Traceback (most recent call last):
        ...
    ValueError: room settings in which capacity is 'many'
    """
    if not isinstance(data, dict):
        raise ValueError("room settings that are no map")
    known = {field.name: type(getattr(_USUAL, field.name)) for field in fields(RoomSettings)}
    size = {field.name: field.metadata for field in fields(Config)}["world_size"]
    for name, value in data.items():
        good = name in known and type(value) is known[name] and encodable(value)
        if good and type(value) is int:
            low, high = _BOUNDS.get(name, (0, MAX_ROUND_S))
            good = low <= value <= high and not (name == "size" and value % size["multiple"])
        if not good:
            raise ValueError(f"room settings in which {str(name)[:40]} is {str(value)[:40]!r}")
    return RoomSettings(**data)


def of_node(config: Config, game: Entry) -> RoomSettings:
    """The settings of the rooms of a game that a node opens by itself."""
    if game.kind == OBJECTS:
        room = game.game.room
        return RoomSettings(game.name, game.title, capacity=room.capacity, tick_hz=room.tick_hz)
    decided = {name: getattr(game.game, name, 0) for name in ("capacity", "size", "tick_hz")}
    players = decided["capacity"] or config.room_players or config.max_players
    return RoomSettings(
        game=game.name,
        name=game.title,
        capacity=min(players, config.max_players),
        size=decided["size"] or config.world_size,
        tick_hz=decided["tick_hz"] or config.tick_hz,
        bots=config.bots,
        round_s=config.round_seconds,
    )


def parse(data: dict[str, Any], config: Config, games: Catalogue) -> RoomSettings:
    """The settings in a client's request; what is missing is as in the node's own rooms.

    Raises SettingsError.

    >>> games = Catalogue([Entry("duel", "crowd", "Duel", None)])
    >>> parse({"name": "Mine", "capacity": 2}, Config(), games).capacity
    2
    >>> parse({"tick_hz": 500}, Config(), games)
    Traceback (most recent call last):
        ...
    tickstorm.lobby.settings.SettingsError: tick_hz: a whole number from 10 to 60
    """
    chosen: dict[str, Any] = {"name": "Private room", "public": False, "bots": 0, "round_s": 0}
    for key, value in data.items():
        if key not in {field.name for field in fields(RoomSettings)}:
            raise SettingsError(key, "there is no such setting")
        chosen[key] = value
    if not isinstance(chosen["name"], str):
        raise SettingsError("name", "text")
    chosen["name"] = names.clean(chosen["name"], NAME_CHARACTERS) or "Private room"
    if not isinstance(chosen["public"], bool):
        raise SettingsError("public", "true or false")
    chosen.setdefault("game", games.first.name)
    game = game_named(chosen["game"], games)
    if game.kind == OBJECTS:
        return _of_objects(game, chosen)
    decided = [key for key in ("size", "tick_hz") if getattr(game.game, key, 0)]
    for key in decided:
        if key in chosen:
            raise SettingsError(key, f"not to be chosen, for {game.name} decides it")
    settings = replace(of_node(config, game), **chosen)
    if settings.settings:
        raise SettingsError("settings", f"none, for {game.name} has no settings of its own")
    option = {field.name: field.metadata for field in fields(Config)}
    size, hz = option["world_size"], option["tick_hz"]
    _check("capacity", settings.capacity, 1, config.max_players)
    if "size" not in decided:
        _check("size", settings.size, size["low"], size["high"], size["multiple"])
    if "tick_hz" not in decided:
        _check("tick_hz", settings.tick_hz, hz["low"], hz["high"])
    if settings.bots and not config.room_bots:
        raise SettingsError("bots", "0, for this server has none for rooms (ROOM_BOTS=0)")
    _check("bots", settings.bots, 0, min(config.room_bots, settings.capacity - 1))
    if settings.round_s != 0:
        _check("round_s", settings.round_s, MIN_ROUND_S, MAX_ROUND_S)
    return settings


def _of_objects(game: Entry, chosen: dict[str, Any]) -> RoomSettings:
    """Settings of a room of objects, most of which its game decides. Raises SettingsError."""
    room = game.game.room
    for key in ("size", "tick_hz"):
        if key in chosen:
            raise SettingsError(key, f"not to be chosen, for {game.name} decides it")
    for key in ("bots", "round_s"):
        if chosen.pop(key):
            raise SettingsError(key, f"0, for {game.name} has none; see `settings`")
    _check("capacity", chosen.get("capacity", room.capacity), 1, room.capacity)
    wanted = chosen.get("settings", {})
    if not isinstance(wanted, dict):
        raise SettingsError("settings", "an object")
    try:
        game.game.choose(wanted)
    except KeyError as error:
        known = ", ".join(game.game.settings) or "none"
        raise SettingsError(f"settings.{error.args[0]}", f"there are {known}") from None
    except ValueError as error:
        name, _, allowed = str(error).partition(": ")
        raise SettingsError(f"settings.{name}", allowed) from None
    return replace(of_node(Config(), game), **chosen)


def game_named(name: object, games: Catalogue) -> Entry:
    """The game that a request names. Raises SettingsError."""
    if not isinstance(name, str) or name not in games:
        raise SettingsError("game", f"one of {', '.join(games.names)}")
    return games[name]


def _check(name: str, value: object, low: int, high: int, multiple: int = 1) -> None:
    if type(value) is not int or not low <= value <= high or value % multiple:
        step = f", a multiple of {multiple}" if multiple > 1 else ""
        raise SettingsError(name, f"a whole number from {low} to {high}{step}")
