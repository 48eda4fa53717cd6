"""Render the dependency graph as tables and as JSON."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from backcast.domain.graph import Graph
from backcast.domain.name_list import first_names
from backcast.domain.node import kind_of
from backcast.engine.interfaces.terminal import escaped
from backcast.engine.interfaces.views import table

NAMED = 4
"Names that stand in a line; the others are counted."


def graph_json(graph: Graph, around: Mapping[str, int] | None) -> dict[str, Any]:
    """Return nodes, edges and unresolved names as JSON; `around` limits them to its nodes."""
    nodes = [node for node in graph.nodes if around is None or node in around]
    inside = set(nodes)
    return {
        "nodes": [
            {"id": node, "kind": kind_of(node)}
            | ({"from": graph.libraries[node]} if node in graph.libraries else {})
            | ({"hops": around[node]} if around is not None else {})
            for node in nodes
        ],
        "edges": [list(e) for e in graph.edges if e.source in inside and e.target in inside],
        "unresolved": [list(pair) for pair in graph.unresolved if pair[0] in inside],
        "cycles": graph.cycles() if around is None else [],
    }


def show_graph(graph: Graph, behind: Sequence[str], console: Console) -> None:
    """Print the modules in the order of their imports, with counts; `behind` lack outlines."""
    rows = []
    for path in graph.order():
        node = f"module:{path}"
        out = [edge for edge in graph.out.get(node, ()) if edge.kind == "imports"]
        own = [edge.target[7:] for edge in out if edge.target.startswith("module:")]
        libraries = [edge.target[8:] for edge in out if edge.target.startswith("library:")]
        held = [edge for edge in graph.links[path].edges if edge.kind == "contains"]
        users = len({edge.source for edge in graph.into.get(node, ()) if edge.kind == "imports"})
        rows.append(
            (path, len(held), first_names(own, NAMED), first_names(libraries, NAMED), users)
        )
    table(console, ("module", "holds", "imports", "libraries", "imported by"), rows)
    counts = Counter(map(kind_of, graph.nodes))
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
    console.print(f"\n{kinds}; {len(graph.edges)} edges, {len(graph.unresolved)} names unresolved")
    for cycle in graph.cycles():
        console.print(Text(escaped(f"in a circle: {', '.join(cycle)}")))
    if behind:
        console.print(Text(escaped(f"not outlined yet: {first_names(behind, NAMED)}")))


def show_node(graph: Graph, node: str, hops: int, console: Console) -> None:
    """Print the edges of a node, and its neighbours with their distance in hops."""
    rows = [("", edge.kind, edge.target) for edge in graph.out.get(node, ())]
    rows += [(edge.source, edge.kind, "") for edge in graph.into.get(node, ())]
    rows += [("", "unresolved", name) for at, name in graph.unresolved if at == node]
    table(console, ("from", "edge", "to"), rows)
    if hops > 1:
        around = graph.neighbours(node, hops)
        console.print()
        table(console, ("hops", "node"), [(far, other) for other, far in around.items() if far])
