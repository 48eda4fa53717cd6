"""What is shown of a module, as it stands there: once, in its order, methods below their class.

Items are chosen one by one. What makes them code that can be read is put back here: the line of the
class above its methods, the block around a function, and one place in the prompt for each file.
"""

from collections.abc import Sequence

from backcast.domain.context import Candidate, Item, Level
from backcast.domain.node import kind_of, name_of, path_of
from backcast.domain.policy import ADDED
from backcast.engine.context.enclosing_lines import EnclosingLines, Opening
from backcast.engine.context.request_scope import RequestScope
from backcast.projections import dependency_graph

NEEDED, OTHERS = "dependencies", "related modules"
PARTS = (NEEDED, OTHERS, "related functions", "test results", "current module", ADDED)
"The sections that show parts of modules."
NAMED = ("function", "method", "class", "test")


class ModuleOrder:
    """The order of modules and of what they hold, for one request."""

    def __init__(self, scope: RequestScope) -> None:
        self.scope = scope
        self.top = scope.path.partition("/")[0]
        self._modules: dict[str, EnclosingLines] = {}
        self._named: dict[str, tuple[str, str, str]] = {}
        "Kind, path and name of each node: items are chosen several times for a request."

    def near(self, path: str) -> bool:
        """Tell whether a file stands in the same top folder as the target."""
        return not self.scope.path or path.partition("/")[0] == self.top

    def merged(self, items: Sequence[Item]) -> list[Item]:
        """Return items such that no other module than the target's stands in two sections."""
        needed = {path_of(item.node) for item in items if item.section == NEEDED}
        return [
            item._replace(section=NEEDED)
            if item.section == OTHERS and path_of(item.node) in needed else item
            for item in items
        ]  # fmt: skip

    def headed(self, items: Sequence[Item]) -> list[Item]:
        """Return sorted items, with what opens around each above it, unless that is shown."""
        found, open, where = list[Item](), tuple[Opening, ...](), ("", "")
        begun = {(item.section, item.node) for item in items if item.node.endswith(".__init__")}
        for item in items:
            kind, path, name = self._named.get(item.node) or self._parted(item.node)
            if item.section not in PARTS or kind not in NAMED:
                found.append(item)
                open = ()
                continue
            module = self.module(path)
            open = open if where == (item.section, path) else ()
            where, around = (item.section, path), module.of(name)
            if item.level == "signature" and kind == "class":
                first = (item.section, f"method:{path}::{name}.__init__")
                if first in begun:
                    item = self._with(item, module.signature(name))
            if kind == "class" and item.level == "name":
                around = ()
            if around and around is not open and (new := around[_common(open, around) :]):
                item = self._with(item, "\n".join([*(one.text for one in new), item.text]))
            found.append(item)
            open = module.own(name) if kind == "class" else around
        return found

    def _parted(self, node: str) -> tuple[str, str, str]:
        parts = self._named[node] = kind_of(node), path_of(node), name_of(node)
        return parts

    def module(self, path: str) -> EnclosingLines:
        """Return what opens around the functions and classes of a module."""
        if path not in self._modules:
            state, sources = self.scope.states.graph, self.scope.sources
            self._modules[path] = EnclosingLines(
                sources.lines(path),
                dependency_graph.lines_of(state, path) if path in self.scope.facets else {},
                lambda name: sources.piece(path, name).signature,
            )
        return self._modules[path]

    def forms(self, candidate: Candidate, level: Level) -> list[str]:
        """Return the texts as which a level of a candidate may have been shown."""
        texts = [level.text]
        if kind_of(candidate.node) in NAMED and candidate.section in PARTS:
            path, name = path_of(candidate.node), name_of(candidate.node)
            module = self.module(path)
            if level.name == "signature" and candidate.node.startswith("class:"):
                texts.append(module.signature(name))
            around = [opening.text for opening in module.of(name)]
            texts += [
                "\n".join([*around[n:], text]) for text in texts for n in range(len(around))
            ]  # fmt: skip
        return texts

    def _with(self, item: Item, text: str) -> Item:
        tokens = self.scope.counting.item(item.level, text)
        return item._replace(text=text, tokens=tokens)


def _common(open: Sequence[Opening], around: Sequence[Opening]) -> int:
    """Return with how many equal openings both begin."""
    pairs = enumerate(zip(open, around, strict=False))
    return next((n for n, both in pairs if both[0] != both[1]), min(len(open), len(around)))
