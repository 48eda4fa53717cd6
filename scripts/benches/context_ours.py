"""Backcast's own contexts for tasks of a repository, built from its log before each commit."""

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from backcast.domain.budget import MISTRAL_7B_8K, QWEN3_8B_32K, ModelProfile
from backcast.domain.graph import Graph
from backcast.engine.context.build_cache import BuildCache
from backcast.engine.context.builder import ContextBuilder
from backcast.engine.context.request import Request
from backcast.engine.history.moments import moment_at
from backcast.engine.history.snapshots import RecentStates
from backcast.engine.history.task_states import TaskStates, states_at
from backcast.engine.log.store import EventStore
from backcast.engine.memory.import_log import run
from backcast.engine.models.tokenizers import Tokenizer, tokenizer_of
from backcast.projections import dependency_graph
from scripts.benches.context_tasks import Task
from scripts.benches.context_trees import Repository
from scripts.benches.figures import Bench
from scripts.benches.workload import open_store

TOKENIZER = "mistral-v3"
EARLIER = 400
"Commits of history before the oldest task, where a repository is big."
WHOLE = 4_000
"The most commits with which all of the history is imported."


class Built(NamedTuple):
    """A context and its cost."""

    text: str
    "The context part alone."
    seconds: float
    "The time of its building, with states and graph at hand."
    over: bool
    "Whether the context part has more tokens than its budget."


WIDEST = 1_000_000
"Tokens of a window that no comparison reaches: it is about the context part alone."


def profile_of(tokens: int) -> ModelProfile:
    """Return the profile whose context part has `tokens` tokens, counted as Mistral 7B does."""
    near = MISTRAL_7B_8K if tokens <= 8_000 else QWEN3_8B_32K
    wide = near.with_context(tokens, WIDEST)
    return wide._replace(tokenizer=TOKENIZER, template="mistral")


def request_of(task: Task) -> Request:
    """Return the builder's request for a task."""
    return Request(f"function:{task.path}::{task.name}", task.request)


def opened(bench: Bench, repository: Repository, tasks: Sequence[Task]) -> EventStore:
    """Open the repository's log, which is imported once and kept in a file."""
    path = bench.folder / f"log-{repository.name}-{repository.head()[:12]}.db"
    store = open_store(path)
    if not store.tasks():
        bench.say(f"{repository.name}: importing its history")
        folder = _shallow(repository, tasks, bench.folder)
        run(store, "git", folder, repository.name, processes=os.cpu_count() or 1)
    return store


def ours(
    store: EventStore, name: str, tasks: Sequence[Task], budgets: Sequence[int]
) -> Iterator[tuple[Task, dict[int, Built]]]:
    """Yield the contexts of tasks by number of tokens, in the order of the log."""
    builders = {budget: Ours(budget, tokenizer_of(TOKENIZER), store) for budget in budgets}
    recent, graph = RecentStates(), None
    moments = [(moment_at(store, name, f"before:commit:{task.sha}"), task) for task in tasks]
    # Such a moment is a position, so that one walk through the log serves them all.
    for moment, task in sorted(moments, key=lambda one: (one[0].position or 0, one[1].id)):
        states = states_at(store, name, moment, recent)
        graph = dependency_graph.graph_of(states.graph, graph)
        asked = request_of(task)
        yield task, {n: one.build(states, graph, asked) for n, one in builders.items()}


class Ours:
    """A builder of contexts of one size, with a clock."""

    def __init__(self, budget: int, tokenizer: Tokenizer, store: EventStore) -> None:
        self.budget, self.tokenizer = budget, tokenizer
        self.builder = ContextBuilder(profile_of(budget), BuildCache(tokenizer, store.get))

    def build(self, states: TaskStates, graph: Graph, asked: Request) -> Built:
        """Build a context and take its time."""
        begin = time.perf_counter()
        context = self.builder.build(states, graph, asked)
        taken = time.perf_counter() - begin
        over = self.tokenizer.count(context.text) > self.budget
        return Built(context.text, taken, over)


def _shallow(repository: Repository, tasks: Sequence[Task], work: Path) -> Path:
    """Return the repository; a big one as one that borrows its objects and begins later."""
    chain = repository.git("rev-list", "--first-parent", "HEAD").split()
    last = max((chain.index(task.sha) for task in tasks), default=0) + EARLIER
    return repository.folder if len(chain) <= WHOLE else late(repository, work, last)


def late(repository: Repository, work: Path, commits: int) -> Path:
    """Return a repository that borrows its objects and begins a number of commits ago."""
    chain = repository.git("rev-list", "--first-parent", "HEAD").split()
    if commits >= len(chain):
        return repository.folder
    folder = work / f"late-{repository.name}"
    (folder / "objects" / "info").mkdir(parents=True, exist_ok=True)
    (folder / "refs").mkdir(exist_ok=True)
    objects = Path(repository.git("rev-parse", "--git-path", "objects").strip())
    source = (repository.folder / objects).resolve()
    (folder / "objects" / "info" / "alternates").write_text(f"{source}\n")
    (folder / "HEAD").write_text(f"{chain[0]}\n")
    (folder / "shallow").write_text(f"{chain[commits]}\n")
    return folder
