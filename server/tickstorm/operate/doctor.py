"""What of this machine and its settings would trouble a server, and what to do about it.

Each check is a function of what it looks at; `checks` has them all in order. They look, and change
nothing.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import shutil
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from ..config import Config
from ..protocol.wire import SUBPROTOCOL
from ..transport.uring import Ring

GOOD, WARN, BAD = "ok", "warn", "bad"

LISTEN = 1024
"""Connections that may wait to be accepted; it stands in uwsgi.ini."""

KERNEL = (5, 18)
"""From this Linux on, io_uring has what `transport/uring.py` uses."""

SPARE_FDS = 64
FREE_BYTES = 1 << 30
LATE_MS = 5.0
"""A sleep that ends so late, at the median, makes late ticks."""

PROXY_HEADERS = ("X-Forwarded-For", "X-Forwarded-Proto")


class Finding(NamedTuple):
    """`do`: what to change, unless all is well."""

    state: str
    what: str
    found: str
    do: str = ""


def checks(config: Config) -> Iterator[Finding]:
    """Everything, one finding after the other."""
    yield python(sys.version_info[:2], _has("uwsgi"))
    yield kernel(platform.system(), platform.release())
    yield io_uring(config.sockets)
    yield backlog(_number("/proc/sys/net/core/somaxconn"))
    yield from descriptors(
        config.max_websockets + config.max_requests, *resource.getrlimit(resource.RLIMIT_NOFILE)
    )
    yield cores(len(os.sched_getaffinity(0)), os.getloadavg()[0])
    yield stolen(_cpu_times(), time.sleep, _cpu_times)
    yield sleeping(time.sleep, time.perf_counter)
    yield clock(_text("/sys/devices/system/clocksource/clocksource0/current_clocksource"))
    yield data_dir(Path(config.data_dir))
    yield port(config.host, config.port)
    yield from exposed(config)
    yield from secrets(config)
    if config.directory != "memory":
        yield directory(config.directory)


# ------------------------------------------------------------------ the machine


def python(version: tuple[int, ...], uwsgi: bool) -> Finding:
    found = f"Python {version[0]}.{version[1]}, {'uwsgi' if uwsgi else 'no uwsgi'}"
    if not uwsgi:
        return Finding(BAD, "Python", found, "pip install pyuwsgi")
    return Finding(GOOD, "Python", found)


def kernel(system: str, release: str) -> Finding:
    """
    >>> kernel("Linux", "6.1.0-18-amd64").state, kernel("Linux", "4.19.0").state
    ('ok', 'warn')
    """
    if system != "Linux":
        return Finding(BAD, "kernel", f"{system} {release}", "Linux is needed: epoll and /proc")
    parts = [int(part) for part in release.split("-")[0].split(".")[:2] if part.isdecimal()]
    if tuple(parts) < KERNEL:
        return Finding(
            WARN,
            "kernel",
            release,
            "from Linux 5.18 on, crowds are read and written by "
            "io_uring in one system call; epoll works, at some 1.5 times the cost",
        )
    return Finding(GOOD, "kernel", release)


def io_uring(chosen: str) -> Finding:
    if chosen == "epoll":
        return Finding(GOOD, "io_uring", "not wanted (SOCKETS=epoll)")
    try:
        Ring(64)
    except OSError as error:
        do = (
            "allow io_uring_setup and io_uring_enter in the container's seccomp profile, or set "
            "kernel.io_uring_disabled=0; without it, large crowds cost more"
        )
        return Finding(BAD if chosen == "io_uring" else WARN, "io_uring", str(error), do)
    return Finding(GOOD, "io_uring", "works")


def backlog(somaxconn: int | None) -> Finding:
    """
    >>> backlog(128).do
    'sysctl net.core.somaxconn=1024, or uWSGI does not start'
    """
    if somaxconn is None:
        return Finding(WARN, "somaxconn", "unknown", "uWSGI needs net.core.somaxconn >= 1024")
    if somaxconn < LISTEN:
        return Finding(
            BAD,
            "somaxconn",
            str(somaxconn),
            f"sysctl net.core.somaxconn={LISTEN}, or uWSGI does not start",
        )
    return Finding(GOOD, "somaxconn", str(somaxconn))


def descriptors(connections: int, soft: int, hard: int) -> Iterator[Finding]:
    """
    >>> [finding.state for finding in descriptors(20000, 1024, 4096)]
    ['bad']
    """
    needed = connections + SPARE_FDS
    if soft < needed:
        how = "ulimit -n" if hard >= needed else "LimitNOFILE= in systemd, or the hard limit,"
        yield Finding(
            BAD,
            "descriptors",
            f"{soft} allowed",
            f"{how} at {needed} at least: MAX_PLAYERS and MAX_SPECTATORS want so many",
        )
    else:
        yield Finding(GOOD, "descriptors", f"{soft} allowed, {needed} needed")


def cores(count: int, load: float) -> Finding:
    """
    >>> cores(2, 5.0).state
    'warn'
    """
    found = f"{count}, load {load:.1f}"
    if load > count:
        return Finding(WARN, "cores", found, "something else uses this machine: ticks will be late")
    if count < 2:
        return Finding(
            WARN,
            "cores",
            found,
            "with one core, the kernel's work and the journal's "
            "thread share it with the ticks: two are better",
        )
    return Finding(GOOD, "cores", found)


def stolen(
    before: list[int], sleep: Callable[[float], None], read: Callable[[], list[int]]
) -> Finding:
    """What the host of a virtual machine takes away, within a third of a second."""
    sleep(0.33)
    after = read()
    if len(before) < 8 or len(after) < 8:
        return Finding(WARN, "stolen time", "unknown", "")
    passed = sum(after) - sum(before)
    share = (after[7] - before[7]) / passed if passed else 0.0
    found = f"{100 * share:.1f} %"
    if share > 0.05:
        return Finding(
            WARN,
            "stolen time",
            found,
            "the host gives this virtual machine's cores to "
            "others: a machine with cores of its own has steadier ticks",
        )
    return Finding(GOOD, "stolen time", found)


def sleeping(sleep: Callable[[float], None], now: Callable[[], float]) -> Finding:
    """How late a sleep of 10 ms ends: that is how late ticks begin."""
    late = []
    for _ in range(25):
        began = now()
        sleep(0.01)
        late.append((now() - began - 0.01) * 1e3)
    late.sort()
    found = f"{late[12]:.2f} ms late at the median, {late[-1]:.1f} at most"
    if late[12] > LATE_MS or late[-1] > 10 * LATE_MS:
        return Finding(
            WARN,
            "timers",
            found,
            "the machine is busy, or its timers are coarse: ticks will be as late",
        )
    return Finding(GOOD, "timers", found)


def clock(source: str) -> Finding:
    """
    >>> clock("hpet").state
    'warn'
    """
    if source in ("hpet", "acpi_pm", "jiffies"):
        return Finding(
            WARN,
            "clock",
            source,
            "reading the time takes a microsecond here: choose "
            "tsc or kvm-clock if the machine has one",
        )
    return Finding(GOOD, "clock", source or "unknown")


# ------------------------------------------------------------------ this server


def data_dir(folder: Path) -> Finding:
    here = folder
    while not here.exists() and here != here.parent:
        here = here.parent
    if not os.access(here, os.W_OK):
        return Finding(
            BAD,
            "DATA_DIR",
            f"{folder} can't be written",
            f"chown it to who runs the server, or set DATA_DIR (now {folder})",
        )
    kind = _file_system(here.resolve())
    free = shutil.disk_usage(here).free
    found = f"{folder}, {free / 1e9:.1f} GB free, {kind or 'unknown file system'}"
    if free < FREE_BYTES:
        return Finding(
            WARN,
            "DATA_DIR",
            found,
            "journals stop when the disk is full: less JOURNAL_MEGABYTES, or more disk",
        )
    if kind in ("tmpfs", "ramfs"):
        return Finding(
            WARN, "DATA_DIR", found, "this is memory: nothing outlives a restart of the machine"
        )
    if kind.startswith(("nfs", "cifs", "fuse")):
        return Finding(WARN, "DATA_DIR", found, "locks and SQLite want a disk of this machine")
    return Finding(GOOD, "DATA_DIR", found)


def port(host: str, number: int) -> Finding:
    """Is it free, or is our own server there already?"""
    name = f"{host}:{number}"
    if number < 1024 and os.geteuid() != 0:
        start = _number("/proc/sys/net/ipv4/ip_unprivileged_port_start")
        if start is None or number < start:
            return Finding(
                BAD,
                "port",
                name,
                "ports below 1024 are for root: take another, and put nginx in front",
            )
    try:
        family, *_, address = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        return Finding(BAD, "port", name, f"there is no such address here: {error}")
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            health = _healthz(host, number)
            if health is None:
                return Finding(
                    BAD,
                    "port",
                    f"{name}: {(error.strerror or str(error)).lower()}",
                    "another program has it: end that, or choose another PORT",
                )
            state = GOOD if health.get("status") == "ok" else WARN
            return Finding(
                state,
                "port",
                f"{name}: a Tickstorm server answers, {health['status']}",
                "" if state == GOOD else "look at its log",
            )
    return Finding(GOOD, "port", f"{name} is free")


def through(url: str) -> Iterator[Finding]:
    """What comes of a request and of an upgrade by way of the public address `url`, as a browser's:
    does the proxy pass on what it must?"""
    url = url.rstrip("/")
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=5) as response:
            health = json.load(response)
        if "room_loads" not in health:
            raise ValueError("it is another server's answer")
    except (OSError, ValueError, TypeError) as error:
        yield Finding(
            BAD,
            "public address",
            f"{url}/healthz: {error}",
            "start the server, or point the proxy at it",
        )
        return
    yield Finding(GOOD, "public address", f"{url} leads to a server of version {health['version']}")
    socket_url = "ws" + url.removeprefix("http") + "/ws"
    try:
        with connect(
            socket_url,
            origin=Origin(url),
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            open_timeout=5,
            compression=None,
            proxy=None,
        ):
            pass
    except InvalidStatus as refused:
        status = refused.response.status_code
        do = {
            403: "have it pass Host on unchanged (`proxy_set_header Host $http_host`), or name "
            "the page's origin in ALLOWED_ORIGINS",
            426: "have it pass Upgrade and Connection on, by HTTP/1.1 (`proxy_http_version 1.1`)",
            400: "have it pass Upgrade and Connection on, by HTTP/1.1 (`proxy_http_version 1.1`)",
        }
        yield Finding(
            BAD,
            "proxy headers",
            f"an upgrade with Origin {url} is answered {status}",
            do.get(status, "compare it with deploy/nginx.conf"),
        )
    except (OSError, WebSocketException) as error:
        yield Finding(
            BAD, "proxy headers", f"no upgrade: {error}", "compare it with deploy/nginx.conf"
        )
    else:
        yield Finding(GOOD, "proxy headers", "Host, Origin and Upgrade arrive")


def exposed(config: Config) -> Iterator[Finding]:
    """What strangers can reach, and whom we believe."""
    loopback = config.host in ("127.0.0.1", "::1", "localhost")
    proxies = [part.strip() for part in config.trusted_proxies.split(",") if part.strip()]
    if loopback and not proxies:
        yield Finding(
            WARN,
            "proxy",
            "listens to this machine only, and trusts no proxy",
            "behind nginx, set TRUSTED_PROXIES=127.0.0.1, or all players share one "
            "address and its limits (SECURITY.md)",
        )
    elif loopback:
        yield Finding(GOOD, "proxy", f"{', '.join(PROXY_HEADERS)} of {', '.join(proxies)}")
    else:
        yield Finding(
            WARN,
            "proxy",
            f"listens at {config.host} without TLS",
            "on the internet, put TLS in front (deploy/nginx.conf) and listen at 127.0.0.1",
        )
        if any(proxy.startswith("127.") for proxy in proxies):
            yield Finding(
                WARN,
                "TRUSTED_PROXIES",
                ", ".join(proxies),
                "every program of this machine may say from which address it comes",
            )
    if config.allowed_origins == "*":
        yield Finding(
            WARN, "ALLOWED_ORIGINS", "*", "pages of any site may connect: name those that are yours"
        )
    if config.dev == "on" and not loopback:
        yield Finding(BAD, "DEV", "on", "players see tracebacks, and operators edit state: DEV=off")


def secrets(config: Config) -> Iterator[Finding]:
    path = Path(config.data_dir) / "secret"
    if config.secret and len(config.secret) < 16:
        yield Finding(
            BAD,
            "SECRET",
            "short",
            "whoever guesses it is any player: 32 random "
            "characters, as `python -c 'import secrets; print(secrets.token_hex())'`",
        )
    elif path.exists() and path.stat().st_mode & 0o077:
        yield Finding(BAD, "SECRET", f"{path} is readable by others", f"chmod 600 {path}")
    if config.admin_token:
        yield Finding(GOOD, "admin", "on")
        if config.admin_token == config.admin_look_token:
            yield Finding(
                BAD,
                "ADMIN_LOOK_TOKEN",
                "as ADMIN_TOKEN",
                "who may look may act as well: two different ones",
            )


def directory(url: str) -> Finding:
    from ..lobby import directory as directories

    try:
        found = directories.connect(url)
        found.find("doctor")
    except directories.Refused:
        return Finding(GOOD, "DIRECTORY", "Redis answers")
    except Exception as error:  # whatever the client raises
        return Finding(
            BAD,
            "DIRECTORY",
            f"{type(error).__name__}: {error}"[:120],
            "start Redis, or correct the address and password",
        )
    return Finding(GOOD, "DIRECTORY", "Redis answers")


# ------------------------------------------------------------------ looking


def _has(program: str) -> bool:
    beside = Path(sys.executable).parent / program
    return beside.exists() or shutil.which(program) is not None


def _text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _number(path: str) -> int | None:
    text = _text(path)
    return int(text) if text.isdecimal() else None


def _cpu_times() -> list[int]:
    first = _text("/proc/stat").partition("\n")[0].split()[1:9]
    return [int(part) for part in first]


def _file_system(folder: Path) -> str:
    """The type of the file system in which a folder is."""
    best, kind = "", ""
    for line in _text("/proc/mounts").splitlines():
        _, point, name, *_ = line.split()
        point = point.replace("\\040", " ")
        if str(folder).startswith(point.rstrip("/") + "/") or str(folder) == point or point == "/":
            if len(point) >= len(best):
                best, kind = point, name
    return kind


def _healthz(host: str, number: int) -> dict | None:
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)
    try:
        with urllib.request.urlopen(f"http://{host}:{number}/healthz", timeout=2) as response:
            found = json.load(response)
    except urllib.error.HTTPError as error:
        try:
            found = json.load(error)
        except ValueError:
            return None
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and "room_loads" in found else None
