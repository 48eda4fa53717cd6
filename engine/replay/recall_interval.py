"""How sure is a difference of evidence recall? Its interval, and the units over which it is drawn.

A recorded run is drawn as a whole, since its prompts are about the same modules; of a history each
change is drawn alone, however its changes are cut into runs.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from backcast.engine.replay.corpus import Tried
from backcast.engine.replay.measure import Measured
from backcast.engine.replay.score_summary import DRAWS, LEAST_UNITS, SEED


class RecallInterval(NamedTuple):
    """The interval of a difference of evidence recall to the baseline's."""

    bounds: tuple[float, float] | None
    "95 % by bootstrap over the units, in points; None for fewer than `LEAST_UNITS`."
    units: int
    "Recorded runs, or changes of a history, whose outcome used something."
    kind: str
    "runs, changes, or both."

    @property
    def counted(self) -> str:
        """The number of units in words."""
        return f"{self.units:,} {self.kind}" if self.units != 1 else f"1 {self.kind.rstrip('s')}"


def recall_interval(runs: Sequence[Tried], number: int) -> RecallInterval:
    """Return the interval of a policy, by its index, against the first one."""
    units = [(bool(tried.run.prompts), steps) for tried in runs for steps in _units(tried)]
    kinds = [recorded for recorded, steps in units if any(step.figures[0].used for step in steps)]
    kind = "runs and changes" if len(set(kinds)) > 1 else "runs" if all(kinds) else "changes"
    counts = np.array([_counts(steps, number) for _, steps in units], float).reshape(-1, 3)
    counts = counts[counts[:, 0] > 0]
    if len(counts) < LEAST_UNITS:
        return RecallInterval(None, len(counts), kind)
    drawn = np.random.default_rng(SEED).integers(0, len(counts), (DRAWS, len(counts)))
    sums = counts[drawn].sum(axis=1)
    points = 100 * (sums[:, 2] - sums[:, 1]) / sums[:, 0]
    low, high = np.percentile(points, [2.5, 97.5])
    return RecallInterval((float(low), float(high)), len(counts), kind)


def _units(tried: Tried) -> Iterator[Sequence[Measured]]:
    """Yield the steps that are drawn together."""
    if tried.run.prompts:
        yield tried.steps
    else:
        yield from ((step,) for step in tried.steps)


def _counts(steps: Sequence[Measured], number: int) -> tuple[int, int, int]:
    """Count the things that outcomes used, and how many baseline and policy showed."""
    used = sum(step.figures[0].used for step in steps)
    before, after = (used - sum(len(step.figures[n].missed) for step in steps) for n in (0, number))
    return used, before, after


def is_beyond(bounds: tuple[float, float] | None, limit: float) -> bool:
    """Whether an interval is there and does not hold a limit.

    >>> is_beyond((-9.2, -2.2), -1), is_beyond((-9.2, 0.0), -1), is_beyond(None, -1)
    (True, False, False)
    """
    return bounds is not None and not bounds[0] <= limit <= bounds[1]


def sureness(
    bounds: tuple[float, float] | None, counted: str, form: str = "{:+.1f}", *, certain: bool
) -> str:
    """Return what stands behind a difference: its interval, and how many units there are.

    >>> sureness((-9.2, -2.2), "50 changes", certain=True)
    ' (95 % from -9.2 to -2.2, 50 changes)'
    >>> sureness((-10.0, 0.0), "8 runs", certain=False), sureness(None, "1 run", certain=False)
    (' (95 % from -10.0 to +0.0; not certain: 8 runs)', ' (not certain: 1 run)')
    """
    if bounds is None:
        return f" (not certain: {counted})"
    between = f"95 % from {form.format(bounds[0])} to {form.format(bounds[1])}"
    return f" ({between}{',' if certain else '; not certain:'} {counted})"
