"""The figures of history policies over all runs: tokens, prefix kept, and evidence recall."""

from collections.abc import Iterator, Sequence
from statistics import median
from typing import NamedTuple

import numpy as np

from backcast.domain.action_evidence import ActionEvidence
from backcast.engine.replay.history_trial import HistoryPolicy, TriedRun
from backcast.engine.replay.score_summary import DRAWS, LEAST_UNITS, SEED


class HistoryFigures(NamedTuple):
    """All prompts under one policy."""

    name: str
    runs: int
    prompts: int
    median_tokens: float
    tokens: int
    prefix: float | None
    "Percent of the tokens of following prompts with which the prompt before began."
    read: int
    "Tokens that a server with that prefix in its cache reads."
    again: int
    used: int
    shown: int
    interval: tuple[float, float] | None
    "95 % interval of the recall by bootstrap over the runs; None for too few."
    units: int
    "The runs with evidence, over which it is drawn."
    last_used: int
    last_shown: int

    @property
    def recall(self) -> float | None:
        """Percent of the earlier evidence that is shown; None where there was none."""
        return 100 * self.shown / self.used if self.used else None

    @property
    def last_recall(self) -> float | None:
        """Percent of the evidence in the last results that is shown."""
        return 100 * self.last_shown / self.last_used if self.last_used else None


def figures(runs: Sequence[TriedRun], policies: Sequence[HistoryPolicy]) -> list[HistoryFigures]:
    """Return the figures of each policy over all runs."""
    return [_figures(runs, number, policy.name) for number, policy in enumerate(policies)]


def _figures(runs: Sequence[TriedRun], number: int, name: str) -> HistoryFigures:
    prompts = [prompt for run in runs for prompt in run.prompts]
    steps = [prompt.steps[number] for prompt in prompts]
    follow = [prompt.steps[number] for prompt in prompts if prompt.follows]
    behind = sum(step.tokens for step in follow)
    tokens, kept = sum(step.tokens for step in steps), sum(step.kept for step in follow)
    return HistoryFigures(
        name=name, runs=len(runs), prompts=len(prompts),
        median_tokens=float(median(step.tokens for step in steps)) if steps else 0.0,
        tokens=tokens, prefix=100 * kept / behind if behind else None, read=tokens - kept,
        again=sum(step.again for step in steps),
        used=sum(prompt.used for prompt in prompts), shown=sum(step.shown for step in steps),
        interval=_interval(runs, number),
        units=sum(any(prompt.used for prompt in run.prompts) for run in runs),
        last_used=sum(prompt.last_used for prompt in prompts),
        last_shown=sum(step.last_shown for step in steps),
    )  # fmt: skip


def _interval(runs: Sequence[TriedRun], number: int) -> tuple[float, float] | None:
    pairs = [
        (sum(prompt.used for prompt in run.prompts),
         sum(prompt.steps[number].shown for prompt in run.prompts))
        for run in runs
    ]  # fmt: skip
    counts = np.array([pair for pair in pairs if pair[0]], float).reshape(-1, 2)
    if len(counts) < LEAST_UNITS:
        return None
    drawn = np.random.default_rng(SEED).integers(0, len(counts), (DRAWS, len(counts)))
    sums = counts[drawn].sum(axis=1)
    low, high = np.percentile(100 * sums[:, 1] / sums[:, 0], [2.5, 97.5])
    return float(low), float(high)


def losses(run: TriedRun, number: int) -> Iterator[tuple[int, ActionEvidence]]:
    """Yield what each prompt of a run lost under a policy, with the prompt's event."""
    for prompt in run.prompts:
        for thing in prompt.steps[number].lost:
            yield prompt.version, thing
