"""What the prompts of another program say: where a text stands, where it came from, what is old."""

from collections.abc import Iterator
from typing import NamedTuple

from backcast.domain.errors import InputError
from backcast.domain.events import (
    Fact,
    MessageReceived,
    ModelReplied,
    ModuleDeleted,
    ModuleIteration,
    ModuleRenamed,
    SourceRead,
    ToolCalled,
    ToolReturned,
    WorkflowEvent,
)
from backcast.engine.log.exchanges.bodies import part_text
from backcast.engine.log.exchanges.requests import RecordedRequest, RequestReader
from backcast.engine.log.importers.edited_modules import WRITER
from backcast.engine.log.store import EventStore
from backcast.engine.replay.foreign_prompts import UNCOUNTED, AnatomyPart, Count, anatomy


class SaidText(NamedTuple):
    """A text of a prompt or an answer, at the event that has it first."""

    version: int
    title: str
    text: str


class PartOrigin(NamedTuple):
    """A part of a prompt, and where it came from."""

    part: AnatomyPart
    since: int
    "The first of the task's prompts that has it."
    because: tuple[int, ...]
    "The events that brought it; none where the program itself put it there."


class OldPart(NamedTuple):
    """A part of a prompt that shows a file as it was before."""

    part: AnatomyPart
    path: str
    shown: int
    "The event of the result that showed it."
    changed: int
    "The event by which it changed."
    how: str


def said_texts(store: EventStore, task_id: str, last: int) -> Iterator[SaidText]:
    """Yield each text of the prompts and answers of a task up to an event, once."""
    known = set[str]()
    requests = {found.version: found for found in RequestReader(store, task_id).all()}
    for event in store.read(task_id, last=last, types=["CONTEXT_BUILT", "MODEL_REPLIED"]):
        found = _texts(store, event, requests.get(event.version))
        for title, text in found:
            if text not in known:
                known.add(text)
                yield SaidText(event.version, title, text)


def _texts(
    store: EventStore, event: WorkflowEvent, asked: RecordedRequest | None
) -> Iterator[tuple[str, str]]:
    if isinstance(event.fact, ModelReplied):
        for title, ref in (("thinking", event.fact.thinking), ("answer", event.fact.text)):
            if ref:
                yield title, _text(store, ref)
    for part in asked.parts if asked else ():
        if part.kind not in UNCOUNTED:
            role = f"{part.role} " if part.kind == "message" else ""
            yield f"{role}{part.kind} {part.name}".strip(), part_text(store.get(part.text))


def _text(store: EventStore, ref: str) -> str:
    return store.get(ref).decode(errors="replace")


def origins(
    store: EventStore, task_id: str, asked: RecordedRequest, wanted: str, count: Count
) -> list[PartOrigin]:
    """Return the parts of a prompt that say something, or have a name, and their origins.

    `InputError` where there is none.
    """
    uncounted = anatomy(store, task_id, asked, lambda text: 0).parts
    places = [
        place for place, part in enumerate(uncounted)
        if wanted in (part.kind, part.name, part.title)
        or wanted in part_text(store.get(part.text))
    ]  # fmt: skip
    if not places:
        raise InputError(
            f"{task_id}@{asked.version}: needed a text of this prompt, or a part's name, found"
            f" {wanted!r}: 'backcast context {task_id}@{asked.version} --anatomy' lists the parts"
        )
    counted = anatomy(store, task_id, asked, count).parts
    parts = [counted[place] for place in places]
    firsts = dict[str, int]()
    for found in RequestReader(store, task_id).all():
        if found.version > asked.version:
            break
        for held in found.parts:
            firsts.setdefault(held.text, found.version)
    events = list(store.read(task_id, last=asked.version))
    return [
        PartOrigin(part, firsts[part.text], _because(store, events, part, firsts[part.text]))
        for part in parts
    ]


def _because(
    store: EventStore, events: list[WorkflowEvent], part: AnatomyPart, since: int
) -> tuple[int, ...]:
    """Return the last event before a prompt that has a part's text, and what caused it."""
    text = part_text(store.get(part.text))
    for event in reversed(events):
        if event.version < since and _is_source(store, event.fact, part, text):
            return (*event.because, event.version)
    return ()


def _is_source(store: EventStore, fact: Fact, part: AnatomyPart, text: str) -> bool:
    match fact:
        case ToolReturned(output=str() as ref) if part.kind == "result":
            return _text(store, ref) == text
        case ToolCalled(tool=tool, call_id=id) if part.kind == "call" and tool == part.name:
            return bool(id) and f'"{id}"'.encode() in store.get(part.text)
        case ModelReplied(text=str() as ref) if part.kind == "message":
            return part.role == "assistant" and _text(store, ref).strip() == text.strip()
        case ModelReplied(thinking=str() as ref) if part.kind == "thinking":
            return _text(store, ref).strip() == text.strip()
        case MessageReceived(text=str() as ref) if part.kind == "message":
            return part.role == "user" and text in _text(store, ref)
    return False


def old_parts(
    store: EventStore, task_id: str, asked: RecordedRequest, count: Count
) -> Iterator[OldPart]:
    """Yield the results in a prompt that show a file otherwise than the log has it by then."""
    shown: dict[str, tuple[str, int, int]] = {}
    "The path that a result shows as a whole, its event, and that of the path's text, by its text."
    latest: dict[str, tuple[int, str]] = {}
    "The last change of a path: its event, and what it was."
    results: dict[int, str] = {}
    for event in store.read(task_id, last=asked.version):
        match event.fact:
            case ToolReturned(output=str() as ref):
                results[event.version] = _text(store, ref)
            case SourceRead(path=path):
                _show(shown, results, event, path)
            case ModuleIteration(module_name=path) if event.writer == WRITER:
                latest[path] = event.version, "changed"
            case ModuleIteration(module_name=path):
                latest[path] = event.version, "found changed"
                _show(shown, results, event, path)
            case ModuleDeleted(module_name=path):
                latest[path] = event.version, "deleted"
            case ModuleRenamed(module_name=path, previous_name=str() as previous):
                latest[previous] = event.version, f"renamed to {path}"
    for part in anatomy(store, task_id, asked, count).parts:
        found = shown.get(part_text(store.get(part.text))) if part.kind == "result" else None
        changed, how = latest.get(found[0], (0, "")) if found else (0, "")
        if found and changed > found[2]:
            yield OldPart(part, found[0], found[1], changed, how)


def _show(
    shown: dict[str, tuple[str, int, int]], results: dict[int, str], event: WorkflowEvent, path: str
) -> None:
    for cause in event.because:
        if cause in results:
            shown[results[cause]] = path, cause, event.version
