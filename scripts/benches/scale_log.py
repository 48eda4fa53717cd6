"""One log that grows: the histories of repositories, one after another, as one task.

Each history is imported by itself, once, and its events are put into the growing log under a folder
with the repository's name, as a project joins a monorepo: texts, differences and outlines are real,
so functions grow with the events. Times are drawn, a minute from one commit to the next. After the
last repository the first comes again in another folder, with a line more in each text.
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import count
from pathlib import Path
from time import process_time
from typing import NamedTuple

from backcast.domain.events import (
    Claim,
    Committed,
    Fact,
    ModuleIteration,
    ModuleOutlined,
    ModuleRenamed,
    WorkflowEvent,
)
from backcast.engine.log.blobs import Blob, ref_of
from backcast.engine.log.store import EventStore
from scripts.benches.workload import BEGIN, open_store

TASK = "growing"
PATHS, BODIES = ("module_name", "previous_name"), ("source", "base")
"Fields of facts that hold a path, and fields of an outline that hold a text."
TOGETHER = 1_000
"Events stored in one transaction, as an import does."


class History(NamedTuple):
    """The log of a repository."""

    url: str
    task: str


class Appended(NamedTuple):
    """The events that were appended, and the processor's seconds in the store for them."""

    events: int
    seconds: float


def grow(path: Path, histories: Sequence[History], size: int) -> Appended:
    """Append to the log in a file until it has a number of events."""
    with open_store(path) as store:
        begin, taken = store.version(TASK) if TASK in store.tasks() else 0, 0.0
        rows, blobs = [], list[Blob]()
        for version, (claim, bodies) in enumerate(_every(histories, begin), 1):
            if version > begin:
                before = process_time()
                rows.append(store.row(TASK, version, claim))
                taken += process_time() - before
                blobs += bodies
            if rows and (len(rows) == TOGETHER or version == size):
                before = process_time()
                store.write_rows(rows, blobs)
                taken += process_time() - before
                rows, blobs = [], []
            if version == size:
                break
        return Appended(size - begin, taken)


def _every(histories: Sequence[History], skipped: int) -> Iterator[tuple[Claim, list[Blob]]]:
    """Yield the events of all histories without end, and their new bodies."""
    offset, time = 0, BEGIN
    for again in count():
        for url, task in histories:
            with EventStore.open(url, create=False) as store:
                folder = f"{task}/" if not again else f"{task}-{again}/"
                texts = _Texts(store, f"# {folder}\n".encode() if again else b"")
                places: dict[int, int] = {}
                for event in store.read(task):
                    if not _counts(event):
                        continue
                    offset += 1
                    places[event.version] = offset
                    if isinstance(event.fact, Committed):
                        time += timedelta(minutes=1)
                    because = tuple(places[n] for n in event.because if n in places)
                    fact = event.fact if offset <= skipped else _moved(event.fact, folder, texts)
                    if isinstance(event.fact, ModuleIteration | ModuleRenamed):
                        texts.newest[event.fact.module_name] = event.fact.source or ""
                    yield Claim(fact, time, event.writer, because), texts.taken()


def _counts(event: WorkflowEvent) -> bool:
    """Return whether an event is a commit's, and no state of the repository."""
    return event.type == "COMMITTED" or event.type.startswith("MODULE_")


class _Texts:
    """The bodies of a history on their way into another store."""

    def __init__(self, store: EventStore, end: bytes) -> None:
        self.store, self.end = store, end
        self.newest: dict[str, str] = {}
        "The text of each module, by the name that the history gives it."
        self.waiting: list[Blob] = []

    def ref(self, ref: str, path: str) -> str:
        """Return the name that a text has in the other store, and let it wait to be put there."""
        body, before = self.store.get(ref) + self.end, self.newest.get(path)
        base = ref_of(self.store.get(before) + self.end) if before and self.end else before
        self.waiting.append(blob := Blob(body, base))
        return blob.ref

    def known(self, ref: str) -> str:
        """Return the name that a text has in the other store, where it was put before."""
        return ref_of(self.store.get(ref) + self.end) if self.end else ref

    def taken(self) -> list[Blob]:
        """Return the texts that wait, once."""
        waiting, self.waiting = self.waiting, []
        return waiting


def _moved(fact: Fact, folder: str, texts: _Texts) -> Fact:
    """Return a fact about a module in a folder, and about its texts there."""
    if isinstance(fact, ModuleOutlined):
        known = {name: texts.known(ref) for name in BODIES if (ref := getattr(fact, name))}
        return fact.model_copy(update=known | {"module_name": folder + fact.module_name})
    changed: dict[str, str] = {
        name: folder + getattr(fact, name) for name in PATHS if hasattr(fact, name)
    }
    if isinstance(fact, ModuleIteration | ModuleRenamed) and fact.source:
        before = fact.previous_name if isinstance(fact, ModuleRenamed) else fact.module_name
        changed["source"] = texts.ref(fact.source, before)
    return fact.model_copy(update=changed) if changed else fact
