"""Personalised PageRank over a graph of 20,000 nodes, beside networkx on the same graph."""

from functools import partial
from random import Random
from statistics import median

import networkx as nx

from backcast.domain.node import Edge
from backcast.engine.context.ranking import BACK, WEIGHTS, Ranking
from scripts.benches.figures import Bench, Bound, Figure, in_turns

SIZES = (20_000, 5_000, 1_250)


def measure(bench: Bench) -> list[Figure]:
    """The rows of the table."""
    figures = []
    for size in SIZES:
        bench.say(f"PageRank over {size:,} nodes")
        nodes, edges = _graph(size)
        ranking = Ranking.of_edges(nodes, edges)
        plain = _plain(edges)
        seeds = {nodes[size // 2]: 1.0, nodes[7]: 1.0}
        tolerance = 1e-6 / size  # networkx multiplies it by the number of nodes
        control = partial(nx.pagerank, plain, personalization=seeds, tol=tolerance, max_iter=500)
        build = partial(_plain, edges)
        ours, theirs, building = in_turns(5, partial(ranking.around, seeds), control, build)
        figures.append(
            Figure(
                "personalised PageRank from two seeds, to a change of 1e-6",
                f"{size:,} nodes, {len(edges):,} edges",
                [1000 * one for one in ours],
                "ms",
                control=f"networkx {1000 * median(theirs):.0f} ms, its graph"
                f" {1000 * median(building):.0f} ms more",
                aim=Bound("<=", 20) if size == SIZES[0] else None,
            )
        )
    return figures


def _graph(size: int) -> tuple[list[str], list[Edge]]:
    """Functions of which some are called by many, drawn by a seed."""
    random = Random(1)
    nodes = sorted(f"function:m{n // 50}.py::f{n}" for n in range(size))
    edges = set()
    for _ in range(5 * size):
        popular = nodes[min(size - 1, int(random.paretovariate(1) * 20))]
        target = popular if random.random() < 0.3 else random.choice(nodes)
        edges.add(Edge(random.choice(nodes), "calls", target))
    return nodes, sorted(edges)


def _plain(edges: list[Edge]) -> "nx.DiGraph[str]":
    graph = nx.DiGraph()
    for edge in edges:
        weight = WEIGHTS[edge.kind]
        graph.add_edge(edge.source, edge.target, weight=weight)
        if not graph.has_edge(edge.target, edge.source):
            graph.add_edge(edge.target, edge.source, weight=BACK * weight)
    return graph
