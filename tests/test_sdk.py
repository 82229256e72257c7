"""The client SDK: its own tests, run by node on the modules and on the piece that is served."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tickstorm.lobby import sdk

SOURCE = Path(__file__).parent.parent / "clients" / "js"
MOST_BYTES = 15_000
EXPORTS = """LobbyError Room create join joinByCode joinById joinOrCreate quick reconnect replay
watch"""

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")


def node(*arguments: str | Path, cwd: Path = SOURCE) -> str:
    command = ["node", *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_modules_pass_their_tests():
    node("--test", *sorted(SOURCE.glob("test/*.test.js")))


def test_modules_without_comments_and_spaces_pass_them_too(tmp_path):
    for path in SOURCE.glob("*.js"):
        imports, text = split(path.read_text())
        (tmp_path / path.name).write_text(imports + sdk.compact(text))
    shutil.copytree(SOURCE / "test", tmp_path / "test")
    shutil.copy(SOURCE / "package.json", tmp_path)
    node("--test", *sorted(tmp_path.glob("test/*.test.js")), cwd=tmp_path)


def split(text: str) -> tuple[str, str]:
    """A module's imports, and the rest."""
    found = re.compile(r"^import [^;(]*;\n", re.MULTILINE)
    return "".join(found.findall(text)), found.sub("", text)


def test_what_is_served_is_whole_and_small(tmp_path):
    piece = sdk.files()["/tickstorm.js"]
    (tmp_path / "piece.mjs").write_bytes(piece)
    show = "import('./piece.mjs').then((m) => console.log(Object.keys(m).join(' ')))"
    assert node("-e", show, cwd=tmp_path).split() == EXPORTS.split()
    assert len(sdk.compressed(piece)) < MOST_BYTES


def test_modules_are_served_as_they_were_written():
    served = sdk.files()
    assert served["/tickstorm/state.js"] == (SOURCE / "state.js").read_bytes()
    for imported in re.findall(r'import\("\.(/[^"]*)"\)', served["/tickstorm.js"].decode()):
        assert imported in served


def test_two_modules_may_not_declare_the_same_name():
    modules = {"tickstorm.js": 'import { a } from "./a.js";\nconst b = a;', "a.js": "const b = 1;"}
    with pytest.raises(ValueError, match="declare b more than once"):
        sdk.joined(modules)
