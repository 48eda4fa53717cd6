"""What one way is better than another by, run by run."""

from collections.abc import Sequence

import numpy as np

RESAMPLED = 2_000


def pooled(differences: Sequence[np.ndarray]) -> tuple[float, float, float]:
    """The mean of paired differences over all runs, and the 95 % of means that resampling the runs
    within each repository gives."""
    dice = np.random.default_rng(0)
    many = sum(map(len, differences))
    sums = sum(dice.choice(one, (RESAMPLED, len(one))).sum(axis=1) for one in differences)
    low, high = np.percentile(sums / many, [2.5, 97.5])
    return float(sum(one.sum() for one in differences) / many), float(low), float(high)
