"""The files that a server hands out: its games' pages, the start page and the SDK.

They are as they are now on the disk, so that a page's author sees each change at once. A page's
script may be asked for in one piece, with all that it imports: `main.js?whole`. A server that
knows nothing of this answers the same address with the script alone, and the page works as well.
"""

from __future__ import annotations

import logging
import mimetypes
import os
import re
from base64 import b64encode
from collections.abc import Iterator
from functools import lru_cache
from hashlib import blake2b, sha256
from pathlib import Path
from typing import NamedTuple

from ..games.catalogue import Catalogue
from . import sdk

log = logging.getLogger("tickstorm.pages")

START = Path(__file__).parent.parent / "start"

SERVED = {
    *(".html", ".css", ".js", ".mjs", ".json", ".txt", ".svg", ".png", ".jpg", ".jpeg", ".gif"),
    *(".webp", ".ico", ".woff", ".woff2", ".mp3", ".ogg", ".wav", ".wasm", ".map", ".webmanifest"),
}
"""Endings of the files of a page that are served: rules and secrets beside it are not."""

TEXT = {".html", ".css", ".js", ".mjs", ".json", ".txt", ".svg", ".map", ".webmanifest", ".wasm"}
"""Endings of what is sent compressed to those who can read it."""

WHOLE = "whole"
"""The query of a script that is wanted with all that it imports."""

_INLINE = re.compile(rb"<(script|style)\b([^>]*)>(.*?)</\1>", re.DOTALL | re.IGNORECASE)
_ASKED_WHOLE = re.compile(rf'src="([\w./-]+\.js)\?{WHOLE}"')
_KINDS = {".js": "text/javascript", ".mjs": "text/javascript",
          ".webmanifest": "application/manifest+json"}  # fmt: skip


class Page(NamedTuple):
    """A file that is served: as it is now, or as it was at the start if it can't be read any more
    (the server may have given up root since; see privileges.py)."""

    path: Path
    kept: bytes

    def read(self) -> bytes:
        try:
            return self.path.read_bytes()
        except OSError:
            return self.kept


class Served(NamedTuple):
    """A file as it goes out."""

    body: bytes
    kind: str
    """Content type."""

    tag: str
    """ETag."""

    compressed: bytes | None
    """Gzipped, where that is worth it."""

    allowed: tuple[str, str]
    """Of a page: the hashes of the scripts and of the styles that stand in it, as a
    Content-Security-Policy names them. What somebody slips into it later does not run."""


class Pages:
    """What is served, by the path that it is asked for.

    No path of the disk is ever made from a request: only what was there at the start is found.
    """

    def __init__(self, files: dict[str, Page]):
        """`files`: as from `pages_of`, by whoever may read them all. What pages ask for in one
        piece is made now, and not while somebody plays."""
        self._files = files
        self._sdk = sdk.files()
        for path in self._wholes():
            self.find(path, WHOLE)

    def find(self, path: str, query: str = "") -> Served | None:
        """A file, or None. A path that ends with a slash means its index.html."""
        path = path + "index.html" if path.endswith("/") else path
        body = self._read(path)
        if body is None:
            return None
        if query == WHOLE and path.endswith(".js"):
            body = self._whole(path, body)
        ending = os.path.splitext(path)[1]
        kind = _KINDS.get(ending) or mimetypes.guess_type(path)[0] or "application/octet-stream"
        compressed = sdk.compressed(body) if ending in TEXT else None
        allowed = _allowed(body) if ending == ".html" else ("", "")
        return Served(body, kind, _tag(body), compressed, allowed)

    def is_folder(self, path: str) -> bool:
        """Whether there is a page at this path with a slash at its end."""
        return path + "/index.html" in self._files

    def _read(self, path: str) -> bytes | None:
        file = self._files.get(path)
        return self._sdk.get(path) if file is None else file.read()

    def _whole(self, path: str, alone: bytes) -> bytes:
        modules: dict[str, str] = {}
        try:
            _gather(path, self._read, modules)
            return _joined(tuple(modules.items()))
        except (ValueError, UnicodeDecodeError) as error:
            log.warning("%s is served without what it imports: %s", path, error)
            return alone

    def _wholes(self) -> Iterator[str]:
        for path, page in self._files.items():
            if path.endswith(".html"):
                for script in _ASKED_WHOLE.findall(page.kept.decode(errors="replace")):
                    yield sdk.resolved(path, script)


def _gather(path: str, read, modules: dict[str, str]) -> None:  # type: ignore[no-untyped-def]
    """Put a module into `modules`, behind what it imports."""
    body = read(path)
    if body is None:
        raise ValueError(f"{path} is not there")
    modules[path] = ""  # so that a circle is noticed, not followed
    text = body.decode()
    for other in sdk.imports(path, text):
        if modules.get(other) == "":
            raise ValueError(f"{path} and {other} import each other")
        if other not in modules:
            _gather(other, read, modules)
    del modules[path]
    modules[path] = text


@lru_cache(maxsize=64)
def _joined(modules: tuple[tuple[str, str], ...]) -> bytes:
    return sdk.wrapped(dict(modules)).encode()


@lru_cache(maxsize=1024)
def _tag(body: bytes) -> str:
    return f'"{blake2b(body, digest_size=12).hexdigest()}"'


@lru_cache(maxsize=256)
def _allowed(page: bytes) -> tuple[str, str]:
    """The hashes of a page's own scripts and styles.

    >>> _allowed(b"<script>1</script><script src='a.js'></script>")[0]
    "'sha256-a4ayc/80/OGda4BO/1o/V0etpOqiLx1JwB5S3beHW0s='"
    """
    found: dict[str, list[str]] = {"script": [], "style": []}
    for element, attributes, text in _INLINE.findall(page):
        if b"src=" not in attributes:
            digest = b64encode(sha256(text.replace(b"\r\n", b"\n")).digest()).decode()
            found[element.decode().lower()].append(f"'sha256-{digest}'")
    return " ".join(found["script"]), " ".join(found["style"])


def pages_of(games: Catalogue) -> dict[str, Page]:
    """What is served, by the path it is asked for: each game's page under its name, a folder
    `shared` beside a game's own, and at the root the one game's page or a list of all."""
    served: dict[str, Page] = {}
    pages = [(entry.name, entry.page) for entry in games if entry.page is not None]
    for name, page in pages:
        served |= files_in(page, f"/{name}/")
        served |= files_in(page.parent / "shared", "/shared/")
    return served | files_in(pages[0][1] if len(pages) == 1 else START, "/")


def files_in(root: Path, prefix: str) -> dict[str, Page]:
    """The files of a folder; never hidden ones, nor rules."""
    # Relative, so that it can be read where its parents can't (see privileges.py).
    root = Path(os.path.relpath(root))
    if not os.path.isdir(root):
        return {}
    return {
        prefix + path.relative_to(root).as_posix(): Page(path, path.read_bytes())
        for path in root.rglob("*")
        if path.suffix in SERVED and not path.name.startswith(".") and path.is_file()
    }
