"""Drain the node of this environment: ``tickstorm drain``, then stop it.

Its rooms go to other nodes and their players follow. Meant for Kubernetes' ``preStop`` and for
scripts: it reads HOST, PORT, SECRET and DATA_DIR as the node does, asks it (``POST /drain``,
see API.md), says how far it is, and returns 0 when the node has no room left.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from ..config import Config, ConfigError, load
from . import tokens

POLL_S = 0.2


class DrainError(Exception):
    """The node was not drained; the message says why."""


def token_of(config: Config) -> str:
    """The drain token of the node with this configuration. Raises DrainError."""
    kept = Path(config.data_dir) / "secret"
    if not config.secret and not kept.exists():
        raise DrainError(f"no SECRET, and no key in DATA_DIR={config.data_dir}: run this as the "
                         "node was started")  # fmt: skip
    try:
        return tokens.drain_token(tokens.load_key(config.secret, config.data_dir))
    except OSError as error:
        raise DrainError(f"the node's key can't be read: {error}") from error


def ask(config: Config, method: str, token: str) -> dict:
    """The node's answer to `method` /drain. Raises DrainError."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(config.host, config.host)
    request = urllib.request.Request(
        f"http://{host}:{config.port}/drain",
        method=method,
        headers={"Authorization": f"Bearer {token}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        try:
            message = json.load(error)["message"]
        except (ValueError, KeyError):
            message = error.reason
        raise DrainError(f"the node answers {error.code}: {message}") from error
    except (OSError, ValueError) as error:
        raise DrainError(f"the node at {host}:{config.port} does not answer: {error}") from error


def drain(config: Config, seconds: float) -> None:
    """Have the node drained. Raises DrainError, also when that took longer than `seconds`."""
    token = token_of(config)
    until = time.monotonic() + seconds
    progress, said = ask(config, "POST", token), ""
    while True:
        line = f"{progress['moved']} rooms moved, {progress['rooms']} left"
        if line != said:
            print(f"tickstorm: node {progress['node']}: {line}", flush=True)
            said = line
        if progress["done"]:
            return
        if time.monotonic() > until:
            raise DrainError(f"after {seconds:g} s {progress['rooms']} rooms with "
                             f"{progress['players']} players are left: does another node have "
                             "space for them?")  # fmt: skip
        time.sleep(POLL_S)
        progress = ask(config, "GET", token)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r}: allowed is a number above 0, up to 3600")
    return seconds


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tickstorm drain", description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=_seconds, default=30.0, help="give up after so many (30)")
    parser.add_argument("--token", action="store_true", help="only print the token of POST /drain")
    options = parser.parse_args(arguments)
    try:
        config = load()
        if options.token:
            print(token_of(config))
        else:
            drain(config, options.seconds)
    except (ConfigError, DrainError) as error:
        print(f"tickstorm: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
