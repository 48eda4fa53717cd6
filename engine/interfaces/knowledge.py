"""What a task's code shows of its habits and of its libraries, as text and as JSON."""

from collections.abc import Iterator, Sequence
from typing import Any

from backcast.domain.errors import InputError
from backcast.domain.node import kind_of, path_of
from backcast.domain.project_patterns import ProjectPattern
from backcast.engine.context.project_knowledge import KnownLibrary, ProjectKnowledge
from backcast.engine.context.sources import SourceLines
from backcast.engine.history.task_states import states_at
from backcast.engine.interfaces.addresses import Place
from backcast.projections import dependency_graph

USES = 12
"Uses of a library that are printed."


def habits(place: Place) -> tuple[list[ProjectPattern], int]:
    """Return how a task's code is written, as of a moment, and how many modules it has."""
    from backcast.engine.history.snapshots import state_at

    state = state_at(place.store, dependency_graph, place.task, place.outlined())
    found = ProjectKnowledge(SourceLines(place.store.get)).habits(state)
    return found, len(dependency_graph.present(state))


def libraries(place: Place, wanted: Sequence[str], module: str) -> list[KnownLibrary]:
    """Return the third-party libraries of a task's code, or of a module of it, as of a moment.

    `InputError` where the module is not there, or a wanted library is imported nowhere.
    """
    states = states_at(place.store, place.task, place.outlined())
    graph = dependency_graph.graph_of(states.graph)
    if module and module not in graph.links:
        raise InputError(f"needed a module of task {place.task!r} at that moment, found {module!r}")
    known = ProjectKnowledge(SourceLines(place.store.get))
    names = known.libraries(states, graph, module)
    if odd := [name for name in wanted if name not in names]:
        found = f": it has {', '.join(names[:20])}" if names else ", which has none"
        raise InputError(f"needed a library of task {place.task!r}{found}; found {odd[0]!r}")
    return [known.library(states, graph, name) for name in wanted or names]


def library_lines(of: KnownLibrary) -> Iterator[str]:
    """Yield what is known of a library, a line each."""
    required = "not required by the project's files" if of.required is None else (
        f"required {of.required or 'in any version'}"
    )  # fmt: skip
    plural = "" if of.modules == 1 else "s"
    yield f"{of.name}: {required}; imported by {of.modules} module{plural}"
    if of.summary:
        yield f"  summary: {' '.join(of.summary.split())}"
    if of.alias:
        yield f"  {of.alias}"
    if of.uses:
        most = sorted(of.uses, key=lambda pair: (-pair[1], pair[0]))[:USES]
        said = ", ".join(f"{use} {count}" for use, count in most)
        more = f" and {len(of.uses) - USES} more" if len(of.uses) > USES else ""
        yield f"  used, with the functions that do: {said}{more}"
    if of.line:
        yield f"  {of.line}    # {of.place}"
    yield from (f"  failed before: {issue}" for issue in of.issues)
    if of.elsewhere:
        yield f"  in earlier tasks: {', '.join(of.elsewhere)}"


def habits_json(found: Sequence[ProjectPattern]) -> list[dict[str, str]]:
    """Return patterns as JSON."""
    return [{"subject": one.subject, "exact": one.exact, "brief": one.brief} for one in found]


def libraries_json(found: Sequence[KnownLibrary]) -> list[dict[str, Any]]:
    """Return libraries as JSON."""
    return [one._asdict() | {"uses": dict(one.uses)} for one in found]


def module_of(node: str) -> str:
    """Return the path that a user means by a path or by a node.

    >>> module_of("shop/cart.py"), module_of("function:shop/cart.py::total")
    ('shop/cart.py', 'shop/cart.py')
    """
    return path_of(node) if kind_of(node) in ("module", "function", "method", "class") else node
