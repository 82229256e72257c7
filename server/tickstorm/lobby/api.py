"""The HTTP API of the lobby, in JSON: create, list, join and close rooms. API.md describes it.

`Api.answer` takes a request apart and returns what to answer; `web.py` brings it to the wire.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable
from http import HTTPStatus
from math import ceil
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ..config import Config
from ..games.catalogue import Entry
from ..records.files import encodable
from ..rooms.buckets import MOST_ADDRESSES, Buckets
from .directory import TICKET_S, Directory, Failed, Place, Refused, RoomInfo, Unavailable
from .lobby import Lobby
from .node import CODE_LENGTH, Node, new_code
from .settings import RoomSettings, SettingsError, game_named, has_bots, of_node, parse

log = logging.getLogger("tickstorm.api")

MAX_BODY = 4096
KEY_CHARACTERS = range(8, 65)
LEADERS = 50


class ApiError(Exception):
    """A request that can't be fulfilled: a word for programs, a sentence for people."""

    def __init__(self, status: HTTPStatus, error: str, message: str, retry_s: int = 0):
        super().__init__(message)
        self.status, self.error, self.message, self.retry_s = status, error, message, retry_s


class Aborted(Exception):
    """The client went, or fell silent, before its request was whole."""


class Request(NamedTuple):
    """`address`: the client's; `base`: scheme and host of our websockets as the client sees us."""

    method: str
    path: str
    address: str
    base: str
    content_type: str
    authorization: str
    body: Callable[[int], bytes]  # reads at most so many bytes


class Answer(NamedTuple):
    status: HTTPStatus
    data: dict[str, Any]
    headers: list[tuple[str, str]]


_REFUSALS = {
    "full": (HTTPStatus.CONFLICT, "full", "All seats are taken.", 2),
    "many": (
        HTTPStatus.TOO_MANY_REQUESTS,
        "too_many",
        "Too many places are held for this address. Take those first.",
        2,
    ),
    "no_room": (HTTPStatus.NOT_FOUND, "no_room", "There is no such room, or it has closed.", 0),
    "no_node": (
        HTTPStatus.SERVICE_UNAVAILABLE,
        "no_node",
        "No server has space for another room. Try again in a moment.",
        3,
    ),
    "away": (
        HTTPStatus.SERVICE_UNAVAILABLE,
        "away",
        "The room's server does not answer; the room comes back in a few seconds.",
        1,
    ),
}


class Api:
    """The API of one node; any node of a cluster answers for all rooms."""

    def __init__(self, config: Config, lobby: Lobby, node: Node):
        self.config = config
        self.lobby = lobby
        self.node = node
        self._rooms = Buckets(config.rooms_per_minute / 60, config.rooms_per_minute)
        self._open: dict[str, list[str]] = {}  # rooms by the address that created them
        self._asked = Buckets(*config.joins_per_address)

    @property
    def directory(self) -> Directory:
        return self.node.directory

    def answer(self, request: Request) -> Answer:
        """What to answer. Raises Aborted, and nothing else for anything that a client sent."""
        try:
            return self._route(request)
        except ApiError as error:
            headers = [("Retry-After", str(error.retry_s))] if error.retry_s else []
            body = {"error": error.error, "message": error.message}
            return Answer(error.status, body, headers)

    def _route(self, request: Request) -> Answer:
        path = request.path.removeprefix("/api").rstrip("/")
        routes: dict[str, Callable[[Request], Answer]]
        if path == "/rooms":
            routes = {"GET": self._list, "POST": self._create}
        elif path == "/join":
            routes = {"POST": self._join}
        elif path == "/leaderboard":
            routes = {"GET": self._leaderboard}
        elif path.startswith("/rooms/") and path.count("/") == 2:
            routes = {"GET": self._show, "DELETE": self._close}
        else:
            raise ApiError(HTTPStatus.NOT_FOUND, "no_such_path", "See API.md for what there is.")
        if request.method not in routes:
            allowed = ", ".join(routes)
            body = {"error": "method", "message": f"{allowed} only"}
            return Answer(HTTPStatus.METHOD_NOT_ALLOWED, body, [("Allow", allowed)])
        try:
            return routes[request.method](request)
        except Refused as refused:
            raise ApiError(*_REFUSALS[refused.code]) from None
        except Failed as error:
            log.error("%s", error)
            raise ApiError(
                HTTPStatus.INTERNAL_SERVER_ERROR, "failed", "The server failed at this.", 2
            ) from None
        except Unavailable:
            raise ApiError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "directory",
                "The room directory does not answer. Running games go on; nobody can join "
                "until it is back.",
                2,
            ) from None

    # ------------------------------------------------------------------ requests

    def _list(self, request: Request) -> Answer:
        places = sorted(self.directory.rooms(), key=lambda place: (-place.players, place.room))
        return Answer(HTTPStatus.OK, {"rooms": [self._described(place) for place in places]}, [])

    def _show(self, request: Request) -> Answer:
        return Answer(HTTPStatus.OK, self._described(self.directory.find(_last(request.path))), [])

    def _create(self, request: Request) -> Answer:
        data = _json(request)
        key = data.pop("key", None)
        if not isinstance(key, str) or len(key) not in KEY_CHARACTERS:
            raise _bad("key", "text of 8 to 64 characters, chosen by you, new for each new room")
        try:
            settings = parse(data, self.config, self.lobby.games)
        except SettingsError as error:
            raise _bad(error.field, str(error).partition(": ")[2]) from None
        self._charge(request.address, settings)
        # Keys belong to whoever chose them: nobody else's can be met by accident.
        place = self.directory.create(key, new_code(), RoomInfo(settings))
        self._note(request.address, place)
        body = {
            **self._described(place),
            "created": place.created,
            "code": _dashed(place.room),
            "link": self._link(place),
            "owner": self.node.owner_token(place.room),
        }
        return Answer(HTTPStatus.CREATED if place.created else HTTPStatus.OK, body, [])

    def _join(self, request: Request) -> Answer:
        data = _json(request)
        watch, avoid = data.get("watch", False), data.get("avoid", [])
        if not isinstance(watch, bool):
            raise _bad("watch", "true or false")
        if not isinstance(avoid, list) or not all(isinstance(node, str) for node in avoid):
            raise _bad("avoid", "a list of nodes")
        ways = [way for way in ("room", "code", "quick", "token") if way in data]
        if len(ways) != 1:
            raise _bad("room", "exactly one of `room`, `code`, `quick` and `token`")
        if wait_s := self._asked.take(request.address):
            raise _too_many("Too many joins of this address.", wait_s)
        wanted, ticket = data[ways[0]], self.node.ticket_id(request.address)
        if ways == ["quick"]:
            if wanted is not True:
                raise _bad("quick", "true")
            info = RoomInfo(of_node(self.config, self._game(data)))
            place = self.directory.quick(ticket, watch, new_code(), info, avoid)
        elif not isinstance(wanted, str):
            raise _bad(ways[0], "text")
        elif ways == ["token"]:
            return self._follow(wanted, request, avoid)
        else:
            room = wanted if ways == ["room"] else _undashed(wanted)
            place = self.directory.reserve(room, ticket, watch, avoid)
        body = {
            "url": self._url(place, request.base),
            "ticket": self.node.sign(place.room, ticket),
            "expires_s": TICKET_S,
            "node": place.node,
            **self._described(place),
        }
        return Answer(HTTPStatus.OK, body, [])

    def _follow(self, token: str, request: Request, avoid: list[str]) -> Answer:
        """Where somebody's session is now; the token itself opens it."""
        claim = self.lobby.read_token(token)
        if claim is None:
            raise ApiError(HTTPStatus.FORBIDDEN, "token", "This is no token of ours.")
        place = self.directory.find(claim.room)
        if place.url is None or place.node in avoid:
            raise Refused("away")
        body = {
            "url": self._url(place, request.base),
            "ticket": None,
            "node": place.node,
            **self._described(place),
        }
        return Answer(HTTPStatus.OK, body, [])

    def _close(self, request: Request) -> Answer:
        room = _last(request.path)
        scheme, _, owner = request.authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise ApiError(
                HTTPStatus.UNAUTHORIZED, "owner", "Send `Authorization: Bearer <owner token>`."
            )
        if not self.node.owns(owner, room):
            raise ApiError(HTTPStatus.FORBIDDEN, "owner", "This is not the room's owner token.")
        self.directory.close(room)
        return Answer(HTTPStatus.OK, {"room": room, "closed": True}, [])

    def _leaderboard(self, request: Request) -> Answer:
        if self.directory.shared:
            best = self.directory.top(LEADERS)
        else:
            best = [(row["name"], row["score"]) for row in self.lobby.scores.top[:LEADERS]]
        rows = [{"name": name, "score": score} for name, score in best]
        return Answer(HTTPStatus.OK, {"leaders": rows}, [])

    # ------------------------------------------------------------------ helpers

    def _game(self, data: dict[str, Any]) -> Entry:
        """The game that a request is about; the first one if it names none."""
        try:
            return game_named(data.get("game", self.lobby.games.first.name), self.lobby.games)
        except SettingsError as error:
            raise _bad(error.field, str(error).partition(": ")[2]) from None

    def _described(self, place: Place) -> dict[str, Any]:
        settings = place.info.settings
        games = self.lobby.games
        bots = settings.game in games and has_bots(games[settings.game])
        return {
            "room": place.room,
            "game": settings.game,
            "name": settings.name,
            "public": settings.public,
            "players": place.players,
            "watching": place.watching,
            "capacity": settings.capacity,
            "tick_hz": settings.tick_hz,
            **({"bots": settings.bots} if bots else {}),
            "settings": settings.settings,
        }

    def _link(self, place: Place) -> str:
        """The path of the page that opens a room."""
        name = place.info.settings.game
        return f"/{name}/{self.lobby.games[name].link}{place.room}"

    def _url(self, place: Place, base: str) -> str:
        address = self.node.address(place)
        assert address is not None, "a seat is held where a node can be reached"
        return address if urlsplit(address).scheme else base + address

    def _charge(self, address: str, settings: RoomSettings) -> None:
        """A room costs its address some of a minute's allowance, and there are only so many."""
        rate, most = self.config.rooms_per_minute, self.config.rooms_per_address
        if most and len(self._still_open(address)) >= most:
            raise _too_many(f"No more than {most} open rooms of one address.", 10)
        game = self.lobby.games[settings.game].game
        if wait_s := self._rooms.take(address, cost(settings, game)):
            raise _too_many(f"No more than {rate} new rooms a minute; large or fast ones count "
                            "for several.", wait_s)  # fmt: skip

    def _still_open(self, address: str) -> list[str]:
        """Which rooms that this address created here are open. The directory is asked, for a
        room may have closed on any node."""
        still = []
        for room in self._open.pop(address, []):
            with contextlib.suppress(Refused):
                self.directory.find(room)
                still.append(room)
        if still:
            self._open[address] = still
        return still

    def _note(self, address: str, place: Place) -> None:
        rooms = self._open.setdefault(address, [])
        if place.room not in rooms:
            rooms.append(place.room)
        if len(self._open) > MOST_ADDRESSES:
            del self._open[next(iter(self._open))]


def _json(request: Request) -> dict[str, Any]:
    """The body of a request. A form of another site's page can't send this content type."""
    if request.content_type.partition(";")[0].strip().lower() != "application/json":
        raise ApiError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "content_type", "Send Content-Type: application/json"
        )
    try:
        body = request.body(MAX_BODY + 1)
    except OSError as error:
        raise Aborted from error
    if len(body) > MAX_BODY:
        raise ApiError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large", f"At most {MAX_BODY} bytes."
        )
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        raise _bad("body", "JSON") from None
    if not encodable(data):
        raise _bad("body", "text without halves of characters (lone surrogates)")
    if not isinstance(data, dict):
        raise _bad("body", "a JSON object")
    return data


def _bad(field: str, allowed: str) -> ApiError:
    return ApiError(HTTPStatus.BAD_REQUEST, "bad_request", f"{field}: {allowed}")


def _too_many(message: str, wait_s: float) -> ApiError:
    return ApiError(HTTPStatus.TOO_MANY_REQUESTS, "too_many", message, max(1, ceil(wait_s)))


def cost(settings: RoomSettings, game: Any) -> float:
    """How much of an address's allowance a room takes: more if it ticks fast, or as its game says.

    >>> cost(RoomSettings(), None), cost(RoomSettings(tick_hz=60), None)
    (1.0, 3.0)
    """
    speed = max(1.0, settings.tick_hz / RoomSettings().tick_hz)
    large = getattr(game, "cost", None)
    return speed * (large(settings.settings) if large is not None else 1.0)


def _last(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


def _dashed(room: str) -> str:
    """A code as people read it out.

    >>> _dashed("K7PQ2MXW"), _undashed(" k7pq-2mxw"), _dashed("arena")
    ('K7PQ-2MXW', 'K7PQ2MXW', 'arena')
    """
    half = CODE_LENGTH // 2
    return f"{room[:half]}-{room[half:]}" if len(room) == CODE_LENGTH else room


def _undashed(code: str) -> str:
    return "".join(c for c in code.upper() if c.isalnum())
