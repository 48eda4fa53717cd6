"""The graph of a task at a moment, made from the links that were kept of an earlier one.

Links are kept per module. The events since tell which modules were touched; the links of all others
stand as long as the graph itself finds that they do, as from one step of a run to the next.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, pairwise, starmap
from typing import Any, NamedTuple

from pydantic_core import from_json, to_json

from backcast.domain.events import EventType
from backcast.domain.graph import Graph
from backcast.domain.links import Links
from backcast.domain.moment import Moment
from backcast.domain.node import Edge
from backcast.domain.tree import tree_of
from backcast.engine.history.kept import SPREAD, code_of, keep, kept
from backcast.engine.log.store import EventStore
from backcast.projections import dependency_graph
from backcast.projections.dependency_graph import ModuleNode, State

NAME = "links"
FILES = ("engine/history/kept_graph.py",)
TOUCHING = (
    EventType.MODULE_ITERATION,
    EventType.MODULE_RENAMED,
    EventType.MODULE_DELETED,
    EventType.MODULE_OUTLINED,
    EventType.SOURCE_READ,
)
"Events that may change what a module holds, or whether there is one."
GONE = ModuleNode(surface="gone")
"A module that was removed since: whatever read it is made anew."


class KeptLinks(NamedTuple):
    """The links of all modules of one moment, and the removed modules by then."""

    links: Mapping[str, Links]
    gone: Mapping[str, int]


def graph_at(store: EventStore, task_id: str, moment: Moment, state: State) -> Graph:
    """Return the graph of a task's state at a moment, and keep its links where it is the last."""
    if moment.at is not None:
        return dependency_graph.graph_of(state)
    last = store.version_at(task_id, moment)
    code = code_of(*FILES)
    found = kept(store, NAME, code, task_id, last, load)
    before = found and _standing(found[1], touched(store, task_id, found[0], last), state)
    graph = dependency_graph.graph_of(state, before)
    if (found is None or last - found[0] > SPREAD) and last == store.version(task_id):
        keep(store, NAME, code, task_id, last, dump(graph))
    return graph


def touched(store: EventStore, task_id: str, after: int, last: int) -> set[str]:
    """Return the paths of the modules that some events may have changed."""
    paths = set[str]()
    for event in store.read(task_id, after=after, last=last, types=TOUCHING):
        for field in ("module_name", "previous_name", "path"):
            if isinstance(path := getattr(event.fact, field, None), str):
                paths.add(path)
    return paths


def _standing(known: KeptLinks, touched: set[str], state: State) -> Graph:
    """Return the graph before, as far as it is known to be the same in the state of now.

    What was touched is missing in it, so that it is made anew with all that has read it.
    """
    modules: dict[str, ModuleNode] = {}
    for path in known.links:
        now = state.modules.get(path)
        if now is None or now.deleted:
            modules[path] = GONE
        elif path not in touched:
            modules[path] = now
    links = {path: known.links[path] for path in known.links if path in modules}
    tree = tree_of(known.links)
    return Graph(state.task_id, links, modules, state.concepts, known.gone, tree)


def dump(graph: Graph) -> bytes:
    """Return the links of a graph as JSON: each text once, and all else in whole numbers."""
    numbers: dict[str, int] = {}

    def flat(rows: Iterable[Sequence[str]]) -> list[int]:
        return [numbers.setdefault(text, len(numbers)) for row in rows for text in row]

    links = graph.links.values()
    columns = [[flat(getattr(one, name)) for one in links] for name in ("edges", *PAIRS)]
    reads = [[flat([(path, *keys)]) for path, keys in sorted(one.reads.items())] for one in links]
    ends = [[len(row) for row in column] for column in columns]
    joined = [[number for row in column for number in row] for column in columns]
    return to_json([list(graph.links), list(numbers), ends, joined, reads, dict(graph.gone)])


def load(body: bytes) -> KeptLinks:
    """Return links that were dumped. `ValueError`, `TypeError` or `LookupError` where they are
    none."""
    paths, texts, ends, joined, reads, gone = from_json(body)
    columns: list[list[tuple[Any, ...]]] = []
    for width, sizes, numbers in zip((3, 2, 2), ends, joined, strict=True):
        named = iter(list(map(texts.__getitem__, numbers)))
        rows = list(zip(*[named] * width, strict=True))
        whole = list(map(Edge._make, rows)) if width == 3 else rows
        cuts = pairwise(accumulate((size // width for size in sizes), initial=0))
        columns.append([tuple(whole[cut]) for cut in starmap(slice, cuts)])
    read = [
        {texts[path]: tuple([texts[key] for key in keys]) for path, *keys in one} for one in reads
    ]
    made = [Links(*each) for each in zip(*columns, read, strict=True)]
    return KeptLinks(dict(zip(paths, made, strict=True)), gone)


PAIRS = ("unresolved", "libraries")
