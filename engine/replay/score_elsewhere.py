"""Score steps elsewhere: cut by log and stretch, and kept here, in the order of one process."""

from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from typing import Any, NamedTuple

from backcast.domain.score_events import Scored
from backcast.engine.log.engines import WorkEngine
from backcast.engine.log.open_logs import Log
from backcast.engine.log.remote import shown
from backcast.engine.log.spread import PieceDone, spread
from backcast.engine.log.stamps import stamps_of
from backcast.engine.replay.kept_scores import ScoreBook
from backcast.engine.replay.outcomes import KnownOutcome
from backcast.engine.replay.pieces import score_piece, work
from backcast.engine.replay.readers import SentReader
from backcast.engine.replay.score import ScorePlan, outcome_digest, place_of_step
from backcast.engine.replay.score_jobs import LeftOut
from backcast.engine.replay.score_run import Scoring
from backcast.engine.replay.score_stretch import stretch_of
from backcast.engine.replay.steps import ReplayStep

STRETCH = 4
"Steps of a piece at most: more of them read less of a log twice, fewer lose less by Ctrl-C."


class CutStep(NamedTuple):
    """A step that is scored elsewhere."""

    log: str
    task: str
    version: int
    outcome: str
    "The digest of what was written."
    place: int
    "Where among the steps left out it would stand."


class CutPlan(ScorePlan):
    """A plan of steps whose prompts are built where they are read, and only there can fail."""

    spare = 0

    def __init__(self, plan: ScorePlan) -> None:
        """`plan` says who reads, and under which policies."""
        super().__init__(plan.reader, plan.settings, plan.profile, plan.choice)
        self.cut: list[CutStep] = []
        self.stamps: dict[str, dict[str, str]] = {}
        "Of the tasks of each log."

    def _plan(self, log: Log, step: ReplayStep, outcome: KnownOutcome, unit: str) -> bool:
        if log.name not in self.stamps:
            self.stamps[log.name] = stamps_of(log.store)
        digest, place = outcome_digest(outcome.text), len(self.left_out)
        self.cut.append(CutStep(log.name, step.task_id, step.version, digest, place))
        self.left_out.append(LeftOut(place_of_step(step), ""))
        return True

    def stretches(self) -> list[tuple[CutStep, ...]]:
        """Return the steps in pieces of one task each."""
        found = list[tuple[CutStep, ...]]()
        for _, group in groupby(self.cut, lambda step: step[:2]):
            steps = tuple(group)
            found += [steps[at : at + STRETCH] for at in range(0, len(steps), STRETCH)]
        return found


class ScoringElsewhere(Scoring):
    """Scores that workers make, and this process keeps."""

    plan: CutPlan

    def __init__(
        self,
        plan: CutPlan,
        books: Mapping[str, ScoreBook],
        engine: WorkEngine,
        reader: SentReader,
    ) -> None:
        super().__init__(plan, books)
        self.engine, self.reader = engine, reader
        self.lost = 0
        "Steps that no worker could do."
        self.stretches = plan.stretches()
        self._open = len(plan.cut)
        self._reasons: dict[int, LeftOut] = {}
        "Why steps are left out, by their places."

    @property
    def not_reached(self) -> int:
        """The number of steps that nobody came to read."""
        return self._open

    def run(self, advance: Callable[[int], None] = lambda steps: None) -> None:
        """Have all steps scored; `advance` is called with the number of those that were.

        However it ends, all that came is kept.
        """
        found, following = dict[int, PieceDone](), 0
        try:
            for piece in spread(self.engine, work, self._pieces()):
                found[piece.number] = piece
                while following in found:
                    self._keep(found.pop(following))
                    following += 1
                advance(len(self.stretches[piece.number]))
        finally:
            for number in sorted(found):
                self._keep(found[number])
            self._sum_up()

    def _pieces(self) -> list[str]:
        known = _ScoresByOutcome(self.plan)
        pieces = []
        for steps in self.stretches:
            log, task, *_ = steps[0]
            versions = [step.version for step in steps]
            scores = known.of(self.books[log], {step.outcome: None for step in steps})
            stamp = self.plan.stamps[log][task]
            pieces.append(
                score_piece(log, task, stamp, versions, self.plan.settings, self.reader, scores)
            )
        return pieces

    def _keep(self, piece: PieceDone) -> None:
        """Keep the scores of a stretch, and note what was not scored."""
        steps = self.stretches[piece.number]
        log, task, *_ = steps[0]
        self._open -= len(steps)
        names = {self.plan.left_out[step.place].step: step.place for step in steps}
        if piece.failed:
            self.lost += len(steps)
            self.failed += [LeftOut(name, f"{shown(log)}: {piece.failed}") for name in names]
            return
        found, book = stretch_of(piece.result), self.books[log]
        for data in found.facts:
            fact = Scored.model_validate(data)
            if not book.knows(fact):
                book.keep(task, fact)
        self.plan.jobs += found.jobs
        self.failed += found.failed
        self._open += found.waiting
        self._reasons |= {names[out.step]: out for out in found.left_out}

    def _sum_up(self) -> None:
        """Take the scores of all steps from where they are kept."""
        reasons, places = self._reasons, {step.place for step in self.plan.cut}
        self.plan.left_out = [
            reasons.get(number, out)
            for number, out in enumerate(self.plan.left_out)
            if number in reasons or number not in places
        ]
        self.waiting = list(self.plan.jobs)
        super().run()


class _ScoresByOutcome:
    """The scores that a plan's model gave, by the digests of what it read."""

    def __init__(self, plan: ScorePlan) -> None:
        self._reader = plan.reader.model, plan.reader.template
        self._found: dict[int, dict[str, list[dict[str, Any]]]] = {}

    def of(self, book: ScoreBook, outcomes: Iterable[str]) -> list[dict[str, Any]]:
        """Return the scores of some outcomes in a book, as they are stored."""
        found = self._found.get(id(book.known))
        if found is None:  # several logs may keep theirs in one file
            found = self._found[id(book.known)] = {}
            for key, fact in book.known.items():
                if key[:2] == self._reader:
                    found.setdefault(key.outcome, []).append(fact.data)
        return [data for outcome in outcomes for data in found.get(outcome, ())]
