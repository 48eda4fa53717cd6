"""The text that an event brought: an answer, a result of a tool, a module as it was written."""

from typing import NamedTuple

from backcast.domain.context_events import ContextBuilt
from backcast.domain.errors import InputError
from backcast.domain.events import BLOB_PREFIX, ChecksRan, ModuleIteration, WorkflowEvent
from backcast.domain.node import Reference
from backcast.engine.interfaces.addresses import Place

FIRST = ("text", "answer", "output", "source", "prompt", "patch", "part", "spec")
"Fields that hold what an event is about, the first of which is its text."


class EventText(NamedTuple):
    """The texts of an event, by the names of their blobs."""

    ref: str
    "Of what it is about."
    others: dict[str, str]
    "Of what it brought beside that, such as what a model thought; by field."
    short: str = ""
    "The output of a run of checks that needs no blob; then `ref` is empty."


def event_text(place: Place) -> EventText:
    """Return the text of the event at a place; `InputError` where it brought none."""
    version = place.store.version_at(place.task, place.moment)
    event: WorkflowEvent
    [event] = place.store.read(place.task, after=version - 1, last=version)
    at = f"{place.log}{'#' if place.log else ''}{place.task}@{version}"
    if isinstance(event.fact, ContextBuilt):
        raise InputError(f"{at} is a prompt: 'backcast context {at}' prints it")
    refs = {
        name: value for name in type(event.fact).model_fields
        if isinstance(value := getattr(event.fact, name), str) and value.startswith(BLOB_PREFIX)
    }  # fmt: skip
    first = next((name for name in FIRST if name in refs), None)
    if first is None:
        if isinstance(event.fact, ChecksRan) and event.fact.preview:
            return EventText("", refs, event.fact.preview)
        if isinstance(event.fact, ModuleIteration) and event.fact.unknown:
            module = Reference(place.task, event.fact.module_name)
            raise InputError(
                f"{at}: the text of {event.fact.module_name} is unknown, as"
                f" {event.fact.unknown}: 'backcast cat {module} {place.log}@{version}' prints the"
                " lines that tools showed"
            )
        raise InputError(
            f"{at}, {event.type}, brought no text: answers, results, checks and modules do;"
            f" 'backcast log {place.log or place.task} --json' prints all of each event"
        )
    return EventText(refs.pop(first), refs)
