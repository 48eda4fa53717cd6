"""The versions of one module, and what each of them did to a node in it."""

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
"What makes a new version of a node."
NOWHERE: Mapping[str, tuple[int, int]] = {}


class OutlineFacts(NamedTuple):
    """What one outline tells of a version."""

    facets: Facets
    lines: tuple[int, ...]


class Version(NamedTuple):
    """One version of a module, or its end."""

    event: int
    timestamp: datetime
    who: str
    told: str
    source: str | None
    gone: bool
    renamed: bool
    outlines: dict[str, OutlineFacts]
    "By outliner, the one recorded last standing last; empty where none can be read."


class Stage(NamedTuple):
    """How a node stood from a version of its module on."""

    version: Version
    there: bool
    what: str
    "Empty where the version did nothing to the node."
    facets: tuple[str, ...] = ()

    def lines(self, name: str) -> tuple[int, int] | None:
        """First and last line of a name; None where they are not known."""
        if not self.there or not self.version.outlines:
            return None
        facets, lines = _last(self.version)
        found = NOWHERE if "error" in facets else lines_by_name(facets, lines)
        return found.get(name)


class _Compared(TypedDict):
    what: str
    facets: tuple[str, ...]


class Texts:
    """The versions of one module, gathered from events. Outlines may come long after the texts."""

    def __init__(self, path: str) -> None:
        self.path, self.versions = path, list[Version]()
        self._told: list[tuple[int, ModuleOutlined]] = []
        self._commit: tuple[datetime, str, str] | None = None
        "Time, writer and SHA of the latest."

    def take(self, event: WorkflowEvent) -> None:
        """Note what an event says of the module."""
        match event.fact:
            case Committed(sha=sha):
                self._commit = event.timestamp, event.writer, sha
            case ModuleRenamed(module_name=self.path) as fact:
                self._add(event, f"from {fact.previous_name}", fact.source, renamed=True)
            case ModuleRenamed(previous_name=self.path, module_name=name):
                self._add(event, f"its module went on as {name}", gone=True)
            case ModuleIteration(module_name=self.path) as fact:
                score = "" if fact.score is None else f", score {fact.score:g}"
                self._add(event, f"iteration {fact.iteration}{score}", fact.source)
            case SourceRead(path=self.path, source=source) if not self._has(source):
                self._add(event, "read", source)
            case ModuleDeleted(module_name=self.path):
                self._add(event, "its module was deleted", gone=True)
            case ModuleOutlined(module_name=self.path) as fact:
                self._told.append((event.because[0] if event.because else event.version, fact))

    def stages(self, node: str) -> list[Stage]:
        """How the module, or a node in it, stood from version to version."""
        self._outline()
        return list(_stages(self.versions, node))

    def _has(self, source: str) -> bool:
        return bool(self.versions) and self.versions[-1].source == source

    def _add(
        self, event: WorkflowEvent, told: str, source: str | None = None, *,
        gone: bool = False, renamed: bool = False,
    ) -> None:  # fmt: skip
        if self._commit and self._commit[:2] == (event.timestamp, event.writer):
            told += f", commit:{self._commit[2][:10]}"
        place = event.version, event.timestamp, event.writer
        self.versions.append(Version(*place, told, source, gone, renamed, {}))

    def _outline(self) -> None:
        """Give each version its outlines. One that is the difference to what is missing is none."""
        known: dict[tuple[str, str | None], Facets] = {}
        places = [version.event for version in self.versions]
        for event, fact in sorted(self._told, key=lambda told: told[0]):
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
    """What happened to a node by the versions of its module."""
    for (event, timestamp, who, told, *_), _, what, facets in stages:
        if what:
            yield Occurrence(event, timestamp, what, who, told, facets=facets)


def stage_at(stages: Sequence[Stage], event: int) -> Stage | None:
    """How a node stood at an event; None before anything is told of it."""
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
    there = ever = False
    for version in versions:
        known = version.gone or version.outlines or kind_of(node) == "module"
        if not known:
            yield Stage(version, there, "unknown" if there else "")
            continue
        now = not version.gone and _part(version, node) is not None
        stage = Stage(version, now, _turn(version, there=there, now=now, ever=ever))
        if there and now and before is not None:
            stage = stage._replace(**_compared(before, version, node))
        yield stage
        before, there, ever = version, now, ever or now


def _turn(version: Version, *, there: bool, now: bool, ever: bool) -> str:
    """What became of a node that was there or not, and is now or not."""
    if there == now:
        return ""
    if not now:
        return "deleted"
    return "renamed" if version.renamed else "back" if ever else "recorded"


def _compared(before: Version, after: Version, node: str) -> _Compared:
    """What the second of two versions did to a node that is in both.

    Two outliners may tell the same text in other words, so only outlines by one are compared.
    """
    facets: tuple[str, ...] = ()
    if common := [name for name in after.outlines if name in before.outlines]:
        old, new = (_part(one, node, common[-1]) or {} for one in (before, after))
        facets = tuple(changed(old, new))
    if kind_of(node) != "module":
        return {"what": "changed" if facets else "", "facets": facets}
    same = after.source is not None and after.source == before.source
    what = "renamed" if after.renamed else "unchanged" if same else "changed"
    return {"what": what, "facets": facets}


def _part(version: Version, node: str, outliner: str = "") -> Mapping[str, Facet] | None:
    """What a version says of a node; None where the node is not in it.

    Of a body the digest alone: how often it was changed may be counted anew.
    """
    kind, name = kind_of(node), name_of(node)
    facets: Mapping[str, Facet] = Map()
    if version.outlines:
        facets = version.outlines[outliner].facets if outliner else _last(version).facets
    if kind == "module":
        keys = list(facets)
    elif kind == "attribute":
        key = f"attribute:{name}" if "." in name else f"name:{name}"
        found = part_of(facets, key)
        return {key: found} if found and ("." in name or found[0] == "value") else None
    elif facets.get(f"sig:{name}", ())[:1] == (kind,):
        keys = [key for one in OF_SYMBOL if (key := f"{one}:{name}") in facets]
    else:
        return None
    return {key: facets[key][:1] if key.startswith("body:") else facets[key] for key in keys}


def _last(version: Version) -> OutlineFacts:
    return version.outlines[next(reversed(version.outlines))]
