"""The command `tickstorm`: help that teaches, one-line errors, projects that pass their tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tickstorm.cli import COMMANDS, OWN_PARSER, main
from tickstorm.cli.new import presets
from tickstorm.cli.rules import rules_in, specs_of
from tickstorm.cli.run import CHATTER, Watch, check
from tickstorm.client.bot import Whims
from tickstorm.client.state import KindSchema, Record

SERVER = Path(__file__).parent.parent / "server"

ROOM = "from tickstorm import Room\n\nclass Dots(Room):\n    pass\n"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to be in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told(capsys, *arguments: str) -> tuple[int, str, str]:
    """Exit code, output and errors of a command."""
    code = main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in OWN_PARSER])
def test_help_teaches_by_example(command, capsys):
    code, said, _ = told(capsys, command, "--help")
    assert code == 0 and f"tickstorm {command}" in said and "example" in said


@pytest.mark.parametrize("command", OWN_PARSER)
def test_whole_programs_have_help_of_their_own(command, capsys):
    code, said, _ = told(capsys, command, "--help")
    assert code == 0 and "usage" in said


def test_without_a_command_it_tells_the_first_steps(capsys):
    code, said, _ = told(capsys)
    assert code == 2 and "tickstorm new mygame" in said


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["fly"], "invalid choice: 'fly'"),
        (["new"], "required: DIR"),
        (["new", "a", "--preset", "chess"], "invalid choice: 'chess'"),
        (["run", "--port", "0"], "allowed is 1 to 65535"),
        (["run", "--option", "TICKHZ=30"], "did you mean TICK_HZ?"),
        (["run", "--option", "TICK_HZ"], "such as TICK_HZ=30"),
        (["bots", "--players", "x"], "allowed is 1 to 5000"),
    ],
)
def test_a_wrong_command_line_is_told_in_one_line(arguments, reason, capsys):
    code, said, error = told(capsys, *arguments)
    assert (code, said, error.count("\n")) == (2, "", 1)
    assert reason in error and "--help`" in error


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["run"], "`tickstorm new mygame` makes one"),
        (["run", "tag.py"], "there is no file tag.py"),
        (["types", "tag.py"], "there is no file tag.py"),
        (["new", "---"], "makes no name of a game"),
        (["bots", "http://127.0.0.1:9"], "start one with `tickstorm run`"),
    ],
)
def test_what_goes_wrong_is_told_with_what_to_do(arguments, reason, here, capsys):
    if arguments == ["new", "---"]:
        arguments = ["new", "--", "---"]
    code, said, error = told(capsys, *arguments)
    assert (code, said, error.count("\n")) == (1, "", 1) and reason in error


# ------------------------------------------------------------------ finding rules


def test_the_one_file_with_a_room_is_meant(here):
    Path("dots.py").write_text(ROOM)
    Path("helpers.py").write_text("def help(): ...\n")
    Path("test_dots.py").write_text(ROOM)
    assert specs_of([]) == ["dots.py"] == [str(path) for path in rules_in(Path("."))]


def test_several_files_with_rooms_are_listed(here, capsys):
    for name in ("one.py", "two.py"):
        Path(name).write_text(ROOM)
    code, _, error = told(capsys, "run")
    assert code == 1 and "name one of them: one.py, two.py" in error


def test_rules_may_be_named_in_many_ways(here):
    Path("dots.py").write_text(ROOM)
    Path("other").mkdir()
    Path("other/more.py").write_text(ROOM)
    named = ["dots", "dots.py:Dots", "other", "some.module"]
    assert specs_of(named) == ["dots.py", "dots.py:Dots", "other/more.py", "some.module"]


def test_rules_that_do_not_parse_are_found_too(here):
    Path("dots.py").write_text(ROOM + "    def step(self, dt:\n")
    assert specs_of([]) == ["dots.py"]


# ------------------------------------------------------------------ new


@pytest.mark.parametrize("preset", presets())
def test_a_new_project_passes_its_own_tests(preset, here, capsys):
    code, said, _ = told(capsys, "new", "my-game", "--preset", preset)
    assert code == 0 and "tickstorm run --dev" in said
    project = here / "my-game"
    names = {path.name for path in project.iterdir()}
    wanted = {"mygame.py", "test_mygame.py", "page", "uwsgi.ini", "README.md", ".gitignore"}
    assert names == wanted and {"index.html", "page.js"} <= {
        path.name for path in (project / "page").iterdir()
    }
    for path in project.rglob("*.*"):
        assert "newgame" not in path.read_text().lower(), path
    assert len((project / "README.md").read_text().splitlines()) < 30
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=project,
        env=os.environ | {"PYTHONPATH": str(SERVER)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


def test_nothing_is_overwritten(here, capsys):
    Path("dots").mkdir()
    Path("dots/notes.txt").write_text("mine")
    code, _, error = told(capsys, "new", "dots")
    assert code == 1 and "not empty" in error and os.listdir("dots") == ["notes.txt"]


# ------------------------------------------------------------------ run


def test_a_mistake_in_the_rules_is_told_with_its_place(here):
    Path("dots.py").write_text(ROOM.replace("pass", "on_jion = lambda self, player: None"))
    assert check(["dots.py"], dict(os.environ)) != ""
    Path("dots.py").write_text("from tickstorm import Nothing\n")
    assert "dots.py:1: ImportError" in check(["dots.py"], dict(os.environ))
    Path("dots.py").write_text("def (\n")
    assert "dots.py:1: SyntaxError" in check(["dots.py"], dict(os.environ))


def test_what_is_saved_is_noticed(here):
    Path("dots.py").write_text(ROOM)
    Path("test_dots.py").write_text("")
    watch = Watch(["dots.py:Dots"])
    assert watch.saved() == []
    os.utime("dots.py", ns=(1, 1))
    os.utime("test_dots.py", ns=(1, 1))
    Path("helper.py").write_text("")
    assert {path.name for path in watch.saved()} == {"dots.py", "helper.py"}
    assert watch.saved() == []


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("*** Starting uWSGI 2.0.30 (64bit) ***\n", False),
        ("spawned uWSGI worker 1 (pid: 7, cores: 9)\n", False),
        ("tickstorm: no game is named\n", True),
        ("2026-01-01 00:00:00,000 I tickstorm: serves\n", True),
        ("Traceback (most recent call last):\n", True),
        ('  File "tag.py", line 7, in step\n', True),
        ("ZeroDivisionError: division by zero\n", True),
    ],
)
def test_of_what_uwsgi_says_the_news_is_shown(line, shown):
    assert (CHATTER.match(line) is None) == shown


# ------------------------------------------------------------------ config, bots


def test_config_shows_what_is_set_here(capsys, monkeypatch):
    monkeypatch.setenv("TICK_HZ", "30")
    code, said, _ = told(capsys, "config")
    assert code == 0 and "TICK_HZ=30   (set here)" in said
    assert "from 10 to 60" in " ".join(said.split())  # lines are as wide as the terminal
    monkeypatch.setenv("TICK_HZ", "300")
    code, _, error = told(capsys, "config", "--check")
    assert code == 1 and "TICK_HZ=300 is not allowed" in error


def test_the_ini_of_the_package_is_there(capsys):
    _, said, _ = told(capsys, "config", "--ini")
    assert Path(said.rpartition("ini = ")[2].strip()).is_file()


def test_bots_name_entities_that_they_see_and_say_what_they_never_said():
    kinds = [[name, [["x", "int", 0, None]]] for name in ("room", "thief", "card", "loot")]
    messages = {
        "turn": [["card", "Card", None, None]],
        "give": [["loot", "Loot", None, None], ["to", "Thief", None, None]],
        "wave": [["to", "Thief | None", None, None], ["at", "Entity", None, None]],
    }
    seen = [Record(id, KindSchema(kinds[kind])) for id, kind in ((0, 0), (4, 1), (7, 2), (9, 2))]
    whims = Whims(3, {"kinds": kinds, "messages": messages}, messages=True)
    assert whims.unsaid.keys() == messages.keys()
    said = [each for each in (whims.message(seen) for _ in range(300)) if each]
    assert {tuple(values) for name, values in said if name == "turn"} == {(7,), (9,)}
    waved = {tuple(values) for name, values in said if name == "wave"}
    assert waved == {(4, 4), (4, 7), (4, 9)}, "a base class may be any entity"
    assert whims.unsaid == {"give": "it takes a loot, and none was seen"}
    unseen = Whims(3, {"kinds": kinds, "messages": messages}, messages=True)
    assert not any(unseen.message() for _ in range(300))


def test_bots_do_what_the_declaration_allows():
    declaration = {
        "input": [
            ["dx", "int", -1, 1, 0],
            ["aim", "float", 0.0, 6.3, 0.0],
            ["fire", "bool", None, None, False],
            ["tool", "Literal['pen', 'rubber']", None, None, "pen"],
        ],
        "messages": {
            "say": [["words", "str", 0, 3]],
            "draw": [["points", "list[tuple[int, int]]", None, None], ["at", "int | None"]],
        },
    }
    whims = Whims(7, declaration, messages=True)
    inputs = [whims.input() for _ in range(50)]
    assert {each["dx"] for each in inputs} == {-1, 0, 1}
    assert {each["tool"] for each in inputs} == {"pen", "rubber"}
    assert all(0 <= each["aim"] <= 6.3 and isinstance(each["fire"], bool) for each in inputs)
    said = [whims.message() for _ in range(200)]
    assert 20 < sum(each is not None for each in said) < 90
    for name, arguments in filter(None, said):
        if name == "say":
            assert isinstance(arguments[0], str) and len(arguments[0]) <= 3
        else:
            assert all(len(point) == 2 for point in arguments[0])
