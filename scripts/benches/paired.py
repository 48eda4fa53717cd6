"""Paired differences between two ways, run by run, with their interval."""

from collections.abc import Sequence

import numpy as np

RESAMPLED = 2_000


def pooled(differences: Sequence[np.ndarray]) -> tuple[float, float, float]:
    """Return the mean of paired differences over all runs, and the ends of its 95 % interval.

    The runs are resampled within each repository.
    """
    dice = np.random.default_rng(0)
    count = sum(map(len, differences))
    sums = sum(dice.choice(runs, (RESAMPLED, len(runs))).sum(axis=1) for runs in differences)
    low, high = np.percentile(sums / count, [2.5, 97.5])
    return float(sum(runs.sum() for runs in differences) / count), float(low), float(high)
