"""Keeps the lines of code that stand on a map: an item for each file, or part of one, with its
path and the `def` and `class` lines that the next run will most likely need."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from immutables import Map

from backcast.domain.context_map import MapItem, Tokens, folder_of, lawful, rendered, within
from backcast.domain.events import MapEdit, MapEdited
from backcast.domain.graph import NEEDS
from backcast.domain.links import Links
from backcast.domain.map_lines import Costs, Group, Line, chosen, faded, filled, gains
from backcast.domain.names import Reader
from backcast.domain.node import kind_of, name_of, node_id, path_of
from backcast.domain.outline import Facets, names_in
from backcast.domain.paths import is_aside, is_code
from backcast.domain.policy import MapSettings
from backcast.domain.summary import built_from
from backcast.engine.memory.mapping import FinishedRun
from backcast.projections.context_map import ContextMap, edited

SECTION = "CONTEXT ROADMAP"
SYMBOLS = ("function", "method", "class")
WIDEST = 300
"Characters of a line; what is longer would take the room of many."
ID = "[cr-00000] "
ROUNDS = 4
"Times that lines are chosen until they fill what room there is."


class Needs(NamedTuple):
    """What the functions of a module need, tests apart."""

    links: Links
    pairs: tuple[tuple[str, str], ...]
    "A function and a function or class that it needs, each once."


class LineChooser:
    """Chooses lines; what was found of a module is kept as long as it stands."""

    id = "lines 1"

    def __init__(self, count: Tokens) -> None:
        self._count, self._one = count, count("x")
        self._needs: dict[str, Needs] = {}
        self._lines: dict[str, tuple[Facets, tuple[Line, ...]]] = {}
        self._tokens: dict[str, int] = {}

    def edits(
        self,
        run: FinishedRun,
        map: ContextMap,
        tokens: int,
        settings: MapSettings,
        *,
        fill: bool = True,
    ) -> Sequence[MapEdit]:
        """Edits after which the map shows, beside what else stands on it, the lines that are worth
        most within so many tokens; with `fill`, any others in the room that those leave."""
        strange = self._strange(run, map, tokens)
        others = [one for one in map.items.values() if not is_lines(one)] + strange
        room = tokens - (self._count(rendered(others)) if others else self._count(f"## {SECTION}"))
        gain: Mapping[str, float] = gains(self.shares(run, map, settings), settings.lines)
        there = list(self.there(run))
        gain = filled(there, gain, room) if fill else gain
        root = folder_of([one.path for one in there])
        costs = Costs(settings.line_tokens, lambda path: self._opening(path, root))
        best, kept = None, frozenset(one.id for one in strange)
        for _ in range(ROUNDS):
            groups = chosen(there, gain, room, costs)
            edits, taken = self._tried(run, map, groups, kept)
            if taken <= tokens:
                best = edits
            # What a line takes depends on those above it; the rest is given back, or taken away.
            if taken == tokens or not groups:
                break
            room += tokens - taken
        return best if best is not None else self._trimmed(run, map, groups, tokens, kept)

    def _strange(self, run: FinishedRun, map: ContextMap, tokens: int) -> list[MapItem]:
        """The lines of files that the run has never had, since they are another task's: the last
        ones of them, in half the tokens at most."""
        found = [one for one in map.items.values() if is_lines(one) and _is_strange(run, one)]
        found.sort(key=lambda one: (-one.version, one.id))
        return within(found, tokens // 2, self._count) if found else []

    def needed(self, run: FinishedRun, map: ContextMap, tokens: int, settings: MapSettings) -> int:
        """The tokens that the lines of a map for which something speaks would take if nothing else
        stood on it: of so many."""
        alone = [item for item in map.items.values() if is_lines(item)]
        alone_map = map._replace(items=Map({item.id: item for item in alone}))
        edits = self.edits(run, alone_map, tokens, settings, fill=False)
        after = edited(alone_map, MapEdited(edits=tuple(edits)))
        return self._count(rendered(after.items.values()))

    def _tried(
        self, run: FinishedRun, map: ContextMap, groups: Sequence[Group], kept: frozenset[str]
    ) -> tuple[list[MapEdit], int]:
        """The edits that make the items of a map those of some groups, and its tokens then."""
        edits = list(self._edits(run, map, groups, kept))
        after = edited(map, MapEdited(edits=tuple(edits)))
        return edits, self._count(rendered(after.items.values()))

    def _trimmed(
        self,
        run: FinishedRun,
        map: ContextMap,
        groups: list[Group],
        tokens: int,
        kept: frozenset[str],
    ) -> list[MapEdit]:
        """The edits for as many groups as fit."""
        while True:
            edits, taken = self._tried(run, map, groups, kept)
            if not groups or taken <= tokens:
                return edits
            groups = _without_last(groups)

    def shares(
        self, run: FinishedRun, map: ContextMap, settings: MapSettings
    ) -> dict[str, dict[str, float]]:
        """The evidence for each function and class, by kind."""
        now = map.updates
        used = {node: faded(map.uses[node], now, settings.lasting) for node in sorted(map.uses)}
        hot = {path: faded(map.changes[path], now, settings.heat) for path in sorted(map.changes)}
        needed: dict[str, float] = {}
        near: dict[str, float] = {}
        for path, links in run.graph.links.items():
            pairs, heat = self._pairs(path, links), hot.get(path, 0.0)
            functions = len({source for source, _ in pairs}) or 1
            for _, target in pairs:
                needed[target] = needed.get(target, 0.0) + 1.0
                if heat:
                    near[target] = near.get(target, 0.0) + heat / functions
        return {"used": used, "needed": needed, "near": near}

    def there(self, run: FinishedRun) -> Iterator[Line]:
        """The lines of all functions, methods and classes of the code; tests apart."""
        for path in run.after:
            if is_code(path) and not is_aside(path):
                facets, kept = run.state.modules[path].facets, self._lines.get(path)
                if kept is None or kept[0] is not facets:
                    kept = self._lines[path] = facets, tuple(self._of(path, facets))
                yield from kept[1]

    def _of(self, path: str, facets: Facets) -> Iterator[Line]:
        for name in names_in(facets):
            kind = (facets[f"sig:{name}"] or ("",))[0]
            outer = facets.get(f"sig:{name.rpartition('.')[0]}", ())
            inside = "." in name and outer[:1] != ("class",)
            text = header(facets, name, name)
            if kind in SYMBOLS and not inside and len(text) <= WIDEST and lawful(f"{path}\n{text}"):
                short = header(facets, name, name.rpartition(".")[2])
                yield Line(node_id(kind, path, name), path, text, self._size(short))

    def _size(self, text: str) -> int:
        """The tokens of a line with the line's end before it."""
        if text not in self._tokens:
            self._tokens[text] = self._count(f"x\n{text}") - self._one
        return self._tokens[text]

    def _opening(self, path: str, root: str) -> int:
        return self._size(f"{ID}{path.removeprefix(root)}")

    def _pairs(self, path: str, links: Links) -> tuple[tuple[str, str], ...]:
        kept = self._needs.get(path)
        if kept is None or kept.links is not links:
            kept = self._needs[path] = Needs(links, tuple(_needs(path, links)))
        return kept.pairs

    def _edits(
        self, run: FinishedRun, map: ContextMap, groups: Sequence[Group], kept: frozenset[str]
    ) -> Iterator[MapEdit]:
        """What makes the items of the map those of some groups, beside some that are kept."""
        there: dict[str, list[MapItem]] = {}
        for item in sorted(map.items):
            if is_lines(map.items[item]) and item not in kept:
                one = map.items[item]
                there.setdefault(one.text.partition("\n")[0], []).append(one)
        for group in groups:
            before = there.get(group.path, [])
            known = before.pop(0) if before else None
            new = _told(run.after, group)
            if known is None:
                yield MapEdit(operation="ADD", section=SECTION, **new)
            elif known.text != new["text"] or known.made_of != new["built_from"]:
                yield MapEdit(operation="REPLACE", item=known.id, **new)
        for path in sorted(there):
            for known in there[path]:
                yield MapEdit(operation="DELETE", item=known.id)


def _is_strange(run: FinishedRun, item: MapItem) -> bool:
    return item.text.partition("\n")[0] not in run.state.modules


def is_lines(item: MapItem) -> bool:
    """Whether an item holds lines of code below the path of their file."""
    return "\n" in item.text


def header(facets: Mapping[str, tuple[str, ...]], name: str, told: str) -> str:
    """The `def` or `class` line of a function or class, whole, by the name that is told."""
    kind, *signature = facets[f"sig:{name}"] or ("function",)
    if kind == "class":
        bases = ", ".join(facets.get(f"bases:{name}", ()))
        return f"class {told}({bases})" if bases else f"class {told}"
    return f"def {told}{''.join(signature)}"


def _needs(path: str, links: Links) -> Iterator[tuple[str, str]]:
    if not is_code(path) or is_aside(path):
        return
    pairs = {
        (edge.source, edge.target)
        for edge in links.edges
        if edge.kind in NEEDS
        and edge.source != edge.target
        and kind_of(edge.source) in ("function", "method")
        and kind_of(edge.target) in SYMBOLS
    }
    yield from sorted(pairs)


def _told(modules: Mapping[str, Facets], group: Group) -> dict[str, object]:
    """An item of a group: functions first, then classes; of the methods of one class only the first
    names it, where no line above does."""
    path, facets, reader = group.path, modules[group.path], Reader(modules)
    text, above = [path], ""
    ordered = sorted(group.lines, key=_place)
    for one in ordered:
        name = name_of(one.node)
        reader.facet(path, f"sig:{name}")
        if kind_of(one.node) == "class":
            reader.facet(path, f"bases:{name}")
        owner, _, short = name.rpartition(".")
        text.append(header(facets, name, short if owner and owner == above else name))
        above = name if kind_of(one.node) == "class" else owner
    nodes = (node_id("module", path), *(one.node for one in ordered))
    return {"text": "\n".join(text), "nodes": nodes, "built_from": built_from(reader)}


def _place(line: Line) -> tuple[bool, str]:
    name = name_of(line.node)
    return "." in name or kind_of(line.node) == "class", name


def _without_last(groups: Sequence[Group]) -> list[Group]:
    """The groups without the line that came last into the last of them."""
    *first, last = groups
    return [*first, last._replace(lines=last.lines[:-1])] if len(last.lines) > 1 else first


__all__ = ["SECTION", "LineChooser", "header", "is_lines", "path_of"]
