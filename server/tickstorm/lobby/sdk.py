"""The client SDK as it is served: each module as it was written under `/tickstorm/`, and
`/tickstorm.js`, all of them in one piece, so that a page asks once instead of a dozen times.

The piece is made here, when the server starts: nobody builds anything. Modules are written so
that this is simple: they import by name, declare nothing twice at the top level, end statements
with semicolons, and have no template inside of a template.
"""

from __future__ import annotations

import gzip
import posixpath
import re
from collections import Counter
from collections.abc import Iterable
from functools import cache, lru_cache
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "sdk"
ENTRY = "tickstorm.js"

_IMPORT = re.compile(r'^import \{([^}]*)\} from "\./([\w.]+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=class|const|function|async)", re.MULTILINE)
_DECLARED = re.compile(r"^(?:export )?(?:async )?(?:class|const|let|function) (\w+)", re.MULTILINE)
_OWN = re.compile(
    r"^(?:\s*(?:for \()?(?:const|let)|(?:async )?(?:class|function)) (\w+)", re.MULTILINE
)
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

_BEFORE_METHODS = {*"{};*", "static", "async", "get", "set"}
_SHORTER = {"const": "let", "true": "!0", "false": "!1", "undefined": "void 0"}


@cache
def files(folder: Path = FOLDER) -> dict[str, bytes]:
    """What is served, by its path."""
    modules = {path.name: path.read_text() for path in sorted(folder.glob("*.js"))}
    served = {f"/tickstorm/{name}": text.encode() for name, text in modules.items()}
    served[f"/{ENTRY}"] = compact(joined(modules)).encode()
    return served


@lru_cache(maxsize=1024)
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


_ANY_IMPORT = re.compile(
    r'^(?:import (?:([^"]+?) from )?|export (\* from) )"([^"]+)";\n?', re.MULTILINE
)
_EXPORT_LIST = re.compile(r"^export \{([^}]*)\};\n?", re.MULTILINE)
_EXPORTED = re.compile(r"^export (?:async )?(?:class|const|let|function\*?) (\w+)", re.MULTILINE)
_RELATIVE = re.compile(r'import\("(\.[^"]+)"\)')


def resolved(path: str, name: str) -> str:
    """What a module at `path` means by the name of another.

    >>> resolved("/arena/main.js", "./hud.js"), resolved("/arena/main.js", "/tickstorm.js")
    ('/arena/hud.js', '/tickstorm.js')
    """
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), name))


def imports(path: str, text: str) -> list[str]:
    """The paths of what a module imports, in order.

    >>> imports("/arena/main.js", 'import { Hud } from "./hud.js";\\n')
    ['/arena/hud.js']
    """
    return [resolved(path, name) for _, _, name in _ANY_IMPORT.findall(text)]


def wrapped(modules: dict[str, str]) -> str:
    """Modules by their path as one, each in a scope of its own, so that two may use one name.
    `modules` has what a module imports before it. Raises ValueError for what can't be joined:
    default imports and exports.

    >>> print(
    ...     wrapped(
    ...         {
    ...             "/a.js": "export const one = 1;",
    ...             "/b.js": 'import { one as two } from "./a.js";\\nshow(two);',
    ...         }
    ...     )
    ... )
    const $0=(()=>{const one=1;return{one}})();
    const $1=(()=>{const{one:two}=$0;show(two);return{}})();
    """
    numbers = {path: f"${number}" for number, path in enumerate(modules)}
    pieces = []
    for path, text in modules.items():
        head, exported = "", _EXPORTED.findall(text)
        for what, everything, name in _ANY_IMPORT.findall(text):
            module = numbers[resolved(path, name)]
            if everything:
                exported.insert(0, f"...{module}")
            elif what.startswith("* as "):
                head += f"const {what[5:]}={module};"
            elif what.startswith("{"):
                names = "".join(what.replace(" as ", ":").split())
                head += f"const{names}={module};"
            elif what:
                raise ValueError(f"{path} imports the default of {name}")
        for names in _EXPORT_LIST.findall(text):
            pairs = [name.split() for name in names.split(",") if name.strip()]
            exported += [f"{pair[-1]}:{pair[0]}" for pair in pairs]
        text = _EXPORT_LIST.sub("", _ANY_IMPORT.sub("", text))
        text = _EXPORTED.sub(lambda found: found[0].removeprefix("export "), text)
        if re.search(r"^export\b", text, re.MULTILINE):
            raise ValueError(f"{path} has an export that is no declaration")
        for name in set(_RELATIVE.findall(text)):
            text = text.replace(f'import("{name}")', f'import("{resolved(path, name)}")')
        body = f"{head}{spaceless(text)}return{{{','.join(exported)}}}"
        pieces.append(f"const {numbers[path]}=(()=>{{{body}}})();")
    return "\n".join(pieces)


def spaceless(text: str) -> str:
    """Without comments and what is blank in lines; lines stay, for they may end a statement.

    >>> spaceless("let a = 1 // one\\n  + '//';\\n\\n")
    "let a=1\\n+'//';\\n"
    """
    out, gap = [""], ""
    for match in _TOKEN.finditer(text):
        token = match[0]
        if match.lastgroup == "left":
            gap = "\n" if "\n" in gap + token else " "
            continue
        words = re.match(r"[\w$#]", token) and re.search(r"[\w$]$", out[-1])
        if gap and (gap == "\n" or words or token[0] in "+-/" and out[-1][-1:] == token[0]):
            out.append(gap)
        out.append(token)
        gap = ""
    return "".join(out) + (gap if gap == "\n" else "")


def compact(text: str) -> str:
    """Without comments and spaces, with constants where they are used, and with short names of
    what is private: fields with a number sign, and what is declared and not exported.

    >>> compact("class A { #long = 1; // one\\n  get b() { return this.#long + +'a b'; } }")
    "class $a{#a=1;get b(){return this.#a+ +'a b'}}"
    >>> compact("const one = f(1);\\nlet two = [one];\\nfor (let i of two) { f(i); }")
    'let $a=f(1),$b=[$a];for(let $c of $b){f($c)}'
    """
    values: dict[str, str] = dict(_CONSTANT.findall(text))
    text = _CONSTANT.sub("", text)
    tokens = [(m.lastgroup, m[0]) for m in _TOKEN.finditer(text)]
    exported = set(re.findall(r"\w+", "".join(re.findall(r"^export .*", text, re.MULTILINE))))
    own = set(_OWN.findall(text)) - exported - _keys(tokens)
    names = _short_names("#", (token for kind, token in tokens if kind == "private"))
    names |= _short_names("$", (token for _, token in tokens if token in own))
    out: list[str] = []
    last, depth = "", 0
    declares: dict[int, bool] = {}  # by the depth of brackets: is it a declaration that goes on?
    for kind, token in tokens:
        if kind == "left":
            continue
        if kind == "private" or last != "." or out[-3:] == [*"..."]:
            token = names.get(token, values.get(token, token))
        token = _SHORTER.get(token, token)
        if token[0] == "`":
            token = re.sub(r"(?<=\.)#\w+", lambda name: names[name[0]], token)
        if token in "([{":
            depth += 1
        elif token in ")]}":
            declares.pop(depth, None)
            depth -= 1
        if token == "let" and last in ("", *";{}"):
            if last == ";" and declares.get(depth):
                out[-1] = last = ","  # one more of the same declaration
                continue
            declares[depth] = True
        elif last in (";", "}"):
            declares[depth] = False
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


def _keys(tokens: Iterable[tuple[str | None, str]]) -> set[str]:
    """Words that stand as the name of a property or of a method somewhere, or in a template.

    >>> text = "class A { at(i) { return of({ be, to: i }, not); } }"
    >>> sorted(_keys([(m.lastgroup, m[0]) for m in _TOKEN.finditer(text)]))
    ['at', 'be', 'to']
    """
    kept = [token for kind, token in tokens if kind != "left"]
    found = {word for token in kept if token[0] == "`" for word in re.findall(r"[\w$]+", token)}
    for last, word, coming in zip(kept, kept[1:], kept[2:]):
        named = coming in (":", "=") and last != "const" or coming in ",}"
        if last in "{," and named or last in _BEFORE_METHODS and coming == "(":
            found.add(word)
    return found


def _short_names(sign: str, private: Iterable[str]) -> dict[str, str]:
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    short = [first + second for first in ["", *letters] for second in letters]
    ranked = [name for name, _ in Counter(private).most_common()]
    return {name: sign + new for name, new in zip(ranked, short, strict=False)}
