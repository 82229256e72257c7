"""How `tickstorm run --dev` tells its server that rules were saved: by a file in DATA_DIR."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any


def path_for(data_dir: str, port: int) -> Path:
    """Where it is noted."""
    return Path(data_dir) / f"saved-{port}.json"


def note(path: Path, files: list[Path], problem: str = "") -> None:
    """These files were saved; `problem`: what is wrong with them, if anything."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    row = {"files": [str(file.resolve()) for file in files], "problem": problem, "at": time.time()}
    fresh.write_text(json.dumps(row))
    fresh.replace(path)


def read(path: Path) -> dict[str, Any]:
    """``{files, problem, at}``."""
    row: dict[str, Any] = json.loads(path.read_text())
    return row
