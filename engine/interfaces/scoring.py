"""Scoring as commands begin it: who reads, what it will take, and how far it has come."""

from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from backcast.domain.errors import InputError, ModelError
from backcast.engine.interfaces.addresses import UNREADABLE
from backcast.engine.interfaces.terminal import message, progress_bar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backcast.engine.interfaces.log_shelf import LogShelf
    from backcast.engine.log.open_logs import Log
    from backcast.engine.models.reading import OutcomeReader
    from backcast.engine.replay.corpus import Setting
    from backcast.engine.replay.kept_scores import ScoreBook
    from backcast.engine.replay.score import ScorePlan
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
        from backcast.engine.models.likelihood import LikelihoodReader
        from backcast.engine.models.server_likelihood import ServerReader
        from backcast.engine.replay.score import profile_of, reading_profile

        if self.model.strip().partition(":")[0].lower() in ("http", "https"):
            try:
                server = ServerReader(self.model)
            except ModelError as error:
                raise InputError(str(error)) from None
            profile_of(server, self.context_tokens)  # or it says why not
            return server
        path = _file_of(self.model)
        window = reading_profile(path, self.context_tokens).window
        return LikelihoodReader(path, window, threads=self.threads)

    def scored(
        self, reader: "OutcomeReader", logs: "LogShelf", settings: "Sequence[Setting]"
    ) -> "tuple[Scoring, bool]":
        """Read what was never read; return the scores, and whether Ctrl-C ended it.

        `InputError` where no step has an outcome that can be read.
        """
        plan = self.plan(reader, settings)
        self.take(plan, logs)
        return self.read(plan, logs.logs)

    def take(self, plan: "ScorePlan", logs: "LogShelf") -> None:
        """Add the steps of some logs to a plan; end where none of the logs can be read."""
        with logs.progress(self.sample) as advance:
            plan.add(logs, self.sample, advance, logs.keep)
        if not logs.read:
            raise SystemExit(UNREADABLE)  # the reasons are on stderr

    def plan(self, reader: "OutcomeReader", settings: "Sequence[Setting]") -> "ScorePlan":
        """Return a plan without steps."""
        from backcast.engine.replay.score import ScorePlan, profile_of

        return ScorePlan(reader, settings, profile_of(reader, self.context_tokens))

    def read(self, plan: "ScorePlan", logs: "Sequence[Log]") -> "tuple[Scoring, bool]":
        """Read what of a plan was never read; return the scores, and whether Ctrl-C ended it."""
        from backcast.engine.replay.kept_scores import score_books

        return _scored(plan, score_books(logs, self.scores), self.seconds)


def _file_of(name: str) -> Path:
    """Return the file of a model that reads; `InputError` where it is none."""
    from backcast.engine.models.address import shown
    from backcast.engine.models.places import model_file

    kind, _, place = name.partition(":")
    if kind != "llama" or not place:
        raise InputError(f"needed llama:FILE or http://HOST:PORT/v1, found {shown(name)!r}")
    return model_file(place)


def _scored(
    plan: "ScorePlan", books: "dict[str, ScoreBook]", seconds: float | None
) -> "tuple[Scoring, bool]":
    from backcast.engine.replay.score_run import Scoring

    if not plan.jobs:
        reasons = [f"{step.step}: {step.reason}" for step in plan.left_out[:1]]
        reasons = reasons or ["found none"]
        raise InputError(f"needed a step whose outcome can be read: {reasons[0]}")
    waiting = plan.to_read(books)
    scoring = Scoring(plan, books, seconds)
    prompts, tokens = len(plan.jobs) * len(plan.settings), sum(waiting.values())
    message(
        f"{prompts} prompts of {len(plan.jobs)} steps: {len(waiting)} differ and were never read,"
        f" {tokens:,} tokens at most"
    )
    begun = monotonic()
    read, unkept = 0, list[str]()
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
            for reason in {book.unkept: 0 for book in books.values() if book.unkept}:
                if reason not in unkept:
                    unkept.append(reason)
                    message(f"note: the scores are printed, and not kept: {reason}")

        try:
            scoring.run(advance)
        except KeyboardInterrupt:
            return scoring, True
    return scoring, False


def duration(seconds: float) -> str:
    """Return some seconds as people say them."""
    if seconds < MINUTE:
        return f"{max(1, round(seconds))} seconds"
    return f"{seconds / 60:,.0f} minutes"
