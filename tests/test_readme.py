"""What the README says of itself is true."""

from __future__ import annotations

import re
from pathlib import Path

from tickstorm import config

ROOT = Path(__file__).parent.parent


def test_the_table_of_options_is_the_one_that_the_code_has():
    assert config.table() in (ROOT / "README.md").read_text()


def test_every_file_that_the_documents_link_to_or_name_exists():
    for document in ROOT.glob("*.md"):
        text = document.read_text()
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (ROOT / target).exists(), f"{document.name} links to {target}"
        for name in re.findall(r"`((?:server|game|clients|bench|tests)/[\w/.]+)`", text):
            assert (ROOT / name).exists(), f"{document.name} names {name}"


def test_every_make_target_that_the_readme_names_exists():
    makefile, readme = (ROOT / "Makefile").read_text(), (ROOT / "README.md").read_text()
    for target in re.findall(r"(?:^|`)(?:[A-Z_]+=\S+ )*make ([\w-]+)", readme, re.M):
        assert re.search(rf"^{target}:", makefile, re.M), target
