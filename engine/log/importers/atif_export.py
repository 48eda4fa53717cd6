"""A task as a trajectory in the Agent Trajectory Interchange Format (ATIF).

Each message is a step, and so is each reply of the model, with its calls, their results and its
tokens; the instructions and tools of recorded requests are a system's step and definitions. What
ATIF has no place for is counted, and left out: modules, checks, plans, and the prompts themselves.
"""

from collections import Counter
from typing import NamedTuple

from pydantic_core import to_json

from backcast.domain.errors import InputError
from backcast.engine.log.importers.atif import DEEPEST
from backcast.engine.log.importers.atif_steps import Fields, TrajectoryWriter, ordered
from backcast.engine.log.importers.content import without
from backcast.engine.log.store import EventStore


class AtifExport(NamedTuple):
    """A trajectory, and what it has no place for."""

    document: Fields
    left_out: Counter[str]

    @property
    def text(self) -> str:
        """The trajectory as JSON."""
        return to_json(self.document, indent=2, inf_nan_mode="null").decode()


def exported(store: EventStore, task_id: str) -> AtifExport:
    """Return a task as a trajectory, with those of its subagents. `InputError` without a step."""
    left_out = Counter[str]()
    document = TrajectoryWriter(store, task_id, left_out).document()
    if not document["steps"]:
        raise InputError(
            f"{task_id}: needed messages or replies of a model, found none: it is no run of an"
            f" agent"
        )
    children = children_of(store)
    _add_subagents(store, task_id, document, children, left_out, (task_id,))
    return AtifExport(document, left_out)


def children_of(store: EventStore) -> dict[str, list[str]]:
    """Return the tasks of subagents, by the task that started them."""
    found: dict[str, dict[str, None]] = {}
    for event in store.read(types=["TASK_STARTED"]):
        parent = (event.fact.model_extra or {}).get("parent_session")
        if isinstance(parent, str) and parent != event.task_id:
            found.setdefault(parent, {}).setdefault(event.task_id)
    return {parent: list(tasks) for parent, tasks in found.items()}


def _add_subagents(
    store: EventStore, task: str, document: Fields, children: dict[str, list[str]],
    left_out: Counter[str], above: tuple[str, ...],
) -> None:  # fmt: skip
    """Add the trajectories of a task's subagents; `above` are the tasks that it is inside of."""
    embedded = []
    for child in children.get(task, ()):
        if child in above or len(above) > DEEPEST:
            continue
        below = TrajectoryWriter(store, child, left_out).document()
        if not below["steps"]:
            continue
        below["trajectory_id"] = child.removeprefix(f"{task}:")
        _add_subagents(store, child, below, children, left_out, (*above, child))
        embedded.append(ordered(without(below, "session_id")))
    if embedded:
        document["subagent_trajectories"] = embedded
