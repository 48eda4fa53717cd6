"""What did an agent's action use, and does a prompt show it? Paths, symbols, errors and lines.

Evidence is read off the action's text alone, literally: the same word, the same path or the end of
a longer one, the same line but for spaces and the number in front of it. What an agent took from a
prompt and said in other words is not seen.

>>> [str(found) for found in sorted(evidence_in("sed\\npath: shop/till.py\\nby: total_of(x)"))]
['path shop/till.py', 'symbol total_of']
>>> shown_in("  12: x\\nin ./shop/till.py").shows(ActionEvidence("path", "till.py"))
True
"""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

PATH, SYMBOL, ERROR, LINE = "path", "symbol", "error", "line"
SHORTEST = 16
"Characters of a line that can be evidence; shorter ones repeat by chance."
_ENDS = frozenset((
    "py", "pyi", "pyx", "js", "jsx", "mjs", "ts", "tsx", "json", "jsonl", "md", "rst", "txt",
    "toml", "cfg", "ini", "yaml", "yml", "sh", "bash", "go", "rs", "c", "h", "cc", "cpp", "hpp",
    "java", "kt", "rb", "php", "css", "scss", "html", "htm", "xml", "sql", "lock", "csv", "tsv",
    "ipynb", "log", "env", "diff", "patch", "swift", "lua",
))  # fmt: skip
_PATH = re.compile(r"[\w@+~.\-]*(?:/[\w@+~.\-]+)+/?|[\w@+~\-][\w@+~.\-]*\.\w{1,5}")
_WORD = re.compile(r"[A-Za-z_]\w{2,}")
_CODE = re.compile(r"\w_\w|[a-z0-9][A-Z]")
"Words that no plain text has: snake_case and camelCase."
_USED = re.compile(
    r"(?:\b(?:def|class|func|fn|function)\s+|\.)([A-Za-z_]\w{2,})|([A-Za-z_]\w{2,})\("
)
_EVERYWHERE = frozenset((
    "abs", "all", "any", "append", "bool", "class", "close", "cls", "decode", "dict", "encode",
    "endswith", "enumerate", "except", "exec", "exit", "extend", "find", "float", "for", "format",
    "function", "get", "getattr", "hasattr", "if", "index", "input", "insert", "int", "isinstance",
    "items", "join", "keys", "len", "list", "log", "lower", "map", "max", "min", "next", "open",
    "path", "pop", "print", "push", "range", "read", "replace", "repr", "return", "round", "self",
    "set", "setattr", "sleep", "sort", "sorted", "split", "startswith", "str", "strip", "sum",
    "super", "switch", "test", "this", "tuple", "type", "update", "upper", "values", "while",
    "write", "zip",
))  # fmt: skip
"Names that every program calls: using one tells nothing of where it was read."
_ERROR = re.compile(r"[A-Z]\w*(?:Error|Exception|Warning)")
_NUMBER = re.compile(r"^\s*\d+\s*(?:[:|\t→]|\s{2})\s*")
_LABEL = re.compile(r"^[a-z_]{1,24}: ")
"The name of an argument, in front of its first line."


class ActionEvidence(NamedTuple):
    """A thing that an action used."""

    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind} {self.text}"


class ShownText(NamedTuple):
    """What a text shows."""

    words: frozenset[str]
    paths: frozenset[str]
    lines: frozenset[str]

    def shows(self, evidence: ActionEvidence) -> bool:
        """Return whether it shows a thing."""
        by_kind = {PATH: self.paths, LINE: self.lines}
        return evidence.text in by_kind.get(evidence.kind, self.words)


def evidence_in(action: str) -> frozenset[ActionEvidence]:
    """Return what an action names: code and places, not plain words."""
    found = {ActionEvidence(PATH, path) for path in _paths(action)}
    for word in _WORD.findall(action):
        if _ERROR.fullmatch(word):
            found.add(ActionEvidence(ERROR, word))
        elif _CODE.search(word):
            found.add(ActionEvidence(SYMBOL, word))
    for groups in _USED.findall(action):
        word = groups[0] or groups[1]
        if not _ERROR.fullmatch(word) and word.lower() not in _ENDS and word not in _EVERYWHERE:
            found.add(ActionEvidence(SYMBOL, word))
    return frozenset(found | {ActionEvidence(LINE, line) for line in _lines(action, labels=False)})


def shown_in(text: str) -> ShownText:
    """Return what a text shows."""
    words = frozenset(_WORD.findall(text))
    paths = frozenset(end for path in _paths(text) for end in _path_ends(path))
    return ShownText(words, paths, frozenset(_lines(text, labels=True)))


def _paths(text: str) -> Iterator[str]:
    for found in _PATH.findall(text):
        path = found.rstrip("/.").removeprefix("./")
        end = path.rpartition(".")[2].lower()
        named = end in _ENDS and not path.startswith(".")
        if named or (path.count("/") > 1 and re.search(r"[A-Za-z]{2}", path)):
            yield path


def _path_ends(path: str) -> Iterable[str]:
    """Yield a path, and each path that it ends with."""
    yield path
    names = path.lstrip("/").split("/")
    for place in range(len(names)):
        yield "/".join(names[place:])


def _lines(text: str, *, labels: bool) -> Iterator[str]:
    """Yield the lines that can be evidence; with `labels` also as they stand behind a name."""
    for line in text.splitlines():
        if SHORTEST <= len(line) <= 2_000:
            plain = " ".join(_NUMBER.sub("", line).split())
            bare = _LABEL.sub("", plain)
            for shown in (plain, bare) if labels and bare != plain else (bare,):
                if len(shown) >= SHORTEST and len(_WORD.findall(shown)) > 1:
                    yield shown
