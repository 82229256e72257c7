"""Send players that play by themselves: any game's, by what it declares, at random."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib
import json
import os
import random
import signal
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

from .. import aio
from ..client.bot import NO_TURN, Whims
from ..client.places import ConnectError
from ..client.session import Changed, Happening
from ..client.state import WireError
from ..client.view import Disconnected
from . import CommandError

USAGE = """\
examples:
  tickstorm bots                                  4 bots at this machine's server
  tickstorm bots http://127.0.0.1:8000 --game tag --players 40 --seconds 20
  tickstorm bots --game board --messages --json - | jq .patches_per_s

They join as everyone does and hold each input for about half a second. Without --seconds they
play until Ctrl-C. Exit code 1 if any of them was lost, or nobody could join. A crowd game has
bots of its own, if any: the arena's are `python -m clients.bots`, which this runs if you are in
a checkout of Tickstorm."""

JOIN_S = 0.02
"""Time between two bots' joins."""

AGAIN_S = 1.0
GIVE_UP_S = 10.0

NAMES = ("Ada", "Bela", "Cleo", "Dora", "Emil", "Finn", "Gil", "Hana", "Ivo", "Juno", "Kai", "Lou")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    port = os.environ.get("PORT", "8000")
    parser.add_argument(
        "url",
        nargs="?",
        default=f"http://127.0.0.1:{port}",
        metavar="URL",
        help="the server (http://127.0.0.1:$PORT, PORT being 8000 unless set)",
    )
    parser.add_argument("--game", help="which of its games; without, the first")
    parser.add_argument("--room", help="a room's id or code; without, any that has a seat")
    parser.add_argument("--players", type=_count, default=4, metavar="N", help="how many bots (4)")
    parser.add_argument(
        "--seconds", type=_seconds, default=0.0, metavar="S", help="how long; 0: until Ctrl-C"
    )
    parser.add_argument("--seed", type=int, default=0, help="decides what they do (0)")
    parser.add_argument(
        "--messages",
        action="store_true",
        help="send messages too, with made-up arguments and entities that the bot sees",
    )
    parser.add_argument(
        "--json", type=Path, metavar="PATH", help="write the tally there; - is standard output"
    )
    parser.add_argument(
        "--attached",
        action="store_true",
        help="run as a server's own daemon: quietly, and no longer than the parent process",
    )


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 5000:
        raise argparse.ArgumentTypeError(f"{text!r}: allowed is 1 to 5000")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r}: allowed is a number of seconds, or 0")
    return seconds


def run(options: argparse.Namespace) -> int:
    kind = _kind_of(options)
    if kind == "crowd":
        return _crowd(options)
    bots = Bots(options)
    asyncio.run(bots.play())
    return _report(bots, options)


# ------------------------------------------------------------------ which kind of game


def _kind_of(options: argparse.Namespace) -> str:
    """What the server says of the game; "objects" if it says nothing."""
    if not options.url.startswith(("http://", "https://")):
        return "objects"
    until = time.monotonic() + (GIVE_UP_S if options.attached else 0.0)
    while True:
        try:
            with urllib.request.urlopen(f"{options.url}/games.json", timeout=5) as response:
                games = json.load(response)["games"]
                break
        except urllib.error.HTTPError:
            return "objects"
        except (OSError, ValueError, KeyError) as error:
            if time.monotonic() > until:
                raise CommandError(
                    f"no server answers at {options.url} ({getattr(error, 'reason', error)}); "
                    "start one with `tickstorm run`, or name another address"
                ) from None
            time.sleep(0.2)
    names = [game["name"] for game in games]
    if options.game is None and names:
        options.game = names[0]
    for game in games:
        if game["name"] == options.game:
            return game.get("kind", "objects")
    raise CommandError(f"there is no game {options.game!r} there, only {', '.join(names)}")


def _crowd(options: argparse.Namespace) -> int:
    """A crowd's input is for its own bots to know."""
    sys.path.insert(0, "")
    try:
        program = importlib.import_module("clients.bots.__main__")
    except ImportError:
        raise CommandError(
            f"{options.game} is a crowd game, and its bots are its own: for the arena's, run this "
            "in a checkout of Tickstorm"
        ) from None
    arguments = ["--players", str(options.players), "--seconds", str(options.seconds)]
    arguments += ["--seed", str(options.seed)]
    if options.json:
        arguments += ["--json", str(options.json)]
    if options.attached:
        arguments += ["--attached"]
    if options.room:
        websocket = options.url.replace("http", "ws", 1).rstrip("/")
        arguments += ["--url", f"{websocket}/ws?room={options.room}"]
    else:
        arguments += ["--lobby", options.url]
    return program.main(arguments)


# ------------------------------------------------------------------ the bots


class Bots:
    """All bots of a run, each a task, and what became of them."""

    def __init__(self, options: argparse.Namespace):
        self.options = options
        self.joined = self.lost = self.patches = self.events = self.bytes = self.messages = 0
        self.connected = 0
        self.seconds = 0.0
        self.troubles: Counter[str] = Counter()
        self.never_sent: dict[str, str] | None = None  # messages, and why
        self._told = asyncio.Event()
        self._parent = os.getppid()

    async def play(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._told.set)
        began = loop.time()
        tasks = [asyncio.create_task(self._bot(i)) for i in range(self.options.players)]
        while not self._over(loop.time() - began):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._told.wait(), 0.25)
            if all(task.done() for task in tasks):
                break
        self.seconds = loop.time() - began
        self._told.set()
        await asyncio.wait(tasks, timeout=3.0)

    def _over(self, seconds: float) -> bool:
        orphaned = self.options.attached and os.getppid() != self._parent
        bounded = 0 < self.options.seconds <= seconds
        return self._told.is_set() or orphaned or bounded

    async def _bot(self, number: int) -> None:
        """One bot's life: it comes back if it belongs to a server."""
        await self._pause(number * JOIN_S)
        while not self._told.is_set():
            try:
                await self._stay(number)
            except (ConnectError, Disconnected, WireError, TimeoutError, OSError) as error:
                if not self._told.is_set():
                    self.lost += 1
                    self.troubles[str(error)] += 1
            if not self.options.attached:
                return
            await self._pause(AGAIN_S)

    async def _stay(self, number: int) -> None:
        options = self.options
        who = random.Random(f"{options.seed}/{number}")
        name = f"{who.choice(NAMES)}{number or ''}"
        wanted = {"game": options.game, "room": options.room, "name": name}
        async with aio.connect(options.url, bot=True, **wanted) as room:
            self.joined += 1
            self.connected += 1
            room.on_happening = self._count
            whims = Whims(who.random(), room.session.declaration, options.messages)
            try:
                await self._live(room, whims)
            finally:
                self._note(whims.unsaid)
                self.connected -= 1
                self.bytes += room.session.bytes_received

    async def _live(self, room: aio.Client, whims: Whims) -> None:
        while not self._told.is_set():
            if wanted := whims.input():
                room.input(**wanted)
            if said := whims.message(room.entities.values()):
                room.send(said[0], *said[1])
                self.messages += 1
            with contextlib.suppress(TimeoutError):
                await room.wait_for(self._told.is_set, whims.hold_s())

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._told.wait(), seconds)

    def _count(self, happening: Happening) -> None:
        if isinstance(happening, Changed):
            self.patches += 1
        else:
            self.events += 1

    def tally(self) -> dict[str, Any]:
        played = max(self.seconds, 0.001)
        return {
            "players": self.options.players,
            "seconds": round(self.seconds, 2),
            "joined": self.joined,
            "lost": self.lost,
            "patches_per_s": round(self.patches / played, 1),
            "events": self.events,
            "messages": self.messages,
            "bytes_per_s": round(self.bytes / played),
            "bytes_per_player_s": round(self.bytes / played / max(1, self.joined)),
            "never_sent": self.never_sent or {},
            "troubles": dict(self.troubles),
        }

    def _note(self, unsaid: dict[str, str]) -> None:
        """What was not said in one stay."""
        before = unsaid if self.never_sent is None else self.never_sent
        self.never_sent = {
            name: why if unsaid[name] == NO_TURN else unsaid[name]
            for name, why in before.items()
            if name in unsaid
        }


def _report(bots: Bots, options: argparse.Namespace) -> int:
    tally = bots.tally()
    if options.json == Path("-"):
        print(json.dumps(tally))
    elif options.json is not None:
        options.json.write_text(json.dumps(tally, indent=1) + "\n")
    if options.json is None and not options.attached:
        rows = {key: value for key, value in tally.items() if not isinstance(value, dict)}
        width = max(map(len, rows))
        for key, value in rows.items():
            print(f"{key:{width}}  {value:>10}")
        for name, why in tally["never_sent"].items():
            print(f"tickstorm: {name} was never sent: {why}")
    for trouble, count in bots.troubles.most_common(3):
        print(f"tickstorm: {count} lost: {trouble}", file=sys.stderr)
    return 0 if options.attached or (bots.joined and not bots.lost) else 1
