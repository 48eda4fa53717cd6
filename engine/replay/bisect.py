"""By which event did a derived prompt come to differ? Found by halving the log before it."""

from backcast.domain.context import Context
from backcast.domain.errors import BackcastError
from backcast.domain.moment import Moment
from backcast.engine.history.snapshots import RecentStates
from backcast.engine.history.task_states import states_at
from backcast.engine.log.store import EventStore
from backcast.engine.replay.derive import BuilderPool
from backcast.engine.replay.steps import RecordedPrompt, asked
from backcast.engine.replay.verify import DIFFERENT, Verdict
from backcast.projections import dependency_graph


def with_event(store: EventStore, verdict: Verdict) -> Verdict:
    """A verdict that names the event after which the item that differs first is shown as now.

    Others are given as they are.
    """
    answer = verdict.derived
    if answer.verdict != DIFFERENT or not (answer.difference and answer.difference.node):
        return verdict
    found = next(one for one in asked(store, verdict.task_id) if one.version == verdict.version)
    event = _event(_Halves(store, verdict.task_id, found, answer.difference.node), found)
    return verdict._replace(derived=answer._replace(event=event))


class _Halves:
    """How an item is shown, had the log ended at some version."""

    def __init__(self, store: EventStore, task_id: str, step: RecordedPrompt, node: str) -> None:
        self.store, self.task_id, self.step, self.node = store, task_id, step, node
        self.builder = BuilderPool(store).recorded(step.fact)
        self.recent = RecentStates()

    def shown(self, version: int) -> tuple[str, str] | None:
        """Its level and text; None where it is not shown, or nothing could be."""
        events = list(self.store.read(self.task_id, after=version - 1, last=version))
        moment = Moment(position=events[0].position if events else 0)
        states = states_at(self.store, self.task_id, moment, self.recent)
        graph = dependency_graph.graph_of(states.graph)
        try:
            context: Context = self.builder.build(states, graph, self.step.request)
        except BackcastError:
            return None
        return next((one[3:5] for one in context.items if one.node == self.node), None)


def _event(halves: _Halves, step: RecordedPrompt) -> str:
    last, now = step.stood_at, halves.shown(step.stood_at)
    if halves.shown(0) == now:
        return "by no event: it is so in an empty log too"
    before = 0
    while last - before > 1:
        middle = (before + last) // 2
        if halves.shown(middle) == now:
            last = middle
        else:
            before = middle
    [event] = halves.store.read(halves.task_id, after=last - 1, last=last)
    told = event.fact.data
    what = next(
        (str(told[key]) for key in ("module_name", "path", "node", "goal") if key in told), ""
    )
    return f"since event {last}, {event.type} {what}".rstrip()
