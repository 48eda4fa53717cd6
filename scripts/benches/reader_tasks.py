"""Functions of a history to be written, as a reader is asked how likely their bodies were.

The tasks are those of `context_tasks`, newest first, whose body is neither short nor long. What
stands before the body is the same under every method: the request, then path, title, signature and
docstring.
"""

import builtins
import io
import keyword
import re
import tokenize
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from backcast.domain.errors import InputError
from backcast.engine.context.evidence import TOP
from backcast.engine.replay.outcomes import new_lines, parted
from scripts.benches.context_source import Source, Symbol
from scripts.benches.context_tasks import Sources, Task, tasks_of
from scripts.benches.context_trees import Repository
from scripts.benches.figures import Bench

LOOKED_AT = 40
"Tasks of a repository that are looked at."
SHORTEST, LONGEST = 120, 1_600
"Characters of a body, without the spaces around its lines."
COPIED = 0.5
"The share of a body's lines that one function of before holds, from which on it is a near copy."
NAME = re.compile(r"[^\W\d]\w*")


class ReadTask(NamedTuple):
    """A function to be written, and what came of it."""

    repository: str
    task: Task
    place: int
    "The line of the old file before which it stands, counted from 1; 0 where there is no file."
    behind: str
    "What stands right before it in the new file and was there; empty where nothing does."
    asked: str
    "The request, as it stands behind every context."
    header: str
    "How the answer begins."
    body: str
    new: tuple[bool, ...]
    "Of each line of the body whether neither the old text nor the request holds it."
    copied: float
    "The greatest share of its lines that one function of before holds."
    names: frozenset[str]
    "Names in the body that the project defined before, and that the request does not hold."

    @property
    def id(self) -> str:
        """The name of the task."""
        return f"{self.repository}:{self.task.id}"


def read_tasks(
    bench: Bench, repository: Repository, count: int, work: Path, looked_at: int = LOOKED_AT
) -> list[ReadTask]:
    """Return the newest tasks of a repository, at most half of them functions that are changed."""
    sources, found = Sources(repository), list[ReadTask]()
    changed = 0
    for task in tasks_of(bench, repository, looked_at, work):
        if len(found) == count or (not task.new and changed == count // 2):
            continue
        asked = ready(repository, sources, task)
        if asked is not None:
            found.append(asked)
            changed += not task.new
    return found


def ready(repository: Repository, sources: Sources, task: Task) -> ReadTask | None:
    """Return a task as it is read; None where its body is too short or too long, or not new."""
    before, after = repository.tree(task.parent), repository.tree(task.sha)
    source = sources.of(after[task.path])
    symbol = source.symbols[task.name]
    try:
        header, body = parted(source.text, (symbol.above, symbol.last), task.path)
    except InputError:
        return None
    body = body.rstrip()
    size = sum(len(line.strip()) for line in body.split("\n"))
    asked = f"# Task description\n\nWork on {task.path}, {task.name}.\n{task.request}"
    title = task.message.strip().split("\n")[0].strip()
    header = f"```python {task.path}\n# {title}\n{header}"
    new = new_lines(body, (asked, header))
    if not SHORTEST <= size <= LONGEST or not any(new):
        return None
    old = sources.of(before[task.path]) if task.path in before else None
    others = [
        (path, symbol, sources.of(oid))
        for path, oid in before.items()
        for symbol in sources.of(oid).symbols.values()
        if symbol.kind in ("function", "method") and (path, symbol.name) != (task.path, task.name)
    ]
    known = {name.rpartition(".")[2] for oid in before.values() for name in sources.of(oid).symbols}
    said = set(NAME.findall(f"{asked}\n{header}"))
    used = {text for text, _, _ in identifiers(body)}
    return ReadTask(
        repository.name, task, *_place(source, symbol, old), asked, header, body, new,
        _copied(body, new, others), frozenset(used & known - said),
    )  # fmt: skip


def _place(source: Source, symbol: Symbol, old: Source | None) -> tuple[int, str]:
    """Return the line of the old file where the function stands, or the one behind what stands
    right before it in the new file; and the name of that."""
    if old is None:
        return 0, ""
    if symbol.name in old.symbols:
        return old.symbols[symbol.name].above, ""
    before = [one for one in source.symbols.values()
              if one.last < symbol.above and one.name in old.symbols
              and one.kind != "variable"]  # fmt: skip
    if not before:
        return 1, TOP
    last = max(before, key=lambda one: (one.last, one.first))
    return old.symbols[last.name].last + 1, last.name


def _copied(body: str, new: Sequence[bool], others: Sequence[tuple[str, Symbol, Source]]) -> float:
    lines = [line.strip() for line, fresh in zip(body.split("\n"), new, strict=True) if fresh]
    lines = [line for line in lines if len(line) > 4]
    if not lines:
        return 0.0
    shares = [0.0]
    for _, symbol, source in others:
        held = {line.strip() for line in source.lines[symbol.first - 1 : symbol.last]}
        shares.append(sum(line in held for line in lines) / len(lines))
    return round(max(shares), 3)


def identifiers(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield the names in a body with the offsets of their first and last character plus 1.

    Keywords and built-in names are left out, as is all behind what cannot be read.
    """
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    passed = set(keyword.kwlist) | set(dir(builtins)) | {"self", "cls"}
    try:
        for token in tokenize.generate_tokens(io.StringIO(f"if 1:\n{text}\n").readline):
            if token.type == tokenize.NAME and token.string not in passed and token.start[0] > 1:
                begin = starts[token.start[0] - 2] + token.start[1]
                yield token.string, begin, begin + len(token.string)
    except (tokenize.TokenError, SyntaxError):
        return
