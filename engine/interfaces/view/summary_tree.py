"""The summaries of a moment as a tree: modules, their classes and functions; what is stale, why."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import NamedTuple

from backcast.domain.node import kind_of, name_of, path_of, plain_name
from backcast.domain.outline import lines_by_name, names_in
from backcast.engine.history.staleness import Stale
from backcast.engine.interfaces.view.markup import Markup, folded, joined, tag
from backcast.engine.interfaces.view.panels import PanelMaker
from backcast.projections import dependency_graph, summaries
from backcast.projections.dependency_graph import ModuleNode
from backcast.projections.summaries import Written

MOST = 8
"Changed parts of a module that are named."
PARTS = {"body": "the body", "doc": "the docstring", "sig": "the signature", "name": "the name",
         "calls": "what is called", "follows": "what is called", "kind": "the kind"}  # fmt: skip
"Words on the parts of an outline."
OUTLINED = 40
"Modules up to which those are shown too of which no summary was written."


class SummarisedNode(NamedTuple):
    """What is known of one module, class or function: an outline, and the written summaries."""

    node: str
    written: tuple[Written, ...]
    stale: tuple[Stale, ...]
    "Those of the written ones that do not hold."


class ModuleTree(NamedTuple):
    """A module as it stands at a moment, and the summaries of what is in it."""

    path: str
    module: ModuleNode | None
    nodes: tuple[SummarisedNode, ...]
    now: tuple[tuple[str, int], ...]
    "The iterations, at the moment, of the modules that the summaries were made of."

    @property
    def key(self) -> tuple[object, ...]:
        """All that its part of the page is made of."""
        module = self.module
        text = module and (module.version, module.source_version, module.outlined, module.deleted)
        said = tuple((node.node, node.written, *map(str, node.stale)) for node in self.nodes)
        return "summaries", self.path, text, said, self.now

    @property
    def stale(self) -> int:
        """How many summaries do not hold."""
        return sum(len(node.stale) for node in self.nodes)

    @property
    def total(self) -> int:
        """How many summaries were written."""
        return sum(len(node.written) for node in self.nodes)


def summary_trees(
    graph: dependency_graph.State, written: summaries.State, stale: Sequence[Stale]
) -> list[ModuleTree]:
    """Return the modules that have summaries, by path; where modules are few, the others too."""
    by_path: dict[str, list[SummarisedNode]] = {}
    outdated: dict[str, list[Stale]] = {}
    for entry in stale:
        outdated.setdefault(entry.node, []).append(entry)
    for node in sorted(written.nodes):
        found = SummarisedNode(node, written.nodes[node], tuple(outdated.get(node, ())))
        by_path.setdefault(path_of(node), []).append(found)
    paths = set(by_path)
    if len(graph.modules) <= OUTLINED:
        paths |= {path for path, module in graph.modules.items() if module.facets}
    return [module_tree(graph, path, by_path.get(path, ())) for path in sorted(paths)]


def module_tree(
    graph: dependency_graph.State, path: str, nodes: Iterable[SummarisedNode] = ()
) -> ModuleTree:
    """Return a module with some summaries of what is in it."""
    held = tuple(nodes)
    paths = {made for node in held for each in node.written for made, _ in each.clock}
    modules = [(made, graph.modules.get(made)) for made in sorted(paths)]
    now = tuple((made, node.iteration) for made, node in modules if node and not node.deleted)
    return ModuleTree(path, graph.modules.get(path), held, now)


def summary_section(maker: PanelMaker, trees: Sequence[ModuleTree]) -> Markup:
    """Return all trees below each other, each folded unless something in it is stale."""
    count, stale = sum(tree.total for tree in trees), sum(tree.stale for tree in trees)
    if not trees:
        return Markup("")
    held = sum(bool(tree.total) for tree in trees)
    said = f"Summaries: {count} of {held} modules, {stale} stale"
    title = said if count else "Functions: no summary was written by then"
    rows = [maker.made(tree.key, partial(tree_part, maker, tree)) for tree in trees]
    return tag("section", tag("h3", title), tag("div", *rows, class_="tree"))


def tree_part(maker: PanelMaker, tree: ModuleTree) -> Markup:
    """Return one module: its own summary first, then its classes and functions."""
    stale = tag("b", f"✗ {tree.stale} stale", class_="bad") if tree.stale else None
    names = _names(tree)
    said = f"{tree.total} summaries" if tree.total > 1 else "1 summary"
    said = said if tree.total else f"{len(names)} in it, no summary"
    gone = " deleted" if tree.module and tree.module.deleted else ""
    title = joined([tag("code", tree.path), " ", tag("small", said + gone), " ", stale])
    own = next((node for node in tree.nodes if not name_of(node.node)), None)
    doc = " ".join(_facet(tree, "doc"))
    body = [_said(maker, tree, own) if own else _derived(doc), symbol_list(maker, tree)]
    return maker.keep(folded(title, *body, is_open=bool(tree.stale), key=f"tree {tree.path}"))


def folded_symbols(maker: PanelMaker, tree: ModuleTree) -> Markup:
    """Return the classes and functions of a module, folded; nothing where it has none."""
    if not (names := _names(tree)):
        return Markup("")
    inside = folded(f"{len(names)} classes and functions", symbol_list(maker, tree),
                    key=f"inside {tree.path}")  # fmt: skip
    return maker.keep(tag("div", inside, class_="tree"))


def symbol_list(maker: PanelMaker, tree: ModuleTree) -> Markup:
    """Return the classes and functions of a module, those of a class below it."""
    names = _names(tree)
    inner: dict[str, list[str]] = {}
    for name in names:
        outer = name.rpartition(".")[0]
        inner.setdefault(outer if outer in names else "", []).append(name)
    known = {name_of(node.node): node for node in tree.nodes}

    def part(name: str) -> Markup:
        return _symbol(maker, tree, name, known.get(name), [part(n) for n in inner.get(name, ())])

    return joined(part(name) for name in inner.get("", ()))


def _names(tree: ModuleTree) -> list[str]:
    """Return the names in a module in the order of its lines, then those that are there no more."""
    module = tree.module
    found = names_in(module.facets) if module else []
    lines = lines_by_name(module.facets, module.lines) if module else {}
    found = sorted(found, key=lambda name: (lines.get(name, (0, 0)), name))
    written = [name_of(node.node) for node in tree.nodes if name_of(node.node)]
    return [*found, *(name for name in dict.fromkeys(written) if name not in found)]


def _facet(tree: ModuleTree, key: str) -> tuple[str, ...]:
    return (tree.module.facets.get(key) if tree.module else None) or ()


def _symbol(
    maker: PanelMaker, tree: ModuleTree, name: str, node: SummarisedNode | None,
    inner: Sequence[Markup],
) -> Markup:  # fmt: skip
    kind, signature, *_ = (*_facet(tree, f"sig:{name}"), "", "")
    is_gone = bool(tree.module and tree.module.facets and not kind)
    kind = kind or (kind_of(node.node) if node else "")
    shown = plain_name(name).rpartition(".")[2]
    mark = None
    if node and (node.stale or is_gone):
        mark = tag("b", "✗ stale" if node.stale else "gone", class_="bad")
    elif node:
        mark = tag("b", "✓", class_="holds", title="it holds")
    what = "class " if kind == "class" else ""
    count = tag("small", f" {len(inner)} in it") if inner else None
    title = joined([what, tag("code", shown), count, " ", mark])
    doc = " ".join(_facet(tree, f"doc:{name}"))
    called = tag("p", tag("code", f"{shown}{signature}"), class_="note") if signature else None
    said = _said(maker, tree, node) if node else _derived(doc)
    body = [part for part in (called, said, *inner) if part]
    if not body:
        return tag("p", title, class_="leaf", data_k=f"tree {tree.path}::{name}")
    return folded(title, *body, is_open=bool(node and node.stale) or bool(inner),
                  key=f"tree {tree.path}::{name}")  # fmt: skip


def _derived(doc: str) -> Markup:
    """Return what the code says of itself; no summary was written."""
    return tag("p", doc, class_="derived", title="its docstring: no summary was written") if doc \
        else Markup("")  # fmt: skip


def _said(maker: PanelMaker, tree: ModuleTree, node: SummarisedNode) -> Markup:
    """Return the summaries of a node, the newest first, each with what it was made of."""
    now = dict(tree.now)
    outdated = {entry.summariser: entry for entry in node.stale}
    parts = list[Markup]()
    for written in reversed(node.written):
        stale = outdated.get(written.summariser)
        parts.append(tag("p", written.text, class_="summary-text"))
        if stale:
            parts.append(tag("p", *_why(maker, stale), class_="stale"))
        clock = sorted(written.clock, key=lambda pair: (pair[0] != tree.path, pair))
        made = [_version(path, iteration, now.get(path, 0), is_stale=bool(stale))
                for path, iteration in clock]  # fmt: skip
        of = joined(
            [" of ", *(part for each in made for part in (each, ", "))][:-1] if made else []
        )
        parts.append(tag("p", maker.link(written.version), " by ", written.summariser, of,
                         class_="note"))  # fmt: skip
    return joined(parts)


def _facet_words(part: str) -> str:
    """Return a part of an outline in words.

    >>> _facet_words("sig:clean"), _facet_words("doc"), _facet_words("imports")
    ('the signature of clean', 'the docstring', 'imports')
    """
    kind, _, name = part.partition(":")
    words = PARTS.get(kind, kind)
    return f"{words} of {name}" if name else words


def _version(path: str, iteration: int, now: int, *, is_stale: bool) -> Markup:
    """Return a module's iteration in a summary's clock, and the one of the moment beside it."""
    made = tag("code", f"{path}={iteration}")
    if iteration == now:
        return made
    words = f" now {now}" if now else " now gone"
    return joined([made, tag("b", words, class_="bad" if is_stale else None)])


def _why(maker: PanelMaker, stale: Stale) -> list[object]:
    """Return why a summary does not hold: the event, the version that moved, and the way to it."""
    proof = stale.proof
    by = f"✗ stale by {stale.by}"
    if stale.reason or proof is None or not proof.since:
        return [f"{by}: {stale.reason or proof}"]
    moved = ", ".join(f"{path}={number}" if number else f"{path} is gone"
                      for path, number in proof.clock)  # fmt: skip
    parts: list[object] = [f"{by} since ", maker.link(proof.since), ": ", tag("code", moved)]
    if len(proof.way) > 1:
        parts.append(f", which it needs: {' → '.join(proof.way)}")
    if proof.facets:
        parts.append(f"; what changed: {', '.join(map(_facet_words, proof.facets[:MOST]))}")
    return parts
