"""Code that left a history and came back later in another form: pairs of commits, by one rule.

Walk the first parents from the oldest on, and keep each line that functions lost. A later commit
gives a pair where a function that it adds or changes gains lines of which

- at least half, and no fewer than `LEAST`, stood in one function of an earlier version, which
- was lost at least `APART` commits before, and
- are in no module of the tree right before the later commit.

Lines are compared without their indentation; short ones, comments and docstrings do not count. The
function must differ from the one that was lost: an undone commit that is done again as it was gives
no pair. A function that the later commit adds is a solution that comes back, one that it changes is
a fix. A commit gives at most one pair, and a lost function too: its largest. The rule looks at git
alone, and at nothing that a context shows.
"""

import ast
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from scripts.benches.context_source import DEFS, code_of
from scripts.benches.context_trees import TEST, Repository

VERSION = 1
"A number that grows when the same history would give other pairs."
LEAST = 3
"The fewest lines that come back."
APART = 10
"Commits between the loss and the return."
SHORTEST = 12
"Characters of a line that counts."
MOST = 10
"The most changed modules of a commit that gives a pair, at either end."


class Lost(NamedTuple):
    """A version of a function that was there, and its lines."""

    path: str
    name: str
    sha: str
    "The commit that wrote the version."
    number: int
    "The number of the commit that lost it."
    lines: frozenset[str]


class Pair(NamedTuple):
    """A function that comes back, and where it was before."""

    kind: str
    "solution or fix."
    earlier: str
    "The commit that wrote the lost version."
    earlier_path: str
    earlier_name: str
    later: str
    parent: str
    path: str
    name: str
    shared: tuple[str, ...]
    "Lines that the lost version held and that the later commit gained, without indentation."
    gained: int
    "Lines that the later function gained in all."

    @property
    def id(self) -> str:
        """The name of the pair."""
        return f"{self.earlier[:10]}..{self.later[:10]}:{self.path}::{self.name}"


class Step(NamedTuple):
    """A commit along first parents, with the Python modules that it changed."""

    sha: str
    parent: str
    changes: tuple[tuple[str, str, str], ...]
    "Path, object before and after; zeros where there is none."


@dataclass
class _Walk:
    """What is known of a history at one commit."""

    texts: "_Texts"
    held: Counter[str] = field(default_factory=Counter)
    "Of each line the modules that hold it."
    written: dict[tuple[str, str], str] = field(default_factory=dict)
    "By path and function, the commit that wrote its version."
    lost: dict[str, list[Lost]] = field(default_factory=dict)
    "By line, the lost functions that held it."
    used: set[tuple[str, str, str]] = field(default_factory=set)
    "Lost versions that a pair names."


class _Text(NamedTuple):
    """The lines of a module that count: all of them, and those of each function's code."""

    lines: frozenset[str] = frozenset()
    functions: Mapping[str, frozenset[str]] = {}


class _Texts:
    """The modules of a repository by object, in a cache."""

    def __init__(self, repository: Repository) -> None:
        self.of = lru_cache(4_000)(
            lambda oid: _text(repository.body(oid)) if oid.strip("0") else _Text()
        )


def pairs_of(repository: Repository) -> list[Pair]:
    """Return the pairs of a history, in the order of their later commits."""
    walk, found = _Walk(_Texts(repository)), list[Pair]()
    for number, step in enumerate(steps_of(repository)):
        if step.parent and 0 < len(step.changes) <= MOST:
            found += _pair(walk, step, number)
        _take(walk, step, number)
    return found


def steps_of(repository: Repository) -> Iterator[Step]:
    """Yield the commits along first parents, the oldest first, merges as the change they made."""
    text = repository.git(
        "log", "--first-parent", "--diff-merges=first-parent", "--reverse", "--raw", "--no-renames",
        "--no-abbrev", "--format=commit %H %P", "HEAD",
    )  # fmt: skip
    sha, parent, changes = "", "", list[tuple[str, str, str]]()
    for line in [*text.split("\n"), "commit"]:
        if line.startswith("commit"):
            if sha:
                yield Step(sha, parent, tuple(changes))
            _, sha, parent, *_ = [*line.split(), "", ""]
            changes = []
        elif line.startswith(":"):
            head, _, path = line.partition("\t")
            _, mode, before, after, _ = head.split()
            if path.endswith(".py") and not TEST.search(path) and mode in ("100644", "100755",
                                                                           "000000"):  # fmt: skip
                changes.append((path, before, after))


def _pair(walk: _Walk, step: Step, number: int) -> list[Pair]:
    """Return the pair that a commit gives, before its changes are taken; empty for none."""
    best: tuple[int, Pair] | None = None
    for path, before, after in step.changes:
        old, new = walk.texts.of(before).functions, walk.texts.of(after).functions
        for name, lines in new.items():
            gained = lines - old.get(name, frozenset())
            least = max(LEAST, (len(gained) + 1) // 2)
            back = sorted(line for line in gained if line in walk.lost and not walk.held[line])
            one = _lost(walk, back, number) if len(back) >= least else None
            shared = tuple(line for line in back if one and line in one.lines)
            if one is None or len(shared) < least or one.lines == lines:
                continue
            pair = Pair("fix" if name in old else "solution", one.sha, one.path, one.name,
                        step.sha, step.parent, path, name, shared, len(gained))  # fmt: skip
            if best is None or len(shared) > best[0]:
                best = len(shared), pair
    if best is None:
        return []
    pair = best[1]
    walk.used.add((pair.earlier_path, pair.earlier_name, pair.earlier))
    return [pair]


def _lost(walk: _Walk, back: Sequence[str], number: int) -> Lost | None:
    """Return the lost function that held most of some lines, the latest of equals."""
    held = Counter(
        one
        for line in back
        for one in dict.fromkeys(walk.lost[line])
        if number - one.number >= APART and (one.path, one.name, one.sha) not in walk.used
    )
    return max(held, key=lambda one: (held[one], one.number, one.path, one.name), default=None)


def _take(walk: _Walk, step: Step, number: int) -> None:
    """Take a commit's changes."""
    for path, before, after in step.changes:
        past, now = walk.texts.of(before), walk.texts.of(after)
        old, new = past.functions, now.functions
        walk.held.subtract(past.lines)
        walk.held.update(now.lines)
        for name, lines in old.items():
            gone = lines - new.get(name, frozenset())
            if new.get(name) != lines:
                sha = walk.written.pop((path, name), "")
                one = Lost(path, name, sha, number, lines)
                for line in gone if sha else ():
                    walk.lost.setdefault(line, []).append(one)
        for name, lines in new.items():
            if old.get(name) != lines:
                walk.written[path, name] = step.sha


def counts(line: str) -> bool:
    """Return whether a line without its indentation says enough to be compared."""
    return len(line) >= SHORTEST and not line.startswith(("#", '"""', "'''", "@"))


def _text(body: bytes | None) -> _Text:
    text = (body or b"").decode(errors="replace").replace("\r\n", "\n")
    lines = text.split("\n")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        tree = ast.Module([], [])
    return _Text(frozenset(_counting(lines)), dict(_functions(tree, "", lines)))


def _functions(
    node: ast.AST, scope: str, lines: Sequence[str]
) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield the functions and methods of a module with the lines of their code that count."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            yield from _functions(child, f"{scope}{child.name}.", lines)
        elif isinstance(child, DEFS):
            code = code_of(child)
            own = lines[code[0].lineno - 1 : child.end_lineno] if code else []
            yield f"{scope}{child.name}", frozenset(_counting(own))
        elif isinstance(child, ast.If | ast.Try | ast.With | ast.ExceptHandler):
            yield from _functions(child, scope, lines)


def _counting(lines: Sequence[str]) -> Iterator[str]:
    return filter(counts, map(str.strip, lines))
