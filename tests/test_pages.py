"""How pages come to a browser: compressed, in one piece, and as they are on the disk."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from tests.live_server import LiveServer
from tickstorm.games.catalogue import load
from tickstorm.lobby.pages import Page, Pages, pages_of

pytest_plugins = ["tests.browser", "tests.pages"]

FIRST_LOAD_BYTES, FIRST_LOAD_REQUESTS = 80_000, 8


@pytest.fixture
def folder(tmp_path):
    """`pages(name=text, …)`: what is served of these files."""

    def write(**files: str) -> Pages:
        pages = {}
        for name, text in files.items():
            path = tmp_path / name.replace("_", ".")
            path.write_text(text)
            pages[f"/toy/{path.name}"] = Page(path, path.read_bytes())
        return Pages(pages)

    return write


def test_a_script_is_served_with_all_that_it_imports(folder):
    pages = folder(
        main_js='import { two as zwei } from "./two.js";\nconst one = 1;\nshow(one + zwei);\n',
        two_js='import * as clock from "/tickstorm/clock.js";\nconst one = 2;\n'
        "export { one as two };\n",
    )
    alone, whole = pages.find("/toy/main.js"), pages.find("/toy/main.js", "whole")
    assert alone.body.startswith(b"import")
    assert b"import" not in whole.body and b"class PlaybackClock" in whole.body
    assert whole.tag != alone.tag and gzip.decompress(whole.compressed) == whole.body


def test_a_change_on_the_disk_is_served_at_once(folder, tmp_path):
    pages = folder(main_js='import { a } from "./a.js";\nshow(a);', a_js="export const a = 1;")
    (tmp_path / "a.js").write_text("export const a = 2;")
    assert b"a=2" in pages.find("/toy/main.js", "whole").body


@pytest.mark.parametrize(
    "text",
    [
        'import one from "./a.js";\n',
        'import { a } from "./gone.js";\n',
        'import { b } from "./main.js";\nexport const b = 1;\n',
    ],
    ids=["a default", "a module that is not there", "a circle"],
)
def test_what_cannot_be_joined_is_served_as_it_is(folder, text):
    pages = folder(main_js=text, a_js="export const a = 1;")
    assert pages.find("/toy/main.js", "whole").body == text.encode()


def test_only_what_was_there_at_the_start_is_served(folder, tmp_path):
    pages = folder(index_html="hello")
    (tmp_path / "later.js").write_text("secret")
    assert pages.find("/toy/").body == b"hello"
    assert pages.find("/toy/later.js") is None and pages.find("/toy/../toy/index.html") is None
    assert pages.is_folder("/toy") and not pages.is_folder("/toy/index.html")


def test_the_arena_loads_in_few_small_answers(visit):
    with LiveServer() as server:
        page = visit(server.page + "?mute")
        page.wait_for_selector("#play")
        page.wait_for_function("() => document.querySelector('#rooms li')")
        loaded = page.evaluate(
            """() => performance.getEntries()
              .filter((e) => e.transferSize > 0).map((e) => [e.name, e.transferSize])"""
        )
    assert sum(size for _, size in loaded) < FIRST_LOAD_BYTES, loaded
    assert len(loaded) <= FIRST_LOAD_REQUESTS, loaded


def test_a_page_may_have_its_script_in_it_and_nothing_else_runs(visit, tmp_path):
    rules = tmp_path / "toy.py"
    rules.write_text("from tickstorm import Room\n\n\nclass Toy(Room):\n    capacity = 2\n")
    (tmp_path / "index.html").write_text(
        "<!doctype html><style>p { color: rgb(1, 2, 3) }</style><p onclick='ran = 2'>hello</p>"
        "<script type='module'>globalThis.ran = 1;</script>"
    )
    with LiveServer(GAMES=rules) as server:
        page = visit(server.page)
        for _ in range(2):  # the second time it is the browser's own copy, found to be fresh
            assert page.evaluate("() => ran") == 1
            page.click("p")
            assert page.evaluate("() => ran") == 1
            assert page.evaluate("() => getComputedStyle(document.querySelector('p')).color") == (
                "rgb(1, 2, 3)"
            )
            page.reload()


def test_no_page_asks_for_a_piece_that_cannot_be_made(caplog):

    examples = sorted(
        str(path) for path in Path("examples").glob("*/*.py") if path.stem == path.parent.name
    )
    Pages(pages_of(load(["game", *examples])))
    assert caplog.text == ""
