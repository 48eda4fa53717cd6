"""Tell what the parts of a recorded step's prompt were worth, for whoever asks: here, or elsewhere.

A worker opens the log itself, builds the prompt, and reads it. Scores come back with what was
found, and are kept by who asked.
"""

from collections.abc import Iterable
from time import monotonic
from typing import Any, NamedTuple

from backcast.domain.errors import BackcastError, InputError
from backcast.engine.history.state_json import builder
from backcast.engine.log.open_logs import Log
from backcast.engine.log.store import EventStore
from backcast.engine.models.likelihood import LineNats
from backcast.engine.replay.corpus import Setting
from backcast.engine.replay.influence import (
    Influence,
    InfluencePlan,
    influences,
    plan_influence,
    step_with_outcome,
)
from backcast.engine.replay.readers import KEPT, SentReader
from backcast.engine.replay.score import ScorePlan, profile_of
from backcast.engine.replay.score_run import Scoring
from backcast.engine.replay.score_stretch import SentScores

MOST = 20
"Items that are left out one by one, where nothing is asked for."


class InfluenceQuestion(NamedTuple):
    """What is asked of each prompt."""

    setting: Setting
    most: int | None = None
    halves: int | None = None
    texts: bool = False

    def plan_step(self, plan: ScorePlan, log: str, store: EventStore, task: str,
                  version: int) -> InfluencePlan:  # fmt: skip
        """Make a plan without a step read the prompts that answer it of the step at a version.

        `InputError` where the step has no outcome that can be read.
        """
        step = step_with_outcome(store, task, str(version))
        halves = 0 if self.most is not None and self.halves is None else self.halves
        most = MOST if self.most is None else self.most
        return plan_influence(plan, log, store, step, most, halves, texts=self.texts)


class StepInfluences(NamedTuple):
    """What the parts of a step's prompt were worth."""

    task: str
    version: int
    name: str
    target: str
    new: LineNats
    "The tokens and nats of the outcome's new lines behind the whole prompt."
    influences: tuple[Influence, ...]
    not_read: int
    "Items beyond the most that are read."
    items: int
    "Items that halves were drawn of; 0 where each was left out alone."
    halves: int

    @property
    def place(self) -> str:
        """The step as reports name it."""
        return f"{self.task}@{self.version} {self.name}"


class InfluenceAnswer(NamedTuple):
    """What was found of a step, and the scores that it follows from."""

    found: StepInfluences | None
    scores: tuple[dict[str, Any], ...] = ()
    "As they are stored."
    reason: str = ""
    "Why nothing was found."
    seconds: float = 0.0


def answer_of(plan: InfluencePlan, scoring: Scoring) -> InfluenceAnswer:
    """Return what the scores of a step tell of its parts; `InputError` where it was not read."""
    if not scoring.steps:
        failed = [*scoring.plan.left_out, *scoring.failed][0]
        raise InputError(f"{failed.step}: {failed.reason}")
    [step] = scoring.steps
    job, book = step.job, scoring.books[step.job.log]
    keys = dict.fromkeys(scoring.plan.key(job, number) for number in range(len(job.tokens)))
    facts = [fact.data for key in keys if (fact := book.find(key))]
    found = StepInfluences(
        job.task, job.version, job.name, job.target, step.sums(0, new=True),
        tuple(influences(step, plan.parts, plan.items, plan.halves)),
        plan.not_read, len(plan.items), len(plan.halves),
    )  # fmt: skip
    return InfluenceAnswer(found, tuple(facts))


def answered_there(
    log: Log, version: int, question: InfluenceQuestion, needed: SentReader, known: Iterable[Any]
) -> InfluenceAnswer:
    """Answer for another process, of a log with one task; `known` are scores that are there.

    `OtherModelError` where the model that is needed cannot be had.
    """
    begun, reader = monotonic(), KEPT.take(needed)
    plan = ScorePlan(reader, [question.setting], profile_of(reader, needed.context_tokens))
    book = SentScores(known)
    try:
        found = question.plan_step(plan, log.name, log.store, log.tasks[0], version)
        scoring = Scoring(found.plan, {log.name: book})
        scoring.run()
        answer = answer_of(found, scoring)
    except BackcastError as error:  # whoever asks says so, as of its own steps
        answer = InfluenceAnswer(None, tuple(fact.data for fact in book.new), str(error))
    return answer._replace(seconds=monotonic() - begun)


def answer_from(result: Any) -> InfluenceAnswer:
    """Return an answer that came as JSON; `ValueError` and the like where it is none."""
    build = builder(InfluenceAnswer)
    assert build is not None
    answer: InfluenceAnswer = build(result)
    return answer
