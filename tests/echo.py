"""The game's connection code with an echo behind it, for conformance suites only: `make echo`.

It stands in the tests' folder, so that the game server can't reach it by any path.
"""

from __future__ import annotations

import os

import uwsgi
from websockets.protocol import State
from websockets.server import ServerProtocol

from tickstorm.lobby.web import websocket_request
from tickstorm.transport.connection import Connection

MAX_MESSAGE_BYTES = 1 << 20


def application(environ, start_response):
    if "HTTP_UPGRADE" not in environ:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"a WebSocket echo, for tests\n"]
    response = ServerProtocol().accept(websocket_request(environ))
    status = f"{response.status_code} {response.reason_phrase}"
    start_response(status, list(response.headers.raw_items()))(b"")
    if response.status_code != 101:
        return [response.body or b""]

    answer = ServerProtocol(state=State.OPEN)

    def echo(send):
        def receive(data: bytes) -> None:
            send(data)
            for frame in answer.data_to_send():
                connection.push(frame)

        return receive

    connection = Connection(
        os.dup(uwsgi.connection_fd()),
        on_message=echo(answer.send_binary),
        on_text=echo(answer.send_text),
        send_buffer=1 << 18,
        bytes_per_second=1 << 30,
        most_bytes=MAX_MESSAGE_BYTES,
    )
    connection.begin()
    return []
