"""Scoring within a time, as commands begin it: what was read so far, and how far the time goes."""

from time import monotonic, process_time
from typing import TYPE_CHECKING

from backcast.engine.interfaces.scoring import (
    SOON,
    duration,
    little_time,
    refuse_nothing,
    unkept_noted,
)
from backcast.engine.interfaces.terminal import message, progress_bar

if TYPE_CHECKING:
    from collections.abc import Callable

    from backcast.engine.replay.kept_scores import ScoreBook
    from backcast.engine.replay.score_bounded import BoundedPlan, BoundedScoring


def scored_in_time(
    plan: "BoundedPlan", books: "dict[str, ScoreBook]"
) -> "tuple[BoundedScoring, bool]":
    """Build and read step by step; return the scores, and whether Ctrl-C ended it.

    `InputError` where no step has an outcome that can be read.
    """
    from backcast.engine.replay.score_bounded import BoundedScoring

    scoring, steps = BoundedScoring(plan, books), plan.not_built
    if steps:
        message(
            f"{steps} step{'s' * (steps > 1)}, by lot: the prompts of each are built and read until"
            f" {plan.seconds:g} s are over"
        )
    progress = _Progress(scoring, steps)
    with progress_bar("steps", steps, ends=scoring.until) as bar:
        try:
            scoring.run(progress.advance(bar))
        except KeyboardInterrupt:
            return scoring, True
    if not (plan.jobs or plan.not_built):
        refuse_nothing(plan)
    if scoring.not_reached and not scoring.steps and not scoring.failed:
        message(progress.unread())
    return scoring, False


class _Progress:
    """How far reading has come, and how far the time will let it come."""

    def __init__(self, scoring: "BoundedScoring", steps: int) -> None:
        self.scoring, self.steps = scoring, steps
        self.tokens = self.shown = 0
        self.begun, self.busy, self.is_said = monotonic(), process_time(), False

    def advance(self, bar: "Callable[[int], None]") -> "Callable[[int], None]":
        """Return what counts tokens that were read, and shows the steps that are done."""
        note_unkept = unkept_noted(self.scoring)

        def advance(tokens: int) -> None:
            self.tokens += tokens
            done = self.steps - self.scoring.not_reached
            bar(done - self.shown)
            self.shown = done
            spent = monotonic() - self.begun
            if not self.is_said and done and spent > SOON:
                self.is_said = True
                message(self._line(done, spent))
            note_unkept()

        return advance

    def _line(self, done: int, spent: float) -> str:
        rest = max(0.0, self.scoring.until - monotonic())
        within = min(self.steps, int(done + rest * done / spent))
        return (
            f"{duration(rest)} more at most: about {within} of {self.steps} steps, at"
            f" {self.tokens / spent:,.0f} tokens a second"
            f"{little_time(spent, process_time() - self.busy)}"
        )

    def unread(self) -> str:
        """Return why nothing was read in the time, and which time a step takes."""
        took = ""
        if self.tokens and self.scoring.waiting:
            job, spent = self.scoring.waiting[0], monotonic() - self.begun
            whole = max(job.tokens) + sum(job.tokens[1:]) // 2  # prompts begin alike
            took = f": a step takes about {duration(whole * spent / self.tokens)}"
        return (
            f"nothing was read in {self.scoring.plan.seconds:g} s{took}: needed more --seconds, or"
            " prompts of fewer --context-tokens"
        )
