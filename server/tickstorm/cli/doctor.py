"""Check this machine, and the options in the environment, for a server: kernel, io_uring, limits,
timers, clock, disk, port, proxy, secrets. It says what to change, and changes nothing."""

from __future__ import annotations

import argparse
import json
from itertools import chain

from ..config import ConfigError, load
from ..operate import doctor
from . import CommandError

USAGE = """\
examples:
  tickstorm doctor                            what of this machine would trouble a server
  PORT=443 HOST=0.0.0.0 tickstorm doctor      with these options
  tickstorm doctor --url https://play.example what the proxy in front passes on
  tickstorm doctor --json                     for a script

Exit code 1 if something would keep a server from working; warnings alone are 0."""

MARKS = {doctor.GOOD: "ok  ", doctor.WARN: "warn", doctor.BAD: "BAD "}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--url", help="the public address of a running server: also check the proxy"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object for each finding")


def run(options: argparse.Namespace) -> int:
    try:
        config = load()
    except ConfigError as error:
        raise CommandError(f"{error}; `tickstorm config` explains it") from None
    worst = doctor.GOOD
    counts = dict.fromkeys(MARKS, 0)
    found = [doctor.checks(config), doctor.through(options.url)] if options.url else [
        doctor.checks(config)]  # fmt: skip
    for finding in chain.from_iterable(found):
        counts[finding.state] += 1
        if finding.state == doctor.BAD:
            worst = doctor.BAD
        if options.json:
            print(json.dumps(finding._asdict()), flush=True)
            continue
        print(f"{MARKS[finding.state]}  {finding.what}: {finding.found}", flush=True)
        if finding.do:
            print(f"      -> {finding.do}", flush=True)
    if not options.json:
        print(f"\n{counts[doctor.BAD]} bad, {counts[doctor.WARN]} warnings, "
              f"{counts[doctor.GOOD]} fine")  # fmt: skip
    return int(worst == doctor.BAD)
