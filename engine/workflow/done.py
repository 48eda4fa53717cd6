"""What an action has come to: the facts that are to be appended, and their bodies."""

from collections.abc import Sequence
from typing import NamedTuple

from backcast.domain.errors import ModelError
from backcast.domain.events import ChecksRan, Claim, Fact, ModelReplied
from backcast.engine.log.blobs import Blob
from backcast.engine.models import Completion
from backcast.engine.workflow.sandbox.run import Outcome

PREVIEW = 2_000
"Characters of a test run's output that stand in the fact itself."


class ActionResult(NamedTuple):
    """What is to be appended."""

    facts: Sequence[Fact | Claim]
    blobs: Sequence[Blob] = ()
    writer: str = "loop"
    error: ModelError | None = None
    "Why the run stops here for now."


def replied(answer: Completion, id: str, predicted: int | None) -> ActionResult:
    """What a model answered, as a fact."""
    text = Blob(answer.text.encode(errors="surrogatepass"))
    thinking = [Blob(answer.thinking.encode(errors="surrogatepass"))] if answer.thinking else []
    model = answer.model or id
    fact = ModelReplied(
        text=text.ref, model=model, finish=answer.finish, prompt_tokens=answer.prompt_tokens,
        predicted_tokens=predicted, tokens=answer.tokens, cached_tokens=answer.cached_tokens,
        seconds=answer.seconds, thinking=thinking[0].ref if thinking else None,
    )  # fmt: skip
    return ActionResult([fact], [text, *thinking], model)


def checked(outcome: Outcome, path: str | None) -> ActionResult:
    """What a run of tests came to, as a fact."""
    output = outcome.output.decode(errors="replace")
    long = [Blob(outcome.output)] if len(output) > PREVIEW else []
    fact = ChecksRan(
        passed=outcome.passed, failed=outcome.failed, errors=outcome.errors, module_name=path,
        failures=outcome.failures, preview=output[-PREVIEW:],
        output=long[0].ref if long else None, contained=outcome.contained,
        isolation=dict(outcome.isolation), seconds=round(outcome.seconds, 3),
        coverage=dict(outcome.coverage),
    )  # fmt: skip
    return ActionResult([fact], long, "sandbox")
