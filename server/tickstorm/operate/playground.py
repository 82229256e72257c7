"""The playground, in development runs: players side by side, and time travel.

It answers under `/playground/`, and only this machine: what it shows, hidden state and journals,
is for whoever writes the rules. The page is `clients/playground/`.

Journals that it opens are named by where they are in DATA_DIR: ``objects`` (the rooms of this
server), ``aside/FILE`` (of rooms that failed), ``attached/FILE`` (given to the page by somebody),
``rooms/NAME`` and ``small/NAME`` (of crowds).
"""

from __future__ import annotations

import logging
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from time import thread_time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import gevent
from gevent.lock import RLock

from ..games.catalogue import OBJECTS, Entry
from ..games.watched import Watched
from ..lobby.lobby import Lobby
from ..lobby.pages import Pages, files_in
from ..lobby.web import StartResponse
from ..records import ledger
from ..records.crowd_timeline import CrowdTimeline
from ..records.journal import JournalError, segments, shared
from ..records.journal.folder import SUFFIX
from ..records.journal.format import MAGIC
from ..records.object_reel import ObjectReel
from ..records.query import Query
from ..records.replay import paths_of
from ..records.timeline import Timeline
from ..rooms.object_room import ObjectRoom
from .http import answer, as_json

log = logging.getLogger("tickstorm.playground")

FOLDER = Path(__file__).parent.parent / "playground"

MOST_TIMELINES = 4
"""Journals that are held open; the one that was not looked at for the longest goes first."""

MOST_ATTACHED, ATTACHED_BYTES = 20, 64 << 20
"""Files that pages may leave here, the oldest go first, and the size of one."""

MOST_FOUND = 200
SEARCH_S = 1.5
"""CPU time of a search until it says how far it got; the page asks for the rest."""

SLICE_S = 0.004
"""CPU time that time travel takes at once; then rooms have their turn."""

HERE = re.compile(r"(127(\.\d+){3}|localhost|\[?::1\]?)(:\d+)?")

AnyTimeline = Timeline | CrowdTimeline


class Refused(Exception):
    """An answer that is no: status and what to say."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


class Open:
    """A journal that is open. One at a time moves in it."""

    def __init__(self, timeline: AnyTimeline, version: tuple[int, int]):
        self.timeline, self.version, self.lock = timeline, version, RLock()


class Playground:
    """A WSGI application. `report()`: what saved rules have come to, for the page."""

    def __init__(self, lobby: Lobby, report: Callable[[], dict[str, Any]] = dict):
        self._lobby, self._report = lobby, report
        self._data = Path(lobby.config.data_dir)
        self._pages = pages()
        self._open: OrderedDict[tuple[str, str], Open] = OrderedDict()
        self._slept = thread_time()
        self._routes: dict[str, Callable[[dict[str, str]], Any]] = {
            "games.json": self._games,
            "journals.json": self._journals,
            "timeline.json": self._timeline,
            "moment.json": self._moment,
            "search.json": self._search,
            "room.json": self._room,
        }

    def __call__(self, environ: dict, start_response: StartResponse) -> Iterable[bytes]:
        try:
            _check(environ)
            path = environ.get("PATH_INFO", "").removeprefix("/playground").lstrip("/")
            method = environ.get("REQUEST_METHOD", "")
            asked = {k: v[0] for k, v in parse_qs(environ.get("QUERY_STRING", "")).items()}
            if path == "attach" and method == "POST":
                return as_json(start_response, self._attach(environ, asked.get("name", "")))
            if method not in ("GET", "HEAD"):
                raise Refused(405, "GET and HEAD only")
            if path in self._routes:
                return as_json(start_response, self._routes[path](asked))
            return self._file(environ, start_response)
        except Refused as refused:
            return as_json(start_response, {"message": str(refused)}, refused.status)
        except (JournalError, OSError, ValueError, KeyError) as error:
            return as_json(start_response, {"message": str(error)}, 400)
        except Exception as error:  # a journal of anything, and rules of anybody's, were run
            log.exception("%s", environ.get("PATH_INFO"))
            message = f"that can't be looked at: {type(error).__name__}: {error}"
            return as_json(start_response, {"message": message}, 400)

    def _file(self, environ: dict, start_response: StartResponse) -> list[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/playground":
            return answer(start_response, 308, headers=[("Location", "/playground/")])
        file = self._pages.find(path, environ.get("QUERY_STRING", ""))
        if file is None:
            return answer(start_response, 404, b"no such page\n")
        return answer(start_response, 200, file.body, file.kind)

    # ------------------------------------------------------------------ what there is

    def _games(self, asked: dict[str, str]) -> dict[str, Any]:
        return {"games": [_game(entry) for entry in self._lobby.games]}

    def _journals(self, asked: dict[str, str]) -> dict[str, Any]:
        """What can be opened, the newest first."""
        rows: list[dict[str, Any]] = gevent.get_hub().threadpool.apply(self._listed)
        here = self._lobby.rooms
        for row in rows:
            row["live"] = row["where"] in ("objects", "rooms") and row["room"] in here
            row["here"] = row["game"] in self._lobby.games
        return {"journals": sorted(rows, key=lambda row: (row["live"], row["created"]),
                                   reverse=True)}  # fmt: skip

    def _listed(self) -> list[dict[str, Any]]:
        places = [("objects", self._data / "objects")]
        for where in ("aside", "attached"):
            places += [(f"{where}/{path.name}", path) for path in _files(self._data / where)]
        rows = []
        for name, path in places:
            if not segments(path):
                continue
            for id, row in ledger.rooms_of(path).items():
                if row.first is None:
                    continue
                created = row.created or path.stat().st_mtime
                rows.append({"journal": name, "where": name.partition("/")[0], "room": id,
                             "game": row.game, "first": row.first, "last": row.last,
                             "created": created, "closed": row.closed})  # fmt: skip
        return rows + CrowdTimeline.rows(self._data)

    def _room(self, asked: dict[str, str]) -> dict[str, Any]:
        """What ran in a room lately, what waits there, and what came of saved rules."""
        report = self._report()
        room = self._lobby.rooms.get(asked.get("room", ""))
        if not isinstance(room, ObjectRoom) or not isinstance(room.simulation, Watched):
            return {"fired": [], "timers": [], "report": report}
        now = room.simulation
        since = int(asked.get("since", "0"))
        return {
            "tick": now.tick,
            "time": now.time,
            "fault": room.rules.fault,
            "fired": [
                [fired.tick, fired.what, player.name if (player := now.players.get(fired.who))
                 else fired.who]
                for fired in list(now.fired) if fired.tick > since
            ],
            "timers": [[id, row[0], row[1], row[2]] for id, row in now.timers.items()][:100],
            "report": report,
        }  # fmt: skip

    # ------------------------------------------------------------------ time travel

    def _timeline(self, asked: dict[str, str]) -> dict[str, Any]:
        opened = self._opened(asked, fresh=True)
        with opened.lock:
            return opened.timeline.overview()

    def _moment(self, asked: dict[str, str]) -> dict[str, Any]:
        opened = self._opened(asked)
        with opened.lock:
            moment = opened.timeline.moment(int(asked.get("tick", "0")))
            return {**moment, "strays": opened.timeline.strays}

    def _search(self, asked: dict[str, str]) -> dict[str, Any]:
        """Some of a search: ``{found, at, done, absent}``; `absent`: why nothing can be found."""
        opened = self._opened(asked)
        timeline = opened.timeline
        if not isinstance(timeline, Timeline):
            raise Refused(400, "only rooms of objects can be searched")
        found: list[Any] = []
        query = Query.parse(asked.get("q", ""))
        first = int(asked.get("from", timeline.first))
        at, began, spent = first, thread_time(), 0.0
        with opened.lock:
            for each in timeline.search(query, first):
                if not isinstance(each, int):
                    found.append(each)
                    continue
                at = each
                spent += thread_time() - began
                if len(found) >= MOST_FOUND or spent > SEARCH_S:
                    break
                self._breathe()
                began = thread_time()
            else:
                at = timeline.last
        return {"found": found[:MOST_FOUND], "at": at, "last": timeline.last,
                "done": at >= timeline.last, "strays": timeline.strays,
                "absent": query.absent}  # fmt: skip

    def _opened(self, asked: dict[str, str], fresh: bool = False) -> Open:
        """The journal that is asked for; `fresh`: read again, if there is more of it now."""
        journal, room = asked.get("journal", ""), asked.get("room", "")
        path = self._path(journal)
        version = _version(path)
        key = (journal, room)
        known = self._open.get(key)
        if known is None or fresh and known.version != version:
            known = self._open[key] = Open(self._read(journal, path, room), version)
            while len(self._open) > MOST_TIMELINES:
                self._open.popitem(last=False)
        self._open.move_to_end(key)
        return known

    def _path(self, journal: str) -> Path:
        where, _, name = journal.partition("/")
        known = {f"{where}/{path.name}": path for path in _files(self._data / where)}
        if journal == "objects":
            return self._data / "objects"
        if where in ("aside", "attached") and journal in known:
            return known[journal]
        if where == "small" and name:
            return self._data / shared.FOLDER
        folders = {path.name: path for path in (self._data / "rooms").glob("*/")}
        if where == "rooms" and name in folders:
            return folders[name]
        raise Refused(404, f"there is no journal {journal!r}")

    def _read(self, journal: str, path: Path, room: str) -> AnyTimeline:
        if journal.startswith("small/"):
            (path,) = gevent.get_hub().threadpool.apply(paths_of, (room, str(self._data)))
        if journal.startswith(("rooms/", "small/")):
            read = gevent.get_hub().threadpool.apply(CrowdTimeline, (path, self._lobby.games))
            assert isinstance(read, CrowdTimeline), "it was called here"
            return read
        reel: ObjectReel = gevent.get_hub().threadpool.apply(ObjectReel, (path, room))
        name = reel.head.get("game", "")
        entry = self._lobby.games[name] if name in self._lobby.games else None
        if entry is None or entry.kind != OBJECTS:
            raise Refused(409, f"it is of the game {name!r}, and its rules are not served here")
        return Timeline(entry.game, reel, self._breathe)

    def renew(self) -> None:
        """Rules are others now: what was opened is opened anew."""
        self._open.clear()

    def _breathe(self) -> None:
        if thread_time() - self._slept > SLICE_S:
            gevent.sleep(0.001)
            self._slept = thread_time()

    # ------------------------------------------------------------------ what pages bring

    def _attach(self, environ: dict, name: str) -> dict[str, Any]:
        """A journal that somebody has at hand is kept here, as a copy."""
        size = int(environ.get("CONTENT_LENGTH") or 0)
        if not 0 < size <= ATTACHED_BYTES:
            raise Refused(413, f"a journal of at most {ATTACHED_BYTES >> 20} MB")
        data = environ["wsgi.input"].read(size)
        if not data.startswith(MAGIC):
            raise Refused(400, f"{name or 'it'} is no journal: it does not begin like one")
        folder = self._data / "attached"
        folder.mkdir(parents=True, exist_ok=True)
        stem = re.sub(r"[^\w.-]", "_", Path(name).stem)[:80].lstrip(".") or "journal"
        path = folder / f"{stem}{SUFFIX}"
        path.write_bytes(data)
        if not ledger.is_ledger(path) or not (rooms := ledger.rooms_of(path)):
            path.unlink()
            raise Refused(400, "it has no room of objects")
        for old in sorted(_files(folder), key=lambda one: one.stat().st_mtime)[:-MOST_ATTACHED]:
            old.unlink()
        return {"journal": f"attached/{path.name}", "rooms": list(rooms)}


@cache
def pages() -> Pages:
    """The page's files: called first by whoever may read them."""
    return Pages(files_in(FOLDER, "/playground/"))


def _check(environ: dict) -> None:
    """Raises Refused unless a page of this machine asks, and no page of another site."""
    host = environ.get("HTTP_HOST", "")
    address = environ.get("REMOTE_ADDR", "")
    if "HTTP_X_FORWARDED_FOR" in environ or not (HERE.fullmatch(address) and HERE.fullmatch(host)):
        raise Refused(403, "the playground is for the machine that the server runs on")
    origin = environ.get("HTTP_ORIGIN")
    if origin is not None and urlsplit(origin).netloc != host:
        raise Refused(403, "the playground is for its own page")


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.glob(f"*{SUFFIX}") if path.is_file()] if folder.is_dir() else []


def _version(path: Path) -> tuple[int, int]:
    """Other numbers when there is more in a journal."""
    files = segments(path)
    return len(files), files[-1].stat().st_size if files else 0


def _game(entry: Entry) -> dict[str, Any]:
    row: dict[str, Any] = {"name": entry.name, "title": entry.title, "kind": entry.kind,
                           "page": f"/{entry.name}/" if entry.page is not None else None,
                           "settings": []}  # fmt: skip
    if entry.kind == OBJECTS:
        game = entry.game
        row |= {
            "capacity": game.room.capacity,
            "hz": game.room.tick_hz,
            "settings": [
                {"name": name, "default": s.default, "low": s.low, "high": s.high,
                 "choices": list(s.choices), "help": s.help}
                for name, s in game.settings.items()
            ],
        }  # fmt: skip
    return row
