"""A crowd of bots: ``python -m clients.bots --players 50 --seconds 20``."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import gevent
from gevent.event import Event
from websockets.exceptions import InvalidURI
from websockets.uri import WebSocketURI, parse_uri

from .bot import Bot
from .kept import Kept
from .lobby import Lobby
from .rooms import Rooms
from .tally import Tally

JOIN_S = 0.01
"""Time between two bots' first attempts, so that they do not all join in one tick."""

GIVE_UP_S = 10.0
"""A bounded run in which nobody has connected by then ends early."""


def _url(text: str) -> WebSocketURI:
    try:
        uri = parse_uri(text)
    except InvalidURI:
        uri = None
    if uri is None or uri.secure:
        raise argparse.ArgumentTypeError(f"{text!r}: allowed is ws://HOST:PORT/PATH")
    return uri


def _lobby(text: str) -> Lobby:
    try:
        return Lobby(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) > 10_000:
        raise argparse.ArgumentTypeError(f"{text!r}: allowed is 0 to 10000")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r}: allowed is a number of seconds, or 0")
    return seconds


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    port = os.environ.get("PORT", "8000")
    parser = argparse.ArgumentParser(
        prog="python -m clients.bots",
        description="Headless players over the real protocol.",
        epilog="Exit code 1 if nobody could connect, bots were lost, or errors happened.",
    )
    parser.add_argument(
        "--url",
        type=_url,
        default=f"ws://127.0.0.1:{port}/ws",
        help="the server's WebSocket (ws://127.0.0.1:$PORT/ws unless told, PORT being 8000)",
    )
    parser.add_argument(
        "--lobby",
        type=_lobby,
        metavar="URL",
        help="ask the lobby at http://HOST:PORT for places (quick play) instead of --url",
    )
    parser.add_argument(
        "--players",
        type=_count,
        default=os.environ.get("BOTS", "24"),
        metavar="N",
        help="how many bots ($BOTS unless told, or 24)",
    )
    parser.add_argument(
        "--seconds",
        type=_seconds,
        default=0.0,
        metavar="S",
        help="how long they play; 0, the default, is until a signal",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="decides names, temperaments and the bots' luck"
    )
    parser.add_argument(
        "--json", type=Path, metavar="PATH", help="write the result there; - is standard output"
    )
    parser.add_argument(
        "--rooms",
        type=Path,
        metavar="PATH",
        help="a server's notes of its open rooms: play in those as well that want bots",
    )
    parser.add_argument(
        "--tokens",
        type=Path,
        metavar="PATH",
        help="keep the bots' tokens there at the end, and resume with them the next time",
    )
    parser.add_argument(
        "--attached",
        action="store_true",
        help="run as the server's own daemon: quietly, and no longer than the parent process",
    )
    return parser.parse_args(argv)


class Crowd:
    """All bots of a run, each in a greenlet of its own."""

    def __init__(
        self,
        uri: WebSocketURI,
        players: int,
        seed: int,
        lobby: Lobby | None = None,
        kept: Kept | None = None,
    ) -> None:
        self.tally = Tally()
        self.stopping = Event()
        self.bots = [Bot(uri, number, seed, self.tally, lobby) for number in range(players)]
        self._kept, self._room = kept, uri.query or ""
        for number, bot in enumerate(self.bots if kept else ()):
            bot.token = kept.take(self._room, number)
            bot.returns = True
        self.greenlets: list[gevent.Greenlet] = []

    def start(self) -> None:
        self.greenlets = [
            gevent.spawn_later(number * JOIN_S, bot.run, self.stopping)
            for number, bot in enumerate(self.bots)
        ]

    def stop(self) -> None:
        """Let every bot say goodbye; none keeps us for long."""
        self.stopping.set()
        gevent.joinall(self.greenlets, timeout=3.0)
        gevent.killall(self.greenlets, timeout=1.0)
        if self._kept is not None:
            tokens = {number: bot.token for number, bot in enumerate(self.bots) if bot.token}
            self._kept.keep(self._room, tokens)

    @property
    def connected(self) -> int:
        return sum(bot.connected for bot in self.bots)

    @property
    def playing(self) -> bool:
        """Whether any bot still tries."""
        return any(not greenlet.dead for greenlet in self.greenlets)


def _progress(crowd: Crowd, elapsed_s: float) -> str:
    tally = crowd.tally
    report = tally.report()
    parts = [
        f"{elapsed_s:6.1f} s",
        f"{crowd.connected}/{len(crowd.bots)} connected",
        f"gaps {report['snapshot_gap_ms_p50'] or 0:.0f} ms",
        f"p99 {report['snapshot_gap_ms_p99'] or 0:.0f} ms",
        f"{(report['bytes_per_player_s'] or 0) / 1000:.1f} kB/s each",
        f"{tally.kills} kills",
        f"{tally.errors.total()} errors",
    ]
    return "  ".join(parts)


def play(options: argparse.Namespace) -> tuple[dict, bool]:
    """Run the crowd as told; returns the result and whether all went well."""
    kept = options.tokens and Kept(options.tokens)
    crowd = Crowd(options.url, options.players, options.seed, options.lobby, kept)
    told = Event()  # not yet the bots: who is connected is counted before they part
    for signum in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(signum, told.set)
    began, cpu_began = time.monotonic(), time.process_time()
    parent = os.getppid()
    bounded = options.seconds > 0
    live = sys.stderr.isatty() and not options.attached
    if options.attached:
        os.nice(5)  # the server goes first
    crowd.start()
    rooms = Rooms(options.rooms, partial(_crowd_in, options, kept)) if options.rooms else None
    while True:
        told.wait(0.25)
        if rooms is not None:
            rooms.match()
        elapsed_s = time.monotonic() - began
        if live:
            print(f"\r\x1b[K{_progress(crowd, elapsed_s)}", end="", file=sys.stderr, flush=True)
        hopeless = elapsed_s > GIVE_UP_S and not any(bot.ever_connected for bot in crowd.bots)
        orphaned = options.attached and os.getppid() != parent
        asked = told.is_set() or orphaned
        over = bounded and (elapsed_s >= options.seconds or hopeless)
        if asked or over or (crowd.bots and not crowd.playing):
            break
    if live:
        print(file=sys.stderr)
    # Bots that wait to come back are lost to a bounded run.
    connected = crowd.connected
    lost = [bot for bot in crowd.bots if not bot.connected]
    cpu_percent = 100 * (time.process_time() - cpu_began) / elapsed_s
    if rooms is not None:
        rooms.stop()
    crowd.stop()
    if kept is not None:
        kept.save()

    result = {
        "players": options.players,
        "connected": connected,
        "seconds": round(elapsed_s, 2),
        **crowd.tally.report(),
        "cpu_percent": round(cpu_percent, 1),
    }
    if bounded:
        well = not lost and not crowd.tally.errors
    else:
        well = asked
    if not well:
        for trouble in sorted({bot.trouble for bot in lost})[:5]:
            print(f"bots: {trouble}", file=sys.stderr)
    return result, well


def _crowd_in(options: argparse.Namespace, kept: Kept | None, room: str, bots: int) -> Crowd:
    uri = replace(options.url, query=f"room={room}")
    return Crowd(uri, bots, options.seed, kept=kept)


def table(result: dict) -> str:
    """The result for people.

    >>> print(table({"players": 2, "gap_ms": None, "error_messages": {"oops": 1}}))
    players               2
    gap_ms                -
    error: oops           1
    """
    rows = {key: value for key, value in result.items() if key != "error_messages"}
    rows |= {f"error: {text}": count for text, count in result["error_messages"].items()}
    width = max(map(len, rows))
    return "\n".join(
        f"{key:{width}}  {'-' if value is None else value:>10}" for key, value in rows.items()
    )


def main(argv: list[str] | None = None) -> int:
    options = parse(argv)
    result, well = play(options)
    if options.json == Path("-"):
        print(json.dumps(result))
    elif not options.attached:
        print(table(result))
    if options.json not in (None, Path("-")):
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
