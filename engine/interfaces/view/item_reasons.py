"""Why each item stands in a prompt, in plain words: what it is to the target and the request."""

from collections.abc import Callable

from backcast.domain.context_events import ContextItem
from backcast.domain.node import kind_of, node_id, path_of
from backcast.engine.replay.steps import ReplayStep

KINDS = {
    "task": "the task itself", "failure": "what failed before", "map": "orientation in the project",
    "iteration": "what came of an earlier text",
}  # fmt: skip


def reasons_for(step: ReplayStep | None) -> Callable[[ContextItem], str]:
    """Return a function from an item to why it is in the prompt of a step, as far as the log and
    the code as it stood tell it."""
    if step is None:
        return lambda item: ""
    request, graph = step.request, step.known.graph
    target = path_of(request.target)
    module = node_id("module", target) if target else ""
    needs = {edge.target for edge in graph.out.get(module, ()) if edge.kind == "imports"}
    needed = {edge.source for edge in graph.into.get(module, ()) if edge.kind == "imports"}

    def reason(item: ContextItem) -> str:
        kind, path = kind_of(item.node), path_of(item.node)
        name, home = item.node.rpartition("::")[2], node_id("module", path) if path else ""
        if kind in KINDS:
            return KINDS[kind]
        if path and path == target:
            whole = "what is asked for" if item.node == request.target else f"in {target}"
            return whole if whole != f"in {target}" or kind != "module" else "the module asked for"
        if home in needed and item.section == "test results":
            return f"a test of {target}"
        if item.node in request.wanted:
            return "a test of it" if item.section == "test results" else "the request names it"
        if home in needs or path in request.needs:
            return f"imported by {target}" if home in needs else f"{target} may import it"
        if home in needed:
            return f"imports {target}"
        if item.found == "offline":
            return f"left by the task {item.task}" if item.task else "left by an earlier task"
        words = request.query
        if kind != "module" and name and name in words:
            return "the request names it"
        if path and path in words:
            return f"the request names {path}"
        return "likely by its words and its place"

    return reason
