"""Which importer brought a task's events, in which version, and what is known to be wrong with it.

Each module of a format states a `VERSION`, which grows when other facts come of the same log, and
`FAULTS`: what was wrong with the facts of all versions up to a number, in one line. An import adds
only what is new, so events of an older version stay as they are; IMPORTED events tell of them.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from importlib import import_module
from types import ModuleType
from typing import NamedTuple

from backcast.domain.events import Imported, ModelReplied
from backcast.engine.log.store import EventStore

MODULES = {
    "git": "git",
    "events": "events",
    "swe-agent": "swe_agent",
    "openhands": "openhands",
    "claude-code": "claude_code",
    "cline": "cline",
    "inspect": "inspect_ai",
    "codex": "codex",
    "pi": "pi",
    "qwen": "qwen",
    "raw-bodies": "raw_bodies",
    "opencode": "opencode",
    "atif": "atif",
    "otlp": "otlp",
}
"The module of each format."
OWN = "events"
"The format of our own logs, whose events tell of their importers themselves."
Importer = Callable[[str], Imported]
"Returns what an import records of itself in a task."
OURS = ("IMPORTED", "SCORED")
"Event types that stand between a foreign log's events, and come of none."
UNRECORDED = 1
"The version of all importers before versions were recorded."


class Faulty(NamedTuple):
    """Events of a task that came by an importer with a known fault."""

    task: str
    format: str
    version: int
    fault: str
    whole: bool
    "Whether all events of the format came by this version."
    anew: str
    "The task that holds them anew, by an importer without a known fault; empty for none."

    def __str__(self) -> str:
        came = "came" if self.whole else "came in part"
        hint = f"{self.anew!r} holds it anew" if self.anew else "import it anew with --anew"
        importer = f"{self.format} importer {self.version}"
        return f"task {self.task!r} {came} by {importer}: {self.fault}; {hint}"


class Marks:
    """What an import records of itself in each task."""

    def __init__(self, store: EventStore, format: str, importer: Importer | None) -> None:
        self.store, self.format, self.importer = store, format, importer
        self.places: dict[str, list[int]] = {}
        "The versions of the events of each task that no foreign log holds: `OURS`."
        self.known: set[str] = set()
        "Tasks that say already by which version they come."

    def new(self, task_id: str, version: int) -> Imported | None:
        """Return what a task records at a version, behind a new batch; None where it says so."""
        if self.importer is None or task_id in self.known:
            return None
        self.known.add(task_id)
        mark, last = self.importer(task_id), self._last(task_id)
        if (
            last is None
            and self.store.version(task_id)
            and is_unrecorded(self.store, task_id, self.format)
        ):
            mark = mark.model_copy(update={"earlier": UNRECORDED})
        elif last is not None and last.version == mark.version:
            return None
        self.places[task_id].append(version)
        return mark

    def back(self, task_id: str, version: int, distance: int) -> int:
        """Return the version that lies a number of events before another, `OURS` left out."""
        if self.importer is None:
            return version - distance
        if task_id not in self.places:
            self._last(task_id)
        target = version - distance
        for place in reversed(self.places[task_id]):
            target -= place >= target
        return target

    def _last(self, task_id: str) -> Imported | None:
        """Return what a task says last of the format, and note where it tells of importers."""
        last, places = None, []
        for event in self.store.read(task_id, types=OURS):
            places.append(event.version)
            if isinstance(event.fact, Imported) and event.fact.format == self.format:
                last = event.fact
        self.places[task_id] = places
        return last


def importer_of(format: str, origins: Mapping[str, str] = {}) -> Importer | None:
    """Return the function from a task to what an import of a format records of itself there; None
    for our own lines. `origins` are the tasks that others are written anew of."""
    if format == OWN:
        return None
    version = version_of(format)

    def importer(task_id: str) -> Imported:
        stated = {"anew": origins[task_id]} if task_id in origins else {}
        return Imported(format=format, version=version, **stated)

    return importer


def version_of(format: str) -> int:
    """Return the version of the importer of a format."""
    return int(getattr(_module(format), "VERSION", UNRECORDED))


def fault_of(format: str, version: int) -> str:
    """Return what is known to be wrong with a version of an importer, in a line; empty for
    nothing."""
    faults: Mapping[int, str] = getattr(_module(format), "FAULTS", {}) if format in MODULES else {}
    return "; ".join(faults[last] for last in sorted(faults) if version <= last)


def versions_in(
    store: EventStore, task_id: str, formats: Collection[str] = MODULES
) -> dict[str, list[int]]:
    """Return the versions of importers that brought a task's events, by format.

    Of `formats`, those whose events do not tell are looked for if something was wrong at first.
    """
    found: dict[str, set[int]] = {}
    for event in store.read(task_id, types=["IMPORTED"]):
        match event.fact:
            case Imported(format=str(format), version=int(version), earlier=earlier):
                found.setdefault(format, set()).update({version, earlier or version})
    for format in formats:
        faulty_at_first = format not in found and fault_of(format, UNRECORDED)
        if faulty_at_first and is_unrecorded(store, task_id, format):
            found[format] = {UNRECORDED}
    return {format: sorted(found[format]) for format in sorted(found)}


def is_unrecorded(store: EventStore, task_id: str, format: str) -> bool:
    """Return whether a task without an IMPORTED of a format holds events of it."""
    if format == OWN:
        return False
    if store.found_like(f"{format}:{task_id}", ""):
        return True
    # An export from before versions were recorded brought no ids of the foreign log.
    if format == "git":
        return any(True for _ in store.read(task_id, types=["COMMITTED"]))
    prefix = f"{_module(format).PREFIX}_"
    topics = store.recorder.all("SELECT DISTINCT topic FROM events WHERE task_id=?", task_id)
    if any(topic.startswith(prefix) for (topic,) in topics):
        return True
    if format != "claude-code":
        return False
    reply = next(store.read(task_id, types=["MODEL_REPLIED"]), None)
    return (
        reply is not None
        and isinstance(reply.fact, ModelReplied)
        and ("sessionId" in (reply.fact.model_extra or {}))
    )


def faulty(store: EventStore, task_id: str, formats: Collection[str] = MODULES) -> Iterator[Faulty]:
    """Yield the formats, of some, that came into a task by an importer with a known fault."""
    for format, versions in versions_in(store, task_id, formats).items():
        if format in formats and (fault := fault_of(format, versions[0])):
            whole = len(versions) == 1
            anew = _anew(store, task_id, format)
            yield Faulty(task_id, format, versions[0], fault, whole, anew)


def _anew(store: EventStore, task_id: str, format: str) -> str:
    """Return the latest copy of a task that came by an importer without a known fault."""
    for copy in reversed(copies(store, task_id, format)):
        if not any(
            fault_of(format, version) for version in versions_in(store, copy, [format])[format]
        ):
            return copy
    return ""


def copies(store: EventStore, task_id: str, format: str) -> list[str]:
    """Return the tasks that a log was imported anew as, beside a task, oldest first."""
    found, number = [], 2
    while store.version(name := f"{task_id}~{number}"):
        number += 1
        facts = (event.fact for event in store.read(name, types=["IMPORTED"]))
        if any(isinstance(f, Imported) and (f.anew, f.format) == (task_id, format) for f in facts):
            found.append(name)
    return found


def prefixes() -> tuple[str, ...]:
    """Return how the types of the records begin that importers keep as they were."""
    found = (getattr(_module(format), "PREFIX", "") for format in MODULES)
    return tuple(prefix for prefix in found if prefix)


def _module(format: str) -> ModuleType:
    return import_module(f"backcast.engine.log.importers.{MODULES[format]}")
