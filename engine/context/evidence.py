"""How likely is a function or class to be needed? A logistic sum of weighted evidence.

The evidence is what the log held before the moment and what the request says; the weights are the
policy's. The sum is logistic, so what comes out can be read as a chance, and compared with what an
item costs. Scores are rounded before they are compared: sums of floats differ in their last bits.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from backcast.domain.names import resolve
from backcast.domain.node import SYMBOLS, name_of, node_id, path_of
from backcast.domain.paths import ASIDE
from backcast.domain.policy import RATED
from backcast.domain.removed import KINDS
from backcast.engine.context.module_symbols import Floats, Numbers, last_name
from backcast.engine.context.symbol_texts import SymbolTexts
from backcast.engine.context.symbols import NONE, Symbols
from backcast.projections import changes, ratings

ALIKE = 12
"Functions like the one asked for whose needs count as evidence."
DECIMALS = 6
PLACE = 32
"The bits of a place beside a value, in one integer."
TOP = "."
"The place behind a module's head, before its first function or class."
NEAR = 40
"Lines from the place, at which being near counts half."
BESIDE = 0.5
"How near the functions of the module are that a new one is most like."
RANK, TEXT, FOLDER = ("rank",), ("text words",), ("aside",)
LIKENESS = ("like name", "same name", "like class", "like path", "folder", "near", "parameters")
CITED, CALLERS = ("cited",), ("callers",)
"Evidence that is gathered only where it is weighed."
LATE = (RANK, LIKENESS, TEXT, FOLDER, CITED, CALLERS)
PARAMETER = re.compile(r"(\w+)\s*[:=,)]")
IDENTIFIER = re.compile(r"[^\W\d]\w*")
AS_CODE = re.compile(
    r"\b(_*[a-zA-Z0-9]+_\w+|[A-Z][a-z0-9]+[A-Z]\w*)\b|\b(\w+)\(|`(?:\w+\.)*(\w+)(?:\(\))?`"
)
"A name that is written as code is: with an underscore or several capitals, called, in backticks."


class RequestEvidence(NamedTuple):
    """A request, as the evidence is gathered for it."""

    target: str
    "The node, in the kind that it has where it is there; empty for none."
    text: str
    "All that is said about it: words to look for, its old text where there is one."
    behind: str = ""
    "What it will stand behind in its module, where it is new and that is known."
    beside: str = ""
    "The module that it is most like, where its own is new and that is known."
    of_tests: bool = False
    "Whether tests are asked about, so that they count as any function does."
    said: str = ""
    "The words of the request alone."


def chances(
    symbols: Symbols,
    history: changes.State,
    asked: RequestEvidence,
    weights: Mapping[str, float],
    meaning: Floats | None = None,
    texts: SymbolTexts | None = None,
) -> Floats:
    """Return the chance, of (symbols), that each is needed; between 0 and 1, rounded.

    `meaning` is how near each symbol is to the request, of (symbols), where an embedder was asked.
    """
    if not symbols.nodes:
        return np.zeros(0)
    return weighed(Evidence(symbols, history, asked, texts), weights, meaning)


def weighed(
    evidence: "Evidence", weights: Mapping[str, float], meaning: Floats | None = None
) -> Floats:
    """Return the chances that follow from evidence, as `chances` does.

    With the weights of a policy's `likeness`, that a body is like the one to be written.
    """
    if not evidence.symbols.nodes:
        return np.zeros(0)
    evidence.gather(name for late in LATE for name in late if weights.get(name))
    all = {**evidence, "meaning": meaning}
    total = np.full(len(evidence.symbols.nodes), float(weights.get("always", 0.0)))
    # In one order, since a sum of floats depends on it.
    for name in sorted(all):
        weight, values = weights.get(name, 0.0), all[name]
        if weight and values is not None:
            total += weight * values
    chance: Floats = np.round(1 / (1 + np.exp(-total)), DECIMALS)
    return chance


class Evidence(dict[str, Floats]):
    """Evidence by name, each of (symbols), whatever its weight; none is 0."""

    def __init__(
        self,
        symbols: Symbols,
        history: changes.State,
        asked: RequestEvidence,
        texts: SymbolTexts | None = None,
    ) -> None:
        super().__init__()
        self.symbols, self.history, self.asked, self.texts = symbols, history, asked, texts
        self.path, self.name = path_of(asked.target), name_of(asked.target)
        self.own = symbols.rows.get(self.path, NONE)
        self.place = 0
        "The line where the target stands or will, once likeness was gathered."
        self.rated = ratings.initial
        "The ratings of the moment, where they are weighed."
        owner = self.name.rpartition(".")[0]
        self.owner = f"{owner}." if owner else ""
        self.query = f"{self.path} {self.name} {asked.text}"
        "The words by which texts are found."
        words = IDENTIFIER.findall(asked.text)
        self.words = dict.fromkeys(word for word in words if word != last_name(asked.target))
        if symbols.nodes:
            self.by_graph()
            self.by_name()
            self.by_words()
            self.by_kind()
            self.by_history()

    def gather(self, names: Iterable[str]) -> None:
        """Note the evidence of some names that is gathered only where it is weighed."""
        wanted = set(names)
        for late in LATE if self.symbols.nodes else ():
            if not wanted.isdisjoint(late) and late[0] not in self:
                self.add(late)

    def add(self, names: Sequence[str]) -> None:
        """Note evidence that is gathered only where it is weighed."""
        gather = {
            RANK: self.by_rank, LIKENESS: self.by_likeness, TEXT: self.by_text,
            FOLDER: self.by_folder, CITED: self.by_citation, CALLERS: self.by_calls,
        }  # fmt: skip
        gather[tuple(names)]()

    def answers(self, symbols: Symbols, history: changes.State, asked: RequestEvidence) -> bool:
        """Tell whether this is the evidence for a request at a moment."""
        return self.symbols is symbols and self.history is history and self.asked == asked

    def rate(self, known: ratings.State, names: Sequence[str]) -> None:
        """Note the log's own ratings of some names, as they stand at the moment."""
        if known is not self.rated:
            for name in [name for name in self if name.startswith(RATED)]:
                del self[name]
            self.rated = known
        for name in names if self.symbols.nodes else ():
            if RATED + name in self:
                continue
            values = self[RATED + name]
            for symbol, value in sorted(known.names.get(name, {}).items()):
                for row in (self.symbols.places.get(f"{kind}:{symbol}") for kind in SYMBOLS):
                    if row is not None:
                        values[row] = value

    def __missing__(self, name: str) -> Floats:
        self[name] = np.zeros(len(self.symbols.nodes))
        return self[name]

    def mark(self, name: str, nodes: Iterable[str], value: float = 1.0) -> None:
        """Note some evidence for each of some nodes that are symbols."""
        for node in nodes:
            row = self.symbols.places.get(node)
            if row is not None:
                self[name][row] += value

    def by_graph(self) -> None:
        """Note what the target and its siblings need, and what its module imports."""
        symbols = self.symbols
        self.mark("needed", symbols.needs(self.asked.target))
        self["own file"][self.own] = 1
        for node in symbols.nodes[self.own]:
            if self.owner and name_of(node).startswith(self.owner):
                self.mark("own class", (node,))
            if node != self.asked.target:
                self.mark("siblings", symbols.needs(node))
        self["siblings"] = np.log1p(self["siblings"])
        part = symbols.parts.get(self.path)
        for other in sorted(part.imports) if part else ():
            self["imported file"][symbols.rows.get(other, NONE)] = 1
        self["used"] = np.log1p(symbols.used)

    def by_name(self) -> None:
        """Note what the request and the module's namespace name, and methods of named classes."""
        symbols, part = self.symbols, self.symbols.parts.get(self.path)
        self["named"] = self._by_last_name(self.words)
        reader = symbols.reader
        for key in sorted(part.facets) if part else ():
            if not key.startswith("name:"):
                continue
            bound = key.removeprefix("name:")
            target = resolve(reader, self.path, bound)
            if target is None or target.kind != "symbol":
                continue
            nodes = [node_id(kind, target.path, target.name) for kind in KINDS]
            if target.path != self.path:
                self.mark("namespace", nodes)
            if bound in self.words:
                self.mark("named", nodes)
                members = symbols.nodes[symbols.rows.get(target.path, NONE)]
                inside = f"{target.name}."
                self.mark("typed", (node for node in members if name_of(node).startswith(inside)))

    def _by_last_name(self, names: Iterable[str]) -> Floats:
        """Return for each symbol with one of some names a share of 1: it may have namesakes."""
        symbols = self.symbols
        shares = np.zeros(len(symbols.alike_named))
        rows = symbols.known.names.known(names)
        rows = rows[rows < len(shares)]
        shares[rows] = 1 / np.maximum(1, symbols.alike_named[rows])
        return shares[symbols.numbers["name"]]

    def by_citation(self) -> None:
        """Note what the request names as code."""
        found = {name for match in AS_CODE.finditer(self.asked.said) for name in match.groups("")}
        self["cited"] = self._by_last_name(sorted(found & self.words.keys()))

    def by_calls(self) -> None:
        """Note the functions that need the target, tests apart."""
        target = self.asked.target
        for part in self.symbols.parts.values():
            if found := part.callers.get(target):
                self.mark("callers", (node for node in found if node != target))

    def by_words(self) -> None:
        """Note BM25 over interfaces and bodies, and the needs of similar functions."""
        symbols = self.symbols
        self["signature words"] = symbols.by_words(self.query, bodies=False)
        self["body words"] = symbols.by_words(self.query, bodies=True)
        likeness = np.round(self["body words"], DECIMALS)
        likeness[[symbols.places[n] for n in (self.asked.target,) if n in symbols.places]] = 0
        for row in _first(likeness, ALIKE):
            self.mark("alike", symbols.needs(symbols.nodes[row]), float(likeness[row]))
        self["alike"] = np.log1p(self["alike"])

    def by_kind(self) -> None:
        """Note the kind of each symbol."""
        for name in ("method", "special", "test file"):
            self[name] = self.symbols.numbers[name].astype(float)
        if self.asked.of_tests:
            self["test file"][:] = 0

    def by_history(self) -> None:
        """Note how often modules changed with the target's, and how lately they changed."""
        self["lately"] = self.symbols.lately(self.history).copy()
        self["together"] = self.symbols.together(self.history, self.path)

    def by_likeness(self) -> None:
        """Note how alike names are to the target's, its class's and its path, and how near by."""
        symbols, last = self.symbols, last_name(self.asked.target) if self.name else ""
        own = symbols.places.get(self.asked.target, -1)
        self["like name"] = symbols.like_name(last)
        self["same name"] = (self["like name"] > 1 - 10**-DECIMALS).astype(float) * bool(last)
        owner = self.owner.rstrip(".").rpartition(".")[2]
        self["like class"] = symbols.like_owner(owner) if owner else np.zeros(len(symbols.nodes))
        folder = self.path.rpartition("/")[0]
        self["like path"] = symbols.like_path(self.path)
        self["folder"] = symbols.by_module((symbols.folders == folder).astype(float))
        lines = self.texts.lines(self.path) if self.texts else {}
        self.place = place = place_of(self.name, self.asked.behind, lines)
        for row in range(*self.own.indices(len(symbols.nodes))):
            first = lines.get(symbols.named[row].name, (0, 0))[0]
            self["near"][row] = NEAR / (NEAR + abs(first - place)) if first else 0
        if self.asked.beside:
            self["near"][symbols.rows.get(self.asked.beside, NONE)] = BESIDE
        if parameters := self.parameters():
            self["parameters"] = symbols.with_words(parameters) / len(parameters)
        if own >= 0:
            for name in LIKENESS:
                self[name][own] = 0

    def nearness(self, first: int, last: int) -> float:
        """Return the evidence `near` of some lines of the target's module."""
        return NEAR / (NEAR + max(0, first - self.place, self.place - last))

    def parameters(self) -> list[str]:
        """Return the names of the target's parameters, as its signature in the request has them."""
        head = rf"def\s+{re.escape(last_name(self.asked.target))}\s*\((.*?)\)\s*(?:->[^:]*)?:"
        found = re.search(head, self.asked.text, re.DOTALL) if self.name else None
        names = PARAMETER.findall(f"{found[1]})") if found else []
        return [name for name in dict.fromkeys(names) if name not in ("self", "cls")]

    def by_text(self) -> None:
        """Note BM25 over the symbols' source texts."""
        scores = self.texts.scores(self.query) if self.texts else np.zeros(len(self.symbols.nodes))
        own = self.symbols.places.get(self.asked.target, -1)
        if own >= 0:
            scores[own] = 0
        self.best_text = scores.max(initial=0.0) or 1.0
        self["text words"] = scores / self.best_text

    def by_folder(self) -> None:
        """Note what stands aside of the project itself: in its examples, its documentation."""
        aside = [path.split("/")[0] in ASIDE for path in self.symbols.parts]
        self["aside"] = self.symbols.by_module(np.array(aside, float))

    def part_words(self, text: str) -> float:
        """Return BM25 of a part of a source text, as the evidence `text words` has it."""
        return self.texts.score(self.query, text) / self.best_text if self.texts else 0.0

    def words_of(self, name: str, texts: Sequence[str]) -> list[float]:
        """Return BM25 of texts that are none of the symbols', as the evidence of a name has it.

        The best of all, theirs or these, is 1.
        """
        if name == "text words":
            self.gather((name,))
            found = [self.texts.score(self.query, text) if self.texts else 0.0 for text in texts]
            best = self.best_text if self.symbols.nodes and self[name].any() else 0.0
        else:
            bodies = name == "body words"
            found = [self.symbols.score(self.query, text, bodies=bodies) for text in texts]
            best = self.symbols.best_by_words(self.query, bodies=bodies)
        best = max([best, *found]) or 1.0
        return [score / best for score in found]

    def by_rank(self) -> None:
        """Note personalised PageRank from the target, its module and what the request names."""
        ranking, symbols = self.symbols.ranking, self.symbols
        seeds = {self.asked.target: 4.0, f"module:{self.path}": 2.0}
        seeds |= {symbols.nodes[row]: 1.0 for row in np.nonzero(self["named"] >= 0.5)[0]}
        seeds = {node: weight for node, weight in seeds.items() if node in ranking.places}
        for place, (node, score) in enumerate(ranking.around(seeds) if seeds else ()):
            if score > 0:
                self.mark("rank", (node,), 1 / (1 + place / 20))


def ranked(values: Floats) -> Numbers:
    """Return the places of values of at most `DECIMALS`, the greatest first; ties by place."""
    # A stable sort of so many floats takes six times as long as one of different integers.
    last = len(values) - 1
    keys = np.rint(values * 10**DECIMALS).astype(np.int64) << PLACE | last - np.arange(last + 1)
    keys.sort()
    places: Numbers = last - (keys[::-1] & (1 << PLACE) - 1)
    return places


def _first(values: Floats, count: int) -> Numbers:
    """Return the places of the greatest of some values, the greatest first; ties by place."""
    if len(values) > count:
        some = np.flatnonzero(values >= np.partition(values, -count)[-count])
    else:
        some = np.arange(len(values))
    return some[np.argsort(-values[some], kind="stable")][:count]


def place_of(name: str, behind: str, lines: Mapping[str, tuple[int, int]]) -> int:
    """Return the line where a function stands in its module, or where it would be added.

    `lines` are the first and last line of each function and class. What is new stands behind what
    the request says, else at the end of its class, else at the end.

    >>> place_of("Till.close", "", {"Till": (1, 9), "Till.open": (2, 5), "shut": (12, 20)})
    5
    """
    if name in lines:
        return lines[name][0]
    if behind in lines:
        return lines[behind][1]
    if behind == TOP:
        return min((first for first, _ in lines.values()), default=1) - 1
    owner = name.rpartition(".")[0]
    inside = [last for one, (_, last) in lines.items() if owner and one.startswith(f"{owner}.")]
    return max(inside or [last for _, last in lines.values()], default=0)
