"""Maps of `def` and `class` lines by different scores, as many lines each as fit the same tokens.

Every arm may use the runs before a run; it scores by how many of the functions and classes that the
run's code uses have their whole line on its map. Each chooses greedily, pays a file's path once and
skips lines that do not fit; the others pay nothing for ids and sections.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence

import networkx as nx

from backcast.domain.context_map import Tokens
from backcast.domain.graph import NEEDS
from backcast.domain.map_lines import Line
from backcast.domain.node import name_of, path_of
from backcast.engine.memory.mapping import FinishedRun

FADING = 0.95


class Arm(ABC):
    """One way to choose lines."""

    name = ""

    def __init__(self, count: Tokens, tokens: int) -> None:
        self.tokens, self._count, self._one = tokens, count, count("x")
        self._sizes: dict[str, int] = {}
        self.runs = 0

    def shown(self, lines: Sequence[Line], run: FinishedRun) -> set[str]:
        """Return the nodes whose lines are on the map, out of the current lines."""
        scores, room, paths, nodes = self.scores(lines, run), self.tokens, set[str](), set[str]()
        for line in sorted(lines, key=lambda one: (-scores.get(one.node, 0.0), one.node)):
            more = self._size(plain(line))
            more += 0 if line.path in paths else self._size(line.path)
            if more <= room:
                room -= more
                paths.add(line.path)
                nodes.add(line.node)
            if room < 4:
                break
        return nodes

    @abstractmethod
    def scores(self, lines: Sequence[Line], run: FinishedRun) -> Mapping[str, float]:
        """Return the worth of each line by node; `run` holds the code before the run."""

    def learn(self, used: Sequence[str], shown: set[str]) -> None:
        """Note the nodes that a run used, and those that the map had shown it."""
        self.runs += 1

    def _size(self, text: str) -> int:
        if text not in self._sizes:
            self._sizes[text] = self._count(f"x\n{text}") - self._one
        return self._sizes[text]


def plain(line: Line) -> str:
    """Return a line with the last part of its name, as it stands in the source."""
    name = name_of(line.node)
    return line.text.replace(name, name.rpartition(".")[2], 1)


class Fading(Arm):
    """An arm that evicts the least frequently used, with fading uses: the bar."""

    name = "decayed LFU"

    def __init__(self, count: Tokens, tokens: int) -> None:
        super().__init__(count, tokens)
        self._uses: dict[str, float] = {}

    def scores(self, lines: Sequence[Line], run: FinishedRun) -> Mapping[str, float]:
        """Return the uses of each; a use counts less with every run since."""
        return self._uses

    def learn(self, used: Sequence[str], shown: set[str]) -> None:
        """Note the nodes that a run used."""
        super().learn(used, shown)
        self._uses = {node: FADING * value for node, value in self._uses.items()}
        for node in used:
            self._uses[node] = self._uses.get(node, 0.0) + 1.0


class Paper(Arm):
    """PEEK's Evictor as in its authors' code: +1 for help, no fading, the oldest of equals goes."""

    name = "the paper's"

    def __init__(self, count: Tokens, tokens: int) -> None:
        super().__init__(count, tokens)
        self._score: Counter[str] = Counter()
        self._since: dict[str, int] = {}
        self.texts: dict[str, str] = {}
        "The line of each node on the map, as it was when it came: nothing ever renews it."

    def scores(self, lines: Sequence[Line], run: FinishedRun) -> Mapping[str, float]:
        """Return the score of each; the younger of equals is worth more."""
        return {node: self._score[node] + self._since[node] / 1e9 for node in self._since}

    def shown(self, lines: Sequence[Line], run: FinishedRun) -> set[str]:
        """Return the nodes that were added and not evicted; their texts stay as they came."""
        nodes = super().shown([line for line in lines if line.node in self._since], run)
        for node in [node for node in self._since if node not in nodes]:
            del self._since[node], self._score[node]
            self.texts.pop(node, None)
        for line in lines:
            if line.node in nodes:
                self.texts.setdefault(line.node, line.text)
        return nodes

    def learn(self, used: Sequence[str], shown: set[str]) -> None:
        """Tag the nodes that helped, and add the used ones."""
        super().learn(used, shown)
        for node in used:
            if node in shown:
                self._score[node] += 1
            self._since.setdefault(node, self.runs)


class Ranked(Arm):
    """aider's repository map: PageRank over files by the names that they use of each other.

    Each file's rank goes to the definitions that it uses. It knows no history.
    """

    name = "aider's"

    def scores(self, lines: Sequence[Line], run: FinishedRun) -> Mapping[str, float]:
        """Return the rank of each definition."""
        nodes = {line.node for line in lines}
        uses = Counter[tuple[str, str]]()
        for path, links in run.graph.links.items():
            for edge in links.edges:
                if edge.kind in NEEDS and edge.target in nodes and path_of(edge.target) != path:
                    uses[path, edge.target] += 1
        graph: nx.DiGraph[str] = nx.DiGraph()
        for (path, node), times in sorted(uses.items()):
            weight = times**0.5
            known = graph.get_edge_data(path, path_of(node), {"weight": 0.0})
            graph.add_edge(path, path_of(node), weight=known["weight"] + weight)
        ranks = nx.pagerank(graph) if graph else {}
        out = Counter[str]()
        for (path, _), times in uses.items():
            out[path] += times**0.5
        scores = Counter[str]()
        for (path, node), times in sorted(uses.items()):
            scores[node] += ranks[path] * times**0.5 / out[path]
        return scores


ARMS: Sequence[type[Arm]] = (Fading, Paper, Ranked)
