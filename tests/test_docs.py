"""What the documents say is so: links lead somewhere, files named in them work, commands exist."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.object_server import ObjectServer
from tickstorm.games.catalogue import entry_of
from tickstorm.games.room import Game, Room

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
ON_THE_SITE = {"api", "architecture", "changelog", "contributing", "protocol", "security"}
"""Documents of the top level that are pages of the site; see docs/site_files.py."""

_BLOCK = re.compile(r'^```(\w*)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks(path: Path) -> list[tuple[str, str, str]]:
    """``(language, title, text)`` of each fenced block."""
    return _BLOCK.findall(path.read_text())


def files() -> list[tuple[str, str, str]]:
    """``(document, title, text)`` of each block that is a whole file."""
    found = []
    for path in DOCUMENTS:
        for _, title, text in blocks(path):
            if title:
                found.append((name_of(path), title, text))
    return found


def anchor_of(heading: str) -> str:
    """
    >>> anchor_of("Rooms, and `more` than one")
    'rooms-and-more-than-one'
    """
    return re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", heading.strip().lower()))


def anchors(path: Path) -> set[str]:
    text = _BLOCK.sub("", path.read_text())
    return {anchor_of(heading) for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_links_between_documents_lead_to_what_is_there(path):
    text = _BLOCK.sub("", path.read_text())
    for target, anchor in re.findall(r"\]\(([^)#:\s]*)(?:#([^)\s]*))?\)", text):
        there = (path.parent / target).resolve() if target else path
        if DOCS in path.parents and there.parent == DOCS and there.stem in ON_THE_SITE:
            there = ROOT / f"{there.stem.upper()}.md"
        assert there.exists(), f"links to {target}"
        if anchor and there.suffix == ".md":
            assert anchor in anchors(there), f"links to {target}#{anchor}"


def test_every_page_is_in_the_menu_and_in_the_list_for_machines():
    menu, machines = (ROOT / "mkdocs.yml").read_text(), (DOCS / "llms.txt").read_text()
    for path in DOCS.rglob("*.md"):
        name = path.relative_to(DOCS).as_posix()
        assert f": {name}\n" in menu, name
        if name not in ("index.md", "coming-from-colyseus.md"):
            assert f"({name.removesuffix('.md')}.html)" in machines, name


@pytest.mark.parametrize(("document", "title", "text"), files())
def test_a_whole_file_in_a_document_works(document, title, text, tmp_path, monkeypatch):
    """Rules are declared as a server would do it; tests in them run beside the rules."""
    if "/" in title:  # a file of this repository
        assert text == (ROOT / title).read_text()
        return
    assert title.endswith(".py")
    for other, name, content in files():
        if other == document and "/" not in name:
            (tmp_path / name).write_text(content)
    monkeypatch.syspath_prepend(str(tmp_path))
    name = Path(title).stem
    if title.startswith("test_"):
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", title],
            cwd=tmp_path, capture_output=True, text=True,
            env={**os.environ, "PYTHONPATH": f"{ROOT / 'server'}{os.pathsep}{tmp_path}"},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        return
    spec = importlib.util.spec_from_file_location(f"documented_{name}", tmp_path / title)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    rooms = [
        thing for thing in vars(module).values()
        if isinstance(thing, type) and issubclass(thing, Room) and thing is not Room
    ]  # fmt: skip
    for room in rooms:
        assert entry_of(room, title).kind == "objects"
        assert Game(room).declaration()["kinds"][0][0] == "room"


def test_the_documented_bot_plays_the_documented_game(tmp_path):
    texts = {title: text for _, title, text in files()}
    rules = texts["tag.py"].replace("low=10", "low=1")
    (tmp_path / "bot.py").write_text(texts["bot.py"])
    tmp_path.chmod(0o755)
    with ObjectServer(tmp_path, rules, SETTINGS="round_s=1") as server:
        with server.join("Ada", game="tag") as ada:
            bot = subprocess.Popen(
                [sys.executable, "bot.py", server.page, "60"], cwd=tmp_path, text=True,
                stdout=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )  # fmt: skip
            try:
                ada.wait_for(lambda: len(ada.players) == 2)
                begun = {player.id: (player["x"], player["y"]) for player in ada.players}
                (botty,) = [player.id for player in ada.players if player["name"] == "Botty"]
                at = ada.entities[botty]
                ada.wait_for(lambda: (at["x"], at["y"]) != begun[botty])
                while not (line := bot.stdout.readline()).startswith("over: "):
                    assert line, "the bot has ended"
                assert line.strip() in ("over: Ada", "over: Botty")
            finally:
                bot.terminate()
                bot.wait()


def test_the_rules_on_the_first_screen_are_a_game(tmp_path, monkeypatch):
    (text,) = [
        text for language, _, text in blocks(ROOT / "README.md")
        if language == "python"
    ]  # fmt: skip
    path = tmp_path / "street.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location("documented_street", path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    assert entry_of(module.Street, "street.py").name == "street"


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_other_python_in_documents_is_python(path):
    for language, title, text in blocks(path):
        if language == "python" and not title:
            lines = text.splitlines(keepends=True)
            indent = len(lines[0]) - len(lines[0].lstrip())
            compile("".join(line[indent:] or "\n" for line in lines), name_of(path), "exec")


def commands() -> set[str]:
    found: set[str] = set()
    for path in DOCUMENTS:
        found |= set(re.findall(r"(?:^|`|bin/)tickstorm ([a-z]+)", path.read_text(), re.MULTILINE))
    return found


@pytest.mark.parametrize("command", sorted(commands()))
def test_a_command_that_documents_name_exists(command):
    done = subprocess.run(
        [sys.executable, "-m", "tickstorm", command, "--help"],
        capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "server")},
    )  # fmt: skip
    assert done.returncode == 0 and "usage: tickstorm" in done.stdout


def test_options_and_close_codes_that_documents_name_exist():
    from dataclasses import fields

    from tickstorm.config import Config
    from tickstorm.protocol.wire import Close

    table = (ROOT / "PROTOCOL.md").read_text().partition("## Closing")[2]
    assert {int(code) for code in re.findall(r"^\| (\d{4}) \|", table, re.MULTILINE)} == set(Close)
    known = {field.name.upper() for field in fields(Config)}
    for path in DOCS.rglob("*.md"):
        for name in re.findall(r"`([A-Z][A-Z]+_[A-Z_]+)(?:=[^`]*)?`", path.read_text()):
            if name not in ("STEP_COMMAND", "VIRTUAL_ENV"):
                assert name in known, f"{name_of(path)} names {name}"


def test_the_site_is_built_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs", reason="`make docs` brings it")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path],
        cwd=ROOT, capture_output=True, text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not re.findall(r"WARNING.*", done.stderr)
    built = (tmp_path / "reference" / "python.html").read_text()
    assert "tickstorm.games.room.Room.fetch" in built
