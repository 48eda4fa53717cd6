"""Nodes as people name them: by their ids, or by a bare PATH or PATH::NAME."""

from difflib import get_close_matches

from backcast.domain.cache import names_of
from backcast.domain.errors import InputError, MomentError
from backcast.domain.events import EventType
from backcast.domain.moment import Moment
from backcast.domain.node import KINDS, SYMBOLS, kind_of, node_id
from backcast.domain.outline import names_in
from backcast.engine.history.snapshots import state_at
from backcast.engine.interfaces.outlining import time_of
from backcast.engine.log.store import EventStore
from backcast.engine.memory.outliner import outliner_of
from backcast.engine.replay.audit import named
from backcast.projections import dependency_graph

NEAR = 3
"Names that are offered where one was not found."


def node_asked(target: str | None, query: str, store: EventStore, task: str, at: Moment) -> str:
    """Return the node of a request; empty where only words were given.

    What is not there yet is named by its id. `InputError` where the text names none.
    """
    if not target:
        if not query.strip():
            raise InputError("needed --for NODE or --query TEXT, or both")
        return ""
    node = target
    if not has_kind(target):
        need_outline(store, task, target, at)
        found = bare_nodes(store, task, target, at)
        if len(found) > 1:
            raise _several(target, found)
        node = found[0] if found else ""
    if kind_of(node) in ("module", *SYMBOLS):
        return node
    near = near_nodes(store, task, target, at)
    path, mark, name = target.partition("::")
    kind = "function" if mark and name else "module"
    new = "" if has_kind(target) or not outliner_of(path) else \
        f": for one that is not there yet, write {kind}:{target}"  # fmt: skip
    raise InputError(f"needed module:PATH or function:PATH::NAME, found {target!r}{new}{near}")


def node_named(store: EventStore, task: str, text: str, at: Moment) -> str:
    """Return the node that a text names; a bare path is one of a module that may be gone.

    `InputError` where a bare name is that of none, or of several.
    """
    if has_kind(text):
        return text
    if "::" not in text:
        return node_id("module", text)
    found = bare_nodes(store, task, text, at)
    if len(found) > 1:
        raise _several(text, found)
    if not found:
        raise unknown_node(store, task, text, at)
    return found[0]


def bare_nodes(store: EventStore, task: str, text: str, at: Moment) -> list[str]:
    """Return the nodes that a bare PATH or PATH::NAME is the name of."""
    path, mark, name = text.partition("::")
    if not mark:
        known = path in state_at(store, dependency_graph, task, at).modules
        return [node_id("module", path)] if known else []
    return named(store.read(task, moment=at, types=[EventType.MODULE_OUTLINED]), path, name)


def _several(text: str, nodes: list[str]) -> InputError:
    names = ", ".join(map(repr, nodes))
    return InputError(f"needed one node, found that {text!r} is {len(nodes)} of them: {names}")


def need_outline(store: EventStore, task: str, text: str, at: Moment) -> None:
    """Refuse a moment by position that stands before the outline of what a name is in."""
    place = text.partition(":")[2] if has_kind(text) else text
    path, mark, _ = place.partition("::")
    if at.position is None or not mark or not outliner_of(path):
        return
    if path in dependency_graph.behind(state_at(store, dependency_graph, task, at)):
        raise MomentError(
            f"{path!r} was outlined after that moment was recorded: name it by its time,"
            f" {task}@{time_of(store, task, at)}"
        )


def has_kind(text: str) -> bool:
    """Return whether a text is a node's id, and not a bare path."""
    kind, mark, place = text.partition(":")
    return kind in (*KINDS, "failure", "iteration") and bool(mark and place)


def near_nodes(store: EventStore, task: str, text: str, at: Moment) -> str:
    """Return what to add of nodes whose names are near a text; empty where none is."""
    state = state_at(store, dependency_graph, task, at)
    nodes = [node_id("task", task)]
    for path in sorted(state.modules):
        facets = state.modules[path].facets
        nodes.append(node_id("module", path))
        kinds = ((name, facets[f"sig:{name}"]) for name in names_in(facets))
        nodes += [node_id(sig[0], path, name) for name, sig in kinds if sig]
    place = text.partition(":")[2] if has_kind(text) else text
    places = {node.partition(":")[2]: node for node in reversed(nodes)}
    near = [node for node in nodes if place in names_of(node)]
    near += [places[match] for match in get_close_matches(place, places, NEAR)]
    names = ", ".join(map(repr, list(dict.fromkeys(near))[:NEAR]))
    return f"; near it: {names}" if names else ""


def unknown_node(store: EventStore, task: str, text: str, at: Moment) -> InputError:
    """Return the error where the log tells nothing of a node: what may have been meant."""
    meant = near_nodes(store, task, text, at)
    if any(store.read(task, types=["DISPATCH_STARTED"])):
        place = text.partition(":")[2] if has_kind(text) else text
        return InputError(
            f"task {task!r} is a run of agents over a list of tasks, whose log holds no modules:"
            f" 'backcast show facts {task} --about {place}' tells what it has of them"
        )
    such = "" if has_kind(text) else " such as module:PATH"
    return InputError(f"needed a node of task {task!r}{such}, found {text!r}{meant}")
