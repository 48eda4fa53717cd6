"""The text behind a reference that a prompt names: in another task, or taken out of this one.

Only what is known at the moment is found: the tasks that left code by then, and what was removed.
"""

import re
from typing import NamedTuple

from backcast.domain.errors import DamagedError, InputError
from backcast.domain.node import Reference, name_of, parse_reference, path_of
from backcast.engine.context.build_cache import BuildCache
from backcast.engine.context.recall.code import EarlierCode
from backcast.engine.history.task_states import TaskStates
from backcast.projections import dependency_graph

SCHEME, LEFT = "storage://", "left:"
_AT = re.compile(r"(.+)@(\d+)")
"A task, and the version of it at which a text stood."
GONE = "its text is gone from this log, or was taken out of it when it was exported"


class RecalledPiece(NamedTuple):
    """The text of a reference."""

    reference: str
    "As it is written."
    text: str
    task: str
    "The task that left it; empty for the running one."


def is_reference(name: str) -> bool:
    """Tell whether a name is a reference to stored text, and no node of the task.

    >>> is_reference("storage://task-1/a.py#f"), is_reference("function:a.py::f")
    (True, False)
    """
    return name.startswith((SCHEME, LEFT))


def piece_of(cache: BuildCache, states: TaskStates, name: str) -> RecalledPiece:
    """Return the text of a reference, as known at a moment; `InputError` where there is none."""
    if name.startswith(LEFT):
        task, _, node = name.removeprefix(LEFT).partition("/")
        reference = Reference(task, path_of(node), name=name_of(node) or None)
    else:
        reference = parse_reference(name)
    dated = _AT.fullmatch(reference.task_id)
    task, stood = (dated[1], int(dated[2])) if dated else (reference.task_id, 0)
    own = states.graph.task_id
    holder = "" if task == own else task
    if not stood and (state := _state(cache, states, task)) is not None:
        module = state.modules.get(reference.path)
        if module is not None and not module.deleted and module.source:
            lines = reference.lines
            if reference.name:
                lines = dependency_graph.lines_of(state, reference.path).get(reference.name)
            if lines or not reference.name:
                return RecalledPiece(name, _cut(cache, module.source, lines, name), holder)
    for code in cache.recalled(states).codes:
        if code.task == holder and _is(code, reference, stood):
            text = _cut(cache, code.source, (code.first, code.last), name)
            return RecalledPiece(name, text, holder)
    if task != own and task not in [legacy.task for legacy in states.legacies]:
        raise InputError(f"{name}: no task {task!r} is known here that left code")
    raise InputError(f"{name}: there is no such module, function or class, or no text of it")


def _is(code: EarlierCode, reference: Reference, stood: int) -> bool:
    lines = reference.lines is None or reference.lines == (code.first, code.last)
    named = not reference.name or reference.name == code.name
    exact = bool(reference.lines or reference.name) and (not stood or stood == code.stood)
    return code.path == reference.path and lines and named and exact


def _state(cache: BuildCache, states: TaskStates, task: str) -> dependency_graph.State | None:
    if task == states.graph.task_id:
        return states.graph
    found = [legacy for legacy in states.legacies if legacy.task == task]
    return cache.legacies(found[0]) if found and cache.legacies else None


def _cut(cache: BuildCache, source: str, lines: tuple[int, int] | None, name: str) -> str:
    try:
        every = cache.lines.of(source)
    except (DamagedError, ValueError):
        raise InputError(f"{name}: {GONE}") from None
    if lines is None:
        return "\n".join(every).strip("\n")
    if lines[1] > len(every):
        raise InputError(f"{name}: the module has {len(every)} lines")
    return "\n".join(every[lines[0] - 1 : lines[1]])
