"""How much of what a new function will use is in the context built before it was written?

Each repository is worked through by a process of its own. What the peers gave is kept in a file,
so that ours can be measured again quickly.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

from backcast.engine.models.tokenizers import tokenizer_of
from scripts.benches import context_gold, context_peers, context_score, context_tasks
from scripts.benches.context_ours import TOKENIZER, opened, ours
from scripts.benches.context_pack import Counting, Pack
from scripts.benches.context_peers import METHODS, Parent
from scripts.benches.context_score import seen
from scripts.benches.context_tasks import Sources, Task, tasks_of
from scripts.benches.context_trees import Checkout, Repository
from scripts.benches.figures import Bench
from scripts.benches.peer import Peer, PeerMissing

OURS = "Backcast"
AIDER, AIDER_HALF = "aider RepoMap", "half file + RepoMap"
PROCESSES = 2
BIG = 1_000_000
"Tokens of source from which on a repository is big."


class Shown(NamedTuple):
    """What one context held of a task's gold."""

    seen: Sequence[Sequence[bool]]
    "Signature and body, for each gold symbol."
    tokens: int
    over: bool
    seconds: float


class Result(NamedTuple):
    """A repository's tasks and what each method gave at each number of tokens."""

    name: str
    head: str
    size: int
    "Tokens of its source at the newest commit."
    tasks: Sequence[Task]
    shown: dict[str, dict[str, list[Shown]]]
    "By number of tokens and method, in the order of the tasks."
    notes: list[str]


class Asked(NamedTuple):
    """What is to be measured."""

    bench: Bench
    repository: Path
    commits: int
    budgets: Sequence[int]
    peers: bool
    "Whether peers that are not in the file are run."


def measure(asked: Sequence[Asked]) -> list[Result]:
    """The results of all repositories."""
    if len(asked) == 1:
        return [one_repository(asked[0])]
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        return list(pool.map(one_repository, asked))


def one_repository(asked: Asked) -> Result:
    """What every method gives for the tasks of a repository."""
    repository, bench = Repository(asked.repository), asked.bench
    work = bench.folder / "work" / repository.name
    work.mkdir(parents=True, exist_ok=True)
    tasks = tasks_of(bench, repository, asked.commits, work)
    size = _size(bench, repository)
    result = Result(repository.name, repository.head(), size, tasks, {}, [])
    for budget in asked.budgets:
        result.shown[str(budget)] = {}
    begin = time.perf_counter()
    _add_ours(result, asked, repository)
    bench.say(f"{result.name}: ours took {time.perf_counter() - begin:.0f} s")
    _add_peers(result, asked, repository, work)
    return result


def _add_ours(result: Result, asked: Asked, repository: Repository) -> None:
    tokenizer, found = tokenizer_of(TOKENIZER), dict[tuple[str, int], Shown]()
    with opened(asked.bench, repository, result.tasks) as store:
        for task, built in ours(store, result.name, result.tasks, asked.budgets):
            for budget, one in built.items():
                tokens = tokenizer.count(one.text)
                over = one.over or tokens > budget
                found[task.id, budget] = Shown(seen(one.text, task.gold), tokens, over, one.seconds)
    for budget in asked.budgets:
        result.shown[str(budget)][OURS] = [found[task.id, budget] for task in result.tasks]


def _add_peers(result: Result, asked: Asked, repository: Repository, work: Path) -> None:
    parts = (context_tasks, context_gold, context_peers, context_score)
    versions = ".".join(str(part.VERSION) for part in parts)
    kept = asked.bench.folder / f"peers-{result.name}-{result.head[:12]}-{asked.commits}.json"
    known = json.loads(kept.read_text()) if kept.exists() else {}
    if known.get("versions") != versions:
        known = {"versions": versions}
    missing = [budget for budget in asked.budgets if str(budget) not in known]
    if missing and asked.peers:
        known |= _peers(result, asked.bench, repository, missing, work)
        kept.write_text(json.dumps(known))
    for budget, methods in result.shown.items():
        for method, shown in known.get(budget, {}).items():
            methods[method] = [Shown(*one) for one in shown]


def _peers(
    result: Result, bench: Bench, repository: Repository, budgets: list[int], work: Path
) -> dict[str, Any]:
    """What the peers gave, by number of tokens and method."""
    found: dict[str, Any] = {str(budget): {} for budget in budgets}
    counting, sources = Counting(tokenizer_of(TOKENIZER)), Sources(repository)
    aider = _Aider(bench, Checkout(repository, work / "before"), budgets)
    for number, task in enumerate(result.tasks):
        parent = Parent(repository, sources, task)
        for budget, method, text, taken in (
            *_by_method(parent, counting, budgets), *aider.contexts(parent, counting),
        ):  # fmt: skip
            tokens = counting.whole(text)
            shown = Shown(seen(text, task.gold), tokens, tokens > budget, taken)
            found[str(budget)].setdefault(method, []).append(shown)
        if (number + 1) % 10 == 0:
            bench.say(f"{result.name}: peers of {number + 1} tasks")
    aider.close()
    result.notes.extend(aider.notes)
    return found


Text = tuple[int, str, str, float]
"Number of tokens, method, its context, seconds."


def _by_method(parent: Parent, counting: Counting, budgets: list[int]) -> Iterator[Text]:
    for method in METHODS:
        for budget in budgets:
            begin = time.perf_counter()
            text = context_peers.context(method, parent, counting, budget)
            yield budget, method, text, time.perf_counter() - begin


class _Aider:
    """aider beside the other peers; nothing where it cannot be run."""

    def __init__(self, bench: Bench, checkout: Checkout, budgets: list[int]) -> None:
        self.checkout, self.budgets = checkout, budgets
        self.notes: list[str] = []
        self.peer: Peer | None = None
        try:
            self.peer = Peer.start(bench, "aider_map")
            checkout.folder.mkdir(parents=True, exist_ok=True)
            self.peer.ask("open", root=str(checkout.folder.resolve()))
        except PeerMissing as missing:
            self.notes.append(f"aider: {missing}")
            bench.say(self.notes[-1])
            self.peer = None

    def contexts(self, parent: Parent, counting: Counting) -> Iterator[Text]:
        """The map alone, and after half of the current file."""
        if self.peer is None:
            return
        self.checkout.show(parent.tree)
        for budget, text, taken in self._maps(parent, [], self.budgets):
            yield budget, AIDER, text, taken
        packs = {budget: Pack(counting, budget) for budget in self.budgets}
        for budget, pack in packs.items():
            pack.fill(parent.own, budget // 2)
        own = [parent.task.path] if parent.task.path in parent.tree else []
        left = [pack.free for pack in packs.values()]
        maps = self._maps(parent, own, left)
        for (budget, pack), (_, text, taken) in zip(packs.items(), maps, strict=True):
            yield budget, AIDER_HALF, pack.text(text), taken

    def _maps(self, parent: Parent, chat: list[str], budgets: Sequence[int]) -> Iterator[Any]:
        assert self.peer is not None
        begin = time.perf_counter()
        request, paths = parent.task.request, list(parent.tree)
        answer = self.peer.ask("maps", paths=paths, chat=chat, request=request, budgets=budgets)
        taken = (time.perf_counter() - begin) / len(budgets)
        for budget, text in zip(budgets, answer["maps"], strict=True):
            yield budget, text, taken

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
