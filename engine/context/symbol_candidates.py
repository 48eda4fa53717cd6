"""Functions and classes as candidates: the likeliest to be needed, or to be like what is asked."""

import re
from collections.abc import Iterator, Set

import numpy as np

from backcast.domain.context import Candidate
from backcast.domain.node import kind_of, name_of, path_of
from backcast.domain.policy import ADDED
from backcast.engine.context.evidence import DECIMALS, ranked, weighed
from backcast.engine.context.module_symbols import Floats, last_name
from backcast.engine.context.named_values import NamedValues
from backcast.engine.context.parts import Parts
from backcast.engine.context.request_scope import RequestScope, enclosing
from backcast.engine.context.sources import SourcePiece
from backcast.engine.context.surroundings import Surroundings

LOOKED_AT = 30
"The likeliest functions that are looked through for parts, where they are large."
CERTAIN = 1.0
"The worth per token of what is shown for certain: nothing else is worth as much."
NOWHERE = -1
CALLED = 0.95
"The chance to be needed of a method that the target calls, of a class that it needs."
_CALLS = re.compile(r"\.(\w+)\(")


class SymbolCandidates:
    """The functions and classes that could be shown."""

    def __init__(self, scope: RequestScope, surroundings: Surroundings) -> None:
        self.scope, self.surroundings = scope, surroundings
        self.symbols, self.policy, self.choice = scope.symbols, scope.policy, scope.choice
        self.must = {node for node in scope.must() if node in self.symbols.places}
        self.opened = {outer for node in self.must for outer in enclosing(node)}
        "Classes with methods that must be shown: as items of their own, so the class is not full."
        self.values = NamedValues(scope)
        self.called = set[str]()
        "Methods that the target calls, of classes that it needs; what uses values that it names."
        if self.policy.in_order:
            self.called = {*called_methods(scope, self.must), *self.values.users()}
        self.large = scope.policy.parts * scope.profile.context
        "Tokens of a function beyond which it is offered in parts, too; 0 for never."
        self.passed_over = 0
        "How many are not offered, since enough likelier ones are."

    def all(self) -> Iterator[Candidate]:
        """Yield functions and classes, the likeliest first, until they fill several contexts."""
        scores, alike = self._scores()
        remaining = dict.fromkeys(sorted(self.must))
        faded = self._faded(alike)
        room = self.policy.offered * self.scope.profile.context
        # The rows stand by path and name, and the sort is stable, so ties do too.
        best = np.maximum(scores, np.round(self.choice.pattern * alike, DECIMALS))
        best[[self.symbols.places[node] for node in sorted(self.called)]] = 1.0
        first = self._first() if self.policy.first and self.choice is self.policy else NOWHERE
        if first != NOWHERE:
            best[first] = 1.0
        for number, row in enumerate(map(int, ranked(best))):
            if room <= 0:
                self.passed_over = len(scores) - number - len(remaining)
                break
            candidate = self._symbol(row, float(scores[row]), float(faded[row]))
            remaining.pop(candidate.node, None)
            if levels := candidate.levels:
                least = -2 if len(levels) > 1 and levels[-1].name == "name" else -1
                room -= levels[least].tokens
                if number < LOOKED_AT and self._is_large(candidate):
                    candidate = self._with_parts(
                        candidate, row, float(alike[row]), float(faded[row])
                    )
                if row == first:
                    candidate = self._certain(candidate)
                yield candidate
        for node in remaining:
            row = self.symbols.places[node]
            yield self._symbol(row, float(scores[row]), float(faded[row]))

    def meaning(self) -> Floats | None:
        """Return how near each symbol is to the request; None where that is not weighed."""
        symbols, choice, nearness = self.symbols, self.choice, self.scope.nearness
        alike = choice.likeness.get("meaning") if choice.pattern else 0.0
        if not (nearness and (choice.weights.get("meaning") or alike) and symbols.nodes):
            return None
        text = self.scope.evidence().asked.text
        return nearness.of(symbols.interfaces, text or self.scope.path or "?")

    def chances(self) -> tuple[Floats, Floats]:
        """Return the chance of each symbol to be needed by itself, and that its text is like what
        will be written, 0 where that does not count; both of (symbols)."""
        evidence, choice, meaning = self.scope.evidence(), self.choice, self.meaning()
        needed = weighed(evidence, choice.weights, meaning)
        if not choice.pattern:
            return needed, np.zeros(len(needed))
        return needed, weighed(evidence, choice.likeness, meaning)

    def _scores(self) -> tuple[Floats, Floats]:
        """Return the chance of each symbol to be needed, and that its text is like what will be
        written; both of (symbols)."""
        symbols, choice = self.symbols, self.choice
        needed, alike = self.chances()
        share = choice.heads
        whole: Floats = np.round(symbols.with_classes(needed, share), DECIMALS)
        if not choice.pattern:
            return whole, np.zeros(len(whole))
        heads = symbols.with_classes(np.zeros(len(alike)), share, of=alike)
        return np.maximum(whole, np.round(choice.pattern * np.round(heads, DECIMALS), DECIMALS)), \
            alike  # fmt: skip

    def _faded(self, alike: Floats) -> Floats:
        """Return likeness, less for each text behind the likest ones: they say much the same."""
        if not self.choice.fading:
            return alike
        places = np.empty(len(alike))
        places[ranked(alike)] = np.arange(len(alike))
        faded: Floats = np.round(alike / (1 + places / self.choice.fading), DECIMALS)
        return faded

    def _symbol(self, row: int, score: float, alike: float) -> Candidate:
        scope = self.scope
        node, path, name, outer = self.symbols.named[row]
        critical = node in self.must
        if node in self.called:
            score = max(score, CALLED)
        section = self._section(node, path, critical)
        summed = critical or score >= self.policy.summarised
        counted, piece, stale = scope.texts.forms(
            row, whole=critical or node not in self.opened,
            summary=scope.details.function_tokens if summed else 0,
            lives=scope.policy.lives.get(kind_of(node)) if scope.policy.lives else None,
            levels=scope.policy.levels, used=scope.policy.in_order,
        )  # fmt: skip
        if stale:
            scope.note(node, stale)
        source = scope.source(path)
        held = scope.within(node) if scope.whole else ""
        if path == scope.path and (seen := self.surroundings.share(path, name)):
            alike *= 1 - seen
            held = held or (f"module:{path}" if seen == 1 else "")
        if self.policy.in_order and not critical and counted and counted[-1][0] == "name":
            counted = counted[:-1]  # A name on a line of its own tells nothing.
        # Every prompt has hundreds of these, and their own constructor takes as long as the rest.
        return tuple.__new__(Candidate, (
            node, section, "CRITICAL" if critical else scope.priorities[section],
            scope.levels.worth_of(counted, score, alike), score, source["because"], piece.place,
            held or outer, "", source["version"],
            node in scope.wanted, scope.rank(node) if critical else 0,
        ))  # fmt: skip

    def _first(self) -> int:
        """Return the row of the function that answers the request's words best both by its text
        and by what its outline names; `NOWHERE` where these are two, or one is a class."""
        evidence = self.scope.evidence()
        evidence.gather(("text words",))
        by_text, by_names = evidence["text words"], evidence["body words"].copy()
        if (own := self.symbols.places.get(self.scope.target, NOWHERE)) != NOWHERE:
            by_names[own] = 0
        first = int(np.argmax(by_text)) if len(by_text) else NOWHERE
        if first == NOWHERE or not by_text[first] or first != int(np.argmax(by_names)):
            return NOWHERE
        return NOWHERE if kind_of(self.symbols.nodes[first]) == "class" else first

    def _certain(self, candidate: Candidate) -> Candidate:
        """Return a candidate whose whole text is worth more than all else, if it is small enough
        and not shown already in part."""
        first, *rest = candidate.levels
        most = self.policy.first * self.scope.profile.context
        if first.name != "full" or first.tokens > most or candidate.priority == "CRITICAL":
            return candidate
        path, name = path_of(candidate.node), name_of(candidate.node)
        if self.surroundings.share(path, name):
            return candidate
        return candidate._replace(levels=(first._replace(gain=CERTAIN * first.tokens), *rest))

    def _is_large(self, candidate: Candidate) -> bool:
        """Tell whether a candidate is a function that is offered in parts, too."""
        first = candidate.levels[0]
        return bool(
            self.large and first.name == "full" and first.tokens > self.large
            and candidate.node != self.scope.target and not candidate.node.startswith("class:")
        )  # fmt: skip

    def _with_parts(self, candidate: Candidate, row: int, alike: float, faded: float) -> Candidate:
        scope, (_, path, name, _) = self.scope, self.symbols.named[row]
        finder = Parts(
            scope.evidence(), self.choice.likeness, scope.counting.count, code=self.policy.in_order
        )
        most = candidate.levels[0].tokens * 2 // 3
        parts = [
            (text, chance * faded / alike if alike else 0.0)
            for text, chance in finder.of(
                row, self._piece(path, name), alike, most, self.surroundings
            )
        ]
        levels = scope.levels.with_parts(candidate.levels, parts, candidate.score)
        return candidate._replace(levels=levels)

    def _piece(self, path: str, name: str) -> SourcePiece:
        texts = self.scope.texts
        return texts.used(path, name) if self.policy.in_order else texts.sources.piece(path, name)

    def _section(self, node: str, path: str, must: bool) -> str:
        if node == self.scope.target:
            return "current module"
        if node in self.scope.wanted:
            return ADDED
        if path in (self.scope.path, self.scope.beside):
            return "related functions"
        return "dependencies" if must else "related modules"


def called_methods(scope: RequestScope, must: Set[str]) -> Iterator[str]:
    """Yield the methods that the target calls by name, of classes that it needs."""
    if scope.target not in scope.symbols.places:
        return
    names = set(_CALLS.findall(scope.sources.piece(scope.path, scope.name).text))
    for needed in sorted(must):
        if kind_of(needed) == "class" and needed != scope.target:
            path, inside = path_of(needed), f"{name_of(needed)}."
            for node in scope.symbols.nodes[scope.symbols.rows[path]]:
                if name_of(node).startswith(inside) and last_name(node) in names:
                    yield node
