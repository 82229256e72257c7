"""How the parts hang together: arrows one way, and no engine that knows a game."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.live_server import ROOT

OURS = ("game", "clients", "bench")
FORBIDDEN = {"game", "clients", "bench", "tests", "examples"}


def modules() -> dict[str, Path]:
    """Every module of ours, by the name under which it is imported."""
    roots = {ROOT / "server": ROOT / "server", **{ROOT / name: ROOT for name in OURS}}
    found = {}
    for folder, base in roots.items():
        for path in folder.rglob("*.py"):
            parts = list(path.relative_to(base).with_suffix("").parts)
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


class Imports(ast.NodeVisitor):
    """What a module imports when it is imported itself, and for its types."""

    def __init__(self, name: str, path: Path):
        package = path.name == "__init__.py"
        self._package = name.split(".") if package else name.split(".")[:-1]
        self.found: set[str] = set()
        self.visit(ast.parse(path.read_text()))

    def visit_FunctionDef(self, node: ast.AST) -> None:
        pass  # an import in a function comes later

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Import(self, node: ast.Import) -> None:
        self.found |= {alias.name for alias in node.names}

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        base = self._package[: len(self._package) - node.level + 1] if node.level else []
        module = ".".join([*base, *([node.module] if node.module else [])])
        self.found |= {module} | {f"{module}.{alias.name}" for alias in node.names}


def circles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """Sets of modules that import one another, by way of others too.

    >>> circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()})
    [['b', 'c']]
    """
    reached = {}
    for start in arrows:
        seen, left = set(), [start]
        while left:
            for name in arrows.get(left.pop(), set()) - seen:
                seen.add(name)
                left.append(name)
        reached[start] = seen
    found = {
        tuple(sorted([b for b in reached[a] if a in reached[b]])) for a in arrows if a in reached[a]
    }
    return sorted(list(circle) for circle in found)


def test_no_module_imports_itself_by_way_of_others():
    known = modules()
    assert len(known) > 50
    arrows = {}
    for name, path in known.items():
        inner = Imports(name, path).found
        # Its own package is there already when a module is imported.
        arrows[name] = {
            m for m in inner if m in known and m != name and not name.startswith(f"{m}.")
        }
    assert circles(arrows) == []


@pytest.mark.parametrize("name", sorted(name for name in modules() if name.startswith("tickstorm")))
def test_the_engine_imports_no_game_and_nobody_who_uses_it(name):
    tree = ast.parse(modules()[name].read_text())
    named = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import)
             for alias in node.names}  # fmt: skip
    named |= {
        node.module or ""
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and not node.level
    }
    assert not {module.split(".")[0] for module in named} & FORBIDDEN


TESTS = sorted((ROOT / "tests").rglob("*.py"))
PUBLIC_ALL_THE_SAME = {"_replace", "_asdict", "_fields", "_exit"}  # of named tuples, and of os


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_tests_import_no_other_test_and_touch_nothing_private(path):
    """What is shared lies in helper modules beside them; what must be seen is public."""
    tree = ast.parse(path.read_text())
    imported = Imports(f"tests.{path.stem}", path).found
    assert not [name for name in imported if name.startswith("tests.test_")]
    private = []
    for node in ast.walk(tree):
        of_its_own = isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("self", "cls")
        if isinstance(node, ast.Attribute) and not of_its_own:
            private.append(node.attr)
        elif isinstance(node, ast.ImportFrom):
            private += [alias.name for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("setattr"):
            named = [ast.literal_eval(a) for a in node.args if isinstance(a, ast.Constant)]
            private += [name.split(".")[-1] for name in named if isinstance(name, str)]
    private = [name for name in private if name.startswith("_") and not name.startswith("__")]
    assert set(private) <= PUBLIC_ALL_THE_SAME


def test_bots_and_benchmarks_import_no_game():
    for name, path in modules().items():
        if name.startswith(("clients", "bench")):
            tops = {module.split(".")[0] for module in Imports(name, path).found}
            assert "game" not in tops, name
