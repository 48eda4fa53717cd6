"""The contexts that a reader reads: those of the peers, of the policies, and none.

All of them have at most the same tokens, counted by the reader's own vocabulary, and stand in the
same place of the same prompt.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from backcast.domain.budget import ModelProfile
from backcast.domain.context import Item
from backcast.domain.graph import Graph
from backcast.domain.node import name_of, path_of
from backcast.domain.policy import DEFAULT, SYSTEM, Policy
from backcast.engine.context.build_cache import BuildCache
from backcast.engine.context.builder import ContextBuilder, text_of
from backcast.engine.context.policies import policy_named
from backcast.engine.history.moments import moment_at
from backcast.engine.history.snapshots import RecentStates
from backcast.engine.history.task_states import TaskStates, states_at
from backcast.engine.models.likelihood import LikelihoodReader
from backcast.engine.models.tokenizers import Tokenizer
from backcast.projections import dependency_graph
from scripts.benches import context_peers
from scripts.benches.context_ours import WIDEST, opened, profile_of, request_of
from scripts.benches.context_pack import Counting, Pack, Piece
from scripts.benches.context_peers import Parent
from scripts.benches.context_quality import AIDER, AiderMaps
from scripts.benches.context_tasks import Sources
from scripts.benches.context_trees import Checkout, Repository
from scripts.benches.figures import Bench
from scripts.benches.reader_tasks import ReadTask

VERSION = 1
"A number that grows when a peer would give another context."
NONE = "none"
AROUND = "current file around the place"
HALF = "half file + BM25 bodies"
PEERS = (NONE, AROUND, "BM25, bodies", "BM25, signatures", HALF, AIDER)
"The methods beside ours, by name."


class ReadContext(NamedTuple):
    """A context for a task by a method."""

    task: str
    method: str
    tokens: int
    "The most that it may have."
    text: str


def counter_of(reader: LikelihoodReader) -> Tokenizer:
    """Return the reader's vocabulary as a counter of tokens."""
    counter: Tokenizer = reader  # it counts and encodes as one does
    return counter


def peers(
    bench: Bench,
    repository: Repository,
    tasks: Sequence[ReadTask],
    reader: LikelihoodReader,
    sizes: Sequence[int],
) -> dict[tuple[str, str, int], str]:
    """Return the contexts of the peers by task, method and size; they are kept in a file."""
    kept = bench.folder / f"peers-{repository.name}-{_named(reader.id)}-{VERSION}.json"
    known: dict[str, str] = json.loads(kept.read_text()) if kept.exists() else {}
    wanted = [(task, size) for task in tasks for size in sizes]
    missing = [
        (task, size) for task, size in wanted
        if any(_key(task.id, method, size) not in known for method in PEERS)
    ]  # fmt: skip
    if missing:
        counting, sources = Counting(counter_of(reader)), Sources(repository)
        work = bench.folder / "work" / repository.name
        aider = AiderMaps(bench, Checkout(repository, work / "before"), list(sizes))
        for task in dict.fromkeys(task.id for task, _ in missing):
            own = next(one for one in tasks if one.id == task)
            for method, size, text in _peers_of(own, repository, sources, counting, sizes, aider):
                known[_key(task, method, size)] = text
        aider.close()
        kept.write_text(json.dumps(known))
    return {
        (task.id, method, size): known[_key(task.id, method, size)]
        for task, size in wanted
        for method in PEERS
        if _key(task.id, method, size) in known
    }


def _peers_of(
    task: ReadTask,
    repository: Repository,
    sources: Sources,
    counting: Counting,
    sizes: Sequence[int],
    aider: AiderMaps,
) -> Iterator[tuple[str, int, str]]:
    parent = Parent(repository, sources, task.task)
    for size in sizes:
        yield NONE, size, ""
        yield AROUND, size, around(parent, task, counting, size)
        for method in ("BM25, bodies", "BM25, signatures"):
            yield method, size, context_peers.context(method, parent, counting, size)
        half = around(parent, task, counting, size // 2)
        pack = Pack(counting, size)
        pack.free -= counting.part(half)
        pack.taken |= {(piece.path, piece.name) for piece in _held(parent, task, half)}
        pack.fill(parent.bodies)
        yield HALF, size, pack.text(half)
    for size, method, text, _ in aider.contexts(parent):
        yield method, size, cut(text, counting, size)


def cut(text: str, counting: Counting, size: int) -> str:
    """Return the first lines of a text that are within a number of tokens."""
    lines = text.split("\n")
    while lines and counting.whole("\n".join(lines)) > size:
        lines = lines[: max(0, len(lines) - 1 - len(lines) // 50)]
    return "\n".join(lines)


def around(parent: Parent, task: ReadTask, counting: Counting, size: int) -> str:
    """Return the lines of the task's file around its place, without its own old text."""
    source = parent.source.get(task.task.path)
    if source is None:
        return ""
    own = source.symbols.get(task.task.name)
    above = source.lines[: task.place - 1]
    below = source.lines[own.last if own else task.place - 1 :]
    free = size - counting.part(f"## {task.task.path}") - 4
    first, last = len(above), 0
    while first > 0 or last < len(below):
        step = 0
        # Two lines above for one below, as long as there are some.
        for number in range(3):
            up = (number < 2 and first > 0) or last >= len(below)
            if up and first == 0:
                continue
            cost = counting.part(above[first - 1] if up else below[last])
            if cost > free:
                continue
            free -= cost
            step += 1
            first, last = (first - 1, last) if up else (first, last + 1)
        if not step:
            break
    lines = [*above[first:], *below[:last]]
    text = "\n".join([f"## {task.task.path}", *lines])
    while counting.whole(text) > size and lines:
        lines = lines[1:]
        text = "\n".join([f"## {task.task.path}", *lines])
    return text


def _held(parent: Parent, task: ReadTask, text: str) -> Iterator[Piece]:
    """Yield the functions of the task's file that a text holds whole."""
    for piece in parent.pieces("bodies", [task.task.path]):
        if piece.text in text:
            yield piece


def ours(
    bench: Bench,
    repository: Repository,
    tasks: Sequence[ReadTask],
    reader: LikelihoodReader,
    policies: Mapping[str, Policy],
    sizes: Mapping[str, Sequence[int]],
) -> Iterator[ReadContext]:
    """Yield the contexts of the policies, in the order of the log; `sizes` by task."""
    counter, recent, graph = counter_of(reader), RecentStates(), None
    with opened(bench, repository, [one.task for one in tasks]) as store:
        cache = BuildCache(counter, store.get)
        moments = [
            (moment_at(store, repository.name, f"before:commit:{one.task.sha}"), one)
            for one in tasks
        ]
        for moment, one in sorted(moments, key=lambda pair: (pair[0].position or 0, pair[1].id)):
            states = states_at(store, repository.name, moment, recent)
            graph = dependency_graph.graph_of(states.graph, graph)
            for name, policy in policies.items():
                for size in sizes.get(one.id, ()):
                    profile = profile_of(size)._replace(template=reader.counted_as)
                    text = _within(profile, cache, policy, states, graph, one)
                    yield ReadContext(one.id, name, size, text)


def _within(
    profile: ModelProfile,
    cache: BuildCache,
    policy: Policy,
    states: TaskStates,
    graph: Graph,
    task: ReadTask,
) -> str:
    """Return a context without the target's own old text, which stands in every request.

    What that took is given back, so that all contexts have the same tokens for the rest.
    """
    request = request_of(task.task)._replace(behind=task.behind)
    size = profile.context
    free = 0
    while True:
        wider = profile.with_context(size + free, WIDEST)
        context = ContextBuilder(wider, cache, policy).build(states, graph, request)
        others = [item for item in context.items if not _is_asked(item, task)]
        text = text_of(others, policy)
        if len(others) == len(context.items) or free:
            if cache.counting.tokenizer.count(text) <= size:
                return text
            free -= max(8, free // 20)
        else:
            free = sum(item.tokens for item in context.items if item not in others)


def _is_asked(item: Item, task: ReadTask) -> bool:
    """Tell whether an item is the target's own old text, whatever stands above it there."""
    own = name_of(item.node) == task.task.name and path_of(item.node) == task.task.path
    return item.level == "full" and (own or item.text.strip() in task.asked)


def policies_of(names: Sequence[str]) -> dict[str, Policy]:
    """Return policies by name, or by the name of their files."""
    return {
        Path(name).stem if name.endswith(".toml") else name: policy_named(name) for name in names
    } or {"default": DEFAULT}


def messages_of(task: ReadTask, context: str) -> list[tuple[str, str]]:
    """Return the messages of a prompt, the same for every method but for the context."""
    shown: Callable[..., str] = "\n\n".join
    return [("system", SYSTEM), ("user", shown(filter(None, (context, task.asked))))]


def _key(task: str, method: str, size: int) -> str:
    return f"{task} {method} {size}"


def _named(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:10]
