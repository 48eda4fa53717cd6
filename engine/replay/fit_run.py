"""Fit a policy to a reader: single texts first, then whole prompts, then steps held out.

What is read is kept at once, so that this can be ended at any moment and goes on from there. The
scores decide on settings for later prompts; no prompt of these steps is built from them.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import NamedTuple

import numpy as np

from backcast.domain.errors import BackcastError, InputError
from backcast.domain.policy import Policy
from backcast.engine.replay.corpus import Setting
from backcast.engine.replay.fit import ItemWorth, LikenessFit, fitted_likeness
from backcast.engine.replay.fit_cost import (
    BEGUN_SHARE,
    ENOUGH,
    ITEMS_SHARE,
    JUDGED_SHARE,
    FitCost,
    tokens_for_enough,
)
from backcast.engine.replay.fit_items import MOST, NAMES, ItemPlan, planned_items
from backcast.engine.replay.fit_search import LEAST, PolicyMove, SearchResult, searched
from backcast.engine.replay.fit_steps import StepList
from backcast.engine.replay.kept_scores import ScoreBook
from backcast.engine.replay.score import ScorePlan
from backcast.engine.replay.score_jobs import LeftOut, StepScore, draw
from backcast.engine.replay.score_run import Scoring
from backcast.engine.replay.score_summary import PolicyScore, score_summary

Advance = Callable[[int], None]
ReadAhead = Callable[[Sequence[ScorePlan], Advance], None]


class FitResult(NamedTuple):
    """What was fitted, and how it does on steps that it was not fitted on."""

    likeness: LikenessFit | None
    search: SearchResult
    scores: tuple[PolicyScore, ...]
    "On steps held out: of the base, and of the policy fitted; empty where nothing was kept."
    training: int
    judged: int
    refusal: str
    "Why nothing was learned; empty where something was."
    late: bool = False
    "Whether that is for want of time alone."


class PolicyFit:
    """A fit, as far as it has come."""

    def __init__(
        self, known: StepList, base: Policy, books: Mapping[str, ScoreBook],
        seconds: float | None = None, ahead: ReadAhead = lambda plans, advance: None,
    ) -> None:  # fmt: skip
        """`known` has the steps; `InputError` where they are too few to learn, or to judge.

        `ahead` is called with what is about to be read, in that order: what it keeps of it in the
        books is not read again.
        """
        self.known, self.base, self.books, self.seconds = known, base, books, seconds
        self._ahead = ahead
        self.items: list[ItemPlan] = []
        self.begun: ScorePlan | None = None
        self.judged: ScorePlan | None = None
        self.begin, self.read_tokens, self.reached = monotonic(), 0, 0
        self.late = False
        "Whether the time for the search is up: what is kept for later changes with the pace."
        self._check()

    def _check(self) -> None:
        training, held_out = len(self.known.training), len(self.known.held_out)
        if training < ENOUGH or held_out < ENOUGH:
            reasons = [f"; {out.step}: {out.reason}" for out in self.known.left_out[:1]]
            raise InputError(
                f"needed {ENOUGH} steps or more to fit on and {ENOUGH} to judge by, whose outcome"
                f" has new lines, found {training} and {held_out} (a run is on"
                f" one side as a whole){_more_runs(training, held_out)}{''.join(reasons)}"
            )

    def plan(self, advance: Advance = lambda steps: None) -> FitCost:
        """Build the first prompts, and return what reading will take; call it once."""
        known, setting = self.known, [Setting(self.base.name, self.base)]
        self.begun = known.under(setting, known.training)
        self.judged = known.under(setting, known.held_out)
        known.keep(self.begun, self.judged)
        self._check()
        for found in known.training:
            try:
                item = planned_items(known, found, self.base, MOST)
            except BackcastError as error:
                known.left_out.append(LeftOut(f"{found.place}, its items", str(error)))
            else:
                self.items += [item] if item else []
            advance(1)
        return self.cost()

    def cost(self) -> FitCost:
        """Return what reading will take that was not read yet, once it is planned."""
        known = self.known
        assert self.begun is not None, "it is planned first"
        assert self.judged is not None, "it is planned first"
        single = [item.plan.to_read(self.books) for item in self.items]
        begun, judged = self.begun.to_read(self.books), self.judged.to_read(self.books)
        whole = begun | judged
        # What was read before is not read again; the steps held out are also read as fitted.
        fitted = ENOUGH * _tokens(self.judged) / len(known.held_out)
        return FitCost(
            sum(map(len, single)), sum(sum(sizes.values()) for sizes in single),
            len(whole), sum(whole.values()), _tokens(self.begun), _tokens(self.judged),
            tokens_for_enough(begun, len(known.training)),
            tokens_for_enough(judged, len(known.held_out)) + fitted,
            ENOUGH * _tokens(self.begun) / len(known.training),
        )  # fmt: skip

    def run(
        self, advance: Advance = lambda tokens: None, say: Callable[[str], None] = lambda text: None
    ) -> FitResult:
        """Read, fit and judge; `advance` is called with the tokens of each prompt.

        `say` is called with what was found on the way. `InputError` where too few steps were
        reached within the time.
        """

        def read(tokens: int) -> None:
            self.read_tokens += tokens
            advance(tokens)

        self.begin = monotonic()
        likeness = fitted_likeness(NAMES, self._worths(read), self.base.likeness)
        if likeness:
            say(f"weights of likeness fitted to {likeness.items} texts of {likeness.steps} steps")
        search = self._searched(likeness, read, say)
        if search.policy == self.base:
            late, reason = bool(search.untried), _nothing_kept(search)
            return FitResult(likeness, search, (), self.reached, 0, reason, late)
        scores, steps = self._compared(search.policy, read)
        refusal = _no_better(scores, steps)
        return FitResult(likeness, search, tuple(scores), self.reached, steps, refusal)

    def _worths(self, advance: Advance) -> list[ItemWorth]:
        until = self._until(ITEMS_SHARE)
        found = list[ItemWorth]()
        # By lot, so that those within the time are a sample.
        items = sorted(self.items, key=lambda item: draw(item.plan.jobs[0]))
        assert self.begun is not None, "it is planned first"
        self._ahead([*(item.plan for item in items), self.begun], advance)
        for item in items:
            for step in self._read(item.plan, until, advance).steps:
                found += item.worths(step)
        return found

    def _searched(
        self, likeness: LikenessFit | None, advance: Advance, say: Callable[[str], None]
    ) -> SearchResult:
        assert self.begun is not None, "it is planned first"
        begun = self._read(self.begun, self._until(BEGUN_SHARE), advance)
        if len(begun.steps) < ENOUGH:  # all else waits for these
            begun = self._read(self.begun, self._until(1.0), advance)
        if len(begun.steps) < ENOUGH:
            raise _late(len(begun.steps), "training")
        chosen = sorted(begun.steps, key=lambda step: draw(step.job))[: self._within(begun.steps)]
        keys = {(step.job.log, step.job.task, step.job.version) for step in chosen}
        steps = [found for found in self.known.training if found.key in keys]
        self.reached = len(steps)
        mean_begun, known = _mean(chosen), list[float]()
        say(f"{self.base.name}: {mean_begun:.3f} nats per token on {len(steps)} steps")

        def until() -> float:
            """Return when the search ends: before there is anything to judge, it has all time."""
            best = min(known, default=math.inf)
            return self._reserved() if best < mean_begun * (1 - LEAST) else self._until(1.0)

        def mean_of(move: PolicyMove) -> float | None:
            setting = Setting(f"{self.base.name}, {move.name}", move.policy)
            plan = self.known.under([setting], steps)
            found = self._read(plan, until(), advance)
            self.late = self.late or bool(found.waiting)
            if len(found.steps) < len(steps):
                return None
            known.append(_mean(found.steps))
            say(f"{move.name}: {known[-1]:.3f} nats per token on {len(steps)} training steps")
            return known[-1]

        return searched(
            self.base, likeness.weights if likeness else None, mean_begun, mean_of,
            lambda: not self.late and monotonic() < until(),
        )  # fmt: skip

    def _within(self, steps: Sequence[StepScore]) -> int:
        """Return on how many training steps one setting can be tried in the time for the search."""
        if self.seconds is None or not self.read_tokens:
            return len(steps)
        pace = self.read_tokens / max(1e-6, monotonic() - self.begin)
        mean = sum(step.job.tokens[0] for step in steps) / len(steps)
        return max(ENOUGH, int((self._reserved() - monotonic()) * pace / mean))

    def _compared(self, policy: Policy, advance: Advance) -> tuple[list[PolicyScore], int]:
        names = [self.base.name, "fitted"]
        settings = [Setting(names[0], self.base), Setting(names[1], policy)]
        plan = self.known.under(settings, self.known.held_out)
        steps = self._read(plan, self._until(1.0), advance).steps
        if len(steps) < ENOUGH:
            raise _late(len(steps), "held-out")
        return score_summary(steps, names), len(steps)

    # Time

    def _until(self, share: float) -> float:
        return math.inf if self.seconds is None else self.begin + share * self.seconds

    def _reserved(self) -> float:
        """Return the moment at which the search ends, for the steps held out to be read."""
        if self.seconds is None or self.judged is None:
            return math.inf
        pace = (monotonic() - self.begin) / max(1, self.read_tokens)
        wanted = 2 * _tokens(self.judged) * pace
        return self._until(1.0) - min(JUDGED_SHARE * self.seconds, wanted)

    def _read(self, plan: ScorePlan, until: float, advance: Advance) -> Scoring:
        """Read a plan until a moment; steps are then taken by lot."""
        seconds = None if math.isinf(until) else max(0.0, until - monotonic())
        self._ahead([plan], advance)
        scoring = Scoring(plan, self.books, seconds)
        scoring.run(advance)
        self.known.left_out += [out for out in scoring.failed if out not in self.known.left_out]
        return scoring


def _more_runs(training: int, held_out: int) -> str:
    """Return what to do where one side has nothing."""
    if training and held_out:
        return ""
    return ": give one more run or history at least, better some, so that both sides have steps"


def _tokens(plan: ScorePlan) -> int:
    return sum(sum(job.tokens) for job in plan.jobs)


def _mean(steps: Sequence[StepScore]) -> float:
    """Return the mean over steps of the nats per token of their new lines."""
    sums = [step.sums(0, new=True) for step in steps]
    return float(np.mean([line.nats / line.tokens for line in sums if line.tokens]))


class TimeIsUpError(InputError):
    """The end of a time in which too few steps were read."""


def _late(steps: int, which: str) -> TimeIsUpError:
    return TimeIsUpError(
        f"needed {ENOUGH} {which} steps or more within the time, reached {steps}: what was read is"
        " kept, and the same command goes on from there"
    )


def _nothing_kept(search: SearchResult) -> str:
    late = f"{len(search.untried)} were not tried for want of time" if search.untried else ""
    read = [trial for trial in search.trials if trial.mean is not None]
    if not read and late:
        return f"no setting was tried to its end, {late}, so nothing can be said yet"
    nearest = min(read, key=lambda trial: (trial.mean or 0.0, trial.name), default=None)
    beside = "" if nearest is None else f", {nearest.name} {nearest.mean:.3f}"
    return (
        f"of {len(read)} setting{'s' * (len(read) != 1)} that could be read none made the training"
        f" steps likelier: nats per token {search.begun:.3f} as they were{beside}"
        f"{'; ' if late else ''}{late}"
    )


def _no_better(scores: Sequence[PolicyScore], steps: int) -> str:
    """Return why a policy is not better than its base; empty where it is."""
    base, fitted = scores
    beside = fitted.beside
    if beside is not None and beside.per_step < 0:
        return ""
    sure = beside.step_interval if beside else None
    bounds = "" if sure is None else " (95 % {:+.3f} to {:+.3f})".format(*sure)
    by = beside.per_step if beside else 0.0
    return (
        f"on {steps} steps held out, nats per token {base.new.per_step:.3f} under"
        f" {base.name} and {fitted.new.per_step:.3f} as fitted: {by:+.3f}{bounds}"
    )
