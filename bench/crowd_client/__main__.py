"""One run: the configuration on standard input, JSON lines on standard output."""

from __future__ import annotations

import json
import signal
import sys

from .run import Run, say


def main() -> None:
    config = json.load(sys.stdin)
    signal.alarm(int(config["limit_s"]))  # nobody waits for a client that hangs
    run = Run(config)
    try:
        say(result=run.go())
    finally:
        run.crowd.close()


if __name__ == "__main__":
    main()
