"""The command ``tickstorm``: one module for each command, which says how it is used (`USAGE`),
which arguments it takes (`add_arguments`) and what it does (`run`).

Exit codes: 0 all went well, 1 it did not, 2 the command line is wrong.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from typing import NoReturn

COMMANDS = {
    "new": "make a project that runs",
    "run": "serve a game",
    "bots": "send players that play by themselves",
    "types": "write TypeScript declarations of a game",
    "journal": "verify, list or export what a room has recorded",
    "drain": "hand a node's rooms to others before it stops",
    "doctor": "check this machine for a server",
    "config": "show the server's options, or check them",
}

OWN_PARSER = ("journal", "drain")
"""Commands that are whole programs: they get their arguments as they are."""

FIRST_STEPS = """\
the first three:
  tickstorm new mygame        a folder with rules, a page and a test
  cd mygame
  tickstorm run --dev         serves it; open the address in two windows

`tickstorm COMMAND --help` has an example of each."""


class CommandError(Exception):
    """What went wrong, in one line that says what to do."""


class Parser(argparse.ArgumentParser):
    """Mistakes are told in one line, and where there is more."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message} (see `{self.prog} --help`)", file=sys.stderr)
        raise SystemExit(2)


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        return _run(arguments)
    except CommandError as error:
        print(f"tickstorm: {error}", file=sys.stderr)
        return 1
    except SystemExit as end:  # argparse's: --help and mistakes
        return end.code if isinstance(end.code, int) else 1
    except BrokenPipeError:  # `| head`
        sys.stderr.close()
        return 1
    except KeyboardInterrupt:
        return 130


def _run(arguments: list[str]) -> int:
    if arguments and arguments[0] in OWN_PARSER:
        return importlib.import_module(f".{arguments[0]}", __name__).main(arguments[1:])
    parser = _parser(arguments[0] if arguments else "")
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return 2
    return importlib.import_module(f".{options.command}", __name__).run(options)


def _parser(wanted: str) -> Parser:
    """The whole command line; only the module of the `wanted` command is imported for it."""
    parser = Parser(
        prog="tickstorm",
        description="Multiplayer games in Python: rules in one file, a page beside it.",
        epilog=FIRST_STEPS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"tickstorm {_version()}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name, summary in COMMANDS.items():
        one = commands.add_parser(
            name, help=summary, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        if name == wanted:
            module = importlib.import_module(f".{name}", __name__)
            one.description, one.epilog = module.__doc__, module.USAGE
            module.add_arguments(one)
    return parser


def _version() -> str:
    from .. import __version__

    return __version__
