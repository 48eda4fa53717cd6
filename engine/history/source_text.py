"""The source text that a reference names, as of a moment, or the last one that it named."""

from typing import NamedTuple

from backcast.domain.errors import InputError
from backcast.domain.events import (
    ModuleDeleted,
    ModuleIteration,
    ModuleRenamed,
    SourceRead,
    WorkflowEvent,
)
from backcast.domain.moment import NOW, Moment
from backcast.domain.node import Reference
from backcast.engine.history.shown_lines import ShownStretch, shown_lines
from backcast.engine.history.snapshots import state_at
from backcast.engine.history.text_origin import origin_of
from backcast.engine.log.store import EventStore
from backcast.projections import dependency_graph


def text_of(store: EventStore, reference: Reference, moment: Moment) -> bytes:
    """Return the whole module, or the lines, that a reference names.

    `InputError` where there was no such module, text, line or name at the moment.
    """
    store.require(reference.task_id)
    return text_in(store, state_at(store, dependency_graph, reference.task_id, moment), reference)


class LastText(NamedTuple):
    """A text that a reference names now, or that it named last."""

    body: bytes
    before: WorkflowEvent | None = None
    "The event since which it names nothing; None where it names this text now."


STEPS = 100
"Changes of a module that are gone back over to find a name."


def last_text(store: EventStore, reference: Reference) -> LastText:
    """Return the text that a reference names now; where it names none, the last that it named.

    What an older prompt or summary printed can thus be opened after its module is gone.
    `InputError` where the reference names nothing at any of the last moments.
    """
    try:
        return LastText(text_of(store, reference, NOW))
    except InputError as error:
        problem = error
    for event in _changes(store, reference):
        try:
            return LastText(text_of(store, reference, Moment(event.position - 1)), event)
        except InputError:
            continue
    raise problem


def lines_shown(store: EventStore, reference: Reference, moment: Moment) -> list[ShownStretch]:
    """Return the lines that tools had shown of a module whose text is unknown at a moment.

    None where its text is known, where it is gone by then, and of a part that is known by name.
    """
    task = reference.task_id
    module = state_at(store, dependency_graph, task, moment).modules.get(reference.path)
    if reference.name or (module is not None and (module.deleted or module.source)):
        return []
    last = store.version_at(task, moment)
    changes = [
        event for event in reversed(_changes(store, reference))
        if event.version <= last or (event.because and max(event.because) <= last)
    ]  # fmt: skip
    return shown_lines(store, reference, moment, changes)


def _changes(store: EventStore, reference: Reference) -> list[WorkflowEvent]:
    """Return the last changes of a reference's module, the latest first."""
    kinds = ("MODULE_DELETED", "MODULE_RENAMED", "MODULE_ITERATION", "SOURCE_READ")
    found = list[WorkflowEvent]()
    for event in store.read(reference.task_id, types=kinds):
        match event.fact:
            case ModuleDeleted(module_name=path) | ModuleIteration(module_name=path):
                names = [path]
            case ModuleRenamed(module_name=path, previous_name=previous):
                names = [path, previous]
            case SourceRead(path=path):
                names = [path]
            case _:
                names = []
        if reference.path in names:
            found.append(event)
    return found[: -STEPS - 1 : -1]


def text_in(store: EventStore, state: dependency_graph.State, reference: Reference) -> bytes:
    """Return the text that a reference names in a state; `InputError` as in `text_of`."""
    module = state.modules.get(reference.path)
    if module is None or module.deleted:
        raise InputError(f"{reference}: there is no such module, or no text of it, at this moment")
    if module.source is None:
        why = origin_of(store, reference.task_id, module.version).unknown
        raise InputError(f"{reference}: its text is unknown at this moment: {why}")
    body = store.get(module.source)
    lines = reference.lines
    if reference.name:
        lines = dependency_graph.lines_of(state, reference.path).get(reference.name)
        if lines is None:
            raise InputError(
                f"{reference}: needed #L1-L9, or a function or class of it, found"
                f" #{reference.name}{_why(module)}"
            )
    return body if lines is None else _cut(body, lines, reference)


def _why(module: dependency_graph.ModuleNode) -> str:
    """Return why no name of a module can be found; empty where names can be."""
    if module.source != module.outlined:
        return ", and this text of it is not outlined (see 'backcast outline')"
    return ", and this text of it cannot be parsed" if "error" in module.facets else ""


def _cut(body: bytes, lines: tuple[int, int], reference: Reference) -> bytes:
    whole = body.splitlines(keepends=True)
    first, last = lines
    if last > len(whole):
        raise InputError(f"{reference}: the module has {len(whole)} lines at this moment")
    return b"".join(whole[first - 1 : last])
