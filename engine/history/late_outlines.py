"""Outlines of texts that stood at a moment, and that were recorded behind it.

An outline follows from its text alone, and is made when it is first needed. So what is asked as of
an event between a text and its outline, and is not recorded, may count the outline in: it tells
nothing that had not happened. A prompt that is recorded stands on what the log held by then.
"""

from backcast.domain.events import EventType, ModuleOutlined
from backcast.domain.moment import Moment
from backcast.engine.history.task_states import OWN, TaskStates
from backcast.engine.log.store import EventStore
from backcast.projections import dependency_graph

PARSED = (".py", ".pyi", ".md", ".markdown")
"How the names of files end that have outlines."


def with_late_outlines(
    store: EventStore, task_id: str, moment: Moment, states: TaskStates
) -> TaskStates:
    """Return the states of a moment with the outlines of its texts that the log has since; the same
    object where there are none."""
    if moment.position is None or moment.at is not None:
        return states  # an outline has the time of its text
    waiting = texts_waiting(states.graph)
    if not waiting:
        return states
    last, own = store.version_at(task_id, moment), list(states[: len(OWN)])
    found = False
    for event in store.read(task_id, after=last, types=[EventType.MODULE_OUTLINED]):
        fact, text = event.fact, event.because[0] if event.because else event.version
        if isinstance(fact, ModuleOutlined) and fact.module_name in waiting and text <= last:
            pairs = zip(OWN, own, strict=True)
            own = [projection.evolve(state, event) for projection, state in pairs]
            found = True
            if fact.source == states.graph.modules[fact.module_name].source:
                waiting.remove(fact.module_name)
                if not waiting:
                    break
    return TaskStates._make((*own, *states[len(OWN) :])) if found else states


def texts_waiting(graph: dependency_graph.State) -> list[str]:
    """Return the modules that can have an outline of their text, and have none yet, sorted."""
    paths = dependency_graph.behind(graph)
    return [path for path in paths if graph.modules[path].source and path.lower().endswith(PARSED)]


def after_outlines(store: EventStore, task_id: str, moment: Moment) -> Moment:
    """Return a moment by record, or that of the last outline of its texts where nothing else stands
    between."""
    if moment.position is None or moment.at is not None:
        return moment
    last = store.version_at(task_id, moment)
    for event in store.read(task_id, after=last):
        if event.type != EventType.MODULE_OUTLINED or not event.because or event.because[0] > last:
            break
        moment = Moment(position=event.position)
    return moment
