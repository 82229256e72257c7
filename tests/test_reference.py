"""docs/reference/python.md has a row for everything public, with the signature of the code."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import tickstorm
from tickstorm import client, testing
from tickstorm.games.speaker import Speaker

PAGE = (Path(__file__).parent.parent / "docs" / "reference" / "python.md").read_text()
OF_THE_ENGINE = {"kind", "apply", "apply_state", "apply_patch"}
"""Public in classes that authors use, and not for them."""


def signature(name: str, function: Any) -> str:
    """As the page has it: without types, and without what is given by itself."""
    given = ("self", "function") if name == "message" else ("self",)
    kept = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for key, parameter in inspect.signature(function).parameters.items()
        if key not in given
    ]
    return name + str(inspect.Signature(kept))


def members(*classes: type) -> set[str]:
    """What these classes have, each as it is written in a row."""
    found = set()
    for cls in classes:
        for name, value in vars(cls).items():
            if name.startswith("_") or name in OF_THE_ENGINE:
                continue
            if inspect.isfunction(value):
                found.add(signature(name, value))
            elif isinstance(value, property) or inspect.isdatadescriptor(value):
                found.add(name)
            elif isinstance(value, type):
                found.add(f"{name} = {value.__name__}")
            else:
                found.add(f"{name} = {value!r}")
    return found


def functions(*names: str) -> set[str]:
    return {signature(name, getattr(tickstorm, name)) for name in names}


SECTIONS = {
    "Room": members(tickstorm.Room) | {"on_auth(name, options)"},
    "Entity": members(tickstorm.Entity),
    "Player": members(tickstorm.Player) | {"alive"},
    "Declarations": functions("synced", "setting", "message") | {"Refuse(why)", "DeclarationError"},
    "Checks": functions("whole", "number", "text", "flag", "choice"),
    "World": members(tickstorm.World, Speaker) - {"call(slot, name, values)"}
    | {"tick", "dt", "random"},
    "Tests of rules": members(testing.Rehearsal, testing.View, testing.StateTree)
    | {"sent", "kicked", "game", "entities", "tick"},
    "A client in Python": members(client.Client, client.view.RoomView)
    | {"url", "session"}
    | {
        signature(happening.__name__, happening)
        for happening in (client.Event, client.Changed, client.Answer, client.Notice)
        + (client.Fault, client.Welcomed)
    },
}


def section(title: str) -> str:
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## )", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None, title
    return found[1]


def rows(text: str) -> list[str]:
    return re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)


@pytest.mark.parametrize("title", SECTIONS)
def test_each_public_name_has_a_row_that_is_as_the_code_has_it(title):
    written = rows(section(title))
    assert set(written) == SECTIONS[title]
    assert len(written) == len(set(written)) or title == "Tests of rules"  # two have `players`


def test_everything_that_can_be_imported_is_on_the_page():
    for name in [*tickstorm.__all__, "connect", "tickstorm.aio", "tickstorm.testing"]:
        assert re.search(rf"\b{re.escape(name)}\b", PAGE), name
    for name in ("Kind", "Column"):
        assert f"`{signature(name, getattr(tickstorm, name))}`" in PAGE
    for name, function in (("connect", tickstorm.connect), ("rehearse", testing.rehearse)):
        assert f"`{signature(name, function)}`" in PAGE
    crowd = section("Tests of rules").rpartition("A crowd's rehearsal")[2]
    assert set(re.findall(r"`([^`]+)`", crowd)) == members(testing.CrowdRehearsal)


def test_what_a_room_declares_and_may_call_says_in_the_code_what_it_is():
    """A docstring, or a text below the attribute; the site and editors show them."""
    source = inspect.getsource(tickstorm.Room)
    for name, value in vars(tickstorm.Room).items():
        if name.startswith("_") or name in OF_THE_ENGINE:
            continue
        if inspect.isfunction(value) or isinstance(value, property):
            assert value.__doc__, name
        else:
            assert re.search(rf'^    {name}: ClassVar.*\n    """', source, re.MULTILINE), name
