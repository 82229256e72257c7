"""The client SDK as it is served: each module under `/tickstorm/`, and `/tickstorm.js`, all of
them in one piece, so that a page asks once instead of a dozen times.

The piece is made here, when it is first asked for: nobody builds anything. Modules are written so
that this is simple: they import by name, declare nothing twice at the top level, and a comment
stands on lines of its own or at the end of one.
"""

from __future__ import annotations

import gzip
import re
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "sdk"
ENTRY = "tickstorm.js"

_COMMENTS = re.compile(r"^\s*/\*\*(?s:.*?)\*/\n|^\s*//.*\n|\s+// .*$", re.MULTILINE)
_IMPORT = re.compile(r'^import \{([^}]*)\} from "\./([\w.]+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=class|const|function|async)", re.MULTILINE)
_DECLARED = re.compile(r"^(?:async )?(?:class|const|let|function) (\w+)", re.MULTILINE)
_MODULES = re.compile(r'import\("\./')


@cache
def files(folder: Path = FOLDER) -> dict[str, bytes]:
    """What is served, by its path."""
    modules = {path.name: path.read_text() for path in sorted(folder.glob("*.js"))}
    served = {f"/tickstorm/{name}": text.encode() for name, text in modules.items()}
    served[f"/{ENTRY}"] = joined(modules).encode()
    return served


@cache
def compressed(body: bytes) -> bytes:
    return gzip.compress(body, 9, mtime=0)


def joined(modules: dict[str, str]) -> str:
    """All that the entry imports and itself, as one module.

    >>> print(
    ...     joined(
    ...         {
    ...             "tickstorm.js": 'import { one } from "./one.js";\\n\\nexport const two = 2 * one;\\n',
    ...             "one.js": "/** The first. */\\nexport const one = 1; // and only\\n",
    ...         }
    ...     ),
    ...     end="",
    ... )
    const one = 1;
    export const two = 2 * one;
    """
    pieces: dict[str, str] = {}
    _gather(ENTRY, modules, pieces)
    declared = [name for piece in pieces.values() for name in _DECLARED.findall(piece)]
    if len(declared) > len(set(declared)):
        twice = sorted({name for name in declared if declared.count(name) > 1})
        raise ValueError(f"the SDK declares {', '.join(twice)} in two modules")
    return re.sub(r"^\s+", "", "".join(pieces.values()), flags=re.MULTILINE)


def _gather(name: str, modules: dict[str, str], pieces: dict[str, str]) -> None:
    """Put a module into `pieces`, behind what it imports."""
    if name in pieces:
        return
    text = modules[name]
    for _, other in _IMPORT.findall(text):
        _gather(other, modules, pieces)
    text = _IMPORT.sub("", _COMMENTS.sub("", text))
    if name != ENTRY:
        text = _EXPORT.sub("", text)
    pieces[name] = _MODULES.sub('import("./tickstorm/', text)
