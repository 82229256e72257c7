"""The package as `pip install` brings it: in an empty environment elsewhere, a game is made,
passes its tests, runs, and is played."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import urllib.request
import venv
import zipfile
from pathlib import Path

import pytest

from tests.live_server import free_port
from tickstorm.client import ConnectError, connect

ROOT = Path(__file__).parent.parent
SOURCES = ("server/tickstorm", "clients", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from copies, so that nothing is left behind in the folder; or $WHEEL."""
    if "WHEEL" in os.environ:  # `make release`
        return Path(os.environ["WHEEL"])
    folder = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(source, target, symlinks=True, ignore=ignored)
        else:
            shutil.copy(source, target)
    pip("wheel", "--no-deps", "--wheel-dir", folder / "dist", folder)
    (built,) = (folder / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory) -> Path:
    """An environment with the wheel alone; what it depends on is borrowed from ours."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder)
    pip("--python", folder / "bin" / "python", "install", "--no-deps", wheel)
    (site,) = folder.glob("lib/python*/site-packages")
    landed = {path.name.partition("-")[0] for path in site.iterdir()}
    assert landed == {"tickstorm"}, landed
    # Our own editable install is not seen there: a .pth file of a folder that is named by one
    # is not read.
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    ours = Path(sys.executable).parent / "uwsgi"
    text = ours.read_text()
    assert text.startswith("#!"), "the wheel of uWSGI is a script"
    script = folder / "bin" / "uwsgi"
    script.write_text(f"#!{folder}/bin/python\n" + text.partition("\n")[2])
    script.chmod(0o755)
    return folder


def pip(*arguments: object) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def run(environment: Path, folder: Path, *command: str) -> str:
    done = subprocess.run(
        [environment / "bin" / command[0], *command[1:]],
        cwd=folder,
        env=clean(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def clean() -> dict[str, str]:
    """Our environment without what leads to this folder."""
    return {
        key: value
        for key, value in os.environ.items()
        if key not in ("PYTHONPATH", "VIRTUAL_ENV", "GAMES", "DATA_DIR", "PORT")
    }


def test_the_wheel_holds_one_name_and_all_it_needs(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"tickstorm"}
    inside = {name.removeprefix("tickstorm/") for name in names}
    assert inside >= {
        "uwsgi.ini",
        "lobby/directory.lua",
        "sdk/tickstorm.js",
        "sdk/tickstorm.d.ts",
        "playground/index.html",
        "cli/presets/minimal/newgame.py",
        "cli/presets/minimal/page/index.html",
        "cli/presets/common/gitignore",
    }
    assert not [name for name in inside if "test" in name and "presets" not in name
                and name != "testing.py"]  # fmt: skip


def test_a_game_is_made_and_played_far_from_here(environment, tmp_path):
    where = run(
        environment, tmp_path, "python", "-c", "import tickstorm; print(tickstorm.__file__)"
    )
    assert where.startswith(str(environment))
    run(environment, tmp_path, "tickstorm", "new", "dots")
    project = tmp_path / "dots"
    run(environment, project, "python", "-m", "pytest", "-q")

    port = free_port()
    server = subprocess.Popen(
        [environment / "bin" / "tickstorm", "run", "--port", str(port)],
        cwd=project,
        env=clean(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        address = f"http://127.0.0.1:{port}"
        with patiently(address, server) as ada, connect(address, game="dots", name="Bo") as bo:
            assert ada.id == bo.id
            x = ada.me["x"]
            ada.input(dx=1 if x < 400 else -1)
            ada.wait_for(lambda: abs(ada.me["x"] - x) > 50)
            bo.wait_for(lambda: abs(bo.entities[ada.me.id]["x"] - x) > 50)
        for path, wanted in (("/dots/", b"page.js"), ("/tickstorm.js", b"export")):
            with urllib.request.urlopen(address + path, timeout=5) as response:
                assert wanted in response.read()
    finally:
        server.send_signal(signal.SIGINT)
        said, _ = server.communicate(timeout=20)
    assert server.returncode == 0, said
    assert f"dots at {address}" in said and "uWSGI" not in said
    assert (project / "var").is_dir() and not (tmp_path / "var").exists()


def patiently(address: str, server: subprocess.Popen):
    """A client, as soon as the server lets it in."""
    until = time.monotonic() + 20
    while True:
        assert server.poll() is None, server.stdout.read()
        try:
            return connect(address, game="dots", name="Ada")
        except ConnectError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
