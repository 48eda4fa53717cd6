"""Sum up scores: nats per token of each policy, and paired differences to the first policy.

Intervals are by bootstrap over recorded runs, or over the changes of a history.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from backcast.engine.replay.score_jobs import StepScore

DRAWS, SEED = 2_000, 0
"Bootstrap samples, and the seed of the generator."
LEAST_UNITS = 6
"""Runs or changes from which on there is an interval: of fewer, even if all agree, that is not
certain at 95 % (of five that agree by chance alone, 2 * 0.5 ** 5 = 6 % would)."""
SAME = 1e-6
"Nats per token by which two scores may differ, and count as the same."


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
    units = [score.job.unit for score in scores]
    found = []
    for number, name in enumerate(policies):
        new = _table(scores, number, new=True)
        beside = _difference(first, new, units) if number else None
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
    beside = _difference(first, names, [step.job.unit for step in known]) if number else None
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
    first: NDArray[np.float64], other: NDArray[np.float64], units: Sequence[str]
) -> ScoreDifference | None:
    """Return the difference of two tables of the same steps."""
    held = first[:, 0] > 0
    if not held.any():
        return None
    tokens, nats = first[held, 0], other[held, 1] - first[held, 1]
    apart = nats / tokens
    # A row for each unit: tokens, nats, steps, and the sum of the steps' differences.
    rows: dict[str, NDArray[np.float64]] = {}
    for unit, *values in zip(
        (unit for unit, use in zip(units, held, strict=True) if use), tokens, nats, apart,
        strict=True,
    ):  # fmt: skip
        row = np.array([values[0], values[1], 1.0, values[2]], float)
        rows[unit] = rows.get(unit, np.zeros(4)) + row
    sums = np.array([rows[unit] for unit in sorted(rows)])
    return ScoreDifference(
        per_token=float(nats.sum() / tokens.sum()), interval=_interval(sums, 1, 0),
        per_step=float(apart.mean()), step_interval=_interval(sums, 3, 2),
        worse=int((apart > SAME).sum()), better=int((apart < -SAME).sum()), steps=len(apart),
        units=len(sums),
    )  # fmt: skip


def _interval(sums: NDArray[np.float64], above: int, below: int) -> tuple[float, float] | None:
    """Return the 95 % interval of the ratio of two columns, by bootstrap over the rows."""
    if len(sums) < LEAST_UNITS:
        return None
    drawn = np.random.default_rng(SEED).integers(0, len(sums), (DRAWS, len(sums)))
    totals = sums[drawn].sum(axis=1)
    low, high = np.percentile(totals[:, above] / totals[:, below], [2.5, 97.5])
    return float(low), float(high)
