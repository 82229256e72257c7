"""Where uWSGI comes in: the only file that imports it.

uWSGI accepts, parses HTTP and manages processes; what the process does is in `worker.py`.
"""

from __future__ import annotations

import os
import sys

from . import worker
from .lobby.machine import Machine

try:
    import uwsgi
except ImportError:
    sys.exit("tickstorm: tickstorm.app runs inside uWSGI: `make run`, or `uwsgi uwsgi.ini`")

FAILED_APP = 22
"""Exit code by which uWSGI's master knows that trying again is of no use (`need-app`)."""


def check_uwsgi(workers: int) -> None:
    """Say plainly what this uWSGI lacks. Raises RuntimeError."""
    option = uwsgi.opt
    if "gevent" not in option:
        raise RuntimeError("uWSGI runs without its gevent engine: start it with uwsgi.ini")
    if not hasattr(uwsgi, "connection_fd"):
        raise RuntimeError(f"uWSGI {uwsgi.version!r} has no connection_fd; 2.0.20 or newer has")
    if "threads" in option or "enable-threads" in option and int(option.get("threads", 0)) > 1:
        raise RuntimeError("uWSGI's threads together with gevent corrupt memory: remove `threads`")
    if int(option.get("processes", option.get("workers", 1))) != workers:
        raise RuntimeError(f"uWSGI's `processes` must be WORKERS, which is {workers}")


def _setting(name: str) -> str:
    """A setting of ours in uwsgi.ini, or nothing."""
    value = uwsgi.opt.get(name, "")
    return value.decode() if isinstance(value, bytes) else str(value)


try:
    config = worker.settings(_setting("games"))
    check_uwsgi(config.worker_count)
    machine = Machine(config, uwsgi.worker_id() - 1)
    application = worker.start(config, uwsgi.connection_fd, machine=machine)
except worker.Errors as error:
    print(f"tickstorm: {error}", file=sys.stderr, flush=True)
    os._exit(FAILED_APP)
