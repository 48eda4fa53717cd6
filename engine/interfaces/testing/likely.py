"""How likely a model holds the outcomes of recorded prompts, as they were and as built today."""

import warnings
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

import pytest

from backcast.domain.errors import BackcastError, InputError
from backcast.engine.context.recorded import messages
from backcast.engine.interfaces.scoring import Reading
from backcast.engine.interfaces.testing.plugin import RUNS
from backcast.engine.interfaces.testing.replayed import Replayed
from backcast.engine.log.store import EventStore
from backcast.engine.models.reading import OutcomeReader
from backcast.engine.replay.corpus import Setting
from backcast.engine.replay.kept_scores import ScoreBook
from backcast.engine.replay.outcomes import KnownOutcome, outcome_of
from backcast.engine.replay.score import ScorePlan, profile_of
from backcast.engine.replay.score_jobs import ScoreJob, StepScore
from backcast.engine.replay.score_run import Scoring
from backcast.engine.replay.score_summary import ScoreDifference, score_summary
from backcast.engine.replay.steps import steps

NAMES = ("recorded", "today")
KEPT = 16
"Tasks whose outcomes are remembered."


class LikelyOutcomes(NamedTuple):
    """The outcomes of some prompts, read under the recorded prompts and under today's."""

    steps: tuple[StepScore, ...]
    beside: ScoreDifference | None
    "Of today's prompts to the recorded ones; None where no outcome has a new line."

    def worst(self, most: int) -> list[str]:
        """Return the prompts whose outcome got less likely, a line each, the worst first."""
        found = []
        for step in self.steps:
            before, now = (step.sums(number, new=True) for number in (0, 1))
            if before.tokens and now.nats > before.nats:
                per = before.nats / before.tokens, now.nats / now.tokens
                line = f"  {step.job.place}: {per[0]:.3f} -> {per[1]:.3f} nats per token"
                found.append((before.nats - now.nats, line))
        return [line for _, line in sorted(found)[:most]]


def likely_outcomes(every: Iterable[Replayed]) -> LikelyOutcomes:
    """Return the outcomes of some prompts as the model of this run of pytest reads them.

    A prompt that cannot be read is left out, with a warning. A test is skipped where pytest names
    no model, and where no outcome is known.
    """
    __tracebackhide__ = True
    run = RUNS[-1]
    if not run.model:
        pytest.skip("needs a model that reads: pytest --backcast-model llama:FILE, or copy")
    reader = _reader(run.model)
    plan = ScorePlan(reader, [Setting(name, None) for name in NAMES], profile_of(reader))
    books: dict[str, ScoreBook] = {}
    for shown in every:
        outcome, log = _outcome(shown), str(id(shown.store))
        if outcome is None:
            continue
        try:
            plan.jobs.append(_job(plan, shown, log, outcome))
        except BackcastError as error:
            _warn(f"{shown}: {error}")
            continue
        if log not in books:
            books[log] = ScoreBook(shown.store, run.scores)
    scoring = Scoring(plan, books)
    scoring.run()
    for failed in scoring.failed:
        _warn(f"{failed.step}: {failed.reason}")
    if not scoring.steps:
        pytest.skip("needs a prompt whose outcome is known and can be read")
    beside = score_summary(scoring.steps, NAMES)[1].beside
    return LikelyOutcomes(tuple(scoring.steps), beside)


def _job(plan: ScorePlan, shown: Replayed, log: str, outcome: KnownOutcome) -> ScoreJob:
    step = shown.step
    if shown.fact.masked:
        raise InputError(f"{shown.fact.masked} of its recorded texts were masked")
    both = messages(shown.fact, shown.store.get), shown.context.messages
    prompts = tuple(plan.reader.prompt(one, outcome.header) for one in both)
    sizes = tuple(plan.size(prompt, outcome.text) for prompt in prompts)
    return ScoreJob(
        log, step.task_id, step.version, step.name, step.task_id, step.request.target, outcome,
        prompts, sizes,
    )  # fmt: skip


def _outcome(shown: Replayed) -> KnownOutcome | None:
    found = _outcomes(shown.store, shown.step.task_id, shown.store.version(shown.step.task_id))
    outcome = found.get(shown.step.version)
    if isinstance(outcome, str):
        _warn(f"{shown}: {outcome}")
        return None
    return outcome


@lru_cache(KEPT)
def _outcomes(store: EventStore, task: str, events: int) -> dict[int, KnownOutcome | str | None]:
    """Return the outcome of each prompt of a task, or why it cannot be read."""
    found: dict[int, KnownOutcome | str | None] = {}
    for step in steps(store, task, outcomes=True):
        try:
            found[step.version] = outcome_of(step, store.get)
        except BackcastError as error:
            found[step.version] = str(error)
    return found


@lru_cache(1)
def _reader(model: str) -> OutcomeReader:
    return Reading(model).reader()


def _warn(problem: str) -> None:
    warnings.warn(pytest.PytestWarning(f"backcast: left out: {problem}"), stacklevel=3)
