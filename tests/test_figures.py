"""Figures, commands, options and limits that stand in documents and pages are those of the code."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import fields
from typing import Any

import pytest

from tests.live_server import ROOT
from tickstorm.config import Config
from tickstorm.lobby import directory, settings
from tickstorm.protocol import wire
from tickstorm.records import replay
from tickstorm.replication.history import RING
from tickstorm.rooms import inputs, loop, object_room, session, shedding
from tickstorm.transport import stream

DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
SHOWN = [path for path in DOCUMENTS if path.name not in ("CHANGELOG.md",)]
WORDS = {
    word: n for n, word in enumerate("one two three four five six seven eight nine ten".split(), 1)
}

# Document, the words around each figure, and what they are in the code.
FIGURES: list[tuple[str, str, list[Any]]] = [
    ("ARCHITECTURE.md", r"spread over (\w+) phases of its period", [loop.PHASES]),
    ("ARCHITECTURE.md", r"and after ([\d,]+) ticks at most", [object_room.CHECKPOINT_TICKS]),
    ("ARCHITECTURE.md", r"quantised and kept for (\d+) ticks", [RING]),
    ("ARCHITECTURE.md", r"When ticks take (\d+) % of their period", [shedding.BUSY * 100]),
    ("PROTOCOL.md", r"CHAT: at most (\d+) characters", [wire.CHAT_CHARACTERS]),
    ("PROTOCOL.md", r"An input up to (\d+) ticks early waits", [inputs.AHEAD]),
    ("PROTOCOL.md", r"go on at `speed`, ([\d.]+) to (\d+), or 0", [replay.SLOWEST, replay.FASTEST]),
    ("PROTOCOL.md", r"loses nothing, however requests end: (\d+) kB", [stream.KEPT_BYTES / 1024]),
    ("API.md", r"in HELLO's options within (\d+) seconds", [directory.TICKET_S]),
    ("README.md", r"seconds between a player's chat messages; (\w+) may", [session.CHAT_BURST]),
]


NO_OPTIONS = {"STEP_COMMAND", "VIRTUAL_ENV"}  # and yet written like some


def number(text: str) -> float:
    return float(WORDS[text] if text in WORDS else text.replace(",", ""))


@pytest.mark.parametrize("document, words, values", FIGURES, ids=[row[1] for row in FIGURES])
def test_a_figure_in_a_document_is_the_one_in_the_code(document, words, values):
    found = re.search(words, (ROOT / document).read_text())
    assert found, f"{document} does not say this any more"
    assert [number(text) for text in found.groups()] == [pytest.approx(v) for v in values]


PAGES = {
    ('clients/web/index.html', "chat-text"): wire.CHAT_CHARACTERS,
    ('clients/web/index.html', "name"): wire.NAME_BYTES,
    ('examples/chat/index.html', "nick"): wire.NAME_BYTES,
}  # fmt: skip


@pytest.mark.parametrize("page, field", PAGES)
def test_a_page_takes_as_many_characters_as_the_server(page, field):
    (tag,) = re.findall(rf'<input id="{field}"[^>]*>', (ROOT / page).read_text())
    assert f'maxlength="{PAGES[page, field]}"' in tag


def test_the_name_of_a_room_is_as_long_on_the_page_as_on_the_server():
    (tag,) = re.findall(r'<input name="name"[^>]*>', (ROOT / "clients/web/index.html").read_text())
    assert f'maxlength="{settings.NAME_CHARACTERS}"' in tag


@pytest.mark.parametrize("path", SHOWN, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_options_modules_and_targets_that_a_document_names_exist(path):
    text = path.read_text()
    known = {field.name.upper() for field in fields(Config)}
    named = set(re.findall(r"`([A-Z][A-Z]+_[A-Z_]+)(?:=[^`]*)?`", text))
    assert named <= known | NO_OPTIONS
    for module in re.findall(r"python -m ((?:tickstorm|clients|bench|tests)[\w.]*)", text):
        assert importlib.util.find_spec(module), module
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"(?:^|`)(?:[A-Z_]+=\S+ )*make ([a-z][\w-]+)", text, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for script in re.findall(r"`((?:deploy|tests|examples|docs|clients)/[\w/.-]+\.\w+)`", text):
        assert (ROOT / script).exists(), script


def test_the_version_is_one():
    version = re.search(r"^version = (.*)$", (ROOT / "setup.cfg").read_text(), re.MULTILINE)[1]
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()
    assert f'"version": "{version}"' in (ROOT / "clients" / "js" / "package.json").read_text()
    (python,) = re.findall(r"python_requires = >=([\d.]+)", (ROOT / "setup.cfg").read_text())
    assert f"Python {python}" in (ROOT / "README.md").read_text()
