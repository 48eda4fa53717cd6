"""Adds outlines to the batches of an import.

The outlines of a commit stand right behind it, so every moment that sees the commit sees them too.
Texts are outlined many batches at a time, on demand by several processes: those outline one group
of batches while the group before it is stored.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import chain, islice
from typing import NamedTuple

from backcast.domain.events import ModuleIteration, ModuleRenamed, SourceRead
from backcast.engine.log.importers import BEFORE, FLUSH_BYTES, Batch, ForeignFact
from backcast.engine.log.store import EventStore
from backcast.engine.memory.contents import Begun, Contents
from backcast.engine.memory.outline_workers import Work, workers
from backcast.engine.memory.outliner import outliner_name, outliner_of
from backcast.engine.memory.outlines import (
    ALONE,
    WRITER,
    LatestOutline,
    Outlining,
    SourceVersion,
    before_of,
    fact_of,
    is_link,
    lost_its_text,
    versions_of,
)

TEXTS = (ModuleIteration, ModuleRenamed, SourceRead)
TOGETHER = 100
"Batches whose texts are outlined together."


class _OutlinedGroup(NamedTuple):
    """Batches whose outlines are being made."""

    batches: Sequence[Batch]
    texts: Sequence[Sequence[tuple[int, SourceVersion]]]
    "The texts of each batch that are outlined, each with its place in the batch."
    begun: Begun


def outlined(
    store: EventStore, task_id: str, batches: Iterable[Batch], processes: int = 1
) -> Iterator[Batch]:
    """Yield a task's new batches, each with the outlines of its texts at its end."""
    task = _Task(store, task_id)
    waiting = iter(batches)
    with ExitStack() as stack:
        work: Work | None = None
        before: _OutlinedGroup | None = None
        while some := list(islice(waiting, TOGETHER)):
            texts = [task.texts(batch) for batch in some]
            if work is None and processes > 1 and sum(map(len, texts)) > ALONE:
                work = stack.enter_context(workers(processes))
            group = task.begun(some, texts, work)
            if before:
                yield from task.with_outlines(before)
            before = group
        if before:
            yield from task.with_outlines(before)


class OutlinedRuns:
    """Adds outlines to the new batches of agents' runs, each batch on its own."""

    def __init__(self, store: EventStore) -> None:
        self.store = store
        self._tasks: dict[str, _Task] = {}

    def __call__(self, batch: Batch) -> Batch:
        """Return a batch with the outlines of its texts at its end."""
        if not any(isinstance(foreign.fact, TEXTS) for foreign in batch.facts):
            return batch
        task = self._tasks.get(batch.task_id)
        if task is None:
            task = self._tasks[batch.task_id] = _Task(self.store, batch.task_id)
        texts = task.texts(batch)
        if not texts:
            return batch
        [whole] = task.with_outlines(task.begun([batch], [texts], None))
        return whole


class _Task:
    """The modules of a task as far as its batches were read."""

    def __init__(self, store: EventStore, task_id: str) -> None:
        self.store = store
        outlining = Outlining(store, task_id)
        outlining.waiting_for()
        self.known = outlining.known
        self.contents = Contents()
        self.number = outlining.version
        "A stand-in for a version: only its order matters here."
        self.bodies: dict[str, bytes] = {}
        "Recent texts of batches, by name: they may not be stored yet."

    def texts(self, batch: Batch) -> list[tuple[int, SourceVersion]]:
        """Return the texts of a batch that can be outlined, each with its place in the batch."""
        self.bodies.update((blob.ref, blob.body) for blob in batch.blobs)
        texts = []
        for place, foreign in enumerate(batch.facts):
            self.number += 1
            match foreign.fact:
                case (
                    ModuleIteration(module_name=path, source=str(source))
                    | ModuleRenamed(module_name=path, source=str(source))
                    | SourceRead(path=path, source=source)
                ) if outliner_of(path) or is_link(foreign.fact):
                    text = SourceVersion(
                        path, source, self.number, foreign.timestamp, is_link(foreign.fact)
                    )
                    texts.append((place, text))
                case ModuleIteration(module_name=path) | ModuleRenamed(module_name=path) if (
                    lost_its_text(foreign.fact)
                ):
                    # No difference may build on an outline that is gone with its text.
                    self.known.pop(path, None)
                    texts = [(at, text) for at, text in texts if text.path != path]
        return texts

    def begun(
        self,
        batches: Sequence[Batch],
        texts: Sequence[Sequence[tuple[int, SourceVersion]]],
        work: Work | None,
    ) -> _OutlinedGroup:
        """Have the texts of batches outlined."""
        by_path: dict[str, list[SourceVersion]] = {}
        for _, text in chain.from_iterable(texts):
            by_path.setdefault(text.path, []).append(text)
        modules = [versions_of(path, own, self._body) for path, own in by_path.items()]
        begun = self.contents.begun(modules, work)
        while sum(map(len, self.bodies.values())) > 2 * FLUSH_BYTES:
            del self.bodies[next(iter(self.bodies))]
        return _OutlinedGroup(batches, texts, begun)

    def with_outlines(self, group: _OutlinedGroup) -> Iterator[Batch]:
        """Yield the batches of a group, each with its outlines."""
        paths = [module.path for module in group.begun.modules]
        before = [before_of(self.known, path) for path in paths]
        made = self.contents.finished(group.begun, before)
        waiting = {path: iter(outlines) for path, outlines in zip(paths, made, strict=True)}
        for batch, own in zip(group.batches, group.texts, strict=True):
            facts = list(batch.facts)
            for place, text in own:
                outline = next(waiting[text.path])
                if outline is None:
                    continue
                fact = fact_of(text, outline, self.known.get(text.path))
                name = outliner_name(text.path)
                self.known[text.path] = LatestOutline(
                    text.version, text.source, name, text.timestamp, outline
                )
                # Causes: the event that brought the text, and the event in front.
                because = (place - len(facts), BEFORE)
                facts.append(ForeignFact(fact, text.timestamp, WRITER, None, because))
            yield batch._replace(facts=facts)

    def _body(self, text: SourceVersion) -> bytes | None:
        if text.source in self.bodies:
            return self.bodies[text.source]
        return self.store.get(text.source) if self.store.holds(text.source) else None
