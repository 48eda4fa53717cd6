"""The versions of one module, and what each version did to a node in it."""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, TypedDict

from immutables import Map

from backcast.domain.events import (
    Committed,
    ModuleDeleted,
    ModuleIteration,
    ModuleOutlined,
    ModuleRenamed,
    SourceRead,
    WorkflowEvent,
)
from backcast.domain.node import kind_of, name_of
from backcast.domain.outline import Facet, Facets, changed, lines_by_name, part_of
from backcast.engine.replay.audit.occurrences import Occurrence

OF_SYMBOL = (
    "sig", "doc", "decorators", "bases", "attributes", "calls", "locals", "raises", "effects",
    "uses", "config", "body",
)  # fmt: skip
"The facets of a function or class; see `backcast.domain.outline`."
COUNTED = ("recorded", "changed", "renamed", "back")
"Occurrences that count as a new version of a node."
NOWHERE: Mapping[str, tuple[int, int]] = {}


class OutlineFacts(NamedTuple):
    """The content of one outline of a version."""

    facets: Facets
    lines: tuple[int, ...]


class Version(NamedTuple):
    """One version of a module, or its end."""

    event: int
    timestamp: datetime
    who: str
    note: str
    source: str | None
    gone: bool
    renamed: bool
    outlines: dict[str, OutlineFacts]
    "By outliner, the last recorded one last; empty where none can be read."


class Stage(NamedTuple):
    """The standing of a node from a version of its module on."""

    version: Version
    exists: bool
    what: str
    "Empty where the version left the node as it was."
    facets: tuple[str, ...] = ()

    def lines(self, name: str) -> tuple[int, int] | None:
        """Return the first and last line of a name; None where unknown."""
        if not self.exists or not self.version.outlines:
            return None
        facets, lines = _last(self.version)
        by_name = NOWHERE if "error" in facets else lines_by_name(facets, lines)
        return by_name.get(name)


class _Compared(TypedDict):
    what: str
    facets: tuple[str, ...]


class Texts:
    """The versions of one module, gathered from events; outlines may come long after texts."""

    def __init__(self, path: str) -> None:
        self.path, self.versions = path, list[Version]()
        self._outlines: list[tuple[int, ModuleOutlined]] = []
        self._commit: tuple[datetime, str, str] | None = None
        "Time, writer and SHA of the latest commit."

    def take(self, event: WorkflowEvent) -> None:
        """Note what an event says about the module."""
        match event.fact:
            case Committed(sha=sha):
                self._commit = event.timestamp, event.writer, sha
            case ModuleRenamed(module_name=self.path) as fact:
                self._add(event, f"from {fact.previous_name}", fact.source, renamed=True)
            case ModuleRenamed(previous_name=self.path, module_name=name):
                self._add(event, f"its module went on as {name}", gone=True)
            case ModuleIteration(module_name=self.path) as fact:
                score = "" if fact.score is None else f", score {fact.score:g}"
                lost = "" if fact.unknown is None else f", unknown text: {fact.unknown}"
                self._add(event, f"iteration {fact.iteration}{score}{lost}", fact.source)
            case SourceRead(path=self.path, source=source) if not self._has(source):
                self._add(event, "read", source)
            case ModuleDeleted(module_name=self.path):
                self._add(event, "its module was deleted", gone=True)
            case ModuleOutlined(module_name=self.path) as fact:
                self._outlines.append((event.because[0] if event.because else event.version, fact))

    def stages(self, node: str) -> list[Stage]:
        """Return the stages of the module, or of a node in it, from version to version."""
        self._outline()
        return list(_stages(self.versions, node))

    def _has(self, source: str) -> bool:
        return bool(self.versions) and self.versions[-1].source == source

    def _add(
        self, event: WorkflowEvent, note: str, source: str | None = None, *,
        gone: bool = False, renamed: bool = False,
    ) -> None:  # fmt: skip
        if self._commit and self._commit[:2] == (event.timestamp, event.writer):
            note += f", commit:{self._commit[2][:10]}"
        place = event.version, event.timestamp, event.writer
        self.versions.append(Version(*place, note, source, gone, renamed, {}))

    def _outline(self) -> None:
        """Give each version its outlines; skip a difference whose base is missing."""
        known: dict[tuple[str, str | None], Facets] = {}
        places = [version.event for version in self.versions]
        for event, fact in sorted(self._outlines, key=lambda entry: entry[0]):
            outliner = fact.outliner or ""
            place = bisect_right(places, event) - 1
            before: Facets | None = Map()
            if fact.base is not None:
                before = known.get((outliner, fact.base))
            if before is None:
                continue
            facets = known[outliner, fact.source] = _applied(before, fact)
            if place >= 0 and self.versions[place].source == fact.source:
                outlines = self.versions[place].outlines
                outlines.pop(outliner, None)
                outlines[outliner] = OutlineFacts(facets, fact.lines)


def occurrences(stages: Sequence[Stage]) -> Iterator[Occurrence]:
    """Yield what the versions of a module did to a node."""
    for (event, timestamp, who, note, *_), _, what, facets in stages:
        if what:
            yield Occurrence(event, timestamp, what, who, note, facets=facets)


def stage_at(stages: Sequence[Stage], event: int) -> Stage | None:
    """Return the stage of a node at an event; None before its first version."""
    place = bisect_right(stages, event, key=lambda stage: stage.version.event) - 1
    return stages[place] if place >= 0 else None


def _applied(before: Facets, fact: ModuleOutlined) -> Facets:
    with before.mutate() as changing:
        for key in fact.gone:
            changing.pop(key, None)
        changing.update(fact.set)
        before = changing.finish()
    return before


def _stages(versions: Sequence[Version], node: str) -> Iterator[Stage]:
    before: Version | None = None
    existed = ever = False
    for version in versions:
        known = version.gone or version.outlines or kind_of(node) == "module"
        if not known:
            yield Stage(version, existed, "unknown" if existed else "")
            continue
        now = not version.gone and _part(version, node) is not None
        stage = Stage(version, now, _turn(version, existed=existed, now=now, ever=ever))
        if existed and now and before is not None:
            stage = stage._replace(**_compared(before, version, node))
        yield stage
        before, existed, ever = version, now, ever or now


def _turn(version: Version, *, existed: bool, now: bool, ever: bool) -> str:
    """Return what became of a node that `existed` before and exists `now`, or not."""
    if existed == now:
        return ""
    if not now:
        return "deleted"
    return "renamed" if version.renamed else "back" if ever else "recorded"


def _compared(before: Version, after: Version, node: str) -> _Compared:
    """Return what the second of two versions did to a node that is in both.

    Outliners may describe the same text differently, so only outlines by one are compared.
    """
    facets: tuple[str, ...] = ()
    if common := [name for name in after.outlines if name in before.outlines]:
        old, new = (_part(version, node, common[-1]) or {} for version in (before, after))
        facets = tuple(changed(old, new))
    if kind_of(node) != "module":
        return {"what": "changed" if facets else "", "facets": facets}
    same = after.source is not None and after.source == before.source
    what = "renamed" if after.renamed else "unchanged" if same else "changed"
    return {"what": what, "facets": facets}


def _part(version: Version, node: str, outliner: str = "") -> Mapping[str, Facet] | None:
    """Return the facets of a node in a version; None where the node is not in it.

    Of a body only the digest counts: its number of changes may be counted anew.
    """
    kind, name = kind_of(node), name_of(node)
    facets: Mapping[str, Facet] = Map()
    if version.outlines:
        facets = version.outlines[outliner].facets if outliner else _last(version).facets
    if kind == "module":
        keys = list(facets)
    elif kind == "attribute":
        key = f"attribute:{name}" if "." in name else f"name:{name}"
        value = part_of(facets, key)
        return {key: value} if value and ("." in name or value[0] == "value") else None
    elif facets.get(f"sig:{name}", ())[:1] == (kind,):
        keys = [key for facet in OF_SYMBOL if (key := f"{facet}:{name}") in facets]
    else:
        return None
    return {key: facets[key][:1] if key.startswith("body:") else facets[key] for key in keys}


def _last(version: Version) -> OutlineFacts:
    return version.outlines[next(reversed(version.outlines))]
