"""What a context costs: warm, as the repository grows, in counted tokens; and what a prompt keeps.

Warm is a builder that has built contexts for other functions of the same state. Each function is
asked for once, drawn by a seed, with its signature, docstring and text as the request; aider's map
is asked for the same, its tags cached, the function's file in the chat.
"""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from statistics import median
from typing import Any, NamedTuple

from backcast.domain.graph import Graph
from backcast.domain.moment import NOW
from backcast.engine.history.snapshots import RecentStates
from backcast.engine.history.task_states import states_at
from backcast.engine.log.store import EventStore
from backcast.engine.models.tokenizers import Tokenizer, tokenizer_of
from backcast.projections import dependency_graph
from scripts.benches.context_copies import copied
from scripts.benches.context_ours import TOKENIZER, Ours, request_of
from scripts.benches.context_source import Source
from scripts.benches.context_tasks import Task
from scripts.benches.context_trees import Checkout, Repository
from scripts.benches.context_turns import turns
from scripts.benches.figures import Bench, Bound, Figure, percentile
from scripts.benches.peer import Peer, PeerMissing

TOKENS = 8_000
WARM, TIMED = 10, 50
"Functions that are asked for before, and those whose times are taken."
MANY = 1_000
"Functions of a repository for which the times are bound."
SIZES = (1, 4, 16)
MOST = 2_000
"Source modules up to which a repository is multiplied."


class Counted:
    """A tokenizer that tells what it was asked to count."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer, self.id, self.exact = tokenizer, tokenizer.id, tokenizer.exact
        self.calls = self.tokens = 0
        self.seconds = 0.0
        self.texts: set[str] = set()

    def count(self, text: str) -> int:
        """The tokens of a text."""
        begin = time.perf_counter()
        tokens = self.tokenizer.count(text)
        self.seconds += time.perf_counter() - begin
        self.calls += 1
        self.tokens += tokens
        self.texts.add(text)
        return tokens

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tokenizer, name)


class Place(NamedTuple):
    """A state to build from, and functions to ask for."""

    repository: Repository
    store: EventStore
    states: Any
    graph: Graph
    asked: list[Task]
    functions: int


def measure(bench: Bench) -> list[Figure]:
    """The rows of the table, for each repository."""
    return [figure for folder in bench.repositories for figure in _figures(bench, folder)]


def _figures(bench: Bench, folder: Path) -> Iterator[Figure]:
    repository = Repository(folder)
    work = bench.folder / "copies"
    work.mkdir(parents=True, exist_ok=True)
    firsts: list[float] = []
    large = False
    modules = len(repository.tree("HEAD"))
    for times in (times for times in SIZES if times * modules <= MOST):
        bench.say(f"{repository.name}: {times} times its newest tree")
        place = _place(*copied(repository, times, work), repository.name)
        counted = Counted(tokenizer_of(TOKENIZER))
        firsts.append(median(taken := _ours(place, Ours(TOKENS, counted, place.store))))
        theirs = _aider(bench, place, work / f"tree-{repository.name}-x{times}")
        group = f"contexts of {TOKENS:,} tokens, {repository.name} x{times}"
        group += f", {place.functions:,} functions"
        # The bounds hold for the least size that has enough functions.
        yield from _times(group, taken, *theirs, not large and place.functions >= MANY)
        large = large or place.functions >= MANY
        yield _growth(group, firsts, times)
        place.store.close()
        if times == 1:
            yield from _counts(group, counted)
            bench.say(f"{repository.name}: consecutive prompts")
            path = work / f"{place.repository.folder.name}.db"
            yield from turns(group, path, repository.name, place.asked)


def _place(repository: Repository, store: EventStore, name: str) -> Place:
    states = states_at(store, name, NOW, RecentStates())
    graph = dependency_graph.graph_of(states.graph)
    tree = repository.tree("HEAD")
    functions = [
        (path, symbol.name, source)
        for path, source in ((path, Source(repository.body(oid))) for path, oid in tree.items())
        for symbol in source.symbols.values()
        if symbol.kind in ("function", "method") and symbol.last > symbol.opened
    ]
    # The same ones at every size: those of the first copy.
    first = [one for one in functions if not one[0].startswith("copy")]
    drawn = Random(1).sample(first, min(WARM + TIMED, len(first)))
    return Place(repository, store, states, graph, [_asked(*one) for one in drawn], len(functions))


def _asked(path: str, name: str, source: Source) -> Task:
    symbol = source.symbols[name]
    told = (source.signature(symbol), source.docstring(symbol), source.full(symbol))
    return Task("", "", path, name, False, f"Change {name.rpartition('.')[2]}", *told, ())


def _ours(place: Place, ours: Ours) -> list[float]:
    """Milliseconds of each context, the first ones left out."""
    taken = [ours.build(place.states, place.graph, request_of(task)) for task in place.asked]
    return [1000 * one.seconds for one in taken[WARM:]]


def _aider(bench: Bench, place: Place, folder: Path) -> tuple[list[float], str]:
    """Milliseconds of each of aider's maps, and how many are over; or why there are none."""
    tree = place.repository.tree("HEAD")
    folder.mkdir(parents=True, exist_ok=True)
    Checkout(place.repository, folder).show(tree)
    try:
        with Peer.start(bench, "aider_map") as peer:
            peer.ask("open", root=str(folder.resolve()))
            found = [
                peer.ask("timed", paths=list(tree), chat=[one.path], request=one.request,
                         tokens=TOKENS)
                for one in place.asked
            ][WARM:]  # fmt: skip
    except PeerMissing as missing:
        return [], f"aider: {missing}"
    over = sum(one["tokens"] > TOKENS for one in found)
    return [1000 * one["seconds"] for one in found], f"{over} of {len(found)} over {TOKENS:,}"


def _times(
    group: str, taken: Sequence[float], theirs: Sequence[float], over: str, bound: bool
) -> Iterator[Figure]:
    bounds = ((50, Bound("<=", 150), Bound("<=", 50)), (95, None, Bound("<=", 150)))
    for percent, must, aim in bounds:
        control = f"aider RepoMap {percentile(theirs, percent):,.0f} ms, {over}" if theirs else over
        yield Figure(
            group,
            f"warm build, p{percent}",
            [percentile(taken, percent)],
            "ms",
            control=control,
            must=must if bound else None,
            aim=aim if bound else None,
        )


def _growth(group: str, firsts: Sequence[float], times: int) -> Figure:
    value = firsts[-1] / firsts[0]
    return Figure(group, "warm build, to that at x1", [value], must=Bound("<=", times))


def _counts(group: str, counted: Counted) -> Iterator[Figure]:
    again = counted.calls - len(counted.texts)
    yield Figure(
        group,
        "texts counted again, of all that were counted",
        [100 * again / max(1, counted.calls)],
        "%",
        ours=f"{again:,} of {counted.calls:,} in {WARM + TIMED} contexts",
    )
    rate = counted.tokens / counted.seconds / 1000 if counted.seconds else 0.0
    yield Figure(
        group,
        "tokens counted, thousands a second",
        [rate],
        "K/s",
        ours=f"{counted.tokens:,} tokens, {counted.tokens / (WARM + TIMED):,.0f} a context",
    )
