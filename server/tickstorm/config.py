"""Configuration: read once from the environment, checked, then never changed.

`python -m tickstorm.config` prints the table of options that stands in the README;
`python -m tickstorm.config --check` says whether the current environment is valid.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any


class ConfigError(ValueError):
    """An option has a value that isn't allowed. The message names all three."""


MOST_WORKERS = 64


def _option(
    default: Any, help: str, low: float | None = None, high: float | None = None, **extra: Any
) -> Any:
    return field(default=default, metadata={"help": help, "low": low, "high": high, **extra})


@dataclass(frozen=True)
class Config:
    """Each field is the environment variable of the same name in capitals."""

    games: str = _option(
        "", "games that the server runs, comma-separated: `module`, `module:attribute` or "
        "`path/file.py`; the first is what players get who name none"
    )  # fmt: skip
    host: str = _option("127.0.0.1", "address to listen on; `0.0.0.0` for every interface")
    port: int = _option(8000, "port to listen on", 1, 65535)
    bots: int = _option(24, "bots that the server brings along; 0 for none", 0, 1000)
    settings: str = _option(
        "", "settings of the games where whoever creates a room chose none, comma-separated: "
        "`size=8192`, or for one game `arena.round_s=300`"
    )  # fmt: skip
    room_bots: int = _option(
        100, "bots in all rooms together that people create here; 0 for none", 0, 1000
    )
    tick_hz: int = _option(20, "simulation steps, and snapshots at most, per second", 10, 60)
    max_players: int = _option(1000, "players admitted, bots included", 1, 20000)
    max_spectators: int = _option(50, "spectators admitted beside the players", 0, 5000)
    room_players: int = _option(
        0, "players in a room that the server opens by itself; 0 means `MAX_PLAYERS`", 0, 20000
    )
    max_rooms: int = _option(1000, "rooms of this node", 1, 20000)
    empty_seconds: int = _option(60, "how long an empty room stays open", 1, 86400)
    rooms_per_minute: int = _option(
        10, "rooms created from one address per minute; 0 for no limit", 0, 10000
    )
    directory: str = _option(
        "memory", "where rooms are found: `memory`, or `redis://…` for several nodes"
    )
    workers: str = _option(
        "1", "processes that share the rooms behind the one port; `auto`: one for each core"
    )
    balance: str = _option(
        "on", "move rooms off a worker that is short of time, with their players' connections",
        choices=("on", "off"),
    )  # fmt: skip
    node: str = _option("", "name of this node in the directory; empty: its host and port")
    node_url: str = _option(
        "/ws", "where clients reach this node's websocket; may be relative to the page"
    )
    seed: int = _option(0, "seed of the world; 0 picks one and logs it", 0, 2**63 - 1)
    allowed_origins: str = _option(
        "", "further origins whose pages may connect, comma-separated; `*` for any"
    )
    trusted_proxies: str = _option(
        "", "addresses of proxies whose X-Forwarded-For is believed, comma-separated"
    )
    grace_seconds: int = _option(20, "how long the place of a player who dropped is kept", 0, 600)
    hello_seconds: int = _option(5, "time from the upgrade to HELLO", 1, 60)
    idle_seconds: int = _option(300, "time without any input until a player is let go", 5, 86400)
    slow_seconds: int = _option(10, "time a client may read nothing until it is let go", 2, 120)
    max_message_bytes: int = _option(4096, "largest message taken from a client", 256, 1 << 20)
    messages_per_second: int = _option(
        0, "messages taken from a client per second; 0 means 3 per tick", 0, 10000
    )
    chat_seconds: int = _option(
        1, "seconds between a player's chat messages; four may come at once", 1, 3600
    )
    joins_per_second: int = _option(
        500, "players let into a room per second; twice as many may come at once", 1, 100000
    )
    request_seconds: int = _option(
        10, "time for a whole HTTP request and its answer, up to the upgrade", 2, 120
    )
    max_connections_per_address: int = _option(
        512,
        "sockets, and players, from one address (IPv6: one /64) at once; other limits per address "
        "follow from it (SECURITY.md); 0 for none",
        0,
        100000,
    )
    send_buffer: int = _option(65536, "SO_SNDBUF of each socket, bytes", 8192, 1 << 20)
    sockets: str = _option(
        "auto",
        "how a tick reads and writes its sockets: `io_uring`, all in one system call; `epoll`, "
        "one for each; `auto`: the first if the kernel allows it",
        choices=("auto", "io_uring", "epoll"),
    )
    socketio: str = _option(
        "off",
        "let Socket.IO clients in at `/socket.io` (needs the extra `socketio`)",
        choices=("on", "off"),
    )
    data_dir: str = _option(
        "var", "folder for what must outlive the process: token secret, journals, scores"
    )
    journal: str = _option(
        "on", "keep a journal of each room: recovery, replays", choices=("on", "off")
    )
    journal_megabytes: int = _option(
        256, "the most that a room's journal, or all of closed rooms, may take", 8, 1 << 20
    )
    journal_hours: int = _option(
        24, "the age at which parts of a journal, or all of a closed room's, are deleted", 1, 8760
    )
    checkpoint_seconds: int = _option(
        5, "time between checkpoints in a journal; after a crash, as much is replayed", 1, 300
    )
    max_replays: int = _option(4, "replays watched at once; 0 for none", 0, 100)
    watchdog_seconds: int = _option(
        5, "time without a tick until the worker is taken for hung and replaced; 0: never", 0, 600
    )
    run_as: str = _option(
        "", "whom the worker becomes when started as root; empty: the folder's owner, or nobody"
    )
    secret: str = _option("", "key that signs resume tokens; empty: kept in DATA_DIR", secret=True)
    metrics_token: str = _option(
        "", "if set, `/metrics` is for those who send it as bearer token", secret=True
    )
    admin_token: str = _option(
        "", "the token of `/admin`, which is off without one", secret=True, least=16
    )
    admin_look_token: str = _option(
        "", "another token of `/admin`, for who may look and not act", secret=True, least=16
    )
    log_format: str = _option("lines", "how the log is written", choices=("lines", "json"))
    dev: str = _option(
        "off", "a development run: pages see the tracebacks of rules", choices=("on", "off")
    )
    log_level: str = _option(
        "info", "one of debug, info, warning, error", choices=("debug", "info", "warning", "error")
    )

    @property
    def worker_count(self) -> int:
        """Workers, `auto` resolved."""
        if self.workers == "auto":
            return min(MOST_WORKERS, len(os.sched_getaffinity(0)))
        return int(self.workers)

    @property
    def message_rate(self) -> int:
        """Messages per second that a client may send on average."""
        return self.messages_per_second or 3 * self.tick_hz

    @property
    def joins_per_address(self) -> tuple[float, int]:
        """New sessions that one address may begin per second, and at once."""
        most = self.max_connections_per_address
        return most / 16, max(8, most // 2) if most else 0

    @property
    def spectators_per_address(self) -> int:
        """Of the spectators' seats, one address gets half; 0 for no limit."""
        return max(4, self.max_spectators // 2) if self.max_connections_per_address else 0

    @property
    def replays_per_address(self) -> int:
        """Replays that one address watches at once; 0 for no limit."""
        return (self.max_replays + 1) // 2 if self.max_connections_per_address else 0

    @property
    def rooms_per_address(self) -> int:
        """Rooms that one address has open at once; 0 for no limit."""
        return max(2, min(32, self.max_rooms // 8)) if self.rooms_per_minute else 0

    @property
    def max_websockets(self) -> int:
        """WebSockets open at once: those that are admitted, and some that come or go."""
        admitted = self.max_players + self.max_spectators
        return admitted + admitted // 10 + 32

    @property
    def max_requests(self) -> int:
        """HTTP requests under way at once, upgrades included."""
        return (self.max_players + self.max_spectators) // 10 + 32

    @property
    def cores(self) -> int:
        """Requests that uWSGI can have under way: twice as many as may be, so that there is one
        to refuse the next with. A WebSocket needs none; its request ends with the upgrade."""
        return 2 * self.max_requests


def load(environ: Mapping[str, str] | None = None) -> Config:
    """The configuration in `environ`, by default the process' own. Raises ConfigError naming
    option, value and what is allowed.

    >>> load({"TICK_HZ": "30"}).tick_hz
    30
    >>> load({"TICK_HZ": "300"})
    Traceback (most recent call last):
        ...
    tickstorm.config.ConfigError: TICK_HZ=300 is not allowed: a whole number from 10 to 60
    """
    environ = os.environ if environ is None else environ
    values = {}
    for option in fields(Config):
        text = environ.get(option.name.upper(), "").strip()
        if text:
            values[option.name] = _parse(option, text)
    config = Config(**values)
    if config.workers != "auto" and config.workers not in map(str, range(1, MOST_WORKERS + 1)):
        raise ConfigError(
            f"WORKERS={config.workers} is not allowed: a whole number from 1 to {MOST_WORKERS}, or "
            "auto"
        )
    if config.worker_count > 1 and config.directory != "memory":
        raise ConfigError(
            f"WORKERS={config.workers} is not allowed: with a DIRECTORY of several machines, a "
            "node has one worker"
        )
    return config


def allowed(option: Field) -> str:
    """What an option takes, in words."""
    meta = option.metadata
    if meta.get("choices"):
        return "one of " + ", ".join(meta["choices"])
    if option.type == "int":
        return f"a whole number from {meta['low']} to {meta['high']}"
    return f"text of at least {meta['least']} characters" if meta.get("least") else "text"


def _parse(option: Field, text: str) -> Any:
    meta = option.metadata
    shown = "…" if meta.get("secret") else text
    wrong = ConfigError(f"{option.name.upper()}={shown} is not allowed: {allowed(option)}")
    if len(text) < meta.get("least", 0):
        raise wrong
    if option.type == "int":
        try:
            value = int(text)
        except ValueError:
            raise wrong from None
        if not meta["low"] <= value <= meta["high"]:
            raise wrong
        return value
    if meta.get("choices") and text not in meta["choices"]:
        raise wrong
    return text


def table() -> str:
    """The options as a Markdown table."""
    rows = ["| option | default | allowed | meaning |", "|---|---|---|---|"]
    for option in fields(Config):
        default = f"`{option.default}`" if option.default != "" else "empty"
        help = option.metadata["help"]
        rows.append(f"| `{option.name.upper()}` | {default} | {allowed(option)} | {help} |")
    return "\n".join(rows)


def reload_binary() -> str:
    """What uWSGI must execute to start again, in the active virtual environment, in this Python's
    own, or in `.venv`.

    Installed as a wheel (pyuwsgi) it is a Python script, and the Python beside it
    has to be named, or the one that the virtual environment was made from is taken.
    """
    here = Path(__file__).resolve().parents[2]
    folder = Path(os.environ.get("VIRTUAL_ENV") or here / ".venv") / "bin"
    if not (folder / "uwsgi").exists():
        folder = Path(sys.prefix) / "bin"
    uwsgi = folder / "uwsgi"
    if not uwsgi.exists():
        return shutil.which("uwsgi") or sys.executable
    with uwsgi.open("rb") as file:
        return str(folder / "python" if file.read(2) == b"#!" else uwsgi)


def keeper(config: Config) -> str:
    """How uWSGI starts the keeper: its pidfile, and the command."""
    pidfile = Path(config.data_dir).absolute() / f"keeper-{config.port}.pid"
    binary = Path(reload_binary())
    python = binary if "python" in binary.name else binary.with_name("python")
    python = python if python.exists() else Path(sys.executable)
    package = Path(__file__).resolve().parents[1]
    path = os.pathsep.join(filter(None, (str(package), os.environ.get("PYTHONPATH"))))
    return f"{pidfile} exec env PYTHONPATH={path} {python} -m tickstorm.lobby.keeper {pidfile}"


def main(arguments: list[str]) -> int:
    if arguments == ["--reload-binary"]:  # for uwsgi.ini
        print(reload_binary())
        return 0
    if arguments not in ([], ["--check"], ["--cores"], ["--workers"], ["--keeper"]):
        print(__doc__, file=sys.stderr)
        return 2
    try:
        config = load()
    except ConfigError as error:
        print(f"tickstorm: {error}", file=sys.stderr)
        return 1
    if arguments == ["--cores"]:  # for uwsgi.ini
        print(config.cores)
    elif arguments == ["--workers"]:
        print(config.worker_count)
    elif arguments == ["--keeper"]:
        print(keeper(config))
    elif not arguments:
        print(table())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
