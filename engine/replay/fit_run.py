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
from backcast.engine.replay.fit_items import MOST, NAMES, ItemPlan, planned_items
from backcast.engine.replay.fit_search import PolicyMove, SearchResult, searched
from backcast.engine.replay.fit_steps import StepList, held_of
from backcast.engine.replay.kept_scores import ScoreBook, ScoreKey
from backcast.engine.replay.score import ScorePlan
from backcast.engine.replay.score_jobs import LeftOut, StepScore, draw
from backcast.engine.replay.score_run import Scoring
from backcast.engine.replay.score_summary import PolicyScore, score_summary

ENOUGH = 8
"Steps that must be held out for a policy to be judged, and as many to fit it on."
LEAST_SAMPLE = next(n for n in range(ENOUGH, 99) if min(n - held_of(n), held_of(n)) >= ENOUGH)
"The smallest sample that can hold both."
ITEMS_SHARE = 0.4
"The share of the time in which single texts are read, at most."
JUDGED_SHARE = 0.4
"The share of the time that is kept for the steps held out, at most."

Advance = Callable[[int], None]
ReadAhead = Callable[[Sequence[ScorePlan], Advance], None]


class FitCost(NamedTuple):
    """What a fit will take."""

    items: int
    "Prompts that show a single text, or none, and were never read."
    item_tokens: int
    whole: int
    "Whole prompts of the policy that it begins with, which were never read."
    whole_tokens: int
    trial_tokens: int
    "Tokens of all training steps under one other policy, about."
    judged_tokens: int
    "Tokens of all steps held out under one policy, about."
    enough_training: float = 0.0
    "Tokens to be read for `ENOUGH` training steps under that policy, about."
    enough_judged: float = 0.0
    "Tokens to be read for `ENOUGH` steps held out under two policies, about."

    def seconds(self, token: float) -> float:
        """Return the least time for enough steps, about, where a token takes so many seconds."""
        searched, training = 1 - JUDGED_SHARE, self.enough_training * token
        # Single texts come first, and leave the training steps some of the time before the rest.
        fitted = min(
            (training + self.item_tokens * token) / searched,
            training / (searched - ITEMS_SHARE),
        )
        return max(fitted, self.enough_judged * token / JUDGED_SHARE)


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
                f" one side as a whole){''.join(reasons)}"
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
        single = [item.plan.to_read(self.books) for item in self.items]
        begun, judged = self.begun.to_read(self.books), self.judged.to_read(self.books)
        whole = begun | judged
        # What was read before is not read again; the steps held out are also read as fitted.
        fitted = ENOUGH * _tokens(self.judged) / len(known.held_out)
        return FitCost(
            sum(map(len, single)), sum(sum(sizes.values()) for sizes in single),
            len(whole), sum(whole.values()), _tokens(self.begun), _tokens(self.judged),
            _enough(begun, len(known.training)), _enough(judged, len(known.held_out)) + fitted,
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
            return FitResult(likeness, search, (), self.reached, 0, _nothing_kept(search))
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
        begun = self._read(self.begun, self._until(1 - JUDGED_SHARE), advance)
        keys = {(step.job.log, step.job.task, step.job.version) for step in begun.steps}
        steps = [found for found in self.known.training if found.key in keys]
        self.reached = len(steps)
        if len(steps) < ENOUGH:
            raise _late(len(steps), "training")
        say(f"{self.base.name}: {_mean(begun.steps):.3f} nats per token on {len(steps)} steps")

        def mean_of(move: PolicyMove) -> float | None:
            setting = Setting(f"{self.base.name}, {move.name}", move.policy)
            plan = self.known.under([setting], steps)
            found = self._read(plan, self._reserved(), advance)
            self.late = self.late or bool(found.waiting)
            if len(found.steps) < len(steps):
                return None
            mean = _mean(found.steps)
            say(f"{move.name}: {mean:.3f} nats per token on {len(steps)} training steps")
            return mean

        return searched(
            self.base, likeness.weights if likeness else None, _mean(begun.steps), mean_of,
            lambda: not self.late and monotonic() < self._reserved(),
        )  # fmt: skip

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
        wanted = 2 * _tokens(self.judged) * (monotonic() - self.begin) / max(1, self.read_tokens)
        return self._until(1.0) - min(JUDGED_SHARE * self.seconds, wanted)

    def _read(self, plan: ScorePlan, until: float, advance: Advance) -> Scoring:
        """Read a plan until a moment; steps are then taken by lot."""
        seconds = None if math.isinf(until) else max(0.0, until - monotonic())
        self._ahead([plan], advance)
        scoring = Scoring(plan, self.books, seconds)
        scoring.run(advance)
        self.known.left_out += [out for out in scoring.failed if out not in self.known.left_out]
        return scoring


def _tokens(plan: ScorePlan) -> int:
    return sum(sum(job.tokens) for job in plan.jobs)


def _enough(unread: Mapping[ScoreKey, int], steps: int) -> float:
    """Return the tokens of the prompts that are still to be read until `ENOUGH` steps are."""
    if not unread:
        return 0.0
    return max(0, ENOUGH - (steps - len(unread))) * sum(unread.values()) / len(unread)


def _mean(steps: Sequence[StepScore]) -> float:
    """Return the mean over steps of the nats per token of their new lines."""
    sums = [step.sums(0, new=True) for step in steps]
    return float(np.mean([line.nats / line.tokens for line in sums if line.tokens]))


def _late(steps: int, which: str) -> InputError:
    return InputError(
        f"needed {ENOUGH} {which} steps or more within the time, reached {steps}: run it again"
        " (what was read is kept), or with more --seconds"
    )


def _nothing_kept(search: SearchResult) -> str:
    read = [trial for trial in search.trials if trial.mean is not None]
    nearest = min(read, key=lambda trial: (trial.mean or 0.0, trial.name), default=None)
    beside = "" if nearest is None else f", {nearest.name} {nearest.mean:.3f}"
    return (
        f"of {len(search.trials)} settings none made the training steps likelier: nats per token"
        f" {search.begun:.3f} as they were{beside}"
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
