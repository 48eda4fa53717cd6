"""The share of the definitions that a new function will use which a context shows before.

Each repository is measured by a separate process. The peers' contexts are judged once and kept in a
file, so that ours can be measured again quickly. Tune on some repositories and report others.
"""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from backcast.domain.errors import InputError
from backcast.engine.log.workers import pool_of
from backcast.engine.models.tokenizers import tokenizer_of
from scripts.benches import context_gold, context_peers, context_score, context_tasks
from scripts.benches.context_ours import TOKENIZER, opened, ours
from scripts.benches.context_pack import Counting
from scripts.benches.context_peers import METHODS, Parent
from scripts.benches.context_score import seen
from scripts.benches.context_shares import OURS, Result, Shown, figures_of
from scripts.benches.context_tasks import Sources, tasks_of
from scripts.benches.context_trees import Checkout, Repository
from scripts.benches.figures import Bench, Figure
from scripts.benches.peer import Peer, PeerMissing

AIDER = "aider RepoMap"
PROCESSES = 2
TASKS, SOME = 40, 10
"Tasks of each repository, in a full bench and by default."
BUDGETS = (8_000, 32_000)


def measure(bench: Bench) -> list[Figure]:
    """Return the rows of the table."""
    if len(bench.repositories) == 1:
        return list(figures_of([_repository(bench)]))
    each = [bench._replace(repositories=[folder]) for folder in bench.repositories]
    with pool_of(PROCESSES) as pool:
        return list(figures_of(list(pool.map(_repository, each))))


def _repository(bench: Bench) -> Result:
    """Measure every method on the tasks of one repository."""
    repository = Repository(bench.repositories[0])
    work = bench.folder / "work" / repository.name
    work.mkdir(parents=True, exist_ok=True)
    tasks = tasks_of(bench, repository, TASKS if bench.full else SOME, work)
    if not tasks:
        raise InputError(f"{repository.name}: needed a commit that changes a function that uses"
                         " others of the project, found none")  # fmt: skip
    shown: dict[int, dict[str, list[Shown]]] = {tokens: {} for tokens in BUDGETS}
    result = Result(repository.name, repository.head(), _size(bench, repository), tasks, shown, [])
    begin = time.perf_counter()
    _add_ours(result, bench, repository)
    bench.say(f"{result.name}: ours took {time.perf_counter() - begin:.0f} s")
    _add_peers(result, bench, repository, work)
    return result


def _add_ours(result: Result, bench: Bench, repository: Repository) -> None:
    tokenizer, shown = tokenizer_of(TOKENIZER), dict[tuple[str, int], Shown]()
    with opened(bench, repository, result.tasks) as store:
        for task, contexts in ours(store, result.name, result.tasks, BUDGETS):
            for budget, built in contexts.items():
                tokens, gold = tokenizer.count(built.text), seen(built.text, task.gold)
                over = built.over or tokens > budget
                shown[task.id, budget] = Shown(gold, tokens, over, built.seconds)
    for budget, methods in result.shown.items():
        methods[OURS] = [shown[task.id, budget] for task in result.tasks]


def _add_peers(result: Result, bench: Bench, repository: Repository, work: Path) -> None:
    parts = (context_tasks, context_gold, context_peers, context_score)
    versions = ".".join(str(part.VERSION) for part in parts)
    kept = bench.folder / f"peers-{result.name}-{result.head[:12]}-{len(result.tasks)}.json"
    known = json.loads(kept.read_text()) if kept.exists() else {}
    if known.get("versions") != versions:
        known = {"versions": versions}
    if missing := [budget for budget in BUDGETS if str(budget) not in known]:
        known |= _peers(result, bench, repository, missing, work)
        if not result.notes:  # aider is tried again where it could not be run
            kept.write_text(json.dumps(known))
    for budget, methods in result.shown.items():
        for method, shown in known.get(str(budget), {}).items():
            methods[method] = [Shown(*values) for values in shown]


def _peers(
    result: Result, bench: Bench, repository: Repository, budgets: list[int], work: Path
) -> dict[str, Any]:
    """Return the contexts of the peers, judged, by number of tokens and method."""
    contexts: dict[str, Any] = {str(budget): {} for budget in budgets}
    counting, sources = Counting(tokenizer_of(TOKENIZER)), Sources(repository)
    aider = AiderMaps(bench, Checkout(repository, work / "before"), budgets)
    for number, task in enumerate(result.tasks):
        parent = Parent(repository, sources, task)
        for budget, method, text, taken in (
            *_by_method(parent, counting, budgets), *aider.contexts(parent),
        ):  # fmt: skip
            tokens = counting.whole(text)
            shown = Shown(seen(text, task.gold), tokens, tokens > budget, taken)
            contexts[str(budget)].setdefault(method, []).append(shown)
        if (number + 1) % 10 == 0:
            bench.say(f"{result.name}: peers of {number + 1} tasks")
    aider.close()
    result.notes.extend(aider.notes)
    return contexts


Text = tuple[int, str, str, float]
"Number of tokens, method, its context, seconds."


def _by_method(parent: Parent, counting: Counting, budgets: list[int]) -> Iterator[Text]:
    for method in METHODS:
        for budget in budgets:
            begin = time.perf_counter()
            text = context_peers.context(method, parent, counting, budget)
            yield budget, method, text, time.perf_counter() - begin


class AiderMaps:
    """A peer that yields nothing where aider cannot be run."""

    def __init__(self, bench: Bench, checkout: Checkout, budgets: list[int]) -> None:
        self.checkout, self.budgets = checkout, budgets
        self.notes: list[str] = []
        self.peer: Peer | None = None
        try:
            self.peer = Peer.start(bench)
            checkout.folder.mkdir(parents=True, exist_ok=True)
            self.peer.ask("open", root=str(checkout.folder.resolve()))
        except PeerMissing as missing:
            self.notes.append(f"aider: {missing}")
            bench.say(self.notes[-1])
            self.peer = None

    def contexts(self, parent: Parent) -> Iterator[Text]:
        """Yield aider's maps of a task."""
        if self.peer is None:
            return
        self.checkout.show(parent.tree)
        begin = time.perf_counter()
        answer = self.peer.ask("maps", paths=list(parent.tree), chat=[],
                               request=parent.task.request, budgets=self.budgets)  # fmt: skip
        taken = (time.perf_counter() - begin) / len(self.budgets)
        for budget, text in zip(self.budgets, answer["maps"], strict=True):
            yield budget, AIDER, text, taken

    def close(self) -> None:
        """End the process."""
        if self.peer is not None:
            self.peer.__exit__()


def _size(bench: Bench, repository: Repository) -> int:
    kept = bench.folder / f"size-{repository.name}-{repository.head()[:12]}"
    if not kept.exists():
        count: Callable[[str], int] = tokenizer_of(TOKENIZER).count
        bodies = (repository.body(oid) or b"" for oid in repository.tree("HEAD").values())
        kept.write_text(str(sum(count(body.decode(errors="replace")) for body in bodies)))
    return int(kept.read_text())
