"""Scoring as commands begin it: who reads, what it will take, and how far it has come."""

import os
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic, process_time
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from backcast.domain.errors import InputError
from backcast.engine.interfaces.addresses import UNREADABLE
from backcast.engine.interfaces.terminal import message, progress_bar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from backcast.engine.interfaces.log_shelf import LogShelf
    from backcast.engine.log.engines import WorkEngine
    from backcast.engine.models.reading import OutcomeReader
    from backcast.engine.replay.corpus import ReplayRun, Setting
    from backcast.engine.replay.kept_scores import ScoreBook
    from backcast.engine.replay.score import ScorePlan
    from backcast.engine.replay.score_elsewhere import ScoringElsewhere
    from backcast.engine.replay.score_run import Scoring

SOON = 3.0
"Seconds of reading after which its pace is known."
MINUTE = 90
"Seconds from which a time is said in minutes."
WITHOUT_WEIGHTS = (
    "note: 'copy' has no weights: what could be copied out of the prompt costs little, all else the"
    " same whatever it is"
)


class Reading(NamedTuple):
    """Settings of a scoring, as options name them."""

    model: str
    context_tokens: int | None = None
    sample: int | None = None
    seconds: float | None = None
    threads: int | None = None
    scores: Path | None = None
    last: int | None = None
    "Changes of each history, the last ones; None for all."
    runs: "tuple[ReplayRun, ...] | None" = None
    "Nothing but their steps; None for all."

    def reader(self) -> "OutcomeReader":
        """Load the model that reads, or meet its server; `InputError` where that cannot be."""
        from backcast.engine.models.copying import COPY
        from backcast.engine.replay.readers import reader_of

        if self.model == COPY:
            message(WITHOUT_WEIGHTS)
        return reader_of(self.model, self.context_tokens, self.threads)

    def scored(
        self, reader: "OutcomeReader", logs: "LogShelf", settings: "Sequence[Setting]"
    ) -> "tuple[Scoring, bool]":
        """Read what was never read; return the scores, and whether Ctrl-C ended it.

        `InputError` where no step has an outcome that can be read.
        """
        from backcast.engine.replay.kept_scores import score_books

        plan = self.plan(reader, settings)
        if self.seconds is not None:
            return self._scored_in_time(plan, logs, self.seconds)
        self.take(plan, logs)
        return self.read(plan, score_books(logs.logs, self.scores))

    def _scored_in_time(
        self, plan: "ScorePlan", logs: "LogShelf", seconds: float
    ) -> "tuple[Scoring, bool]":
        """Build and read step by step until the time is up."""
        from backcast.engine.interfaces.bounded_scoring import scored_in_time
        from backcast.engine.replay.kept_scores import score_books
        from backcast.engine.replay.score_bounded import BoundedPlan

        bounded = BoundedPlan(plan, seconds)
        with logs.progress("steps looked at") as advance:
            bounded.add(logs, self.sample, advance, logs.keep)
        if not logs.read:
            raise SystemExit(UNREADABLE)  # the reasons are on stderr
        return scored_in_time(bounded, score_books(logs.logs, self.scores))

    def take(self, plan: "ScorePlan", logs: "LogShelf") -> None:
        """Add the steps of some logs to a plan; end where none of the logs can be read."""
        with ExitStack() as stack:

            @contextmanager
            def building(steps: int) -> "Iterator[Callable[[int], None]]":
                stack.close()
                with progress_bar("prompts built, steps", steps) as advance:
                    yield advance

            what = "steps looked at" if self.sample else "prompts built, steps"
            advance = stack.enter_context(logs.progress(what))
            plan.add(logs, self.sample, advance, logs.keep, building)
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
            refuse_nothing(plan)
        books = score_books(logs.logs, self.scores)
        threads = self.threads or threads_each(engine)
        scoring = ScoringElsewhere(plan, books, engine, sent(reader, self.context_tokens, threads))
        message(
            f"{len(plan.cut) * len(settings)} prompts of {len(plan.cut)} steps, in"
            f" {len(scoring.stretches)} pieces"
        )
        interrupted = _run_elsewhere(scoring)
        if not (interrupted or scoring.steps or scoring.failed):
            refuse_nothing(plan)
        return scoring, interrupted

    def plan(self, reader: "OutcomeReader", settings: "Sequence[Setting]") -> "ScorePlan":
        """Return a plan without steps."""
        from backcast.engine.replay.chosen_steps import StepChoice
        from backcast.engine.replay.score import ScorePlan, profile_of

        choice = StepChoice(self.last, self.runs)
        return ScorePlan(reader, settings, profile_of(reader, self.context_tokens), choice)

    def read(self, plan: "ScorePlan", books: "dict[str, ScoreBook]") -> "tuple[Scoring, bool]":
        """Read what of a plan was never read; return the scores, and whether Ctrl-C ended it."""
        return _scored(plan, books)


def _scored(plan: "ScorePlan", books: "dict[str, ScoreBook]") -> "tuple[Scoring, bool]":
    from backcast.engine.replay.score_run import Scoring

    if not plan.jobs:
        refuse_nothing(plan)
    waiting = plan.to_read(books)
    scoring = Scoring(plan, books)
    prompts, tokens = len(plan.jobs) * len(plan.settings), sum(waiting.values())
    message(
        f"{prompts} prompts of {len(plan.jobs)} steps: {len(waiting)} differ and were never read,"
        f" {tokens:,} tokens at most"
    )
    forecast, note_unkept = ReadingForecast(tokens), unkept_noted(scoring)
    with progress_bar("tokens", tokens) as bar:

        def advance(size: int) -> None:
            bar(size)
            forecast.add(size)
            note_unkept()

        try:
            scoring.run(advance)
        except KeyboardInterrupt:
            return scoring, True
    return scoring, False


class ReadingForecast:
    """How long reading takes, as far as what was read tells."""

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens
        self.read, self.begun, self.busy, self._said = 0, monotonic(), process_time(), False

    def add(self, size: int) -> None:
        """Count tokens that were read; once some time has passed, say how long the rest takes."""
        self.read += size
        spent = monotonic() - self.begun
        if self._said or not self.read or (spent < SOON and self.read < self.tokens / 10):
            return
        self._said = True
        if self.read < self.tokens:
            message(self._line(max(spent, 1e-3)))

    def _line(self, spent: float) -> str:
        pace = self.read / spent
        rest = duration((self.tokens - self.read) / pace)
        busy = little_time(spent, process_time() - self.busy)
        return f"about {rest} more, at {pace:,.0f} tokens a second{busy}"


def little_time(spent: float, busy: float) -> str:
    """Return that this process got little of the processor; empty where it got enough.

    >>> little_time(20.0, 3.0)
    ' (this process got 3 s of the processor in 20 s: others use it)'
    >>> little_time(20.0, 19.0)
    ''
    """
    if spent < SOON or busy > spent / 2:
        return ""
    return f" (this process got {busy:.0f} s of the processor in {spent:.0f} s: others use it)"


def refuse_nothing(plan: "ScorePlan") -> NoReturn:
    """Raise `InputError`, since a plan has no step that can be read."""
    reasons = [f"{step.step}: {step.reason}" for step in plan.left_out[:1]] or ["found none"]
    raise InputError(f"needed a step whose outcome can be read: {reasons[0]}")


def unkept_noted(scoring: "Scoring") -> "Callable[[], None]":
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
    note_unkept = unkept_noted(scoring)
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
