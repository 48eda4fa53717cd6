"""What an outcome really used, and how much of that its prompt had shown.

Used is what the accepted code names of the project's own that was there before, the failure that it
mended and the test that had failed, and the files that were opened next. It is a lower bound of
what was needed: code can only use what whoever wrote it knew, or guessed right.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

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
    """What the outcome of a step used, sorted; empty where nothing came of it."""
    before = dependency_graph.present(step.known.states.graph)
    found = {Used("symbol", node) for node in _symbols(step, before)}
    found |= set(_mended(step.known, step.after, step.request.target, before))
    for node in step.opened:
        if path_of(node) in before:
            found.add(Used("file" if kind_of(node) == "module" else "symbol", node))
    return tuple(sorted(found))


def _symbols(step: ReplayStep, before: Mapping[str, Facets]) -> Iterator[str]:
    """What the target's accepted code needs, and was there before."""
    if step.after is not step.known and step.request.target:
        for node in needs_of(step.after.graph, step.request.target):
            if there(before, node):
                yield node


def needs_of(graph: Graph, target: str) -> Iterator[str]:
    """What a module needs of others, or a function of all but itself; tests apart."""
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


def there(before: Mapping[str, Facets], node: str) -> bool:
    """Whether a function, class or constant was there."""
    facets, name = before.get(path_of(node)), name_of(node)
    if facets is None:
        return False
    outer, _, attribute = name.rpartition(".")
    if kind_of(node) == "attribute" and outer:
        told = facets.get(f"attributes:{outer}", ())
        return any(one.partition("=")[0] == attribute for one in told)
    return f"sig:{name}" in facets or f"name:{name}" in facets


def _mended(
    known: KnownState, after: KnownState, target: str, before: Mapping[str, Facets]
) -> Iterator[Used]:
    """The failures that were open and are not any more, and the tests that had failed."""
    left = {_check(one) for one in after.states.online.failures if not one.over}
    for one in known.states.online.failures if after is not known else ():
        if one.over or one.kind != "checks" or _check(one) in left:
            continue
        if one.at and path_of(target) and one.at != path_of(target):
            continue
        yield Used("failure", f"failure:{one.version}.{one.number}")
        path, _, name = one.name.partition("::")
        name = name.partition("[")[0].replace("::", ".")
        if name and f"sig:{name}" in before.get(path, {}):
            yield Used("test", node_id("test", path, name))


def _check(one: Failure) -> tuple[str, str]:
    return one.at, one.name or one.message


def showing(context: Context) -> Callable[[Used], bool]:
    """Whether a context shows a thing, by more than its name."""
    levels = {one.node: one.level for one in context.items}
    shown = {node for node, level in levels.items() if level != "name"}
    files = {path_of(node) for node in shown if not node.startswith(("failure:", "task:"))}

    def shows(thing: Used) -> bool:
        node = thing.node
        if thing.kind == "file":
            return path_of(node) in files
        return (
            node in shown
            or any(levels.get(one) == "full" for one in _around(node))
            or (
                # A module's opening lines are its constants and the signatures of what is in it.
                levels.get(node_id("module", path_of(node))) == "signature"
                and "." not in name_of(node)
            )
        )

    return shows


def _around(node: str) -> Iterable[str]:
    """What a thing's text stands in."""
    path, outer = path_of(node), name_of(node)
    if path == node or node.startswith("failure:"):
        return
    while "." in outer:
        outer = outer.rpartition(".")[0]
        yield node_id("class", path, outer)
    yield node_id("module", path)
