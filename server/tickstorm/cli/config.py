"""The server's options: environment variables, read once when it starts."""

from __future__ import annotations

import argparse
import os
import shutil
import textwrap
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

from ..config import Config, ConfigError, allowed, load, table
from . import CommandError

USAGE = """\
examples:
  tickstorm config                    what there is, and what is set here
  TICK_HZ=30 tickstorm config --check says whether the environment is fine
  tickstorm config --markdown         the same as a table for documents

`tickstorm run --option TICK_HZ=30` sets one of them for that run."""

INI = Path(__file__).parent.parent / "uwsgi.ini"
"""How uWSGI is to be set up; every start includes it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--check", action="store_true", help="only check the environment")
    ways.add_argument("--markdown", action="store_true", help="print a Markdown table")
    ways.add_argument(
        "--ini",
        action="store_true",
        help="print what an ini of your own has to include (`ini = exec://tickstorm config --ini`)",
    )


def run(options: argparse.Namespace) -> int:
    if options.ini:
        print(f"[uwsgi]\nini = {INI}")
        return 0
    if options.markdown:
        print(table())
        return 0
    try:
        config = load()
    except ConfigError as error:
        raise CommandError(str(error)) from None
    if options.check:
        print("tickstorm: the environment is fine")
        return 0
    width = min(100, shutil.get_terminal_size((100, 24)).columns)
    for option in fields(Config):
        print(_described(option, getattr(config, option.name), width))
    return 0


def _described(option: Field, value: Any, width: int) -> str:
    """An option as a paragraph."""
    name, secret = option.name.upper(), option.metadata.get("secret")
    here = name in os.environ and os.environ[name].strip() != ""
    head = f"{name}={'…' if secret and value else value}" + ("   (set here)" if here else "")
    text = f"{option.metadata['help']} ({allowed(option)})".replace("`", "")
    return head + "\n" + textwrap.fill(text, width, initial_indent="    ", subsequent_indent="    ")
