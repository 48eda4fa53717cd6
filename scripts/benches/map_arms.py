"""Maps of `def` and `class` lines by different scores, as many lines each as fit the same tokens.

Every arm may use what came before a run, and is asked which of the functions and classes that the
run's code uses have their whole line on its map. Each chooses greedily by its score, a file's path
is paid once, and what does not fit is skipped; ids and sections cost the others nothing.
"""

import random
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

    def shown(self, there: Sequence[Line], run: FinishedRun) -> set[str]:
        """The nodes whose lines are on the map, of those that there are now."""
        scores, left, opened, found = self.scores(there, run), self.tokens, set[str](), set[str]()
        ranked = sorted(there, key=lambda one: (-scores.get(one.node, 0.0), one.node))
        for one in ranked:
            more = self._size(plain(one))
            more += 0 if one.path in opened else self._size(one.path)
            if more <= left:
                left -= more
                opened.add(one.path)
                found.add(one.node)
            if left < 4:
                break
        return found

    @abstractmethod
    def scores(self, there: Sequence[Line], run: FinishedRun) -> Mapping[str, float]:
        """What each line is worth, before the run; `run` holds the code as it was then."""

    def learn(self, used: Sequence[str], shown: set[str]) -> None:
        """Note what a run used, and what the map had shown it."""
        self.runs += 1

    def _size(self, text: str) -> int:
        if text not in self._sizes:
            self._sizes[text] = self._count(f"x\n{text}") - self._one
        return self._sizes[text]


def plain(line: Line) -> str:
    """A line by the last part of its name, as it stands in the source."""
    name = name_of(line.node)
    return line.text.replace(name, name.rpartition(".")[2], 1)


class Random(Arm):
    """Any lines."""

    name = "random"

    def scores(self, there: Sequence[Line], run: FinishedRun) -> Mapping[str, float]:
        """The same for the same run, whatever else was asked."""
        dice = random.Random(self.runs)
        return {one.node: dice.random() for one in there}


class Latest(Arm):
    """What was used last."""

    name = "most recent"

    def __init__(self, count: Tokens, tokens: int) -> None:
        super().__init__(count, tokens)
        self._last: dict[str, float] = {}

    def scores(self, there: Sequence[Line], run: FinishedRun) -> Mapping[str, float]:
        """The number of the run that used it last."""
        return self._last

    def learn(self, used: Sequence[str], shown: set[str]) -> None:
        """Note what a run used."""
        super().learn(used, shown)
        self._last.update(dict.fromkeys(used, float(self.runs)))


class Fading(Arm):
    """Least frequently used goes first, uses fading: the bar."""

    name = "decayed LFU"

    def __init__(self, count: Tokens, tokens: int) -> None:
        super().__init__(count, tokens)
        self._uses: dict[str, float] = {}

    def scores(self, there: Sequence[Line], run: FinishedRun) -> Mapping[str, float]:
        """How often it was used, a use counting less with every run since."""
        return self._uses

    def learn(self, used: Sequence[str], shown: set[str]) -> None:
        """Note what a run used."""
        super().learn(used, shown)
        self._uses = {node: FADING * value for node, value in self._uses.items()}
        for node in used:
            self._uses[node] = self._uses.get(node, 0.0) + 1.0


class Paper(Arm):
    """PEEK's Evictor as its authors' code has it: +1 where it helped, nothing fades, the oldest of
    equals goes first; what is used is added."""

    name = "the paper's"

    def __init__(self, count: Tokens, tokens: int) -> None:
        super().__init__(count, tokens)
        self._score: Counter[str] = Counter()
        self._since: dict[str, int] = {}
        self.texts: dict[str, str] = {}
        "Of what stands on the map, as it was when it came: nothing ever renews it."

    def scores(self, there: Sequence[Line], run: FinishedRun) -> Mapping[str, float]:
        """Its score, and of equal ones the younger more."""
        return {node: self._score[node] + self._since[node] / 1e9 for node in self._since}

    def shown(self, there: Sequence[Line], run: FinishedRun) -> set[str]:
        """What was added and is not evicted; its text is that of then."""
        found = super().shown([one for one in there if one.node in self._since], run)
        for node in [node for node in self._since if node not in found]:
            del self._since[node], self._score[node]
            self.texts.pop(node, None)
        for one in there:
            if one.node in found:
                self.texts.setdefault(one.node, one.text)
        return found

    def learn(self, used: Sequence[str], shown: set[str]) -> None:
        """Tag what helped, and add what was used."""
        super().learn(used, shown)
        for node in used:
            if node in shown:
                self._score[node] += 1
            self._since.setdefault(node, self.runs)


class Ranked(Arm):
    """aider's repository map: PageRank over files by the names that they use of each other, each
    file's rank going to what it is used for; it knows no history."""

    name = "aider's"

    def scores(self, there: Sequence[Line], run: FinishedRun) -> Mapping[str, float]:
        """The rank of each definition."""
        nodes = {one.node for one in there}
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
        found = Counter[str]()
        for (path, node), times in sorted(uses.items()):
            found[node] += ranks[path] * times**0.5 / out[path]
        return found


ARMS: Sequence[type[Arm]] = (Random, Latest, Fading, Paper, Ranked)
