"""Documents of the top level as pages of the site (a hook of MkDocs)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parent.parent
PAGES = {
    "API.md": "api.md",
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "PROTOCOL.md": "protocol.md",
    "SECURITY.md": "security.md",
}


def on_files(files: Any, config: Any) -> Any:
    """Add them."""
    for source, page in PAGES.items():
        text = (ROOT / source).read_text()
        files.append(File.generated(config, page, content=re.sub(LINK, _as_on_the_site, text)))
    return files


LINK = r"\[([^\]]+)\]\(([^)#:\s]+)(#[^)]*)?\)"


def _as_on_the_site(link: re.Match[str]) -> str:
    """Links between documents lead to their pages; what is no page is named without a link."""
    text, target, anchor = link[1], link[2], link[3] or ""
    if target in PAGES:
        return f"[{text}]({PAGES[target]}{anchor})"
    if target.startswith("docs/"):
        return f"[{text}]({target.removeprefix('docs/')}{anchor})"
    return text
