"""While checks run, the model reads the prompt that is likely to come next.

That is the code of the next module, as if these checks passed: where they fail, the prompt of the
repair begins like the one before it, which is in the cache still. It never delays a call: what is
being read when one comes is ended at once. Whether it was worth it is told by what the server had
of the prompt that came.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as LateError
from contextlib import contextmanager
from time import monotonic
from typing import Any, NamedTuple

from backcast.domain.call_events import PrefixWarmed
from backcast.domain.errors import InputError, ModelError
from backcast.domain.events import (
    ChecksRan,
    Fact,
    ModuleIteration,
    WorkflowEvent,
)
from backcast.engine.history.task_states import TaskStates
from backcast.engine.log.blobs import Blob
from backcast.engine.memory.outlines import SourceVersion
from backcast.engine.models import Limits, Message
from backcast.engine.models.cancelling import CallCancelledError, Cancellation
from backcast.engine.models.llama import LlamaModel
from backcast.engine.models.warming import PrefixScheduler, ReadPrefix, templated, warmed
from backcast.engine.workflow.decide import AppendFacts, AskModel, decide
from backcast.engine.workflow.executor import in_thread
from backcast.engine.workflow.prompts import PromptBuilder, RunningTask
from backcast.engine.workflow.requests import limits_for, request_of
from backcast.engine.workflow.runtime import Runtime
from backcast.engine.workflow.spec import Spec
from backcast.projections import progress

ENDING = 0.5
"Seconds for which one that was ended is waited for, at most."
MOST = 12
"Facts that are foreseen at most."


class ReadingAhead(NamedTuple):
    """A prompt that is being read, or was."""

    action: AskModel
    slot: int | None
    began: float
    cancellation: Cancellation
    result: "Future[ReadPrefix]"


class AheadReader:
    """The reader of one run's next prompts; it reads nothing unless the run is to."""

    def __init__(
        self, runtime: Runtime, spec: Spec, prompts: PromptBuilder, scheduler: PrefixScheduler
    ) -> None:
        self.runtime, self.spec, self.prompts = runtime, spec, prompts
        self.model, self.scheduler = runtime.model, scheduler
        own = isinstance(self.model, LlamaModel) and self.model.loaded.states is not None
        # Elsewhere it would drive out what a repair needs.
        self.reads = runtime.warming == "ahead" and (own or scheduler.slots > 1)
        self._reading: ReadingAhead | None = None
        self._read: tuple[AskModel, PrefixWarmed] | None = None
        "What was read, and the call that it was read for, which has not come yet."

    @contextmanager
    def beside(
        self, step: progress.PendingStep, body: Callable[[], bytes | None]
    ) -> Iterator[None]:
        """Have the likely next prompt read while the block checks an answer.

        `body` returns the text that the checks are of; None for an answer without one.
        """
        limited = self.prompts.task.spending.allowed.limited
        if self.reads and step.kind == "code" and not limited and self._reading is None:
            text = body()
            if text is not None:
                self._begin(step, text)
        yield

    def ended(self, calls: Mapping[int, AskModel]) -> list[PrefixWarmed]:
        """End what is being read, as calls have come, or as the run ends with none; return what
        became of what was read: once the call comes that it is meant for, or another was read.

        Others may come before it, such as for summaries of the module that was checked.
        """
        facts, reading, self._reading = list[PrefixWarmed](), self._reading, None
        if reading is not None:
            facts += [self._read[1]] if self._read else []
            self._read = reading.action, self._stopped(reading)
        if self._read is not None:
            action, fact = self._read
            meant = tuple(call for call in calls if calls[call][:3] == action[:3])
            if meant or not calls or fact.tokens is None:
                facts.append(fact.model_copy(update={"meant_for": meant}))
                self._read = None
        return facts

    def _stopped(self, reading: ReadingAhead) -> PrefixWarmed:
        """End what is being read, and return what came of it."""
        reading.cancellation.cancel()
        fact = PrefixWarmed(ahead=reading.action.module, slot=reading.slot)
        found: dict[str, Any]
        try:
            found = reading.result.result(ENDING)._asdict()
        except CallCancelledError:
            found = {"reason": "a call came before it was read"}
        except (ModelError, LateError) as error:
            found = {"reason": str(error) or "it did not end"}
        seconds = round(monotonic() - reading.began, 3)
        return fact.model_copy(update={**found, "seconds": seconds})

    def _begin(self, step: progress.PendingStep, body: bytes) -> None:
        found = foreseen(self.prompts.task, self.spec, step, body)
        if found is None:
            return
        (states, action), policy = found, self.runtime.policy
        generation = self.runtime.profile.generation
        limits = limits_for(action, states.progress, self.spec, policy, generation)
        request = request_of(action, states.progress, self.spec)
        try:
            said = self.prompts.foretell(request, states, body, thinking=limits.thinking > 0)
        except InputError:
            return  # the call itself says why
        messages = [Message(role, text) for role, text in said]
        cancellation = Cancellation()
        limits = limits._replace(cancellation=cancellation)
        slot, read = self._way(messages, limits)
        result = in_thread(read)
        self._reading = ReadingAhead(action, slot, monotonic(), cancellation, result)

    def _way(
        self, messages: Sequence[Message], limits: Limits
    ) -> tuple[int | None, Callable[[], ReadPrefix]]:
        """Return by which slot the model reads, and what has it read."""
        if isinstance(own := self.model, LlamaModel):
            return None, lambda: ReadPrefix(*own.warm(messages, limits))
        slot, server = self.scheduler.spare(messages), self.scheduler.server
        assert server is not None

        def read() -> ReadPrefix:
            prompt = templated(server, messages, limits)
            return warmed(server, prompt, slot, limits.cancellation)

        return slot, read


class ForeseenStates(NamedTuple):
    """The states of a run as they are if checks pass, and the call that comes then."""

    states: TaskStates
    action: AskModel


def foreseen(
    task: RunningTask, spec: Spec, step: progress.PendingStep, body: bytes
) -> ForeseenStates | None:
    """Return the states in which the next module's code is asked for; None where none is."""
    planned = next((one for one in task.stands.planned if one.path == step.module), None)
    if planned is None:
        return None
    source, now = Blob(body).ref, task.store.clock()
    text = SourceVersion(step.module, source, task.version + 1, now)
    outline = task.outlining.foreseen(text, body)
    facts = list[Fact]([
        ModuleIteration(
            module_name=step.module, iteration=step.iteration, source=source, score=1.0
        ),
        ChecksRan(passed=max(1, len(planned.tests)), failed=0, module_name=step.module),
    ])  # fmt: skip
    facts += [outline] if outline else []
    while len(facts) < MOST:
        events = [
            WorkflowEvent(
                task.position + n, task.task_id, task.version + n, fact, now, now, "loop", ()
            )
            for n, fact in enumerate(facts, 1)
        ]
        states = task.foreseen(events)
        match decide(states.progress, spec):
            case AskModel(kind="code", module=path) as action if path != step.module:
                return ForeseenStates(states, action)
            case AppendFacts(facts=more):
                facts += more
            case _:
                return None
    return None
