"""A bad network to put between a client and a server: a TCP proxy that delays.

    python -m clients.bots.conditioner --listen 127.0.0.1:9000 --to 127.0.0.1:8000 \\
        --latency-ms 75 --jitter-ms 20 --stall-percent 1 --bandwidth-kbps 256 --seed 1

then open http://127.0.0.1:9000/ instead of the server's own address. In tests:

    with Conditioner(("127.0.0.1", port), both=Conditions(latency_ms=75)) as network:
        play(f"ws://127.0.0.1:{network.port}/ws")

When each chunk arrives is decided by `Schedule`, from a seed and without a clock;
all else here is moving bytes at those times. Bytes keep their order and none is
lost, as in TCP: a lost packet shows as a stall of everything behind it.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import socket
import struct
import sys
import threading
from dataclasses import asdict, dataclass, fields, replace
from typing import Self

SEGMENT_BYTES = 1460
"""A chunk is what one read yields, at most one segment of an Ethernet link."""

BUFFER_BYTES = 64 * 1024
"""Bytes under way per direction of a connection; beyond it the sender has to wait."""


@dataclass(frozen=True)
class Conditions:
    """How one direction of each connection behaves."""

    latency_ms: float = 0.0  # one way
    jitter_ms: float = 0.0  # each chunk's latency varies by up to this much, both ways
    stall_percent: float = 0.0  # share of chunks that are held up, as if lost and sent again
    stall_ms: float = 200.0  # for how long
    bandwidth_kbps: float = 0.0  # kilobits per second of each connection; 0 is unlimited

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            highest = 100 if field.name == "stall_percent" else float("inf")
            if not 0 <= value <= highest or value == float("inf"):
                allowed = "0 to 100" if highest == 100 else "0 or more"
                raise ValueError(f"{field.name} = {value}: allowed is {allowed}")


class Schedule:
    """Decides when chunks arrive; one for each direction of a connection.

    Every chunk draws the same number of random values, so that changing the
    conditions midway does not change anyone's luck.

    >>> schedule = Schedule("seed")
    >>> slow = Conditions(latency_ms=50, bandwidth_kbps=8)  # a byte per ms
    >>> [round(schedule.deliver_at(now, 100, slow), 3) for now in (0.0, 0.0, 1.0)]
    [0.15, 0.25, 1.15]
    """

    def __init__(self, seed: str | int) -> None:
        self._random = random.Random(seed)
        self._link_free = 0.0  # when the last bit of the previous chunk is on its way
        self._latest = 0.0  # when the previous chunk arrives

    def deliver_at(self, now: float, size: int, conditions: Conditions) -> float:
        """Seconds at which a chunk of `size` bytes arrives that is sent at `now`.

        `now` must not decrease from call to call; neither does the result.
        """
        spread, luck = self._random.uniform(-1, 1), self._random.uniform(0, 100)
        self._link_free = max(now, self._link_free)
        if conditions.bandwidth_kbps:
            self._link_free += size * 8 / (conditions.bandwidth_kbps * 1000)
        delay_ms = max(0.0, conditions.latency_ms + spread * conditions.jitter_ms)
        if luck < conditions.stall_percent:
            delay_ms += conditions.stall_ms
        self._latest = max(self._latest, self._link_free + delay_ms / 1000)
        return self._latest


class Proxy:
    """The proxy itself, on an asyncio loop. Connection n of a seed has always the same luck."""

    def __init__(
        self, listener: socket.socket, to: tuple[str, int], up: Conditions, down: Conditions, seed
    ) -> None:
        self.conditions = {"up": up, "down": down}  # up: from client to server
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.connections: set[asyncio.Task] = set()
        self._listener, self._to, self._seed = listener, to, seed

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        self._listener.setblocking(False)
        number = 0
        try:
            while True:
                client, _ = await loop.sock_accept(self._listener)
                task = asyncio.create_task(self._serve(client, number))
                self.connections.add(task)
                task.add_done_callback(self.connections.discard)
                number += 1
        finally:
            self._listener.close()
            await self.drop_connections()

    async def drop_connections(self) -> None:
        """Reset all connections, on both sides, with whatever was under way."""
        tasks = list(self.connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, client: socket.socket, number: int) -> None:
        server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        ended = False
        try:
            for end in (client, server):
                # The kernel must not hide a slow link behind megabytes of buffer.
                end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                end.setblocking(False)
            try:
                await asyncio.get_running_loop().sock_connect(server, self._to)
            except OSError as error:
                host, port = self._to
                print(f"conditioner: cannot connect to {host}:{port}: {error}", file=sys.stderr)
                return
            async with asyncio.TaskGroup() as pipes:
                for source, sink, way in ((client, server, "up"), (server, client, "down")):
                    pipe = _Pipe(self, source, sink, way, Schedule(f"{self._seed}/{number}/{way}"))
                    pipes.create_task(pipe.fill())
                    pipes.create_task(pipe.drain())
            ended = True
        except* OSError:
            pass  # one side reset its connection, and so the other is reset below
        finally:
            for end in (client, server):
                if not ended:
                    # Closing then sends a reset and forgets what was not read yet.
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.close()


class _Pipe:
    """One direction of a connection: chunks wait here until their time has come."""

    def __init__(self, proxy: Proxy, source, sink, way: str, schedule: Schedule) -> None:
        self._proxy, self._source, self._sink, self._way = proxy, source, sink, way
        self._schedule = schedule
        self._chunks: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        self._bytes = 0
        self._room = asyncio.Event()
        self._room.set()

    async def fill(self) -> None:
        loop = asyncio.get_running_loop()
        data = b"?"
        while data:  # the empty chunk at the end of the stream travels like any other
            await self._room.wait()
            data = await loop.sock_recv(self._source, SEGMENT_BYTES)
            conditions = self._proxy.conditions[self._way]
            at = self._schedule.deliver_at(loop.time(), len(data), conditions)
            self._chunks.put_nowait((at, data))
            self._bytes += len(data)
            if self._bytes >= BUFFER_BYTES:
                self._room.clear()

    async def drain(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            at, data = await self._chunks.get()
            await asyncio.sleep(max(0.0, at - loop.time()))
            await self._proxy.flowing.wait()
            if not data:
                self._sink.shutdown(socket.SHUT_WR)
                return
            await loop.sock_sendall(self._sink, data)
            self._bytes -= len(data)
            if self._bytes < BUFFER_BYTES:
                self._room.set()


def _listen(address: tuple[str, int]) -> socket.socket:
    listener = socket.create_server(address, backlog=1024)
    # Accepted sockets inherit it, in time to bound the window that they offer.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
    return listener


class Conditioner:
    """The proxy on a thread of its own, for use from tests; a context manager.

    Args: `to`: (host, port) of the server; `both`, or `up` (client to server) and
    `down`: the conditions; `seed`; `listen`: (host, port), port 0 finds a free one.
    Attributes: ``host``, ``port``: where clients connect.
    """

    def __init__(
        self,
        to: tuple[str, int],
        both: Conditions = Conditions(),
        *,
        up: Conditions | None = None,
        down: Conditions | None = None,
        seed: int = 0,
        listen: tuple[str, int] = ("127.0.0.1", 0),
    ) -> None:
        self._arguments = (to, up or both, down or both, seed)
        self._listen = listen

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_) -> None:
        self.stop()

    def start(self) -> None:
        listener = _listen(self._listen)
        self.host, self.port = listener.getsockname()[:2]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="conditioner")
        self._thread.daemon = True
        self._thread.start()

        async def begin() -> None:
            self._proxy = Proxy(listener, *self._arguments)
            self._running = asyncio.create_task(self._proxy.run())

        self._call(begin())

    def stop(self) -> None:
        async def end() -> None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

        self._call(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def change(self, *, up: Conditions | None = None, down: Conditions | None = None) -> None:
        """New conditions for chunks that are sent from now on."""

        async def set_conditions() -> None:
            self._proxy.conditions["up"] = up or self._proxy.conditions["up"]
            self._proxy.conditions["down"] = down or self._proxy.conditions["down"]

        self._call(set_conditions())

    def pause(self) -> None:
        """Deliver nothing until `resume`: the cable is out, and nobody was told."""

        async def clear() -> None:
            self._proxy.flowing.clear()

        self._call(clear())

    def resume(self) -> None:
        """Deliver again, at first all that has become due."""

        async def set_flowing() -> None:
            self._proxy.flowing.set()

        self._call(set_flowing())

    def drop_connections(self) -> None:
        """Reset every connection; new ones are accepted."""
        self._call(self._proxy.drop_connections())

    def _call(self, coroutine) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=10)


# ---------------------------------------------------------------- command line


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not (colon and host and port.isdecimal() and int(port) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r}: allowed is HOST:PORT")
    return host, int(port)


def _pair(text: str) -> tuple[float, float]:
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) not in (1, 2):
        raise argparse.ArgumentTypeError(f"{text!r}: allowed is a number, or UP,DOWN")
    return values[0], values[-1]


def parse(argv: list[str] | None = None) -> tuple[argparse.Namespace, Conditions, Conditions]:
    """Options, and the conditions up (client to server) and down."""
    parser = argparse.ArgumentParser(
        prog="python -m clients.bots.conditioner",
        description="A TCP proxy that behaves like a bad network.",
        epilog="N is one number for both directions, or two, UP,DOWN (up: client to server). "
        "Bytes keep their order and none is lost. Bandwidth is per connection.",
    )
    for option, default, text in (
        ("--listen", "127.0.0.1:9000", "where clients connect"),
        ("--to", "127.0.0.1:8000", "where the server listens"),
    ):
        text = f"{text} ({default} unless told)"
        parser.add_argument(option, type=_address, default=default, metavar="HOST:PORT", help=text)
    helps = {
        "latency_ms": "delay one way, in milliseconds",
        "jitter_ms": "each chunk's delay varies by up to N more or less",
        "stall_percent": "chunks in a hundred that are held up, with all behind them",
        "stall_ms": "how long a stall takes (200 unless told)",
        "bandwidth_kbps": "kilobits per second; 0 is unlimited",
    }
    for name, value in asdict(Conditions()).items():
        option = "--" + name.replace("_", "-")
        parser.add_argument(
            option, type=_pair, default=(value, value), metavar="N", help=helps[name]
        )
    parser.add_argument("--seed", type=int, default=0, help="the same seed, the same luck")
    options = parser.parse_args(argv)

    up = down = Conditions()
    for name in helps:
        value_up, value_down = getattr(options, name)
        try:
            up, down = replace(up, **{name: value_up}), replace(down, **{name: value_down})
        except ValueError as error:
            parser.error(f"argument --{name.replace('_', '-')}: {str(error).partition(' = ')[2]}")
    return options, up, down


async def _run(listener: socket.socket, options, up: Conditions, down: Conditions) -> None:
    running = asyncio.create_task(Proxy(listener, options.to, up, down, options.seed).run())
    for signum in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signum, running.cancel)
    await asyncio.gather(running, return_exceptions=True)


def main(argv: list[str] | None = None) -> int:
    options, up, down = parse(argv)
    try:
        listener = _listen(options.listen)
    except OSError as error:
        print(f"conditioner: cannot listen on {options.listen}: {error}", file=sys.stderr)
        return 1
    (host, port), (to_host, to_port) = listener.getsockname()[:2], options.to
    print(
        f"{host}:{port} -> {to_host}:{to_port}", f"up   {up}", f"down {down}", sep="\n", flush=True
    )
    asyncio.run(_run(listener, options, up, down))
    return 0


if __name__ == "__main__":
    sys.exit(main())
