"""What a request is about, as of a moment: its target, what it wants, and the code around."""

from collections.abc import Iterator, Mapping, Set
from typing import NamedTuple

from backcast.domain.budget import ModelProfile
from backcast.domain.node import kind_of, name_of, node_id, path_of
from backcast.domain.outline import Facet
from backcast.domain.policy import Lookup, Policy
from backcast.domain.question_events import ANSWER
from backcast.engine.context.build_cache import BuildCache
from backcast.engine.context.candidate_levels import CandidateLevels
from backcast.engine.context.evidence import Evidence, RequestEvidence
from backcast.engine.context.likest_name import likest
from backcast.engine.context.recall.references import is_reference
from backcast.engine.context.request import Request
from backcast.engine.context.search.questions import asks_for_tests, looked_for
from backcast.engine.context.search.vectors import Nearness
from backcast.engine.context.symbols import NONE, Symbols
from backcast.engine.history.task_states import TaskStates
from backcast.projections import dependency_graph


class BuildSettings(NamedTuple):
    """The policy, profile and cache with which candidates are made, for any number of requests."""

    policy: Policy
    profile: ModelProfile
    cache: BuildCache
    nearness: Nearness | None = None


class RequestScope:
    """What a request is about."""

    def __init__(
        self, states: TaskStates, symbols: Symbols, request: Request, settings: BuildSettings
    ) -> None:
        self.states, self.symbols, self.request = states, symbols, request
        self.policy, self.profile = settings.policy, settings.profile
        self.cache, self.counting = settings.cache, settings.cache.counting
        self.nearness = settings.nearness
        self.texts = self.cache.texts(states, symbols)
        self.sources, self.modules, self.source = (
            self.texts.sources,
            self.texts.modules,
            self.texts.source,
        )
        self.details = self.policy.details(self.profile.window)
        self.path, self.name = path_of(request.target), name_of(request.target)
        self.facets: Mapping[str, Mapping[str, Facet]] = symbols.facets
        self.target = self._target()
        self.behind = request.behind or self._beside()
        "What a new target stands behind, where that is known or, by the policy, likely."
        places = {node: place for place, node in enumerate(dict.fromkeys(request.wanted), 1)}
        self.wanted = {
            node: n for node, n in places.items()
            if path_of(node) in self.facets or is_reference(node) or node.startswith(ANSWER)
        }  # fmt: skip
        "Places in `request.wanted`, counted from 1."
        own = {self.path, *map(path_of, self.wanted)}
        self.needed = [path for path in request.needs if path in self.facets and path not in own]
        whole = [path_of(node) for node in self.wanted if kind_of(node) == "module"]
        self.whole: Set[str] = {*whole, *self.needed}
        "The modules that may be shown in full."
        self.choice: Policy | Lookup = self._choice()
        "The settings by which functions are chosen."
        self.levels = CandidateLevels(self.policy, self.counting, self.choice)
        self.priorities = {name: self.policy.priority(name) for name in self.policy.order}
        self.beside = ""
        "The module that a new one is most like, if the policy asks for it and it was found."
        self.rated = states.facts.rated() if states.facts and self.policy.ratings else None
        "The log's own ratings, where the policy weighs any."
        self.stale: dict[str, int] = {}
        "Nodes whose written summary no longer holds, and the version that wrote it."

    def _choice(self) -> Policy | Lookup:
        """Return how functions are chosen: as for a question where no place is named, or only a
        module that is too large to be shown whole."""
        lookup, path = self.policy.lookup, self.path
        if lookup is None or self.name or path in self.whole:
            return self.policy
        if path not in self.facets:
            return self.policy if path else lookup
        most = int(self.policy.whole * self.profile.context)
        if not self.counting.lines(self.sources.text(path)).fit(most):
            return lookup
        self.whole = {*self.whole, path}
        return self.policy

    def _target(self) -> str:
        """Return the request's node, by the kind that it has in the code where it exists."""
        sig = self.facets.get(self.path, {}).get(f"sig:{self.name}") if self.name else None
        return node_id(sig[0], self.path, self.name) if sig else self.request.target

    def _beside(self) -> str:
        """Return what a new function will likely stand behind, if the policy asks for it."""
        if not (self.policy.in_order and self.name and self.path in self.facets):
            return ""
        lines = dependency_graph.lines_of(self.states.graph, self.path)
        return "" if self.name in lines else likest(self.name, lines)

    def evidence(self) -> Evidence:
        """Return the evidence for the request, as far as it is gathered."""
        text, of_tests = self.request.query, False
        said = text
        if self.choice is not self.policy:
            text = looked_for(text)
            of_tests = asks_for_tests(self.request.query)
        if self.target in self.symbols.places or kind_of(self.target) == "test":
            text += "\n" + self.sources.piece(self.path, self.name).text
        asked = RequestEvidence(self.target, text, self.behind, self.beside, of_tests, said)
        graph, history = self.states.graph, self.states.changes
        found = self.cache.evidence(self.symbols, graph, history, asked)
        if self.rated is not None:
            found.rate(self.rated, self.policy.ratings)
        return found

    def must(self) -> Iterator[str]:
        """Yield the nodes that must be shown: the target, its direct needs, what is wanted."""
        if self.name and self.path:
            yield self.target
            yield from self.symbols.needs(self.target)
        elif self.path and self.choice is self.policy:
            own = self.symbols.nodes[self.symbols.rows.get(self.path, NONE)]
            needed = (other for node in own for other in self.symbols.needs(node))
            yield from (node for node in needed if path_of(node) != self.path)
        yield from sorted(self.wanted)

    def rank(self, node: str) -> int:
        """Return the rank of a node that must be shown: target, what is wanted, what these need."""
        needed = 1 + len(self.request.wanted)
        return self.wanted.get(node, 0 if node == self.target else needed)

    def within(self, node: str) -> str:
        """Return the whole module whose full text holds a node's; empty where none may be shown."""
        path = path_of(node)
        return node_id("module", path) if path in self.whole else ""

    def summary(self, node: str, limit: int) -> str:
        """Return the written summary if it still holds, else the extractive one; by `levels` of
        the policy both in one."""
        lives = self.policy.lives.get(kind_of(node))
        found = self.texts.summary(node, limit, lives, levels=self.policy.levels)
        self.note(node, found.stale)
        return found.text

    def stale_by(self, node: str) -> str:
        """Return what a noted node's summary is stale by: time, summariser, clock or digest."""
        lives = self.policy.lives.get(kind_of(node))
        return self.texts.stale_by(node, self.stale[node], lives)

    def note(self, node: str, stale: int) -> None:
        """Note the version that wrote a summary of a node which no longer holds, if any."""
        if stale:
            self.stale[node] = stale


def enclosing(node: str) -> Iterator[str]:
    """Yield the classes that a node may be in."""
    path, outer = path_of(node), name_of(node)
    while "." in outer:
        outer = outer.rpartition(".")[0]
        yield node_id("class", path, outer)
