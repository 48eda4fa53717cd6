"""Sum up scores: nats per token of each policy, and paired differences to the first policy.

Intervals are by bootstrap over recorded runs, or over the changes of a history.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from backcast.engine.log.remote import shown
from backcast.engine.replay.score_jobs import StepScore

DRAWS, SEED = 2_000, 0
"Bootstrap samples, and the seed of the generator."
LEAST_UNITS = 6
"""Runs or changes from which on there is an interval: of fewer, even if all agree, that is not
certain at 95 % (of five that agree by chance alone, 2 * 0.5 ** 5 = 6 % would)."""
SAME = 1e-6
"Nats per token by which two scores may differ, and count as the same."
LEFT = 0.5
"The part of a difference that has to be left without the step that does most for it."
MOST = 3
"Steps that are named."


class ScoreMean(NamedTuple):
    """The likelihood of all outcomes under one policy."""

    tokens: int
    nats: float
    per_step: float
    "The mean over the steps of their nats per token."

    @property
    def per_token(self) -> float:
        """Nats per token, over all tokens."""
        return self.nats / self.tokens if self.tokens else 0.0


class DifferenceRest(NamedTuple):
    """A difference without the step that does most for its sign."""

    value: float
    interval: tuple[float, float]


class StepShare(NamedTuple):
    """What one step does for a difference."""

    step: str
    target: str
    log: str
    "As messages name it."
    task: str
    version: int
    nats: float
    "By which its new lines got less likely."


class ScoreDifference(NamedTuple):
    """A policy against the first one, step by step: negative where it makes outcomes likelier."""

    per_token: float
    interval: tuple[float, float] | None
    "95 % interval of `per_token`; None for fewer than `LEAST_UNITS` runs or changes."
    per_step: float
    step_interval: tuple[float, float] | None
    worse: int
    "Steps whose outcome got less likely."
    better: int
    steps: int
    units: int = 0
    "The runs, or changes of a history, over which intervals are drawn."
    side: int = 0
    """-1 where `per_token` is below 0 for certain, 1 where it is above, else 0. It is certain where
    its interval holds no 0, neither does that of `rest`, and `rest` is `LEFT` of it or more."""
    step_side: int = 0
    "The same of `per_step`."
    rest: DifferenceRest | None = None
    step_rest: DifferenceRest | None = None
    largest: float = 0.0
    "The share of all nats that the step has which does most for their sign."
    median: float = 0.0
    "The median of the steps, in nats per token."
    most: tuple[StepShare, ...] = ()
    "The `MOST` steps with the largest differences in nats."

    @property
    def certain(self) -> int:
        """The side on which both means lie for certain; 0 where there is none."""
        return self.side if self.side == self.step_side else 0

    @property
    def counted(self) -> str:
        """On how many steps, and of how many runs, the difference rests."""
        of = f" of {self.units} run{'s' * (self.units != 1)}" * (self.units != self.steps)
        return f"{self.steps} step{'s' * (self.steps != 1)}{of}"


class PolicyScore(NamedTuple):
    """All scores of one policy."""

    name: str
    new: ScoreMean
    "Of the lines that neither the old text nor the request holds."
    whole: ScoreMean
    prompt_tokens: float
    "Tokens of the median prompt."
    beside: ScoreDifference | None = None
    "Of the new lines, to the first policy; None for the first, and where no line is new."
    names: ScoreMean | None = None
    "Of the names in new lines that the project defines; None where no step knows them."
    rest: ScoreMean | None = None
    "Of all else in the new lines of the same steps."
    names_beside: ScoreDifference | None = None
    names_known: int = 0
    "The steps that know them."


def score_summary(scores: Sequence[StepScore], policies: Sequence[str]) -> list[PolicyScore]:
    """Sum up scores, a policy each; the steps of all are the same."""
    first = _table(scores, 0, new=True)
    found = []
    for number, name in enumerate(policies):
        new = _table(scores, number, new=True)
        beside = _difference(first, new, scores) if number else None
        sizes = [
            score.job.tokens[number] - score.sums(number, new=False).tokens for score in scores
        ]
        score = PolicyScore(
            name, _mean(new), _mean(_table(scores, number, new=False)),
            float(np.median(sizes)) if sizes else 0.0, beside,
        )  # fmt: skip
        found.append(_with_names(score, scores, number, len(policies)))
    return found


def _with_names(
    score: PolicyScore, scores: Sequence[StepScore], number: int, policies: int
) -> PolicyScore:
    """Return a score with that of the names, of the steps that know them under each policy."""
    known = [step for step in scores if all(step.named(n) is not None for n in range(policies))]
    if not known:
        return score
    new = _table(known, number, new=True)
    first, names = (
        np.array([step.named(n) for step in known], float).reshape(-1, 2) for n in (0, number)
    )
    beside = _difference(first, names, known) if number else None
    return score._replace(
        names=_mean(names), rest=_mean(new - names), names_beside=beside, names_known=len(known)
    )


def _table(scores: Sequence[StepScore], number: int, *, new: bool) -> NDArray[np.float64]:
    """Return tokens and nats of each step under a policy."""
    return np.array([score.sums(number, new=new) for score in scores], float).reshape(-1, 2)


def _mean(table: NDArray[np.float64]) -> ScoreMean:
    held = table[table[:, 0] > 0]
    mean = float((held[:, 1] / held[:, 0]).mean()) if len(held) else 0.0
    return ScoreMean(int(table[:, 0].sum()), float(table[:, 1].sum()), mean)


def _difference(
    first: NDArray[np.float64], other: NDArray[np.float64], steps: Sequence[StepScore]
) -> ScoreDifference | None:
    """Return the difference of two tables of the same steps."""
    held = first[:, 0] > 0
    if not held.any():
        return None
    jobs = [step.job for step, use in zip(steps, held, strict=True) if use]
    tokens, nats = first[held, 0], other[held, 1] - first[held, 1]
    apart, units = nats / tokens, [job.unit for job in jobs]
    over_tokens, over_steps = (nats, tokens, units), (apart, np.ones(len(apart)), units)
    total, mean = float(nats.sum() / tokens.sum()), float(apart.mean())
    interval, rest = _interval(*over_tokens), _rest(*over_tokens)
    step_interval, step_rest = _interval(*over_steps), _rest(*over_steps)
    ahead = nats * np.sign(nats.sum())
    shares = [
        StepShare(job.place, job.target, shown(job.log), job.task, job.version, float(by))
        for job, by in zip(jobs, nats, strict=True) if abs(by) > SAME
    ]  # fmt: skip
    shares.sort(key=lambda share: (-abs(share.nats), share[:5]))
    return ScoreDifference(
        per_token=total, interval=interval, per_step=mean, step_interval=step_interval,
        worse=int((apart > SAME).sum()), better=int((apart < -SAME).sum()), steps=len(apart),
        units=len(set(units)), side=_side(total, interval, rest),
        step_side=_side(mean, step_interval, step_rest), rest=rest, step_rest=step_rest,
        largest=float(ahead.max() / ahead.sum()) if ahead.sum() else 0.0,
        median=float(np.median(apart)), most=tuple(shares[:MOST]),
    )  # fmt: skip


def _interval(
    above: NDArray[np.float64], below: NDArray[np.float64], units: Sequence[str],
    least: int = LEAST_UNITS,
) -> tuple[float, float] | None:  # fmt: skip
    """Return the 95 % interval of a ratio of sums over steps, by bootstrap over their units."""
    order = {unit: number for number, unit in enumerate(sorted(set(units)))}
    if len(order) < least:
        return None
    sums = np.zeros((len(order), 2))
    np.add.at(sums, [order[unit] for unit in units], np.column_stack((above, below)))
    drawn = np.random.default_rng(SEED).integers(0, len(sums), (DRAWS, len(sums)))
    totals = sums[drawn].sum(axis=1)
    low, high = np.percentile(totals[:, 0] / totals[:, 1], [2.5, 97.5])
    return float(low), float(high)


def _rest(
    above: NDArray[np.float64], below: NDArray[np.float64], units: Sequence[str]
) -> DifferenceRest | None:
    """Return a ratio of sums without the step that does most for its sign; None for few units."""
    if len(set(units)) < LEAST_UNITS:
        return None
    ratios = (above.sum() - above) / (below.sum() - below)
    most = int(np.argmin(ratios * np.sign(above.sum())))
    others = [unit for number, unit in enumerate(units) if number != most]
    interval = _interval(np.delete(above, most), np.delete(below, most), others, least=1)
    assert interval is not None, "a step is left"
    return DifferenceRest(float(ratios[most]), interval)


def _side(value: float, interval: tuple[float, float] | None, rest: DifferenceRest | None) -> int:
    """Return on which side of 0 a difference lies for certain; 0 where that is not certain."""
    if interval is None or rest is None or abs(rest.value) < LEFT * abs(value):
        return 0
    sides = side_of(interval), side_of(rest.interval)
    return sides[0] if sides[0] == sides[1] else 0


def side_of(interval: tuple[float, float]) -> int:
    """Return on which side of 0 an interval lies; 0 where it holds 0.

    >>> side_of((-0.2, -0.1)), side_of((-0.1, 0.1)), side_of((0.1, 0.2))
    (-1, 0, 1)
    """
    return (interval[0] > 0) - (interval[1] < 0)
