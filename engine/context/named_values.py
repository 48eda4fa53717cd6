"""What a new module may replace: values that its request names, wherever they are, and their users.

A request for a module with `FLAG_NEEDS_VALUE` means the project's `_flag_needs_value`, too.
"""

import re
from collections.abc import Iterator
from functools import cached_property

from backcast.domain.node import node_id
from backcast.engine.context.request_scope import RequestScope

NAME = re.compile(r"\b(?:[A-Z][A-Z0-9]+|\w+_\w+)\b")
"A word that is a name of code, rather than one of plain English."
LEAST = 5
"Characters of such a name."


class NamedValues:
    """The values that the request for a new module names, and the functions that read them."""

    def __init__(self, scope: RequestScope) -> None:
        self.scope = scope

    @cached_property
    def nodes(self) -> list[str]:
        """The values, as nodes; none where the module is there already."""
        scope = self.scope
        if not (scope.policy.in_order and scope.path) or scope.path in scope.facets:
            return []
        names = {_plain(word) for word in NAME.findall(scope.request.query) if len(word) >= LEAST}
        return [
            node_id("attribute", path, key.removeprefix("name:"))
            for path, facets in scope.facets.items() if names
            for key, facet in facets.items()
            if key.startswith("name:") and facet[:1] == ("value",) and _plain(key[5:]) in names
        ]  # fmt: skip

    def users(self) -> Iterator[str]:
        """Yield the functions and classes that read one of them, tests apart."""
        wanted = set(self.nodes)
        for part in self.scope.symbols.parts.values() if wanted else ():
            for node, read in part.reads.items():
                if not wanted.isdisjoint(read) and node in self.scope.symbols.places:
                    yield node


def _plain(name: str) -> str:
    return name.strip("_").lower()
