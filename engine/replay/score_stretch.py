"""Score a stretch of a log, or prompts, for another process, which keeps the scores."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from backcast.domain.score_events import Scored
from backcast.engine.history.state_json import builder
from backcast.engine.log.open_logs import Log
from backcast.engine.replay.corpus import Setting
from backcast.engine.replay.kept_scores import ScoreBook
from backcast.engine.replay.readers import KEPT, SentReader
from backcast.engine.replay.score import ScorePlan, profile_of
from backcast.engine.replay.score_jobs import LeftOut, ScoreJob
from backcast.engine.replay.score_run import Scoring


class ScoredStretch(NamedTuple):
    """What came of the steps of a stretch."""

    jobs: tuple[ScoreJob, ...]
    "Those that are scored under every policy, without their prompts."
    facts: tuple[dict[str, Any], ...]
    "The scores that are new, as they are stored."
    left_out: tuple[LeftOut, ...]
    failed: tuple[LeftOut, ...]
    waiting: int
    "Steps that were not reached."


class SentScores(ScoreBook):
    """The scores that came with a stretch, and those that are new."""

    def __init__(self, facts: Iterable[Any]) -> None:
        self.known, self.unkept, self.notes = {}, "", []
        self.new: list[Scored] = []
        for fact in facts:
            self._take(Scored.model_validate(fact))

    def keep(self, task_id: str, fact: Scored) -> None:
        """Remember a new score."""
        self._take(fact)
        self.new.append(fact)


def scored_stretch(
    log: Log, versions: Sequence[int], settings: Sequence[Setting], needed: SentReader,
    known: Iterable[Any],
) -> ScoredStretch:  # fmt: skip
    """Score the steps at some versions of a log with one task; `known` are scores of them.

    `OtherModelError` where the model that is needed cannot be had.
    """
    reader = KEPT.take(needed)
    plan = ScorePlan(reader, settings, profile_of(reader, needed.context_tokens))
    plan.add_stretch(log, versions)
    book = SentScores(known)
    scoring = Scoring(plan, {log.name: book})
    scoring.run()
    return ScoredStretch(
        tuple(step.job.without_prompts() for step in scoring.steps),
        tuple(fact.data for fact in book.new),
        tuple(plan.left_out), tuple(scoring.failed), scoring.not_reached,
    )  # fmt: skip


def read_prompts(job: ScoreJob, names: Sequence[str], needed: SentReader) -> list[dict[str, Any]]:
    """Read the prompts of a step, each under the policy of a name; return the scores, as stored.

    Where one cannot be read, those before it are returned.
    """
    reader = KEPT.take(needed)
    profile = profile_of(reader, needed.context_tokens)
    plan = ScorePlan(reader, [Setting(name, None) for name in names], profile)
    plan.jobs.append(job)
    book = SentScores(())
    Scoring(plan, {job.log: book}).run()
    return [fact.data for fact in book.new]


def stretch_of(result: Any) -> ScoredStretch:
    """Return what came of a piece that scores a stretch."""
    build = builder(ScoredStretch)
    assert build is not None
    [found] = result
    stretch: ScoredStretch = build(found)
    return stretch
