"""Chooses the lines of code on a map: an item for each file, or part of one, with its path and the
`def` and `class` lines that the next run will most likely need."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from immutables import Map

from backcast.domain.context_map import MapItem, Tokens, folder_of, lawful, rendered, within
from backcast.domain.graph import NEEDS
from backcast.domain.links import Links
from backcast.domain.map_lines import Costs, Group, Line, chosen, faded, filled, gains
from backcast.domain.memory_events import MapEdit, MapEdited
from backcast.domain.node import kind_of, name_of, node_id, path_of, plain_name
from backcast.domain.outline import Facets, names_in
from backcast.domain.paths import is_aside, is_code
from backcast.domain.policy import MapSettings
from backcast.domain.reader import Reader
from backcast.domain.summary import built_from
from backcast.engine.memory.mapping import FinishedRun
from backcast.projections.context_map import ContextMap, edited

SECTION = "CONTEXT ROADMAP"
SYMBOLS = ("function", "method", "class")
WIDEST = 300
"Characters of a line; a longer one would take the room of several."
ID = "[cr-00000] "
ROUNDS = 4
"Tries to choose lines that fill the room exactly."


class Needs(NamedTuple):
    """The needs of a module's functions, without tests."""

    links: Links
    pairs: tuple[tuple[str, str], ...]
    "Pairs of a function and a function or class that it needs, without repeats."


class LineChooser:
    """The chooser of lines; it caches the results for unchanged modules."""

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
        """Return edits after which the map shows, beside its other items, the most valuable lines
        within `tokens`; with `fill`, other lines take the free room."""
        strange = self._strange(run, map, tokens)
        others = [item for item in map.items.values() if not is_lines(item)] + strange
        room = tokens - (self._count(rendered(others)) if others else self._count(f"## {SECTION}"))
        gain: Mapping[str, float] = gains(self.shares(run, map, settings), settings.lines)
        lines = list(self.candidates(run))
        gain = filled(lines, gain, room) if fill else gain
        root = folder_of([line.path for line in lines])
        costs = Costs(settings.line_tokens, lambda path: self._opening(path, root))
        best, kept = None, frozenset(item.id for item in strange)
        for _ in range(ROUNDS):
            groups = chosen(lines, gain, room, costs)
            edits, taken = self._try(run, map, groups, kept)
            if taken <= tokens:
                best = edits
            # The cost of a line depends on the lines above it, so the room is corrected.
            if taken == tokens or not groups:
                break
            room += tokens - taken
        return best if best is not None else self._trimmed(run, map, groups, tokens, kept)

    def _strange(self, run: FinishedRun, map: ContextMap, tokens: int) -> list[MapItem]:
        """Return the items with lines of other tasks' files, which the run has never had: the
        latest ones, in at most half the tokens."""
        items = [item for item in map.items.values() if is_lines(item) and _is_strange(run, item)]
        items.sort(key=lambda item: (-item.version, item.id))
        return within(items, tokens // 2, self._count) if items else []

    def needed(self, run: FinishedRun, map: ContextMap, tokens: int, settings: MapSettings) -> int:
        """Return the tokens that the lines with evidence would take on a map of their own with the
        limit `tokens`."""
        alone = [item for item in map.items.values() if is_lines(item)]
        alone_map = map._replace(items=Map({item.id: item for item in alone}))
        edits = self.edits(run, alone_map, tokens, settings, fill=False)
        after = edited(alone_map, MapEdited(edits=tuple(edits)))
        return self._count(rendered(after.items.values()))

    def _try(
        self, run: FinishedRun, map: ContextMap, groups: Sequence[Group], kept: frozenset[str]
    ) -> tuple[list[MapEdit], int]:
        """Return the edits that put groups of lines on a map, and its tokens after them."""
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
        """Return the edits for as many groups as fit."""
        while True:
            edits, taken = self._try(run, map, groups, kept)
            if not groups or taken <= tokens:
                return edits
            groups = _without_last(groups)

    def shares(
        self, run: FinishedRun, map: ContextMap, settings: MapSettings
    ) -> dict[str, dict[str, float]]:
        """Return the evidence for each function and class, by kind."""
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

    def candidates(self, run: FinishedRun) -> Iterator[Line]:
        """Yield the lines of all functions, methods and classes of the code, without tests."""
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
            text = header(facets, name, plain_name(name))
            if kind in SYMBOLS and not inside and len(text) <= WIDEST and lawful(f"{path}\n{text}"):
                short = header(facets, name, plain_name(name.rpartition(".")[2]))
                yield Line(node_id(kind, path, name), path, text, self._size(short))

    def _size(self, text: str) -> int:
        """Return the tokens of a line with the line break before it."""
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
        """Yield the edits that make the map's lines those of `groups`, beside the `kept` items."""
        by_path: dict[str, list[MapItem]] = {}
        for id in sorted(map.items):
            item = map.items[id]
            if is_lines(item) and id not in kept:
                by_path.setdefault(item.text.partition("\n")[0], []).append(item)
        for group in groups:
            before = by_path.get(group.path, [])
            known = before.pop(0) if before else None
            new = _fields(run.after, group)
            if known is None:
                yield MapEdit(operation="ADD", section=SECTION, **new)
            elif known.text != new["text"] or known.made_of != new["built_from"]:
                yield MapEdit(operation="REPLACE", item=known.id, **new)
        for path in sorted(by_path):
            for known in by_path[path]:
                yield MapEdit(operation="DELETE", item=known.id)


def _is_strange(run: FinishedRun, item: MapItem) -> bool:
    return item.text.partition("\n")[0] not in run.state.modules


def is_lines(item: MapItem) -> bool:
    """Return whether an item holds lines of code below the path of their file."""
    return "\n" in item.text


def header(facets: Mapping[str, tuple[str, ...]], name: str, shown: str) -> str:
    """Return the whole `def` or `class` line of a function or class, under the name `shown`."""
    kind, *signature = facets[f"sig:{name}"] or ("function",)
    if kind == "class":
        bases = ", ".join(facets.get(f"bases:{name}", ()))
        return f"class {shown}({bases})" if bases else f"class {shown}"
    return f"def {shown}{''.join(signature)}"


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


def _fields(modules: Mapping[str, Facets], group: Group) -> dict[str, object]:
    """Return the fields of a group's item: functions first, then classes with their methods.

    A method shows its class only where the line above does not.
    """
    path, facets, reader = group.path, modules[group.path], Reader(modules)
    text, above = [path], ""
    ordered = sorted(group.lines, key=_place)
    for line in ordered:
        name = name_of(line.node)
        reader.facet(path, f"sig:{name}")
        if kind_of(line.node) == "class":
            reader.facet(path, f"bases:{name}")
        owner, _, short = name.rpartition(".")
        text.append(header(facets, name, short if owner and owner == above else plain_name(name)))
        above = name if kind_of(line.node) == "class" else owner
    nodes = (node_id("module", path), *(line.node for line in ordered))
    return {"text": "\n".join(text), "nodes": nodes, "built_from": built_from(reader)}


def _place(line: Line) -> tuple[bool, str]:
    name = name_of(line.node)
    return "." in name or kind_of(line.node) == "class", name


def _without_last(groups: Sequence[Group]) -> list[Group]:
    """Return the groups without the last line of the last group."""
    *first, last = groups
    return [*first, last._replace(lines=last.lines[:-1])] if len(last.lines) > 1 else first


__all__ = ["SECTION", "LineChooser", "header", "is_lines", "path_of"]
