"""The same game on uWSGI's own WebSocket calls, one gevent greenlet per connection.

As uWSGI's documentation has it: `websocket_recv_nb` when the connection's descriptor is
readable, `websocket_send_binary` when there is something to send, both from the greenlet
of the request. For the benchmark only, on the loopback only: one malformed frame ends a
uWSGI process that uses these calls.

    PORT=… … uwsgi --gevent N --http-socket 127.0.0.1:PORT --module bench.peers.uwsgi_websockets
"""

from __future__ import annotations

import base64
import gc
import hashlib
from time import monotonic

import gevent
import uwsgi
from gevent.event import Event

from tickstorm.protocol import wire

from .arena import Arena, Settings, payload

READ = 1
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

arena = Arena(Settings.read())
players: dict[int, Player] = {}


class Player:
    """What the game loop and a connection's greenlet know of each other."""

    def __init__(self):
        self.wake = Event()
        self.readable = False
        self.snapshot: bytes | None = None

    def on_readable(self) -> None:
        self.readable = True
        self.wake.set()

    def play(self, slot: int) -> None:
        """Move messages both ways until the connection ends, which raises OSError."""
        while True:
            self.wake.wait()
            self.wake.clear()
            if self.readable:
                self.readable = False
                message = uwsgi.websocket_recv_nb()
                while message:
                    arena.put(slot, message)
                    message = uwsgi.websocket_recv_nb()
            if self.snapshot is not None:
                snapshot, self.snapshot = self.snapshot, None
                uwsgi.websocket_send_binary(snapshot)


def loop() -> None:
    """Step, and hand each greenlet its snapshot; who still has one is left out."""
    ticker = arena.ticker()
    while True:
        gevent.sleep(ticker.wait_s(monotonic()))
        for _ in range(ticker.due(monotonic())):
            ready = [item for item in players.items() if item[1].snapshot is None]
            slots, frames = arena.tick([slot for slot, _ in ready])
            for (_, player), frame in zip(ready, frames, strict=True):
                player.snapshot = payload(frame)
                player.wake.set()
            arena.commit(slots, [True] * len(ready))


def application(env, start_response):
    if env["PATH_INFO"] == "/healthz":
        start_response("200 OK", [("Content-Type", "application/json")])
        return [b'{"status": "ok"}']
    return websocket(env, start_response)


def websocket(env, start_response):
    # In Python, because a uWSGI built without OpenSSL cannot answer the upgrade itself.
    key = env.get("HTTP_SEC_WEBSOCKET_KEY", "").encode()
    accept = base64.b64encode(hashlib.sha1(key + GUID).digest()).decode()
    headers = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", accept),
        ("Sec-WebSocket-Protocol", wire.SUBPROTOCOL),
    ]
    start_response("101 Switching Protocols", headers)(b"")

    player, slot = Player(), None
    readable = gevent.get_hub().loop.io(uwsgi.connection_fd(), READ)
    try:
        slot, welcome = arena.join(uwsgi.websocket_recv())
        uwsgi.websocket_send_binary(welcome)
        players[slot] = player
        readable.start(player.on_readable)
        player.play(slot)
    except OSError:
        pass  # uWSGI's way to say that the connection has ended
    finally:
        readable.stop()
        readable.close()
        if slot is not None:
            players.pop(slot, None)
            arena.leave(slot)
    return []


gevent.spawn(loop)
gc.collect()
gc.freeze()
gc.disable()
