"""Tasks from a real history: a function that a commit added or changed, asked for as of before.

A commit counts when it is no merge, stands along first parents, and touches 1 to 10 source modules
(tests are none). One function of each such commit is the task, so that commits weigh the same: the
largest new one that uses a definition of the project, else the largest changed one that does.
"""

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from scripts.benches.context_gold import Asked, Gold, Resolver
from scripts.benches.context_source import Source, Symbol
from scripts.benches.context_trees import Change, Commit, Repository
from scripts.benches.figures import Bench

VERSION = 2
"A number that grows when the same history would give other tasks."
TRIES = 3
"Functions of a commit that are looked at until one uses a definition of the project."
SCANNED = 2_000
"The most commits that are looked at."


class Task(NamedTuple):
    """A function to be written, the request for it, and the definitions that it will use."""

    sha: str
    parent: str
    path: str
    name: str
    new: bool
    "Whether it did not exist before."
    message: str
    signature: str
    docstring: str
    before: str
    "Its old text; empty where it is new."
    gold: tuple[Gold, ...]

    @property
    def id(self) -> str:
        """The name of the task."""
        return f"{self.sha[:10]}:{self.path}::{self.name}"

    @property
    def request(self) -> str:
        """The request that every method gets."""
        head = (self.message, f"{self.path}::{self.name}", self.signature, self.docstring)
        return "\n\n".join(part for part in (*head, self.before) if part)


class Changed(NamedTuple):
    """A function that a commit added or changed."""

    change: Change
    symbol: Symbol
    old: Symbol | None


class Sources:
    """The parsed sources of a repository by object, in a cache."""

    def __init__(self, repository: Repository, size: int = 6_000) -> None:
        self.of = lru_cache(size)(lambda oid: Source(repository.body(oid)))


def tasks_of(bench: Bench, repository: Repository, count: int, work: Path) -> list[Task]:
    """Return the tasks of a repository, the newest first; they are kept in a file."""
    kept = bench.folder / f"tasks-{repository.name}-{repository.head()[:12]}-{count}-{VERSION}.json"
    if kept.exists():
        return [_read(task) for task in json.loads(kept.read_text())]
    tasks: list[Task] = []
    resolver = Resolver(repository, work)
    sources = Sources(repository)
    for looked, commit in enumerate(repository.commits()):
        if len(tasks) == count or looked == SCANNED:
            break
        task = _task(repository, sources, resolver, commit)
        if task is not None:
            tasks.append(task)
            if len(tasks) % 10 == 0:
                bench.say(f"{repository.name}: {len(tasks)} tasks in {looked + 1} commits")
    kept.write_text(json.dumps(tasks, indent=1))
    return tasks


def _task(
    repository: Repository, sources: Sources, resolver: Resolver, commit: Commit
) -> Task | None:
    """Return the task of a commit, or None where it has none."""
    changes = repository.changes(commit)
    changed = sorted(_changed(sources, changes), key=_order)[:TRIES]
    if not changed:
        return None
    before, after = repository.tree(commit.parent), repository.tree(commit.sha)
    for change, symbol, old in changed:
        source = sources.of(change.after)
        asked = Asked(change.path, symbol, source, before, after)
        gold = resolver.gold(asked, sources.of)
        if any(one.kind != "variable" for one in gold):
            past = sources.of(change.before).full(old) if change.before and old else ""
            texts = source.signature(symbol), source.docstring(symbol), past
            new = old is None
            return Task(commit.sha, commit.parent, change.path, symbol.name, new, commit.message,
                        *texts, gold)  # fmt: skip
    return None


def _changed(sources: Sources, changes: list[Change]) -> Iterator[Changed]:
    for change in changes:
        old: Mapping[str, Symbol] = sources.of(change.before).symbols if change.before else {}
        for name, symbol in sources.of(change.after).symbols.items():
            if symbol.kind in ("function", "method"):
                past = old.get(name)
                if past is None or past.same != symbol.same:
                    yield Changed(change, symbol, past)


def _order(changed: Changed) -> tuple[bool, int, str, str]:
    symbol = changed.symbol
    size = symbol.last - symbol.opened
    return changed.old is not None, -size, changed.change.path, symbol.name


def _read(values: list[Any]) -> Task:
    gold = tuple(Gold._make((*one[:-1], tuple(one[-1]))) for one in values[-1])
    return Task._make((*values[:-1], gold))
