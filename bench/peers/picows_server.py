"""The same game on picows and uvloop: only the transport differs from the server's.

PORT=… TICK_HZ=… WORLD_SIZE=… MAX_PLAYERS=… SEED=… python -m bench.peers.picows_server
"""

from __future__ import annotations

import asyncio
import gc
import signal
from time import monotonic

import picows
import uvloop

from tickstorm.protocol import wire

from .arena import Arena, Settings, payload

BINARY = picows.WSMsgType.BINARY
CLOSE = picows.WSMsgType.CLOSE


class Player(picows.WSListener):
    """One connection; `slot` is None until its HELLO came."""

    def __init__(self, arena: Arena, players: dict[int, Player]):
        self.arena = arena
        self.players = players
        self.slot: int | None = None
        self.writable = True

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        self.send = transport.send

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if frame.msg_type == BINARY:
            if self.slot is not None:
                self.arena.put(self.slot, frame.get_payload_as_bytes())
            else:
                self.slot, welcome = self.arena.join(frame.get_payload_as_bytes())
                self.players[self.slot] = self
                self.send(BINARY, welcome)
        elif frame.msg_type == CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
        if self.players.pop(self.slot, None) is not None:
            self.arena.leave(self.slot)

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True


def tick(arena: Arena, players: dict[int, Player]) -> None:
    """Step, and send to everyone whose transport has nothing pending."""
    ready = [player for player in players.values() if player.writable]
    slots, frames = arena.tick([player.slot for player in ready])
    for player, frame in zip(ready, frames, strict=True):
        player.send(BINARY, payload(frame))
    arena.commit(slots, [True] * len(ready))


async def serve() -> None:
    settings = Settings.read()
    arena, players = Arena(settings), {}

    def welcome(request: picows.WSUpgradeRequest) -> picows.WSUpgradeResponseWithListener:
        headers = {"Sec-WebSocket-Protocol": wire.SUBPROTOCOL}
        response = picows.WSUpgradeResponse.create_101_response(headers)
        return picows.WSUpgradeResponseWithListener(response, Player(arena, players))

    server = await picows.ws_create_server(welcome, "127.0.0.1", settings.port, backlog=4096)
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    gc.freeze()
    gc.disable()
    ticker = arena.ticker()
    while not stopping.is_set():
        await asyncio.sleep(ticker.wait_s(monotonic()))
        for _ in range(ticker.due(monotonic())):
            tick(arena, players)
    server.close()


if __name__ == "__main__":
    uvloop.run(serve())
