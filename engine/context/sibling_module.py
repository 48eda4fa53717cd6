"""Which module is a new one most like? One of its folder: it shows how such modules are written.

What is not there yet has no lines around a place. A module beside it has: what such a module
imports, how it begins, and what it is made of.
"""

from functools import cached_property

import numpy as np

from backcast.domain.context import Candidate
from backcast.domain.node import node_id
from backcast.domain.paths import is_test
from backcast.engine.context.evidence import DECIMALS, weighed
from backcast.engine.context.module_header import SHARE, header_of
from backcast.engine.context.request_scope import RequestScope

MOST = 3
"The likest functions of a module that tell how like it is."


class SiblingModule:
    """The module of a new one's folder that is likest to it, if the policy asks for it."""

    def __init__(self, scope: RequestScope) -> None:
        self.scope = scope
        self.alike = 0.0
        "The chance that it is like the new one."

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
            likest = np.sort(likeness[scope.symbols.rows[path]])[::-1][:MOST]
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
