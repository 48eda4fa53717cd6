"""Turns what a run told into edits: what is told anew replaces what was told of the same things."""

import re
from collections.abc import Callable, Iterator, Sequence

from backcast.domain.context_map import Distilled, MapEntry, MapItem, lawful
from backcast.domain.events import MapEdit
from backcast.domain.graph import Graph
from backcast.domain.llms_txt import llms_txt
from backcast.domain.node import node_id
from backcast.domain.roadmap import roadmap
from backcast.domain.summary import BuiltFrom
from backcast.engine.context.ranking import Ranking
from backcast.engine.memory.mapping import FinishedRun, Proposal
from backcast.engine.memory.mapping.lines import is_lines
from backcast.projections import dependency_graph
from backcast.projections.context_map import ContextMap

_WORD = re.compile(r"\w+")
_HEAD = re.compile(r":| \(")


class ByRules:
    """Adds what is new, replaces what is told otherwise, deletes what does not hold any more."""

    id = "rules 1"

    def drawn(self, run: FinishedRun, told: Distilled, map: ContextMap) -> Proposal:
        """Edits of all but the lines of code."""
        entries = [*roadmap_of(run.state, run.graph), *told.entries]
        return Proposal(prose_edits(map, entries, run), by=self.id)


def prose_edits(map: ContextMap, told: Sequence[MapEntry], run: FinishedRun) -> list[MapEdit]:
    """The edits that follow from entries; lines of code are left alone."""
    entries, items = _once(told), [map.items[item] for item in sorted(map.items)]
    prose = [one for one in items if not is_lines(one)]
    return [*_written(prose, entries), *_outlived(prose, entries, run)]


def _written(there: Sequence[MapItem], entries: Sequence[MapEntry]) -> Iterator[MapEdit]:
    subjects = {_subject(one.section, one.text): one for one in reversed(there)}
    normal = {normal_form(one.text) for one in there}
    for one in entries:
        known = subjects.get(_subject(one.section, one.text))
        new = {"text": one.text, "nodes": one.nodes, "built_from": plainly(one.built_from)}
        if known is None:
            if normal_form(one.text) not in normal:
                yield MapEdit(operation="ADD", section=one.section, **new)
        elif known.text != one.text or known.made_of != one.built_from:
            yield MapEdit(operation="REPLACE", item=known.id, **new)


def _outlived(
    there: Sequence[MapItem], entries: Sequence[MapEntry], run: FinishedRun
) -> Iterator[MapEdit]:
    """The deletion of what does not hold, and was not told anew."""
    anew = {_subject(one.section, one.text) for one in entries}
    for one in there:
        if _subject(one.section, one.text) not in anew and run.moved(one):
            yield MapEdit(operation="DELETE", item=one.id)


def _once(entries: Sequence[MapEntry]) -> list[MapEntry]:
    """Entries that may stand on a map, the first of those about one subject."""
    found: dict[tuple[str, str], MapEntry] = {}
    for one in entries:
        if lawful(one.text):
            found.setdefault(_subject(one.section, one.text), one)
    return list(found.values())


def _subject(section: str, text: str) -> tuple[str, str]:
    """What an entry is about: what stands before its first colon or parenthesis, and of a constant
    its name."""
    head = _HEAD.split(text, maxsplit=1)[0]
    if section in ("DOMAIN CONSTANTS", "PARSING SCHEMA"):
        head = " ".join(text.split()[:2])
    return section, head if section != "ERROR PATTERNS" else text.rpartition(",")[0]


def normal_form(text: str) -> str:
    """The words of a text in small letters: texts of one normal form say the same.

    >>> normal_form("Reads a.py, twice.") == normal_form("reads `a.py` twice")
    True
    """
    return " ".join(_WORD.findall(text.lower()))


def plainly(built_from: BuiltFrom) -> dict[str, dict[str, str]]:
    """What something was made of, as a fact holds it."""
    return {path: dict(keys) for path, keys in built_from.items()}


def roadmap_of(state: dependency_graph.State, graph: Graph) -> list[MapEntry]:
    """The entries of a state, of which `graph` is the graph; the most worthwhile first."""
    return roadmap(dependency_graph.present(state), graph, rank_of(graph))


def long_form(
    task_id: str, state: dependency_graph.State, masked: Callable[[str], str] = str
) -> str:
    """A state told at length, as `backcast.domain.llms_txt` has it."""
    graph = dependency_graph.graph_of(state)
    return llms_txt(task_id, dependency_graph.present(state), graph, rank_of(graph), masked)


def rank_of(graph: Graph) -> dict[str, float]:
    """How much each node matters to all modules of code alike; sums to 1, empty for none.

    Documents and settings would only draw the walk to themselves.
    """
    code = (node_id("module", path) for path in graph.links if path.endswith(".py"))
    seeds = dict.fromkeys(code, 1.0)
    return dict(Ranking.of(graph).around(seeds)) if seeds else {}
