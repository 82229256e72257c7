"""Make a project that runs: rules, a page and a test, in a folder of its own."""

from __future__ import annotations

import argparse
import ast
import keyword
import re
import sys
from pathlib import Path

from . import CommandError

PRESETS = Path(__file__).parent / "presets"
COMMON = "common"
"""The folder with what all presets have."""


def presets() -> dict[str, str]:
    """What there is, with the first sentence of its rules."""
    found = {}
    for path in sorted(PRESETS.glob("*/newgame.py")):
        found[path.parent.name] = about(path)
    order = ["minimal", "turns", "board", "crowd"]
    return {name: found[name] for name in sorted(found, key=lambda n: (order.index(n), n))}


def about(rules: Path) -> str:
    return (ast.get_docstring(ast.parse(rules.read_text())) or "").partition("\n\n")[0]


USAGE = """\
examples:
  tickstorm new mygame                    dots that move, everyone sees everyone
  tickstorm new duel --preset turns       two players, turns, a winner

then:
  cd mygame
  tickstorm run --dev                     and open the printed address in two windows
  pytest                                  the rules have tests, which pass

presets:
"""
USAGE += "\n".join(f"  {name:8}  {text}" for name, text in presets().items())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder", metavar="DIR", type=Path, help="the folder to make; names the game"
    )
    parser.add_argument(
        "--preset", choices=list(presets()), default="minimal", help="what to begin with (minimal)"
    )


def run(options: argparse.Namespace) -> int:
    folder: Path = options.folder
    name = class_name(folder.resolve().name)
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise CommandError(f"{folder} is there already and not empty; name another folder")
    try:
        for path, text in project(options.preset, name).items():
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
    except OSError as error:
        raise CommandError(f"{error.filename} can't be written: {error.strerror}") from None
    print(f"tickstorm: {folder} has a game: rules in {name.lower()}.py, its page in page/")
    steps = ["tickstorm run --dev"]
    if folder.resolve() != Path.cwd():
        steps.insert(0, f"cd {folder}")
    print("".join(f"\n  {step}" for step in steps))
    print("\nThen open the printed address in two windows.")
    return 0


def class_name(folder: str) -> str:
    """The class that a folder's name makes; in lower case, it is the game's name and its file's.

    >>> class_name("my-game"), class_name("tag"), class_name("random"), class_name("3d chess")
    ('MyGame', 'Tag', 'RandomGame', 'Game3dChess')
    """
    words = re.findall(r"[a-z0-9]+", folder.lower())
    name = "".join(word[0].upper() + word[1:] for word in words)
    if not name:
        raise CommandError(f"{folder!r} makes no name of a game: use letters, such as mygame")
    if name[0].isdigit():
        name = f"Game{name}"
    # A module of the same name as one that others import would be found in its place.
    taken = sys.stdlib_module_names | {"tickstorm", "numpy", "gevent", "websockets", "msgpack",
                                       "msgspec", "pytest", "uwsgi", "room", "player"}  # fmt: skip
    if name.lower() in taken or keyword.iskeyword(name.lower()):
        name += "Game"
    if len(name) > 32:
        raise CommandError(f"{folder!r} is too long for the name of a game: 32 letters at most")
    return name


def project(preset: str, name: str) -> dict[str, str]:
    """The files of a new project, by path."""
    files = {}
    for source in (PRESETS / COMMON, PRESETS / preset):
        for file in sorted(source.rglob("*")):
            path = file.relative_to(source)
            if file.is_file() and "__pycache__" not in path.parts:
                files[path.as_posix()] = file.read_text()
    files[".gitignore"] = files.pop("gitignore")
    what = about(PRESETS / preset / "newgame.py")
    return {
        path.replace("newgame", name.lower()): text.replace("NewGame", name)
        .replace("newgame", name.lower())
        .replace("ABOUT", what)
        for path, text in files.items()
    }
