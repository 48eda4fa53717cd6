"""Which nodes matter most to some of them? Personalised PageRank over the dependency graph.

The walk goes along the edges and back against them, begins anew at the seeds, and ends when it
moves no more. See Page et al. (1999), Haveliwala (2002).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from backcast.domain.errors import InputError
from backcast.domain.graph import Graph
from backcast.domain.node import Edge

if TYPE_CHECKING:
    from numpy import ndarray

WEIGHTS: Mapping[str, float] = {
    "contains": 1.0, "imports": 1.0, "calls": 2.0, "inherits": 2.0, "uses_attribute": 1.0,
    "reads_config": 0.5, "tests": 1.0, "references": 0.5,
}  # fmt: skip
"Of a step along an edge, by kind; `tested_by` is `tests` the other way round and has none."
BACK = 0.5
"Of a step against an edge, as a part of that along it."
FEW = 20_000
"Steps up to which a walk does without scipy."
DECIMALS = 7
"Scores are rounded before they are compared: sums of floats differ in their last bits."


class Steps(NamedTuple):
    """The possible steps of a walk, by where they lead; each pair of nodes once."""

    rows: "ndarray"
    "The places that they lead to, rising."
    columns: "ndarray"
    "The places that they begin at."
    shares: "ndarray"
    "The share of the score at the beginning that goes along."

    def walk(self, size: int, few: int = FEW) -> "Callable[[ndarray], ndarray]":
        """Return a function from the scores of `size` places to those after one step.

        Both ways take the same sums in the same order, to the bit: scipy's is four times as quick,
        but its import takes longer than the whole walk over a small graph.
        """
        import numpy as np

        if len(self.rows) <= few:
            return lambda score: np.bincount(self.rows, self.shares * score[self.columns], size)
        from scipy.sparse import csr_array

        begins = np.searchsorted(self.rows, np.arange(size + 1))
        matrix = csr_array((self.shares, self.columns, begins), shape=(size, size))
        return lambda score: matrix @ score


class Ranking(NamedTuple):
    """A graph made ready to be asked again and again."""

    nodes: Sequence[str]
    places: Mapping[str, int]
    steps: Steps
    ends: "ndarray"
    "Of (nodes,): 1.0 where a walk cannot go on, else 0.0."

    @classmethod
    def of(cls, graph: Graph) -> "Ranking":
        """Return the ranking of a graph."""
        return cls.of_edges(graph.nodes, graph.edges)

    @classmethod
    def of_edges(cls, nodes: Sequence[str], edges: Sequence[Edge]) -> "Ranking":
        """Return the ranking of some nodes and the edges among them."""
        import numpy as np

        size = len(nodes)
        index = {node: number for number, node in enumerate(nodes)}
        weighted = [(edge, WEIGHTS.get(edge.kind, 0.0)) for edge in edges]
        kept = [(index[e.source], index[e.target], weight) for e, weight in weighted if weight]
        starts, ends, weights = (np.array(column) for column in zip(*kept, strict=True)) if kept \
            else (np.zeros(0, int), np.zeros(0, int), np.zeros(0))  # fmt: skip
        cells = np.concatenate([ends, starts]) * size + np.concatenate([starts, ends])
        cells, places = np.unique(cells, return_inverse=True)
        values = np.bincount(places, np.concatenate([weights, BACK * weights]), len(cells))
        rows, columns = np.divmod(cells, max(size, 1))
        out = np.bincount(columns, values, size)
        shares = np.divide(1.0, out, out=np.zeros(size), where=out > 0)
        steps = Steps(rows, columns, values * shares[columns])
        return cls(nodes, index, steps, (out == 0).astype(float))

    def around(
        self, seeds: Mapping[str, float], *, stay: float = 0.85, tolerance: float = 1e-6
    ) -> list[tuple[str, float]]:
        """Nodes and scores, the highest first, ties by id; the scores add up to 1.

        `seeds` has a positive weight for each node that the walk begins at. `stay` is the chance
        to go on at each step, `tolerance` the change over all nodes at which the walk has ended.
        """
        import numpy as np

        begin = np.zeros(len(self.nodes))
        for node in sorted(seeds):
            if node not in self.places or not seeds[node] > 0:
                raise InputError(f"needed nodes with weights above 0, found {node!r}")
            begin[self.places[node]] = seeds[node]
        if not seeds:
            raise InputError("needed a node to begin from, found none")
        begin /= begin.sum()
        score, step = begin, self.steps.walk(len(self.nodes))
        for _ in range(200):
            lost = float(score @ self.ends)
            following = stay * (step(score) + lost * begin) + (1 - stay) * begin
            change = float(np.abs(following - score).sum())
            score = following
            if change < tolerance:
                break
        rounded = np.round(score, DECIMALS)
        # The nodes are sorted, and the sort is stable, so ties stand by id.
        order = np.argsort(-rounded, kind="stable")
        return [(self.nodes[i], float(rounded[i])) for i in order]
