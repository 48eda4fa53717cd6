"""The text behind a reference, as it was at a moment."""

from domain.errors import InputError
from domain.moment import Moment
from domain.node import Reference
from engine.log.store import EventStore
from engine.replay.states import state_at
from projections import dependency_graph


def text_of(store: EventStore, reference: Reference, moment: Moment) -> bytes:
    """The whole module, or the lines that a reference names.

    `InputError` where there was no such module, text, line or name at the moment.
    """
    store.require(reference.task_id)
    state = state_at(store, dependency_graph, reference.task_id, moment)
    module = state.modules.get(reference.path)
    if module is None or module.deleted or module.source is None:
        raise InputError(f"{reference}: there is no such module, or no text of it, at this moment")
    body = store.get(module.source)
    lines = reference.lines
    if reference.name:
        lines = dependency_graph.lines_of(state, reference.path).get(reference.name)
        if lines is None or module.source != module.outlined:
            raise InputError(
                f"{reference}: needed #L1-L9, or the name of a function or class in an outlined"
                f" module ('backcast outline'), found #{reference.name}"
            )
    return body if lines is None else _cut(body, lines, reference)


def _cut(body: bytes, lines: tuple[int, int], reference: Reference) -> bytes:
    whole = body.splitlines(keepends=True)
    first, last = lines
    if last > len(whole):
        raise InputError(f"{reference}: the module has {len(whole)} lines at this moment")
    return b"".join(whole[first - 1 : last])
