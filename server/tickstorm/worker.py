"""What a process does, from its start to its end, whoever accepts and parses HTTP for it: uWSGI
(`app.py`) or gevent's own server (`standalone.py`).

The gevent hub of the process runs a greenlet for each request and a loop for each crowd.
"""

from __future__ import annotations

import faulthandler
import gc
import logging
import os
import signal
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from time import monotonic

import gevent

from .config import Config, ConfigError, load
from .games import catalogue
from .games.catalogue import CROWD, GameError
from .lobby import directory, sdk, tokens
from .lobby.holding import Holding
from .lobby.lobby import Lobby
from .lobby.machine import Machine, MachineDirectory
from .lobby.node import Node
from .lobby.pages import pages_of
from .lobby.web import Application, Web
from .operate import admin, logs, playground
from .operate.admin import Admin
from .operate.live import LiveRules
from .operate.profile import Sampler
from .operate.scrape import Scrape
from .process import memory, privileges
from .protocol.wire import Close
from .records.retention import TIDY_S
from .rooms.crowd_room import CrowdRoom
from .transport.door import Door
from .transport.doorkeeper import LOOK_AGAIN_S, LOOK_EVERY_S, Doorkeeper

log = logging.getLogger("tickstorm")

GC_EVERY_S = 1.0
FULL_GC_EVERY = 600
"""Young garbage is collected between ticks once a second, everything every ten minutes."""

GOODBYE_SECONDS = 0.5
"""Time for clients to go when the server ends; only who doesn't read needs longer."""

LEAVE_SECONDS = 3.0
"""The same and the sync of journals and scores."""

DRAIN_SECONDS = 4.0
"""Before, time to hand the rooms to other nodes; with the above less than uwsgi.ini's mercy."""

RECOVERY_SECONDS = 120
"""Time for rooms to come back from their journals, until the watchdog looks at their ticks."""


Errors = (ConfigError, GameError, RuntimeError, OSError)
"""What `start` raises if the server can't be: wrong options, rules, files, ports."""


def settings(games: str = "") -> Config:
    """The environment's; `games` are those of before it. Logging begins by them."""
    config = load({"GAMES": games, **os.environ})
    logs.begin(config)
    return config


def start(
    config: Config,
    take_socket: Callable[[], int],
    end: Callable[[bool], None] = lambda again: None,
    machine: Machine | None = None,
) -> Web:
    """Build everything and start the loops. Called once per process.

    `take_socket()`: the descriptor of the request that is being answered. `end(again)` is called
    when the server has ended; `again`: it was told to restart. `machine`: the line to the keeper,
    where there is one.
    """
    games = catalogue.load(config.games)
    memory.keep()
    if config.watchdog_seconds:
        faulthandler.dump_traceback_later(RECOVERY_SECONDS, exit=True)
    several = machine is not None and config.worker_count > 1
    rooms_known: directory.Directory
    if machine is not None and several:
        rooms_known = MachineDirectory(machine)
    else:
        rooms_known = directory.connect(config.directory)  # reads files that may be only root's
    pages, _ = pages_of(games), sdk.files()  # so are these, perhaps,
    import_module("gevent.threadpool")  # and what is imported only when it is used
    socket_io = _socket_io() if config.socketio == "on" else None
    if config.dev == "on":
        playground.pages()
    if config.admin_token or config.admin_look_token:
        admin.pages()
    privileges.drop(config.run_as, config.data_dir)
    key = tokens.load_key(config.secret, config.data_dir)
    if machine is not None:
        machine.start()
    number = machine.worker if machine is not None else 0
    rooms = machine.rooms if machine is not None and several else None
    lobby = Lobby(config, key, games, worker=number, rooms=rooms)
    node = Node(config, key, lobby, rooms_known, number if several else None)
    web = Web(config, lobby, node, take_socket, pages)
    if machine is not None:
        _join_in(machine, lobby, node, web)
    door = Door(config.port, web.health_answer)
    web.door = door
    web.mounted["metrics"] = Scrape(web, config.metrics_token)
    if socket_io is not None:
        web.mounted["socket.io"] = socket_io(web)
    sampler = Sampler()
    if config.admin_token or config.admin_look_token:
        web.mounted["admin"] = Admin(web, config, sampler, take_socket)
    gc.callbacks.append(lobby.meters[CROWD].shared.garbage)
    lobby.loop.after_turn = door.let_in
    if config.dev == "on":
        _develop(lobby, web)

    def run_room(room: CrowdRoom) -> None:
        room.after_tick = door.let_in
        _run(room)

    lobby.run_room = run_room
    lobby.on_over = node.shut
    if config.watchdog_seconds:  # before the first tick, for that may be the one that hangs
        gevent.spawn(_watch, lobby, config.watchdog_seconds)
    for room in lobby.rooms.values():
        if isinstance(room, CrowdRoom):
            run_room(room)
    lobby.small.start_all()
    if machine is not None:
        machine.run()
    gevent.spawn(lobby.loop.run).link_exception(_crashed)
    gevent.spawn(node.run).link_exception(_crashed)
    gevent.spawn(_collect_garbage)
    gevent.spawn(_tidy, lobby)
    gevent.spawn(_keep_the_door, config, web)
    gevent.spawn(_handle_signals, node, web, sampler, end)
    log.info(
        "tickstorm %s serves http://%s:%d, worker %d",
        lobby.version, config.host, config.port, os.getpid(),
    )  # fmt: skip
    return web


def _socket_io() -> Callable[[Web], Application]:
    """The door for Socket.IO's clients, of an extra. Raises RuntimeError."""
    try:
        module = import_module("tickstorm.lobby.socket_io")
        import_module("engineio.async_drivers.gevent")
    except ImportError as error:
        raise RuntimeError(
            f"SOCKETIO=on needs `pip install tickstorm[socketio]`: {error}"
        ) from error
    application: Callable[[Web], Application] = module.SocketIo
    return application


def _join_in(machine: Machine, lobby: Lobby, node: Node, web: Web) -> None:
    """One of the processes of a machine, behind one port."""
    web.holding = Holding(machine)
    lobby.elsewhere, lobby.listed_elsewhere = machine.count, machine.lists
    machine.status = web.status
    machine.has = lobby.rooms.__contains__
    machine.on_adopt, machine.on_come, machine.on_take = lobby.adopt, node.come, web.take
    if node.worker is not None:
        machine.report = node.report
        node.others = lambda: {worker: said["busy"] for worker, said in machine.others}
        if lobby.config.balance == "on":
            node.mover = web.move


def _develop(lobby: Lobby, web: Web) -> None:
    """What only a development run has."""
    live = LiveRules(lobby)
    served = playground.Playground(lobby, live.report)
    live.renewed = served.renew
    web.mounted["playground"] = served
    gevent.spawn(live.run).link_exception(_crashed)


def _run(room: CrowdRoom) -> None:
    gevent.spawn(room.run).link_exception(_crashed)


def _crashed(loop: gevent.Greenlet) -> None:
    """A room without its loop is dead: let the master start a fresh worker."""
    log.critical("a loop crashed", exc_info=loop.exc_info)
    os._exit(1)


def _watch(lobby: Lobby, seconds: int) -> None:
    """End this worker, with a traceback, unless ticks go on: a hung loop is a crash.

    The timer is a thread of the interpreter's own that needs no GIL. uWSGI's harakiri would
    be another way, but in a worker that is respawned to waiting connections it gets lost.
    """
    while True:
        if lobby.alive():
            faulthandler.dump_traceback_later(seconds, exit=True)
        gevent.sleep(min(1.0, seconds / 4))


def _handle_signals(node: Node, web: Web, sampler: Sampler, end: Callable[[bool], None]) -> None:
    # From inside a greenlet and with the system's own call: so they take the place of the
    # handlers that uWSGI gives to gevent's loop, of which SIGINT's ends the worker at once.
    def leave(number: int, _frame: object) -> None:
        if not node.leaving:  # the first signal counts
            node.leaving = True
            restart = number == signal.SIGHUP
            gevent.spawn(_leave, node, web, restart, end)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)

    def profile(_number: int, _frame: object) -> None:
        folder = Path(node.config.data_dir)
        gevent.spawn(gevent.get_hub().threadpool.apply, sampler.toggle, (folder,))

    signal.signal(signal.SIGUSR2, profile)


def _leave(node: Node, web: Web, restart: bool, end: Callable[[bool], None]) -> None:
    """Hand the rooms to other nodes, if there are any. Tell everyone, wait until they have gone
    and the journal is on disk, and end."""
    lobby, machine = node.lobby, web.holding.machine
    if node.directory.saves:
        node.leave(DRAIN_SECONDS)
    began = monotonic()
    if restart and machine is not None and machine.reached:
        lobby.suspend()  # the sockets stay open, for the process that comes next
        web.park()
        while not web.parted and monotonic() < began + GOODBYE_SECONDS:
            gevent.sleep(0.005)  # those who are told to go elsewhere hear it
    else:
        if restart:
            lobby.close(Close.RESTART, "the server restarts")
        else:
            lobby.close(Close.GOING_AWAY, "the server stops")
        while web.websockets and monotonic() < began + GOODBYE_SECONDS:
            gevent.sleep(0.02)
        if machine is not None:
            machine.quit()
    lobby.finish()
    while not lobby.finished and monotonic() < began + LEAVE_SECONDS:
        gevent.sleep(0.005)
    end(restart)
    os._exit(0)


def _keep_the_door(config: Config, web: Web) -> None:
    """Requests that hang may not keep others out."""
    seconds, limit = config.request_seconds, config.max_requests
    doorkeeper = Doorkeeper(config.port, web.websockets, seconds, limit)
    while True:
        gone = doorkeeper.look(monotonic())
        web.refused["overdue"] += gone
        gevent.sleep(LOOK_AGAIN_S if gone else LOOK_EVERY_S)


def _tidy(lobby: Lobby) -> None:
    while True:
        try:
            lobby.tidy()
        except Exception as error:  # whatever stands there: look again in a minute
            log.error("journals of closed rooms can't be looked at: %r", error)
        gevent.sleep(TIDY_S)


def _collect_garbage() -> None:
    """The collector runs between ticks, never in one; what was there at the start is left out."""
    gc.collect()
    gc.freeze()
    gc.disable()
    seconds = 0
    while True:
        gevent.sleep(GC_EVERY_S)
        seconds += 1
        gc.collect(2 if seconds % FULL_GC_EVERY == 0 else 1)
