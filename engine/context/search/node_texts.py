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
from backcast.engine.context.search import NO_CODE, CodePlace, Document
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
    texts = found[1] if found else {}
    if found is None or moved:
        texts = _made(state(), texts, moved)
    is_last = moment.at is None and last == store.version(task_id)
    if is_last and (found is None or last - found[0] > SPREAD):
        keep(store, NAME, code, task_id, last, dump(texts))
    return [document for part in texts.values() for document in part.documents]


def _made(
    state: dependency_graph.State, before: Mapping[str, ModuleTexts], moved: set[str]
) -> dict[str, ModuleTexts]:
    """Return the texts of all modules, those of before where nothing that they read has moved."""
    modules = dependency_graph.present(state)
    tree = tree_of(modules)
    tops = moved_tops(tree_of(before), tree) if before else set[str]()
    made = {}
    for path in modules:
        known = before.get(path)
        stands = known is not None and path not in moved
        if known and stands and moved.isdisjoint(known.read) and tops.isdisjoint(known.tops):
            made[path] = known
        else:
            source, lines = state.modules[path].source, dependency_graph.lines_of(state, path)
            places = {name: CodePlace(source, *lines[name]) for name in lines} if source else {}
            made[path] = _of(modules, path, tree, places)
    return made


def _of(
    modules: Mapping[str, Facets], path: str, tree: Tree, places: Mapping[str, CodePlace]
) -> ModuleTexts:
    facets, reader = modules[path], Reader(modules, tree)
    nodes = {node_id("module", path): NO_CODE}
    for name in names_in(facets):
        kind = (facets[f"sig:{name}"] or ("function",))[0]
        nodes[node_id(kind, path, name)] = places.get(name, NO_CODE)
    documents = tuple(
        Document(node, text_of(parts_of(reader, node)), code) for node, code in nodes.items()
    )
    tops = frozenset(key for other, key in reader.seen if other == TREE)
    read = frozenset(other for other, _ in reader.seen) - {path, TREE}
    return ModuleTexts(documents, read, tops)


def dump(texts: Mapping[str, ModuleTexts]) -> bytes:
    """Return texts as JSON; of what was read each text once."""
    numbers: dict[str, int] = {}

    def flat(names: frozenset[str]) -> list[int]:
        return [numbers.setdefault(name, len(numbers)) for name in sorted(names)]

    rows = [
        (
            path, [(one.id, one.text, *one.code[1:]) for one in part.documents],
            next((one.code.source for one in part.documents if one.code.source), ""),
            flat(part.read), flat(part.tops),
        )
        for path, part in texts.items()
    ]  # fmt: skip
    return to_json([rows, list(numbers)])


def load(body: bytes) -> dict[str, ModuleTexts]:
    """Return texts that were dumped. `ValueError`, `TypeError` or `LookupError` where they are
    none."""
    rows, names = from_json(body)
    return {
        path: ModuleTexts(
            tuple(
                Document(id, text, CodePlace(source, first, last) if last else NO_CODE)
                for id, text, first, last in documents
            ),
            frozenset([names[number] for number in read]),
            frozenset([names[number] for number in tops]),
        )
        for path, documents, source, read, tops in rows
    }
