"""The time of a context by a warm builder, beside aider's map of the same request.

Warm is a builder that has built contexts for other functions of the same state. Each function is
asked for once, drawn by a seed, with its signature, docstring and text as the request; aider's map
is asked for the same, with its tags cached and the function's file in the chat.
"""

from collections.abc import Iterator
from pathlib import Path
from random import Random

from backcast.domain.moment import NOW
from backcast.engine.history.snapshots import RecentStates
from backcast.engine.history.task_states import states_at
from backcast.engine.models.tokenizers import tokenizer_of
from backcast.projections import dependency_graph
from scripts.benches.context_ours import TOKENIZER, Ours, request_of
from scripts.benches.context_source import Source
from scripts.benches.context_tasks import Task
from scripts.benches.context_trees import Checkout, Repository
from scripts.benches.figures import Bench, Bound, Figure, percentile
from scripts.benches.peer import Peer, PeerMissing
from scripts.benches.regress_windows import stored
from scripts.benches.workload import open_store

TOKENS = 8_000
WARM, TIMED = 10, 50
"Functions that are asked for before, and those whose times are taken."
BOUNDS = ((50, Bound("<=", 150), Bound("<=", 50)), (95, None, Bound("<=", 150)))


def measure(bench: Bench) -> list[Figure]:
    """Return the rows of the table, for each repository."""
    return [figure for folder in bench.repositories for figure in _figures(bench, folder)]


def _figures(bench: Bench, folder: Path) -> Iterator[Figure]:
    repository = Repository(folder)
    functions = _functions(repository)
    tasks = Random(1).sample(functions, min(WARM + TIMED, len(functions)))
    url, name = stored(bench, folder)
    group = f"contexts of {TOKENS:,} tokens, {name}, {len(functions):,} functions"
    if len(tasks) <= WARM:
        yield Figure(group, "warm build", why=f"needed more than {WARM} functions")
        return
    bench.say(f"{name}: {len(tasks)} contexts")
    with open_store(Path(url.removeprefix("sqlite:///"))) as store:
        states = states_at(store, name, NOW, RecentStates())
        graph = dependency_graph.graph_of(states.graph)
        ours = Ours(TOKENS, tokenizer_of(TOKENIZER), store)
        built = [ours.build(states, graph, request_of(task)) for task in tasks][WARM:]
    theirs, note = _aider(bench, repository, tasks)
    taken = [1000 * one.seconds for one in built]
    for percent, must, aim in BOUNDS:
        value = f"aider RepoMap {percentile(theirs, percent):,.0f} ms, " if theirs else ""
        yield Figure(group, f"warm build, p{percent}", [percentile(taken, percent)], "ms",
                     control=value + note, must=must, aim=aim)  # fmt: skip


def _functions(repository: Repository) -> list[Task]:
    """Return each function of the newest tree as the task to change it."""
    tasks = []
    for path, oid in repository.tree("HEAD").items():
        source = Source(repository.body(oid))
        for symbol in source.symbols.values():
            if symbol.kind in ("function", "method") and symbol.last > symbol.opened:
                message = f"Change {symbol.name.rpartition('.')[2]}"
                texts = source.signature(symbol), source.docstring(symbol), source.full(symbol)
                tasks.append(Task("", "", path, symbol.name, False, message, *texts, ()))
    return tasks


def _aider(bench: Bench, repository: Repository, tasks: list[Task]) -> tuple[list[float], str]:
    """Return the milliseconds of aider's maps, and how many are over; or why there are none."""
    tree, folder = repository.tree("HEAD"), bench.folder / "work" / f"tree-{repository.name}"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with Peer.start(bench) as peer:
            Checkout(repository, folder).show(tree)
            peer.ask("open", root=str(folder.resolve()))
            answers = [
                peer.ask("timed", paths=list(tree), chat=[task.path], request=task.request,
                         tokens=TOKENS)
                for task in tasks
            ][WARM:]  # fmt: skip
    except PeerMissing as missing:
        return [], f"aider: {missing}"
    over = sum(answer["tokens"] > TOKENS for answer in answers)
    return [1000 * one["seconds"] for one in answers], f"{over} of {len(answers)} over {TOKENS:,}"
