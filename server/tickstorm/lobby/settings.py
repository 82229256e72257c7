"""What a room can be told: its name, who may find it, how many may play, and what its game has to
be chosen."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

from ..config import Config, ConfigError
from ..games.catalogue import OBJECTS, Catalogue, Entry
from ..games.settings import choose
from ..protocol import names
from ..records.files import encodable

NAME_CHARACTERS = 24


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
    tick_hz: int = 20
    bots: int = 0  # of the server's, that come into it
    settings: dict[str, Any] = field(default_factory=dict)  # the game's own

    def config(self, node: Config) -> Config:
        """The configuration of a room with these settings on a node."""
        return replace(node, max_players=self.capacity, tick_hz=self.tick_hz)


_USUAL = RoomSettings()
_BOUNDS = {
    "capacity": (1, 100_000),
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
    for name, value in data.items():
        good = name in known and type(value) is known[name] and encodable(value)
        if good and type(value) is int:
            low, high = _BOUNDS[name]
            good = low <= value <= high
        if not good:
            raise ValueError(f"room settings in which {str(name)[:40]} is {str(value)[:40]!r}")
    return RoomSettings(**data)


def usual(config: Config, game: Entry) -> dict[str, Any]:
    """All settings of a game, as the option SETTINGS has them."""
    chosen: dict[str, Any] = {}
    for whole in filter(None, map(str.strip, config.settings.split(","))):
        name, _, text = whole.partition("=")
        owner, _, name = name.strip().rpartition(".")
        if name in game.game.settings and owner in ("", game.name):
            chosen[name] = game.game.settings[name].read(text.strip())
    return choose(game.game.settings, chosen)


def check_option(config: Config, games: Catalogue) -> None:
    """Raises ConfigError if SETTINGS names what no game has, or what is not allowed."""
    for whole in filter(None, map(str.strip, config.settings.split(","))):
        owner, _, name = whole.partition("=")[0].strip().rpartition(".")
        meant = [game for game in games if owner in ("", game.name)]
        having = [game for game in meant if name in game.game.settings]
        if not having:
            known = sorted({name for game in meant for name in game.game.settings})
            raise ConfigError(f"SETTINGS={whole}: there is no such setting, only "
                              f"{', '.join(known) or 'none'}")  # fmt: skip
        for game in having:
            try:
                usual(replace(config, settings=whole), game)
            except ValueError as error:
                raise ConfigError(f"SETTINGS={whole} is not allowed: {error}") from None


def of_node(config: Config, game: Entry) -> RoomSettings:
    """The settings of the rooms of a game that a node opens by itself."""
    chosen = usual(config, game)
    if game.kind == OBJECTS:
        room = game.game.room
        return RoomSettings(
            game.name, game.title, capacity=room.capacity, tick_hz=room.tick_hz, settings=chosen
        )
    players = getattr(game.game, "capacity", 0) or config.room_players or config.max_players
    return RoomSettings(
        game=game.name,
        name=game.title,
        capacity=min(players, config.max_players),
        tick_hz=getattr(game.game, "tick_hz", 0) or config.tick_hz,
        bots=config.bots if has_bots(game) else 0,
        settings=chosen,
    )


def has_bots(game: Entry) -> bool:
    """May somebody who creates a room of this game ask for bots of the server's?"""
    return game.kind != OBJECTS and "bots" in game.game.services


def parse(data: dict[str, Any], config: Config, games: Catalogue) -> RoomSettings:
    """The settings in a client's request; what is missing is as in the node's own rooms.

    Raises SettingsError.

    >>> from types import SimpleNamespace
    >>> duel = SimpleNamespace(settings={}, services=())
    >>> games = Catalogue([Entry("duel", "crowd", "Duel", duel)])
    >>> parse({"capacity": 2}, Config(), games).name
    'Duel'
    >>> parse({"tick_hz": 500}, Config(), games)
    Traceback (most recent call last):
        ...
    tickstorm.lobby.settings.SettingsError: tick_hz: a whole number from 10 to 60
    """
    chosen: dict[str, Any] = {"name": "", "public": False, "bots": 0}
    for key, value in data.items():
        if key not in {field.name for field in fields(RoomSettings)}:
            raise SettingsError(key, "there is no such setting")
        chosen[key] = value
    if not isinstance(chosen["name"], str):
        raise SettingsError("name", "text")
    if not isinstance(chosen["public"], bool):
        raise SettingsError("public", "true or false")
    chosen.setdefault("game", games.first.name)
    game = game_named(chosen["game"], games)
    standard = of_node(config, game)
    chosen["name"] = names.clean(chosen["name"], NAME_CHARACTERS) or standard.name
    if "tick_hz" in chosen:
        if game.kind == OBJECTS or bool(getattr(game.game, "tick_hz", 0)):
            raise SettingsError("tick_hz", f"not to be chosen, for {game.name} decides it")
    chosen["settings"] = _of_game(game, standard.settings, chosen.get("settings", {}))
    settings = replace(standard, **chosen)
    hz = {field.name: field.metadata for field in fields(Config)}["tick_hz"]
    most = standard.capacity if game.kind == OBJECTS else config.max_players
    _check("capacity", settings.capacity, 1, most)
    if "tick_hz" in chosen:
        _check("tick_hz", settings.tick_hz, hz["low"], hz["high"])
    if settings.bots and not has_bots(game):
        raise SettingsError("bots", f"0, for {game.name} has none")
    if settings.bots and not config.room_bots:
        raise SettingsError("bots", "0, for this server has none for rooms (ROOM_BOTS=0)")
    _check("bots", settings.bots, 0, min(config.room_bots, settings.capacity - 1))
    return settings


def _of_game(game: Entry, usual: dict[str, Any], wanted: object) -> dict[str, Any]:
    """All of a game's own settings. Raises SettingsError."""
    if not isinstance(wanted, dict):
        raise SettingsError("settings", "an object")
    try:
        return choose(game.game.settings, usual | wanted)
    except KeyError as error:
        known = ", ".join(game.game.settings) or "none"
        raise SettingsError(f"settings.{error.args[0]}", f"there are {known}") from None
    except ValueError as error:
        name, _, allowed = str(error).partition(": ")
        raise SettingsError(f"settings.{name}", allowed) from None


def game_named(name: object, games: Catalogue) -> Entry:
    """The game that a request names. Raises SettingsError."""
    if not isinstance(name, str) or name not in games:
        raise SettingsError("game", f"one of {', '.join(games.names)}")
    return games[name]


def _check(name: str, value: object, low: int, high: int) -> None:
    if type(value) is not int or not low <= value <= high:
        raise SettingsError(name, f"a whole number from {low} to {high}")
