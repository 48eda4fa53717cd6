"""Which module is a new one most like? One of its folder: it shows how such modules are written.

What is not there yet has no lines around a place. A module beside it has: what such a module
imports, how it begins, and what it is made of. One of tests is made of tests.
"""

import math
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np

from backcast.domain.context import Candidate
from backcast.domain.node import node_id
from backcast.domain.outline import names_in
from backcast.domain.paths import is_of_tests, is_test
from backcast.engine.context.evidence import BESIDE, DECIMALS, weighed
from backcast.engine.context.module_header import SHARE, header_of
from backcast.engine.context.module_symbols import Floats, symbol_texts
from backcast.engine.context.request_scope import RequestScope

BY_WORDS = ("signature words", "body words", "text words")
"Evidence that a text which is none of the symbols' is like what will be written."
MOST = 3
"The likest functions of a module that tell how like it is."


class SiblingModule:
    """The module of a new one's folder that is likest to it, if the policy asks for it."""

    def __init__(self, scope: RequestScope) -> None:
        self.scope = scope
        self.alike = 0.0
        "How like the new one it is."
        self.by_tests = bool(scope.policy.tests_beside) and is_of_tests(scope.path)

    @cached_property
    def path(self) -> str:
        """Its path; empty where the module is there already, or none is beside it."""
        scope = self.scope
        if not (scope.policy.beside and scope.path) or scope.path in scope.facets:
            return ""
        folder, test, best = scope.path.rpartition("/")[0], is_test(scope.path), ""
        beside = [
            path for path in scope.symbols.rows
            if path.rpartition("/")[0] == folder and is_test(path) == test
            and path not in scope.needed and node_id("module", path) not in scope.wanted
        ]  # fmt: skip
        if not beside:
            return ""
        likeness = weighed(scope.evidence(), scope.policy.likeness)
        for path in sorted(beside):
            found = likeness[scope.symbols.rows[path]]
            if self.by_tests:
                found = self._answering(path)
                found = np.concatenate([found, self._helping(path)]) if len(found) else found
            likest = np.sort(found)[::-1][:MOST]
            alike = round(float(likest.mean()), DECIMALS) if len(likest) else 0.0
            if alike > self.alike:
                self.alike, best = alike, path
        return best

    def candidate(self) -> Candidate | None:
        """Return it as a candidate: whole where that is not too large, else its header."""
        scope, path = self.scope, self.path
        if not path:
            return None
        text, count = scope.sources.text(path), scope.counting.count
        most = int(scope.policy.beside * scope.profile.context)
        whole = [("full", text)] if count(text) <= most else []
        lines = text.split("\n")
        header = "\n".join(filter(None, header_of(
            lines, "", 0, scope.symbols.tops, (),
            int(SHARE * scope.profile.context), lambda line: count(line) + 1,
        )))  # fmt: skip
        levels = [*whole, ("summary", header)]
        section, shown = "related functions", scope.levels(levels, 1.0, 1.0)
        return Candidate(
            node_id("module", path), section, scope.policy.priority(section), shown, 1.0,
            **scope.source(path),
        ) if shown else None  # fmt: skip

    def tests(self) -> Iterator[Candidate]:
        """Yield its tests that are likest to what is asked for, where the new module is of tests.

        They are like it as its functions are, by their words alone.
        """
        scope, path = self.scope, self.path
        if not (self.by_tests and path):
            return
        answering, names = self._answering(path), self._tests(path)
        likest = np.argsort(-np.round(answering, DECIMALS), kind="stable")
        some = [names[n] for n in likest[: scope.policy.tests_beside]]
        pieces = [scope.sources.piece(path, name) for name in some]
        weights, evidence = scope.policy.likeness, scope.evidence()
        words = {
            name: evidence.words_of(name, [piece.text for piece in pieces])
            for name in BY_WORDS if weights.get(name)
        }  # fmt: skip
        always = weights.get("always", 0.0) + BESIDE * weights.get("near", 0.0)
        for place, (name, piece) in enumerate(zip(some, pieces, strict=True)):
            total = always + sum(weights[by] * words[by][place] for by in sorted(words))
            chance = round(1 / (1 + math.exp(-total)), DECIMALS)
            faded = chance / (1 + place / scope.policy.fading) if scope.policy.fading else chance
            node, section = node_id("test", path, name), "related functions"
            levels = [("full", piece.text), ("signature", piece.signature)]
            yield Candidate(
                node, section, scope.policy.priority(section),
                scope.levels(levels, 0.0, round(faded, DECIMALS)), chance, place=piece.place,
                within=scope.within(node), **scope.source(path),
            )  # fmt: skip

    def _answering(self, path: str) -> Floats:
        """Return how well each test of a module answers the request by its outline, of (tests)."""
        symbols, facets = self.scope.symbols, self.scope.facets[path]
        query, found = self.scope.evidence().query, list[float]()
        for name in self._tests(path):
            found.append(symbols.score(query, symbol_texts(path, name, facets)[1], bodies=True))
        return np.array(found)

    def _helping(self, path: str) -> Floats:
        """Return the same of the other functions and classes of a module, of (symbols)."""
        symbols, evidence = self.scope.symbols, self.scope.evidence()
        best = symbols.best_by_words(evidence.query, bodies=True)
        found: Floats = best * evidence["body words"][symbols.rows[path]]
        return found

    def _tests(self, path: str) -> Sequence[str]:
        """Return the names of a module's tests."""
        facets = self.scope.facets[path]
        return [name for name in names_in(facets) if facets[f"sig:{name}"][:1] == ("test",)]
