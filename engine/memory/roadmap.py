"""The first entries of a map of code, with the score by which they are chosen."""

from domain.context_map import Entry
from domain.graph import Graph
from domain.node import node_id
from domain.roadmap import roadmap
from engine.context.ranking import Ranking
from projections import dependency_graph


def roadmap_of(state: dependency_graph.State, graph: Graph) -> list[Entry]:
    """The entries of a state, of which `graph` is the graph; the most worthwhile first."""
    return roadmap(dependency_graph.present(state), graph, rank_of(graph))


def rank_of(graph: Graph) -> dict[str, float]:
    """How much each node matters to all modules of code alike; sums to 1, empty for none.

    Documents and settings would only draw the walk to themselves.
    """
    code = (node_id("module", path) for path in graph.links if path.endswith(".py"))
    seeds = dict.fromkeys(code, 1.0)
    return dict(Ranking.of(graph).around(seeds)) if seeds else {}
