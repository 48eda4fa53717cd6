"""States the results of a run's actions as facts: answers, and runs of checks."""

from collections.abc import Sequence
from typing import NamedTuple

from backcast.domain.errors import ModelError
from backcast.domain.events import (
    CheckFailure,
    ChecksRan,
    Claim,
    Fact,
    ModelReplied,
)
from backcast.engine.log.blobs import Blob
from backcast.engine.models import Completion
from backcast.engine.workflow.sandbox.run import Outcome
from backcast.projections.completions import KnownAnswer

PREVIEW = 2_000
"Characters of a test run's output that the fact itself holds."


class ActionResult(NamedTuple):
    """The result of an action: facts and bodies to append."""

    facts: Sequence[Fact | Claim]
    blobs: Sequence[Blob] = ()
    writer: str = "loop"
    forced: bool = True
    "Whether it is on the disk before anything else is done, and not with the next result."
    error: ModelError | None = None
    "The error at which the run stops for now."


def replied(
    answer: Completion, id: str, predicted: int | None, call: int | None = None, module: str = "",
    question: str = "",
) -> ActionResult:  # fmt: skip
    """Return a model's answer as a fact.

    `call` names the call where that is not told by its place, `module` what it was about, and
    `question` all that was asked.
    """
    named: dict[str, str | int] = {"question": question} if question else {}
    named |= {} if call is None else {"call": call}
    text = Blob(answer.text.encode(errors="surrogatepass"))
    thinking = [Blob(answer.thinking.encode(errors="surrogatepass"))] if answer.thinking else []
    model = answer.model or id
    fact = ModelReplied(
        text=text.ref, model=model, finish=answer.finish, prompt_tokens=answer.prompt_tokens,
        predicted_tokens=predicted, tokens=answer.tokens, cached_tokens=answer.cached_tokens,
        seconds=answer.seconds, thinking=thinking[0].ref if thinking else None,
        **named, **({"module_name": module} if module else {}),
    )  # fmt: skip
    return ActionResult([fact], [text, *thinking], model)


def replied_again(
    known: KnownAnswer, predicted: int | None, question: str, call: int | None = None,
    module: str = "",
) -> ActionResult:  # fmt: skip
    """Return an earlier answer as that to another call, for which nobody was asked.

    What it has cost stands with the first.
    """
    first = known.fact
    named = {"module_name": module} if module else {}
    fact = ModelReplied(
        text=first.text, model=first.model, finish=first.finish, thinking=first.thinking,
        predicted_tokens=predicted, question=question, answer_of=known.origin, call=call, **named,
    )  # fmt: skip
    return ActionResult([fact], (), first.model or "loop")


def with_some_run(outcome: Outcome) -> Outcome:
    """Return an outcome with an error where every test of a task leaves itself out."""
    if outcome.passed or outcome.failed or outcome.errors or not outcome.skipped:
        return outcome
    message = (
        f"there are no tests that ran: {outcome.skipped} leave themselves out by their own text, so"
        " nothing shows that the task is done"
    )
    failure = CheckFailure(message=message, kind="error")
    return outcome._replace(errors=1, failures=(failure,))


def checks_ran(outcome: Outcome, path: str | None) -> ActionResult:
    """Return the outcome of a test run as a fact."""
    output = outcome.output.decode(errors="replace")
    long = [Blob(outcome.output)] if len(output) > PREVIEW else []
    # No skipped check is not recorded, so that older logs stay as they are.
    skipped = {"skipped": outcome.skipped} if outcome.skipped else {}
    fact = ChecksRan(
        passed=outcome.passed, failed=outcome.failed, errors=outcome.errors, module_name=path,
        failures=outcome.failures, preview=output[-PREVIEW:],
        output=long[0].ref if long else None, contained=outcome.contained,
        isolation=dict(outcome.isolation), seconds=round(outcome.seconds, 3),
        coverage=dict(outcome.coverage), **skipped,
    )  # fmt: skip
    return ActionResult([fact], long, "sandbox")
