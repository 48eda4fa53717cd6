"""What a prompt knew of other tasks, where its log came into a store that held others already.

Elsewhere the order of a store tells which other tasks a prompt could look back to. A log that was
recorded in another store, and imported, stands behind tasks that its prompts never saw.
"""

from backcast.domain.context_events import ContextBuilt
from backcast.domain.moment import Moment
from backcast.engine.history.branches import known_by, lineage_of
from backcast.engine.history.task_states import TaskStates, contributions_at
from backcast.engine.log.store import EventStore
from backcast.engine.replay.steps import ReplayStep


def without_late_tasks(
    store: EventStore, step: ReplayStep, fact: ContextBuilt
) -> TaskStates | None:
    """Return what was known at a step without the tasks that came into the store only after its
    prompt was made, but for those that the prompt shows something of; None where there are none.
    """
    states = step.known.states
    late = _late_tasks(store, step, fact)
    if not late:
        return None
    stood_at = fact.stood_at or 0
    rows = store.recorder.rows(step.task_id, stood_at - 1, stood_at) if stood_at else []
    moment = Moment(position=rows[0][0] if rows else 0)
    known = known_by(store, lineage_of(store, step.task_id), moment)
    return states._replace(
        offline=contributions_at(store, known, late),
        legacies=tuple(legacy for legacy in states.legacies if legacy.task not in late),
    )


def _late_tasks(store: EventStore, step: ReplayStep, fact: ContextBuilt) -> set[str]:
    """Return the other tasks that a step knew by the order of the store alone."""
    states = step.known.states
    others = {legacy.task for legacy in states.legacies} | {*states.offline.complete}
    others |= {*states.offline.failed}
    shown = {item.task for item in fact.items if item.task}
    made = next(store.read(step.task_id, after=step.version - 1, last=step.version), None)
    if made is None:
        return set()
    if made.timestamp > made.recorded_at:
        return others - shown  # by a clock that this store had not reached: recorded elsewhere
    begun = ((task, next(store.read(task, last=1), None)) for task in sorted(others - shown))
    return {task for task, first in begun if first and first.recorded_at > made.timestamp}
