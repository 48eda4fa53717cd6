"""A walk over a graph ends at the same scores, to the bit, whichever way its steps are taken."""

import numpy as np
import pytest

from backcast.domain.node import Edge
from backcast.engine.context.ranking import Ranking
from tests.sources import SHOP, graph_of


def ranking() -> Ranking:
    """The ranking of the shop's graph, some of whose edges come twice."""
    graph = graph_of(SHOP)
    again = [Edge(edge.target, "calls", edge.source) for edge in graph.edges[::3]]
    return Ranking.of_edges(graph.nodes, [*graph.edges, *graph.edges[::2], *again])


def test_small_and_large_graphs_are_walked_to_the_same_bits() -> None:
    made = ranking()
    few, many = (made.steps.walk(len(made.nodes), few=most) for most in (10**6, 0))
    ours = theirs = np.linspace(0.1, 1.0, len(made.nodes))
    for _ in range(20):
        ours, theirs = few(ours), many(theirs)
    assert len(made.steps.rows) > 20
    assert ours.tobytes() == theirs.tobytes()


def test_what_is_near_the_seed_comes_first_and_scores_add_up() -> None:
    ranked = ranking().around({"module:validators.py": 1.0})
    assert ranked[0][0] == "module:validators.py"
    assert sum(score for _, score in ranked) == pytest.approx(1.0, abs=1e-4)
    assert Ranking.of_edges(("alone",), ()).around({"alone": 2.0}) == [("alone", 1.0)]
