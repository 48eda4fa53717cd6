"""The texts by which modules and functions are found, kept from one process to the next.

A node's text is its derived summary. It holds as long as all that its module's texts were made of:
so what events have touched since is made anew with all that has read it, and nothing else.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from pydantic_core import from_json, to_json

from backcast.domain.moment import Moment
from backcast.domain.node import node_id
from backcast.domain.outline import Facets, names_in
from backcast.domain.reader import Reader
from backcast.domain.summary import parts_of, text_of
from backcast.domain.tree import TREE, Tree, moved_tops, tree_of
from backcast.engine.context.search import Document
from backcast.engine.history.kept import SPREAD, code_of, keep, kept
from backcast.engine.history.kept_graph import touched
from backcast.engine.log.store import EventStore
from backcast.projections import dependency_graph

NAME = "texts"
FILES = ("engine/context/search/node_texts.py", "engine/history/kept_graph.py")


class ModuleTexts(NamedTuple):
    """The texts of a module and of all that is in it."""

    documents: tuple[Document, ...]
    read: frozenset[str]
    "The paths of other modules that they were made of, existing or not."
    tops: frozenset[str]
    "What was asked of the tree of all modules."


def node_texts(
    store: EventStore,
    task_id: str,
    moment: Moment,
    state: Callable[[], dependency_graph.State],
) -> list[Document]:
    """Return the derived text of each module, function and class of a task at a moment.

    `state` gives the state of that moment; where nothing has moved on it is not asked for.
    """
    last, code = store.version_at(task_id, moment), code_of(*FILES)
    found = None if moment.at else kept(store, NAME, code, task_id, last, load)
    moved = touched(store, task_id, found[0], last) if found else set[str]()
    if found is None or moved:
        texts = _made(dependency_graph.present(state()), found[1] if found else {}, moved)
    else:
        texts = found[1]
    is_last = moment.at is None and last == store.version(task_id)
    if is_last and (found is None or last - found[0] > SPREAD):
        keep(store, NAME, code, task_id, last, dump(texts))
    return [document for part in texts.values() for document in part.documents]


def _made(
    modules: Mapping[str, Facets], before: Mapping[str, ModuleTexts], moved: set[str]
) -> dict[str, ModuleTexts]:
    """Return the texts of all modules, those of before where nothing that they read has moved."""
    tree = tree_of(modules)
    tops = moved_tops(tree_of(before), tree) if before else set[str]()
    made = {}
    for path in modules:
        known = before.get(path)
        stands = known is not None and path not in moved
        if known and stands and moved.isdisjoint(known.read) and tops.isdisjoint(known.tops):
            made[path] = known
        else:
            made[path] = _of(modules, path, tree)
    return made


def _of(modules: Mapping[str, Facets], path: str, tree: Tree) -> ModuleTexts:
    facets, reader = modules[path], Reader(modules, tree)
    nodes = [node_id("module", path)]
    for name in names_in(facets):
        nodes.append(node_id((facets[f"sig:{name}"] or ("function",))[0], path, name))
    documents = tuple(Document(node, text_of(parts_of(reader, node))) for node in nodes)
    tops = frozenset(key for other, key in reader.seen if other == TREE)
    read = frozenset(other for other, _ in reader.seen) - {path, TREE}
    return ModuleTexts(documents, read, tops)


def dump(texts: Mapping[str, ModuleTexts]) -> bytes:
    """Return texts as JSON; of what was read each text once."""
    numbers: dict[str, int] = {}

    def flat(names: frozenset[str]) -> list[int]:
        return [numbers.setdefault(name, len(numbers)) for name in sorted(names)]

    rows = [
        (path, part.documents, flat(part.read), flat(part.tops)) for path, part in texts.items()
    ]
    return to_json([rows, list(numbers)])


def load(body: bytes) -> dict[str, ModuleTexts]:
    """Return texts that were dumped. `ValueError`, `TypeError` or `LookupError` where they are
    none."""
    rows, names = from_json(body)
    return {
        path: ModuleTexts(
            tuple(map(Document._make, documents)),
            frozenset([names[number] for number in read]),
            frozenset([names[number] for number in tops]),
        )
        for path, documents, read, tops in rows
    }
