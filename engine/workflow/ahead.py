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

from backcast.domain.errors import InputError, ModelError
from backcast.domain.events import PrefixWarmed
from backcast.engine.models import Limits, Message
from backcast.engine.models.cancelling import CallCancelledError, Cancellation
from backcast.engine.models.llama import LlamaModel
from backcast.engine.models.warming import PrefixScheduler, ReadPrefix, templated, warmed
from backcast.engine.workflow.decide import AskModel, module_action
from backcast.engine.workflow.executor import in_thread
from backcast.engine.workflow.prompts import PromptBuilder
from backcast.engine.workflow.requests import limits_for, request_of
from backcast.engine.workflow.runtime import Runtime
from backcast.engine.workflow.spec import Spec
from backcast.projections import progress

ENDING = 0.5
"Seconds for which one that was ended is waited for, at most."


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

    @contextmanager
    def beside(self, step: progress.PendingStep) -> Iterator[None]:
        """Have the likely next prompt read while the block checks an answer with code."""
        limited = self.prompts.task.spending.allowed.limited
        if self.reads and step.kind == "code" and not limited and self._reading is None:
            self._begin(step.module)
        yield

    def ended(self, calls: Mapping[int, AskModel]) -> list[PrefixWarmed]:
        """End what is being read, as calls have come; return what became of it."""
        reading, self._reading = self._reading, None
        if reading is None:
            return []
        reading.cancellation.cancel()
        meant = tuple(call for call in calls if calls[call][:3] == reading.action[:3])
        fact = PrefixWarmed(ahead=reading.action.module, slot=reading.slot, meant_for=meant)
        found: dict[str, Any]
        try:
            found = reading.result.result(ENDING)._asdict()
        except CallCancelledError:
            found = {"reason": "a call came before it was read"}
        except (ModelError, LateError) as error:
            found = {"reason": str(error) or "it did not end"}
        seconds = round(monotonic() - reading.began, 3)
        return [fact.model_copy(update={**found, "seconds": seconds})]

    def _begin(self, module: str) -> None:
        state = self.prompts.task.stands
        action = foretold(state, self.spec, module)
        if action is None:
            return
        limits = limits_for(
            action, state, self.spec, self.runtime.policy, self.runtime.profile.generation
        )
        try:
            said = self.prompts.foretell(
                request_of(action, state, self.spec), thinking=limits.thinking > 0
            )
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


def foretold(state: progress.State, spec: Spec, module: str) -> AskModel | None:
    """Return the call for the next module's code, if the checks of a module pass; None for none."""
    before = state.modules.get(module)
    if before is None:
        return None
    done = before._replace(status="complete", failed=0)
    state = state._replace(
        modules=state.modules.set(module, done), step=None, refused=0, refusal="", looks=0,
        wanted=(), spent=0,
    )  # fmt: skip
    for planned in state.planned:
        if planned.path not in state.modules:
            started = progress.ModuleProgress()
            state = state._replace(modules=state.modules.set(planned.path, started))
        action = module_action(state, spec, planned, lambda path: ())
        if action is not None:
            return action if isinstance(action, AskModel) else None
    return None
