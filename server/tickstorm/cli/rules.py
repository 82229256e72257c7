"""Finding a game's rules: the files that a person means when naming none, one, or a folder."""

from __future__ import annotations

import ast
from pathlib import Path

from . import CommandError

CROWD_NAMES = frozenset({"create_world", "load_world", "KINDS"})
"""Names by which a module of a crowd game is known without importing it."""


def specs_of(named: list[str]) -> list[str]:
    """What GAMES is to say: for each name a file or module; for none, the game of this folder.

    Raises CommandError.
    """
    if not named:
        return [str(_only(Path(".")))]
    found = []
    for name in named:
        source, colon, attribute = name.partition(":")
        path = Path(source)
        if path.is_dir() and not (path / "__init__.py").exists():
            found.append(str(_only(path)))
        elif source.endswith(".py"):
            if not path.is_file():
                raise CommandError(f"there is no file {source}; {_hint(path.parent)}")
            found.append(f"{path}{colon}{attribute}")
        elif Path(f"{source}.py").is_file():
            found.append(f"{source}.py{colon}{attribute}")
        elif "/" in source:
            raise CommandError(f"there is no file {source}; {_hint(path.parent)}")
        else:
            found.append(name.removesuffix("/"))
    return found


def _only(folder: Path) -> Path:
    """The one file of rules in a folder."""
    candidates = rules_in(folder)
    if len(candidates) == 1:
        return candidates[0]
    where = "this folder" if folder == Path(".") else str(folder)
    if candidates:
        names = ", ".join(str(path) for path in candidates)
        raise CommandError(f"{where} has several games, name one of them: {names}")
    raise CommandError(
        f"{where} has no game (a .py file with a class that derives from Room or World); "
        "`tickstorm new mygame` makes one"
    )


def _hint(folder: Path) -> str:
    candidates = rules_in(folder) if folder.is_dir() else []
    if candidates:
        return "there is " + ", ".join(str(path) for path in candidates)
    return "`tickstorm new mygame` makes a game"


def rules_in(folder: Path) -> list[Path]:
    """Files of a folder that define a game. Nothing is imported."""
    files = sorted(folder.glob("*.py"))
    return [path for path in files if not path.name.startswith(("test_", "_")) and is_rules(path)]


def is_rules(path: Path) -> bool:
    """Whether a file defines a room, or a crowd's world.

    A file that doesn't parse counts if it speaks of rooms: then its mistake can be told.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError):
        return False
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return "tickstorm" in text and ("(Room" in text or "(World" in text)
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    names |= {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    return names >= CROWD_NAMES or any(_is_room(node) for node in tree.body)


def _is_room(node: ast.stmt) -> bool:
    if not isinstance(node, ast.ClassDef):
        return False
    return any(ast.unparse(base).rpartition(".")[2] in ("Room", "World") for base in node.bases)
