"""Serve a game, or several side by side, until Ctrl-C."""

from __future__ import annotations

import argparse
import difflib
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

from ..config import Config, ConfigError, load
from ..operate import saved as saved_files
from . import CommandError
from .config import INI
from .rules import specs_of

USAGE = """\
examples:
  tickstorm run                       the game in this folder
  tickstorm run --dev                 the same; rooms go on with the rules that you save
  tickstorm run tag.py chess.py       two games, with a page to choose from
  tickstorm run --host 0.0.0.0 --bots 8 --option TICK_HZ=30

Then open the printed address in two windows. Beside the rules lies the page: the folder
`page/`, or `index.html` in the same folder. Rooms outlive a restart: they come back from
their journals in var/. For a server that stays, start uWSGI itself: `uwsgi uwsgi.ini`, with an
ini like the one that `tickstorm new` makes.

with --dev:
  Rules are loaded anew when you save them, and rooms go on with them at the next tick, with the
  state that they had, where it fits. You are told if the last minute would have been another
  with them. A mistake in the file is told here, and the old rules run on; one that shows while a
  rule runs is told on the open pages, too. Pages are sent as they are on disk: reload them.
  The address /playground/ has players side by side, and time travel."""

LOOK_S = 0.25
"""How often `--dev` looks for a file that was saved."""

END_S = 12.0
"""A server that has not ended by then, after it was told to, is killed. More than its mercy."""

NO_APP = 22
"""uWSGI's exit code for a server that could not start."""

CHATTER = re.compile(
    r"\*\*\* |\[uWSGI\]|compiled with version|os: |nodename: |machine: |clock source|pcre jit|"
    r"detected |current working directory|uWSGI running as root|your |lock engine|thunder lock|"
    r"uwsgi socket|uWSGI http|Python version|Python main interpreter|python threads support|"
    r"mapped \d+ bytes|spawned |running \"exec:|binary reloading|chdir\(\) to|closing all|"
    r"Set PythonHome|!!! no internal|\.\.\.gracefully|gracefully |worker \d+ |WSGI app \d|"
    r"SIGINT/SIG|goodbye to uWSGI|VACUUM|The work of process|UAAAAAAH|\.\.\. The work|"
    r"added .* to pythonpath|set(gid|uid)|Running on cgroup|Respawned|running gevent|"
    r"\[uwsgi-daemons\]|reaping|writing pidfile|unable to find|brutally|sending graceful|"
    r"- async cores|--- Python VM|subprocess \d+ exited|socket \d+ |Gracefully|exec:// |DAMN|"
    r"OOPS|open\(\"[^\"]*\.pid\"\): No such file|found fd \d+ mapped|running /|\s*$"
)
"""What uWSGI says of itself; `--verbose` shows it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "games",
        nargs="*",
        metavar="FILE|MODULE",
        help="rules to serve; without any, the one file in this folder that defines a Room",
    )
    parser.add_argument(
        "--dev", action="store_true", help="load rules anew when saved, show mistakes on the page"
    )
    parser.add_argument("--host", help="address to listen on (127.0.0.1); 0.0.0.0 for everyone")
    parser.add_argument("--port", type=_port, help="port to listen on (8000)")
    parser.add_argument("--bots", type=_bots, metavar="N", help="players that play by themselves")
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        type=_option,
        metavar="NAME=VALUE",
        help="an option of the server; `tickstorm config` lists them",
    )
    parser.add_argument(
        "--server",
        choices=("uwsgi", "pywsgi"),
        default="uwsgi",
        help="who accepts and parses HTTP: uWSGI, or gevent's pywsgi, in one process without uWSGI",
    )
    parser.add_argument("--verbose", action="store_true", help="show what uWSGI says of itself")


def run(options: argparse.Namespace) -> int:
    specs = specs_of(options.games)
    environment = environment_for(options, specs)
    admin = offer_admin(environment)
    config = _config(environment)
    while problem := check(specs, environment):
        if not options.dev:
            raise CommandError(problem)
        print(f"tickstorm: {problem}\ntickstorm: waiting for you to save it", file=sys.stderr)
        Watch(specs).wait()
    _check_port(config)
    note = saved_files.path_for(config.data_dir, config.port)
    arguments = pywsgi_arguments if options.server == "pywsgi" else uwsgi_arguments
    server = Server(arguments(options, config, specs), environment, note, options.verbose)
    _say_hello(config, specs, options.dev, admin)
    return server.serve(Watch(specs) if options.dev else None, specs)


# ------------------------------------------------------------------ arguments


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r}: allowed is 1 to 65535")
    return int(text)


def _bots(text: str) -> int:
    if not text.isdecimal() or int(text) > 1000:
        raise argparse.ArgumentTypeError(f"{text!r}: allowed is 0 to 1000")
    return int(text)


def _option(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    name = name.strip().upper().replace("-", "_")
    known = [option.name.upper() for option in fields(Config)]
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r}: allowed is NAME=VALUE, such as TICK_HZ=30")
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]}?" if near else "`tickstorm config` lists them"
        raise argparse.ArgumentTypeError(f"there is no option {name}; {hint}")
    return name, value


def environment_for(options: argparse.Namespace, specs: list[str]) -> dict[str, str]:
    """What the server's environment is to be."""
    environment = dict(os.environ) | dict(options.option)
    environment["GAMES"] = ",".join(specs)
    if options.host is not None:
        environment["HOST"] = options.host
    if options.port is not None:
        environment["PORT"] = str(options.port)
    environment["BOTS"] = str(options.bots or 0)
    environment.setdefault("ROOM_BOTS", "0")
    if options.dev:
        environment["DEV"] = "on"
        # Python tells its copies by the second: of two savings in one it might run the first.
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
    if sys.prefix != sys.base_prefix:
        environment["VIRTUAL_ENV"] = sys.prefix
    # What the ini asks of `python3` is to be answered by this Python.
    folder = str(Path(sys.executable).parent)
    environment["PATH"] = os.pathsep.join([folder, environment.get("PATH", os.defpath)])
    return environment


def offer_admin(environment: dict[str, str]) -> str:
    """On an address of this machine alone, `/admin` is on, with a token for this run. Returns it;
    "" if the environment has one, or others can reach the server."""
    host = environment.get("HOST", "") or "127.0.0.1"
    if environment.get("ADMIN_TOKEN") or host not in ("127.0.0.1", "::1", "localhost"):
        return ""
    environment["ADMIN_TOKEN"] = secrets.token_urlsafe(16)
    return environment["ADMIN_TOKEN"]


def _config(environment: dict[str, str]) -> Config:
    try:
        return load(environment)
    except ConfigError as error:
        raise CommandError(f"{error}; `tickstorm config` explains it") from None


def uwsgi_arguments(options: argparse.Namespace, config: Config, specs: list[str]) -> list[str]:
    """The command line of the server."""
    arguments = [uwsgi(), "--ini", str(INI)]
    # A game may have modules of its own beside it, and modules are looked for here.
    for folder in _folders(specs):
        arguments += ["--pythonpath", folder]
    if options.bots:
        bots = _bots_command(options, config)
        arguments += ["--attach-daemon2", f"cmd=exec {bots},stopsignal=15"]
    return arguments


def pywsgi_arguments(options: argparse.Namespace, config: Config, specs: list[str]) -> list[str]:
    """The same without uWSGI."""
    arguments = [sys.executable, "-m", "tickstorm.standalone"]
    for folder in _folders(specs):
        arguments += ["--path", folder]
    if options.bots:
        arguments += ["--beside", _bots_command(options, config)]
    return arguments


def _folders(specs: list[str]) -> list[str]:
    """Where a game's modules are looked for."""
    return list(dict.fromkeys([".", *(str(Path(s).parent) for s in specs if ".py" in s)]))


def _bots_command(options: argparse.Namespace, config: Config) -> str:
    bots = [sys.executable, "-m", "tickstorm", "bots", _address(config), "--attached",
            "--players", str(options.bots)]  # fmt: skip
    return " ".join(bots)


def uwsgi() -> str:
    """The program `uwsgi` of this Python, else of the path."""
    beside = Path(sys.executable).parent / "uwsgi"
    found = str(beside) if beside.exists() else shutil.which("uwsgi")
    if found is None:
        raise CommandError("there is no uwsgi beside this Python: `pip install pyuwsgi` brings it")
    return found


# ------------------------------------------------------------------ before it starts


def check(specs: list[str], environment: dict[str, str]) -> str:
    """What is wrong with the rules, or "". Another process looks: they may be changed again."""
    code = (
        "import sys\n"
        "from tickstorm.games.catalogue import GameError, load\n"
        "sys.path.insert(0, '')\n"
        "try: load(sys.argv[1])\n"
        "except GameError as error: sys.exit('\\0' + str(error))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, ",".join(specs)],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode == 0:
        return ""
    said = done.stderr.strip()
    said = said.rpartition("\0")[2].replace(f"{Path.cwd()}{os.sep}", "")
    return said or f"the rules ended Python with exit code {done.returncode}"


def _check_port(config: Config) -> None:
    """Say it here, in one line, if somebody else has the port."""
    try:
        family = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family[0], socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(family[4])
    except socket.gaierror:
        raise CommandError(f"there is no address {config.host!r}; try 127.0.0.1") from None
    except OSError as error:
        if isinstance(error, PermissionError):
            raise CommandError(f"port {config.port} is not allowed; try --port 8000") from None
        why = (error.strerror or str(error)).lower()
        raise CommandError(
            f"{config.host}:{config.port}: {why}; is another server running? "
            f"`--port {config.port % 65535 + 1}` takes another port"
        ) from None


def _address(config: Config) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(config.host, config.host)
    return f"http://{host}:{config.port}"


def _say_hello(config: Config, specs: list[str], dev: bool, admin: str) -> None:
    names = " and ".join(Path(spec.partition(":")[0]).stem for spec in specs)
    print(f"tickstorm: {names} at {_address(config)} (open it in two windows; Ctrl-C ends it)")
    if admin:
        print(f"tickstorm: see into it, and steer it: {_address(config)}/admin/#token={admin}")
    if dev:
        print(f"tickstorm: players side by side, and time travel: {_address(config)}/playground/")
        print(f"tickstorm: edit {', '.join(specs)} and save: rooms go on with the new rules")
    sys.stdout.flush()


# ------------------------------------------------------------------ while it runs


class Server:
    """The server as a child in a process group of its own: signals that we get are passed on, so
    it hears of a Ctrl-C once, and not before we do."""

    def __init__(
        self, arguments: list[str], environment: dict[str, str], note: Path, verbose: bool
    ):
        """`note`: where the server looks for what was saved."""
        self._told, self._environment, self._note = threading.Event(), environment, note
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: self._told.set())
        self._process = subprocess.Popen(
            arguments,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
        self._echo = threading.Thread(target=self._pass_on, args=(verbose,), daemon=True)
        self._echo.start()

    def serve(self, watch: Watch | None, specs: list[str]) -> int:
        """Until it ends; returns its exit code."""
        killed_at = 0.0
        while self._process.poll() is None:
            if self._told.wait(LOOK_S):
                now = time.monotonic()
                if not killed_at:
                    killed_at = now + END_S
                    self._process.send_signal(signal.SIGTERM)
                elif now > killed_at:
                    self._process.kill()
                time.sleep(0.05)
            elif watch is not None and (saved := watch.saved()):
                self._tell(saved, specs)
        self._echo.join(1.0)
        code = self._process.returncode
        if self._told.is_set():
            return 0 if code in (0, -signal.SIGTERM, -signal.SIGINT) else 1
        return 1 if code == NO_APP or code < 0 else code

    def _tell(self, saved: list[Path], specs: list[str]) -> None:
        """The server takes over what was saved, if it is any good."""
        names = ", ".join(path.name for path in saved)
        if problem := check(specs, self._environment):
            print(f"tickstorm: {problem}\ntickstorm: the rules from before run on", file=sys.stderr)
        else:
            print(f"tickstorm: {names} was saved; the rooms go on with it", flush=True)
        saved_files.note(self._note, saved, problem)

    def _pass_on(self, verbose: bool) -> None:
        for raw in self._process.stdout or ():
            line = raw.decode("utf-8", "replace")
            if verbose or not CHATTER.match(line):
                sys.stdout.write(line)
                sys.stdout.flush()


class Watch:
    """The rules, and the modules beside them: which of them were saved since one last asked."""

    def __init__(self, specs: Iterable[str]):
        files = [Path(spec.partition(":")[0]) for spec in specs]
        self._folders = {path.parent for path in files if path.suffix == ".py"}
        self._folders |= {Path(str(path).replace(".", "/")) for path in files if not path.suffix}
        self._known = self._look()

    def _look(self) -> dict[Path, int]:
        found = {}
        for folder in self._folders:
            for path in folder.glob("*.py"):
                if not path.name.startswith("test_"):
                    try:
                        found[path] = path.stat().st_mtime_ns
                    except FileNotFoundError:  # an editor puts a new one in its place
                        continue
        return found

    def saved(self) -> list[Path]:
        now = self._look()
        changed = [path for path, when in now.items() if self._known.get(path) != when]
        self._known |= now
        return changed

    def wait(self) -> None:
        """Until something is saved."""
        while not self.saved():
            time.sleep(LOOK_S)
