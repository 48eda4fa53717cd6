"""What is in a repository in brief and at length, with the score by which it is chosen."""

from collections.abc import Callable

from backcast.domain.context_map import MapEntry
from backcast.domain.graph import Graph
from backcast.domain.llms_txt import llms_txt
from backcast.domain.node import node_id
from backcast.domain.roadmap import roadmap
from backcast.engine.context.ranking import Ranking
from backcast.projections import dependency_graph


def roadmap_of(state: dependency_graph.State, graph: Graph) -> list[MapEntry]:
    """The entries of a state, of which `graph` is the graph; the most worthwhile first."""
    return roadmap(dependency_graph.present(state), graph, rank_of(graph))


def long_form(
    task_id: str, state: dependency_graph.State, masked: Callable[[str], str] = str
) -> str:
    """A state told at length, as `backcast.domain.llms_txt` has it."""
    graph = dependency_graph.graph_of(state)
    return llms_txt(task_id, dependency_graph.present(state), graph, rank_of(graph), masked)


def rank_of(graph: Graph) -> dict[str, float]:
    """How much each node matters to all modules of code alike; sums to 1, empty for none.

    Documents and settings would only draw the walk to themselves.
    """
    code = (node_id("module", path) for path in graph.links if path.endswith(".py"))
    seeds = dict.fromkeys(code, 1.0)
    return dict(Ranking.of(graph).around(seeds)) if seeds else {}
