"""``python -m tests.honest_crowd PORT PLAYERS``: bots that report, window by window, how they fare.

On standard input `begin` starts a window and `end` ends it; each `end` is answered by
``connected reconnects errors p99_gap_ms``, once each bot got a snapshot since `begin`; after half
a minute in vain the process ends. The end of the input is the end.
"""

from __future__ import annotations

import sys

import gevent
from gevent.fileobject import FileObjectThread
from websockets.uri import parse_uri

from clients.bots.__main__ import Crowd


def newest(crowd: Crowd) -> list[int]:
    """The tick that each bot saw last."""
    return [
        bot.session.world.tick if bot.session and bot.session.world else -1 for bot in crowd.bots
    ]


def main(port: str, players: str) -> None:
    crowd = Crowd(parse_uri(f"ws://127.0.0.1:{port}/ws"), int(players), seed=1)
    crowd.start()
    with gevent.Timeout(30):
        while crowd.connected < int(players):
            gevent.sleep(0.05)
    gevent.sleep(1.0)
    print("ready", flush=True)
    for line in FileObjectThread(sys.stdin, "r"):
        tally = crowd.tally
        if line.strip() == "begin":
            tally.gaps[:] = 0
            ticks = newest(crowd)
        else:
            with gevent.Timeout(30):
                while not all(now > then for now, then in zip(newest(crowd), ticks)):
                    gevent.sleep(0.05)
            report = [crowd.connected, tally.reconnects, tally.errors.total()]
            print(*report, tally.gap_ms(99), flush=True)
    crowd.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
