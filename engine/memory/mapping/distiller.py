"""Distils a run from its events alone, without a model."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from immutables import Map

from backcast.domain.context_map import Distilled, MapEntry, MapItem, plain
from backcast.domain.events import ChecksRan, ToolReturned
from backcast.domain.graph import NEEDS
from backcast.domain.node import kind_of, name_of, node_id, path_of
from backcast.domain.outline import EXISTS, Facet, Facets, names_in
from backcast.domain.reader import Reader
from backcast.domain.summary import built_from
from backcast.engine.memory.mapping import FinishedRun
from backcast.projections.context_map import ContextMap

SYMBOLS = ("function", "method", "class")
CONSTANTS, SCHEMAS, ERRORS = 3, 2, 2
"Most new entries of a section from one run; the most used first."
WIDE = 240
"Characters of an entry."
LITERAL = 60
"Characters of a constant's value."


class FromEvents:
    """A Distiller of changes, their uses, opened nodes and recurring errors."""

    id = "events 1"

    def distil(self, run: FinishedRun, map: ContextMap) -> Distilled:
        """Return the lessons of a run, and the use of each item of the map to it."""
        after = run.after
        changed = tuple(_changed(run))
        uses = Counter(node for source in changed for node in needs(run, source))
        opened = Counter(_opened(run))
        used = sorted({node for node in (*uses, *opened) if kind_of(node) in SYMBOLS})
        touched = frozenset((*used, *changed, *opened, *(_module(node) for node in changed)))
        tags = {item: _tag(run, map.items[item], touched) for item in sorted(map.items)}
        entries = (*_constants(after, uses), *_schemas(after, uses), *_errors(run, after))
        diagnosis = _diagnosis(changed, used, opened, map)
        return Distilled(tuple(used), changed, tags, entries, diagnosis, by=self.id)


def _tag(run: FinishedRun, item: MapItem, touched: frozenset[str]) -> str:
    if run.moved(item):
        return "stale"
    return "helpful" if not touched.isdisjoint(item.nodes) else "neutral"


def _changed(run: FinishedRun) -> Iterator[str]:
    """Yield the new and changed functions and classes, without tests; sorted in each module."""
    before = run.before.modules
    for path in run.after:
        new, module = run.state.modules[path].facets, before.get(path)
        old = module.facets if module and not module.deleted else Map[str, Facet]()
        if old is new:
            continue
        for name in names_in(new):
            kind = (new[f"sig:{name}"] or ("function",))[0]
            keys = (f"sig:{name}", f"body:{name}")
            if kind in SYMBOLS and any(old.get(key) != new.get(key) for key in keys):
                yield node_id(kind, path, name)


def needs(run: FinishedRun, source: str) -> Iterator[str]:
    """Yield the project's own nodes that a function or class needs, sorted.

    A class needs only what its `class` line names, since its methods have needs of their own.
    """
    links = run.graph.links.get(path_of(source))
    edges = links.edges if links else ()
    targets = {e.target for e in edges if e.source == source and e.kind in NEEDS}
    yield from sorted(node for node in targets if node != source and path_of(node) in run.after)


def _opened(run: FinishedRun) -> Iterator[str]:
    """Yield the nodes that the run asked to see."""
    for event in run.events:
        if isinstance(event.fact, ToolReturned):
            yield from event.fact.nodes


def _module(node: str) -> str:
    return node_id("module", path_of(node))


def _constants(after: Mapping[str, Facets], uses: Counter[str]) -> Iterator[MapEntry]:
    """Yield entries for the constants that the run's code used most."""
    used = [node for node in sorted(uses) if kind_of(node) == "attribute"]
    for node in sorted(used, key=lambda node: -uses[node])[:CONSTANTS]:
        why = f"used in {uses[node]} of the run's functions"
        yield from _constant(after, node, why, LITERAL)


def _constant(
    after: Mapping[str, Facets], node: str, why: str, most: int = WIDE
) -> Iterator[MapEntry]:
    """Yield the entry of a constant whose value has at most `most` characters."""
    path, name, reader = path_of(node), name_of(node), Reader(after)
    bound = reader.facet(path, f"name:{name}")
    if bound and bound[0] == "value" and 0 < len("".join(bound[1:])) <= most:
        text = plain(f"{path}: {name} = {''.join(bound[1:])}", WIDE)
        yield MapEntry("DOMAIN CONSTANTS", text, (node,), built_from(reader), why)


def _schemas(after: Mapping[str, Facets], uses: Counter[str]) -> Iterator[MapEntry]:
    """Yield entries for the classes with several used attributes, with all their attributes."""
    owners = Counter[str]()
    for node in sorted(uses):
        owner = name_of(node).rpartition(".")[0]
        if kind_of(node) == "attribute" and owner:
            owners[node_id("class", path_of(node), owner)] += 1
    often = [node for node in owners if owners[node] > 1]
    for node in sorted(often, key=lambda node: (-owners[node], node))[:SCHEMAS]:
        yield from _schema(after, node, f"{owners[node]} of its attributes were used")


def _schema(after: Mapping[str, Facets], node: str, why: str) -> Iterator[MapEntry]:
    """Yield the entry of a class with attributes."""
    path, name, reader = path_of(node), name_of(node), Reader(after)
    fields = reader.facet(path, f"attributes:{name}")
    if fields:
        names = ", ".join(field.partition("=")[0] for field in fields)
        text = plain(f"{path}: {name} has {names}", WIDE)
        yield MapEntry("PARSING SCHEMA", text, (node,), built_from(reader), why)


def renewed(run: FinishedRun, map: ContextMap) -> Iterator[MapEntry]:
    """Yield new entries for the constants and classes on a map that the run changed, whether its
    code uses them or not; nothing for one that is gone, or whose item a model worded."""
    for id in sorted(map.items):
        item = map.items[id]
        if item.section not in _RENEWED or len(item.nodes) != 1 or not run.moved(item):
            continue
        head, entry = _RENEWED[item.section]
        [node] = item.nodes
        if item.text.startswith(f"{path_of(node)}: {name_of(node)} {head} "):
            yield from entry(run.after, node, "it changed")


_RENEWED: Mapping[str, tuple[str, Callable[[Mapping[str, Facets], str, str], Iterator[MapEntry]]]]
_RENEWED = {"DOMAIN CONSTANTS": ("=", _constant), "PARSING SCHEMA": ("has", _schema)}
"How the entries of a section begin behind their subject, and what makes them."


def _errors(run: FinishedRun, after: Mapping[str, Facets]) -> Iterator[MapEntry]:
    """Yield entries for failures with one message in one module at several runs of tests."""
    seen = Counter[tuple[str, str]]()
    for event in run.events:
        if isinstance(event.fact, ChecksRan):
            places = [(f.at.rpartition(":")[0], f.message) for f in event.fact.failures]
            module = event.fact.module_name or ""
            seen.update({(module or path, text.partition("\n")[0]) for path, text in places})
    often = [key for key in seen if seen[key] > 1 and key[0] in after and key[1].strip()]
    for path, message in sorted(often, key=lambda key: (-seen[key], key))[:ERRORS]:
        reader = Reader(after)
        reader.facet(path, EXISTS)
        text = plain(f"{path}: {message}, {seen[path, message]} times in one run", WIDE)
        nodes = (node_id("module", path),)
        yield MapEntry("ERROR PATTERNS", text, nodes, built_from(reader), "it came back")


def _diagnosis(
    changed: Sequence[str], used: Sequence[str], opened: Counter[str], map: ContextMap
) -> str:
    on_map = {node for item in map.items.values() for node in item.nodes}
    again = sum(times > 1 for times in opened.values())
    return (
        f"{len(changed)} functions and classes changed; of {len(used)} that they use,"
        f" {sum(node in on_map for node in used)} stood on the map; {len(opened)} opened,"
        f" {again} of them again"
    )
