"""Find the event since which a derived prompt differs, by bisecting the log before it."""

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
    """Return a verdict that names the event which made its first differing item as it is now.

    Verdicts without such an item come back unchanged.
    """
    answer = verdict.derived
    if answer.verdict != DIFFERENT or not (answer.difference and answer.difference.node):
        return verdict
    prompts = asked(store, verdict.task_id)
    prompt = next(one for one in prompts if one.version == verdict.version)
    event = _event(_Bisection(store, verdict.task_id, prompt, answer.difference.node), prompt)
    return verdict._replace(derived=answer._replace(event=event))


class _Bisection:
    """How one item would be shown if the log ended at a given version."""

    def __init__(self, store: EventStore, task_id: str, step: RecordedPrompt, node: str) -> None:
        self.store, self.task_id, self.step, self.node = store, task_id, step, node
        self.builder = BuilderPool(store).recorded(step.fact)
        self.recent = RecentStates()

    def shown(self, version: int) -> tuple[str, str] | None:
        """Return its level and text; None where it is not shown or no prompt can be built."""
        events = list(self.store.read(self.task_id, after=version - 1, last=version))
        moment = Moment(position=events[0].position if events else 0)
        states = states_at(self.store, self.task_id, moment, self.recent)
        states = states._replace(at=self.step.at)
        graph = dependency_graph.graph_of(states.graph)
        try:
            context: Context = self.builder.build(states, graph, self.step.request)
        except BackcastError:
            return None
        return next((item[3:5] for item in context.items if item.node == self.node), None)


def _event(bisection: _Bisection, step: RecordedPrompt) -> str:
    last, newest = step.stood_at, bisection.shown(step.stood_at)
    if bisection.shown(0) == newest:
        return "by no event: it is so in an empty log too"
    before = 0
    while last - before > 1:
        middle = (before + last) // 2
        if bisection.shown(middle) == newest:
            last = middle
        else:
            before = middle
    [event] = bisection.store.read(bisection.task_id, after=last - 1, last=last)
    data = event.fact.data
    what = next(
        (str(data[key]) for key in ("module_name", "path", "node", "goal") if key in data), ""
    )
    return f"since event {last}, {event.type} {what}".rstrip()
