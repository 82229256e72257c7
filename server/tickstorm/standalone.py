"""The same server without uWSGI: gevent's own `pywsgi` accepts and parses HTTP. `tickstorm run
--server pywsgi` starts it: one process that a debugger can hold, and nothing that respawns it.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
from typing import Any

from gevent.local import local
from gevent.pool import Pool
from gevent.pywsgi import WSGIHandler, WSGIServer

from . import worker
from .config import Config

BACKLOG = 1024
"""Connections that wait to be accepted, as in uwsgi.ini."""

AGAIN = 75
"""Exit code of a server that was told to restart (SIGHUP): whoever started it does it again."""

_answering = local()


class Handler(WSGIHandler):  # type: ignore[misc]
    """Lets the application go on with the socket of a request, as uWSGI does."""

    socket: Any
    taken = False

    def run_application(self) -> None:
        _answering.handler = self
        super().run_application()

    def handle_one_response(self) -> None:
        super().handle_one_response()
        if self.taken:  # a duplicate lives on: nothing more may be read or said here
            self.close_connection = True
            self.rfile.close()
            self.socket.close()
            self.socket = None


def take_socket() -> int:
    """That of the request which this greenlet answers."""
    handler: Handler = _answering.handler
    handler.taken = True
    return int(handler.socket.fileno())


def serve(config: Config) -> None:
    """Until a signal ends it."""

    def end(again: bool) -> None:
        if again:  # it has given up root, perhaps, and with it the way back
            os._exit(AGAIN)

    server = WSGIServer(
        _listening(config),
        handler_class=Handler,
        spawn=Pool(config.max_requests),
        environ={"SERVER_NAME": config.host},  # else it asks the resolver for a better one
        log=None,
        error_log=None,
    )
    server.application = worker.start(config, take_socket, end)
    server.serve_forever()


def _listening(config: Config) -> socket.socket:
    family = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)[0][0]
    sock = socket.create_server((config.host, config.port), family=family, backlog=BACKLOG)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setblocking(False)
    return sock


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tickstorm.standalone", description=__doc__)
    parser.add_argument("--path", action="append", default=[], help="where modules are looked for")
    parser.add_argument("--beside", action="append", default=[], help="a command to run beside it")
    options = parser.parse_args(arguments)
    sys.path[:0] = options.path
    try:
        config = worker.settings()
        for command in options.beside:
            subprocess.Popen(command.split())
        serve(config)
    except worker.Errors as error:
        sys.exit(f"tickstorm: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
