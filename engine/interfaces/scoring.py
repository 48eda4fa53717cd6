"""Scoring as commands begin it: who reads, what it will take, and how far it has come."""

import os
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from backcast.domain.errors import InputError
from backcast.engine.interfaces.addresses import UNREADABLE
from backcast.engine.interfaces.terminal import message, progress_bar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from backcast.engine.interfaces.log_shelf import LogShelf
    from backcast.engine.log.engines import WorkEngine
    from backcast.engine.models.reading import OutcomeReader
    from backcast.engine.replay.corpus import Setting
    from backcast.engine.replay.kept_scores import ScoreBook
    from backcast.engine.replay.score import ScorePlan
    from backcast.engine.replay.score_elsewhere import ScoringElsewhere
    from backcast.engine.replay.score_run import Scoring

MINUTE = 90
"Seconds from which a time is said in minutes."


class Reading(NamedTuple):
    """Settings of a scoring, as options name them."""

    model: str
    context_tokens: int | None = None
    sample: int | None = None
    seconds: float | None = None
    threads: int | None = None
    scores: Path | None = None

    def reader(self) -> "OutcomeReader":
        """Load the model that reads, or meet its server; `InputError` where that cannot be."""
        from backcast.engine.replay.readers import reader_of

        return reader_of(self.model, self.context_tokens, self.threads)

    def scored(
        self, reader: "OutcomeReader", logs: "LogShelf", settings: "Sequence[Setting]"
    ) -> "tuple[Scoring, bool]":
        """Read what was never read; return the scores, and whether Ctrl-C ended it.

        `InputError` where no step has an outcome that can be read.
        """
        from backcast.engine.replay.kept_scores import score_books

        plan = self.plan(reader, settings)
        self.take(plan, logs)
        return self.read(plan, score_books(logs.logs, self.scores))

    def take(self, plan: "ScorePlan", logs: "LogShelf") -> None:
        """Add the steps of some logs to a plan; end where none of the logs can be read."""
        with logs.progress(self.sample) as advance:
            plan.add(logs, self.sample, advance, logs.keep)
        if not logs.read:
            raise SystemExit(UNREADABLE)  # the reasons are on stderr

    def scored_on(
        self, engine: "WorkEngine", reader: "OutcomeReader", logs: "LogShelf",
        settings: "Sequence[Setting]",
    ) -> "tuple[ScoringElsewhere, bool]":  # fmt: skip
        """Do the same by the workers of an engine."""
        from backcast.engine.replay.kept_scores import score_books
        from backcast.engine.replay.readers import sent
        from backcast.engine.replay.score_elsewhere import CutPlan, ScoringElsewhere

        plan = CutPlan(self.plan(reader, settings))
        self.take(plan, logs)
        if not plan.cut:
            _refuse_nothing(plan)
        books = score_books(logs.logs, self.scores)
        threads = self.threads or threads_each(engine)
        scoring = ScoringElsewhere(plan, books, engine, sent(reader, self.context_tokens, threads))
        message(
            f"{len(plan.cut) * len(settings)} prompts of {len(plan.cut)} steps, in"
            f" {len(scoring.stretches)} pieces"
        )
        interrupted = _run_elsewhere(scoring)
        if not (interrupted or scoring.steps or scoring.failed):
            _refuse_nothing(plan)
        return scoring, interrupted

    def plan(self, reader: "OutcomeReader", settings: "Sequence[Setting]") -> "ScorePlan":
        """Return a plan without steps."""
        from backcast.engine.replay.score import ScorePlan, profile_of

        return ScorePlan(reader, settings, profile_of(reader, self.context_tokens))

    def read(self, plan: "ScorePlan", books: "dict[str, ScoreBook]") -> "tuple[Scoring, bool]":
        """Read what of a plan was never read; return the scores, and whether Ctrl-C ended it."""
        return _scored(plan, books, self.seconds)


def _scored(
    plan: "ScorePlan", books: "dict[str, ScoreBook]", seconds: float | None
) -> "tuple[Scoring, bool]":
    from backcast.engine.replay.score_run import Scoring

    if not plan.jobs:
        _refuse_nothing(plan)
    waiting = plan.to_read(books)
    scoring = Scoring(plan, books, seconds)
    prompts, tokens = len(plan.jobs) * len(plan.settings), sum(waiting.values())
    message(
        f"{prompts} prompts of {len(plan.jobs)} steps: {len(waiting)} differ and were never read,"
        f" {tokens:,} tokens at most"
    )
    begun = monotonic()
    read, note_unkept = 0, _unkept_noted(scoring)
    with progress_bar("tokens", tokens) as bar:

        def advance(size: int) -> None:
            nonlocal read
            if not read and size < tokens:
                taken = max(monotonic() - begun, 1e-3)
                message(
                    f"about {duration((tokens - size) * taken / size)} more, at"
                    f" {size / taken:,.0f} tokens a second"
                )
            read += size
            bar(size)
            note_unkept()

        try:
            scoring.run(advance)
        except KeyboardInterrupt:
            return scoring, True
    return scoring, False


def _refuse_nothing(plan: "ScorePlan") -> NoReturn:
    """Raise `InputError`, since a plan has no step that can be read."""
    reasons = [f"{step.step}: {step.reason}" for step in plan.left_out[:1]] or ["found none"]
    raise InputError(f"needed a step whose outcome can be read: {reasons[0]}")


def _unkept_noted(scoring: "Scoring") -> "Callable[[], None]":
    """Return what notes why new scores are not kept, each reason once."""
    noted = set[str]()

    def note() -> None:
        for reason in {book.unkept: 0 for book in scoring.books.values() if book.unkept}:
            if reason not in noted:
                noted.add(reason)
                message(f"note: the scores are printed, and not kept: {reason}")

    return note


def _run_elsewhere(scoring: "ScoringElsewhere") -> bool:
    """Have steps scored by workers; return whether Ctrl-C ended it."""
    note_unkept = _unkept_noted(scoring)
    with progress_bar("steps", scoring.not_reached) as bar:

        def advance(steps: int) -> None:
            bar(steps)
            note_unkept()

        try:
            scoring.run(advance)
        except KeyboardInterrupt:
            return True
    return False


def threads_each(engine: "WorkEngine") -> int | None:
    """Return the threads of each worker that shares this machine; None where it has its own."""
    from backcast.engine.models.threads import VARIABLE, threads_free

    if not engine.sure or os.environ.get(VARIABLE):
        return None
    return max(1, threads_free() // engine.parallel)


def duration(seconds: float) -> str:
    """Return some seconds as people say them."""
    if seconds < MINUTE:
        return f"{max(1, round(seconds))} seconds"
    return f"{seconds / 60:,.0f} minutes"
