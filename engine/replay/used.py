"""Find what the outcome of a prompt really used, and how much of it the prompt had shown.

Used are the project's own symbols that the accepted code names and that existed before, the failure
that it mended with its test, and the files opened next. That is a lower bound of what was needed:
code can only use what its author knew, or guessed right.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from backcast.domain.allocation import DUPLICATE
from backcast.domain.cache import Failure
from backcast.domain.context import Context
from backcast.domain.graph import NEEDS, Graph
from backcast.domain.node import kind_of, name_of, node_id, path_of
from backcast.domain.outline import Facets
from backcast.engine.replay.steps import KnownState, ReplayStep
from backcast.projections import dependency_graph

SYMBOLS = ("function:", "method:", "class:", "attribute:")


class Used(NamedTuple):
    """One thing that an outcome used."""

    kind: str
    "symbol, failure, test or file."
    node: str


def used(step: ReplayStep) -> tuple[Used, ...]:
    """Return what the outcome of a step used, sorted; empty where nothing came of it."""
    before = dependency_graph.present(step.known.states.graph)
    things = {Used("symbol", node) for node in _symbols(step, before)}
    things |= set(_mended(step.known, step.after, step.request.target, before))
    for node in step.opened:
        if path_of(node) in before:
            things.add(Used("file" if kind_of(node) == "module" else "symbol", node))
    return tuple(sorted(things))


def _symbols(step: ReplayStep, before: Mapping[str, Facets]) -> Iterator[str]:
    """Yield the known symbols that the target's accepted code needs."""
    if step.after is not step.known and step.request.target:
        for node in needs_of(step.after.graph, step.request.target):
            if is_known(before, node):
                yield node


def needs_of(graph: Graph, target: str) -> Iterator[str]:
    """Yield the symbols outside itself that a module or function needs; its tests do not count."""
    path, name = path_of(target), name_of(target)
    links = graph.links.get(path)
    for source, kind, node in links.edges if links else ():
        if kind not in NEEDS or not node.startswith(SYMBOLS) or kind_of(source) == "test":
            continue
        if name:
            own = name_of(source)
            if (own == name or own.startswith(f"{name}.")) and node != source:
                yield node
        elif path_of(node) != path:
            yield node


def is_known(before: Mapping[str, Facets], node: str) -> bool:
    """Whether some outlines hold a function, class or constant."""
    facets, name = before.get(path_of(node)), name_of(node)
    if facets is None:
        return False
    outer, _, attribute = name.rpartition(".")
    if kind_of(node) == "attribute" and outer:
        attributes = facets.get(f"attributes:{outer}", ())
        return any(line.partition("=")[0] == attribute for line in attributes)
    return f"sig:{name}" in facets or f"name:{name}" in facets


def _mended(
    known: KnownState, after: KnownState, target: str, before: Mapping[str, Facets]
) -> Iterator[Used]:
    """Yield the failures that were open and are closed now, and their tests."""
    open_checks = {_check(failure) for failure in after.states.online.failures if not failure.over}
    for failure in known.states.online.failures if after is not known else ():
        if failure.over or failure.kind != "checks" or _check(failure) in open_checks:
            continue
        if failure.at and path_of(target) and failure.at != path_of(target):
            continue
        yield Used("failure", f"failure:{failure.version}.{failure.number}")
        path, _, name = failure.name.partition("::")
        name = name.partition("[")[0].replace("::", ".")
        if name and f"sig:{name}" in before.get(path, {}):
            yield Used("test", node_id("test", path, name))


def _check(failure: Failure) -> tuple[str, str]:
    return failure.at, failure.name or failure.message


def showing(context: Context) -> Callable[[Used], bool]:
    """Return a test of whether a context shows a thing by more than its name."""
    levels = {item.node: item.level for item in context.items}
    shown = {node for node, level in levels.items() if level != "name"}
    held = {one.node for one in context.omissions if one.reason == DUPLICATE}
    files = {path_of(node) for node in shown if not node.startswith(("failure:", "task:"))}

    def shows(thing: Used) -> bool:
        node = thing.node
        if thing.kind == "file":
            return path_of(node) in files
        return (
            node in shown
            or node in held
            or any(levels.get(outer) == "full" for outer in _around(node))
            or (
                # A module's opening lines are its constants and the signatures of what is in it.
                levels.get(node_id("module", path_of(node))) == "signature"
                and "." not in name_of(node)
            )
        )

    return shows


def _around(node: str) -> Iterable[str]:
    """Yield the nodes whose full text contains a node's text."""
    path, outer = path_of(node), name_of(node)
    if path == node or node.startswith("failure:"):
        return
    while "." in outer:
        outer = outer.rpartition(".")[0]
        yield node_id("class", path, outer)
    yield node_id("module", path)
