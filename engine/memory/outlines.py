"""Records an outline for every text of a task's modules.

Outlines are derived facts. They are made on demand, on all cores, and stand in the log from then
on. Each is stored as the difference to the outline of the module's text before.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from typing import NamedTuple

from backcast.domain.errors import DamagedError
from backcast.domain.events import (
    Claim,
    EventType,
    Fact,
    ModuleIteration,
    ModuleOutlined,
    ModuleRenamed,
    SourceRead,
    WorkflowEvent,
)
from backcast.domain.outline import Outline, applied, changed, names_in
from backcast.engine.log.store import EventStore
from backcast.engine.memory.contents import Contents, Preceding, Versions
from backcast.engine.memory.outline_workers import Work, workers
from backcast.engine.memory.outliner import outliner_name, outliner_of

WRITER = "outliner"
KINDS = (
    EventType.MODULE_ITERATION,
    EventType.MODULE_RENAMED,
    EventType.SOURCE_READ,
    EventType.MODULE_OUTLINED,
)
LINK_MODE = "120000"
TOGETHER = 400
"Texts that are outlined between two appends."
ALONE = 64
"Texts up to which one process is quicker than several."


class SourceVersion(NamedTuple):
    """One version of a module."""

    path: str
    source: str
    version: int
    "The version of the event that brought the text."
    timestamp: datetime
    is_link: bool = False
    "Whether its text is the target of a symbolic link."


class LatestOutline(NamedTuple):
    """The outline of a module's latest outlined version."""

    version: int
    source: str
    outliner: str
    timestamp: datetime
    outline: Outline


class Outlining:
    """The outlines of one task, as far as its log has been read.

    Several `processes` outline many texts in parallel; a script that uses them needs
    `if __name__ == "__main__":`, as multiprocessing does.
    """

    def __init__(self, store: EventStore, task_id: str, processes: int = 1) -> None:
        self.store, self.task_id, self.processes = store, task_id, processes
        self.version = 0
        self.heads: dict[str, SourceVersion] = {}
        self.waiting: dict[int, SourceVersion] = {}
        "Texts without an outline, by the version of their event."
        self.renewed = 0
        "How many of them have the outline of another version of the outliner."
        self.known: dict[str, LatestOutline] = {}
        self.contents = Contents()

    def waiting_for(self) -> int:
        """Read new events, and return the number of texts that have no outline."""
        self._read()
        return self._waiting()

    def _read(self) -> None:
        last = self.store.version(self.task_id)
        for event in self.store.read(self.task_id, after=self.version, last=last, types=KINDS):
            self._take(event)
        self.version = last

    def take(self, event: WorkflowEvent) -> None:
        """Take the next event of the task from who reads its log anyway."""
        if event.version > self.version:
            if event.type in KINDS:
                self._take(event)
            self.version = event.version

    def _waiting(self) -> int:
        """Return the number of texts that have no outline of the outliner of today."""
        new = len(self.waiting)
        for path, known in self.known.items():
            if known.outliner != outliner_name(path) and path in self.heads:
                self.waiting[self.heads[path].version] = self.heads[path]
        self.renewed = len(self.waiting) - new
        return len(self.waiting)

    def catch_up(self, progress: Callable[[int], None] = lambda done: None) -> int:
        """Outline all new texts, and return their number.

        `progress` is called after each append with the number of texts that it covers.
        """
        self._read()
        try:
            return self.outline(progress)
        finally:
            self.store.force()

    def outline(self, progress: Callable[[int], None] = lambda done: None) -> int:
        """Outline the texts that wait as of the last event that was taken; return their number.

        The outlines are forced to the disk with what is appended behind them.
        """
        self._waiting()
        texts = [self.waiting[version] for version in sorted(self.waiting)]
        with ExitStack() as stack:
            parallel = self.processes > 1 and len(texts) > ALONE
            work = stack.enter_context(workers(self.processes)) if parallel else None
            for start in range(0, len(texts), TOGETHER):
                group = texts[start : start + TOGETHER]
                self._append(group, work)
                progress(len(group))
        return len(texts)

    def _take(self, event: WorkflowEvent) -> None:
        match event.fact:
            case (
                ModuleIteration(module_name=path, source=str(source))
                | ModuleRenamed(module_name=path, source=str(source))
                | SourceRead(path=path, source=source)
            ) if outliner_of(path) or is_link(event.fact):
                text = SourceVersion(
                    path, source, event.version, event.timestamp, is_link(event.fact)
                )
                self.heads[path] = self.waiting[event.version] = text
            case ModuleIteration(module_name=path) | ModuleRenamed(module_name=path) if (
                lost_its_text(event.fact)
            ):
                # No difference may build on an outline that is gone with its text.
                self.known.pop(path, None)
                self.heads.pop(path, None)
                self.waiting = {n: text for n, text in self.waiting.items() if text.path != path}
            case ModuleOutlined(module_name=path, outliner=str(outliner), source=str(source)):
                version = source_version(event)
                self.waiting.pop(version, None)
                known = self.known.get(path)
                if known is None or known.version <= version:
                    outline = applied(known.outline if known else None, event.fact)
                    self.known[path] = LatestOutline(
                        version, source, outliner, event.timestamp, outline
                    )

    def _append(self, texts: Sequence[SourceVersion], work: Work | None) -> None:
        """Outline texts, each module's in order, and append the outlines."""
        by_path: dict[str, list[SourceVersion]] = {}
        for text in texts:
            by_path.setdefault(text.path, []).append(text)
        modules = [versions_of(path, own, self._body) for path, own in by_path.items()]
        before = [before_of(self.known, path) for path in by_path]
        made = self.contents.outlines(modules, before, work)
        claims: list[tuple[int, Claim]] = []
        for (path, own), outlines in zip(by_path.items(), made, strict=True):
            claims += self._claims(path, own, outlines)
        claims.sort(key=lambda claim: claim[0])
        self._write([claim for _, claim in claims])
        for text in texts:
            self.waiting.pop(text.version, None)

    def foreseen(self, text: SourceVersion, body: bytes) -> ModuleOutlined | None:
        """Return the outline of a text that may come; None for a file that has none."""
        if not outliner_of(text.path):
            return None
        before = [before_of(self.known, text.path)]
        modules = [versions_of(text.path, [text], lambda _: body)]
        [[outline]] = Contents().outlines(modules, before, None)
        return outline and fact_of(text, outline, self.known.get(text.path))

    def _body(self, text: SourceVersion) -> bytes | None:
        try:
            return self.store.get(text.source)
        except DamagedError:
            return None  # fsck reports it

    def _claims(
        self, path: str, texts: Sequence[SourceVersion], outlines: Sequence[Outline | None]
    ) -> Iterator[tuple[int, Claim]]:
        for text, outline in zip(texts, outlines, strict=True):
            if outline is None:
                continue
            known = self.known.get(path)
            yield (
                text.version,
                Claim(fact_of(text, outline, known), text.timestamp, WRITER, (text.version,)),
            )
            if known is None or known.version <= text.version:
                name = outliner_name(path)
                self.known[path] = LatestOutline(
                    text.version, text.source, name, text.timestamp, outline
                )

    def _write(self, claims: Sequence[Claim]) -> None:
        """Append outlines; the causes of each are its text and the event before it."""
        made = [
            claim._replace(because=tuple(sorted({*(claim.because or ()), before})))
            for before, claim in enumerate(claims, self.version)
        ]
        # What is lost with the power is made again, and the same, from the text.
        self.store.append(self.task_id, made, after=self.version, forced=False)
        self.version += len(made)


def source_version(event: WorkflowEvent) -> int:
    """Return the version of the event whose text an outline describes."""
    return event.because[0] if event.because else event.version


def lost_its_text(fact: Fact) -> bool:
    """Return whether a module has an unknown text since a fact of a foreign log."""
    return getattr(fact, "unknown", None) is not None and getattr(fact, "source", None) is None


def is_link(fact: Fact) -> bool:
    """Return whether a version of a module is a symbolic link, by the mode that git gives it."""
    return getattr(fact, "mode", None) == LINK_MODE


def versions_of(
    path: str,
    texts: Sequence[SourceVersion],
    body: Callable[[SourceVersion], bytes | None],
) -> Versions:
    """Return the versions of a module that are to be outlined."""
    links = frozenset(text.source for text in texts if text.is_link)
    return Versions(path, [(text.source, body(text)) for text in texts], links)


def before_of(known: Mapping[str, LatestOutline], path: str) -> Preceding:
    """Return what a module's next versions follow on."""
    last = known.get(path)
    if last is None:
        return Preceding()
    is_same = last.outliner == outliner_name(path)
    return Preceding(outline=last.outline) if is_same else Preceding(counted=last.outline)


def fact_of(text: SourceVersion, outline: Outline, before: LatestOutline | None) -> ModuleOutlined:
    """Return an outline as the difference to the one before, if every moment with it sees that."""
    facets, name = outline.facets, outliner_name(text.path)
    lines = tuple(n for name in names_in(facets) for n in outline.lines.get(name, (0, 0)))
    later = before is not None and (
        before.version > text.version or before.timestamp > text.timestamp
    )
    if before is None or before.outliner != name or later:
        return ModuleOutlined(
            module_name=text.path, source=text.source, outliner=name,
            set=dict(sorted(facets.items())), lines=lines,
        )  # fmt: skip
    keys = changed(before.outline.facets, facets)
    return ModuleOutlined(
        module_name=text.path, source=text.source, outliner=name, base=before.source,
        set={key: facets[key] for key in keys if key in facets},
        gone=tuple(key for key in keys if key not in facets), lines=lines,
    )  # fmt: skip
