"""The client SDK as it is served: each module as it was written under `/tickstorm/`, and
`/tickstorm.js`, all of them in one piece, so that a page asks once instead of a dozen times.

The piece is made here, when the server starts: nobody builds anything. Modules are written so
that this is simple: they import by name, declare nothing twice at the top level, end statements
with semicolons, and have no template inside of a template.
"""

from __future__ import annotations

import gzip
import re
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "sdk"
ENTRY = "tickstorm.js"

_IMPORT = re.compile(r'^import \{([^}]*)\} from "\./([\w.]+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=class|const|function|async)", re.MULTILINE)
_DECLARED = re.compile(r"^(?:export )?(?:async )?(?:class|const|let|function) (\w+)", re.MULTILINE)
_CONSTANT = re.compile(r'^const ([A-Z][A-Z\d_]*) = (-?[\d.]+|"[^"\n]*");.*\n', re.MULTILINE)
_LATER = re.compile(r'import\("\./')

_TOKEN = re.compile(
    r"""
      (?P<left> \s+ | /\*.*?\*/ | //[^\n]* )
    | (?P<kept> "(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*' | `(?:\\.|[^`\\])*`
        | (?<=[(,=:!&|?{};\s])/(?![/*\s])(?:\\.|\[(?:\\.|[^\]\\])*\]|[^/\\\n])+/[a-z]* )
    | (?P<private> \#\w+ )
    | (?P<word> [\w$]+ )
    | (?P<mark> \+\+ | -- | => | . )
    """,
    re.DOTALL | re.VERBOSE,
)

_SHORTER = {"const": "let", "true": "!0", "false": "!1", "undefined": "void 0"}


@cache
def files(folder: Path = FOLDER) -> dict[str, bytes]:
    """What is served, by its path."""
    modules = {path.name: path.read_text() for path in sorted(folder.glob("*.js"))}
    served = {f"/tickstorm/{name}": text.encode() for name, text in modules.items()}
    served[f"/{ENTRY}"] = compact(joined(modules)).encode()
    return served


@cache
def compressed(body: bytes) -> bytes:
    return gzip.compress(body, 9, mtime=0)


def joined(modules: dict[str, str]) -> str:
    """The entry as one module, with all that it imports. Raises ValueError for a name that two
    modules declare.

    >>> one, two = "export const one = 1;", 'import { one } from "./one.js";'
    >>> print(joined({"one.js": one, "tickstorm.js": two + "\\nexport const two = 2 * one;"}))
    const one = 1;
    export const two = 2 * one;
    """
    pieces: dict[str, str] = {}
    _gather(ENTRY, modules, pieces)
    declared = Counter(name for piece in pieces.values() for name in _DECLARED.findall(piece))
    twice = [name for name, count in declared.items() if count > 1]
    if twice:
        raise ValueError(f"the SDK's modules declare {', '.join(twice)} more than once")
    return "\n".join(pieces.values())


def _gather(name: str, modules: dict[str, str], pieces: dict[str, str]) -> None:
    """Put a module into `pieces`, behind what it imports."""
    if name in pieces:
        return
    text = modules[name]
    for _, other in _IMPORT.findall(text):
        _gather(other, modules, pieces)
    text = _IMPORT.sub("", text)
    if name != ENTRY:
        text = _EXPORT.sub("", text)
    pieces[name] = _LATER.sub('import("./tickstorm/', text)


def compact(text: str) -> str:
    """Without comments and spaces, with constants where they are used, and with short names of
    what is private: fields with a number sign, classes and tables that are not exported.

    >>> compact("class A { #long = 1; // one\\n  get b() { return this.#long + +'a b'; } }")
    "class A{#a=1;get b(){return this.#a+ +'a b'}}"
    """
    values: dict[str, str] = dict(_CONSTANT.findall(text))
    text = _CONSTANT.sub("", text)
    tokens = [(m.lastgroup, m[0]) for m in _TOKEN.finditer(text)]
    exported = set(re.findall(r"\w+", "".join(re.findall(r"^export .*", text, re.MULTILINE))))
    own = set(re.findall(r"^(?:class|const) ([A-Z]\w+)", text, re.MULTILINE)) - exported
    names = _short_names("#", (token for kind, token in tokens if kind == "private"))
    names |= _short_names("$", (token for _, token in tokens if token in own))
    out, last = [], ""
    for kind, token in tokens:
        if kind == "left":
            continue
        if kind == "private" or last != ".":
            token = names.get(token, values.get(token, token))
        token = _SHORTER.get(token, token)
        if token[0] == "`":
            token = re.sub(r"(?<=\.)#\w+", lambda name: names[name[0]], token)
        # Two words, or two signs that would be one, stay apart.
        if re.match(r"[\w$#]", token) and re.search(r"[\w$]$", last) or last[-1:] in "+-" and (
            token[0] == last[-1:]
        ):  # fmt: skip
            out.append(" ")
        if token == "}" and last == ";" or token in "])}" and last == ",":
            out.pop()  # ends what the bracket ends anyway
        if token == "=>" and re.fullmatch(r"[^\w\s]\((\w+)\)", "".join(out[-4:])):
            out[-3:] = out[-2:-1]  # one argument needs no brackets
        out.append(token)
        last = token
    return "".join(out)


def _short_names(sign: str, private: Iterable[str]) -> dict[str, str]:
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    short = [first + second for first in ["", *letters] for second in letters]
    ranked = [name for name, _ in Counter(private).most_common()]
    return {name: sign + new for name, new in zip(ranked, short, strict=False)}
