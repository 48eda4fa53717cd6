"""The prompts of calls: one for each, and where a policy is an alternative, one more by that."""

from backcast.domain.context_events import ContextBuilt
from backcast.domain.events import StepStarted
from backcast.domain.policy import Policy
from backcast.engine.context.recorded import messages
from backcast.engine.log.blobs import Blob
from backcast.engine.models import Limits
from backcast.engine.workflow.call_budget import PreparedCall
from backcast.engine.workflow.decide import AskModel
from backcast.engine.workflow.prompts import PromptBuilder, RunningTask
from backcast.engine.workflow.requests import limits_for, request_of
from backcast.engine.workflow.runtime import Runtime
from backcast.engine.workflow.spec import Spec
from backcast.projections import progress


class CallPrompts:
    """The prompts of a run's calls, as the log has them, or built as of now."""

    def __init__(
        self, task: RunningTask, runtime: Runtime, spec: Spec, builder: PromptBuilder
    ) -> None:
        self.task, self.runtime, self.spec, self.builder = task, runtime, spec, builder
        self._builders = dict[int, PromptBuilder]()
        "The builders of the prompts of alternatives, by their numbers."

    def prepared(
        self, lane: str, action: AskModel, seen: progress.State, *, beside: bool = False
    ) -> PreparedCall:
        """Return a call with its prompt: a prompt that was built and never answered stays as it is.

        `beside`: another prompt was built just now, behind which this one will stand.
        """
        runtime, context = self.runtime, seen.step.context if seen.step else 0
        limits = limits_for(action, seen, self.spec, runtime.policy, runtime.profile.generation)
        if known := self._built(lane, action, context, limits):
            return known
        request = request_of(action, seen, self.spec)
        made = self.builder.build(request, thinking=limits.thinking > 0, beside=beside)
        return PreparedCall(lane, action, made.fact, made.messages, limits, made=made)

    def alternatives(self, first: PreparedCall, seen: progress.State) -> list[PreparedCall]:
        """Return the alternatives to a call, some of them with a prompt of their own."""
        found = list[PreparedCall]()
        for number, (_, policy) in enumerate(self.runtime.alternatives, 1):
            if policy is None:
                found.append(first._replace(alternative=number, shares=True, made=None))
                continue
            lane, action, generation = first.lane, first.action, self.runtime.profile.generation
            limits = limits_for(action, seen, self.spec, policy, generation)
            context = self._context_of(lane, number, policy) if first.again else 0
            prepared = self._built(lane, action, context, limits)
            if prepared is None:
                if number not in self._builders:
                    self._builders[number] = PromptBuilder(
                        self.task, self.runtime.profile, policy, self.builder
                    )
                made = self._builders[number].build(
                    request_of(action, seen, self.spec), thinking=limits.thinking > 0, beside=True
                )
                prepared = PreparedCall(lane, action, made.fact, made.messages, limits, made=made)
            found.append(prepared._replace(alternative=number))
        return found

    def _built(
        self, lane: str, action: AskModel, context: int, limits: Limits
    ) -> PreparedCall | None:
        """Return a call with the prompt that stands in the log already; None where none does."""
        built = self.task.event(context).fact if context else None
        if not isinstance(built, ContextBuilt):
            return None
        said = messages(built, self.task.store.get)
        return PreparedCall(lane, action, built, said, limits, context)

    def _context_of(self, lane: str, number: int, policy: Policy) -> int:
        """Return the version of the prompt that a policy built for an alternative whose process was
        cut off; 0 for none."""
        open_lane = self.task.stands.lanes.get(lane)
        for call in open_lane.calls if open_lane else ():
            begun = self.task.event(call).fact
            if isinstance(begun, StepStarted) and begun.alternative == number:
                context = begun.again or call + 1
                built = self.task.event(context).fact
                if isinstance(built, ContextBuilt) and built.policy == Blob(policy.body).ref:
                    return context
        return 0
