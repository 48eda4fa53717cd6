"""Turns a distilled run into edits by rules: a new entry replaces the old one on its subject."""

import re
from collections.abc import Callable, Iterator, Sequence

from backcast.domain.context_map import Distilled, MapEntry, MapItem, lawful
from backcast.domain.errors import DamagedError
from backcast.domain.graph import Graph
from backcast.domain.llms_txt import StoredTexts, llms_txt
from backcast.domain.memory_events import MapEdit
from backcast.domain.node import node_id
from backcast.domain.roadmap import roadmap
from backcast.domain.summary import BuiltFrom
from backcast.engine.context.ranking import Ranking
from backcast.engine.memory.mapping import FinishedRun, Proposal
from backcast.engine.memory.mapping.distiller import renewed
from backcast.engine.memory.mapping.lines import is_lines
from backcast.projections import dependency_graph
from backcast.projections.context_map import ContextMap

_WORD = re.compile(r"\w+")
_HEAD = re.compile(r":| \(")


class ByRules:
    """A Cartographer that adds new entries, replaces changed ones and deletes stale ones."""

    id = "rules 2"

    def propose(self, run: FinishedRun, distilled: Distilled, map: ContextMap) -> Proposal:
        """Return edits of all items but the lines of code."""
        entries = [*roadmap_of(run.state, run.graph), *distilled.entries, *renewed(run, map)]
        return Proposal(prose_edits(map, entries, run), by=self.id)


def prose_edits(map: ContextMap, new: Sequence[MapEntry], run: FinishedRun) -> list[MapEdit]:
    """Return the edits that follow from new entries; lines of code are left alone."""
    entries, items = _once(new), [map.items[item] for item in sorted(map.items)]
    prose = [item for item in items if not is_lines(item)]
    return [*_additions(prose, entries), *_deletions(prose, entries, run)]


def _additions(items: Sequence[MapItem], entries: Sequence[MapEntry]) -> Iterator[MapEdit]:
    subjects = {_subject(item.section, item.text): item for item in reversed(items)}
    normal = {normal_form(item.text) for item in items}
    for entry in entries:
        known = subjects.get(_subject(entry.section, entry.text))
        new = {"text": entry.text, "nodes": entry.nodes, "built_from": plainly(entry.built_from)}
        if known is None:
            if normal_form(entry.text) not in normal:
                yield MapEdit(operation="ADD", section=entry.section, **new)
        elif known.text != entry.text or known.made_of != entry.built_from:
            yield MapEdit(operation="REPLACE", item=known.id, **new)


def _deletions(
    items: Sequence[MapItem], entries: Sequence[MapEntry], run: FinishedRun
) -> Iterator[MapEdit]:
    """Yield deletions of stale items on whose subject there is no new entry."""
    renewed = {_subject(entry.section, entry.text) for entry in entries}
    for item in items:
        if _subject(item.section, item.text) not in renewed and run.moved(item):
            yield MapEdit(operation="DELETE", item=item.id)


def _once(entries: Sequence[MapEntry]) -> list[MapEntry]:
    """Return the entries that may stand on a map, the first one on each subject."""
    by_subject: dict[tuple[str, str], MapEntry] = {}
    for entry in entries:
        if lawful(entry.text):
            by_subject.setdefault(_subject(entry.section, entry.text), entry)
    return list(by_subject.values())


def _subject(section: str, text: str) -> tuple[str, str]:
    """Return the subject of an entry: a constant's name, else the text before the first colon or
    parenthesis."""
    head = _HEAD.split(text, maxsplit=1)[0]
    if section in ("DOMAIN CONSTANTS", "PARSING SCHEMA"):
        head = " ".join(text.split()[:2])
    return section, head if section != "ERROR PATTERNS" else text.rpartition(",")[0]


def normal_form(text: str) -> str:
    """Return the words of a text in lower case: texts of one normal form say the same.

    >>> normal_form("Reads a.py, twice.") == normal_form("reads `a.py` twice")
    True
    """
    return " ".join(_WORD.findall(text.lower()))


def plainly(built_from: BuiltFrom) -> dict[str, dict[str, str]]:
    """Return sources as a fact stores them."""
    return {path: dict(keys) for path, keys in built_from.items()}


def roadmap_of(state: dependency_graph.State, graph: Graph) -> list[MapEntry]:
    """Return the roadmap entries of a state with the graph `graph`, the most valuable first."""
    return roadmap(dependency_graph.present(state), graph, rank_of(graph))


def long_form(
    task_id: str,
    state: dependency_graph.State,
    masked: Callable[[str], str] = str,
    read: Callable[[str], bytes] | None = None,
) -> str:
    """Return a state at length, in the form of `backcast.domain.llms_txt`.

    `read` gives the stored texts, which examples are quoted from; without it there are none.
    """
    graph = dependency_graph.graph_of(state)
    stored = StoredTexts() if read is None else stored_texts(state, read)
    return llms_txt(task_id, dependency_graph.present(state), graph, rank_of(graph), masked, stored)


def stored_texts(state: dependency_graph.State, read: Callable[[str], bytes]) -> StoredTexts:
    """Return the texts of a state; a file whose bytes are lost, or no text, has none."""

    def text(path: str) -> str | None:
        module = state.modules.get(path)
        if module is None or module.deleted or not module.source:
            return None
        try:
            return read(module.source).decode(errors="strict")
        except (UnicodeDecodeError, DamagedError):
            return None

    paths = tuple(dependency_graph.present(state))
    return StoredTexts(paths, text, lambda path: dependency_graph.lines_of(state, path))


def rank_of(graph: Graph) -> dict[str, float]:
    """Return the weight of each node to all code modules alike; sums to 1, empty without code.

    Documents and settings do not count, since they would draw the walk to themselves.
    """
    code = (node_id("module", path) for path in graph.links if path.endswith(".py"))
    seeds = dict.fromkeys(code, 1.0)
    return dict(Ranking.of(graph).around(seeds)) if seeds else {}
